"""Gates with controls, exact to the phase, and what they are made of.

OpenQASM 3 can put controls on anything, so a phase that does not matter alone matters here.
A :class:`Step` is a gate of the gate table (with exactly its matrix) or "gphase", and any
number of controls. :func:`lowered` rewrites it to gates without controls: by the gate table
where there is a name for it (ctrl @ x is cx), else by its definition, of which only the part
between conjugating gates takes the controls (for ctrl @ (V A V^-1) it is enough to control A;
Barenco et al., arXiv:quant-ph/9503016). All definitions end in phases, and a phase with n
controls is the diagonal "mcphase" on n + 1 qubits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import NamedTuple

from tn_qnn.circuit.gates import GATES, MAX_PHASE_QUBITS
from tn_qnn.circuit.slots import Expr
from tn_qnn.errors import CircuitError

Angle = float | Expr


class Control(NamedTuple):
    """A control qubit and the value (0 or 1) on which the gate acts."""

    qubit: int
    value: int = 1


class Step(NamedTuple):
    """A gate of the table, "mcphase" or "gphase", on its qubits, under controls."""

    name: str
    params: tuple[Angle, ...]
    qubits: tuple[int, ...]
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True)
class Part:
    """A step of a definition; ``conjugating`` ones cancel where the controls are off."""

    step: Step
    conjugating: bool = False


#: Controlled gates of the table: (number of controls, what they control).
CONTROLLED: Mapping[str, tuple[int, str]] = {
    "cx": (1, "x"), "cy": (1, "y"), "cz": (1, "z"), "ch": (1, "h"),
    "csx": (1, "sx"), "csxdg": (1, "sxdg"), "cp": (1, "p"), "crx": (1, "rx"),
    "cry": (1, "ry"), "crz": (1, "rz"), "cu3": (1, "u3"), "cswap": (1, "swap"),
    "ccx": (2, "x"), "ccz": (2, "z"), "c3x": (3, "x"), "c4x": (4, "x"),
    "c3sqrtx": (3, "sx"), "c3sqrtxdg": (3, "sxdg"),
}  # fmt: skip
_NAME_OF = {base: name for name, base in CONTROLLED.items()}


def inverted(steps: Sequence[Step]) -> list[Step]:
    """The steps that undo these."""
    return [_inverse(step) for step in reversed(steps)]


def _inverse(step: Step) -> Step:
    if step.name in ("gphase", "mcphase"):
        return step._replace(params=(-step.params[0],))
    name, params = GATES[step.name].inverse(*step.params)
    return step._replace(name=name, params=tuple(params))


def controlled(steps: Sequence[Step], controls: Sequence[Control]) -> list[Step]:
    """The same steps under further controls."""
    return [step._replace(controls=(*controls, *step.controls)) for step in steps]


def lowered(step: Step) -> Iterator[Step]:
    """Yield steps without controls that together do what ``step`` does.

    A global phase under no control is dropped: no expectation value depends on it.

    Raises
    ------
    CircuitError
        For a phase on more qubits than ``mcphase`` takes.
    """
    if not step.controls:
        if step.name != "gphase":
            yield step
        return
    off = [Step("x", (), (c.qubit,)) for c in step.controls if c.value == 0]
    yield from off
    yield from _under_controls(
        with_controls(step._replace(controls=tuple(map(_on, step.controls))))
    )
    yield from off


def _on(control: Control) -> Control:
    return Control(control.qubit)


def with_controls(step: Step) -> Step:
    """The same step with the controls that its name hides made explicit."""
    if (
        step.name == "gphase" and step.controls
    ):  # a phase under control is a phase of the last control
        *rest, last = step.controls
        return Step("p", step.params, (last.qubit,), tuple(rest))
    count, base = CONTROLLED.get(step.name, (0, step.name))
    if step.name == "mcphase":
        count, base = len(step.qubits) - 1, "p"
    own = tuple(map(Control, step.qubits[:count]))
    return step._replace(name=base, qubits=step.qubits[count:], controls=(*step.controls, *own))


def _under_controls(step: Step) -> Iterator[Step]:
    count, qubits = len(step.controls), tuple(c.qubit for c in step.controls) + step.qubits
    name = _NAME_OF.get((count, step.name))
    if name is not None or count == 0:
        yield Step(name or step.name, step.params, qubits)
    elif step.name == "p":
        if len(qubits) > MAX_PHASE_QUBITS:
            raise CircuitError(
                f"a gate under controls that needs a phase on {len(qubits)} qubits; "
                f"at most {MAX_PHASE_QUBITS}: split it with ancilla qubits"
            )
        yield Step("mcphase", step.params, qubits)
    else:
        for part in definition(step.name, step.params, step.qubits):
            if part.conjugating:
                yield part.step
            else:
                inner = part.step
                yield from lowered(inner._replace(controls=step.controls + inner.controls))


def definition(name: str, params: Sequence[Angle], qubits: Sequence[int]) -> tuple[Part, ...]:
    """What a gate is made of, in order, equal to its matrix to the phase."""
    return tuple(_DEFINITIONS[name](*params, *qubits))


def _do(name: str, *arguments: Angle) -> Part:
    """A part by gate name, angles first, then qubits."""
    angles = 1 if name == "gphase" else len(GATES[name].parameters)
    qubits = tuple(int(q) for q in arguments[angles:])  # type: ignore[arg-type]
    return Part(Step(name, tuple(arguments[:angles]), qubits))


def _around(names: str, core: Sequence[Part], qubits: Sequence[int]) -> list[Part]:
    """``core`` between the gates ``names`` on every qubit and their inverses."""
    before = [_do(name, q).step for q in qubits for name in names.split()]
    after = inverted(before)
    return [*(Part(s, True) for s in before), *core, *(Part(s, True) for s in after)]


def _swap(a: int, b: int) -> list[Part]:
    outer = replace(_do("cx", b, a), conjugating=True)
    return [outer, _do("cx", a, b), outer]


def _h(a: int) -> list[Part]:
    turn, back = _do("ry", -pi / 4, a), _do("ry", pi / 4, a)
    return [replace(turn, conjugating=True), _do("z", a), replace(back, conjugating=True)]


def _rzz(t: Angle, a: int, b: int) -> list[Part]:
    outer = replace(_do("cx", a, b), conjugating=True)
    return [outer, _do("rz", t, b), outer]


def _exchange(t: Angle, a: int, b: int) -> list[Part]:
    return [_do("rxx", t, a, b), _do("ryy", t, a, b)]


def _rccx(a: int, b: int, c: int) -> list[Part]:
    core = [_do("t", c), _do("cx", b, c), _do("tdg", c), _do("cx", a, c),
            _do("t", c), _do("cx", b, c), _do("tdg", c)]  # fmt: skip
    return _around("h", core, (c,))


def _rc3x(a: int, b: int, c: int, d: int) -> list[Part]:
    half = [_do("h", d), _do("t", d), _do("cx", c, d), _do("tdg", d), _do("h", d)]
    middle = [_do("cx", a, d), _do("t", d), _do("cx", b, d), _do("tdg", d),
              _do("cx", a, d), _do("t", d), _do("cx", b, d), _do("tdg", d)]  # fmt: skip
    return [*half, *middle, *half]


def _backwards(parts: Sequence[Part]) -> list[Part]:
    return [Part(_inverse(part.step), part.conjugating) for part in reversed(parts)]


def _cu(t: Angle, p: Angle, m: Angle, g: Angle, a: int, b: int) -> list[Part]:
    return [_do("p", g, a), _do("cu3", t, p, m, a, b)]


_DEFINITIONS: Mapping[str, Callable[..., list[Part]]] = {
    "id": lambda a: [],
    "u0": lambda g, a: [],
    "z": lambda a: [_do("p", pi, a)],
    "s": lambda a: [_do("p", pi / 2, a)],
    "sdg": lambda a: [_do("p", -pi / 2, a)],
    "t": lambda a: [_do("p", pi / 4, a)],
    "tdg": lambda a: [_do("p", -pi / 4, a)],
    "x": lambda a: _around("h", [_do("p", pi, a)], (a,)),
    "y": lambda a: _around("sdg", [_do("x", a)], (a,)),
    "h": _h,
    "sx": lambda a: _around("h", [_do("p", pi / 2, a)], (a,)),
    "sxdg": lambda a: _around("h", [_do("p", -pi / 2, a)], (a,)),
    "rz": lambda t, a: [_do("gphase", t * -0.5), _do("p", t, a)],
    "rx": lambda t, a: _around("h", [_do("rz", t, a)], (a,)),
    "ry": lambda t, a: _around("sdg h", [_do("rz", t, a)], (a,)),
    "u3": lambda t, p, m, a: [_do("p", m, a), _do("ry", t, a), _do("p", p, a)],
    "u2": lambda p, m, a: [_do("p", m, a), _do("ry", pi / 2, a), _do("p", p, a)],
    "cu": _cu,
    "swap": _swap,
    "rzz": _rzz,
    "rxx": lambda t, a, b: _around("h", [_do("rzz", t, a, b)], (a, b)),
    "ryy": lambda t, a, b: _around("sdg h", [_do("rzz", t, a, b)], (a, b)),
    "iswap": lambda a, b: _exchange(-pi / 2, a, b),
    "iswapdg": lambda a, b: _exchange(pi / 2, a, b),
    "fsim": lambda t, p, a, b: [*_exchange(t, a, b), _do("cp", -p, a, b)],
    "rccx": _rccx,
    "rc3x": _rc3x,
    "rc3xdg": lambda a, b, c, d: _backwards(_rc3x(a, b, c, d)),
}
