// The stage interpreter: one launch runs all small steps of a stage for a tile of the batch, and
// what passes from step to step stays in shared memory.
//
// A block has L x G threads: threadIdx.x is the lane, a point of the batch, innermost and so
// coalesced; threadIdx.y is the group, and groups share out a step's outputs. Shared memory holds,
// one after the other, `scratch` elements of L lanes, the steps, and their offset tables.
//
// Steps that do not need each other are parts of their own, which blocks of their own run side by
// side: blockIdx.y is the part.

#include "naive.cuh"
#include "tile.cuh"

// A row of the table of parts: the first of its steps and how many, the first of their table
// entries and how many. Rows of steps count entries from the first of their part.
struct Part {
  int first_step, steps, first_entry, entries;
};

__device__ __forceinline__ Part part_of(const int* parts, int number) {
  const int* row = parts + 4 * number;
  return {row[0], row[1], row[2], row[3]};
}

template <typename T, bool COMPLEX>
__global__ void __launch_bounds__(512, 1)
    run_stage(T* arena, const long long* __restrict__ steps, const int* __restrict__ tables,
              const long long* __restrict__ shifts, const int* __restrict__ parts, int scratch,
              int n1, long long inner) {
  TN_DYNAMIC_SHARED(char, memory);
  const Part part = part_of(parts, blockIdx.y);
  steps += (long long)part.first_step * STEP_ROW;
  shifts += (long long)part.first_step * 3;
  tables += part.first_entry;
  const int width = blockDim.x, groups = blockDim.y, lane = threadIdx.x, group = threadIdx.y;
  const Batch batch = batch_run(blockIdx.x, width, n1, inner);
  T* const own = reinterpret_cast<T*>(memory);
  Step<T>* const ready = reinterpret_cast<Step<T>*>(own + (long long)scratch * width);
  int* const entries = reinterpret_cast<int*>(ready + part.steps);

  // What rows say depends on the block: work it out once, not once a thread.
  static_assert(sizeof(Step<T>) == 96, "as the host reckons with");
  for (int i = group * width + lane; i < part.steps; i += groups * width)
    ready[i] = resolve(steps + i * STEP_ROW, shifts + i * 3, batch, arena, own, width);
  for (int i = group * width + lane; i < part.entries; i += groups * width) entries[i] = tables[i];
  __syncthreads();

  for (int i = 0; i < part.steps; ++i) {
    if (batch.t0 + lane < inner) run_step<COMPLEX>(ready[i], entries, lane, group, groups);
    if (groups > 1) __syncthreads();  // alone, a thread reads nothing but what it wrote itself
  }
}

template <typename T, bool COMPLEX>
__global__ void __launch_bounds__(512, 1)
    run_stage_naive(T* arena, const long long* steps, const int* tables, const long long* shifts,
                    const int* parts, int /*scratch*/, int n1, long long inner) {
  TN_DYNAMIC_SHARED(char, memory);
  const Part part = part_of(parts, blockIdx.y);
  tables += part.first_entry;
  const int width = blockDim.x, lane = threadIdx.x;
  const Batch batch = batch_run(blockIdx.x, width, n1, inner);
  for (int i = part.first_step; i < part.first_step + part.steps; ++i) {
    const long long *row = steps + i * STEP_ROW, *shift = shifts + i * 3;
    const long long outputs = row[0] * row[1] * row[2];
    if (batch.t0 + lane < inner)
      for (long long number = threadIdx.y; number < outputs; number += blockDim.y)
        one_output<COMPLEX>(row, tables, shift, batch, arena, reinterpret_cast<T*>(memory), width,
                            lane, number);
    __syncthreads();
  }
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void run_stage<float, false>(
    float*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage<float, true>(
    float*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage<double, false>(
    double*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage<double, true>(
    double*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage_naive<float, false>(
    float*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage_naive<float, true>(
    float*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage_naive<double, false>(
    double*, const long long*, const int*, const long long*, const int*, int, int, long long);
template __global__ void run_stage_naive<double, true>(
    double*, const long long*, const int*, const long long*, const int*, int, int, long long);
#endif
