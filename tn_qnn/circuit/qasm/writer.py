"""A circuit to OpenQASM text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tn_qnn.circuit.circuit import Circuit, Operation
from tn_qnn.circuit.qasm.expressions import CONSTANTS
from tn_qnn.circuit.qasm.library import BUILT_IN, LIBRARIES
from tn_qnn.circuit.qasm.parser import FEATURES, WEIGHT_ANNOTATION
from tn_qnn.circuit.qasm.preamble import DEFINITIONS, STANDARD, phase_definition
from tn_qnn.circuit.qasm.scope import KEYWORDS
from tn_qnn.circuit.qasm.synthesis import synthesised
from tn_qnn.circuit.qasm.values import FUNCTIONS
from tn_qnn.circuit.slots import Expr
from tn_qnn.errors import QasmError

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HEADER = {
    2: 'OPENQASM 2.0;\ninclude "qelib1.inc";',
    3: 'OPENQASM 3.0;\ninclude "stdgates.inc";',
}
_RESERVED = frozenset(
    [
        *(*KEYWORDS[3], *CONSTANTS, *FUNCTIONS, *BUILT_IN[3], *LIBRARIES["stdgates.inc"]),
        *(*DEFINITIONS[3], "q", FEATURES),
    ]
)


def to_qasm(circuit: Circuit, version: int = 3) -> str:
    """Write a circuit as an OpenQASM program, floats to the last digit.

    Parameters
    ----------
    circuit
        Weights and features may be free in version 3: weights become ``input float[64]``
        (with an annotation that holds the name where it is no identifier), feature i becomes
        element i of ``input array[float[64], n] features``. Version 2 has no inputs.
    version
        2 or 3.

    Returns
    -------
    str
        A program that :func:`from_qasm` reads back to the same circuit; matrices come back as
        u3, ry, rz, cx and cz, equal up to the global phase, which OpenQASM text drops. Gates that
        the standard library lacks are defined in the program.

    Raises
    ------
    QasmError
        For free weights or features in version 2, and for a tensor-valued weight that has no
        value yet.

    Examples
    --------
    >>> print(to_qasm(Circuit(2).h(0).rzz(0.5, 0, 1), version=2), end="")
    OPENQASM 2.0;
    include "qelib1.inc";
    qreg q[2];
    h q[0];
    rzz(0.5) q[0], q[1];
    """
    if not isinstance(circuit, Circuit):
        raise QasmError(f"circuit: a Circuit was expected, not {type(circuit).__name__}")
    if version not in (2, 3):
        raise QasmError(f"version: 2 or 3 was expected, not {version!r}")
    writer = _Writer(version, _identifiers(circuit) if version == 3 else {})
    body = [line for op in circuit.operations for line in writer.lines(op)]
    n = circuit.num_qubits
    register = f"qreg q[{n}];" if version == 2 else f"qubit[{n}] q;"
    inputs = _inputs(writer.identifiers, circuit.num_features)
    return "\n".join([_HEADER[version], *inputs, *writer.definitions, register, *body, ""])


@dataclass
class _Writer:
    """Writes operations and collects the definitions that they need, in order."""

    version: int
    identifiers: Mapping[str, str]
    definitions: dict[str, None] = field(default_factory=dict)

    def lines(self, op: Operation) -> list[str]:
        """The statements of one operation."""
        if op.block is not None:
            raise QasmError(
                f"circuit: the block {op.block.name!r} has no value; bind() its weights before"
                " writing OpenQASM"
            )
        if op.gate == "unitary":
            steps = [s for s in synthesised(op.array, op.qubits) if s.name != "gphase"]
            return [self._line(s.name, map(_number, s.params), s.qubits) for s in steps]  # type: ignore[arg-type]
        angles = [self._angle(p, op.gate) for p in op.params]
        if op.gate != "mcphase":
            return [self._line(op.gate, angles, op.qubits)]
        n = len(op.qubits)
        if n <= 2:
            return [self._line("p" if n == 1 else "cp", angles, op.qubits)]
        if self.version == 3:
            return [self._line(f"ctrl({n - 1}) @ p", angles, op.qubits)]
        return [self._line(f"mcphase{n}", angles, op.qubits)]

    def _line(self, name: str, angles: Iterable[str], qubits: Iterable[int]) -> str:
        self._define(name)
        listed = ", ".join(angles)
        places = ", ".join(f"q[{q}]" for q in qubits)
        return f"{name}({listed}) {places};" if listed else f"{name} {places};"

    def _define(self, name: str) -> None:
        if name in STANDARD[self.version] or "@" in name:
            return
        text = DEFINITIONS[self.version].get(name) or phase_definition(name)
        if text in self.definitions:
            return
        for inner in dict.fromkeys(re.findall(r"[{;] (\w+)", text)):
            if inner not in ("ctrl", "inv"):
                self._define(inner)
        self.definitions[text] = None

    def _angle(self, angle: Expr, gate: str) -> str:
        if self.version == 2 and not angle.is_constant:
            raise QasmError(
                f"circuit: the angle {angle} of {gate} has no value and OpenQASM 2 has no inputs;"
                " bind() weights and features, or write version=3"
            )
        terms = []
        for monomial, coefficient in angle.terms:
            factors = [self.identifiers[name] for name in monomial.weights]
            factors += [f"{FEATURES}[{i}]" for i in monomial.features]
            if coefficient != 1.0 or not factors:
                factors.insert(0, _number(coefficient))
            terms.append("*".join(factors))
        return " + ".join(terms) or "0.0"


def _number(value: float) -> str:
    """A float that reads back to the same bits; version 2 wants a point before an exponent."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


def _identifiers(circuit: Circuit) -> dict[str, str]:
    """A legal, unused identifier for every weight."""
    names = circuit.weights
    plain = {n for n in names if _IDENTIFIER.fullmatch(n) and n not in _RESERVED}
    used, out = set(plain), {}
    for index, name in enumerate(names):
        out[name] = name
        if name not in plain:
            stem = "w_" + re.sub(r"\W", "_", name, flags=re.ASCII)[:32]
            out[name] = stem if stem not in used else f"{stem}_{index}"
            while out[name] in used:
                out[name] += "_"
            used.add(out[name])
    return out


def _inputs(identifiers: Mapping[str, str], num_features: int) -> list[str]:
    lines = []
    for name, identifier in identifiers.items():
        if name != identifier:
            lines.append(f"{WEIGHT_ANNOTATION} {json.dumps(name)}")
        lines.append(f"input float[64] {identifier};")
    if num_features:
        lines.append(f"input array[float[64], {num_features}] {FEATURES};")
    return lines
