// Small kernels by which the emulation itself is tested, some of them wrong on purpose.
#include "cuda_emulator.h"

template <typename T>
__global__ void __launch_bounds__(512) block_sums(T* __restrict__ out, const T* in, int count) {
  TN_DYNAMIC_SHARED(T, part);
  const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t] = i < count ? in[i] : T(0);
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = part[0];
}

// In tiles of 16 by 16 through static shared memory.
__global__ void transpose(double* out, const double* in, long long rows, long long columns) {
  TN_STATIC_SHARED(double, tile, [16][17]);
  const long long row = 16ll * blockIdx.y + threadIdx.y, column = 16ll * blockIdx.x + threadIdx.x;
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = in[row * columns + column];
  __syncthreads();
  const long long to_row = 16ll * blockIdx.x + threadIdx.y;
  const long long to_column = 16ll * blockIdx.y + threadIdx.x;
  if (to_row < columns && to_column < rows)
    out[to_row * rows + to_column] = tile[threadIdx.x][threadIdx.y];
}

// Where each thread of a grid stands, as seen by itself.
__global__ void places(unsigned* out) {
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  unsigned* const row = out + 6 * (block * threads + thread);
  row[0] = blockIdx.x, row[1] = blockIdx.y, row[2] = blockIdx.z;
  row[3] = threadIdx.x, row[4] = threadIdx.y, row[5] = threadIdx.z;
}

// Four shuffles after one another, warps going through them at their own pace.
__global__ void shuffles(double* out, const double* in, int width, int by) {
  const unsigned t = threadIdx.x, all = 0xFFFFFFFFu;
  for (unsigned repeat = 0; repeat < 1 + t / 32; ++repeat) {
    out[4 * t] = __shfl_sync(all, in[t], by, width);
    out[4 * t + 1] = __shfl_up_sync(all, in[t], by, width);
    out[4 * t + 2] = __shfl_down_sync(all, in[t], by, width);
    out[4 * t + 3] = __shfl_xor_sync(all, in[t], by, width);
  }
  __syncthreads();
}

__global__ void count_digits(int* counts, float* sum, const int* digits, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) atomicAdd(&counts[digits[i]], 1), atomicAdd(sum, 0.5f);
}

__global__ void scalars(double* out, bool flag, int i, unsigned u, long long l, float f, double d) {
  out[0] = flag, out[1] = i, out[2] = u, out[3] = double(l), out[4] = f, out[5] = d;
  out[6] = min(i, 7) + max(2.5f, f), out[7] = __umulhi(u, 0x80000000u);
}

// What shared memory holds before anything is written; every block then writes it.
__global__ void untouched(float* floats, double* doubles, int* integers) {
  TN_DYNAMIC_SHARED(int, words);
  TN_STATIC_SHARED(double, fixed, [2]);
  floats[blockIdx.x] = reinterpret_cast<float*>(words)[3];
  doubles[blockIdx.x] = fixed[1] + reinterpret_cast<double*>(words)[0];
  integers[blockIdx.x] = words[1];
  for (int i = 0; i < 4; ++i) words[i] = 0;
  fixed[0] = fixed[1] = 0;
}

__global__ void two_barriers(int* out) {
  if (threadIdx.x < 3)
    __syncthreads();  // three threads wait here
  else
    __syncthreads();  // the others here
  out[threadIdx.x] = 1;
}

__global__ void early_return(int* out) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void half_a_warp(int* out) {
  out[threadIdx.x] = __shfl_sync(0xFFFFu, 1, 0);
}

__global__ void wild(int* out, long long at, int divisor) {
  out[0] = 7 / divisor;
  out[at] = 1;
}

__global__ void overrun(float* out, int beyond) {
  TN_DYNAMIC_SHARED(float, row);
  row[int(threadIdx.x) + beyond] = 1;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

__global__ void overflow(int* out, int x) { out[threadIdx.x] = x + 1; }

// Every thread reads its neighbour's number: right only behind the barrier.
template <bool BARRIER>
__global__ void neighbours(int* out) {
  TN_DYNAMIC_SHARED(int, row);
  row[threadIdx.x] = threadIdx.x;
  if (BARRIER) __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = row[(threadIdx.x + 1) % blockDim.x];
}

__global__ void last_block(int* out) { out[0] = blockIdx.x; }

template __global__ void block_sums<float>(float*, const float*, int);
template __global__ void block_sums<double>(double*, const double*, int);
template __global__ void neighbours<true>(int*);
template __global__ void neighbours< false>(int*);
