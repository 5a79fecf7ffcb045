// Angles from weights and data, and the functions of them that gate tensors are made of.
//
// An angle is a constant and a sum of monomials, each a coefficient times up to four factors. All
// of this is in float64; float32 comes in with cos and sin, of an angle of at most half a turn,
// because a large one has no digits left in float32.

#include "portable.cuh"

constexpr int FACTORS = 4;

__device__ __forceinline__ void sine_cosine(double angle, double& sine, double& cosine) {
  sincos(angle, &sine, &cosine);
}

__device__ __forceinline__ void sine_cosine(double angle, float& sine, float& cosine) {
  constexpr double TURN = 6.283185307179586;
  sincosf(float(angle - TURN * rint(angle / TURN)), &sine, &cosine);
}

// Entry e = row * cones + cone has the monomials from starts[e] up to starts[e + 1]; a factor of 0
// or more is a column of weights, one of -2 or less the column -2 - factor of features, -1 none.
// Its cos goes to base + row * extent + cone * stride_c + p * stride_p + s * stride_s, for sample s
// of set p, and its sin rows * extent scalars further on. One thread an entry, p and s; s fastest.
template <typename T>
__global__ void __launch_bounds__(128)
    fill_angles(T* arena, const double* __restrict__ weights, const double* __restrict__ features,
                const double* __restrict__ constants, const int* __restrict__ starts,
                const double* __restrict__ coefficients, const int* __restrict__ columns,
                long long base, int rows, int cones, int sets, int samples, long long extent,
                long long stride_c, long long stride_p, long long stride_s, long long weights_p,
                long long weights_s, long long features_s) {
  const long long total = (long long)rows * cones * sets * samples;
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
    const long long s = i % samples, p = i / samples % sets, e = i / samples / sets;
    const double* const own_weights = weights + p * weights_p + s * weights_s;
    const double* const own_features = features + s * features_s;
    double angle = constants[e];
    for (int j = starts[e]; j < starts[e + 1]; ++j) {
      double term = coefficients[j];
      for (int f = 0; f < FACTORS; ++f) {
        const int column = columns[j * FACTORS + f];
        if (column >= 0) term *= own_weights[column];
        if (column <= -2) term *= own_features[-2 - column];
      }
      angle += term;
    }
    T* const cosine = arena + base + e / cones * extent + e % cones * stride_c + p * stride_p +
                      s * stride_s;
    sine_cosine(angle, cosine[rows * extent], cosine[0]);
  }
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void fill_angles<float>(
    float*, const double*, const double*, const double*, const int*, const double*, const int*,
    long long, int, int, int, int, long long, long long, long long, long long, long long,
    long long, long long);
template __global__ void fill_angles<double>(
    double*, const double*, const double*, const double*, const int*, const double*, const int*,
    long long, int, int, int, int, long long, long long, long long, long long, long long,
    long long, long long);
#endif
