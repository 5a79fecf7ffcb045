"""Angles of a circuit for peers that take numbers, arrays or tracers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tn_qnn.circuit.slots import Expr


def column_of(names: tuple[str, ...]) -> dict[str, int]:
    """Column of each weight."""
    return {name: k for k, name in enumerate(names)}


def value(expr: Expr, weights: Any, features: Any, column: Mapping[str, int]) -> Any:
    """An angle for one set of weights and one sample; entries may be tracers of JAX.

    Examples
    --------
    >>> from tn_qnn.circuit.slots import feature, weight
    >>> value(weight("a") * feature(1) + 0.5, [2.0], [0.0, 3.0], {"a": 0})
    6.5
    """
    total: Any = 0.0
    for monomial, coefficient in expr.terms:
        term: Any = coefficient
        for name in monomial.weights:
            term = term * weights[column[name]]
        for i in monomial.features:
            term = term * features[i]
        total = total + term
    return total
