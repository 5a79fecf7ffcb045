"""Our formulation without our program: the same network on cotengra and NumPy.

Samples and parameter sets are hyper-indices; the path is cotengra's own: random greedy trees, the
best of them improved by subtree reconfiguration. Its ``HyperOptimizer`` was tried and left: in the
time that we take it tries a few trees, and from one run to the next asked for 128 GB or for none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Problem
from bench.peers import Call
from bench.peers.angles import column_of
from tn_qnn.circuit.observables import Z
from tn_qnn.network.batch import ConeBatch, read_out
from tn_qnn.network.canonical import Cone
from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS
from tn_qnn.network.network import Tensor
from tn_qnn.program.angles import AngleTable, angle_table

TRIALS = 256  # of random greedy; with the reconfiguration about the time that search="fast" takes
Find = Callable[[ConeBatch, dict[str, int], tuple[Any, Any, Any]], Any]

Array = NDArray[Any]


class Leaves:
    """The arrays of a network's tensors for weights and data."""

    def __init__(self, batch: ConeBatch, names: tuple[str, ...], dtype: str) -> None:
        self.network, self.num_cones = batch.network, len(batch.cones)
        self.kind = np.dtype(dtype if batch.network.real else np.result_type(dtype, "c8"))
        self.constants: dict[int, Array] = {}
        # Tensors of one kind are computed together: {(labels, coefficients): {element: row}}.
        self.groups: dict[tuple[tuple[str, ...], bytes], dict[int, int]] = {}
        self.place: list[tuple[tuple[tuple[str, ...], bytes], int] | None] = []
        self.coefficients: dict[bytes, Array] = {}
        for number, tensor in enumerate(batch.network.tensors):
            self.place.append(self._placed(number, tensor))
        column = column_of(names)
        self.tables = {
            key: _table(key[0], tuple(rows), batch.cones, column)
            for key, rows in self.groups.items()
        }

    def _placed(
        self, number: int, tensor: Tensor
    ) -> tuple[tuple[tuple[str, ...], bytes], int] | None:
        if tensor.coefficients is None:
            raise ValueError("cotengra-numpy: tensor-valued weights are not translated")
        values = self._cast(tensor.coefficients)
        if len(values) == 1:
            self.constants[number] = values[0]
            return None
        flat = np.ascontiguousarray(values.reshape(3, -1).T)  # (elements, 3)
        self.coefficients[flat.tobytes()] = flat
        key = (labels_of(tensor), flat.tobytes())
        rows = self.groups.setdefault(key, {})
        return key, rows.setdefault(tensor.element, len(rows))

    def _cast(self, values: Array) -> Array:
        return (values.real if self.network.real else values).astype(self.kind)

    def __call__(self, weights: Array, X: Array) -> list[Array]:
        """One array a tensor: the axes of its indices, then one for each of its labels."""
        made = {}
        for key, table in self.tables.items():
            angles = table.evaluate(weights, X).astype(self.kind.type(0).real.dtype)
            trig = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
            batch = [n for n, x in zip(trig.shape[2:], LABELS, strict=True) if x in key[0]]
            made[key] = (self.coefficients[key[1]] @ trig.reshape(*trig.shape[:2], -1), batch)
        leaves = []
        for number, tensor in enumerate(self.network.tensors):
            place = self.place[number]
            if place is None:
                leaves.append(self.constants[number])
                continue
            values, batch = made[place[0]]
            shape = [self.network.sizes[i] for i in tensor.indices]
            leaves.append(values[place[1]].reshape(*shape, *batch))
        return leaves


def labels_of(tensor: Tensor) -> tuple[str, ...]:
    """Its batch labels in the order of their axes."""
    return tuple(label for label in LABELS if label in tensor.labels)


def _table(
    labels: tuple[str, ...], rows: Sequence[int], cones: Sequence[Cone], column: dict[str, int]
) -> AngleTable:
    return angle_table(labels, [[c.elements[e].angle for c in cones] for e in rows], column)


class Contraction:
    """All cones of one topology."""

    def __init__(
        self, batch: ConeBatch, problem: Problem, sets: int, samples: int, find: Find
    ) -> None:
        import cotengra as ctg

        self.leaves = Leaves(batch, problem.weight_names, problem.dtype)
        network = batch.network
        used = [label for label in LABELS if any(label in t.labels for t in network.tensors)]
        counts = {CONES: len(batch.cones), SETS: sets, SAMPLES: samples}
        # Characters, because cotengra's compiled search takes no other names.
        name = {x: ctg.get_symbol(k) for k, x in enumerate([*LABELS, *range(len(network.sizes))])}
        inputs = [[name[x] for x in (*t.indices, *labels_of(t))] for t in network.tensors]
        output = [name[x] for x in (*network.output, *used)]
        present = {x for term in inputs for x in term}
        sizes = {name[x]: n for x, n in [*counts.items(), *enumerate(network.sizes)]}
        spec = (inputs, output, {x: n for x, n in sizes.items() if x in present})
        self.expression = ctg.array_contract_expression(*spec, optimize=find(batch, counts, spec))
        self.shape = (-1, *(counts[x] if x in used else 1 for x in LABELS))
        rows = [
            (output, term * len(batch.cones) + k, coefficient)
            for k, cone in enumerate(batch.cones)
            for term, parts in enumerate(cone.parts)
            for output, coefficient in parts
        ]
        self.outputs, self.rows, self.coefficients = map(np.array, zip(*rows, strict=True))

    def add(self, weights: Array, X: Array, out: Array) -> None:
        """Add its values to the outputs (K, P, S)."""
        values = np.asarray(self.expression(*self.leaves(weights, X))).real.reshape(self.shape)
        full = np.broadcast_to(values, (len(values), self.leaves.num_cones, *values.shape[2:]))
        flat = full.reshape(-1, *full.shape[2:])
        np.add.at(out, self.outputs, flat[self.rows] * self.coefficients[:, None, None])


def searched(batch: ConeBatch, counts: dict[str, int], spec: tuple[Any, Any, Any]) -> Any:
    """Cotengra's path, as a tree."""
    import cotengra as ctg

    tree = ctg.RandomGreedyOptimizer(max_repeats=TRIALS, seed=0, parallel=False).search(*spec)
    return tree.subtree_reconfigure()


def build(problem: Problem, sets: int, samples: int, find: Find = searched) -> Call:
    """One contraction expression a topology, along the path that ``find`` gives."""
    observables = [Z(q) for q in problem.qubits]
    batches = read_out(problem.circuits, observables).batches
    contractions = [Contraction(batch, problem, sets, samples, find) for batch in batches]

    def call(weights: Array, X: Array) -> Array:
        out = np.zeros((problem.num_outputs, len(weights), len(X)), dtype=problem.dtype)
        for contraction in contractions:
            contraction.add(weights, X, out)
        return np.moveaxis(out, 0, -1)

    return call
