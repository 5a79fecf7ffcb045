"""The CPU kernel against NumPy's einsum, for any layout, tiling and number of threads."""

from __future__ import annotations

import itertools
import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.backends.cpu import kernel
from tn_qnn.backends.cpu.helpers import HELPERS
from tn_qnn.backends.cpu.kernel import LANES, STAGE_SIZE, STEP_SIZE, new_arena, run_stages
from tn_qnn.errors import BackendError

SPLAT, ARENA, SCRATCH = 0, 1, 2
INNER_UNIT = 16  # a multiple of LANES on every machine


@dataclass(frozen=True)
class Case:
    """One contraction; operands of kind SCRATCH are copied there, or from there, by more steps."""

    sizes: tuple[int, int, int, int] = (1, 2, 2, 2)  # H, M, N, K
    planes: tuple[int, int] = (1, 1)  # left, right
    kinds: tuple[int, int, int] = (ARENA, ARENA, ARENA)
    batch: tuple[int, int, int] = (1, 1, 64)  # n0, n1, inner
    tile: int = 32
    threads: int = 1
    dtype: str = "float32"
    accumulate: bool = False
    broadcast: bool = False  # left lacks n0
    seed: int = 0


class Tensor:
    """A batched tensor in the arena; elements and batch rows lie in a random order, with gaps."""

    def __init__(self, case, rng, start, sizes, planes, splat=False, broadcast=False):
        n0, n1, inner = case.batch
        if splat:
            inner = 1
        self.tables, span = separable(rng, sizes)
        row = inner + (0 if splat else INNER_UNIT)
        self.s0, self.s1 = (0 if broadcast else n1 * row), row
        self.stride = (1 if broadcast else n0) * n1 * row + (3 if splat else 0)
        self.imag = span * self.stride if planes == 2 else 0
        self.base, self.planes, self.span = start, planes, span
        self.end = start + planes * span * self.stride
        elements = sum(np.ix_(*self.tables)) * self.stride
        batch = sum(np.ix_(np.arange(n0) * self.s0, np.arange(n1) * self.s1, np.arange(inner)))
        # axes: n0, n1, elements ..., inner
        self.places = start + batch[:, :, None, None, None] + elements[..., None]

    def operand(self, kind):
        return [kind, self.base, self.imag, self.stride, self.s0, self.s1, 0, 0]

    def write(self, arena, values):
        arena[self.places] = values.real
        if self.planes == 2:
            arena[self.places + self.imag] = values.imag

    def read(self, arena):
        values = arena[self.places].astype(np.complex128)
        return values + 1j * arena[self.places + self.imag] if self.planes == 2 else values


def separable(rng, sizes):
    """Tables, one an axis, whose sums are distinct element numbers; and the numbers' bound."""
    tables, stride = [None] * len(sizes), 1
    for axis in rng.permutation(len(sizes)):
        tables[axis] = rng.permutation(sizes[axis]) * stride
        stride *= sizes[axis] + int(rng.integers(2))
    return tables, stride


class Program:
    """The tables of a case, and its arena, poisoned with NaN wherever nothing is defined."""

    def __init__(self, case):
        self.case, rng = case, np.random.default_rng(case.seed)
        h, m, n, k = case.sizes
        self.steps, self.pool, self.scratch_size = [], [], 0
        planes = (*case.planes, max(case.planes))
        self.left = Tensor(
            case, rng, 5, (h, m, k), planes[0], case.kinds[0] == SPLAT, case.broadcast
        )
        self.right = Tensor(case, rng, self.left.end, (h, k, n), planes[1])
        self.out = Tensor(case, rng, self.right.end, (h, m, n), planes[2])
        self.one = self.out.end
        self.build_steps()
        self.scratch = self.one + 1 + INNER_UNIT
        self.arena = new_arena(self.scratch + case.threads * self.scratch_size, case.dtype)
        self.arena[:] = np.nan
        self.arena[self.one] = 1
        self.a, self.b, self.c = (
            self.random(rng, tensor) for tensor in (self.left, self.right, self.out)
        )
        if case.broadcast:
            self.a[:] = self.a[:1]
        self.left.write(self.arena, self.a)
        self.right.write(self.arena, self.b)
        if case.accumulate:
            self.out.write(self.arena, self.c)

    @staticmethod
    def random(rng, tensor):
        values = rng.standard_normal((2, *tensor.places.shape)).astype(np.float32).astype(float)
        return values[0] + 1j * values[1] * (tensor.planes == 2)

    def build_steps(self):
        case, tensors = self.case, (self.left, self.right, self.out)
        operands, after = [], []
        for tensor, kind in zip(tensors, case.kinds, strict=True):
            if kind != SCRATCH:
                operands.append(tensor.operand(kind))
                continue
            place = [SCRATCH, self.scratch_size // case.tile]
            place += [tensor.span * (tensor.planes - 1), 0, 0, 0, 0, 0]
            self.scratch_size += tensor.planes * tensor.span * case.tile
            operands.append(place)
            if tensor is not self.out or case.accumulate:
                self.copy(tensor, tensor.operand(ARENA), place)
            if tensor is self.out:
                after.append((tensor, place, tensor.operand(ARENA)))
        tables = [*self.left.tables, *self.right.tables, *self.out.tables]
        self.step(case.sizes, tables, operands, case.accumulate)
        for arguments in after:
            self.copy(*arguments)

    def copy(self, tensor, source, target):
        """One times all elements in use."""
        elements = np.unique(sum(np.ix_(*tensor.tables)))
        zero = np.zeros(1, int)
        tables = [zero, zero, zero, zero, zero, elements, zero, zero, elements]
        one = [SPLAT, self.one, 0, 1, 0, 0, 0, 0]
        self.step((1, 1, len(elements), 1), tables, [one, source, target], False)

    def step(self, sizes, tables, operands, accumulate):
        header = [*sizes, len(self.pool), int(accumulate), 0, 0]
        self.steps.append(header + [x for operand in operands for x in operand])
        self.pool += np.concatenate(tables).tolist()

    def run(self):
        case = self.case
        stage = [0, len(self.steps), *case.batch, case.tile, self.scratch, self.scratch_size]
        run_stages(
            self.arena, np.array([stage]), np.array(self.steps), np.array(self.pool), case.threads
        )
        return self

    def check(self):
        got = self.out.read(self.arena)
        want = np.einsum("xyhmkb,xyhknb->xyhmnb", self.a, self.b)
        size = np.einsum("xyhmkb,xyhknb->xyhmnb", abs(self.a), abs(self.b))
        if self.case.accumulate:
            want, size = want + self.c, size + abs(self.c)
        bound = 2 * (self.case.sizes[3] + 2) * np.finfo(self.case.dtype).eps * size
        assert np.all(abs(got - want) <= bound)

    def check_nothing_else_written(self, before):
        mine = np.zeros(len(before), bool)
        mine[self.scratch :] = True
        mine[self.out.places] = mine[self.out.places + self.out.imag] = True
        same = self.arena.view(np.uint8).reshape(len(before), -1) == before
        assert same.all(axis=1)[~mine].all()


def verify(case):
    program = Program(case)
    before = program.arena.view(np.uint8).reshape(len(program.arena), -1).copy()
    program.run()
    program.check()
    program.check_nothing_else_written(before)


@pytest.fixture(autouse=True, scope="module")
def helpers_for_little_work():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "SHARE", 1)
        yield


PLANES = tuple(itertools.product((1, 2), repeat=2))
KINDS = tuple(itertools.product((SPLAT, ARENA, SCRATCH), (ARENA, SCRATCH), (ARENA, SCRATCH)))
SIZES = (
    (1, 1, 1, 1), (1, 4, 4, 2), (1, 8, 8, 4), (1, 3, 5, 3), (2, 7, 1, 2), (3, 1, 6, 1),
    (7, 1, 1, 3), (16, 1, 1, 1), (1, 1, 1, 33), (4, 2, 3, 4), (1, 13, 11, 1),
)  # fmt: skip


def test_rows_have_the_documented_sizes():
    program = Program(Case())
    assert len(program.steps[0]) == STEP_SIZE
    assert STAGE_SIZE == 8
    assert all(INNER_UNIT % lanes == 0 for lanes in LANES.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("sizes", SIZES)
def test_shapes(sizes, planes, dtype):
    for kind in (SPLAT, ARENA):
        kinds = (kind, ARENA, ARENA)
        verify(Case(sizes, planes, kinds, (1, 1, 80), 64, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("kinds", KINDS)
def test_kinds(kinds, planes, dtype):
    for accumulate in (False, True):
        case = Case((2, 3, 4, 2), planes, kinds, (2, 3, 48), 32, 1, dtype, accumulate)
        verify(case)
        verify(replace(case, threads=2, broadcast=True))


@st.composite
def cases(draw):
    size = st.integers(1, 9)
    return Case(
        sizes=draw(st.tuples(st.integers(1, 4), size, size, size)),
        planes=draw(st.sampled_from(PLANES)),
        kinds=draw(st.sampled_from(KINDS)),
        batch=(
            draw(st.integers(1, 3)),
            draw(st.integers(1, 3)),
            INNER_UNIT * draw(st.integers(1, 9)),
        ),
        tile=INNER_UNIT * draw(st.integers(1, 6)),
        threads=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        accumulate=draw(st.booleans()),
        broadcast=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cases())
def test_any_case(case):
    verify(case)


@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("left", [SPLAT, SCRATCH])
def test_same_bits_for_any_tiling_and_threads(left, dtype, planes):
    case = Case((2, 5, 7, 6), planes, (left, SCRATCH, SCRATCH), (2, 1, 272), 272, dtype=dtype)
    case = replace(case, accumulate=True)
    want = Program(case).run()
    for tile, threads in itertools.product((16, 32, 48, 64, 112, 512), (1, 2, 5)):
        got = Program(replace(case, tile=tile, threads=threads)).run()
        assert got.out.read(got.arena).tobytes() == want.out.read(want.arena).tobytes()


def test_order_of_the_sum_is_that_of_k():
    """Float32 sums of 2**24 and ones show their order, for every block that holds the sum."""
    terms = np.float32([2**24, 1, 1, -(2**24), 1])
    for m, n in itertools.product((1, 2, 3, 4, 7), repeat=2):
        program = Program(Case((1, m, n, 5)))
        program.left.write(program.arena, np.broadcast_to(terms[:, None], program.a.shape))
        program.right.write(program.arena, np.ones_like(program.b))
        program.run()
        assert np.all(program.out.read(program.arena) == 1)


def test_denormals_infinities_and_nan_pass_through():
    for value in (1e-42, -np.inf, np.nan):
        program = Program(Case((1, 1, 1, 1), kinds=(ARENA, ARENA, ARENA)))
        program.left.write(program.arena, np.full_like(program.a, value))
        program.right.write(program.arena, np.ones_like(program.b))
        out = program.run().out.read(program.arena).real
        assert np.array_equal(out, np.full_like(out, np.float32(value)), equal_nan=True)


def test_several_stages_run_in_order():
    """x -> x*x -> x**4 -> x**8, each stage with its own tile."""
    x = np.linspace(-1, 1, 96)
    arena = np.concatenate([x, np.full(3 * 96, np.nan)])
    steps, stages = np.zeros((3, STEP_SIZE), int), np.zeros((3, STAGE_SIZE), int)
    for i, tile in enumerate((96, 16, 64)):
        steps[i, :4] = 1
        for field, base in ((8, i), (16, i), (24, i + 1)):
            steps[i, field : field + 4] = ARENA, 96 * base, 0, 96
        stages[i] = i, i + 1, 1, 1, 96, tile, 0, 0
    for threads in (1, 2):
        arena[96:] = np.nan
        run_stages(arena, stages, steps, np.zeros(9, int), threads)
        np.testing.assert_allclose(arena[288:], x**8, rtol=1e-14)


@pytest.mark.parametrize("threads", [1, 2])
def test_python_threads_at_once(threads):
    case = Case((1, 4, 4, 4), (2, 2), (ARENA, SCRATCH, SCRATCH), (4, 1, 64), 16, threads)

    def work(seed):
        for _ in range(5):
            Program(replace(case, seed=seed)).run().check()
        return seed

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == list(range(8))


class Asked:
    """In place of the helpers: keeps the jobs, and may run them at once, or fail."""

    def __init__(self, at_once=False, error=None):
        self.jobs, self.at_once, self.error = [], at_once, error

    def ask(self, count, job):
        self.jobs += [(job, number) for number in range(1, count + 1)]
        if self.at_once:
            self.run()
        if self.error:
            raise self.error

    def run(self):
        for job, number in self.jobs:
            job(number)


SHARED = Case((1, 4, 4, 4), (2, 2), (ARENA, SCRATCH, SCRATCH), (4, 1, 64), 16, threads=4)


def test_nobody_waits_for_helpers_that_do_not_come(monkeypatch):
    asked = Asked()
    monkeypatch.setattr(kernel, "HELPERS", asked)
    program = Program(SHARED).run()
    program.check()
    assert [number for _, number in asked.jobs] == [1, 2, 3]
    # They come late, when the arena serves something else.
    program.arena[:] = 7
    asked.run()
    assert np.all(program.arena == 7)


def test_helpers_may_do_all_the_work(monkeypatch):
    want = Program(replace(SHARED, threads=1)).run()
    monkeypatch.setattr(kernel, "HELPERS", Asked(at_once=True))
    got = Program(SHARED)
    own = slice(got.scratch, got.scratch + got.scratch_size)
    got.run()
    assert got.out.read(got.arena).tobytes() == want.out.read(want.arena).tobytes()
    assert np.isnan(got.arena[own]).all()


def test_an_interrupted_run_leaves_nobody_at_work(monkeypatch):
    asked = Asked(error=KeyboardInterrupt())
    monkeypatch.setattr(kernel, "HELPERS", asked)
    program = Program(SHARED)
    with pytest.raises(KeyboardInterrupt):
        program.run()
    program.check()  # by the caller: no tile is left to others
    program.arena[:] = 7
    asked.run()
    assert np.all(program.arena == 7)


@pytest.mark.parametrize(
    "share, threads, tile, helpers",
    [
        (1, 1, 16, 0), (1, 2, 16, 1), (1, 99, 16, 15), (1, 4, 512, 3),
        (65536, 4, 16, 0), (16384, 9, 16, 3), (32768, 9, 16, 1), (32769, 9, 16, 0),
    ],
)  # fmt: skip
def test_helpers_by_tiles_and_work(share, threads, tile, helpers, monkeypatch):
    """4 x 4 x 4 complex products in 4 x 64 lanes are 65536 multiply-adds."""
    asked = Asked()
    monkeypatch.setattr(kernel, "HELPERS", asked)
    monkeypatch.setattr(kernel, "SHARE", share)
    kinds = (ARENA, ARENA, ARENA)
    Program(replace(SHARED, kinds=kinds, threads=threads, tile=tile)).run().check()
    assert len(asked.jobs) == helpers


def work_in_process(case):
    kernel.SHARE = 1
    program = Program(case).run()
    return program.out.read(program.arena), len(HELPERS.threads)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method):
    want, here = work_in_process(SHARED)
    with multiprocessing.get_context(method).Pool(1) as pool:
        got, there = pool.apply(work_in_process, (SHARED,))
    assert np.array_equal(got, want)
    assert here and there


SCRIPT = """
import atexit, sys
sys.path[:0] = {path!r}
def run(text):
    Program(SHARED).run().check()
    print(text + "\\n", end="")
atexit.register(run, "after the helpers' end")
from test_cpu_kernel import HELPERS, SHARED, Program, kernel
atexit.register(run, "before it")
kernel.SHARE = 1
run("at once")
HELPERS.ask(1, lambda number: print("by a helper\\n", end=""))
"""


def test_exit_is_clean():
    path = [str(Path(__file__).parent), *sys.path]
    command = [sys.executable, "-c", SCRIPT.format(path=path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    texts = ["after the helpers' end", "at once", "before it", "by a helper"]
    assert sorted(done.stdout.splitlines()) == texts


def test_empty_programs_do_nothing():
    arena = np.ones(16, np.float32)
    tables = np.zeros(9, int)
    run_stages(arena, np.zeros((0, STAGE_SIZE), int), np.zeros((0, STEP_SIZE), int), tables)
    stage = np.array([[0, 0, 1, 1, 16, 16, 0, 0]])
    run_stages(arena, stage, np.zeros((0, STEP_SIZE), int), tables)
    assert np.all(arena == 1)


def test_arguments_are_checked():
    arena, tables = np.ones(64, np.float32), np.zeros(9, int)
    stages, steps = np.zeros((0, STAGE_SIZE), int), np.zeros((0, STEP_SIZE), int)
    for wrong in (arena.astype(np.complex64), arena[::2], arena.reshape(8, 8)):
        with pytest.raises(BackendError, match="expected contiguous float32 or float64"):
            run_stages(wrong, stages, steps, tables)
    with pytest.raises(BackendError, match="threads is 0"):
        run_stages(arena, stages, steps, tables, 0)
    for wrong_steps in (steps.astype(np.int32), np.zeros((2, 64), int)[:, ::2]):
        with pytest.raises(BackendError, match="expected C-contiguous int64"):
            run_stages(arena, stages, wrong_steps, tables)


def test_tables_may_be_read_only():
    program = Program(Case())
    stage = np.array([[0, 1, *program.case.batch, program.case.tile, program.scratch, 0]])
    arrays = stage, np.array(program.steps), np.array(program.pool)
    for array in arrays:
        array.flags.writeable = False
    run_stages(program.arena, *arrays)
    program.check()


def test_arena_starts_at_a_cache_line():
    for dtype, size in itertools.product(LANES, (1, 1000)):
        arena = new_arena(size, dtype)
        assert (arena.shape, arena.dtype) == ((size,), dtype)
        assert arena.ctypes.data % 64 == 0
