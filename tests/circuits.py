"""What many tests share: random circuits, dense references, models whose programs are checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn import dense
from tn_qnn.backends import get_backend
from tn_qnn.backends.cpu.memory_map import MemoryMap, make_map
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.observables import (
    DensityMatrix,
    Observable,
    X,
    Y,
    Z,
    density_matrix,
    pack_density,
    projector,
)
from tn_qnn.circuit.slots import Expr, as_expr, feature, weight
from tn_qnn.models.qnn import QNN
from tn_qnn.network.batch import ConeBatch, read_out
from tn_qnn.network.canonical import Cone
from tn_qnn.network.elements import Elements
from tn_qnn.network.network import Network
from tn_qnn.network.readout import Group
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.network import topology_of
from tn_qnn.plan.plan import Path, Plan, check_path, cost_of
from tn_qnn.program.check import check_program, check_spans
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job, make_job
from tn_qnn.program.placement import Sizes

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
REAL_GATES = tuple(sorted(name for name, gate in GATES.items() if gate.real))


# --- random circuits


def random_angle(rng: np.random.Generator, weights: int = 4, features: int = 3) -> Expr:
    """A number, or a polynomial of degree up to three in few weights and features."""
    angle = as_expr(float(rng.normal()))
    w = weight(f"w{rng.integers(weights)}") if weights else as_expr(1.3)
    x = feature(int(rng.integers(features))) if features else as_expr(0.7)
    kinds = (angle, angle * w + 0.3, angle * x, angle * x * w + weight_or_number(weights))
    return (*kinds, angle * x * x - 0.5 * w * w * x)[rng.integers(5)]


def weight_or_number(weights: int) -> Expr:
    return weight("w0") if weights else as_expr(0.4)


def random_circuit(
    rng: np.random.Generator,
    num_qubits: int,
    num_gates: int,
    names: Sequence[str] = tuple(sorted(GATES)),
    *,
    weights: int = 4,
    features: int = 3,
    specials: float = 0.1,
    reach: int | None = None,
) -> Circuit:
    """Random gates of the table; a share of blocks, constant unitaries and mcphases.

    With ``reach`` gates stay within as many neighbouring qubits, so that cones stay narrow.
    """
    circuit = Circuit(num_qubits)
    fitting = [name for name in names if GATES[name].num_qubits <= min(num_qubits, reach or 99)]
    while len(circuit) < num_gates:
        if rng.random() < specials:
            append_special(rng, circuit, weights, features, min(num_qubits, reach or 3, 3))
            continue
        gate = GATES[fitting[rng.integers(len(fitting))]]
        angles = [random_angle(rng, weights, features) for _ in gate.parameters]
        circuit.append(gate.name, random_qubits(rng, circuit, gate.num_qubits, reach), angles)
    return circuit


def random_qubits(
    rng: np.random.Generator, circuit: Circuit, count: int, reach: int | None = None
) -> list[int]:
    span = min(reach or circuit.num_qubits, circuit.num_qubits)
    first = rng.integers(circuit.num_qubits - span + 1)
    return [int(first + q) for q in rng.permutation(span)[:count]]


def append_special(
    rng: np.random.Generator, circuit: Circuit, weights: int, features: int, largest: int
) -> None:
    k = int(rng.integers(1, largest + 1))
    qubits = random_qubits(rng, circuit, k, largest if circuit.num_qubits > 12 else None)
    kind = rng.integers(4 if weights else 2)
    if kind == 0:
        circuit.append("mcphase", qubits, [random_angle(rng, weights, features)])
    elif kind == 1:
        circuit.unitary(random_unitary(rng, 2 ** min(k, 2)), qubits[:2])
    else:
        circuit.block((orthogonal if kind == 2 else unitary)(f"B{kind}{k}"), qubits)


def random_unitary(rng: np.random.Generator, d: int) -> NDArray[np.complex128]:
    q, _ = np.linalg.qr(rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d)))
    return np.asarray(q)


def some_observables(num_qubits: int) -> list[Observable]:
    """Every kind of readout, with identity terms, shared cones and repetitions."""
    last, middle = num_qubits - 1, num_qubits // 2
    found: list[Observable] = [
        Z(0),
        0.5 * X(middle) + Y(0) - 2.0,
        projector({0: 1}),
        projector({0: 0, last: 1}),
        density_matrix([middle]),
        Z(0),
    ]
    if num_qubits > 1:
        found += [
            X(0) @ Y(1) + 0.25 * Z(0) @ Z(last) - 1.5 * Z(last),
            density_matrix([last, 0]),
        ]
    return found


def random_batch(
    rng: np.random.Generator, model: QNN, sets: int, samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (P, W) and data (S, F)."""
    weights = rng.normal(size=(sets, model.num_weights))
    return weights, rng.normal(size=(samples, max(1, model.num_features)))


# --- references


def dense_outputs(
    circuits: Sequence[Circuit],
    observables: Sequence[Observable],
    names: Sequence[str],
    weights: NDArray[np.float64],
    X: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Outputs of a model by the dense simulator; weights (W,), (P, W) or (P, S, W)."""
    if weights.ndim == 1:
        return dense_outputs(circuits, observables, names, weights[None], X)[0]
    full = weights if weights.ndim == 3 else np.repeat(weights[:, None], len(X), axis=1)
    return np.array(
        [
            [
                dense_row(circuits, observables, dict(zip(names, w.tolist(), strict=True)), x)
                for w, x in zip(row, X, strict=True)
            ]
            for row in full
        ]
    )


def dense_row(
    circuits: Sequence[Circuit],
    observables: Sequence[Observable],
    weights: dict[str, float],
    x: NDArray[np.float64],
) -> NDArray[np.float64]:
    row: list[NDArray[np.float64]] = []
    for circuit in circuits:
        for observable in observables:
            value = np.asarray(dense.expectation(circuit, observable, weights, x.tolist()))
            is_matrix = isinstance(observable, DensityMatrix)
            row.append(pack_density(value) if is_matrix else value.real)
    return np.concatenate([np.atleast_1d(part) for part in row])


# --- models and jobs whose programs are checked


def checked_model(
    circuits: Circuit | Sequence[Circuit],
    observables: Observable | Sequence[Observable],
    **options: Any,
) -> QNN:
    """A model of which every program and memory map has passed the invariant checker.

    The search is the quickest unless asked for otherwise: what is tested here is no path.
    """
    model = QNN(circuits, observables, **{"dtype": "float64", "search": "greedy", **options})
    for job in model.jobs:
        check_job(job)
    return model


def swept_model(
    circuits: Circuit | Sequence[Circuit],
    observables: Observable | Sequence[Observable],
    **options: Any,
) -> QNN:
    """As :func:`checked_model`, of the programs that sweep back too."""
    model = checked_model(circuits, observables, **options)
    for executor in model._gradients.executors:
        job: Job = executor.job  # type: ignore[attr-defined]
        assert job.program.reverse is not None
        check_job(job)
    return model


def check_job(job: Job) -> Job:
    check_program(job.program)
    for sets, samples in ((1, 1), (2, 3), (1, 64), (3, 40)):
        check_map(make_map(job.program, Sizes(job.cones, sets, samples)))
    return job


def check_map(memory: MemoryMap) -> None:
    """No two values share a scalar, and all lie in the arena before the scratch."""
    spans, program, places = [], memory.program, memory.placement.places
    layouts = memory.placement.layouts
    for labels, region in memory.placement.regions.items():
        extent = layouts[labels].extent
        spans.append((region.base, region.base + 3 * region.rows * extent))
        for angle in program.angles:
            place = places[angle.slot]
            if program.slots[angle.slot].labels == labels:
                assert place.base == region.base + angle.row * extent
                assert (place.stride, place.imag) == (region.rows * extent, 0)
    in_rows = {angle.slot for angle in program.angles} | check_environments(memory, spans)
    for number in set(places) - in_rows:
        slot, place = program.slots[number], places[number]
        extent = layouts[slot.labels].extent
        assert place.stride == extent
        assert place.imag == (slot.size * extent if slot.complex else 0)
        spans.append((place.base, place.base + slot.size * slot.planes * extent))
    check_spans("arena", spans, memory.scalars)
    sources = {number for number, slot in enumerate(program.slots) if slot.source}
    assert set(places) == sources | program.exported


def check_environments(memory: MemoryMap, spans: list[tuple[int, int]]) -> set[int]:
    """Environments of angles lie as the angles do; add their regions to the spans."""
    program, placement = memory.program, memory.placement
    rows = {a.slot: a.row for a in program.angles}
    found = program.reverse.environments if program.reverse else ()
    around = {e.slot: rows[e.source] for e in found if e.source in rows}
    assert set(placement.environments) == {program.slots[number].labels for number in around}
    for labels, region in placement.environments.items():
        extent = placement.layouts[labels].extent
        assert region.rows == len(program.row_elements[labels])
        spans.append((region.base, region.base + 6 * region.rows * extent))
    for number, row in around.items():
        slot, place = program.slots[number], placement.places[number]
        region, extent = placement.environments[slot.labels], placement.layouts[slot.labels].extent
        stride = region.rows * extent
        imag = 3 * stride if slot.complex else 0
        assert (place.base, place.stride, place.imag) == (region.base + row * extent, stride, imag)
    assert len({(program.slots[n].labels, row) for n, row in around.items()}) == len(around)
    return set(around)


def batches(
    circuits: Circuit | Sequence[Circuit],
    observables: Sequence[Observable],
    weights_per_sample: bool = False,
) -> tuple[ConeBatch, ...]:
    several = [circuits] if isinstance(circuits, Circuit) else circuits
    found = read_out(several, observables)
    return (found.per_sample() if weights_per_sample else found).batches


def plan_for(network: Network, path: Path | None = None, sliced: tuple[int, ...] = ()) -> Plan:
    """A plan of a path and slicing of one's own, or of a quick search."""
    topology = topology_of(network, 2, 16)
    found = find_plan(topology, "greedy", path=path, cache=None).path
    return Plan(found, sliced, cost_of(topology, found, sliced), "user", 0.0, "user")


def random_path(rng: np.random.Generator, num_tensors: int) -> Path:
    """Any tree over the tensors, as SSA pairs."""
    alive = list(range(num_tensors))
    path = []
    for step in range(num_tensors - 1):
        first, second = (alive.pop(int(rng.integers(len(alive)))) for _ in range(2))
        path.append((first, second))
        alive.append(num_tensors + step)
    return check_path(path, num_tensors)


def run_cones(
    network: Network,
    cones: Sequence[Cone],
    names: Sequence[str],
    weights: NDArray[np.float64],
    X: NDArray[np.float64],
    *,
    plan: Plan | None = None,
    backend: str = "cpu",
    dtype: str = "float64",
    memory: float = 1e9,
    threads: int = 1,
) -> NDArray[Any]:
    """Values (terms, cones, P or 1, S or 1) of a network along a plan of one's own."""
    index = {name: k for k, name in enumerate(names)}
    program = compile_program(network, plan or plan_for(network))
    job = check_job(make_job(program, cones, index))
    made = get_backend(backend, threads if backend == "cpu" else None)
    return made.prepare(job, np.dtype(dtype), Budget(memory)).run(weights, X)


def cone_of_everything(circuit: Elements, group: Group) -> Cone:
    """As ``canonical_cone``, but nothing cancels: all elements, all wires."""
    observed = group.readout.wires
    others = [wire for wire in range(circuit.num_wires) if wire not in observed]
    label = {wire: k for k, wire in enumerate((*observed, *others))}
    wires = tuple(tuple(label[w] for w in e.wires) for e in circuit.elements)
    terms = group.readout.terms
    elements = circuit.elements
    return Cone(elements, wires, terms, len(observed), circuit.num_wires, group.parts, object())
