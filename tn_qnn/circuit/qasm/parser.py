"""Statements of OpenQASM 2 and 3, parsed by recursive descent and carried out one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tn_qnn.circuit.qasm.calls import CallParser
from tn_qnn.circuit.qasm.definitions import Call, Definition, Expander, recognised
from tn_qnn.circuit.qasm.lexer import Cursor, Token
from tn_qnn.circuit.qasm.library import LIBRARIES
from tn_qnn.circuit.qasm.operands import constant_integer, parse_operand
from tn_qnn.circuit.qasm.scope import Register, Scope
from tn_qnn.circuit.qasm.source import MAX_DEPTH, shown
from tn_qnn.circuit.slots import Expr, feature, weight

FEATURES = "features"  # the input array that holds the features of a sample
WEIGHT_ANNOTATION = "@tn_qnn.weight"  # the name of a weight that is no identifier
_NO_PARAMETERS: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Application:
    """A gate call of the program on its registers."""

    call: Call
    operands: tuple[Register, ...]


class Parser:
    """Reads a program after its header: declarations fill the scope, gate calls are yielded."""

    def __init__(self, cursor: Cursor, scope: Scope, expander: Expander) -> None:
        self.cursor, self.scope, self.expander = cursor, scope, expander
        self.calls = CallParser(cursor, scope)
        self._own_gates: set[str] = set()
        self._weight_name: str | None = None
        self._handlers: Mapping[str, Callable[[], None]] = {
            "include": self._include,
            "gate": self._gate,
            "qreg": partial(self._old_register, quantum=True),
            "creg": partial(self._old_register, quantum=False),
            "barrier": self._barrier,
            **(
                {"opaque": self._opaque}
                if scope.version == 2
                else {
                    "qubit": partial(self._register, quantum=True),
                    "bit": partial(self._register, quantum=False),
                    "nop": self._barrier,
                    "const": self._const,
                    "input": self._input,
                    "let": self._let,
                }
            ),
        }

    def applications(self) -> Iterator[Application]:
        """Carry out the declarations and yield the gate calls, in order."""
        cursor = self.cursor
        while cursor.current.kind != "end":
            token = cursor.current
            handler = self._handlers.get(token.text) if token.kind == "word" else None
            if token.kind == "directive":
                self._directive(cursor.advance())
                continue
            if handler is not None:
                cursor.advance()
                handler()
            elif not cursor.accept(";"):
                yield self._application()
            self._weight_name = None

    def _directive(self, token: Token) -> None:
        """A pragma or an annotation; all but our own are ignored, as the language asks."""
        if not token.text.startswith(WEIGHT_ANNOTATION):
            return
        try:
            name = json.loads(token.text[len(WEIGHT_ANNOTATION) :])
        except (ValueError, RecursionError):
            name = None
        if not isinstance(name, str) or not name:
            self.cursor.fail(f'found {shown(token.text)}; write {WEIGHT_ANNOTATION} "name"', token)
        self._weight_name = name

    def _include(self) -> None:
        token = self.cursor.expect_kind("string", "the name of a file in quotes")
        name = token.text[1:-1]
        if name not in LIBRARIES:
            self.cursor.fail(
                f"found include of {shown(name)}; no file is read, only "
                f"{' and '.join(sorted(LIBRARIES))} are built in: put its text in the program",
                token,
            )
        self.cursor.expect(";")
        for gate, record in LIBRARIES[name].items():
            if gate not in self._own_gates:
                self.scope.gates[gate] = record

    # Declarations

    def _size(self) -> int | None:
        """Take ``[n]`` if it is there."""
        if not self.cursor.accept("["):
            return None
        start = self.cursor.current
        size = constant_integer(self.cursor, self.scope, "a size")
        if size < 1:
            self.cursor.fail(f"found the size {size}; at least 1 is needed", start)
        self.cursor.expect("]")
        return size

    def _old_register(self, quantum: bool) -> None:
        token = self.cursor.expect_kind("word", "the name of a register")
        size = self._size()
        if size is None and self.scope.version == 2:
            self.cursor.unexpected("'['")
        self._declare(token, size, quantum)

    def _register(self, quantum: bool) -> None:
        size = self._size()
        token = self.cursor.expect_kind("word", "the name of a register")
        self._declare(token, size, quantum)

    def _declare(self, token: Token, size: int | None, quantum: bool) -> None:
        if self.cursor.at("="):
            self.cursor.fail(
                "found an assignment; only the unitary part of a program can be read: "
                "declare the register without a value"
            )
        self.cursor.expect(";")
        if quantum:
            self.scope.declare_register(token, size)
        else:
            self.scope.bits.add(self.scope.check_new(token))

    def _type(self) -> tuple[Token, bool]:
        """Take a scalar type with its optional width; True for a whole-number type."""
        token = self.cursor.expect_kind("word", "a type")
        if token.text not in ("int", "uint", "float", "angle", "bool"):
            self.cursor.fail(
                f"found {shown(token.text)} as a type; use float, angle, int, uint or bool", token
            )
        self._size()
        return token, token.text not in ("float", "angle")

    def _const(self) -> None:
        _, whole = self._type()
        token = self.cursor.expect_kind("word", "the name of a constant")
        self.cursor.expect("=")
        value = self.calls.expression(_NO_PARAMETERS).constant
        if value is None or isinstance(value, Expr):
            self.cursor.fail(f"found an input in the value of the constant {token.text}", token)
        if whole and not isinstance(value, int):
            self.cursor.fail(
                f"found the value {value} for the integer {shown(token.text)}; "
                "write int(...) or declare a float",
                token,
            )
        self.cursor.expect(";")
        self.scope.values[self.scope.check_new(token)] = value if whole else float(value)

    def _input(self) -> None:
        size = None
        if array := self.cursor.accept("array"):
            self.cursor.expect("[")
        kind, whole = self._type()
        if whole:
            self.cursor.fail("found an input that is neither float nor angle", kind)
        if array:
            self.cursor.expect(",")
            size = constant_integer(self.cursor, self.scope, "a size")
            self.cursor.expect("]")
        token = self.cursor.expect_kind("word", "the name of an input")
        self.cursor.expect(";")
        name = self.scope.check_new(token)
        if size is None:
            self.scope.values[name] = weight(self._weight_name or name)
        elif name == FEATURES:
            self.scope.arrays[name] = (feature, size)
        else:
            self.scope.arrays[name] = (lambda i: weight(f"{name}[{i}]"), size)

    def _let(self) -> None:
        token = self.cursor.expect_kind("word", "the name of an alias")
        self.cursor.expect("=")
        parts = [parse_operand(self.cursor, self.scope)]
        while self.cursor.accept("++"):
            parts.append(parse_operand(self.cursor, self.scope))
        self.cursor.expect(";")
        name = self.scope.check_new(token)
        if len(parts) == 1:
            self.scope.registers[name] = parts[0]
            return
        qubits = tuple(q for part in parts for q in part.qubits)
        if len(set(qubits)) < len(qubits):
            self.cursor.fail(f"found a qubit twice in the alias {shown(name)}", token)
        self.expander.charge(token.offset, len(qubits))
        self.scope.registers[name] = Register(qubits)

    # Gates

    def _opaque(self) -> None:
        token, parameters, places = self.calls.signature()
        self.cursor.expect(";")
        gate = Definition(token.text, parameters, len(places), None)
        self.scope.declare_gate(token, gate, self._own_gates)

    def _gate(self) -> None:
        token, parameters, places = self.calls.signature()
        self.cursor.expect("{")
        body: list[Call] = []
        while not self.cursor.accept("}"):
            if self.cursor.current.kind == "directive":
                self.cursor.advance()
            elif self.cursor.accept("barrier") or self.cursor.accept("nop"):
                self.calls.formal_places(places)
                self.cursor.expect(";")
            elif not self.cursor.accept(";"):
                body.append(self.calls.inner_call(token, frozenset(parameters), places))
        gate = Definition(token.text, parameters, len(places), tuple(body))
        if gate.depth > MAX_DEPTH:
            self.cursor.fail(
                f"found gates that call gates more than {MAX_DEPTH} deep; flatten them", token
            )
        known = recognised(gate, self.expander)
        self.scope.declare_gate(token, known or gate, self._own_gates)

    def _application(self) -> Application:
        modifiers = self.calls.modifiers(_NO_PARAMETERS)
        token = self.cursor.current
        gate, angles = self.calls.head(_NO_PARAMETERS)
        operands: list[Register] = []
        while not self.cursor.at(";"):
            operands.append(parse_operand(self.cursor, self.scope))
            if not self.cursor.accept(","):
                break
        self.calls.finish(token, gate, modifiers, len(angles), len(operands))
        call = Call(gate, modifiers, angles, tuple(range(len(operands))), token.offset)
        return Application(call, tuple(operands))

    def _barrier(self) -> None:
        """Take the operands, which must exist, and forget them."""
        while not self.cursor.at(";"):
            parse_operand(self.cursor, self.scope)
            if not self.cursor.accept(","):
                break
        self.cursor.expect(";")
