"""From environments to gradients: the tables of the kernel ``pull_angles``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tn_qnn.program.angles import AngleTable

NO_FACTOR = -1
MOST_OTHERS = 3  # factors of a monomial beside the weight that it is derived by


@dataclass(frozen=True, eq=False)
class PullTable:
    """An angle table, sorted by weight: what each weight moves.

    Attributes
    ----------
    outputs
        Weight columns, shape (n,), int32.
    starts
        First term of each, shape (n + 1,), int32.
    entries
        Row * cones + cone of a term's angle, shape (terms,), int32.
    coefficients
        Shape (terms,), float64.
    columns
        Shape (terms, 3), int32: the other factors; weight column v as v, feature column f as
        -2 - f, else -1.
    """

    outputs: NDArray[np.int32]
    starts: NDArray[np.int32]
    entries: NDArray[np.int32]
    coefficients: NDArray[np.float64]
    columns: NDArray[np.int32]


def pull_table(table: AngleTable) -> PullTable:
    """Derive every monomial by every weight in it."""
    count = len(table.constants)
    owners, entries, coefficients = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], [np.zeros(0)]
    columns = [np.zeros((0, MOST_OTHERS), np.int32)]
    for m in table.monomials:
        for place, owner in enumerate(m.weights):
            owners.append(owner)
            entries.append(np.arange(count) if m.entries is None else m.entries)
            coefficients.append(m.coefficients.reshape(-1))
            others = np.delete(m.weights, place, axis=0)
            found = np.concatenate([others, -2 - m.features]).T  # (n, degree - 1)
            columns.append(np.full((len(owner), MOST_OTHERS), NO_FACTOR, np.int32))
            columns[-1][:, : found.shape[1]] = found
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    outputs, starts = np.unique(owner[order], return_index=True)
    return PullTable(
        outputs.astype(np.int32),
        np.append(starts, len(owner)).astype(np.int32),
        np.concatenate(entries)[order].astype(np.int32),
        np.concatenate(coefficients)[order],
        np.ascontiguousarray(np.concatenate(columns)[order]),
    )
