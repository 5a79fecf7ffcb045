"""cuTensorNet: our network along our path, the contraction autotuned, operands reset each call."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.cases import Problem
from bench.peers.gpu_network import Evaluate, Network, Networks
from bench.peers.gpu_opt_einsum import CupyCall, cupy_library

TRIALS = 5  # of the autotuner


def by_cutensornet(network: Network) -> Evaluate:
    """The contraction by one ``Network`` object, which plans at the first call."""
    theirs = import_module("cuquantum.tensornet").Network
    made: list[Any] = []

    def evaluate(*tensors: Any) -> Any:
        if made:
            made[0].reset_operands(*tensors)
        else:
            operands = [x for pair in zip(tensors, network.inputs, strict=True) for x in pair]
            made.append(theirs(*operands, network.output))
            made[0].contract_path(optimize={"path": list(network.path)})
            made[0].autotune(iterations=TRIALS)
        return made[0].contract()

    return evaluate


def build(problem: Problem, sets: int, samples: int) -> CupyCall:
    """One network a topology."""
    import cupy as cp

    networks = Networks(problem, sets, samples, cupy_library(cp), by_cutensornet)
    return CupyCall(problem, networks, cp)
