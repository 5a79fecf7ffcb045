// What runs of both kinds share: launches, a GPU's limits, and the text that build.py reads.
#pragma once

#include <string>

#include "cuda_emulator.h"
#include "table.h"

thread_local constinit uint3 threadIdx, blockIdx;
thread_local constinit dim3 blockDim, gridDim;

namespace tn_emulator {

struct Launch {
  const Kernel& kernel;
  dim3 grid, block;
  size_t shared;
  void* const* args;

  size_t blocks() const { return size_t(grid.x) * grid.y * grid.z; }
  unsigned threads() const { return block.x * block.y * block.z; }
  uint3 block_index(size_t i) const {
    return {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)};
  }
  uint3 thread_index(unsigned i) const {
    return {i % block.x, i / block.x % block.y, i / block.x / block.y};
  }
};

constexpr size_t MAX_SHARED = 227 * 1024, MAX_STATIC_SHARED = 48 * 1024;

inline std::string text(const dim3& d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}
inline std::string text(const uint3& i) { return text(dim3{i.x, i.y, i.z}); }
inline std::string text(const Place& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line());
}

// Compute capability 9.0's limits; returns what is wrong.
inline std::string refusal(const Launch& launch) {
  const auto [grid, block] = std::pair(launch.grid, launch.block);
  const std::string shape = "grid " + text(grid) + " of blocks " + text(block);
  const unsigned most = launch.kernel.max_threads;
  if (!(grid.x && grid.y && grid.z && block.x && block.y && block.z)) return shape + " is empty";
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535)
    return shape + ": the grid exceeds (2147483647, 65535, 65535)";
  if (block.x > 1024 || block.y > 1024 || block.z > 64 || launch.threads() > 1024)
    return shape + ": the block exceeds (1024, 1024, 64) or 1024 threads in all";
  if (launch.threads() > most)
    return shape + ": __launch_bounds__ allows " + std::to_string(most) + " threads";
  if (launch.shared > MAX_SHARED)
    return std::to_string(launch.shared) + " bytes of shared memory; a block has at most 232448";
  return "";
}

// One line a kernel: expression, threads at most, types such as "const f4*,i8".
inline std::string describe_kernels() {
  std::string lines;
  for (const Kernel* kernel = KERNELS; kernel != KERNELS + NUM_KERNELS; ++kernel) {
    lines += kernel->expression + ("\t" + std::to_string(kernel->max_threads)) + "\t";
    for (size_t i = 0; i < kernel->count; ++i) {
      const auto [kind, size, array, constant] = kernel->parameters[i];
      lines += std::string(i ? "," : "") + (constant ? "const " : "") + kind;
      lines += std::to_string(size) + (array ? "*" : "");
    }
    lines += "\n";
  }
  return lines;
}

}  // namespace tn_emulator
