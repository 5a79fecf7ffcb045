"""What a model costs, said before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tn_qnn.backends.protocol import Executor
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import DensityMatrix, Observable, PauliSum
from tn_qnn.errors import InputError
from tn_qnn.models.checks import check_count
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.plan.budget import Search
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job

if TYPE_CHECKING:
    from tn_qnn.models.qnn import QNN

CALL_SECONDS = 60e-6  # of Python a call and job, whatever the circuit
STAGE_NAMES = {CONES: "cones", SETS: "weight sets", SAMPLES: "samples"}


@dataclass(frozen=True)
class JobCost:
    """Cost of one cone topology.

    Attributes
    ----------
    cones
        How many cones share it.
    tensors, width
        Tensors of the network; log2 of the largest intermediate, batch not counted.
    multiply_adds
        Real multiply-adds of one call.
    peak_bytes
        What the call holds.
    slices
        How often the program runs a call.
    stages
        Pairs (what the stage runs once for each of, number of steps).
    real
        Whether everything is real.
    """

    cones: int
    tensors: int
    width: float
    multiply_adds: int
    peak_bytes: int
    slices: int
    stages: tuple[tuple[str, int], ...]
    real: bool


@dataclass(frozen=True)
class Hardware:
    """What the same circuit would need on a quantum computer.

    Attributes
    ----------
    qubits, depth, two_qubit_gates, wider_gates
        Of the largest circuit.
    shots
        Shots for one sample so that every output's standard error is at most ``error``:
        (sum of |coefficients|)**2 / error**2 for a Pauli sum, the terms measured one by one.
    error
        The standard error asked for.
    """

    qubits: int
    depth: int
    two_qubit_gates: int
    wider_gates: int
    shots: int
    error: float


@dataclass(frozen=True)
class Explanation:
    """Plan and hardware costs of a model; ``str()`` gives a page to read.

    Attributes
    ----------
    sets, samples
        Batch size that the figures are for.
    jobs
        One entry a cone topology.
    per_sample_multiply_adds
        Multiply-adds of the same call with a weight set for every sample, by a fast search.
    seconds
        Predicted time of a call, good to a factor of two or three.
    hardware
        On a quantum computer.
    """

    sets: int
    samples: int
    outputs: int
    jobs: tuple[JobCost, ...]
    per_sample_multiply_adds: int
    seconds: float
    hardware: Hardware

    @property
    def multiply_adds(self) -> int:
        """Real multiply-adds of one call, all topologies."""
        return sum(job.multiply_adds for job in self.jobs)

    @property
    def peak_bytes(self) -> int:
        """Bytes that a call holds, the sum over all topologies."""
        return sum(job.peak_bytes for job in self.jobs)

    def __str__(self) -> str:
        lines = [
            f"{self.outputs} outputs, {len(self.jobs)} distinct cone topologies;"
            f" {self.sets} weight sets x {self.samples} samples a call"
        ]
        for job in self.jobs:
            stages = ", ".join(f"{count} per {name}" for name, count in job.stages)
            sliced = f", {job.slices} slices" if job.slices > 1 else ""
            lines.append(
                f"  {job.cones} cones of {job.tensors} {'real' if job.real else 'complex'} tensors:"
                f" width {job.width:.0f}, {job.multiply_adds:.3g} multiply-adds,"
                f" {_bytes(job.peak_bytes)}{sliced}; steps: {stages}"
            )
        lines += [
            f"in all {self.multiply_adds:.3g} multiply-adds, {_bytes(self.peak_bytes)},"
            f" about {_seconds(self.seconds)} a call",
            f"with a weight set for every sample: {self.per_sample_multiply_adds:.3g}"
            " multiply-adds",
            f"on hardware: {self.hardware.qubits} qubits, depth {self.hardware.depth},"
            f" {self.hardware.two_qubit_gates} two-qubit gates"
            + (f", {self.hardware.wider_gates} wider" if self.hardware.wider_gates else "")
            + f"; {self.hardware.shots:,} shots a sample for a standard error of"
            f" {self.hardware.error:g}",
        ]
        return "\n".join(lines)


def explained(
    model: QNN,
    executors: Sequence[Executor],
    sets: int | None,
    samples: int | None,
    error: float,
) -> Explanation:
    """What a call of a model costs by its executors; see :meth:`QNN.explain`."""
    if not error > 0:
        raise InputError(f"error: a positive number expected, not {error!r}")
    p, s = model.sets if sets is None else sets, model.samples if samples is None else samples
    check_count("sets", p)
    check_count("samples", s)
    costs = tuple(job_cost(e.job, e, p, s) for e in executors)
    per_sample = sum(
        compile_program(
            b.network, Search().plan(b.network, model.sets, model.samples)
        ).multiply_adds({CONES: len(b.cones), SETS: p, SAMPLES: s})
        for b in model.readouts.per_sample().batches
    )
    work = sum(cost.multiply_adds for cost in costs)
    seconds = CALL_SECONDS * len(costs) + work / model.backend.speed(model.dtype)
    return Explanation(
        p, s, model.num_outputs, costs, per_sample, seconds,
        hardware_cost(model.circuits, model.observables, error),
    )  # fmt: skip


def job_cost(job: Job, executor: Executor, sets: int, samples: int) -> JobCost:
    """Cost of a job for a batch."""
    program = job.program
    sizes = {CONES: job.cones, SETS: sets, SAMPLES: samples}
    stages = tuple(
        (" and ".join(STAGE_NAMES[x] for x in stage.labels) or "plan", len(stage.steps))
        for stage in program.stages
    )
    return JobCost(
        job.cones,
        len(program.network.tensors),
        program.plan.cost.width,
        program.multiply_adds(sizes),
        executor.forecast(sets, samples),
        program.slices,
        stages,
        program.network.real,
    )


def hardware_cost(
    circuits: Sequence[Circuit], observables: Sequence[Observable], error: float
) -> Hardware:
    """Cost of the same outputs on a quantum computer."""
    largest = max(circuits, key=lambda c: (c.num_qubits, len(c)))
    sizes = [len(op.qubits) for op in largest.operations]
    shots = sum(math.ceil(_spread(o) ** 2 / error**2) for o in observables) * len(circuits)
    return Hardware(
        largest.num_qubits,
        largest.depth(),
        sum(n == 2 for n in sizes),
        sum(n > 2 for n in sizes),
        shots,
        error,
    )


def _spread(observable: Observable) -> float:
    """Sum of the absolute coefficients: what bounds the spread of a single shot."""
    if isinstance(observable, PauliSum):
        return sum(abs(c) for string, c in observable.terms if string)
    return 2.0 ** len(observable.qubits) if isinstance(observable, DensityMatrix) else 1.0


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _seconds(value: float) -> str:
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
