// Batched tensors: complex numbers in two planes, and operands of which each lane has its own.
#pragma once

#include "portable.cuh"

template <typename T>
struct Complex {
  T re, im;
};

// sum += left * right. Every kernel adds its terms by this function and in ascending k, each plane
// in one chain of fused multiply-adds: so all kernels and all tilings give the same bits.
template <typename T>
__device__ __forceinline__ void add_product(Complex<T>& sum, Complex<T> left, Complex<T> right,
                                            bool left_complex, bool right_complex) {
  sum.re = fma(left.re, right.re, sum.re);
  if (right_complex) sum.im = fma(left.re, right.im, sum.im);
  if (left_complex) sum.im = fma(left.im, right.re, sum.im);
  if (left_complex && right_complex) sum.re = fma(-left.im, right.im, sum.re);
}

// Where an operand lies, in bytes. Element e of a lane is first + lane * pitch + e * stride, and
// its imaginary part is imag further on; imag = 0 says that the operand is real.
//
// An operand lies in the arena or in shared memory; by generic addresses one code serves both. The
// arena is written in the launch that reads it, so nothing is loaded as if it were constant.
template <typename T>
struct Operand {
  Address first, imag;
  unsigned stride;
  unsigned pitch;  // 0 for a splat, one value for all lanes

  __device__ __forceinline__ Address at(unsigned lane, unsigned element) const {
    return first + wide_product(lane, pitch) + wide_product(element, stride);
  }
};

template <bool COMPLEX, typename T>
__device__ __forceinline__ Complex<T> load(const Operand<T>& from, Address at) {
  const T re = *reinterpret_cast<const T*>(at);
  return {re, COMPLEX ? *reinterpret_cast<const T*>(at + from.imag) : T(0)};
}

template <bool COMPLEX, typename T>
__device__ __forceinline__ void store(const Operand<T>& to, Address at, Complex<T> value) {
  *reinterpret_cast<T*>(at) = value.re;
  if (COMPLEX) *reinterpret_cast<T*>(at + to.imag) = value.im;
}
