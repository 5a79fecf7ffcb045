"""Drawings, whole and by their properties."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork, qcnn, strongly_entangling, tree
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.draw import draw
from tn_qnn.circuit.encodings import angle, data_reuploading, zz_feature_map
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import CircuitError

CONTROLS = """
q0: ─┤H├──●──⊕─────●──┤Y├─
          │  │     │   │
q1: ──────┼──●──×──×───●──
          │  │  │  │
q2: ──────⊕──┼──×──┼───●──
             │     │   │
q3: ─────────●─────×───●──
"""

ANGLES = """
q0: ──┤RX(3.14·x0)├──────────●──────────┤P(0.25)├──┤RZ(0)├─
                             │              │
q1: ─┤U3(t,-x1,0.5)├──┤RZ(-1 + 0.5·a)├──────●──────────────
"""

BOXES = """
q0: ─┤U:1├──┤U:0├────┤U├────
       │      │
q1: ───┼────┤U:1├──┤RZZ(b)├─
       │              │
q2: ─┤U:0├─────────┤RZZ(b)├─
"""

PANELS = """
q0: ─┤RY(w.0.0.0)├────────●───────»
                          │
q1: ─┤RY(w.0.1.0)├────────●───────»

q2: ─┤RY(w.0.2.0)├──┤RY(w.1.2.0)├─»

q0: ─┤RY(w.1.0.0)├────

q1: ─┤RY(w.1.1.0)├──●─
                    │
q2: ────────────────●─
"""


def show(circuit: Circuit, max_width: int | None = None) -> str:
    return "\n" + draw(circuit, max_width) + "\n"


def test_controls_targets_swaps_and_crossed_wires() -> None:
    c = Circuit(4).h(0).cx(0, 2).ccx(3, 1, 0).swap(1, 2).cswap(0, 1, 3).cz(2, 3).cy(1, 0)
    assert show(c) == CONTROLS


def test_angles() -> None:
    c = Circuit(2).rx(math.pi * feature(0), 0).u3(weight("t"), -feature(1), 0.5, 1)
    c.crz(weight("a") / 2 - 1, 0, 1).mcphase(0.25, 1, 0).rz(0.0, 0)
    assert show(c) == ANGLES


def test_boxes_on_several_qubits_number_their_qubits() -> None:
    c = Circuit(3).block(orthogonal("U"), [2, 0]).unitary(np.eye(4), [0, 1]).rzz(weight("b"), 1, 2)
    c.unitary(np.eye(2), [0])
    assert show(c) == BOXES


def test_wide_circuits_go_on_in_panels() -> None:
    c = brickwork(3, 2)
    assert show(c, 40) == PANELS


def test_a_gate_wider_than_the_line_stays_whole() -> None:
    c = Circuit(1).h(0).u3(weight("abcdefgh"), weight("ijklmnop"), weight("qrstuvw"), 0).h(0)
    assert draw(c, 20).split("\n\n") == [
        "q0: ─┤H├─»",
        "q0: ─┤U3(abcdefgh,ijklmnop,qrstuvw)├─»",
        "q0: ─┤H├─",
    ]


@pytest.mark.parametrize(("n", "drawing"), [(1, "q0: ──"), (2, "q0: ──\n\nq1: ──")])
def test_no_gates(n: int, drawing: str) -> None:
    assert draw(Circuit(n)) == drawing


def test_long_angles_are_shortened() -> None:
    assert "┤RZZ(f(x0,x1))├" in draw(zz_feature_map(2))
    long = weight("a" * 40) * 2
    assert "┤RX(f(" + "a" * 29 + "…)├" in draw(Circuit(1).rx(long, 0))


@pytest.mark.parametrize(
    ("gate", "symbol"),
    [
        ("id", "┤I├"), ("x", "┤X├"), ("sdg", "┤S†├"), ("tdg", "┤T†├"), ("sxdg", "┤SX†├"),
        ("csxdg", "┤SX†├"), ("c3x", "⊕"), ("c4x", "⊕"), ("ccz", "●"), ("c3sqrtx", "┤√X├"),
        ("c3sqrtxdg", "┤√X†├"), ("iswap", "┤iSWAP├"), ("iswapdg", "┤iSWAP†├"),
        ("rccx", "┤RCCX:2├"), ("rc3xdg", "┤RC3X†:3├"), ("cu", "┤U(1,2,3,4)├"),
        ("cp", "┤P(1)├"), ("fsim", "┤fSim(1,2)├"),
    ],
)  # fmt: skip
def test_symbol_of_the_last_qubit(gate: str, symbol: str) -> None:
    record = GATES[gate]
    n = record.num_qubits
    c = Circuit(n).append(gate, range(n), [1.0, 2.0, 3.0, 4.0][: len(record.parameters)])
    assert draw(c).splitlines()[-1].strip("─").split("─")[-1] == symbol


@pytest.mark.parametrize("gate", sorted(GATES))
def test_every_gate_marks_exactly_its_qubits(gate: str) -> None:
    record = GATES[gate]
    n = record.num_qubits
    c = Circuit(n + 2).append(gate, range(1, n + 1), [0.5] * len(record.parameters))
    wires = [line.split(": ")[1].strip("─") for line in draw(c).splitlines()[::2]]
    assert [bool(wire) for wire in wires] == [False] + [True] * n + [False]


@pytest.mark.parametrize("n", range(2, 11))
@pytest.mark.parametrize(
    "make",
    [
        lambda n: tree(n),
        lambda n: strongly_entangling(n, 2),
        lambda n: qcnn(n),
        lambda n: angle(n).compose(data_reuploading(n, 2)),
    ],
)
@pytest.mark.parametrize("width", [60, None])
def test_panels_are_rectangles_within_the_width(
    make: Callable[[int], Circuit], n: int, width: int | None
) -> None:
    text = draw(make(n), width)
    lines = text.splitlines()
    assert len(lines) % (2 * n) == 2 * n - 1  # every panel has 2 n - 1 lines, and a blank after
    assert max(map(len, lines)) <= (width or 100)
    assert all(line == line.rstrip() for line in lines)
    for first in range(0, len(lines), 2 * n):
        panel = lines[first : first + 2 * n - 1]
        assert len({len(wire) for wire in panel[::2]}) == 1
        assert [wire.split(":")[0] for wire in panel[::2]] == [f"q{q}" for q in range(n)]
        for gap in range(1, len(panel), 2):
            for place, character in enumerate(panel[gap]):
                if (
                    character == "│"
                ):  # a line ends in a symbol above and below, never on a bare wire
                    assert panel[gap - 1][place] != "─"
                    assert panel[gap + 1][place] != "─"


def test_numbers_of_two_digits_are_aligned() -> None:
    lines = draw(Circuit(11).h(0).h(10)).splitlines()
    assert lines[0] == "q0:  ─┤H├─"
    assert lines[-1] == "q10: ─┤H├─"


def test_circuit_draws_itself() -> None:
    c = brickwork(3, 2)
    assert c.draw(50) == draw(c, 50)


@pytest.mark.parametrize(
    ("width", "words"), [(19, "max_width must be at least 20, got 19"), ("wide", "integer")]
)
def test_bad_width(width: object, words: str) -> None:
    with pytest.raises(CircuitError, match=words):
        draw(Circuit(1), width)  # type: ignore[arg-type]
