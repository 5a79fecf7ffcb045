"""What is declared so far: registers, constants, inputs, gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from tn_qnn.circuit.qasm.definitions import Definition
from tn_qnn.circuit.qasm.expressions import Names
from tn_qnn.circuit.qasm.lexer import Token
from tn_qnn.circuit.qasm.library import BUILT_IN, LIBRARIES, LibraryGate
from tn_qnn.circuit.qasm.source import Source, shown
from tn_qnn.circuit.qasm.values import Value
from tn_qnn.circuit.slots import Expr

Qubits = range | tuple[int, ...]

_VERSION_2 = frozenset("OPENQASM include qreg creg gate opaque barrier measure reset if".split())
_REASONS = {
    "a measurement or reset": "measure reset",
    "control flow": "if else for while switch case default break continue end return",
    "a subroutine": "def extern",
    "a calibration": "cal defcal defcalgrammar",
    "timing": "delay box duration stretch durationof",
    "a classical variable (const and input are read)": (
        "int uint float angle bool complex array output"
    ),
}
#: Statements that are not unitary: first word to what it is.
REFUSED = {word: reason for reason, words in _REASONS.items() for word in words.split()}
#: Words that no declaration may take, by version.
KEYWORDS = {
    2: _VERSION_2,
    3: (_VERSION_2 - {"opaque"})
    | frozenset(REFUSED)
    | frozenset(
        "let const input qubit bit pragma in true false inv pow ctrl negctrl gphase".split()
    )
    | frozenset("readonly mutable void im nop".split()),
}


@dataclass(frozen=True)
class Register:
    """A register, an alias, or a part of one: the numbers of its qubits."""

    qubits: Qubits
    scalar: bool = False  # a single qubit, which broadcasts against registers


@dataclass
class Scope:
    """The names of a program, filled while its statements are read."""

    source: Source
    version: int
    max_qubits: int
    num_qubits: int = 0
    gates: dict[str, LibraryGate | Definition] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    arrays: dict[str, tuple[Callable[[int], Expr], int]] = field(default_factory=dict)
    bits: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gates.update(BUILT_IN[self.version])

    def names(self, parameters: frozenset[str] = frozenset()) -> Names:
        """The names that an expression may use."""
        return Names(self.values, self.arrays, parameters)

    def check_new(self, token: Token) -> str:
        """The name in a declaration; an error where it is taken or a keyword."""
        name = token.text
        if name in KEYWORDS[self.version]:
            self.source.fail(token.offset, f"found the keyword '{name}' as a name; choose another")
        for known in (self.registers, self.values, self.arrays, self.bits):
            if name in known:
                self.source.fail(
                    token.offset, f"found a second declaration of {shown(name)}; rename one"
                )
        return name

    def declare_register(self, token: Token, size: int | None) -> None:
        """A new register of qubits, or one qubit for ``size`` None."""
        name, count = self.check_new(token), 1 if size is None else size
        if self.num_qubits + count > self.max_qubits:
            self.source.fail(
                token.offset,
                f"found {self.num_qubits + count} qubits, over the limit "
                f"max_qubits={self.max_qubits}; raise max_qubits or declare fewer",
            )
        qubits = range(self.num_qubits, self.num_qubits + count)
        self.registers[name] = Register(qubits, scalar=size is None)
        self.num_qubits += count

    def declare_gate(self, token: Token, gate: LibraryGate | Definition, own: set[str]) -> None:
        """A gate of the program; it may replace one of a library, never one of its own."""
        name = token.text
        if name in KEYWORDS[self.version] or name in BUILT_IN[self.version]:
            self.source.fail(token.offset, f"found the built-in '{name}' as the name of a gate")
        if name in own:
            self.source.fail(
                token.offset, f"found a second definition of gate {shown(name)}; rename one"
            )
        own.add(name)
        self.gates[name] = gate

    def gate(self, token: Token) -> LibraryGate | Definition:
        """The gate of this name."""
        if token.text not in self.gates:
            self._unknown(token)
        return self.gates[token.text]

    def _unknown(self, token: Token) -> NoReturn:
        name = token.text
        files = [file for file, gates in LIBRARIES.items() if name in gates]
        usual = {2: "qelib1.inc", 3: "stdgates.inc"}[self.version]
        if name in REFUSED:
            self.source.fail(token.offset, refusal(name))
        if self.version == 2 and name in KEYWORDS[3]:
            advice = "which is a statement of OpenQASM 3; change the header to OPENQASM 3.0;"
        elif files:
            advice = (
                f'a gate that is not declared; include "{usual if usual in files else files[0]}";'
            )
        else:
            advice = "a gate that is not declared; define it before with: gate ... { ... }"
        self.source.fail(token.offset, f"found {shown(name)}, {advice}")


def refusal(word: str) -> str:
    """Why a statement that starts with this word is not read."""
    return (
        f"found '{word}', {REFUSED[word]}; only the unitary part of a program can be read: "
        "remove the statement"
    )
