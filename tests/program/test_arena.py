"""Layouts and lifetimes: every point of a batch has one place, intermediates share few."""

import itertools

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import Z
from tn_qnn.network.labels import LABELS
from tn_qnn.program.arena import ALIGN, allocate, is_flat, make_layout, padded
from tn_qnn.program.compile import compile_program

from ..circuits import batches, plan_for

SETS = [x for n in (1, 2, 3) for x in itertools.combinations(LABELS, n)]


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("labels", SETS)
def test_points_of_a_batch_lie_apart(labels: tuple[str, ...], flat: bool) -> None:
    sizes = {"c": 3, "p": 2, "s": 21}
    layout = make_layout(labels, sizes, flat)
    places = np.zeros(1, dtype=int)
    for label in labels:
        places = np.add.outer(places, np.arange(sizes[label]) * layout.strides[label]).reshape(-1)
    assert len(set(places.tolist())) == np.prod([sizes[x] for x in labels])
    n0, n1, inner = layout.loops
    assert places.max() < layout.extent == n0 * n1 * inner
    assert inner % ALIGN == 0
    assert layout.strides[labels[-1]] == 1
    if flat:
        assert places.tolist() == list(range(len(places)))  # one run of lanes
    else:
        outer = [layout.strides[x] * sizes[x] // sizes[x] for x in layout.outer if x]
        assert all(step % ALIGN == 0 for step in outer)


def test_loops_of_a_stage_meet_every_point() -> None:
    sizes = {"c": 3, "p": 2, "s": 21}
    layout = make_layout(("c", "p", "s"), sizes, flat=False)
    assert layout.outer == ("c", "p")
    assert layout.loops == (3, 2, padded(21))
    assert make_layout(("p", "s"), sizes, flat=False).outer == ("", "p")
    assert make_layout(("s",), sizes, flat=True).outer == ("", "")


def test_intermediates_reuse_memory() -> None:
    """A chain of 30 two-qubit steps needs room for a few, not for all."""
    (batch,) = batches(angle(30).compose(brickwork(30, 6)), [Z(15)])
    program = compile_program(batch.network, plan_for(batch.network))
    for stage in program.stages:
        own = [program.slots[s.out] for s in stage.steps if s.out not in program.exported]
        if len(own) > 50:
            total = sum(slot.size * slot.planes for slot in own)
            assert (
                allocate(program, [[step] for step in stage.steps], program.exported).size
                < total / 3
            )


def test_flat_stages_read_their_own_labels_only() -> None:
    (batch,) = batches(angle(3).compose(brickwork(3, 2)), [Z(1)])
    program = compile_program(batch.network, plan_for(batch.network))
    assert is_flat(program, ("s",))
    assert is_flat(program, ("p",))
    assert not is_flat(program, ("p", "s"))
