"""Gate calls and the heads of gate definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tn_qnn.circuit.qasm.definitions import Call, Definition, Modifier
from tn_qnn.circuit.qasm.expressions import ExpressionParser
from tn_qnn.circuit.qasm.lexer import Cursor, Token
from tn_qnn.circuit.qasm.library import LibraryGate
from tn_qnn.circuit.qasm.scope import KEYWORDS, REFUSED, Scope, refusal
from tn_qnn.circuit.qasm.source import shown
from tn_qnn.circuit.qasm.values import Expression


class CallParser:
    """Parses what gate calls at the top and in definitions have in common."""

    def __init__(self, cursor: Cursor, scope: Scope) -> None:
        self.cursor, self.scope = cursor, scope

    def names(self, what: str) -> list[Token]:
        """Take names with commas between them."""
        names: list[Token] = []
        while self.cursor.current.kind == "word":
            token = self.cursor.advance()
            if token.text in KEYWORDS[self.scope.version]:
                self.cursor.fail(f"found the keyword '{token.text}' as {what}", token)
            names.append(token)
            if not self.cursor.accept(","):
                break
        if len({token.text for token in names}) < len(names):
            self.cursor.fail(f"found the same name twice as {what}", names[0])
        return names

    def signature(self) -> tuple[Token, tuple[str, ...], dict[str, int]]:
        """Take the name, the parameters and the qubits of a gate that is defined."""
        token = self.cursor.expect_kind("word", "the name of a gate")
        parameters: list[Token] = []
        if self.cursor.accept("("):
            parameters = self.names("the parameter of a gate")
            self.cursor.expect(")")
        qubits = self.names("the qubit of a gate")
        if not qubits:
            self.cursor.unexpected("the name of a qubit")
        places = {name.text: place for place, name in enumerate(qubits)}
        return token, tuple(p.text for p in parameters), places

    def formal_places(self, places: Mapping[str, int]) -> tuple[int, ...]:
        """Take the names of qubits of the gate that is defined."""
        tokens = self.names("an operand")
        for token in tokens:
            if token.text not in places:
                self.cursor.fail(
                    f"found {shown(token.text)}, which is no qubit of this gate", token
                )
        return tuple(places[token.text] for token in tokens)

    def inner_call(
        self, defined: Token, parameters: frozenset[str], places: Mapping[str, int]
    ) -> Call:
        """Take a gate call in the body of a definition."""
        modifiers = self.modifiers(parameters)
        token = self.cursor.current
        if token.kind == "word" and token.text == defined.text:
            self.cursor.fail(f"found gate {shown(token.text)} in its own definition; no recursion")
        gate, angles = self.head(parameters)
        used = self.formal_places(places)
        self.finish(token, gate, modifiers, len(angles), len(used))
        return Call(gate, modifiers, angles, used, token.offset)

    def head(
        self, parameters: frozenset[str]
    ) -> tuple[LibraryGate | Definition, tuple[Expression, ...]]:
        """Take the name of a gate and its angles."""
        token = self.cursor.expect_kind("word", "a statement")
        if token.text in REFUSED and token.text in KEYWORDS[self.scope.version]:
            self.cursor.fail(refusal(token.text), token)
        if self.cursor.at("=", "[") and token.text not in self.scope.gates:
            self.cursor.fail(
                f"found {shown(token.text)}, which is no gate; assignments, of measurements for "
                "example, cannot be read: remove the statement",
                token,
            )
        gate = self.scope.gate(token)
        angles: list[Expression] = []
        if self.cursor.accept("("):
            while not self.cursor.at(")"):
                angles.append(self.expression(parameters))
                if not self.cursor.accept(","):
                    break
            self.cursor.expect(")")
        return gate, tuple(angles)

    def finish(
        self,
        token: Token,
        gate: LibraryGate | Definition,
        modifiers: Sequence[Modifier],
        angles: int,
        qubits: int,
    ) -> None:
        """Take the ``;`` and check the numbers of angles and qubits."""
        self.cursor.expect(";")
        wanted = gate.num_qubits + sum(modifier.count for modifier in modifiers)
        if angles != gate.num_parameters or qubits != wanted:
            self.cursor.fail(
                f"found {angles} angles and {qubits} qubits for {shown(token.text)}; "
                f"it takes {gate.num_parameters} and {wanted}",
                token,
            )

    def modifiers(self, parameters: frozenset[str]) -> tuple[Modifier, ...]:
        """Take ``ctrl(n) @``, ``negctrl(n) @``, ``inv @`` and ``pow(k) @``, outermost first."""
        modifiers: list[Modifier] = []
        while self.scope.version == 3 and self.cursor.at("ctrl", "negctrl", "inv", "pow"):
            token = self.cursor.advance()
            argument = None
            if token.text != "inv" and self.cursor.accept("("):
                argument = self.expression(parameters)
                self.cursor.expect(")")
            self.cursor.expect("@")
            if token.text == "inv":
                modifiers.append(Modifier("inv"))
            elif token.text == "pow":
                if argument is None:
                    self.cursor.fail("found pow without an exponent; write pow(k) @", token)
                modifiers.append(Modifier("pow", exponent=argument))
            else:
                count = 1 if argument is None else argument.constant
                if not isinstance(count, int) or count < 1:
                    self.cursor.fail(
                        f"found {token.text} with a count that is no constant integer >= 1", token
                    )
                modifiers.append(Modifier("ctrl" if token.text == "ctrl" else "negctrl", count))
        return tuple(modifiers)

    def expression(self, parameters: frozenset[str]) -> Expression:
        """Take an expression, in which parameters of the gate may occur."""
        names = self.scope.names(parameters)
        return ExpressionParser(self.cursor, names, self.scope.version).parse()
