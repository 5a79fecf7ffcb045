"""Operands of a gate: registers, their qubits, slices and index sets."""

from __future__ import annotations

from tn_qnn.circuit.qasm.expressions import ExpressionParser
from tn_qnn.circuit.qasm.lexer import Cursor, Token
from tn_qnn.circuit.qasm.scope import Register, Scope
from tn_qnn.circuit.qasm.source import shown


def parse_operand(cursor: Cursor, scope: Scope) -> Register:
    """Take ``q``, ``q[1]``, and in version 3 ``q[-1]``, ``q[0:2]``, ``q[{0, 2}]``."""
    if cursor.current.kind == "hardware":
        cursor.fail(f"found the physical qubit {cursor.current.text}; declare qubits and use them")
    token = cursor.expect_kind("word", "a qubit or a register")
    if token.text not in scope.registers:
        cursor.fail(f"found {shown(token.text)}, which is no qubit; declare it before", token)
    register = scope.registers[token.text]
    while not register.scalar and cursor.at("["):
        register = _indexed(cursor, scope, register, token)
    return register


def constant_integer(cursor: Cursor, scope: Scope, what: str) -> int:
    """Take an expression whose value is a constant integer."""
    start = cursor.current
    value = ExpressionParser(cursor, scope.names(), scope.version).parse().constant
    if not isinstance(value, int):
        cursor.fail(f"found {what} that is no constant integer", start)
    return value


def _indexed(cursor: Cursor, scope: Scope, register: Register, token: Token) -> Register:
    cursor.expect("[")
    if scope.version == 3 and cursor.accept("{"):
        chosen = []
        while not cursor.at("}"):
            chosen.append(_index(cursor, scope, register, token))
            if len(chosen) > len(register.qubits) or not cursor.accept(","):
                break
        if len(set(chosen)) < len(chosen):
            cursor.fail(f"found an index twice in the set of {shown(token.text)}", token)
        cursor.expect("}")
        part = Register(tuple(register.qubits[i] for i in chosen))
    else:
        part = _index_or_slice(cursor, scope, register, token)
    cursor.expect("]")
    if len(part.qubits) == 0:
        cursor.fail(f"found an empty part of {shown(token.text)}", token)
    return part


def _index_or_slice(cursor: Cursor, scope: Scope, register: Register, token: Token) -> Register:
    """An index, or ``start:stop`` or ``start:step:stop``, both ends included."""
    start = None if cursor.at(":") else _index(cursor, scope, register, token)
    if start is not None and (scope.version == 2 or not cursor.at(":")):
        return Register((register.qubits[start],), scalar=True)
    if scope.version == 2:
        cursor.unexpected("an index")
    cursor.expect(":")
    step, middle = 1, cursor.current
    stop = None if cursor.at("]", ":") else constant_integer(cursor, scope, "an index")
    if cursor.accept(":"):
        step = stop if stop is not None else 1
        stop = None if cursor.at("]") else constant_integer(cursor, scope, "an index")
    if step == 0:
        cursor.fail("found a step of 0; use a step that is not zero", middle)
    size = len(register.qubits)
    if stop is not None:
        stop = _in_range(cursor, stop, size, token)
    first = start if start is not None else (0 if step > 0 else size - 1)
    last = stop if stop is not None else (size - 1 if step > 0 else 0)
    end = last + 1 if step > 0 else (last - 1 if last > 0 else None)
    return Register(register.qubits[first:end:step])


def _index(cursor: Cursor, scope: Scope, register: Register, token: Token) -> int:
    return _in_range(
        cursor, constant_integer(cursor, scope, "an index"), len(register.qubits), token
    )


def _in_range(cursor: Cursor, index: int, size: int, token: Token) -> int:
    if not -size <= index < size:
        cursor.fail(
            f"found the index {index} of {shown(token.text)}, which has {size} qubits; "
            f"use 0 to {size - 1}",
            token,
        )
    return index % size
