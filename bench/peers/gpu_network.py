"""The network that tn_qnn builds, its tensors filled on the device by any array library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Problem
from bench.peers.cotengra_numpy import Leaves, labels_of
from bench.peers.cotengra_our_path import ours
from tn_qnn.circuit.observables import Z
from tn_qnn.network.batch import ConeBatch, read_out
from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS
from tn_qnn.program.angles import AngleTable

Array = Any  # of the library
Evaluate = Callable[..., Array]


@dataclass(frozen=True)
class Library:
    """What is needed of an array library.

    Attributes
    ----------
    module
        With ``cos``, ``sin``, ``stack``, ``zeros_like`` and ``ones_like``, such as CuPy or PyTorch.
    array
        A NumPy array as an array of the device, of the same dtype.
    cast
        An array in the dtype of that NumPy name.
    """

    module: Any
    array: Callable[[NDArray[Any]], Array]
    cast: Callable[[Array, str], Array]


class Angles:
    """An angle table whose entries are sums of a constant, weights and features."""

    def __init__(self, table: AngleTable, library: Library, dtype: str) -> None:
        self.table, self.library = table, library
        self.constants = library.array(table.constants.astype(dtype))
        self.weights = list(self._terms("weights", dtype))
        self.features = list(self._terms("features", dtype))

    def _terms(self, kind: str, dtype: str) -> Iterator[tuple[Array, Array]]:
        """Factor and column of each entry, shape (entries,), as often as entries have terms."""
        count = len(self.table.constants)
        for m in self.table.monomials:
            if len(m.weights) + len(m.features) > 1:
                raise ValueError("angles with products are not translated")
            columns = getattr(m, kind)
            if not len(columns):
                continue
            entries = np.arange(count) if m.entries is None else m.entries
            factors, places = np.zeros((count, 1), dtype), np.zeros(count, np.int64)
            factors[entries, 0], places[entries] = m.coefficients[:, 0, 0], columns[0]
            yield self.library.array(factors), self.library.array(places)

    def __call__(self, weights: Array, X: Array) -> Array:
        """Shape (entries, P or 1, S or 1)."""
        total = self.constants
        for factors, places in self.weights:
            total = total + (factors * weights.T[places])[:, :, None]
        for factors, places in self.features:
            total = total + (factors * X.T[places])[:, None, :]
        return total


class Network:
    """One topology: tensors for weights and data, and how they are contracted.

    Attributes
    ----------
    inputs, output
        Index numbers of the tensors and of the result.
    shapes
        Of the tensors.
    path
        Our path, as positions in a shrinking list.
    """

    def __init__(
        self, batch: ConeBatch, problem: Problem, sets: int, samples: int, library: Library
    ) -> None:
        self.leaves = Leaves(batch, problem.weight_names, problem.dtype)
        self.library, network = library, batch.network
        used = [x for x in LABELS if any(x in t.labels for t in network.tensors)]
        self.counts = {CONES: len(batch.cones), SETS: sets, SAMPLES: samples}
        name = {x: len(network.sizes) + k for k, x in enumerate(LABELS)}
        self.inputs = [[*t.indices, *(name[x] for x in labels_of(t))] for t in network.tensors]
        self.output = [*network.output, *(name[x] for x in used)]
        size = {name[x]: n for x, n in self.counts.items()} | dict(enumerate(network.sizes))
        self.shapes = [tuple(size[i] for i in term) for term in self.inputs]
        self.path = ours(batch, self.counts, None)
        self.full = (-1, *(self.counts[x] if x in used else 1 for x in LABELS))
        self._prepare(problem)
        self._scatter(batch, problem)

    def _prepare(self, problem: Problem) -> None:
        self.kind = self.leaves.kind.name
        self.constants = {k: self.library.array(x) for k, x in self.leaves.constants.items()}
        self.angles = {
            key: Angles(table, self.library, problem.dtype)
            for key, table in self.leaves.tables.items()
        }
        self.coefficients = {
            key: self.library.array(self.leaves.coefficients[key[1]]) for key in self.angles
        }

    def _scatter(self, batch: ConeBatch, problem: Problem) -> None:
        """Outputs (K) as a matrix times values (terms x cones): no atomics, any library."""
        terms = max(len(cone.parts) for cone in batch.cones)
        matrix = np.zeros((problem.num_outputs, terms * len(batch.cones)), problem.dtype)
        for k, cone in enumerate(batch.cones):
            for term, parts in enumerate(cone.parts):
                for output, coefficient in parts:
                    matrix[output, term * len(batch.cones) + k] += coefficient
        self.matrix = self.library.array(matrix)

    def tensors(self, weights: Array, X: Array) -> list[Array]:
        """The tensors: axes of the indices, then of the labels."""
        xp, made = self.library.module, {}
        for key, angles in self.angles.items():
            angle = angles(weights, X)
            trig = xp.stack([xp.ones_like(angle), xp.cos(angle), xp.sin(angle)], 1)
            trig = self.library.cast(trig, self.kind)
            rows, cones = angles.table.rows, angles.table.cones
            flat = xp.moveaxis(trig.reshape(rows, cones, 3, -1), 1, 2).reshape(rows, 3, -1)
            made[key] = self.coefficients[key] @ flat
        found = []
        for number, place in enumerate(self.leaves.place):
            if place is None:
                found.append(self.constants[number])
            else:
                found.append(made[place[0]][place[1]].reshape(self.shapes[number]))
        return found

    def outputs(self, value: Array) -> Array:
        """The contraction's result as this topology's share of the outputs, shape (K, P, S)."""
        xp = self.library.module
        values = (value.real if self.kind.startswith("complex") else value).reshape(self.full)
        cones, sets, samples = (self.counts[x] for x in LABELS)
        values = xp.broadcast_to(values, (len(values), cones, sets, samples))
        return (self.matrix @ values.reshape(-1, sets * samples)).reshape(-1, sets, samples)


class Networks:
    """All topologies of a problem.

    Parameters
    ----------
    problem, sets, samples
        What is evaluated.
    library
        Of arrays.
    compiled
        Makes a function of the tensors from a :class:`Network`.
    """

    def __init__(
        self,
        problem: Problem,
        sets: int,
        samples: int,
        library: Library,
        compiled: Callable[[Network], Evaluate],
    ) -> None:
        batches = read_out(problem.circuits, [Z(q) for q in problem.qubits]).batches
        self.parts = [Network(batch, problem, sets, samples, library) for batch in batches]
        self.evaluate = [compiled(part) for part in self.parts]

    def __call__(self, weights: Array, X: Array) -> Array:
        """Outputs, shape (K, P, S)."""
        total: Array = 0.0
        for part, evaluate in zip(self.parts, self.evaluate, strict=True):
            total = total + part.outputs(evaluate(*part.tensors(weights, X)))
        return total


def by_opt_einsum(network: Network) -> Evaluate:
    """The contraction by opt_einsum, along our path."""
    import opt_einsum

    def text(term: list[int]) -> str:
        return "".join(map(opt_einsum.get_symbol, term))

    formula = f"{','.join(map(text, network.inputs))}->{text(network.output)}"
    found: Evaluate = opt_einsum.contract_expression(
        formula, *network.shapes, optimize=network.path
    )
    return found
