// What a step of SPSA needs beside elementwise arithmetic: random directions, matrix products.

#include "philox.cuh"

// out[direction, sample, weight] = -1 or 1, bit for bit what tn_qnn.rng.rademacher gives; the
// step is read here, so that a captured graph can be replayed for the next one.
//
// A thread makes one block of Philox, 128 signs. Its warp then writes the blocks of all its
// threads one after the other, so that neighbouring threads write neighbouring signs.
__global__ void __launch_bounds__(128)
    random_signs(double* out, unsigned key0, unsigned key1, const long long* step, int directions,
                 int samples, int weights) {
  constexpr int WARP = 32, SIGNS = 128;
  const int lane = threadIdx.x % WARP;
  const long long blocks = (weights + SIGNS - 1) / SIGNS, total = blocks * samples * directions;
  const long long stride = (long long)gridDim.x * blockDim.x;
  // The bound is that of the warp's first thread: nobody may be missing when words are exchanged.
  for (long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x - lane; first < total;
       first += stride) {
    const long long number = first + lane, row = number / blocks, block = number % blocks;
    const Words words = philox({unsigned(block), unsigned(row % samples), unsigned(row / samples),
                                unsigned(step[0])},
                               key0, key1);
    const long long start = row * weights + block * SIGNS;
    const int count = weights - int(block) * SIGNS;
    for (int from = 0; from < WARP && first + from < total; ++from) {
      double* const signs = out + __shfl_sync(~0u, start, from);
      const int valid = __shfl_sync(~0u, count, from);
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const unsigned bits = __shfl_sync(~0u, words.at[w], from);
        const int place = w * WARP + lane;
        if (place < valid) signs[place] = bits >> lane & 1 ? -1.0 : 1.0;
      }
    }
  }
}

// out = left right, (m, k) times (k, n) with any strides; out is contiguous. One thread an output,
// k in ascending order. It stands in for cuBLAS, which CuPy refuses to call during a capture.
__global__ void __launch_bounds__(128)
    product(double* out, const double* __restrict__ left, const double* __restrict__ right,
            long long m, long long n, long long k, long long left_m, long long left_k,
            long long right_k, long long right_n) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x; place < m * n;
       place += stride) {
    const double* x = left + place / n * left_m;
    const double* y = right + place % n * right_n;
    double sum = 0;
    for (long long i = 0; i < k; ++i) sum = fma(x[i * left_k], y[i * right_k], sum);
    out[place] = sum;
  }
}
