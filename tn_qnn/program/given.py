"""Values that were worked out beforehand: constants, or columns of the features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, beside
from tn_qnn.network.canonical import Cone
from tn_qnn.network.labels import CONES
from tn_qnn.program.program import GivenInput, Program


@dataclass(frozen=True, eq=False)
class Given:
    """A value of one cone, or where it stands; one of both.

    Attributes
    ----------
    values
        Shape (planes * elements,).
    columns
        Columns of the features, which have one value a sample; shape (planes * elements,).
    """

    values: NDArray[np.float64] | None = None
    columns: NDArray[np.intp] | None = None


#: By cone, its values, numbered as the program's slots for them are.
Supply = Mapping[Cone, Sequence[Given]]
NO_SUPPLY: Supply = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class GivenTable:
    """Values of all given slots of a label set, which lie one behind the other.

    Attributes
    ----------
    slots
        Numbers of the slots.
    values, columns
        As of :class:`Given`, for one slot after the other, shapes (rows, cones or 1); one of both.
    """

    slots: tuple[int, ...]
    values: NDArray[np.float64] | None
    columns: NDArray[np.intp] | None

    def rows(self, features: Array) -> Array:
        """Planes and elements of one slot after the other, shape (rows, cones or 1, 1, S or 1)."""
        here = beside(self, features)
        if here.columns is None:
            assert here.values is not None
            return here.values[..., None, None]
        if self._block is None:
            return features.T[here.columns][:, :, None]
        return features.T[self._block].reshape(*here.columns.shape, 1, -1)

    @cached_property
    def _block(self) -> slice | None:
        """The columns as a slice, where they lie side by side."""
        assert self.columns is not None
        flat = self.columns.reshape(-1)
        block = slice(int(flat[0]), int(flat[0]) + len(flat))
        return block if np.array_equal(flat, np.arange(block.start, block.stop)) else None


def given_by_labels(program: Program) -> Iterator[tuple[GivenInput, ...]]:
    """The given slots of each label set."""
    found: dict[tuple[str, ...], list[GivenInput]] = {}
    for entry in program.given:
        found.setdefault(program.slots[entry.slot].labels, []).append(entry)
    return map(tuple, found.values())


def given_tables(program: Program, cones: Sequence[Cone], supply: Supply) -> Iterator[GivenTable]:
    """Tables of a program's given slots, for some cones."""
    for entries in given_by_labels(program):
        labels = program.slots[entries[0].slot].labels
        some = cones if CONES in labels else cones[:1]
        found = [[supply[cone][entry.number] for entry in entries] for cone in some]
        values = [[one.values for one in row if one.values is not None] for row in found]
        columns = [[one.columns for one in row if one.columns is not None] for row in found]
        yield GivenTable(
            tuple(entry.slot for entry in entries),
            np.stack([np.concatenate(row) for row in values], axis=1) if values[0] else None,
            np.stack([np.concatenate(row) for row in columns], axis=1) if columns[0] else None,
        )
