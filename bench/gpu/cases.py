"""The cases on a GPU: those of the CPU, larger circuits, larger batches; frozen as those are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from bench import circuits
from bench.cases import CASES, Case, Problem
from bench.gpu.goals import FasterThanBest, HostTime, OfCeiling
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import heavy_hex_eagle
from tn_qnn.circuit.slots import feature, weight

PEERS = ("tensorcircuit-ng-gpu", "opt-einsum-cupy", "cutensornet", "torch-graphs")
#: Circuits whose cones are large: they have another goal.
LARGE = ("grid-8", "grid-10", "entangling-3", "kicked-7")
#: Parameter sets and samples beside the 2 x 256 of every circuit.
BATCHES = {
    "line-6": ((2, 1024), (2, 4096), (2, 16384), (16, 256), (64, 256), (64, 16384)),
    "grid-8": ((2, 4096), (2, 16384), (16, 1024), (64, 256)),
    "complex-entangling": ((2, 4096), (2, 16384), (64, 256)),
    "grid-10": ((2, 4096), (16, 256)),
    "entangling-3": ((2, 4096), (64, 256)),
    "kicked-5": ((2, 16384), (64, 256)),
}
#: What the check measures: small, large, complex, and a whole step.
CHECKED = ("line-6", "grid-8", "complex-entangling", "step-demo")


def kicked_ising(steps: int) -> Circuit:
    """The kicked Ising model of :func:`bench.circuits.kicked_ising` with kicks that vary.

    RX(weight of the step + the only feature) on all of Eagle's 127 qubits, then RZZ(-pi/2) on all
    144 edges.
    """
    graph = heavy_hex_eagle()
    circuit = Circuit(graph.num_nodes)
    for step in range(steps):
        for q in range(graph.num_nodes):
            circuit.rx(weight(f"h{step}") + feature(0), q)
        for a, b in graph.edges:
            circuit.rzz(-math.pi / 2, a, b)
    return circuit


def _problem(name: str, size: int, qubit: int) -> Problem:
    build: dict[str, Callable[[int], Circuit]]
    build = {"grid": circuits.grid, "entangling": circuits.entangling, "kicked": kicked_ising}
    return Problem((build[name](size),), (qubit,))


def _large() -> Iterator[Case]:
    found = (
        ("grid-10", "8x8 grid, 10 layers", ("grid", 10, 27), 1.0),
        ("entangling-3", "64 qubits, 3 strongly entangling layers", ("entangling", 3, 32), 0.1),
        ("kicked-5", "127-qubit kicked Ising, 5 steps, kicks vary", ("kicked", 5, 62), 0.3),
        ("kicked-7", "127-qubit kicked Ising, 7 steps, kicks vary", ("kicked", 7, 62), 0.3),
    )
    for name, title, arguments, spread in found:
        yield Case(name, title, partial(_problem, *arguments), (), spread=spread)


def _gradient() -> Case:
    """The step of :class:`~tn_qnn.train.exact.ExactGradient`; the peers have no such step."""
    (demo,) = (case for case in CASES if case.name == "step-demo")
    goals: Any = (OfCeiling("large", 0.5), OfCeiling("small", 0.25))
    return replace(
        demo,
        name="gradient-demo",
        title="exact gradient of the demo: ten 64-qubit trees, 64 samples",
        goals=goals,
        peers=(),
        sets=1,
        task="gradient",
    )


def _on_gpu(case: Case) -> Case:
    """A case with the peers and goals of a GPU."""
    # Where nothing varies a call only reads a folded constant: there is nothing to be judged.
    if case.name.startswith("wall"):
        return replace(case, goals=(), peers=())
    factor = 1.5 if case.name in LARGE else 10
    goals: Any = (
        FasterThanBest("steady", PEERS, factor),
        OfCeiling("large", 0.5),
        OfCeiling("small", 0.25),
        HostTime(10e-6),
    )
    return replace(case, goals=goals, peers=PEERS)


def _all() -> Iterator[Case]:
    for plain in (*CASES, *_large()):
        case = _on_gpu(plain)
        yield case
        for sets, samples in BATCHES.get(case.name, ()):
            yield replace(
                case,
                name=f"{case.name}@{sets}x{samples}",
                title=f"{case.title}, {sets} x {samples:,}",
                sets=sets,
                samples=samples,
            )
    yield _gradient()


GPU_CASES = tuple(_all())


def find_gpu_cases(only: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """Cases by name, or all batches of a circuit by the circuit's name.

    Raises
    ------
    ValueError
        For a name that there is not.
    """
    known = {case.name for case in GPU_CASES}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"no case is named {unknown[0]!r}; known: {sorted(known)}")
    return tuple(
        c for c in GPU_CASES if not only or c.name in only or c.name.partition("@")[0] in only
    )
