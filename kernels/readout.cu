// Outputs of a model as weighted sums over values in the arena.

#include "portable.cuh"

// Output outputs[j] of sample s of set p gets the sum over i in [starts[j], starts[j + 1]) of
// coefficients[i] * arena[offsets[i] + p * stride_p + s * stride_s], ascending and in float64,
// added to what it has: slices of a program sum up. One thread a j, p and s; s fastest.
template <typename T>
__global__ void __launch_bounds__(128)
    read_out(const T* __restrict__ arena, double* out, const int* __restrict__ outputs,
             const int* __restrict__ starts, const long long* __restrict__ offsets,
             const double* __restrict__ coefficients, int count, int sets, int samples,
             long long stride_p, long long stride_s, long long out_k, long long out_p,
             long long out_s) {
  const long long total = (long long)count * sets * samples;
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
    const long long s = i % samples, p = i / samples % sets, j = i / samples / sets;
    const T* const point = arena + p * stride_p + s * stride_s;
    double sum = 0;
    for (int term = starts[j]; term < starts[j + 1]; ++term)
      sum = fma(coefficients[term], double(point[offsets[term]]), sum);
    out[outputs[j] * out_k + p * out_p + s * out_s] += sum;
  }
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void read_out<float>(
    const float*, double*, const int*, const int*, const long long*, const double*, int, int, int,
    long long, long long, long long, long long, long long);
template __global__ void read_out<double>(
    const double*, double*, const int*, const int*, const long long*, const double*, int, int, int,
    long long, long long, long long, long long, long long);
#endif
