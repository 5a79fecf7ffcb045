"""The stage interpreter against NumPy, against its naive twin, and against itself cut otherwise."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import run_emulated
from .reference import LOCAL, SPLAT, VECTOR, Batch, Stage, one_step

PLANES = tuple(itertools.product((1, 2), repeat=2))
KINDS = tuple(itertools.product((SPLAT, VECTOR, LOCAL), (SPLAT, VECTOR, LOCAL), (VECTOR, LOCAL)))
VARIES = tuple(itertools.product(itertools.product((True, False), repeat=2), repeat=2))
SIZES = (  # every shape of register tile, with K even and odd; odd sizes; many h
    (1, 1, 1, 1), (1, 4, 4, 2), (1, 8, 8, 4), (1, 4, 2, 2), (1, 4, 1, 2), (1, 2, 4, 3),
    (1, 2, 2, 2), (1, 2, 1, 1), (1, 1, 4, 2), (1, 1, 2, 5), (2, 6, 10, 1), (3, 12, 4, 3),
    (5, 3, 5, 3), (2, 7, 1, 2), (3, 1, 6, 1), (7, 1, 1, 3), (16, 1, 1, 1), (1, 1, 1, 33),
)  # fmt: skip
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def verify(run, stage, lanes=32, groups=1):
    """Hold the kernel to NumPy, and to the naive one bit for bit."""
    fast = stage.run_stage(run, lanes, groups)
    stage.check(fast)
    naive = stage.run_stage(run, lanes, groups, kernel="run_stage_naive")
    stage.check(naive)
    assert fast.tobytes() == naive.tobytes()
    return fast


@each_dtype
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("sizes", SIZES)
def test_shapes(run, sizes, planes, dtype):
    verify(run, one_step(sizes, Batch(1, 1, 40), dtype, planes), groups=2)


@each_dtype
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("kinds", KINDS)
def test_kinds(run, kinds, planes, dtype):
    stage = one_step((2, 3, 4, 2), Batch(2, 3, 36), dtype, planes, kinds)
    verify(run, stage)
    verify(run, stage, groups=3)


@pytest.mark.parametrize("varies", VARIES)
def test_operands_that_lack_batch_labels(run, varies):
    verify(run, one_step((1, 4, 3, 2), Batch(3, 2, 33), planes=(2, 1), varies=varies))


@pytest.mark.parametrize("inner", [1, 31, 32, 33, 64, 100, 127, 128, 129, 200])
@pytest.mark.parametrize("lanes", [32, 64, 128])
def test_lanes_beyond_the_batch_do_nothing(run, lanes, inner):
    stage = one_step((1, 2, 2, 2), Batch(2, 1, inner), planes=(2, 2), kinds=(LOCAL, VECTOR, LOCAL))
    for groups in (1, 2):
        verify(run, stage, lanes, groups)


def network(dtype="float32", inner=70):
    """Steps that pass their results on in scratch, in places used before, and in the arena."""
    stage = Stage(Batch(2, 3, inner), dtype)
    gate, more = stage.tensor(4, SPLAT, True), stage.tensor(4, SPLAT)
    data, weights = stage.tensor(16), stage.tensor(16, is_complex=True, varies=(True, False))
    kept, *outs = (stage.tensor(n, is_complex=True, filled=False) for n in (2, 8, 8))

    def scratch(count, base):
        return stage.tensor(count, LOCAL, True, filled=False, base=base)

    a = stage.step((1, 8, 2, 2), data, gate, scratch(16, 0))
    b = stage.step((2, 4, 2, 2), a, weights, scratch(16, 32))
    c = stage.step((1, 8, 2, 2), b, more, scratch(16, 0))
    d = stage.step((1, 4, 1, 4), c, gate, scratch(4, 64))
    stage.step((1, 2, 1, 2), d, more, kept)
    e = stage.step((1, 4, 4, 1), d, more, scratch(16, 32))
    stage.step((2, 2, 2, 4), e, c, outs[0])
    stage.step((1, 2, 4, 1), kept, more, outs[1])
    return stage


@each_dtype
def test_results_do_not_depend_on_lanes_and_groups(run, dtype):
    stage = network(dtype)
    assert stage.scratch == 72
    shapes = [(32, 1), (32, 2), (32, 16), (64, 1), (64, 5), (64, 8), (128, 1), (128, 3), (128, 4)]
    found = {verify(run, stage, *shape).tobytes() for shape in shapes}
    assert len(found) == 1


@each_dtype
def test_real_steps_give_the_same_bits_in_the_complex_instance(run, dtype):
    stage = one_step((2, 4, 3, 5), Batch(1, 2, 40), dtype, kinds=(SPLAT, VECTOR, LOCAL))
    real, both = (stage.run_stage(run, is_complex=x) for x in (False, True))
    assert real.tobytes() == both.tobytes()


def test_more_steps_and_entries_than_threads(run):
    stage = Stage(Batch(1, 1, 20), seed=5)
    x, one = stage.tensor(40), stage.tensor(1, SPLAT)
    for i in range(75):
        place = stage.tensor(40, LOCAL, filled=False, base=40 * (i % 2))
        x = stage.step((1, 40, 1, 1), x, one, place)
    stage.step((1, 40, 1, 1), x, one, stage.tensor(40, filled=False))
    verify(run, stage)
    verify(run, stage, groups=4)


@each_dtype
def test_parts_run_side_by_side(run, dtype):
    """Three chains with the same scratch, which blocks of their own have each for themselves."""
    stage = Stage(Batch(2, 1, 50), dtype)
    gate, cuts = stage.tensor(4, SPLAT, is_complex=True), []
    for count in (2, 1, 6):
        cuts.append(len(stage.rows))
        x = stage.tensor(6)
        for i in range(count):
            place = stage.tensor(6, LOCAL, is_complex=True, filled=False, base=12 * (i % 2))
            x = stage.step((1, 3, 2, 2), x, gate, place)
        stage.step((1, 3, 1, 2), x, gate, stage.tensor(3, is_complex=True, filled=False))
    found = set()
    for stage.cuts in ([], cuts[1:], cuts[2:]):
        found |= {
            verify(run, stage, lanes, groups).tobytes() for lanes, groups in ((32, 3), (64, 1))
        }
    assert len(found) == 1


def test_more_shared_memory_than_a_kernel_gets_unasked(run):
    stage = Stage(Batch(1, 1, 128))
    place = stage.tensor(300, LOCAL, filled=False)
    stage.step((1, 300, 1, 1), stage.tensor(300), stage.tensor(1, SPLAT), place)
    stage.step((1, 1, 1, 300), place, stage.tensor(300), stage.tensor(1, filled=False))
    verify(run, stage, lanes=128)


def test_the_host_code_for_gpus(run_standin):
    verify(run_standin, network(inner=40), groups=2)


# --- any stage at all


@st.composite
def stages(draw):
    """Up to five steps; operands are new or the results of earlier ones."""
    batch = Batch(*(draw(st.integers(1, n)) for n in (3, 2, 140)))
    stage = Stage(batch, draw(st.sampled_from(["float32", "float64"])), draw(st.integers(0, 99)))
    made = []

    def operand(count):
        old = [x for x in made if x.elements >= count]
        if old and draw(st.booleans()):
            return draw(st.sampled_from(old))
        varies = draw(st.tuples(st.booleans(), st.booleans()))
        kind = draw(st.sampled_from([SPLAT, VECTOR]))
        return stage.tensor(
            count + draw(st.integers(0, 2)), kind, draw(st.booleans()), varies=varies
        )

    for _ in range(draw(st.integers(1, 5))):
        h, m, n, k = draw(st.tuples(st.integers(1, 3), *[st.integers(1, 6)] * 3))
        left, right = operand(h * m * k), operand(h * k * n)
        is_complex, kind = bool(left.imag or right.imag), draw(st.sampled_from([VECTOR, LOCAL]))
        out = stage.tensor(h * m * n, kind, is_complex, filled=False)
        made.append(stage.step((h, m, n, k), left, right, out))
    if made[-1].kind == LOCAL:
        stage.copy(made[-1], VECTOR)
    return stage


@settings(max_examples=60, deadline=None, derandomize=True)
@given(stages(), st.sampled_from([32, 64, 128]), st.integers(1, 4))
def test_any_stage(stage, lanes, groups):
    verify(run_emulated, stage, lanes, groups)
