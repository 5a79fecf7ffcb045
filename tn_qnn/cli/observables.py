"""Observables as they are written on a command line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from tn_qnn.circuit.observables import I, Observable, PauliSum, X, Y, Z, projector
from tn_qnn.errors import CircuitError

MAX_LENGTH = 1_000_000  # characters; a longer sum is a task for the Python interface
_PAULIS = {"X": X, "Y": Y, "Z": Z}
_NUMBER = r"\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?|\.\d{1,40}(?:[eE][+-]?\d{1,3})?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{_NUMBER})|(?P<pauli>[XYZ]\d{{1,9}}|I)|(?P<sign>[-+*@]))", re.ASCII
)
_PROJECTOR = re.compile(
    r"\s*P\(\s*(\d{1,9}\s*=\s*[01]\s*(?:,\s*\d{1,9}\s*=\s*[01]\s*)*)\)\s*", re.A
)
EXPECTED = "Z62, X13*Y29*Z31, 0.5*X0+Z1*Z2 or P(0=1,3=0) expected"


def parse_observable(text: str) -> Observable:
    """Read a sum of products of Paulis and numbers, or a projector.

    Raises
    ------
    CircuitError
        For anything else; the message quotes the place.

    Examples
    --------
    >>> print(parse_observable("0.5*X0 + Z1*Z2"))
    0.5*X0 + Z1*Z2
    >>> print(parse_observable("P(0=1,3=0)"))
    P(0=1,3=0)
    """
    if len(text) > MAX_LENGTH:
        raise CircuitError(f"observable: {len(text)} characters, at most {MAX_LENGTH}")
    if found := _PROJECTOR.fullmatch(text):
        pairs = [pair.split("=") for pair in found[1].split(",")]
        bits = {int(q): int(b) for q, b in pairs}
        if len(bits) < len(pairs):
            raise CircuitError(f"observable: {_quoted(text, 0)} names a qubit twice")
        return projector(bits)
    totals: dict[tuple[tuple[int, str], ...], complex] = {}
    for term in _terms(text):
        for string, coefficient in term.terms:
            totals[string] = totals.get(string, 0) + coefficient
    if not all(abs(c) < math.inf for c in totals.values()):
        raise CircuitError(f"observable: a coefficient of {_quoted(text, 0)} is too large")
    return PauliSum(tuple(sorted((s, c) for s, c in totals.items() if c)))


def _terms(text: str) -> Iterator[PauliSum]:
    """Every term of a sum: sign, factor, "*", factor, ..."""
    position, sign, wants_factor = 0, 1.0, True
    term: PauliSum | None = None
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if not found:
            raise CircuitError(f"observable: {_quoted(text, position)} not understood; {EXPECTED}")
        word = found[0].strip()
        if found["sign"] is None:
            if not wants_factor:
                raise CircuitError(
                    f"observable: a sign is missing before {_quoted(text, position)}"
                )
            term = _factor(word, text) if term is None else term @ _factor(word, text)
        elif word in "+-":
            if term is not None and wants_factor:
                break
            if term is not None:
                yield sign * term
                term, sign = None, 1.0
            sign *= -1.0 if word == "-" else 1.0
        elif wants_factor:
            raise CircuitError(f"observable: nothing to multiply at {_quoted(text, position)}")
        wants_factor = found["sign"] is not None
        position = found.end()
    if term is None or wants_factor:
        raise CircuitError(f"observable: {_quoted(text, 0)} is not complete; {EXPECTED}")
    yield sign * term


def _factor(word: str, text: str) -> PauliSum:
    if word == "I":
        return I()
    if word[0] in _PAULIS:
        return _PAULIS[word[0]](int(word[1:]))
    if float(word) == float("inf"):
        raise CircuitError(f"observable: the coefficient {word} of {_quoted(text, 0)} is too large")
    return float(word) * I()


def _quoted(text: str, position: int) -> str:
    rest = text[position:].strip()
    return repr(rest if len(rest) <= 40 else rest[:37] + "...")
