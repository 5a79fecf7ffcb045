// Sums over labels of the batch: of a reverse sweep, which knows what a value of every sample is
// worth, for what all samples share.

#include "portable.cuh"

// A row of the table of sums has 24 integers, counted in scalars: where the values begin, where the
// sums go, how many threads share a sum, 1 or 32; then count, stride of the values and stride of the
// sums for four axes that are kept, and count and stride for three that are summed; 0, 0, 0.
constexpr int SUM_ROW = 24, KEPT = 4;

// blockIdx.y is the sum of the table. Where the innermost label is summed a warp works on one
// result, else neighbouring threads on neighbouring results: either way they load neighbours. Each
// of `lanes` partial sums is in ascending order and in float64, and the warp's tree is the same for
// every grid.
template <typename T>
__global__ void __launch_bounds__(128) sum_batch(T* arena, const long long* __restrict__ rows) {
  const long long* const row = rows + (long long)blockIdx.y * SUM_ROW;
  const int lanes = row[2], lane = threadIdx.x % lanes;
  const long long *kept = row + 3, *summed = kept + 3 * KEPT;
  const long long results = kept[0] * kept[3] * kept[6] * kept[9];
  const long long stride = (long long)gridDim.x * blockDim.x / lanes;
  long long number = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / lanes;
  for (; number < results; number += stride) {
    const T* from = arena + row[0];
    T* to = arena + row[1];
    long long rest = number;
    for (int axis = KEPT - 1; axis >= 0; --axis) {
      const long long count = kept[3 * axis], place = rest % count;
      from += place * kept[3 * axis + 1];
      to += place * kept[3 * axis + 2];
      rest /= count;
    }
    double sum = 0;
    for (long long i = 0; i < summed[0]; ++i)
      for (long long j = 0; j < summed[2]; ++j) {
        const T* const values = from + i * summed[1] + j * summed[3];
#pragma unroll 4
        for (long long k = lane; k < summed[4]; k += lanes) sum += double(values[k * summed[5]]);
      }
    if (lanes > 1)  // all threads of a warp have the same number
      for (int bits = 16; bits; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
    if (lane == 0) *to = T(sum);
  }
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void sum_batch<float>(float*, const long long*);
template __global__ void sum_batch<double>(double*, const long long*);
#endif
