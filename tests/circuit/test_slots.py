"""Slots: polynomials against plain arithmetic, their limits and how they print."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.circuit.slots import MAX_TERMS, Expr, as_expr, feature, weight
from tn_qnn.errors import CircuitError

WEIGHTS = {"a": 0.7, "b": -1.3}
FEATURES = (0.4, 2.5)
NUMBER = st.floats(-4, 4).map(lambda x: round(x, 3))


@st.composite
def pairs(draw: st.DrawFn, depth: int = 4) -> tuple[Expr, float, int]:
    """An expression, the number it must evaluate to, a bound of its degree."""
    kind = draw(st.integers(0, 6)) if depth else draw(st.integers(0, 2))
    if kind == 0:
        x = draw(NUMBER)
        return as_expr(x), x, 0
    if kind == 1:
        name = draw(st.sampled_from(sorted(WEIGHTS)))
        return weight(name), WEIGHTS[name], 1
    if kind == 2:
        i = draw(st.integers(0, 1))
        return feature(i), FEATURES[i], 1
    left, x, m = draw(pairs(depth=depth - 1))
    if kind == 3:
        return -left, -x, m
    if kind == 4:
        y = draw(NUMBER.filter(bool))
        forms = (left + y, y + left, left - y, y - left, left * y, y * left, left / y)
        values = (x + y, y + x, x - y, y - x, x * y, y * x, x / y)
        place = draw(st.integers(0, 6))
        return forms[place], values[place], m
    right, y, n = draw(pairs(depth=depth - 1))
    if kind == 5 and m + n <= 4:
        return left * right, x * y, m + n
    return left + right, x + y, max(m, n)


@given(pairs())
def test_arithmetic(pair: tuple[Expr, float, int]) -> None:
    expr, value, degree = pair
    assert expr.evaluate(WEIGHTS, FEATURES) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert all(monomial.degree <= degree for monomial, _ in expr.terms)
    assert all(coefficient != 0 for _, coefficient in expr.terms)
    assert expr.terms == tuple(sorted(expr.terms))
    assert expr.is_constant == (not expr.weights and not expr.features)
    if expr.is_constant:
        assert expr.constant_value == expr.evaluate({}, ())


@given(pairs(), st.sets(st.sampled_from(sorted(WEIGHTS))), st.sets(st.integers(0, 1)))
def test_bind(pair: tuple[Expr, float, int], names: set[str], columns: set[int]) -> None:
    expr, value, _ = pair
    bound = expr.bind({n: WEIGHTS[n] for n in names}, {i: FEATURES[i] for i in columns})
    assert not bound.weights & names
    assert not bound.features & columns
    assert bound.evaluate(WEIGHTS, FEATURES) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_equal_polynomials_are_equal() -> None:
    a, x = weight("a"), feature(0)
    assert (a + x) * (a - x) == a * a - x * x
    assert hash(a * x) == hash(x * a)
    assert a - a == Expr() == as_expr(0)
    assert a * 0 == Expr()


def test_parts() -> None:
    expr = 2 * weight("a") * feature(3) - feature(1) * feature(1) + 0.5
    assert expr.weights == {"a"}
    assert expr.features == {1, 3}
    assert expr.constant_value == 0.5
    assert not expr.is_constant


def test_printing() -> None:
    expr = 0.5 - weight("a") * feature(0) + 2 * feature(1) * feature(1)
    assert str(expr) == "0.5 - 1·a·x0 + 2·x1·x1"
    assert str(Expr()) == "0"


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(2), 3, np.pi])
def test_numpy_numbers_on_both_sides(number: float) -> None:
    for expr in (number * feature(0), feature(0) * number):
        assert isinstance(expr, Expr)
        assert expr.evaluate({}, [2.0]) == pytest.approx(2 * float(number))
    assert isinstance(number + feature(0), Expr)
    assert isinstance(number - feature(0), Expr)


LIMITS: list[tuple[Callable[[], object], str]] = [
    (lambda: (weight("a") * feature(0) + 1) * (weight("b") * feature(1) * feature(1)), "degree 4"),
    (lambda: sum((weight(f"w{i}") for i in range(MAX_TERMS + 1)), as_expr(0.0)), "64 terms"),
    (lambda: weight("a").evaluate({}, ()), "no value for 'a'"),
    (lambda: feature(2).evaluate({}, [1.0]), r"1 given, but the circuit uses feature\(2\)"),
    (lambda: feature(0) * math.inf, "must be finite"),
    (lambda: feature(0) + "1", "must be a number or an expression"),  # type: ignore[operator]
    (lambda: feature(0) * None, "must be a number or an expression"),  # type: ignore[operator]
    (lambda: feature(0) / True * math.nan, "must be finite"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "message"), LIMITS)
def test_limits(action: Callable[[], object], message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        action()
