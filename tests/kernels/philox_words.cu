// For tests: the words of Philox for given counters and keys.

#include "../../kernels/philox.cuh"

__global__ void __launch_bounds__(128)
    philox_words(unsigned* words, const unsigned* counters, const unsigned* keys, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const unsigned* const c = counters + 4 * i;
  const Words found = philox({c[0], c[1], c[2], c[3]}, keys[2 * i], keys[2 * i + 1]);
  for (int w = 0; w < 4; ++w) words[4 * i + w] = found.at[w];
}
