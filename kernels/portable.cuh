// What nvcc, NVRTC and the emulator of the tests would each spell in their own way. No source
// includes a header of the host.
#pragma once

#ifdef TN_EMULATED
#include "cuda_emulator.h"
#else
// Shared memory of the launch's size, or of fixed extents: TN_STATIC_SHARED(T, panel, [16][64]).
#define TN_DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#define TN_STATIC_SHARED(type, name, extents) __shared__ type name extents
#endif

// A place in memory, or a distance in bytes.
using Address = unsigned long long;

// a * b, all 64 bits of it.
__device__ __forceinline__ Address wide_product(unsigned a, unsigned b) {
#ifdef TN_EMULATED
  return Address(a) * b;
#else
  // One instruction, together with the sum that it goes into: the compiler, left to itself, takes
  // up to four, and addresses are half of what the kernels compute.
  Address product;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#endif
}
