// A step, out[h, m, n] = sum over k of left[h, m, k] * right[h, k, n], as tables describe it.
//
// A row of the step table has 32 integers: H, M, N, K, where the step's offset tables begin, 0, 0,
// 0, then for left, right and out: kind, base, imag, stride, s0, s1, 0, 0, counted in scalars, or
// for LOCAL in elements. Element e of row (i0, i1) of the batch is at base + i0 * s0 + i1 * s1 +
// e * stride, and two elements are less than 4 GiB apart.
//
// The offset tables hold element numbers that add up: element (h, m, k) of left is number
// hA[h] + mA[m] + kA[k]. So nothing is ever transposed.
#pragma once

#include "tensor.cuh"

constexpr int STEP_ROW = 32, OPERAND_ROW = 8;
enum Kind { SPLAT, VECTOR, LOCAL };  // one value for all lanes; one a lane; one a lane in scratch

// Row (i0, i1) of the batch, lanes from t0 on.
struct Batch {
  long long i0, i1, t0;
};

// A batch of n0 x n1 x inner points is cut into runs of `width` lanes: where run `number` begins.
__device__ __forceinline__ Batch batch_run(long long number, int width, int n1, long long inner) {
  const long long runs = (inner + width - 1) / width, row = number / runs;
  return {row / n1, row % n1, number % runs * width};
}

struct Tables {
  const int *hA, *mA, *kA, *hB, *kB, *nB, *hC, *mC, *nC;
};

__device__ __forceinline__ Tables split(const int* hA, int H, int M, int N, int K) {
  const int *mA = hA + H, *kA = mA + M;
  const int *hB = kA + K, *kB = hB + H, *nB = kB + K;
  const int *hC = nB + N, *mC = hC + H, *nC = mC + M;
  return {hA, mA, kA, hB, kB, nB, hC, mC, nC};
}

template <typename T>
struct Step {
  int H, M, N, K, table;
  Operand<T> left, right, out;
};

// `width` is the number of lanes that the scratch is laid out for. Without branches, so that all
// loads are under way at once.
template <typename T>
__device__ __forceinline__ Operand<T> operand(const long long* row, long long shift, Batch batch,
                                              T* arena, T* scratch, int width) {
  const long long kind = row[0], base = row[1], imag = row[2], stride = row[3];
  const long long outer = shift + batch.i0 * row[4] + batch.i1 * row[5];
  const bool local = kind == LOCAL;
  const long long size = sizeof(T), scale = local ? width * size : size;  // of what a row counts
  const long long lanes = local ? 0 : (outer + (kind == VECTOR ? batch.t0 : 0)) * size;
  return {Address(local ? scratch : arena) + base * scale + lanes, Address(imag * scale),
          unsigned((local ? 1 : stride) * scale), kind == SPLAT ? 0u : unsigned(size)};
}

// A step as it is in a batch; `shift` has what is added to the bases of left, right and out.
template <typename T>
__device__ __forceinline__ Step<T> resolve(const long long* row, const long long* shift,
                                           Batch batch, T* arena, T* scratch, int width) {
  const auto part = [&](int i) {
    return operand(row + (i + 1) * OPERAND_ROW, shift[i], batch, arena, scratch, width);
  };
  return {int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]),
          part(0),     part(1),     part(2)};
}
