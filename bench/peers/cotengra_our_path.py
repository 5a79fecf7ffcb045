"""As :mod:`bench.peers.cotengra_numpy`, but along our path: what is left is our program."""

from __future__ import annotations

from typing import Any

from bench.cases import Problem
from bench.peers import Call, cotengra_numpy
from tn_qnn.network.batch import ConeBatch
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.network import topology_of


def ours(batch: ConeBatch, counts: dict[str, int], spec: Any) -> Any:
    """The path of search="fast", as positions in a shrinking list."""
    plan = find_plan(topology_of(batch.network, counts[SETS], counts[SAMPLES]), "fast")
    alive = list(range(len(batch.network.tensors)))
    path = []
    for step, pair in enumerate(plan.path):
        places = sorted(alive.index(node) for node in pair)
        path.append(tuple(places))
        for place in reversed(places):
            del alive[place]
        alive.append(len(batch.network.tensors) + step)
    return tuple(path)


def build(problem: Problem, sets: int, samples: int) -> Call:
    """One contraction expression a topology, planned by us."""
    return cotengra_numpy.build(problem, sets, samples, ours)
