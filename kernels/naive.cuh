// The plain way through a step: one output at a time, straight from the row of the step table. The
// fast kernels are held to this one, bit for bit, and all of them to NumPy.
#pragma once

#include "step.cuh"

template <typename T>
struct Place {
  T* at;
  long long imag;
};

// Element number `element` of an operand at a lane.
template <typename T>
__device__ __forceinline__ Place<T> place(const long long* row, long long shift, Batch batch,
                                          T* arena, T* scratch, int width, int lane, int element) {
  if (row[0] == LOCAL) return {scratch + (row[1] + element) * width + lane, row[2] * width};
  T* const at =
      arena + row[1] + shift + batch.i0 * row[4] + batch.i1 * row[5] + element * row[3];
  return {row[0] == SPLAT ? at : at + batch.t0 + lane, row[2]};
}

// Output number `number` of the H * M * N of a step, at a lane.
template <bool COMPLEX, typename T>
__device__ __forceinline__ void one_output(const long long* row, const int* tables,
                                           const long long* shift, Batch batch, T* arena,
                                           T* scratch, int width, int lane, long long number) {
  const int H = row[0], M = row[1], N = row[2], K = row[3];
  const int h = number / N / M, m = number / N % M, n = number % N;
  const Tables t = split(tables + row[4], H, M, N, K);
  const bool left_complex = COMPLEX && row[10], right_complex = COMPLEX && row[18];
  Complex<T> sum = {0, 0};
#pragma unroll 1
  for (int k = 0; k < K; ++k) {
    const Place<T> x = place(row + 8, shift[0], batch, arena, scratch, width, lane,
                             t.hA[h] + t.mA[m] + t.kA[k]);
    const Place<T> y = place(row + 16, shift[1], batch, arena, scratch, width, lane,
                             t.hB[h] + t.kB[k] + t.nB[n]);
    const Complex<T> left = {x.at[0], left_complex ? x.at[x.imag] : T(0)};
    const Complex<T> right = {y.at[0], right_complex ? y.at[y.imag] : T(0)};
    add_product(sum, left, right, left_complex, right_complex);
  }
  const Place<T> out = place(row + 24, shift[2], batch, arena, scratch, width, lane,
                             t.hC[h] + t.mC[m] + t.nC[n]);
  out.at[0] = sum.re;
  if (left_complex || right_complex) out.at[out.imag] = sum.im;
}
