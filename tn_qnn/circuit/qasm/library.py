"""The gates of qelib1.inc and stdgates.inc, built in: no file is ever read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.qasm.steps import Angle, Step


@dataclass(frozen=True)
class LibraryGate:
    """A gate that needs no definition.

    Attributes
    ----------
    name
        Its name in OpenQASM.
    gate
        Its name in the gate table; "gphase" for the global phase.
    num_parameters, num_qubits
        Angles and qubits, without controls.
    phase
        Coefficients c: in OpenQASM 3 it is exp(i sum_k c_k angle_k) times the table's matrix.
    work, depth
        Cost of a call, see :class:`tn_qnn.circuit.qasm.definitions.Call`.
    """

    name: str
    gate: str
    num_parameters: int
    num_qubits: int
    phase: tuple[float, ...] = ()
    work: int = 1
    depth: int = 0

    def steps(self, angles: Sequence[Angle], qubits: Sequence[int]) -> list[Step]:
        """The gate on these qubits, exact to the phase."""
        out = [Step(self.gate, tuple(angles), tuple(qubits))]
        if self.phase:
            terms = [c * angle for c, angle in zip(self.phase, angles, strict=True)]
            out.append(Step("gphase", (sum(terms, 0.0),), ()))
        return out


def _named(name: str, gate: str, *phase: float) -> LibraryGate:
    record = GATES[gate]
    return LibraryGate(name, gate, len(record.parameters), record.num_qubits, phase)


def _library(*names: str, **others: str) -> dict[str, LibraryGate]:
    pairs = {**{name: name for name in names}, **others}
    return {name: _named(name, gate) for name, gate in pairs.items()}


_U = _named("U", "u3", 0.5, 0.0, 0.0)  # 2 pi periodic since OpenQASM 3.0
_U2 = _named("u2", "u2", -0.5, -0.5)
_U3 = _named("u3", "u3", 0.0, -0.5, -0.5)

#: Known without an include. The phases differ by version and matter under controls only,
#: which version 2 does not have.
BUILT_IN: Mapping[int, Mapping[str, LibraryGate]] = {
    2: {**_library(U="u3", CX="cx")},
    3: {"gphase": LibraryGate("gphase", "gphase", 1, 0), "U": _U},
}

#: Gates by include file. qelib1.inc is the longest version in circulation (Qiskit's).
LIBRARIES: Mapping[str, Mapping[str, LibraryGate]] = {
    "stdgates.inc": {
        **_library(
            "p", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "rx", "ry", "rz",
            "cx", "cy", "cz", "cp", "crx", "cry", "crz", "ch", "swap", "ccx", "cswap", "cu", "id",
            CX="cx", phase="p", cphase="cp", u1="p",
        ),
        "u2": _U2,
        "u3": _U3,
    },
    "qelib1.inc": {
        **_library(
            "u0", "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "rx", "ry", "rz", "p",
            "sx", "sxdg", "cx", "cy", "cz", "ch", "swap", "ccx", "cswap", "crx", "cry", "crz",
            "cp", "cu3", "cu", "csx", "rxx", "ryy", "rzz", "rccx", "rc3x", "c3x", "c3sqrtx", "c4x",
            u="u3", u1="p", cu1="cp", cccx="c3x", ccccx="c4x", rcccx="rc3x", cccsqrtx="c3sqrtx",
        ),
        "u2": _U2,
        "u3": _U3,
    },
}  # fmt: skip
