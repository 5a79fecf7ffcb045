"""Cutting a program into launches: nothing is lost, nothing collides, everything fits."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.backends.cuda import schedule as cuda_schedule
from tn_qnn.backends.cuda.pull import pull_table
from tn_qnn.backends.cuda.schedule import (
    GEMM,
    LARGE,
    STAGE,
    SUMS,
    Launch,
    Limits,
    loops_of,
    make_schedule,
    oriented,
    tile_shape,
)
from tn_qnn.backends.cuda.sums import sum_rows
from tn_qnn.backends.cuda.tables import angle_monomials, launch_tables, with_spill
from tn_qnn.circuit.ansatz import brickwork, tree
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import X, Y, Z
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.program.angles import angle_table
from tn_qnn.program.check import check_spans
from tn_qnn.program.compile import compile_program
from tn_qnn.program.placement import Placement, Sizes, place
from tn_qnn.program.program import Program, Step
from tn_qnn.program.reverse import with_reverse
from tn_qnn.program.rows import LOCAL, OPERAND

from ..circuits import batches, checked_model, plan_for, random_circuit, some_observables

H100 = Limits(227 * 1024, 132)
SMALL = Limits(2 * 1024, 1)


def programs() -> list[tuple[str, Program]]:
    grown = angle(16).compose(brickwork(16, 8))
    wide = Circuit(9)
    for q in range(9):
        wide.ry(weight(f"a{q}"), q).rz(weight(f"b{q}"), q)
    for a, b in ((0, 5), (1, 6), (2, 7), (3, 8), (4, 5), (0, 8), (2, 6), (1, 4), (3, 7)):
        wide.cx(a, b).rx(weight(f"c{a}{b}"), b)
    found = [("tree", tree(16)), ("line", grown), ("wide", wide)]
    forward = [
        (name, compile_program(batch.network, plan_for(batch.network)))
        for name, circuit in found
        for batch in batches(circuit, [Z(circuit.num_qubits // 2), Y(0)])
    ]
    return [*forward, *((f"{name} swept", with_reverse(program)) for name, program in forward)]


PROGRAMS = programs()


def sides(step: Step) -> tuple[frozenset[int], int]:
    """A step, whichever operand is called left."""
    return frozenset((step.left, step.right)), step.out


def values_in_turn(
    program: Program, placement: Placement, launch: Launch, arena: np.ndarray
) -> None:
    """A launch by NumPy, from the tables alone, for every point of its batch."""
    if launch.kernel == SUMS:
        for row in sum_rows(program, placement, launch.sums):
            sum_in_turn(row, arena)
        return
    tables = launch_tables(program, placement, launch)
    loops = launch.loops
    assert tables.shifts.shape == (program.slices, len(launch.steps), 3)
    for i0, i1, lane in product(range(loops.n0), range(loops.n1), range(loops.inner)):
        scratch = np.full(max(1, launch.scratch.size), np.nan)
        begins = [begin for _, count, begin, _ in tables.parts for _ in range(count)]
        for row, begin in zip(tables.steps, begins, strict=True):
            sizes = h, m, n, k = row[:4]
            lengths = (h, m, k, h, k, n, h, m, n)
            cuts = np.cumsum(lengths)[:-1]
            at = begin + row[4]
            parts = np.split(tables.tables[at : at + sum(lengths)].astype(int), cuts)

            def grid(operand: int, x: int, y: int, z: int, row=row, parts=parts, lane=lane, i0=i0,
                     i1=i1, scratch=scratch) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
                kind, base, imag, stride, s0, s1 = row[OPERAND * operand : OPERAND * operand + 6]
                element = np.add.outer(np.add.outer(parts[x], parts[y]), parts[z])
                if kind == LOCAL:
                    return scratch, base + element, imag
                start = base + i0 * s0 + i1 * s1 + (lane if kind == 1 else 0)
                return arena, start + element * stride, imag

            operands = []
            for where, at, imag in (grid(1, 0, 1, 2), grid(2, 3, 4, 5)):
                operands.append(where[at] + (1j * where[at + imag] if imag else 0))
            out = np.einsum("hmk,hkn->hmn", *operands)
            assert sizes is not None and not np.isnan(out).any(), "an uninitialised value is read"
            where, at, imag = grid(3, 6, 7, 8)
            where[at] = out.real
            if imag:
                where[at + imag] = out.imag
            else:
                assert not np.any(out.imag)


def sum_in_turn(row: np.ndarray, arena: np.ndarray) -> None:
    """A row of the kernel that sums over labels, by NumPy."""
    kept, summed = row[3:15].reshape(4, 3), row[15:21].reshape(3, 2)
    counts = np.concatenate([kept[:, 0], summed[:, 0]])
    place = np.indices(counts).reshape(len(counts), -1).T
    values = arena[row[0] + place @ np.concatenate([kept[:, 1], summed[:, 1]])]
    to = row[1] + place[:, :4] @ kept[:, 2]
    assert not np.isnan(values).any(), "an uninitialised value is summed"
    arena[to] = 0
    np.add.at(arena, to, values)


@pytest.mark.parametrize("limits", [H100, SMALL], ids=["h100", "small"])
@pytest.mark.parametrize("sizes", [Sizes(2, 1, 1), Sizes(2, 2, 40), Sizes(2, 64, 4096)])
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_every_step_runs_once_and_everything_fits(
    name: str, program: Program, sizes: Sizes, limits: Limits
) -> None:
    placement = place(program, sizes)
    schedule = make_schedule(program, placement, 4, limits)
    steps = [step for launch in schedule.launches for step in launch.steps]
    assert len(steps) == len(set(steps))
    wanted = {step for stage in program.all_stages for step in stage.steps}
    assert {sides(step) for step in steps} == {sides(step) for step in wanted}
    sums = [total for launch in schedule.launches for total in launch.sums]
    assert sums == [total for stage in program.all_stages for total in stage.sums]
    positions = [launch.stage for launch in schedule.launches]
    assert positions == sorted(positions)
    made: set[int] = set()
    for launch in schedule.launches:
        if launch.kernel == SUMS:  # of what its own stage and those before it have made
            assert not launch.steps and {total.value for total in launch.sums} <= made
            made |= {total.out for total in launch.sums}
            continue
        assert sum(launch.parts) == len(launch.steps)
        ends = np.cumsum(launch.parts)
        parts = [launch.steps[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        inside: set[int] = set()
        for part in parts:  # side by side: none reads what another writes
            seen = {step.out for step in part}
            assert not inside & {x for s in part for x in (s.left, s.right)} - made
            inside |= seen
        for part in parts:
            known = set(made)
            for step in part:
                for slot in (step.left, step.right):
                    assert program.slots[slot].source or slot in known
                known.add(step.out)
        made |= inside
    for launch in schedule.launches:
        assert len({x for x in launch.grid[1:] if x > 65535}) == 0
        assert 32 <= np.prod(launch.block) <= 512
        assert launch.shared <= limits.shared_bytes // 2
        if launch.kernel == SUMS:
            continue
        lanes = launch.block[0]
        points = launch.loops.points
        if launch.kernel == STAGE:
            assert launch.grid[1] == len(launch.parts)
        if launch.kernel != GEMM:
            assert launch.grid[0] * lanes >= points
        else:
            assert points < 32
    full = with_spill(placement, schedule)
    local = {slot for launch in schedule.launches for slot in launch.scratch.offsets}
    assert made <= set(full.places) | local
    assert not set(full.places) & local


@pytest.mark.parametrize("limits", [H100, SMALL], ids=["h100", "small"])
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_spilled_values_that_live_together_lie_apart(
    name: str, program: Program, limits: Limits
) -> None:
    sizes = Sizes(2, 2, 40)
    placement = place(program, sizes)
    schedule = make_schedule(program, placement, 8, limits)
    full = with_spill(placement, schedule)
    for position, stage in enumerate(program.all_stages):
        mine: Mapping[int, int] = schedule.spilled[position].offsets
        extent = placement.layouts[stage.labels].extent
        born, died, end = {}, {}, 0
        for launch in schedule.launches:
            for step in launch.steps if launch.stage == position else ():
                end += len(launch.parts) == 1  # parts run at the same time
                born[step.out] = end
                died |= {step.left: end, step.right: end}
            end += 1
        for now in range(end):
            live = [s for s in mine if born[s] <= now <= died.get(s, born[s])]
            spans = [
                (full.places[s].base, full.places[s].base
                 + program.slots[s].size * program.slots[s].planes * extent)
                for s in live
            ]  # fmt: skip
            check_spans("spill", [(a - placement.scalars, b - placement.scalars) for a, b in spans],
                        schedule.spill_scalars)  # fmt: skip


@pytest.mark.parametrize("itemsize", [4, 8])
def test_small_shared_memory_means_spills(itemsize: int) -> None:
    spills = {}
    for limits in (H100, SMALL):
        schedules = [
            make_schedule(program, place(program, Sizes(2, 64, 4096)), itemsize, limits)
            for _, program in PROGRAMS
        ]
        spills[limits] = sum(len(s.offsets) for x in schedules for s in x.spilled)
    assert spills[SMALL] > spills[H100]


def test_a_large_step_is_a_launch_of_its_own_where_lanes_are_few() -> None:
    kernels = set()
    for sizes in (Sizes(2, 1, 1), Sizes(2, 2, 40), Sizes(2, 64, 4096)):
        for _, program in PROGRAMS:
            schedule = make_schedule(program, place(program, sizes), 4, H100)
            kernels |= {launch.kernel for launch in schedule.launches}
            for launch in schedule.launches:
                if launch.kernel not in (STAGE, SUMS):
                    assert len(launch.steps) == 1
                    assert program.step_size(launch.steps[0]) >= cuda_schedule.LARGE_WORK
    assert {STAGE, LARGE} <= kernels


def test_tiles_load_as_little_as_they_can() -> None:
    for _, program in PROGRAMS:
        for stage in program.stages:
            for step in stage.steps:
                found = oriented(program, step, 4)
                other = Step(found.right, found.left, found.out)
                assert sides(found) == sides(step)
                loads = [(a + b) / (a * b) for a, b in
                         (tile_shape(program, x, 4) for x in (found, other))]  # fmt: skip
                assert loads[0] <= loads[1]


def test_points_are_counted_without_padding() -> None:
    program = PROGRAMS[0][1]
    placement = place(program, Sizes(1, 3, 5))
    for stage in program.stages:
        sizes = {"c": 1, "p": 3, "s": 5}
        assert loops_of(placement, stage.labels).points == np.prod(
            [sizes[x] for x in stage.labels], dtype=int
        )


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([SMALL, H100]), st.booleans())
def test_tables_say_what_the_program_says(seed: int, limits: Limits, per_sample: bool) -> None:
    """The tables, interpreted by NumPy, against the einsum backend."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 3, 8, weights=2, features=1)
    model = checked_model(circuit, some_observables(3)[:3], backend="einsum")
    sets, samples = 2, 3
    weights = rng.normal(size=(sets, samples, model.num_weights) if per_sample
                         else (sets, model.num_weights))  # fmt: skip
    data = rng.normal(size=(samples, model.num_features))
    for executor in model._prepared(per_sample).executors:
        job, program = executor.job, executor.job.program
        placement = place(program, Sizes(job.cones, sets, samples))
        schedule = make_schedule(program, placement, 8, limits)
        full = with_spill(placement, schedule)
        arena = np.full(full.scalars, np.nan)

        def view(base: int, axes: tuple, arena=arena) -> np.ndarray:
            return np.lib.stride_tricks.as_strided(
                arena[base:], [n for n, _ in axes], [8 * stride for _, stride in axes]
            )

        for number, values in program.constants.items():
            there = view(*full.axes(program, number))
            there[0] = values.real.reshape(-1, 1, 1, 1)
            if len(there) == 2:
                there[1] = values.imag.reshape(-1, 1, 1, 1)
        for labels, table in job.tables.items():
            angles = table.evaluate(weights, data)
            there = view(*full.angle_axes(labels))
            there[0], there[1], there[2] = np.cos(angles), np.sin(angles), 1
        for numbers, values in job.block_values(weights):
            there = view(*full.group_axes(program, numbers))
            there[0] = values.real
            if len(there) == 2:
                there[1] = values.imag
        for launch in schedule.launches:
            values_in_turn(program, full, launch, arena)
        planes = view(*full.axes(program, program.output))
        got = planes[0] + (1j * planes[1] if len(planes) == 2 else 0)
        want = executor.run(weights, data)
        shape = np.broadcast_shapes(got.shape, want.shape)
        np.testing.assert_allclose(
            np.broadcast_to(got, shape), np.broadcast_to(want, shape), atol=1e-12
        )


def test_monomials_of_angles_are_sorted_by_entry() -> None:
    x, w = feature(1), weight("w")
    table = angle_table(
        ("c", "p", "s"), [[0.5 + 2 * x * w, 3 * w * w], [x * x * x * w + w, 0.25 + x]], {"w": 2}
    )
    found = angle_monomials(table)
    weights, features = np.array([0.0, 0.0, 0.7]), np.array([0.0, -1.3])
    angles = found.constants.copy()
    for entry in range(4):
        for i in range(found.starts[entry], found.starts[entry + 1]):
            factors = [weights[c] if c >= 0 else features[-2 - c] for c in found.columns[i]
                       if c != -1]  # fmt: skip
            angles[entry] += found.coefficients[i] * np.prod(factors)
    want = table.evaluate(weights[None], features[None])
    np.testing.assert_allclose(angles.reshape(2, 2), want[:, :, 0, 0], rtol=1e-15)


def test_terms_of_gradients_are_sorted_by_weight() -> None:
    """Each angle derived by each weight in it, a square by both its factors."""
    x, v, w = feature(1), weight("v"), weight("w")
    table = angle_table(
        ("c", "p", "s"), [[0.5 + 2 * x * w * v, 3 * w * w], [x * w + w, 0.25 + x]],
        {"v": 0, "w": 2},
    )  # fmt: skip
    found = pull_table(table)
    weights, features = np.array([[0.4, 0.0, 0.7]]), np.array([[0.0, -1.3]])
    slopes = np.array([1.0, 10.0, 100.0, 1000.0])  # of the loss by each of the angles
    got = np.zeros((1, 3))
    for j, output in enumerate(found.outputs):
        for i in range(found.starts[j], found.starts[j + 1]):
            factors = [weights[0, c] if c >= 0 else features[0, -2 - c]
                       for c in found.columns[i] if c != -1]  # fmt: skip
            got[0, output] += found.coefficients[i] * np.prod(factors) * slopes[found.entries[i]]
    want = np.zeros((1, 3))
    table.pull_back(slopes.reshape(2, 2, 1, 1), weights, features, want)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    np.testing.assert_allclose(want[0], [2 * -1.3 * 0.7, 0, 2 * -1.3 * 0.4 + 42 - 30], rtol=1e-14)


def test_observables_of_one_wire() -> None:
    """A cone of a single leaf has no launches at all."""
    (batch,) = batches(Circuit(1).ry(feature(0), 0), [X(0)])
    program = compile_program(batch.network, plan_for(batch.network))
    placement = place(program, Sizes(1, 1, 4))
    schedule = make_schedule(program, placement, 4, H100)
    assert sum(len(launch.steps) for launch in schedule.launches) == sum(
        len(stage.steps) for stage in program.stages
    )
