"""The cases: frozen circuits, batch sizes, peers and goals.

A case is never changed, only replaced under another name: results of years must compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from bench import circuits
from bench.goals import AtMost, Faster, Goal
from tn_qnn.circuit.circuit import Circuit

#: Peers of a circuit too wide for a statevector.
WIDE = (
    "tensorcircuit-ng",
    "cotengra-numpy",
    "cotengra-our-path",
    "qiskit-aer",
    "quimb",
    "pennylane-tn",
)
COMPILING = ("tensorcircuit-ng",)
LOOKING_ON = ("cotengra-our-path",)  # no goal of its own: half of it is ours


@dataclass(frozen=True)
class Problem:
    """What every peer gets: circuits, and the qubits whose Z is read out of each of them."""

    circuits: tuple[Circuit, ...]
    qubits: tuple[int, ...]
    dtype: str = "float32"

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """Columns of the weights."""
        return tuple(dict.fromkeys(name for c in self.circuits for name in c.weights))

    @property
    def num_features(self) -> int:
        """Columns of the data."""
        return max(c.num_features for c in self.circuits)

    @property
    def num_outputs(self) -> int:
        """Outputs of an evaluation."""
        return len(self.circuits) * len(self.qubits)


@dataclass(frozen=True)
class Case:
    """One line of the benchmark.

    Attributes
    ----------
    name, title
        For ``--only`` and for the tables.
    build
        Makes the problem.
    goals
        What is to be reached.
    peers
        Who is measured beside us.
    sets, samples
        Batch: parameter sets, samples.
    unit
        What a steady time is quoted for: "evaluation" (one sample with one set of weights, all
        outputs; in µs), "step" or "call" (the whole batch; in ms).
    task
        "outputs", or "spsa" for a whole SPSA step of ours.
    value
        Known value of the only output.
    spread
        Standard deviation of weights and data, in radians; small where a product over all qubits
        would vanish otherwise, and any wrong answer pass for right.
    """

    name: str
    title: str
    build: Callable[[], Problem]
    goals: tuple[Goal, ...]
    peers: tuple[str, ...] = WIDE
    sets: int = 2
    samples: int = 256
    unit: str = "evaluation"
    task: str = "outputs"
    value: float | None = None
    spread: float = 1.0

    @property
    def evaluations(self) -> int:
        """Evaluations in a batch."""
        return self.sets * self.samples

    @property
    def scale(self) -> float:
        """Factor from seconds a batch to the unit of the tables."""
        return 1e6 / self.evaluations if self.unit == "evaluation" else 1e3

    @property
    def unit_name(self) -> str:
        """Unit of the tables."""
        return "µs" if self.unit == "evaluation" else "ms"

    @property
    def group(self) -> str:
        """The name up to its last dash: ``--only`` takes it too."""
        return self.name.rpartition("-")[0] or self.name

    def smaller(self) -> Case:
        """The same with a small batch, to try the benchmark itself."""
        return replace(self, samples=min(self.samples, 16))


def inputs(
    case: Case, problem: Problem, batches: int = 1
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Batches of weights (P, W) and data (S, F), the same in every process."""
    rng = np.random.default_rng(0)
    shapes = (case.sets, len(problem.weight_names)), (case.samples, problem.num_features)
    return [
        (case.spread * rng.normal(size=shapes[0]), case.spread * rng.normal(size=shapes[1]))
        for _ in range(batches)
    ]


def _one(build: Callable[[int], Circuit], size: int, qubit: int) -> Problem:
    return Problem((build(size),), (qubit,))


def _line20(depth: int) -> Problem:
    return Problem((circuits.line(depth, 20),), (10,))


def _demo() -> Problem:
    return Problem(tuple(circuits.demo_tree(f"class{k}") for k in range(10)), (0,))


def _eagle() -> Problem:
    return Problem((circuits.kicked_ising(),), (62,), dtype="float64")


def _wide(n: int) -> Problem:
    return Problem((circuits.line(4, n),), tuple(range(n)))


def _ratios(compiled_first: float, others_first: bool = True) -> tuple[Goal, ...]:
    """Ten times the best peer, three times cotengra, and the first call."""
    looped = [p for p in WIDE if p not in COMPILING + LOOKING_ON] if others_first else []
    return (
        Faster("steady", "tensorcircuit-ng", 10),
        Faster("steady", "cotengra-numpy", 3),
        *(Faster("first", peer, compiled_first) for peer in COMPILING),
        *(Faster("first", peer, 1) for peer in looped),
    )


def _lines() -> list[Case]:
    goals = {2: 0.2, 4: 0.45, 6: 1.1, 8: 2.0}
    return [
        Case(
            f"line-{depth}",
            f"line of 64, depth {depth}",
            partial(_one, circuits.line, depth, 32),
            (AtMost("steady", goal), *_ratios(10 if depth >= 4 else 1)),
        )
        for depth, goal in goals.items()
    ]


def _grids() -> list[Case]:
    goals = {4: 1.2, 6: 5.0, 8: 300.0}
    return [
        Case(
            f"grid-{layers}",
            f"8x8 grid, {layers} layers",
            partial(_one, circuits.grid, layers, 27),
            (AtMost("steady", goal), *_ratios(10)),
        )
        for layers, goal in goals.items()
    ]


CASES: tuple[Case, ...] = (
    *_lines(),
    *_grids(),
    Case(
        "complex-u3",
        "line of 64, U3 and CNOT, depth 4",
        partial(_one, circuits.u3_brickwork, 4, 32),
        _ratios(10),
    ),
    Case(
        "complex-entangling",
        "64 qubits, 2 strongly entangling layers",
        partial(_one, circuits.entangling, 2, 32),
        _ratios(10),
        spread=0.1,
    ),
    Case(
        "small-line20",
        "line of 20, depth 6 (a statevector fits)",
        partial(_line20, 6),
        (*_ratios(10), Faster("steady", "pennylane-lightning", 10)),
        peers=(*WIDE, "pennylane-lightning"),
    ),
    Case(
        "step-demo",
        "SPSA step of the demo: ten 64-qubit trees, 64 samples, a ± pair",
        _demo,
        (
            Faster("steady", "tensorcircuit-ng", 10),
            Faster("steady", "cotengra-numpy", 3),
            Faster("first", "tensorcircuit-ng", 10),
        ),
        peers=("tensorcircuit-ng", "cotengra-numpy", "cotengra-our-path"),
        samples=64,
        unit="step",
        task="spsa",
    ),
    Case(
        "wall-eagle",
        "127-qubit kicked Ising, 5 steps, <Z62>",
        _eagle,
        (AtMost("first", 3.0),),
        peers=("cotengra-numpy", "cotengra-our-path", "tensorcircuit-ng", "quimb"),
        sets=1,
        samples=1,
        unit="call",
        value=0.63870894551914,
    ),
    Case(
        "wall-1000",
        "line of 1,000, depth 4, 1,000 readouts",
        partial(_wide, 1000),
        (AtMost("first", 1.0), AtMost("peak", 100.0)),
        peers=("cotengra-numpy", "qiskit-aer"),
        sets=1,
        samples=1,
        unit="call",
    ),
    Case(
        "wall-10000",
        "line of 10,000, depth 4, 10,000 readouts",
        partial(_wide, 10_000),
        (AtMost("first", 10.0), AtMost("peak", 1000.0)),
        peers=("cotengra-numpy", "qiskit-aer"),
        sets=1,
        samples=1,
        unit="call",
    ),
)

#: Run by every worker before anything is timed: imports are done, compiled kernels loaded.
WARM_UP = Case("warm-up", "line of 8, depth 3", lambda: Problem((circuits.line(3, 8),), (3, 4)), ())


def find_cases(only: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """Cases by name or by group, all of them by default.

    Raises
    ------
    ValueError
        For a name that there is not.
    """
    known = {case.name for case in CASES} | {case.group for case in CASES}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"no case or group is named {unknown[0]!r}; known: {sorted(known)}")
    return tuple(c for c in CASES if not only or c.name in only or c.group in only)
