// The fast way through a step: a thread works out a small matrix of outputs at a time, the sums in
// registers, so that an element of left or right that is loaded once is used several times.
#pragma once

#include "step.cuh"

// ROWS x COLUMNS outputs of one h and one lane.
template <typename T, int ROWS, int COLUMNS, bool LEFT_COMPLEX, bool RIGHT_COMPLEX>
struct Tile {
  const Step<T>& step;
  const Tables& tables;
  Address left[ROWS], right[COLUMNS];  // the elements of k = 0, but for their kA and kB
  Complex<T> sums[ROWS][COLUMNS];

  __device__ __forceinline__ void begin(int lane, int h, int m, int n) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
      left[i] = step.left.at(lane, tables.hA[h] + tables.mA[m + i]);
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j)
      right[j] = step.right.at(lane, tables.hB[h] + tables.nB[n + j]);
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] = {0, 0};
  }

  // COUNT values of k: all loads are under way before the first product needs one.
  template <int COUNT>
  __device__ __forceinline__ void add(int k) {
    Complex<T> x[COUNT][ROWS], y[COUNT][COLUMNS];
#pragma unroll
    for (int c = 0; c < COUNT; ++c) {
      const Address kA = wide_product(tables.kA[k + c], step.left.stride);
      const Address kB = wide_product(tables.kB[k + c], step.right.stride);
#pragma unroll
      for (int i = 0; i < ROWS; ++i) x[c][i] = load<LEFT_COMPLEX>(step.left, left[i] + kA);
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) y[c][j] = load<RIGHT_COMPLEX>(step.right, right[j] + kB);
    }
#pragma unroll
    for (int c = 0; c < COUNT; ++c)
#pragma unroll
      for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
          add_product(sums[i][j], x[c][i], y[c][j], LEFT_COMPLEX, RIGHT_COMPLEX);
  }

  // All places are known before the first store, behind which no table may be read ahead.
  __device__ __forceinline__ void end(int lane, int h, int m, int n) const {
    const Operand<T> out = step.out;
    Address rows[ROWS], columns[COLUMNS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) rows[i] = out.at(lane, tables.hC[h] + tables.mC[m + i]);
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) columns[j] = wide_product(tables.nC[n + j], out.stride);
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j)
        store<LEFT_COMPLEX || RIGHT_COMPLEX>(out, rows[i] + columns[j], sums[i][j]);
  }
};

// x / d, with no division where there is nothing to divide, as for most steps.
__device__ __forceinline__ unsigned quotient(unsigned x, unsigned d) {
  return d == 1 ? x : x < d ? 0 : x / d;
}

// Tiles number first, first + stride, ... of a step. Those that share the larger operand's elements
// are neighbours, so that they come through the caches once.
template <int ROWS, int COLUMNS, bool LEFT_COMPLEX, bool RIGHT_COMPLEX, typename T>
__device__ __forceinline__ void run_tiles(const Step<T>& step, const Tables& tables, int lane,
                                          unsigned first, unsigned stride) {
  constexpr int AHEAD = ROWS * COLUMNS < 16 ? 2 : 1;  // a tile of 16 has enough loads under way
  const unsigned down = step.M / ROWS, across = step.N / COLUMNS;
  const unsigned matrix = down * across, few = min(down, across);
  for (unsigned item = first; item < step.H * matrix; item += stride) {
    const unsigned h = quotient(item, matrix), slow = quotient(item - h * matrix, few);
    const unsigned fast = item - h * matrix - slow * few;
    const unsigned m = ROWS * (down <= across ? fast : slow);
    const unsigned n = COLUMNS * (down <= across ? slow : fast);
    Tile<T, ROWS, COLUMNS, LEFT_COMPLEX, RIGHT_COMPLEX> tile{step, tables};
    tile.begin(lane, h, m, n);
    int k = 0;
#pragma unroll 1
    for (; k + AHEAD <= step.K; k += AHEAD) tile.template add<AHEAD>(k);
    if (AHEAD > 1 && k < step.K) tile.template add<1>(k);
    tile.end(lane, h, m, n);
  }
}

template <int ROWS, int MOST, bool LEFT_COMPLEX, bool RIGHT_COMPLEX, typename T>
__device__ __forceinline__ void run_rows(const Step<T>& step, const Tables& tables, int lane,
                                         unsigned first, unsigned stride) {
  if (step.N % 2)
    run_tiles<ROWS, 1, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
  else if (step.N % MOST)
    run_tiles<ROWS, 2, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
  else
    run_tiles<ROWS, MOST, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
}

// Tiles have as many outputs as registers can hold and as divide M and N, nearly always powers of
// two.
template <bool LEFT_COMPLEX, bool RIGHT_COMPLEX, typename T>
__device__ __forceinline__ void run_planes(const Step<T>& step, const Tables& tables, int lane,
                                           unsigned first, unsigned stride) {
  constexpr int MOST = sizeof(T) * (1 + (LEFT_COMPLEX || RIGHT_COMPLEX)) > 8 ? 2 : 4;
  if (step.M % 2)
    run_rows<1, MOST, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
  else if (step.M % MOST)
    run_rows<2, MOST, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
  else
    run_rows<MOST, MOST, LEFT_COMPLEX, RIGHT_COMPLEX>(step, tables, lane, first, stride);
}

// All outputs of one lane, shared out among `stride` threads of which this is number `first`. All
// threads of a block take the same way through these branches.
template <bool COMPLEX, typename T>
__device__ __forceinline__ void run_step(const Step<T>& step, const int* all_tables, int lane,
                                         unsigned first, unsigned stride) {
  const Tables tables = split(all_tables + step.table, step.H, step.M, step.N, step.K);
  if (!COMPLEX || (!step.left.imag && !step.right.imag))
    run_planes<false, false>(step, tables, lane, first, stride);
  else if (!step.right.imag)
    run_planes<COMPLEX, false>(step, tables, lane, first, stride);
  else if (!step.left.imag)
    run_planes<false, COMPLEX>(step, tables, lane, first, stride);
  else
    run_planes<COMPLEX, COMPLEX>(step, tables, lane, first, stride);
}
