// From derivatives by the cos and sin of angles, which a reverse sweep gives, to those by weights:
// fill.cu read backwards.

#include "portable.cuh"

constexpr int OTHERS = 3;  // factors of a monomial beside the weight that it is derived by

// Weight outputs[j] stands in the terms from starts[j] up to starts[j + 1]. A term is a monomial of
// entry entries[i] = row * cones + cone of the angles without that weight: its coefficient and up to
// three factors, a column of weights (0 or more), of features (-2 - column) or none (-1).
//
// Cos of row 0 begins at base, the derivative by it at around; those of sin are rows * extent further
// on. All vary over the batch with stride_c, stride_p and stride_s.
//
// gradient[p * gradient_p + weight] gets twice the sum over terms and samples added, because the
// derivatives are those by the ket's copy of an angle. A warp works on one weight and set, samples
// over its lanes, in float64, terms in ascending order; its tree is the same for every grid.
template <typename T>
__global__ void __launch_bounds__(128, 1)
    pull_angles(const T* __restrict__ arena, double* gradient, const double* __restrict__ weights,
                const double* __restrict__ features, const int* __restrict__ outputs,
                const int* __restrict__ starts, const int* __restrict__ entries,
                const double* __restrict__ coefficients, const int* __restrict__ columns,
                int count, long long base, long long around, int rows, int cones, int sets,
                int samples, long long extent, long long stride_c, long long stride_p,
                long long stride_s, long long weights_p, long long features_s,
                long long gradient_p) {
  constexpr int WARP = 32;
  const int lane = threadIdx.x % WARP;
  const long long stride = (long long)gridDim.x * blockDim.x / WARP;
  long long number = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
  for (; number < (long long)count * sets; number += stride) {
    const long long j = number % count, p = number / count;
    const double* const own_weights = weights + p * weights_p;
    double sum = 0;
    for (int i = starts[j]; i < starts[j + 1]; ++i) {
      const long long first = entries[i] / cones * extent + entries[i] % cones * stride_c +
                              p * stride_p;
      const T *const angle = arena + base + first, *const by = arena + around + first;
#pragma unroll 1  // registers are short
      for (int s = lane; s < samples; s += WARP) {
        const long long cosine = s * stride_s, sine = cosine + rows * extent;
        const double slope = fma(double(angle[cosine]), double(by[sine]),
                                 -double(angle[sine]) * double(by[cosine]));
        double term = coefficients[i];
#pragma unroll
        for (int f = 0; f < OTHERS; ++f) {
          const int column = columns[i * OTHERS + f];
          if (column >= 0) term *= own_weights[column];
          if (column <= -2) term *= features[s * features_s - 2 - column];
        }
        sum = fma(term, slope, sum);
      }
    }
    for (int bits = WARP / 2; bits; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
    if (lane == 0) gradient[p * gradient_p + outputs[j]] += 2 * sum;
  }
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void pull_angles<float>(
    const float*, double*, const double*, const double*, const int*, const int*, const int*,
    const double*, const int*, int, long long, long long, int, int, int, int, long long, long long,
    long long, long long, long long, long long, long long);
template __global__ void pull_angles<double>(
    const double*, double*, const double*, const double*, const int*, const int*, const int*,
    const double*, const int*, int, long long, long long, int, int, int, int, long long, long long,
    long long, long long, long long, long long, long long);
#endif
