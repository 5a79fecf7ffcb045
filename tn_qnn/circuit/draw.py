"""Text drawings of circuits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tn_qnn.circuit.graphs import check_count
from tn_qnn.circuit.slots import Expr

if TYPE_CHECKING:
    from tn_qnn.circuit.circuit import Circuit, Operation

DEFAULT_WIDTH = 100
LONGEST_ANGLE = 32  # characters; beyond, only the variables are named

# A controlled gate is named "c", "cc", "c3", ... and then its base.
_CONTROLLED = re.compile(r"(?:c(\d)|(c+))(\w+)")
_TARGETS = {"x": "⊕", "z": "●", "swap": "×"}
_NAMES = {"id": "I", "iswap": "iSWAP", "iswapdg": "iSWAP†", "fsim": "fSim", "sqrtx": "√X"}
_SYMMETRIC = {"rxx", "ryy", "rzz", "iswap", "iswapdg", "fsim"}


def draw(circuit: Circuit, max_width: int | None = None) -> str:
    """Draw a circuit as text, gates as early as they can stand without crossing another.

    Angles are rounded to three digits; one that is too long to show appears as f of its variables.
    A gate without a special symbol stands on each of its qubits, with ``:0``, ``:1`` where
    their order matters.

    Parameters
    ----------
    circuit : Circuit
        What to draw.
    max_width : int, optional
        Characters in a line, at least 20, by default 100. A longer circuit goes on in further
        panels; a single wider gate stays whole.

    Returns
    -------
    str
        Lines without trailing blanks.

    Raises
    ------
    CircuitError
        If `max_width` is below 20.

    Examples
    --------
    >>> from tn_qnn.circuit.circuit import Circuit
    >>> from tn_qnn.circuit.slots import feature, weight
    >>> c = Circuit(3).h(0).cx(0, 2).ry(3.14159 * feature(0), 1).swap(1, 2).crz(weight("a"), 0, 1)
    >>> print(draw(c))
    q0: ─┤H├──●───────────────────────●────
              │                       │
    q1: ──────┼──┤RY(3.14·x0)├──×──┤RZ(a)├─
              │                 │
    q2: ──────⊕─────────────────×──────────
    """
    width = DEFAULT_WIDTH if max_width is None else check_count("max_width", max_width, 20)
    names = [f"q{qubit}: " for qubit in range(circuit.num_qubits)]
    margin = max(map(len, names))
    # A circuit without gates is drawn as one empty column.
    columns = [_render(column, circuit.num_qubits) for column in _columns(circuit) or [[]]]
    panels = _panels(columns, width - margin - 1)
    drawn = []
    for number, panel in enumerate(panels):
        end = "»" if number < len(panels) - 1 else ""
        rows = ["".join(pieces) for pieces in zip(*panel, strict=True)]
        for qubit, name in enumerate(names):
            rows[2 * qubit] = name.ljust(margin) + rows[2 * qubit] + end
        for gap in range(1, len(rows), 2):
            rows[gap] = (" " * margin + rows[gap]).rstrip()
        drawn.append("\n".join(rows))
    return "\n\n".join(drawn)


def _columns(circuit: Circuit) -> list[list[Operation]]:
    """Gates in the earliest column in which all wires from their first to their last are free."""
    free = [0] * circuit.num_qubits
    columns: list[list[Operation]] = []
    for op in circuit.operations:
        span = range(min(op.qubits), max(op.qubits) + 1)
        place = max(free[qubit] for qubit in span)
        if place == len(columns):
            columns.append([])
        columns[place].append(op)
        for qubit in span:
            free[qubit] = place + 1
    return columns


def _render(column: Sequence[Operation], num_qubits: int) -> list[str]:
    """The column as text of one width: wires in even rows, what lies between them in odd rows."""
    symbols: dict[int, str] = {}
    for op in column:
        for row in range(2 * min(op.qubits), 2 * max(op.qubits)):
            symbols[row] = "│" if row % 2 else "┼"
        for qubit, symbol in zip(op.qubits, _symbols(op), strict=True):
            symbols[2 * qubit] = symbol
    width = max(map(len, symbols.values()), default=0)
    rows = []
    for row in range(2 * num_qubits - 1):
        symbol, fill = symbols.get(row, ""), " " if row % 2 else "─"
        # Pad so that the middles of odd and even lengths agree, and vertical lines meet them.
        left = (width - 1) // 2 - (len(symbol) - 1) // 2
        rows.append(f"{fill}{fill * left}{symbol}".ljust(width + 1, fill) + fill)
    return rows


def _panels(columns: Sequence[list[str]], width: int) -> list[list[list[str]]]:
    """Split columns into runs that fit the width."""
    panels: list[list[list[str]]] = [[]]
    used = 0
    for column in columns:
        if panels[-1] and used + len(column[0]) > width:
            panels.append([])
            used = 0
        panels[-1].append(column)
        used += len(column[0])
    return panels


def _symbols(op: Operation) -> list[str]:
    """What stands on each qubit of the operation."""
    n = len(op.qubits)
    angles = "(" + ",".join(map(_angle, op.params)) + ")" if op.params else ""
    if op.block is not None:
        return _boxes(op.block.name, n)
    if op.gate == "unitary":
        return _boxes("U", n)
    if op.gate == "mcphase":
        return ["●"] * (n - 1) + [f"┤P{angles}├"]
    if op.gate == "swap":
        return ["×", "×"]
    if op.gate in _SYMMETRIC:
        return [f"┤{_name(op.gate)}{angles}├"] * n
    controlled = _CONTROLLED.fullmatch(op.gate)
    if controlled is None:
        return _boxes(_name(op.gate) + angles, n)
    number, letters, base = controlled.groups()
    controls = int(number) if number else len(letters)
    target = _TARGETS.get(base, f"┤{_name(base)}{angles}├")
    return ["●"] * controls + [target] * (n - controls)


def _boxes(label: str, num_qubits: int) -> list[str]:
    if num_qubits == 1:
        return [f"┤{label}├"]
    return [f"┤{label}:{k}├" for k in range(num_qubits)]


def _name(gate: str) -> str:
    if gate in _NAMES:
        return _NAMES[gate]
    if gate.endswith("dg"):
        return _name(gate.removesuffix("dg")) + "†"
    return gate.upper()


def _angle(expr: Expr) -> str:
    """The polynomial with three digits, or f(its variables) if that is too long to show."""
    text = ""
    for monomial, coefficient in expr.terms:
        number = f"{abs(coefficient):.3g}"
        factors = [] if monomial.degree and number == "1" else [number]
        factors += [str(monomial)] if monomial.degree else []
        sign = "-" if coefficient < 0 else "+"
        text += (f" {sign} " if text else sign.strip("+")) + "·".join(factors)
    if len(text) > LONGEST_ANGLE:
        variables = [*sorted(expr.weights), *(f"x{i}" for i in sorted(expr.features))]
        text = "f(" + ",".join(variables) + ")"
    if len(text) > LONGEST_ANGLE:
        text = text[: LONGEST_ANGLE - 1] + "…"
    return text or "0"
