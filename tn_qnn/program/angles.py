"""Angles of a program's rows from weights and data: one small table a label set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.circuit.slots import Expr
from tn_qnn.network.labels import CONES
from tn_qnn.program.sparse import SparseSum

NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Monomials:
    """Monomials of equal degrees, one for each of some entries.

    Attributes
    ----------
    entries
        Positions in the flattened (row, cone) table, all different; None for all, in order.
    coefficients
        Shape (n, 1, 1).
    weights, features
        Column indices, shapes (degree in weights, n) and (degree in features, n).
    """

    entries: NDArray[np.intp] | None
    coefficients: NDArray[np.float64]
    weights: NDArray[np.intp]
    features: NDArray[np.intp]

    @cached_property
    def sums(self) -> tuple[SparseSum, ...]:
        """For each factor, how its derivatives add up to those by the weights."""
        return tuple(SparseSum(index, np.arange(len(index)), None) for index in self.weights)


@dataclass(frozen=True, eq=False)
class AngleTable:
    """All angles that depend on the same batch labels.

    Attributes
    ----------
    labels
        The labels.
    rows, cones
        Number of angles, and of equal cones (1 where "c" is not a label).
    constants
        Shape (rows * cones, 1, 1).
    monomials
        What is added to the constants.
    """

    labels: tuple[str, ...]
    rows: int
    cones: int
    constants: NDArray[np.float64]
    monomials: tuple[Monomials, ...]

    @cached_property
    def columns(self) -> tuple[NDArray[np.intp], ...]:
        """Columns of the weights in each angle, by flattened (row, cone)."""
        found: list[set[int]] = [set() for _ in range(self.rows * self.cones)]
        for m in self.monomials:
            entries = range(len(found)) if m.entries is None else m.entries
            for entry, columns in zip(entries, m.weights.T, strict=True):
                found[entry].update(columns.tolist())
        return tuple(np.array(sorted(columns), dtype=np.intp) for columns in found)

    def evaluate(self, weights: Array, features: Array) -> Array:
        """The angles.

        Parameters
        ----------
        weights
            Shape (P, W), or (P, S, W) for weight sets a sample.
        features
            Shape (S, F).

        Returns
        -------
        array
            Shape (rows, cones, P or 1, S or 1): 1 where the angles do not depend on the label;
            of the arguments' module, NumPy or CuPy.
        """
        xp = array_module(weights)
        total: Array = beside(self, weights).constants
        for m in (beside(monomials, weights) for monomials in self.monomials):
            term = m.coefficients
            for index in m.weights:
                term = term * _weight_columns(weights, index)
            for index in m.features:
                term = term * features.T[index][:, None, :]
            if m.entries is None:
                total = total + term
            else:
                shape = np.broadcast_shapes(total.shape[1:], term.shape[1:])
                total = xp.array(xp.broadcast_to(total, (total.shape[0], *shape)))
                total[m.entries] += term
        return total.reshape(self.rows, self.cones, *total.shape[1:])

    def pull_back(self, by_angles: Array, weights: Array, features: Array, gradient: Array) -> None:
        """Add the derivative by the weights of a loss whose derivative by the angles is known.

        Parameters
        ----------
        by_angles
            Shape (rows, cones, P, S or 1), as :meth:`evaluate` gives the angles; float64.
        weights
            Shape (P, W).
        features
            Shape (S, F).
        gradient
            Shape (P, W), float64, is added to.
        """
        flat = by_angles.reshape(-1, *by_angles.shape[2:])
        for here in self.monomials:
            m = beside(here, weights)
            term = flat if m.entries is None else flat[m.entries]
            term = term * m.coefficients
            for index in m.features:
                term = term * features.T[index][:, None, :]
            for place, sums in enumerate(here.sums):
                part = term.sum(axis=-1)
                for other, index in enumerate(m.weights):
                    if other != place:
                        part = part * weights.T[index]
                sums.add(part, gradient.T)


def _weight_columns(weights: Array, index: NDArray[np.intp]) -> Array:
    """Shape (n, P, 1), or (n, P, S) for weight sets a sample."""
    if weights.ndim == 2:
        return weights.T[index][:, :, None]
    return array_module(weights).moveaxis(weights[:, :, index], -1, 0)


def angle_table(
    labels: tuple[str, ...],
    expressions: Sequence[Sequence[Expr]],
    weight_index: Mapping[str, int],
    frozen: Mapping[str, float] = NOTHING,
) -> AngleTable:
    """Make the table.

    Parameters
    ----------
    labels
        Batch labels of all the angles.
    expressions
        For each row, the angle in each cone; only the first is read without label "c".
    weight_index
        Column of each weight.
    frozen
        Values of the weights that have no column.
    """
    cones = len(expressions[0]) if CONES in labels else 1
    flat = [expr for row in expressions for expr in row[:cones]]
    by_degree: dict[tuple[int, int, int], list[tuple[int, float, list[int], tuple[int, ...]]]] = {}
    constants = np.zeros((len(flat), 1, 1))
    for entry, expr in enumerate(flat):
        seen: dict[tuple[int, int], int] = {}
        for monomial, coefficient in expr.terms:
            columns = [weight_index[name] for name in monomial.weights if name not in frozen]
            coefficient *= math.prod(frozen[x] for x in monomial.weights if x in frozen)
            degree = (len(columns), len(monomial.features))
            if degree == (0, 0):
                constants[entry] += coefficient
                continue
            layer = seen[degree] = seen.get(degree, -1) + 1
            by_degree.setdefault((*degree, layer), []).append(
                (entry, coefficient, columns, monomial.features)
            )
    monomials = []
    for (weight_degree, feature_degree, _), found in sorted(by_degree.items()):
        entries = np.array([entry for entry, *_ in found], dtype=np.intp)
        weights = np.array([w for _, _, w, _ in found], dtype=np.intp)
        features = np.array([f for *_, f in found], dtype=np.intp)
        monomials.append(
            Monomials(
                None if len(entries) == len(flat) else entries,
                np.array([c for _, c, *_ in found])[:, None, None],
                weights.reshape(len(found), weight_degree).T,
                features.reshape(len(found), feature_degree).T,
            )
        )
    return AngleTable(labels, len(expressions), cones, constants, tuple(monomials))
