"""``pow(k) @``: powers of gates, exact where the angle can simply be multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.gates import GATES, multi_controlled_phase
from tn_qnn.circuit.gates import controlled as controlled_matrix
from tn_qnn.circuit.qasm.steps import Angle, Step, definition, inverted, with_controls
from tn_qnn.circuit.qasm.synthesis import synthesised
from tn_qnn.circuit.slots import Expr
from tn_qnn.errors import CircuitError

_PHASES = ("gphase", "p")
_ROTATIONS = ("rx", "ry", "rz", "rxx", "ryy", "rzz")
_CONJUGATE = ("x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "swap")


def raised(steps: Sequence[Step], exponent: float, limit: int) -> list[Step]:
    """The steps to a power.

    Integer powers repeat the steps. Fractional powers are principal ones (eigenvalue phases
    from -pi, exclusive, to pi, times the exponent), by the angle for rotations and phases and
    all gates that are conjugate to one (x, y, z, h, s, t, sx ...), else by the matrix, for
    constant angles and up to two qubits. An angle that depends on an input is multiplied.

    Raises
    ------
    CircuitError
        For more than ``limit`` steps, or a fractional power that is none of the above.
    """
    if abs(exponent) == 1:
        return list(steps) if exponent > 0 else inverted(steps)
    if len(steps) == 1:
        single = _raised_step(steps[0], exponent)
        if single is not None:
            return single
    if float(exponent).is_integer():
        count = abs(int(exponent))
        if count * len(steps) > limit:
            raise CircuitError(
                f"a power of {count * len(steps)} gates, over the limit of {limit};"
                " raise max_gates or use a smaller exponent"
            )
        return (inverted(steps) if exponent < 0 else list(steps)) * count
    return _raised_matrix(steps, exponent)


def _raised_step(step: Step, exponent: float) -> list[Step] | None:
    """The power of one step where it can be had from its angle, else None."""
    step = with_controls(step)
    if step.name in _PHASES or step.name in _ROTATIONS:
        return _scaled(step, exponent)
    if step.name not in _CONJUGATE:
        return None
    out: list[Step] = []
    for part in definition(step.name, step.params, step.qubits):
        if part.conjugating:
            out.append(part.step)
        else:
            core = part.step._replace(controls=step.controls + part.step.controls)
            out += _raised_step(core, exponent) or []
    return out


def _scaled(step: Step, exponent: float) -> list[Step]:
    angle = step.params[0]
    if isinstance(angle, Expr) and angle.is_constant:
        angle = angle.constant_value
    if isinstance(angle, Expr) or float(exponent).is_integer():
        return [step._replace(params=(_finite(angle * exponent),))]
    period = math.tau if step.name in _PHASES else 2 * math.tau
    angle = math.remainder(angle, period)
    if abs(abs(angle) - period / 2) < 1e-12:  # the eigenvalue -1, whose phase is pi
        if step.name in _ROTATIONS:
            return [Step("gphase", (math.pi * exponent,), (), step.controls)]
        angle = period / 2
    return [step._replace(params=(angle * exponent,))]


def _finite(angle: Angle) -> Angle:
    parts = [c for _, c in angle.terms] if isinstance(angle, Expr) else [angle]
    if not all(map(math.isfinite, parts)):
        raise CircuitError("a power whose angle exceeds 64-bit floats")
    return angle


def _raised_matrix(steps: Sequence[Step], exponent: float) -> list[Step]:
    qubits = tuple(sorted({q for s in steps for q in (*s.qubits, *(c.qubit for c in s.controls))}))
    if len(qubits) > 2:
        raise CircuitError(
            f"a fractional power of a gate on {len(qubits)} qubits; only rotations, phases and"
            " gates on one or two qubits have one here"
        )
    from scipy.linalg import schur

    values, vectors = schur(matrix_of(steps, qubits), output="complex")
    phases = np.angle(np.diag(values))
    phases = np.where(phases < -math.pi + 1e-9, math.pi, phases)
    power = (vectors * np.exp(1j * exponent * phases)) @ vectors.conj().T
    if not qubits:
        return [Step("gphase", (float(np.angle(power[0, 0])),), ())]
    return synthesised(power, qubits)


def matrix_of(steps: Sequence[Step], qubits: Sequence[int]) -> NDArray[np.complex128]:
    """The matrix of steps with constant angles, the first qubit the most significant."""
    return applied(steps, qubits, np.eye(2 ** len(qubits), dtype=complex))


def applied(
    steps: Sequence[Step], qubits: Sequence[int], states: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Steps with constant angles on the columns of ``states``, shape (2**n, columns)."""
    place = {q: k for k, q in enumerate(qubits)}
    tensor = states.reshape((2,) * len(qubits) + (states.shape[1],))
    for step in steps:
        wires = [place[q] for q in (*(c.qubit for c in step.controls), *step.qubits)]
        k = len(wires)
        small = _small(step).reshape((2,) * (2 * k))
        off = [i for i, control in enumerate(step.controls) if control.value == 0]
        small = np.flip(small, axis=(*off, *(i + k for i in off)))
        tensor = np.moveaxis(np.tensordot(small, tensor, (range(k, 2 * k), wires)), range(k), wires)
    return tensor.reshape(states.shape)


def _small(step: Step) -> NDArray[np.complex128]:
    params = []
    for angle in step.params:
        if isinstance(angle, Expr) and not angle.is_constant:
            raise CircuitError(
                f"a fractional power of a gate whose angle depends on an input ({angle})"
            )
        params.append(angle.constant_value if isinstance(angle, Expr) else float(angle))
    if step.name == "gphase":
        base = np.array([[np.exp(1j * params[0])]])
    elif step.name == "mcphase":
        base = multi_controlled_phase(len(step.qubits)).matrix(params)
    else:
        base = GATES[step.name].matrix(params)
    return controlled_matrix(base, len(step.controls))
