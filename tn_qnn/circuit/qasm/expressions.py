"""Angles, sizes and indices: expressions over constants, inputs and gate parameters.

An expression is parsed to postfix form (precedence climbing) and evaluated by a loop with a
stack, so that no text, however long, can exhaust Python's own stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tn_qnn.circuit.qasm.lexer import Cursor, Token
from tn_qnn.circuit.qasm.source import MAX_DEPTH, MAX_INSTRUCTIONS, shown
from tn_qnn.circuit.qasm.values import (
    FUNCTIONS,
    INT64,
    Expression,
    Instruction,
    Value,
    evaluate,
)
from tn_qnn.circuit.slots import Expr

CONSTANTS: Mapping[str, float] = {
    "pi": math.pi,
    "π": math.pi,
    "tau": math.tau,
    "τ": math.tau,
    "euler": math.e,
    "ℇ": math.e,
}
_CASTS = ("int", "uint", "float", "angle", "bool")
_CLOSING = frozenset(")],:;")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2}


@dataclass(frozen=True)
class Names:
    """What an identifier in an expression can mean.

    Attributes
    ----------
    values
        Constants and scalar inputs that are declared so far.
    arrays
        Input arrays: index to expression, and their length.
    parameters
        Parameters of the gate that is being defined.
    """

    values: Mapping[str, Value]
    arrays: Mapping[str, tuple[Callable[[int], Expr], int]]
    parameters: frozenset[str] = frozenset()


class ExpressionParser:
    """Parses the expression at a cursor, for one version of the language."""

    def __init__(self, cursor: Cursor, names: Names, version: int) -> None:
        self.cursor, self.names, self.version = cursor, names, version
        self._number_taken: Token | None = None

    def parse(self) -> Expression:
        """Take one expression; fold it to a number where no parameter occurs."""
        token = self.cursor.current
        if token.kind in ("integer", "real"):  # most expressions are one number
            self.cursor.advance()
            if self.cursor.current.text in _CLOSING:
                return Expression((Instruction("number", self._number(token), token.offset),))
            self._number_taken = token
        code: list[Instruction] = []
        self._binary(code, 1)
        if not any(step.action == "parameter" for step in code):
            value = evaluate(Expression(tuple(code)), {}, self.cursor.source, self.version)
            return Expression((Instruction("number", value, code[0].offset),))
        if len(code) > MAX_INSTRUCTIONS:
            self.cursor.source.fail(
                code[0].offset,
                f"found an expression of {len(code)} steps in a gate; at most {MAX_INSTRUCTIONS}",
            )
        return Expression(tuple(code))

    def _binary(self, code: list[Instruction], lowest: int) -> None:
        self._unary(code)
        while self.cursor.current.kind == "symbol":
            token = self.cursor.current
            precedence = _PRECEDENCE.get(token.text, 0)
            if precedence < lowest:
                if token.text == "^" and self.version == 3:
                    self.cursor.fail("found '^', which is no power in OpenQASM 3; write **")
                return
            self.cursor.advance()
            self._binary(code, precedence + 1)
            code.append(Instruction(token.text, 2, token.offset))

    def _unary(self, code: list[Instruction]) -> None:
        start, negative, signs = self.cursor.current, False, 0
        while self._number_taken is None and self.cursor.at("-", "+"):
            negative ^= self.cursor.advance().text == "-"
            signs += 1
            if signs > MAX_DEPTH:
                self.cursor.fail(f"found more than {MAX_DEPTH} signs in a row; remove them")
        self._primary(code)
        token = self.cursor.current
        if self.cursor.at("**") or (self.version == 2 and self.cursor.at("^")):
            self.cursor.advance()
            self.cursor.enter()
            self._unary(code)
            self.cursor.leave()
            code.append(Instruction("**", 2, token.offset))
        if negative:
            code.append(Instruction("negate", 1, start.offset))

    def _primary(self, code: list[Instruction]) -> None:
        taken, self._number_taken = self._number_taken, None
        token = taken or self.cursor.current
        if token.kind in ("integer", "real"):
            if taken is None:
                self.cursor.advance()
            code.append(Instruction("number", self._number(token), token.offset))
        elif self.cursor.accept("("):
            self.cursor.enter()
            self._binary(code, 1)
            self.cursor.leave()
            self.cursor.expect(")")
        elif token.kind == "word":
            self.cursor.advance()
            self._word(code, token)
        else:
            self.cursor.unexpected("a number, a name or '('")

    def _number(self, token: Token) -> Value:
        try:
            if token.kind == "integer":
                text = token.text if token.text[1:2] in "xXbBo" else token.text.lstrip("0_") or "0"
                value = int(text, 0)
                return value if value < INT64 else float(value)
            number = float(token.text)
        except (ValueError, OverflowError):
            self.cursor.fail(f"found {shown(token.text)}, which is no number", token)
        if math.isinf(number):
            self.cursor.fail(f"found {shown(token.text)}, which exceeds 64-bit floats", token)
        return number

    def _word(self, code: list[Instruction], token: Token) -> None:
        name, cursor = token.text, self.cursor
        if name in self.names.parameters:
            code.append(Instruction("parameter", name, token.offset))
        elif name in self.names.values:
            code.append(Instruction("number", self.names.values[name], token.offset))
        elif name in self.names.arrays:
            code.append(Instruction("number", self._element(token), token.offset))
        elif name in CONSTANTS:
            code.append(Instruction("number", CONSTANTS[name], token.offset))
        elif name in ("true", "false"):
            code.append(Instruction("number", int(name == "true"), token.offset))
        elif name in FUNCTIONS or name in _CASTS:
            if name in _CASTS and cursor.accept("["):  # the width of a cast makes no difference
                self.parse()
                cursor.expect("]")
            self._call(code, token)
        elif name == "measure":
            cursor.fail("found 'measure'; only the unitary part of a program can be read", token)
        else:
            cursor.fail(f"found {shown(name)}, which is not declared; declare it before", token)

    def _element(self, token: Token) -> Expr:
        make, length = self.names.arrays[token.text]
        self.cursor.expect("[")
        self.cursor.enter()
        index = ExpressionParser(self.cursor, self.names, self.version).parse().constant
        self.cursor.leave()
        self.cursor.expect("]")
        if not isinstance(index, int) or not -length <= index < length:
            self.cursor.fail(
                f"found an index of {shown(token.text)} that is no constant integer from "
                f"{-length} to {length - 1}",
                token,
            )
        return make(index % length)

    def _call(self, code: list[Instruction], token: Token) -> None:
        cursor, count = self.cursor, 0
        wanted = FUNCTIONS[token.text][0] if token.text in FUNCTIONS else 1
        cursor.expect("(")
        cursor.enter()
        while not cursor.at(")"):
            self._binary(code, 1)
            count += 1
            if not cursor.accept(","):
                break
        cursor.leave()
        cursor.expect(")")
        if count != wanted:
            cursor.fail(f"found {count} arguments of {token.text}(); it takes {wanted}", token)
        code.append(Instruction(token.text, count, token.offset))
