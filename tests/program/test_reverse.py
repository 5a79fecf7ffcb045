"""The sweep back along any path: against independent environments, sliced, recomputed, chunked."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.backends import get_backend
from tn_qnn.backends.cpu import kernel, memory_map
from tn_qnn.backends.cpu.backend import CpuExecutor
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.network.batch import ConeBatch
from tn_qnn.network.labels import LABELS
from tn_qnn.plan.plan import Plan
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job, make_job
from tn_qnn.program.placement import Sizes
from tn_qnn.program.reverse import with_reverse

from ..circuits import batches, check_job, plan_for, random_circuit, random_path, some_observables

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # weights (P, W), data (S, F), slopes (K, P, S)


def swept_job(batch: ConeBatch, names: Sequence[str], plan: Plan, keep: int | None = None) -> Job:
    program = with_reverse(compile_program(batch.network, plan), keep)
    return make_job(program, batch.cones, {name: k for k, name in enumerate(names)})


def cpu(job: Job, memory: float = 1e9, dtype: str = "float64", threads: int = 1) -> CpuExecutor:
    return CpuExecutor(job, np.dtype(dtype), threads, Budget(memory))


def random_inputs(job: Job, num_weights: int, sets: int, samples: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    scatter, values = job.scatter, job.program.slots[job.program.output].size
    outputs = 1 + max([*scatter.outputs, *(first + values - 1 for first in scatter.open_outputs)])
    weights, data = rng.normal(size=(sets, num_weights)), rng.normal(size=(samples, 3))
    return weights, data, rng.normal(size=(outputs, sets, samples))


def gradient_of(executor: Executor, batch: Batch) -> np.ndarray:
    weights, data, slopes = batch
    executor.accumulate(weights, data, np.zeros(slopes.shape))
    gradient = np.zeros(weights.shape)
    executor.pull_back(weights, data, slopes, gradient)
    return gradient


def reference(batch: ConeBatch, names: Sequence[str], inputs: Batch) -> np.ndarray:
    job = swept_job(batch, names, plan_for(batch.network))
    return gradient_of(get_backend("einsum").prepare(job, np.dtype(float), Budget(1e9)), inputs)


# --- any path, any slicing, anything kept


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 40]), st.sampled_from([None, 1, 4]))
def test_any_path_any_slicing_anything_kept(seed: int, samples: int, keep: int | None) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    circuit = random_circuit(rng, n, int(rng.integers(1, 9)), specials=0.2)
    for batch in batches(circuit, some_observables(n))[:3]:
        path = random_path(rng, len(batch.network.tensors))
        cut = tuple(rng.permutation(summed(batch))[: rng.integers(3)].tolist())
        job = swept_job(batch, circuit.weights, plan_for(batch.network, path, cut), keep)
        inputs = random_inputs(check_job(job), len(circuit.weights), 2, samples, seed)
        want = reference(batch, circuit.weights, inputs)
        np.testing.assert_allclose(gradient_of(cpu(job), inputs), want, atol=1e-10)


def summed(batch: ConeBatch) -> list[int]:
    network = batch.network
    used = {i for tensor in network.tensors for i in tensor.indices}
    return sorted(used - set(network.output))


def every_kind() -> Circuit:
    """Angles on |0>, of weights and data together, shared ones, blocks, equal cones."""
    c = Circuit(4)
    for k in (0, 2):
        c.ry(weight("a"), k).ry(feature(0), k + 1).cx(k, k + 1)
        c.block(unitary(f"U{k}"), [k, k + 1]).block(orthogonal("O", "entries"), [k + 1, k])
        c.rz(weight("b") * feature(1) + 0.2, k).rx(weight(f"own{k}"), k)
    return c


def every_batch() -> ConeBatch:
    (batch,) = batches(every_kind(), [X(k) @ Z(k + 1) + Z(k) @ Z(k + 1) for k in (0, 2)])
    return batch


def test_every_index_can_be_sliced() -> None:
    batch, names = every_batch(), every_kind().weights
    base = plan_for(batch.network)
    inputs = random_inputs(swept_job(batch, names, base), len(names), 2, 3)
    want = reference(batch, names, inputs)
    assert np.all(want != 0)
    for index in summed(batch):
        job = check_job(swept_job(batch, names, plan_for(batch.network, base.path, (index,))))
        assert job.program.slices == 2
        np.testing.assert_allclose(gradient_of(cpu(job), inputs), want, atol=1e-11)


def test_an_angle_on_zero_of_which_one_layer_is_sliced() -> None:
    """Its functions are the tensor itself in one layer alone."""
    (batch,) = batches(Circuit(1).ry(weight("a"), 0), [X(0)])
    inputs = np.array([[0.3]]), np.zeros((1, 0)), np.ones((1, 1, 1))
    for cut in ((), (0,), (1,), (0, 1)):
        job = check_job(swept_job(batch, ["a"], plan_for(batch.network, sliced=cut)))
        np.testing.assert_allclose(gradient_of(cpu(job), inputs), [[np.cos(0.3)]])


# --- the program


def test_forward_stages_stay_as_they_are() -> None:
    batch = every_batch()
    program = compile_program(batch.network, plan_for(batch.network))
    swept = with_reverse(program)
    assert swept.stages == program.stages and swept.slots[: len(program.slots)] == program.slots
    assert swept.output == program.output and program.reverse is None
    assert program.exported <= swept.exported


@pytest.mark.parametrize("seed", range(6))
def test_a_sweep_costs_at_most_two_passes_forward(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 4, 20)
    for batch in batches(circuit, [Z(1), X(2), density_matrix([0, 3])]):
        program = compile_program(batch.network, plan_for(batch.network))
        if not any("p" in slot.labels for slot in program.slots):
            continue
        sizes = {"c": len(batch.cones), "p": 1, "s": 8}
        forward = program.multiply_adds(sizes)
        assert forward < with_reverse(program).multiply_adds(sizes) <= 3 * forward


def test_nothing_to_sweep_without_weights() -> None:
    (batch,) = batches(Circuit(2).ry(feature(0), 0).cx(0, 1), [Z(1)])
    job = check_job(swept_job(batch, [], plan_for(batch.network)))
    assert job.program.reverse is not None and job.program.reverse.stages == ()
    inputs = random_inputs(job, 0, 1, 3)
    assert gradient_of(cpu(job), inputs).shape == (1, 0)


def test_what_is_not_kept_is_worked_out_again() -> None:
    """Less memory, more work, the same gradient."""
    circuit = random_circuit(np.random.default_rng(1), 5, 60, ("ry", "cx", "rz", "rx"), specials=0)
    (batch,) = batches(circuit, [Z(2) @ X(0) @ Z(4)])
    plan, names = plan_for(batch.network), circuit.weights
    jobs = [swept_job(batch, names, plan, keep) for keep in (None, 16, 1)]
    inputs = random_inputs(jobs[0], len(names), 1, 64)
    sizes = dict(zip(LABELS, (1, 1, 64), strict=True))
    kept = [sum(j.program.slots[s].size for s in j.program.exported) for j in jobs]
    work = [j.program.multiply_adds(sizes) for j in jobs]
    held = [cpu(j).forecast(1, 64) for j in jobs]
    assert kept[0] > kept[1] > kept[2] and work[0] < work[1] < work[2] and held[0] > held[1]
    want = gradient_of(cpu(jobs[0]), inputs)
    for job in jobs[1:]:
        np.testing.assert_array_equal(gradient_of(cpu(check_job(job)), inputs), want)


# --- the executor


@pytest.fixture(scope="module")
def job() -> Job:
    batch = every_batch()
    return swept_job(batch, every_kind().weights, plan_for(batch.network))


@pytest.fixture(scope="module")
def inputs(job: Job) -> Batch:
    return random_inputs(job, len(every_kind().weights), 3, 70)


def test_gradients_are_added(job: Job, inputs: Batch) -> None:
    weights, data, slopes = inputs
    executor = cpu(job)
    want = gradient_of(executor, inputs)
    gradient = np.full(weights.shape, 7.0)
    executor.pull_back(weights, data, slopes, gradient)
    np.testing.assert_allclose(gradient, 7.0 + want)
    back = gradient.copy()
    executor.pull_back(weights, data, -slopes, gradient)
    np.testing.assert_allclose(gradient, back - want)


def test_weight_sets_do_not_mix(job: Job, inputs: Batch) -> None:
    weights, data, slopes = inputs
    whole = gradient_of(cpu(job), inputs)
    for p in range(3):
        one = weights[p : p + 1], data, slopes[:, p : p + 1]
        np.testing.assert_allclose(gradient_of(cpu(job), one), whole[p : p + 1], atol=1e-11)


def test_values_of_another_call_are_not_taken_for_its_own(job: Job, inputs: Batch) -> None:
    """A sweep without its pass forward, or after one with other numbers, makes that pass."""
    weights, data, slopes = inputs
    want = gradient_of(cpu(job), inputs)
    executor = cpu(job)
    for before in (lambda: None, lambda: executor.run(weights + 1.0, data),
                   lambda: executor.run(weights, data + 1.0)):  # fmt: skip
        before()
        gradient = np.zeros(weights.shape)
        executor.pull_back(weights, data, slopes, gradient)
        np.testing.assert_array_equal(gradient, want)
        executor.run(weights, data)
    moved = weights.copy()
    executor.accumulate(moved, data, np.zeros(slopes.shape))
    executor.arenas.clear()  # as another batch size makes it
    gradient = np.zeros(weights.shape)
    executor.pull_back(moved, data, slopes, gradient)
    np.testing.assert_array_equal(gradient, want)


def test_outputs_are_those_of_the_program_without_a_sweep(job: Job, inputs: Batch) -> None:
    plain = replace(job, program=replace(job.program, reverse=None))
    weights, data, _ = inputs
    np.testing.assert_array_equal(cpu(job).run(weights, data), cpu(plain).run(weights, data))


def test_chunks_of_one_executor(job: Job, inputs: Batch) -> None:
    want = gradient_of(cpu(job), inputs)
    whole = cpu(job)
    for sets, samples in ((3, 35), (1, 9), (1, 1)):
        small = cpu(job, whole.forecast(sets, samples))
        np.testing.assert_allclose(gradient_of(small, inputs), want, atol=1e-10)
        assert small.arenas and all(
            arena.memory.placement.sizes != Sizes(job.cones, 3, 70)
            for arena in small.arenas.values()
        )


def test_tiles_and_threads_change_no_bit(
    job: Job, inputs: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype in ("float32", "float64"):
        want = gradient_of(cpu(job, dtype=dtype), inputs)
        monkeypatch.setattr(kernel, "SHARE", 1)
        for lanes, threads in ((16, 1), (48, 2), (4096, 2)):
            monkeypatch.setattr(memory_map, "MAX_TILE", lanes)
            got = gradient_of(cpu(job, dtype=dtype, threads=threads), inputs)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dense", [True, False])
def test_kernel_and_matrix_products_agree(
    job: Job, inputs: Batch, monkeypatch: pytest.MonkeyPatch, dense: bool
) -> None:
    monkeypatch.setattr(memory_map, "_prefers_dense", lambda *given: dense or not given[1].labels)
    want = reference(every_batch(), every_kind().weights, inputs)
    executor = cpu(job)
    np.testing.assert_allclose(gradient_of(executor, inputs), want, atol=1e-10)
    (arena,) = executor.arenas.values()
    back = range(len(job.program.stages), len(job.program.all_stages))
    assert arena.memory.dense.issuperset(back) == dense


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sets", "samples", "threads"), [(1, 1, 1), (1, 256, 1), (2, 33, 2)])
def test_forecast_is_the_sum_of_its_parts(
    job: Job, sets: int, samples: int, threads: int, dtype: str
) -> None:
    executor = cpu(job, dtype=dtype, threads=threads)
    gradient_of(executor, random_inputs(job, len(every_kind().weights), sets, samples))
    (arena,) = executor.arenas.values()
    dense = arena.memory.dense_scalars * arena.data.itemsize
    inputs = executor.job.input_bytes(sets, samples)
    parts = arena.data.nbytes + dense + arena.memory.table_bytes + inputs
    assert executor.forecast(sets, samples) == parts


def test_sweeps_from_several_threads_run_one_after_the_other(job: Job, inputs: Batch) -> None:
    weights, data, slopes = inputs
    executor = cpu(job)
    alone = [weights[i : i + 1] for i in range(3)]
    want = [gradient_of(executor, (w, data, slopes[:, :1])) for w in alone]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(5):
            gradient = np.zeros(alone[i].shape)
            executor.pull_back(alone[i], data, slopes[:, :1], gradient)
            if not np.array_equal(gradient, want[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
