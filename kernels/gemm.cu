// One large step: with a wide batch by register tiles for each lane (run_large), with next to none
// as a product of matrices that is tiled through shared memory (run_gemm). cuBLAS would be another
// way to the latter, but CuPy refuses to call it while a graph is captured.

#include "naive.cuh"
#include "tile.cuh"

// A lane a point of the batch, as in run_stage; outputs are shared out over threadIdx.y and
// blockIdx.y. All operands lie in the arena.
template <typename T, bool COMPLEX>
__global__ void __launch_bounds__(512, 1)
    run_large(T* arena, const long long* __restrict__ row, const int* __restrict__ tables,
              const long long* __restrict__ shift, int n1, long long inner) {
  // Blocks start in order of x, then y; those at work on the same lanes are to be neighbours.
  const long long block = blockIdx.x + (long long)blockIdx.y * gridDim.x;
  const unsigned share = block % gridDim.y;
  const Batch batch = batch_run(block / gridDim.y, blockDim.x, n1, inner);
  if (batch.t0 + threadIdx.x >= inner) return;
  const Step<T> step = resolve<T>(row, shift, batch, arena, nullptr, 0);
  run_step<COMPLEX>(step, tables, threadIdx.x, share * blockDim.y + threadIdx.y,
                    gridDim.y * blockDim.y);
}

// Of run_gemm: outputs of a block along m and n, values of k at a time; outputs of a thread.
constexpr int TILE = 64, DEPTH = 16, EACH = 4;
constexpr int THREADS = TILE / EACH * (TILE / EACH), LOADS = TILE * DEPTH / THREADS;

// A piece of left or right in shared memory; what is behind a row spreads columns over the banks.
template <typename T, int PLANES>
struct __align__(16) Piece {
  T of[PLANES][DEPTH][TILE + 4];
};

// Which elements of a piece a thread moves: i = 0, 1, ... is the one at row or column
// across + i * across_step, depth + i * depth_step. Neighbouring threads move what lies side by
// side in memory, be it along k or across.
struct Share {
  int across, depth, across_step, depth_step;
};

__device__ __forceinline__ Share share(const int* deep, int K) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  if (K > 1 && deep[1] - deep[0] == 1)
    return {thread / DEPTH, thread % DEPTH, THREADS / DEPTH, 0};
  return {thread % TILE, thread / TILE, 0, THREADS / TILE};
}

// Left or right as a matrix: `width` rows or columns, K deep.
template <typename T>
struct Matrix {
  const Operand<T>& operand;
  const int *along, *deep;  // tables of m or n, and of k
  int element, width, K;    // number of the first element; how many there are to load
  Share share;

  template <bool COMPLEX>
  __device__ __forceinline__ void fetch(int k, Complex<T> (&values)[LOADS]) const {
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      const int across = share.across + i * share.across_step;
      const int depth = share.depth + i * share.depth_step + k;
      values[i] = {0, 0};
      if (across < width && depth < K)
        values[i] = load<COMPLEX>(operand, operand.at(0, element + along[across] + deep[depth]));
    }
  }

  template <bool COMPLEX, int PLANES>
  __device__ __forceinline__ void put(const Complex<T> (&values)[LOADS],
                                      Piece<T, PLANES>& piece) const {
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      const int across = share.across + i * share.across_step;
      const int depth = share.depth + i * share.depth_step;
      piece.of[0][depth][across] = values[i].re;
      if (COMPLEX) piece.of[PLANES - 1][depth][across] = values[i].im;
    }
  }
};

template <bool COMPLEX, typename T, int PLANES>
__device__ __forceinline__ void take(const Piece<T, PLANES>& piece, int depth, int first,
                                     Complex<T> (&values)[EACH]) {
#pragma unroll
  for (int i = 0; i < EACH; ++i)
    values[i] = {piece.of[0][depth][first + i],
                 COMPLEX ? piece.of[PLANES - 1][depth][first + i] : T(0)};
}

// EACH x EACH outputs of a thread. The next piece is on its way while this one is worked on.
template <bool LEFT_COMPLEX, bool RIGHT_COMPLEX, typename T, int PLANES>
__device__ __forceinline__ void multiply(const Matrix<T>& left, const Matrix<T>& right,
                                         Piece<T, PLANES> (&pieces)[2],
                                         Complex<T> (&sums)[EACH][EACH]) {
  Complex<T> next_left[LOADS], next_right[LOADS];
  left.template fetch<LEFT_COMPLEX>(0, next_left);
  right.template fetch<RIGHT_COMPLEX>(0, next_right);
  for (int k = 0; k < left.K; k += DEPTH) {
    __syncthreads();  // nobody reads the last piece any more
    left.template put<LEFT_COMPLEX>(next_left, pieces[0]);
    right.template put<RIGHT_COMPLEX>(next_right, pieces[1]);
    __syncthreads();
    left.template fetch<LEFT_COMPLEX>(k + DEPTH, next_left);
    right.template fetch<RIGHT_COMPLEX>(k + DEPTH, next_right);
    const int depth = min(DEPTH, left.K - k);  // zeros may not be added: -0 would become 0
#pragma unroll 4
    for (int d = 0; d < depth; ++d) {
      Complex<T> x[EACH], y[EACH];
      take<LEFT_COMPLEX>(pieces[0], d, EACH * threadIdx.y, x);
      take<RIGHT_COMPLEX>(pieces[1], d, EACH * threadIdx.x, y);
#pragma unroll
      for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j)
          add_product(sums[i][j], x[i], y[j], LEFT_COMPLEX, RIGHT_COMPLEX);
    }
  }
}

// blockIdx.x is the tile of outputs, blockIdx.y the first h, blockIdx.z the point of the batch, of
// which there are at most 65,535, lanes innermost; a block has 16 x 16 threads.
template <typename T, bool COMPLEX>
__global__ void __launch_bounds__(256)
    run_gemm(T* arena, const long long* __restrict__ row, const int* __restrict__ tables,
             const long long* __restrict__ shift, int n1, long long inner) {
  using Part = Piece<T, COMPLEX ? 2 : 1>;
  TN_STATIC_SHARED(Part, pieces, [2]);
  const Batch batch = batch_run(blockIdx.z, 1, n1, inner);
  const Step<T> step = resolve<T>(row, shift, batch, arena, nullptr, 0);
  const Tables t = split(tables + step.table, step.H, step.M, step.N, step.K);
  const int tiles = (step.N + TILE - 1) / TILE;
  const int m0 = blockIdx.x / tiles * TILE, n0 = blockIdx.x % tiles * TILE;
  const Share left_share = share(t.kA, step.K), right_share = share(t.kB, step.K);
  for (int h = blockIdx.y; h < step.H; h += gridDim.y) {
    const Matrix<T> left{step.left, t.mA + m0, t.kA, t.hA[h], step.M - m0, step.K, left_share};
    const Matrix<T> right{step.right, t.nB + n0, t.kB, t.hB[h], step.N - n0, step.K, right_share};
    Complex<T> sums[EACH][EACH] = {};
    if (!COMPLEX || (!step.left.imag && !step.right.imag))
      multiply<false, false>(left, right, pieces, sums);
    else if (!step.right.imag)
      multiply<COMPLEX, false>(left, right, pieces, sums);
    else if (!step.left.imag)
      multiply<false, COMPLEX>(left, right, pieces, sums);
    else
      multiply<COMPLEX, COMPLEX>(left, right, pieces, sums);
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
      for (int j = 0; j < EACH; ++j) {
        const int m = m0 + EACH * threadIdx.y + i, n = n0 + EACH * threadIdx.x + j;
        if (m >= step.M || n >= step.N) continue;
        const Address at = step.out.at(0, t.hC[h] + t.mC[m] + t.nC[n]);
        if (step.out.imag)
          store<COMPLEX>(step.out, at, sums[i][j]);
        else
          store<false>(step.out, at, sums[i][j]);
      }
  }
}

// One output a thread; the grid is that of run_large.
template <typename T, bool COMPLEX>
__global__ void __launch_bounds__(512, 1)
    run_step_naive(T* arena, const long long* row, const int* tables, const long long* shift,
                   int n1, long long inner) {
  const Batch batch = batch_run(blockIdx.x, blockDim.x, n1, inner);
  if (batch.t0 + threadIdx.x >= inner) return;
  const long long outputs = row[0] * row[1] * row[2], stride = (long long)gridDim.y * blockDim.y;
  for (long long number = (long long)blockIdx.y * blockDim.y + threadIdx.y; number < outputs;
       number += stride)
    one_output<COMPLEX, T>(row, tables, shift, batch, arena, nullptr, 0, threadIdx.x, number);
}

#ifndef __CUDACC_RTC__  // NVRTC is told which instances are wanted
template __global__ void run_large<float, false>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_large<float, true>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_large<double, false>(
    double*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_large<double, true>(
    double*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_gemm<float, false>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_gemm<float, true>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_gemm<double, false>(
    double*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_gemm<double, true>(
    double*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_step_naive<float, false>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_step_naive<float, true>(
    float*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_step_naive<double, false>(
    double*, const long long*, const int*, const long long*, int, long long);
template __global__ void run_step_naive<double, true>(
    double*, const long long*, const int*, const long long*, int, long long);
#endif
