// Random bits as a pure function of a key and a counter: Philox-4x32-10.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
// tn_qnn/rng.py is the same for the host.
#pragma once

#include "portable.cuh"

struct Words {
  unsigned at[4];
};

__device__ __forceinline__ Words philox(Words counter, unsigned key0, unsigned key1) {
  Words c = counter;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const Address p = wide_product(0xD2511F53u, c.at[0]), q = wide_product(0xCD9E8D57u, c.at[2]);
    c = {unsigned(q >> 32) ^ c.at[1] ^ key0, unsigned(q), unsigned(p >> 32) ^ c.at[3] ^ key1,
         unsigned(p)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}
