"""The text of a program, its limits, and errors that point into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from tn_qnn.errors import QasmError

MAX_BYTES = 8 * 2**20  # of text
MAX_WORD = 256  # characters of an identifier, number or string
MAX_DEPTH = 64  # of parentheses in an expression, and of gates that call gates
MAX_INSTRUCTIONS = 256  # of an expression that depends on the parameters of a gate
MAX_POWER = 1_000_000  # of pow(k) @
MAX_QUBITS = 100_000  # of a program, by default
MAX_GATES = 250_000  # of a program after expansion, by default
MAX_SHOWN = 40  # characters of the text in an error message


@dataclass(frozen=True)
class Source:
    """The text of a program, for error messages with line and column."""

    text: str

    def fail(self, offset: int, problem: str) -> NoReturn:
        """Raise a QasmError that names line and column (both from 1) of ``offset``."""
        line = self.text.count("\n", 0, offset) + 1
        column = offset - (self.text.rfind("\n", 0, offset) + 1) + 1
        raise QasmError(f"line {line}, column {column}: {problem}")


def shown(text: str) -> str:
    """Text as an error message quotes it: printable and short."""
    return ascii(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")
