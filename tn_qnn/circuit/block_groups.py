"""Which weights of a model are the coordinates of tensor-valued blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, beside
from tn_qnn.circuit.block_charts import block_matrices
from tn_qnn.circuit.blocks import Chart
from tn_qnn.circuit.circuit import Circuit


@dataclass(frozen=True, eq=False)
class BlockGroup:
    """Blocks of one kind, chart and size.

    Attributes
    ----------
    names
        Of the B blocks.
    columns
        Where their n coordinates stand among the weights, shape (B, n).
    num_qubits, real, chart
        As for :func:`~tn_qnn.circuit.blocks.block_matrices`.
    """

    names: tuple[str, ...]
    columns: NDArray[np.intp]
    num_qubits: int
    real: bool
    chart: Chart

    def coordinates(self, weights: Array) -> Array:
        """Coordinates of all blocks, (..., W) to (..., B, n)."""
        return weights[..., beside(self, weights).columns]

    def matrices(self, weights: Array) -> Array:
        """Matrices of all blocks, (..., W) to (..., B, d, d)."""
        return block_matrices(self.coordinates(weights), self.num_qubits, self.real, self.chart)

    def rows(self, chosen: NDArray[np.intp]) -> BlockGroup:
        """Some of the blocks."""
        names = tuple(self.names[k] for k in chosen.tolist())
        return replace(self, names=names, columns=self.columns[chosen])


def block_groups(
    circuits: Sequence[Circuit], weight_index: Mapping[str, int]
) -> tuple[BlockGroup, ...]:
    """Return the blocks of some circuits, in order of first occurrence; shared ones once.

    Examples
    --------
    >>> from tn_qnn.circuit.blocks import orthogonal
    >>> c = Circuit(2).block(orthogonal("U", chart="entries"), [0])
    >>> group, = block_groups([c.block(orthogonal("V", chart="entries"), [1])],
    ...                       {name: k for k, name in enumerate(c.weights)})
    >>> group.names, group.columns.tolist()
    (('U', 'V'), [[0, 1, 2, 3], [4, 5, 6, 7]])
    """
    found: dict[tuple[int, bool, Chart], dict[str, list[int]]] = {}
    for circuit in circuits:
        for op in circuit.operations:
            if op.block is not None:
                key = (len(op.qubits), op.block.real, op.block.chart)
                columns = found.setdefault(key, {})
                if op.block.name not in columns:
                    columns[op.block.name] = [weight_index[name] for name in op.weights]
    return tuple(
        BlockGroup(tuple(columns), np.array(list(columns.values()), dtype=np.intp), *key)
        for key, columns in found.items()
    )


def groups_within(
    groups: Sequence[BlockGroup], columns: NDArray[np.intp]
) -> tuple[BlockGroup, ...]:
    """Return the blocks that lie wholly in some columns, and where they stand among those.

    Parameters
    ----------
    groups
        Blocks of a model.
    columns
        Weight columns that are kept, shape (W',), all different: column ``columns[i]`` of the
        model is column i from now on.

    Examples
    --------
    >>> group = BlockGroup(("U", "V"), np.arange(8).reshape(2, 4), 1, True, "entries")
    >>> groups_within([group], np.arange(2, 8))[0].columns
    array([[2, 3, 4, 5]])
    """
    last = max([*columns.tolist(), *(int(group.columns.max()) for group in groups)], default=-1)
    place = np.full(last + 1, -1, dtype=np.intp)
    place[columns] = np.arange(len(columns))
    moved = []
    for group in groups:
        places = place[group.columns]
        whole = (places >= 0).all(axis=1)
        if whole.any():
            moved.append(replace(group, columns=places).rows(np.flatnonzero(whole)))
    return tuple(moved)
