"""The CPU backend: any path, slicing, chunking, tiling and threads give the same values."""

import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.backends import get_backend
from tn_qnn.backends.cpu import backend as cpu_backend
from tn_qnn.backends.cpu import kernel, memory_map
from tn_qnn.backends.cpu.backend import CpuBackend, CpuExecutor
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import DensityMatrix, X, Y, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import BackendError, MemoryBudgetError
from tn_qnn.models.qnn import QNN
from tn_qnn.network.batch import ConeBatch
from tn_qnn.program.placement import Sizes

from ..circuits import (
    TOLERANCE,
    batches,
    check_job,
    checked_model,
    dense_outputs,
    plan_for,
    random_batch,
    random_circuit,
    random_path,
    run_cones,
    some_observables,
)


def summed(batch: ConeBatch) -> list[int]:
    network = batch.network
    used = {i for tensor in network.tensors for i in tensor.indices}
    return sorted(used - set(network.output))


def reference(
    batch: ConeBatch, names: Sequence[str], weights: np.ndarray, X: np.ndarray
) -> np.ndarray:
    return run_cones(batch.network, batch.cones, names, weights, X, backend="einsum")


def agree(got: np.ndarray, want: np.ndarray, bound: float = 1e-11) -> None:
    shape = np.broadcast_shapes(got.shape, want.shape)
    np.testing.assert_allclose(
        np.broadcast_to(got, shape), np.broadcast_to(want, shape), atol=bound
    )


# --- any path, any slicing


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 40]), st.booleans())
def test_any_path_and_any_slicing(seed: int, samples: int, weights_per_sample: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    circuit = random_circuit(rng, n, int(rng.integers(1, 9)), weights=2, features=1)
    found = batches(circuit, some_observables(n), weights_per_sample)
    shape = (2, samples) if weights_per_sample else (2,)
    weights = rng.normal(size=(*shape, len(circuit.weights)))
    data = rng.normal(size=(samples, 1))
    for batch in found[:3]:
        want = reference(batch, circuit.weights, weights, data)
        path = random_path(rng, len(batch.network.tensors))
        candidates = summed(batch)
        sliced = tuple(rng.permutation(candidates)[: rng.integers(3)].tolist())
        plan = plan_for(batch.network, path, sliced)
        for backend in ("cpu", "einsum"):
            got = run_cones(
                batch.network, batch.cones, circuit.weights, weights, data, plan=plan,
                backend=backend,
            )  # fmt: skip
            agree(got, want)


def fixed_angles() -> Circuit:
    """Angles that are numbers stand beside weights and data."""
    circuit = Circuit(4)
    for q in range(4):
        circuit.ry(0.3 + q, q).rx(feature(0), q)
    for q in range(3):
        circuit.cx(q, q + 1)
    for q in range(4):
        circuit.rx(0.7 + q, q).ry(weight(f"a{q}"), q)
    return circuit.cx(0, 1).cx(2, 3).rx(0.2, 1).rx(0.1, 2)


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
def test_every_index_can_be_sliced(backend: str) -> None:
    rng = np.random.default_rng(0)
    circuit = fixed_angles()
    (batch,) = batches(circuit, [X(1) @ Z(2)])
    weights, data = rng.normal(size=(2, 4)), rng.normal(size=(3, 1))
    want = reference(batch, circuit.weights, weights, data)
    base = plan_for(batch.network)
    for index in summed(batch):
        plan = plan_for(batch.network, base.path, (index,))
        got = run_cones(
            batch.network, batch.cones, circuit.weights, weights, data, plan=plan, backend=backend
        )
        agree(got, want)


def test_slicing_under_a_budget_leaves_values_alone() -> None:
    """A model whose plan must be sliced: one forecast below the budget, one above."""
    circuit = angle(10).compose(brickwork(10, 12, ("ry", "rz")))
    free = checked_model(circuit, [Z(5)])
    weights, data = random_batch(np.random.default_rng(0), free, 2, 5)
    (executor,) = prepared(free, 1e9)
    whole = executor.forecast(1, 1)
    for share in (4, 8, 16, 32):  # another tree may do first
        tight = checked_model(circuit, [Z(5)], memory=whole // share, threads=1)
        if tight.jobs[0].program.slices > 1:
            break
    assert all(job.program.slices > 1 for job in tight.jobs)
    np.testing.assert_allclose(tight(weights, data), free(weights, data), atol=1e-11)
    held = [e.forecast(1, 1) for e in tight._prepared(False).executors]
    assert max(held) <= whole // share


# --- chunks, batch sizes, tiles, threads: the same bits


def prepared(model: QNN, memory: float, threads: int = 1) -> list[CpuExecutor]:
    kind = np.dtype(model.dtype)
    executors = [CpuBackend(threads).prepare(job, kind, Budget(memory)) for job in model.jobs]
    assert all(isinstance(e, CpuExecutor) for e in executors)
    return executors  # type: ignore[return-value]


def wide_model(dtype: str = "float32") -> QNN:
    circuit = angle(6, "x").compose(brickwork(6, 4, ("ry", "rz")))
    readouts = [Z(2), X(3) @ Y(2), density_matrix([0, 5])]
    return checked_model(circuit, readouts, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_chunks_change_no_bit(dtype: str, per_sample: bool) -> None:
    model = wide_model(dtype)
    rng = np.random.default_rng(0)
    weights, data = random_batch(rng, model, 5, 70)
    if per_sample:
        weights = rng.normal(size=(5, 70, model.num_weights))
    for job in [e.job for e in model._prepared(per_sample).executors]:

        def executor(memory: float) -> CpuExecutor:
            return CpuExecutor(job, np.dtype(dtype), 1, Budget(memory))  # noqa: B023

        whole = executor(1e9)
        want = whole.run(weights, data)
        for sets, samples in ((5, 36), (5, 18), (3, 9), (1, 9), (1, 1)):
            small = executor(whole.forecast(sets, samples))
            np.testing.assert_array_equal(small.run(weights, data), want)
            for arena in small.arenas.values():
                assert arena.memory.placement.sizes != Sizes(job.cones, 5, 70)
                assert arena.data.nbytes <= small.budget.memory


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    model = wide_model()
    weights, data = random_batch(np.random.default_rng(0), model, 3, 100)
    want = [e.run(weights, data) for e in prepared(model, 1e9)]
    monkeypatch.setattr(kernel, "SHARE", 1)
    for lanes in (16, 48, 4096):
        monkeypatch.setattr(memory_map, "MAX_TILE", lanes)
        got = [e.run(weights, data) for e in prepared(model, 1e9, threads)]
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(g, w)


def test_kernel_and_matrix_products_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage by the kernel, every stage by BLAS."""
    rng = np.random.default_rng(0)
    for seed in range(3):
        circuit = random_circuit(np.random.default_rng(seed), 4, 12)
        model = checked_model(circuit, some_observables(4))
        weights, data = random_batch(rng, model, 2, 3)
        want = dense_outputs([circuit], model.observables, model.weight_names, weights, data)
        for dense in (True, False):
            monkeypatch.setattr(
                memory_map,
                "_prefers_dense",
                lambda program, stage, sizes, dense=dense: dense or not stage.labels,
            )
            model._evaluations.clear()
            np.testing.assert_allclose(model(weights, data), want, atol=1e-11)


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 70))
def test_any_batch_size(sets: int, samples: int) -> None:
    model = CACHED.setdefault("model", wide_model("float64"))
    rng = np.random.default_rng(sets * 100 + samples)
    weights, data = random_batch(rng, model, sets, samples)
    got = model(weights, data)
    i, j = int(rng.integers(sets)), int(rng.integers(samples))
    want = dense_outputs(
        model.circuits, model.observables, model.weight_names, weights[i], data[j : j + 1]
    )
    np.testing.assert_allclose(got[i, j], want[0], atol=1e-11)


CACHED: dict[str, QNN] = {}


def test_padding_lanes_stay_finite() -> None:
    """17 samples leave 15 lanes empty; nothing may warn or spill over."""
    model = wide_model()
    weights, data = random_batch(np.random.default_rng(0), model, 1, 17)
    whole = model(weights, data)
    for j in (0, 16):
        agree(model(weights, data[j : j + 1])[:, 0], whole[:, j], TOLERANCE["float32"])


# --- memory: forecast, refusal, arenas


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sets", "samples", "threads"), [(1, 1, 1), (2, 256, 1), (7, 33, 2)])
def test_forecast_is_the_sum_of_its_parts(
    sets: int, samples: int, threads: int, dtype: str
) -> None:
    model = wide_model(dtype)
    weights, data = random_batch(np.random.default_rng(0), model, sets, samples)
    for executor in prepared(model, 1e9, threads):
        executor.run(weights, data)
        (arena,) = executor.arenas.values()
        dense = arena.memory.dense_scalars * arena.data.itemsize
        inputs = executor.job.input_bytes(sets, samples)
        parts = arena.data.nbytes + dense + arena.memory.table_bytes + inputs
        assert executor.forecast(sets, samples) == parts


@pytest.mark.parametrize(("samples", "by_blas"), [(1, True), (16, False)])
def test_forecast_is_what_a_run_allocates(samples: int, by_blas: bool) -> None:
    """To 20 % and the records of a program; numpy reports its arrays to tracemalloc."""
    circuit = angle(14).compose(brickwork(14, 15, ("ry", "rz")))
    for _ in range(2):  # the first time, more is loaded and compiled
        model = checked_model(circuit, [Z(7)], dtype="float32")
        weights, data = random_batch(np.random.default_rng(0), model, 1, samples)
        (job,) = model.jobs
        program = replace(job.program)  # whose tables nobody has asked for yet
        executor = CpuExecutor(replace(job, program=program), np.dtype("float32"), 1, Budget(4e9))
        tracemalloc.start()
        executor.run(weights, data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    forecast = executor.forecast(1, samples)
    (arena,) = executor.arenas.values()
    assert (4 * arena.memory.dense_scalars > forecast / 2) == by_blas
    assert forecast > 1e6
    records = 2e6  # of Python: steps, places, lifetimes
    assert 0.8 * forecast < peak < 1.2 * forecast + records


def test_one_sample_too_many_for_the_budget_is_refused_with_figures() -> None:
    model = wide_model()
    weights, data = random_batch(np.random.default_rng(0), model, 1, 4)
    (executor, *_) = prepared(model, 1000)
    need = executor.forecast(1, 1)
    with pytest.raises(MemoryBudgetError, match=f"one sample needs {need:,} bytes.*1,000"):
        executor.run(weights, data)
    assert not executor.arenas


def test_only_the_last_arenas_are_kept() -> None:
    model = wide_model()
    (executor, *_) = prepared(model, 1e9)
    for samples in range(1, 8):
        executor.run(*random_batch(np.random.default_rng(0), model, 1, samples))
    assert [a.memory.placement.sizes.samples for a in executor.arenas.values()] == [4, 5, 6, 7]
    executor.run(*random_batch(np.random.default_rng(0), model, 1, 4))
    assert [a.memory.placement.sizes.samples for a in executor.arenas.values()] == [5, 6, 7, 4]


def test_constants_are_contracted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage of constants runs when an arena is made, and never again."""
    (batch,) = batches(fixed_angles(), [X(1) @ Z(2)])
    circuit = fixed_angles()
    model = checked_model(circuit, [X(1) @ Z(2)])
    assert model.jobs[0].program.stages[0].labels == ()
    calls = []
    real = cpu_backend.run_dense
    monkeypatch.setattr(
        cpu_backend, "run_dense",
        lambda program, stage, *rest: calls.append(stage.labels) or real(program, stage, *rest),
    )  # fmt: skip
    weights, data = random_batch(np.random.default_rng(0), model, 2, 64)
    first = model(weights, data)
    assert calls == [()]
    np.testing.assert_array_equal(model(weights, data), first)
    assert calls == [()]
    assert len(batch.cones) == 1


# --- the record itself


def test_backends_by_name() -> None:
    assert get_backend("cpu").name == "cpu"
    assert get_backend("einsum").name == "einsum"
    assert get_backend("cpu", 2) == CpuBackend(2)
    with pytest.raises(BackendError, match=r"backend: one of .*'cpu', 'einsum'.* not 'gpu'"):
        get_backend("gpu")


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_threads_are_checked(threads: object) -> None:
    with pytest.raises(BackendError, match=f"threads: an integer >= 1 expected, not {threads!r}"):
        CpuBackend(threads)  # type: ignore[arg-type]


def test_jobs_of_any_thread_run_one_after_the_other() -> None:
    model = wide_model()
    (executor, *_) = prepared(model, 1e9)
    weights, data = random_batch(np.random.default_rng(0), model, 8, 50)
    want = [executor.run(weights[i : i + 1], data) for i in range(8)]
    failures: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(executor.run(weights[i : i + 1], data), want[i]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_open_readouts_are_complex_on_both_backends() -> None:
    circuit = Circuit(2).ry(0.3, 0).cx(0, 1).rx(0.4, 1)
    (batch,) = batches(circuit, [DensityMatrix((1, 0))])
    got = [
        run_cones(batch.network, batch.cones, (), np.zeros((1, 0)), np.zeros((1, 0)), backend=b)
        for b in ("cpu", "einsum")
    ]
    assert got[0].shape == got[1].shape == (16, 1, 1, 1)
    np.testing.assert_allclose(got[0], got[1], atol=1e-15)


def test_jobs_pass_the_checker_for_weights_per_sample() -> None:
    for executor in wide_model()._prepared(True).executors:
        check_job(executor.job)  # type: ignore[attr-defined]
