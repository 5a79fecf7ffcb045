"""The model of the ceilings: counted by hand on small programs, and pure arithmetic."""

import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tn_qnn.backends.cuda.ceilings import DEVICES, ceilings, copy_rate, matching, measured
from tn_qnn.backends.cuda.prediction import (
    HEAD,
    MEASURED,
    STEP_NODES,
    predict_job,
    record,
    rows,
    stage_name,
)
from tn_qnn.backends.cuda.roofline import (
    ARENA_CYCLES,
    GEMM_BLOCK,
    GEMM_WARPS,
    K_CYCLES,
    NODE_SECONDS,
    STEP_CYCLES,
    TILE_CYCLES,
    TREE_CYCLES,
    device_bytes,
    launch_load,
    launch_table_bytes,
    line,
    predict,
    step_chip_bytes,
    step_cycles,
    tile_shape,
)
from tn_qnn.backends.cuda.schedule import (
    GEMM,
    LARGE,
    STAGE,
    SUMS,
    Launch,
    Limits,
    Loops,
    make_schedule,
)
from tn_qnn.backends.cuda.sources import read
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Z
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.models.qnn import QNN
from tn_qnn.program.arena import Scratch
from tn_qnn.program.placement import Sizes, place
from tn_qnn.program.program import Slot, Stage, Step, Sum
from tn_qnn.train import SPSA
from tn_qnn.train.execution import make_stepper
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import get_loss
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State
from tn_qnn.train.updates import get_update

H100 = ceilings("h100")


class OneStep:
    """A program of a single step, left (m, k) times right (k, n), without a network."""

    def __init__(self, m, k, n, planes=(1, 1), labels=("p", "s"), right_labels=None):
        out = max(planes)
        self.slots = (
            Slot((0, 1), (m, k), labels, planes[0] == 2, True),
            Slot((1, 2), (k, n), right_labels or labels, planes[1] == 2, True),
            Slot((0, 2), (m, n), labels, out == 2, False),
        )
        self.stages = (Stage(labels, (Step(0, 1, 2),)),)
        self.sliced, self.memo, self.slices = (), {}, 1

    def step_size(self, step):
        left, right = self.slots[0], self.slots[1]
        return left.size * right.shape[1] * left.planes * right.planes


def launch_of(program, kernel, local=(), sets=2, samples=100, grid=(7,), block=(32, 1), shared=0):
    labels = program.stages[0].labels
    scratch = Scratch(dict.fromkeys(local, 0), 0)
    loops = Loops(1, sets, samples)
    return Launch(
        kernel, 0, labels, program.stages[0].steps, loops, (1,), scratch, grid, block, shared, False
    )


# --- devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_the_figures_of_a_device_agree_with_each_other(device):
    lanes = 64 if device.name == "A100" else 128  # FP32 units of a multiprocessor
    peak = 2 * lanes * device.multiprocessors * device.clock
    assert device.fp32 == pytest.approx(peak, rel=0.01)
    ratio = 64 if device.name.startswith("RTX") else 2
    assert device.fp64 == pytest.approx(device.fp32 / ratio, rel=0.02)
    assert device.copied < device.bandwidth
    assert device.reachable_bandwidth == (device.copied or device.bandwidth)
    assert device.shared_multiprocessor - device.shared_block == 1024
    assert device.source


def test_shared_memory_gives_33_terabytes_a_second_on_an_h100():
    assert ceilings("h100").shared_bandwidth == pytest.approx(33.4e12, rel=0.01)
    assert ceilings("H200").operations("float64") == 34e12


def test_a_name_is_found_in_any_spelling_and_others_are_refused():
    assert ceilings("RTX-4090") is ceilings("rtx4090")
    with pytest.raises(InputError, match="device: one of a100, h100, h200, b200, rtx4090"):
        ceilings("v100")


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA GB200", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ],
)
def test_a_slower_brother_is_not_taken_for_the_table_s_device(driver, name):
    found = matching(driver)
    assert (found and found.name) == name


# --- one launch, by hand ----------------------------------------------------------------------


def test_arena_values_are_counted_once_and_shared_memory_is_not():
    program = OneStep(3, 5, 7, planes=(1, 2))
    sizes = Sizes(1, 2, 100)
    tables = 8 * 32 + 4 * (3 * 1 + 2 * (3 + 5 + 7))
    assert launch_table_bytes(program, launch_of(program, STAGE)) == tables
    left, right, out = 3 * 5, 5 * 7 * 2, 3 * 7 * 2
    for local, scalars in [((), left + right + out), ((0,), right + out), ((0, 2), right)]:
        launch = launch_of(program, STAGE, local)
        assert device_bytes(program, launch, sizes, 4) == 4 * scalars * 200 + tables


def test_an_operand_without_the_label_of_the_samples_is_small():
    program = OneStep(2, 2, 2, right_labels=("p",))
    tables = launch_table_bytes(program, launch_of(program, STAGE))
    found = device_bytes(program, launch_of(program, STAGE), Sizes(1, 2, 100), 8)
    assert found == 8 * (4 * 200 + 4 * 2 + 4 * 200) + tables


@pytest.mark.parametrize(
    ("m", "n", "planes", "itemsize", "shape"),
    [
        (1, 8, (1, 1), 4, (1, 4)),
        (2, 3, (1, 1), 4, (2, 1)),
        (6, 4, (1, 1), 4, (2, 4)),
        (4, 6, (1, 1), 8, (4, 2)),
        (4, 8, (2, 1), 4, (4, 4)),
        (4, 8, (2, 1), 8, (2, 2)),
    ],
)
def test_tiles_are_those_of_the_kernel(m, n, planes, itemsize, shape):
    program = OneStep(m, 2, n, planes)
    assert tile_shape(program, program.stages[0].steps[0], itemsize) == shape


def test_on_chip_bytes_by_hand():
    program = OneStep(4, 3, 8)  # one row of two tiles of 4 x 4
    step = program.stages[0].steps[0]
    loads, entries = 2 * 3 * (4 + 4), 2 * (3 + 2 * (4 + 4) + 2 * 3)
    assert step_chip_bytes(program, step, STAGE, 4) == 4 * loads + 4 * entries + 4 * 32
    assert step_chip_bytes(program, step, LARGE, 4) == step_chip_bytes(program, step, STAGE, 4)
    # run_gemm: of each k 8 warps read 128 bytes of left and 64 values of right; 64 + 64 are put.
    each = 8 * (128 + 8 * 64) + 8 * (64 + 64)
    assert step_chip_bytes(program, step, GEMM, 8) == 3 * each + 8 * 32


def test_a_block_waits_for_its_steps_one_by_one():
    program = OneStep(4, 3, 8)  # two tiles
    step = program.stages[0].steps[0]
    far, near = launch_of(program, STAGE), launch_of(program, STAGE, (0, 1, 2))
    tile = TILE_CYCLES + 3 * K_CYCLES
    assert step_cycles(program, step, near, 4) == STEP_CYCLES + 2 * tile
    assert step_cycles(program, step, near, 4, workers=2) == STEP_CYCLES + tile
    assert step_cycles(program, step, far, 4, workers=2) == STEP_CYCLES + tile + ARENA_CYCLES


def test_what_limits_a_launch():
    sizes = Sizes(1, 1, 1 << 20)

    def limit(m, k, n, local=(), grid=(1 << 15,), samples=1 << 20, sizes=sizes):
        program = OneStep(m, k, n)
        launch = launch_of(program, STAGE, local, 1, samples, grid)
        return line(program, launch, sizes, "float32", H100)

    memory = limit(2, 2, 2)
    assert memory.limit == "memory"
    assert memory.memory == pytest.approx(4 * 12 * (1 << 20) / 3.0e12, rel=0.01)
    assert limit(16, 64, 16, (0, 1, 2)).limit == "chip"
    one = limit(8, 64, 8, grid=(1,), samples=32, sizes=Sizes(1, 1, 32))
    assert one.limit == "latency"
    assert limit(1, 1, 1, grid=(1,), samples=1, sizes=Sizes(1, 1, 1)).limit == "launch"
    # One block has one multiprocessor: a 132nd of the ceiling.
    whole = limit(8, 64, 8, grid=(132,), samples=32, sizes=Sizes(1, 1, 32))
    assert one.arithmetic == pytest.approx(132 * whole.arithmetic)


def test_seconds_are_those_of_the_longest_part():
    program = OneStep(2, 2, 2)
    launch = launch_of(program, STAGE, samples=1 << 20, grid=(1 << 16,))
    found = line(program, launch, Sizes(1, 2, 1 << 20), "float32", H100, overhead=5e-6)
    assert found.seconds == 5e-6 + max(found.memory, found.chip, found.arithmetic, found.latency)
    assert found.ceiling == max(found.memory, found.chip, found.arithmetic)
    assert found.fraction is None
    twice = line(program, launch, Sizes(1, 2, 1 << 20), "float64", H100)
    assert twice.arithmetic == pytest.approx(found.arithmetic * 67 / 34)


def test_blocks_that_do_not_fit_at_once_come_in_waves():
    program = OneStep(2, 2, 2)
    half = H100.shared_multiprocessor // 2 - 1024
    launch = launch_of(program, STAGE, grid=(4 * H100.multiprocessors,), shared=half)
    load = launch_load(program, launch, Sizes(1, 2, 100), 4, H100)
    assert (load.resident, load.all_cycles) == (2, load.blocks * load.cycles)
    found = line(program, launch, Sizes(1, 2, 100), "float32", H100)
    assert found.latency == pytest.approx(2 * load.cycles / H100.clock)


def test_parts_of_a_launch_run_side_by_side(job):
    sizes = Sizes(1, 2, 64)
    several = [x for x in schedule_of(job, sizes).launches if len(x.parts) > 1]
    assert several
    for launch in several:
        alone = replace(launch, parts=(len(launch.steps),), grid=(launch.grid[0], 1))
        side, row = (launch_load(job.program, x, sizes, 4, H100) for x in (launch, alone))
        assert max(side.cycles, row.cycles // len(launch.parts)) < row.cycles
        assert side.all_cycles == pytest.approx(row.all_cycles, abs=side.blocks)
        assert (side.chip_bytes, side.device_bytes) == (row.chip_bytes, row.device_bytes)


def test_a_sum_reads_every_value_once():
    """12 values for 2 sets and 1,000 samples, over the samples: 24 results of a warp each."""
    program = OneStep(3, 1, 4)
    program.slots += (Slot((0, 2), (3, 4), ("p",), False, False),)
    program.network = None
    total = Sum(2, 3)
    loops = Loops(1, 2, 1000)
    nothing = Scratch({}, 0)
    launch = Launch(
        SUMS, 0, ("p", "s"), (), loops, (), nothing, (6, 1), (128, 1), 0, False, (total,)
    )
    load = launch_load(program, launch, Sizes(1, 2, 1000), 4, H100)
    values, results = 12 * 2 * 1000, 12 * 2
    assert load.device_bytes == 4 * (values + results) + 8 * 24
    assert (load.operations, load.chip_bytes) == (values, 4 * (values + results))
    assert load.blocks == 6 and load.all_cycles == 6 * load.cycles
    # eight turns of four values a thread
    assert load.cycles == STEP_CYCLES + 8 * ARENA_CYCLES + TREE_CYCLES
    found = line(program, launch, Sizes(1, 2, 1000), "float32", H100)
    assert (found.kernel, found.steps, found.limit) == ("sum_batch", 1, "latency")


# --- a whole program --------------------------------------------------------------------------


def model(backend="cpu", **options):
    circuit = Circuit(6)
    for q in range(6):
        circuit.ry(feature(q), q)
    for layer in range(3):
        for q in range(6):
            circuit.u3(weight(f"a{layer}_{q}"), weight(f"b{layer}_{q}"), 0.3, q)
        for q in range(layer % 2, 5, 2):
            circuit.cx(q, q + 1)
    return QNN(circuit, [Z(2), Z(3)][: options.pop("outputs", 1)], backend=backend, **options)


@pytest.fixture(scope="module")
def job():
    (found,) = model().jobs
    return found


def schedule_of(job, sizes, itemsize=4):
    limits = Limits(H100.shared_block, H100.multiprocessors)
    return make_schedule(job.program, place(job.program, sizes), itemsize, limits)


def test_operations_are_the_program_s(job):
    sizes = Sizes(1, 3, 50)
    lines = predict(schedule_of(job, sizes), sizes, "float32", H100)
    total = sum(x.load.operations for x in lines)
    assert total == 2 * job.program.multiply_adds(sizes.of())
    assert sum(x.steps for x in lines) == sum(len(s.steps) for s in job.program.stages)


def test_more_samples_move_more_bytes_in_proportion(job):
    def moved(samples):
        sizes = Sizes(1, 2, samples)
        return sum(
            x.load.device_bytes
            for x in predict(schedule_of(job, sizes), sizes, "float32", H100)
            if "s" in x.labels
        )

    # Four times a batch that fills the device: tables and what has no label do not grow.
    assert 3.5 < moved(4 << 16) / moved(1 << 16) < 4.01


def test_measured_times_give_fractions(job):
    sizes = Sizes(1, 2, 64)
    schedule = schedule_of(job, sizes)
    seconds = [2e-6] * len(schedule.launches)
    lines = predict(schedule, sizes, "float32", H100, measured=seconds)
    assert all(x.fraction == x.ceiling / 2e-6 for x in lines)
    assert {len(row) for row in rows(lines)} == {len(HEAD) + len(MEASURED)}
    assert {len(row) for row in rows(predict(schedule, sizes, "float32", H100))} == {len(HEAD)}
    with pytest.raises(ValueError, match="argument"):
        predict(schedule, sizes, "float32", H100, measured=seconds[1:])


def test_a_job_s_time_leaves_out_what_was_worked_out_before(job):
    found = predict_job(job, 2, 256, "float32", H100, 10**9)
    steady = sum(x.seconds for x in found.lines if x.labels)
    assert found.seconds == pytest.approx(steady + found.nodes * NODE_SECONDS)
    assert found.chunks == 1
    assert found.nodes == 3  # angles of weights and of data, reading out
    assert all(math.isfinite(x["predicted"]) for x in map(record, found.lines))


def test_a_batch_that_does_not_fit_is_predicted_in_chunks(job):
    whole = predict_job(job, 2, 4096, "float32", H100, 10**9)
    parts = predict_job(job, 2, 4096, "float32", H100, whole.bytes // 3)
    assert parts.chunks == 4
    assert parts.bytes <= whole.bytes // 3
    assert parts.seconds > whole.seconds
    with pytest.raises(
        MemoryBudgetError, match=r"one sample needs .* bytes, the budget of H100 is"
    ):
        predict_job(job, 2, 4096, "float32", H100, 1000)


def test_stages_are_named_for_people():
    assert stage_name(()) == "plan (once)"
    assert stage_name(("c", "p", "s")) == "cones and sets and samples"


PURE = """
import sys
from tn_qnn.backends.cuda.prediction import predict_job
from tn_qnn.backends.cuda.roofline import predict
print(sorted({"cupy", "numba"} & set(sys.modules)))
"""


def test_the_model_imports_no_gpu_library():
    done = subprocess.run([sys.executable, "-c", PURE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- against the sources and a capture ---


def test_constants_are_those_of_the_kernels():
    tile, gemm = (read(file) for file in ("tile.cuh", "gemm.cu"))
    assert re.search(r"MOST = sizeof\(T\) \* \(1 \+ \(.*\)\) > 8 \? 2 : 4;", tile)
    (size, each) = re.search(
        r"constexpr int TILE = (\d+), DEPTH = \d+, EACH = (\d+);", gemm
    ).groups()
    assert int(size) == GEMM_BLOCK
    assert (int(size) // int(each)) ** 2 == 32 * GEMM_WARPS


def test_a_training_step_has_the_nodes_that_are_said(cupy):
    small = model("cuda", search="greedy", outputs=2)
    rng = np.random.default_rng(0)
    data = Data(rng.normal(size=(20, 6)), np.arange(20) % 2)
    update, estimator = get_update("adam"), SPSA(directions=4)
    recipe = Recipe(small, get_loss("cross_entropy"), estimator, update, 0, data, 8)
    stepper, weights = make_stepper(recipe), np.zeros(small.num_weights)
    state = State(0, weights, update.init(weights), estimator.gains(10, lambda: 1.0))
    captured = []
    capture = type(small.device).capture

    def recorded(self, function):
        captured.append(capture(self, function))
        return captured[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(small.device), "capture", recorded)
        stepper.advance(state, 1)
    nodes = len(captured[0]._graph._operations)
    jobs = [predict_job(job, 8, 8, "float32", H100, 10**9) for job in small.jobs]
    contraction = sum(job.nodes + sum(1 for x in job.lines if x.labels) for job in jobs)
    assert nodes - contraction == pytest.approx(STEP_NODES, abs=8)


# --- a device that the table lacks ------------------------------------------------------------


def test_ceilings_are_measured_by_a_copy_and_a_step(cupy):
    from tn_qnn.backends.cuda.runtime import CudaRuntime

    runtime = CudaRuntime(cupy)
    found = measured(runtime, copied=1 << 16, blocks=2)
    assert found.name == runtime.facts.name
    assert found.multiprocessors == runtime.facts.multiprocessors
    rates = (found.fp32, found.fp64, found.bandwidth, found.shared_bandwidth)
    assert all(math.isfinite(x) and x > 0 for x in rates)
    assert "measured on this device" in found.source
    assert copy_rate(runtime, 1 << 12) > 0
    assert np.isfinite(found.clock)


def test_a_sweep_back_is_predicted_with_the_pass_forward():
    forward, swept = model(), model()._gradients
    jobs = list(forward.jobs), [executor.job for executor in swept.executors]
    plain, both = (
        [predict_job(job, 1, 64, "float32", H100, 1 << 30) for job in some] for some in jobs
    )
    for one, two in zip(plain, both, strict=True):
        assert 1.5 * one.seconds < two.seconds < 8 * one.seconds
        assert two.bytes > one.bytes and two.nodes > one.nodes
        assert {x.kernel for x in two.lines} >= {"sum_batch"}
