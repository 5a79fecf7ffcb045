"""Values of expressions: numbers, and polynomials in the inputs of a program."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tn_qnn.circuit.qasm.source import Source
from tn_qnn.circuit.slots import Expr, as_expr
from tn_qnn.errors import CircuitError

Value = int | float | Expr
INT64 = 2**63


class Instruction(NamedTuple):
    """One step of an expression in postfix form."""

    action: str  # number, parameter, or the name of an operator or function
    operand: Value | str | int  # the number, the parameter's name, the count of arguments
    offset: int


@dataclass(frozen=True)
class Expression:
    """A parsed expression in postfix form; without parameters it is one number."""

    code: tuple[Instruction, ...]

    @property
    def constant(self) -> Value | None:
        """Its value where it depends on no gate parameter, else None."""
        first = self.code[0]
        return first.operand if first.action == "number" and len(self.code) == 1 else None  # type: ignore[return-value]

    @property
    def offset(self) -> int:
        """Where it starts in the text."""
        return min(step.offset for step in self.code)


def evaluate(
    expression: Expression, parameters: Mapping[str, Value], source: Source, version: int
) -> Value:
    """Value of an expression, an int, a finite float, or a polynomial in the inputs.

    Raises
    ------
    QasmError
        Where a value is not finite, or an input occurs in anything but + - * and / by a number.
    """
    stack: list[Value] = []
    for action, operand, offset in expression.code:
        if action == "number":
            stack.append(operand)  # type: ignore[arg-type]
        elif action == "parameter":
            stack.append(parameters[operand])  # type: ignore[index]
        else:
            count = int(operand)  # type: ignore[arg-type]
            arguments = stack[-count:]
            del stack[-count:]
            stack.append(_apply(action, arguments, source, offset, version))
    return stack[0]


def _apply(
    action: str, arguments: Sequence[Value], source: Source, offset: int, version: int
) -> Value:
    try:
        if any(isinstance(x, Expr) for x in arguments):
            result: Value = _polynomial(action, arguments)
        elif action == "/" and version == 3 and all(isinstance(x, int) for x in arguments):
            result = _integer_quotient(*arguments)  # type: ignore[arg-type]
        elif action in _OPERATORS:
            result = _OPERATORS[action](*arguments)
        else:
            result = FUNCTIONS[action][1](*arguments)
    except ZeroDivisionError:
        source.fail(offset, "found a division by zero")
    except OverflowError:
        source.fail(offset, f"found a result of '{action}' that exceeds 64-bit floats")
    except (CircuitError, ValueError) as error:
        source.fail(offset, f"found '{action}' with arguments that it cannot take: {error}")
    if isinstance(result, int) and abs(result) >= INT64:
        result = float(result)
    if isinstance(result, float) and not math.isfinite(result):
        source.fail(offset, f"found a result of '{action}' that is not finite")
    return result


def _polynomial(action: str, arguments: Sequence[Value]) -> Value:
    if action in ("+", "-", "*"):
        left, right = arguments
        return _finite(
            {"+": operator.add, "-": operator.sub, "*": operator.mul}[action](left, right)
        )
    if action == "negate":
        return -as_expr(arguments[0])
    if action in ("float", "angle"):
        return arguments[0]
    if action == "/" and not isinstance(arguments[1], Expr):
        return _finite(as_expr(arguments[0]) / arguments[1])
    if action in ("**", "pow") and isinstance(arguments[1], int) and 1 <= arguments[1] <= 4:
        product = as_expr(arguments[0])
        for _ in range(arguments[1] - 1):
            product = product * arguments[0]
        return _finite(product)
    raise ValueError("an input may occur in + - * and / by a number only, or raised to 1, 2, 3, 4")


def _finite(result: Expr) -> Value:
    if not all(math.isfinite(coefficient) for _, coefficient in result.terms):
        raise OverflowError
    return result


def _integer_quotient(left: int, right: int) -> int:
    quotient, rest = divmod(left, right)
    if rest:
        raise ValueError(
            f"{left}/{right} is an integer division in OpenQASM 3 and not exact; "
            f"write {left}.0/{right}"
        )
    return quotient


def _power(base: float, exponent: float) -> float:
    exact = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    if exact and int(base).bit_length() * exponent <= 64:
        return int(int(base) ** int(exponent))
    if base < 0 and not float(exponent).is_integer():
        raise ValueError("a negative number has no real power of a fraction")
    return float(float(base) ** float(exponent))


def _remainder(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        rest = abs(left) % abs(right)  # the sign of the dividend, as in C
        return -rest if left < 0 else rest
    return math.fmod(left, right)


_OPERATORS: Mapping[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": _remainder,
    "**": _power,
    "negate": operator.neg,
    "float": float,
    "angle": float,
    "int": int,
    "uint": int,
    "bool": lambda x: int(x != 0),
}
FUNCTIONS: Mapping[str, tuple[int, Callable[..., float]]] = {
    **{name: (1, getattr(math, name)) for name in ("sin", "cos", "tan", "exp", "sqrt", "floor")},
    **{name: (1, getattr(math, "a" + name[3:])) for name in ("arcsin", "arccos", "arctan")},
    **{name: (1, getattr(math, name)) for name in ("asin", "acos", "atan")},
    "ceiling": (1, math.ceil),
    "ln": (1, math.log),
    "log": (1, math.log),
    "mod": (2, _remainder),
    "pow": (2, _power),
}
