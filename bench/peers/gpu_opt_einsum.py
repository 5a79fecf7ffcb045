"""opt_einsum on CuPy: our network along our path, by einsum and cuBLAS."""

from __future__ import annotations

from typing import Any

from bench.cases import Problem
from bench.peers.gpu_network import Library, Networks, by_opt_einsum


class CupyCall:
    """Arrays of CuPy; ``networks`` works on them."""

    def __init__(self, problem: Problem, networks: Networks, cp: Any) -> None:
        self.dtype, self.networks, self.cp = problem.dtype, networks, cp

    def put(self, array: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.cp.asarray(array.astype(self.dtype))

    def run(self, weights: Any, X: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        outputs = self.networks(weights, X)
        self.cp.cuda.get_current_stream().synchronize()
        return outputs

    def get(self, outputs: Any) -> Any:
        """See :class:`bench.gpu.peers.DeviceCall`."""
        return self.cp.asnumpy(self.cp.moveaxis(outputs, 0, -1))


def cupy_library(cp: Any) -> Library:
    """CuPy as a library of arrays."""
    return Library(cp, cp.asarray, lambda array, kind: array.astype(kind))


def build(problem: Problem, sets: int, samples: int) -> CupyCall:
    """One contraction expression a topology."""
    import cupy as cp

    networks = Networks(problem, sets, samples, cupy_library(cp), by_opt_einsum)
    return CupyCall(problem, networks, cp)
