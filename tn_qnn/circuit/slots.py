"""Slots: the angles of gates as low-degree polynomials of features and weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from tn_qnn.errors import CircuitError

MAX_DEGREE = 4
MAX_TERMS = 64


@dataclass(frozen=True, order=True)
class Monomial:
    """A product of features and weights; a power is a repeated factor."""

    features: tuple[int, ...] = ()
    weights: tuple[str, ...] = ()

    @property
    def degree(self) -> int:
        """Number of factors."""
        return len(self.features) + len(self.weights)

    def __mul__(self, other: Monomial) -> Monomial:
        return Monomial(
            tuple(sorted(self.features + other.features)),
            tuple(sorted(self.weights + other.weights)),
        )

    def __str__(self) -> str:
        return "·".join([*self.weights, *(f"x{i}" for i in self.features)])


@dataclass(frozen=True)
class Expr:
    """A polynomial in features and weights, immutable.

    Attributes
    ----------
    terms
        Pairs (monomial, coefficient) in sorted order, coefficients non-zero.

    Examples
    --------
    >>> angle = 2 * weight("a") * feature(0) + 0.5
    >>> angle.evaluate({"a": 3.0}, [1.0])
    6.5
    >>> print(angle)
    0.5 + 2·a·x0
    """

    terms: tuple[tuple[Monomial, float], ...] = ()

    __array_ufunc__ = None  # numpy scalars leave the arithmetic to us

    @property
    def constant_value(self) -> float:
        """The coefficient of the empty monomial."""
        return dict(self.terms).get(Monomial(), 0.0)

    @property
    def is_constant(self) -> bool:
        """True where neither features nor weights occur."""
        return all(monomial.degree == 0 for monomial, _ in self.terms)

    @property
    def features(self) -> frozenset[int]:
        """Indices of the features that occur."""
        return frozenset(i for monomial, _ in self.terms for i in monomial.features)

    @property
    def weights(self) -> frozenset[str]:
        """Names of the weights that occur."""
        return frozenset(name for monomial, _ in self.terms for name in monomial.weights)

    def evaluate(self, weights: Mapping[str, float], features: Sequence[float]) -> float:
        """Value for one set of weights and one sample.

        Raises
        ------
        CircuitError
            When a weight has no value or there are too few features.
        """
        total = 0.0
        for monomial, coefficient in self.terms:
            value = coefficient
            for name in monomial.weights:
                if name not in weights:
                    raise CircuitError(
                        f"weights: no value for {name!r}; pass weights={{{name!r}: ...}}"
                    )
                value *= float(weights[name])
            for i in monomial.features:
                if i >= len(features):
                    raise CircuitError(
                        f"features: {len(features)} given, but the circuit uses feature({i})"
                    )
                value *= float(features[i])
            total += value
        return total

    def bind(self, weights: Mapping[str, float], features: Mapping[int, float]) -> Expr:
        """Replace the named weights and numbered features by numbers, keep the rest."""
        result = Expr()
        for monomial, coefficient in self.terms:
            for name in monomial.weights:
                coefficient *= float(weights.get(name, 1.0))
            for i in monomial.features:
                coefficient *= float(features.get(i, 1.0))
            rest = Monomial(
                tuple(i for i in monomial.features if i not in features),
                tuple(name for name in monomial.weights if name not in weights),
            )
            result = result + _from_terms({rest: coefficient})
        return result

    def __add__(self, other: Expr | float) -> Expr:
        total = dict(self.terms)
        for monomial, coefficient in as_expr(other).terms:
            total[monomial] = total.get(monomial, 0.0) + coefficient
        return _from_terms(total)

    def __mul__(self, other: Expr | float) -> Expr:
        product: dict[Monomial, float] = {}
        for left, a in self.terms:
            for right, b in as_expr(other).terms:
                product[left * right] = product.get(left * right, 0.0) + a * b
        return _from_terms(product)

    def __neg__(self) -> Expr:
        return self * -1.0

    def __sub__(self, other: Expr | float) -> Expr:
        return self + -as_expr(other)

    def __rsub__(self, other: float) -> Expr:
        return as_expr(other) - self

    def __pow__(self, power: int) -> Expr:
        if isinstance(power, bool) or not isinstance(power, Integral) or power < 0:
            raise CircuitError(f"the power of an angle must be an integer >= 0, not {power!r}")
        if self.is_constant:
            return as_expr(self.constant_value ** int(power))
        result = as_expr(1.0)
        for _ in range(min(int(power), MAX_DEGREE + 1)):
            result = result * self
        return result

    def __truediv__(self, other: float) -> Expr:
        if not isinstance(other, Real):
            raise CircuitError(f"an angle can be divided by a number only, not by {other!r}")
        if float(other) == 0.0:
            raise CircuitError("an angle cannot be divided by zero")
        return self * (1.0 / float(other))

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = []
        for monomial, coefficient in self.terms:
            number = f"{coefficient:.4g}"
            if monomial.degree == 0:
                parts.append(number)
            else:
                parts.append(str(monomial) if coefficient == 1.0 else f"{number}·{monomial}")
        return " + ".join(parts).replace("+ -", "- ") if parts else "0"


def _from_terms(terms: Mapping[Monomial, float]) -> Expr:
    kept = tuple(sorted((m, c) for m, c in terms.items() if c != 0.0))
    if not all(math.isfinite(coefficient) for _, coefficient in kept):
        raise CircuitError("a coefficient of an angle exceeds 64-bit floats")
    if any(monomial.degree > MAX_DEGREE for monomial, _ in kept):
        raise CircuitError(f"an angle may have degree {MAX_DEGREE} at most")
    if len(kept) > MAX_TERMS:
        raise CircuitError(f"an angle may have {MAX_TERMS} terms at most, not {len(kept)}")
    return Expr(kept)


def as_expr(value: Expr | float) -> Expr:
    """A number as a constant expression; an expression as it is.

    Raises
    ------
    CircuitError
        For anything but a finite real number or an expression.

    Examples
    --------
    >>> as_expr(0.5).is_constant
    True
    """
    if isinstance(value, Expr):
        return value
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # type: ignore[attr-defined]
    if isinstance(value, bool) or not isinstance(value, Real):
        raise CircuitError(
            f"an angle must be a number or an expression of feature() and weight(), not {value!r}"
        )
    number = float(value)
    if not math.isfinite(number):
        raise CircuitError(f"an angle must be finite, not {number}")
    return _from_terms({Monomial(): number})


def feature(index: int) -> Expr:
    """Column ``index`` of the data, to be used in an angle.

    Examples
    --------
    >>> print(feature(3) * 2)
    2·x3
    """
    if isinstance(index, bool) or not isinstance(index, Integral) or index < 0:
        raise CircuitError(f"feature(index): index must be an integer >= 0, not {index!r}")
    return Expr(((Monomial(features=(int(index),)), 1.0),))


def weight(name: str) -> Expr:
    """The trainable weight ``name``, to be used in an angle.

    Examples
    --------
    >>> print(weight("a") + 1)
    1 + a
    """
    if not isinstance(name, str) or not name:
        raise CircuitError(f"weight(name): name must be a non-empty string, not {name!r}")
    return Expr(((Monomial(weights=(name,)), 1.0),))
