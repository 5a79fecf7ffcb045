// What a CUDA source needs in order to be compiled by g++ -std=c++20 and run on the CPU.
//
// kernels/portable.cuh includes this file where TN_EMULATED is defined, and otherwise says itself:
//     #define TN_DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
//     #define TN_STATIC_SHARED(type, name, extents) __shared__ type name extents
//     for example: TN_STATIC_SHARED(T, tile, [16][65]);   // never a plain __shared__
// The two macros are all that a kernel must know: here, both kinds of shared memory are blocks of
// exactly the size asked for, poisoned before each block of threads runs.
// Who runs the threads is decided by what is linked: library.cpp or standalone.cpp.
#pragma once

#include <math.h>

#include <atomic>
#include <cstring>
#include <source_location>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static_assert(false, "shared memory by TN_STATIC_SHARED or TN_DYNAMIC_SHARED");

#define TN_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(tn_emulator::dynamic_shared())
#define TN_STATIC_SHARED(type, name, extents) \
  type(&name) extents =                       \
      *static_cast<type(*) extents>(tn_emulator::static_shared(__LINE__, sizeof(type extents)))

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Of the thread that runs; constinit: known to need no code that initialises them.
extern thread_local constinit uint3 threadIdx, blockIdx;
extern thread_local constinit dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace tn_emulator {

using Place = std::source_location;

// A NaN as float and as double, a wild number as int and as long long, nothing at all as a size.
constexpr unsigned POISON = 0x7FF47FF4u;

inline void poison(void* memory, size_t bytes) {
  char* const to = static_cast<char*>(memory);
  for (size_t i = 0; i + 4 <= bytes; i += 4) std::memcpy(to + i, &POISON, 4);
  std::memcpy(to + bytes / 4 * 4, &POISON, bytes % 4);
}

// Defined in fibers.h and in threads.h.
void* dynamic_shared();
void* static_shared(int line, size_t bytes);
void block_barrier(const Place& where);
void warp_barrier(const Place& where);
unsigned exchange_turn();  // how many exchanges this thread has begun
char* exchange_slot(unsigned thread, unsigned turn);  // eight bytes, kept for two turns
[[noreturn]] void fail(const char* reason, const Place& where);

inline unsigned threads_of_block() { return blockDim.x * blockDim.y * blockDim.z; }
inline unsigned linear_thread() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}

// What lane `source` of this thread's warp passes in; only whole warps take part.
template <typename T>
T exchange(unsigned mask, T value, unsigned source, const Place& where) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  const unsigned first = linear_thread() / warpSize * warpSize;
  const unsigned lanes = threads_of_block() - first < 32 ? threads_of_block() - first : 32;
  const unsigned all = lanes == 32 ? ~0u : (1u << lanes) - 1;
  if ((mask & all) != all) fail("the mask leaves out threads of the warp", where);
  const unsigned turn = exchange_turn();
  std::memcpy(exchange_slot(linear_thread(), turn), &value, sizeof(T));
  warp_barrier(where);
  if (source < lanes)
    std::memcpy(&value, exchange_slot(first + source, turn), sizeof(T));
  else
    poison(&value, sizeof(T));  // a lane that does not exist
  return value;
}

inline unsigned lane() { return linear_thread() % warpSize; }

}  // namespace tn_emulator

#define TN_HERE const tn_emulator::Place& where = tn_emulator::Place::current()

inline void __syncthreads(TN_HERE) { tn_emulator::block_barrier(where); }
inline void __syncwarp(unsigned = ~0u, TN_HERE) { tn_emulator::warp_barrier(where); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, TN_HERE) {
  const unsigned lane = tn_emulator::lane();
  return tn_emulator::exchange(mask, value, lane / width * width + source % width, where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, TN_HERE) {
  const unsigned lane = tn_emulator::lane(), other = lane ^ bits;
  return tn_emulator::exchange(mask, value, other / width > lane / width ? lane : other, where);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, TN_HERE) {
  const unsigned lane = tn_emulator::lane();
  const bool inside = lane % width + delta < unsigned(width);
  return tn_emulator::exchange(mask, value, inside ? lane + delta : lane, where);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, TN_HERE) {
  const unsigned lane = tn_emulator::lane();
  return tn_emulator::exchange(mask, value, lane % width >= delta ? lane - delta : lane, where);
}
#undef TN_HERE

template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (1ull * a * b) >> 32; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(b) < T(a) ? T(b) : T(a);
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(a) < T(b) ? T(b) : T(a);
}
