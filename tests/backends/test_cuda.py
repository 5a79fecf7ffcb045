"""The CUDA executor, whole, on emulated kernels and a stand-in for CuPy; and on a GPU."""

import logging
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tn_qnn.backends import get_backend
from tn_qnn.backends.cuda import executor as cuda_executor
from tn_qnn.backends.cuda import schedule
from tn_qnn.backends.cuda.executor import CudaExecutor
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.ansatz import brickwork, tree
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import X, Y, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import BackendError, InputError, MemoryBudgetError
from tn_qnn.models.qnn import QNN
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job, make_job

from ..circuits import (
    TOLERANCE,
    batches,
    plan_for,
    random_batch,
    random_circuit,
    random_path,
    run_cones,
    some_observables,
)


@pytest.fixture
def cupy(either_cupy: ModuleType) -> ModuleType:
    """All that holds for the stand-in must hold on a GPU."""
    return either_cupy


def grown(qubits: int = 8, layers: int = 4) -> Circuit:
    return angle(qubits).compose(brickwork(qubits, layers))


def complex_circuit() -> Circuit:
    c = Circuit(5)
    for q in range(5):
        c.ry(feature(q), q).rz(weight(f"a{q}"), q).rx(weight(f"b{q}") * feature(0) + 0.1, q)
    for q in range(4):
        c.cx(q, q + 1).rzz(weight(f"c{q}"), q, q + 1)
    return c


def twins(circuit: Any, observables: Any, **options: Any) -> tuple[QNN, QNN]:
    """The same model on the emulated GPU and on the CPU."""
    return (
        QNN(circuit, observables, backend="cuda", **options),
        QNN(circuit, observables, backend="cpu", **options),
    )


def agree(cuda: QNN, cpu: QNN, *inputs: np.ndarray) -> np.ndarray:
    got = cuda(*inputs)
    want = cpu(*inputs)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=TOLERANCE[cuda.dtype], rtol=0)
    return got


# --- the same values as the CPU backend


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sets", "samples"), [(1, 1), (2, 3), (3, 40)])
def test_outputs_are_those_of_the_cpu(
    cupy: ModuleType, dtype: str, sets: int, samples: int
) -> None:
    rng = np.random.default_rng(1)
    readouts = [Z(2), X(1) @ Y(2) - 0.3 * Z(0) + 0.25, density_matrix([1, 3])]
    for circuit in (complex_circuit(), grown(5, 3)):
        cuda, cpu = twins(circuit, readouts, dtype=dtype)
        agree(cuda, cpu, *random_batch(rng, cpu, sets, samples))


def test_weights_a_sample(cupy: ModuleType) -> None:
    rng = np.random.default_rng(2)
    cuda, cpu = twins(complex_circuit(), [Z(2), X(0)], dtype="float64")
    agree(cuda, cpu, rng.normal(size=(2, 7, cpu.num_weights)), rng.normal(size=(7, 5)))


def test_several_circuits_and_equal_cones(cupy: ModuleType) -> None:
    rng = np.random.default_rng(3)
    circuits = [tree(8), tree(8)]
    cuda, cpu = twins(circuits, [Z(0)], dtype="float32")
    agree(cuda, cpu, *random_batch(rng, cpu, 3, 33))
    line, reference = twins(grown(12, 3), [Z(q) for q in range(12)], dtype="float64")
    agree(line, reference, *random_batch(rng, reference, 2, 9))


def test_tensor_valued_blocks(cupy: ModuleType) -> None:
    rng = np.random.default_rng(4)
    circuit = Circuit(4)
    for q in range(4):
        circuit.ry(feature(q), q)
    circuit.block(orthogonal("O"), [0, 1]).block(unitary("U"), [1, 2]).block(orthogonal("V"), [3])
    cuda, cpu = twins(circuit, [Z(1), Y(2)], dtype="float64")
    agree(cuda, cpu, *random_batch(rng, cpu, 2, 5))
    assert "cuSOLVER" in cuda.capturable


def test_constant_outputs_and_models_without_weights(cupy: ModuleType) -> None:
    circuit = Circuit(2).h(0).cx(0, 1)
    cuda, cpu = twins(circuit, [Z(0), Z(0) @ Z(1), X(0) @ X(1) + 2.0], dtype="float64")
    np.testing.assert_allclose(cuda(), [[0.0, 1.0, 3.0]], atol=1e-12)
    agree(cuda, cpu)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), samples=st.sampled_from([1, 5, 33]))
def test_any_path_and_any_slicing(cupy: ModuleType, seed: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    circuit = random_circuit(rng, n, int(rng.integers(1, 9)), weights=2, features=1)
    weights, data = rng.normal(size=(2, len(circuit.weights))), rng.normal(size=(samples, 1))
    for batch in batches(circuit, some_observables(n))[:2]:
        network = batch.network
        inner = sorted({i for t in network.tensors for i in t.indices} - set(network.output))
        sliced = tuple(rng.permutation(inner)[: rng.integers(3)].tolist()) if inner else ()
        plan = plan_for(network, random_path(rng, len(network.tensors)), sliced)
        common = (network, batch.cones, circuit.weights, weights, data)
        got = run_cones(*common, plan=plan, backend="cuda")
        want = run_cones(*common, backend="einsum")
        shape = np.broadcast_shapes(got.shape, want.shape)
        np.testing.assert_allclose(
            np.broadcast_to(got, shape), np.broadcast_to(want, shape), atol=1e-11
        )


# --- how it is cut changes no bit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_launches_chunks_and_shared_memory_change_no_bit(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    rng = np.random.default_rng(5)
    circuit, readouts = complex_circuit(), [Z(2), X(1) @ Y(2)]
    inputs = random_batch(rng, QNN(circuit, readouts, backend="cpu"), 4, 50)
    want = QNN(circuit, readouts, backend="cuda", dtype=dtype)(*inputs)

    changes = [("LARGE_WORK", 1), ("WARP", 64), ("BUSY", 0), ("TABLE_BYTES", 1024)]
    for name, value in changes:
        with monkeypatch.context() as changed:
            changed.setattr(schedule, name, value)
            other = QNN(circuit, readouts, backend="cuda", dtype=dtype)
            np.testing.assert_array_equal(other(*inputs), want, err_msg=name)


def test_chunks_change_no_bit(cupy: ModuleType) -> None:
    rng = np.random.default_rng(6)
    whole = QNN(grown(), [Z(3), Z(4)], backend="cuda", memory=1e9)
    inputs = random_batch(rng, whole, 8, 64)
    want = whole(*inputs)
    (executor, *_) = whole._prepared(False).executors
    small = QNN(grown(), [Z(3), Z(4)], backend="cuda", memory=executor.forecast(3, 20))
    np.testing.assert_array_equal(small(*inputs), want)
    for executor in small._prepared(False).executors:
        assert any(chunk != whole for whole, chunk in executor.chunks.items())


def test_what_fits_no_chunk_is_refused_with_the_figures(cupy: ModuleType) -> None:
    model = QNN(grown(), [Z(3)], backend="cuda", memory=1e9)
    (executor,) = model._prepared(False).executors
    tight = CudaExecutor(executor.job, executor.dtype, executor.runtime, Budget(1000))
    weights, data = random_batch(np.random.default_rng(0), model, 2, 4)
    with pytest.raises(
        MemoryBudgetError, match=r"one sample needs [\d,]+ bytes, the budget of .* is"
    ):
        tight.run(weights, data)


def test_a_forecast_is_what_is_allocated(cupy: ModuleType) -> None:
    model = QNN(grown(), [Z(3)], backend="cuda", memory=1e9)
    weights, data = random_batch(np.random.default_rng(0), model, 2, 40)
    model(weights, data)
    (executor,) = model._prepared(False).executors
    (arena,) = executor.arenas.values()
    tables = sum(
        a.nbytes
        for call in arena.calls
        for a in call.arguments(0)[1:5]
        if isinstance(a, cupy.ndarray)
    )
    inputs = executor.job.input_bytes(2, 40)
    assert executor.forecast(2, 40) == arena.data.nbytes + tables + inputs


def test_topologies_of_a_model_share_the_budget(cupy: ModuleType) -> None:
    """What one job keeps counts as free for the next: no chunk shrinks because of others."""
    circuit = grown(12, 4)
    readouts = [Z(q) @ Z(r) for q, r in ((0, 1), (2, 7), (3, 4), (5, 11), (6, 9))]
    roomy = QNN(circuit, readouts, backend="cuda", memory=1e9)
    inputs = random_batch(np.random.default_rng(3), roomy, 4, 64)
    want = roomy(*inputs)
    needs = [e.forecast(4, 64) for e in roomy._prepared(False).executors]
    assert len(needs) > 2
    tight = QNN(circuit, readouts, backend="cuda", memory=1.5 * max(needs))
    for _ in range(2):
        np.testing.assert_array_equal(tight(*inputs), want)
    for executor in tight._prepared(False).executors:
        assert all(whole == chunk for whole, chunk in executor.chunks.items())
        assert executor.shelf.held <= 1.5 * max(needs)


# --- out of memory


def test_out_of_memory_halves_the_chunk_and_loses_nothing(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(7)
    model = QNN(grown(), [Z(3), Z(4)], backend="cuda", memory=1e9)
    inputs = random_batch(rng, model, 4, 64)
    want = model(*inputs)
    again = QNN(grown(), [Z(3), Z(4)], backend="cuda", memory=1e9)
    made, real = [], cuda_executor.make_arena

    def scarce(job: Any, runtime: Any, layout: Any, dtype: Any) -> Any:
        made.append(layout.placement.sizes)
        if layout.placement.sizes.samples > 16:
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)
        return real(job, runtime, layout, dtype)

    monkeypatch.setattr(cuda_executor, "make_arena", scarce)
    with caplog.at_level(logging.WARNING, "tn_qnn.backends.cuda"):
        got = again(*inputs)
    np.testing.assert_array_equal(got, want)
    assert "out of memory with 4 sets of weights and 64 samples" in caplog.text
    assert {sizes.samples for sizes in made} >= {64, 16}
    made.clear()
    np.testing.assert_array_equal(again(*inputs), want)
    assert not made  # it does not try again what failed


def test_arenas_make_room_for_outputs(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = QNN(grown(), [Z(3), Z(4)], backend="cuda", memory=1e9)
    inputs = random_batch(np.random.default_rng(7), model, 4, 64)
    want = model(*inputs)
    evaluation, zeros = model._prepared(False), cupy.zeros

    def scarce(shape: Any, *args: Any, **more: Any) -> Any:
        if shape == (4, 64, 2) and any(e.arenas for e in evaluation.executors):
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)
        return zeros(shape, *args, **more)

    monkeypatch.setattr(cupy, "zeros", scarce)
    np.testing.assert_array_equal(model(*inputs), want)

    def none(*args: Any, **more: Any) -> Any:
        raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    monkeypatch.setattr(cupy, "zeros", none)
    with pytest.raises(MemoryBudgetError, match="no room for weights, data and outputs"):
        model(*inputs)


def test_out_of_memory_for_one_sample_is_an_error(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = QNN(grown(), [Z(3)], backend="cuda", memory=1e9)

    def none(*_: Any) -> Any:
        raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    monkeypatch.setattr(cuda_executor, "make_arena", none)
    with pytest.raises(
        MemoryBudgetError, match=r"one sample needs .* what was left when it ran out"
    ):
        model(*random_batch(np.random.default_rng(0), model, 2, 4))


def sliced_job(sliced: int) -> Job:
    """A job whose plan has 2 to the power of ``sliced`` slices."""
    circuit = grown()
    (batch,) = batches(circuit, [Z(3)])
    inner = sorted({i for t in batch.network.tensors for i in t.indices})
    program = compile_program(batch.network, plan_for(batch.network, None, tuple(inner[:sliced])))
    return make_job(program, batch.cones, {name: k for k, name in enumerate(circuit.weights)})


def accumulated(executor: Any, cupy: ModuleType, weights: np.ndarray, data: np.ndarray) -> Any:
    out = cupy.zeros((1, len(weights), len(data)))
    executor.accumulate(cupy.asarray(weights), cupy.asarray(data), out)
    return out.get()


def test_slices_that_run_short_leave_nothing_half_added(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sliced_job(2)
    weights, data = np.random.default_rng(8).normal(size=(2, 32)), np.ones((4, 8))
    prepared = get_backend("cuda").prepare(job, np.dtype("float64"), Budget(1e9))
    want = accumulated(prepared, cupy, weights, data)
    count, real = [0], CudaExecutor._run_slice

    def fails_once(self: CudaExecutor, arena: Any, number: int) -> None:
        count[0] += 1
        if count[0] == 3:
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)
        real(self, arena, number)

    monkeypatch.setattr(CudaExecutor, "_run_slice", fails_once)
    np.testing.assert_array_equal(accumulated(prepared, cupy, weights, data), want)
    assert count[0] == 3 + 2 * 4  # two halves, four slices each


# --- several devices


@pytest.mark.parametrize("samples", [5, 70])
def test_the_number_of_devices_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    from ..emulation.cupy_standin import install, make_cupy

    install(make_cupy(devices=3), monkeypatch.setitem)
    rng = np.random.default_rng(9)
    models = [
        QNN(complex_circuit(), [Z(2), X(1) @ Y(2)], backend="cuda", devices=devices)
        for devices in ([0], [0, 1], [2, 0, 1])
    ]
    inputs = random_batch(rng, models[0], 4, samples)
    want = models[0](*inputs)
    for model in models[1:]:
        np.testing.assert_array_equal(model(*inputs), want)
        assert "several GPUs" in model.capturable


@pytest.mark.parametrize("sliced", [1, 4])
def test_slices_are_shared_out_and_summed_in_one_tree(
    monkeypatch: pytest.MonkeyPatch, sliced: int
) -> None:
    from ..emulation.cupy_standin import install, make_cupy

    cupy = make_cupy(devices=3)
    install(cupy, monkeypatch.setitem)
    weights, data = np.random.default_rng(10).normal(size=(2, 32)), np.ones((3, 8))
    job = sliced_job(sliced)
    one, two, three = (
        get_backend("cuda", devices=devices).prepare(job, np.dtype("float32"), Budget(1e9))
        for devices in ([0], [0, 1], [0, 1, 2])
    )
    want = accumulated(one, cupy, weights, data)
    for several in (two, three):
        np.testing.assert_array_equal(accumulated(several, cupy, weights, data), want)
    reference = get_backend("einsum").prepare(job, np.dtype("float64"), Budget(1e9))
    np.testing.assert_allclose(
        want[0], reference.run(weights, data)[0, 0], atol=TOLERANCE["float32"]
    )


# --- arrays of the device, capture


def test_device_arrays_in_device_arrays_out(cupy: ModuleType) -> None:
    rng = np.random.default_rng(11)
    cuda, cpu = twins(complex_circuit(), [Z(2), X(0)], dtype="float32")
    weights, data = random_batch(rng, cpu, 2, 9)
    got = cuda(cupy.asarray(weights), cupy.asarray(data))
    assert type(got) is cupy.ndarray and got.dtype == np.float64 and got.shape == (2, 9, 2)
    np.testing.assert_allclose(got.get(), cpu(weights, data), atol=TOLERANCE["float32"])
    single = cuda(cupy.asarray(weights[0]), cupy.asarray(data))
    np.testing.assert_array_equal(single.get(), got.get()[0])


def test_a_call_can_be_captured_and_replayed(cupy: ModuleType) -> None:
    rng = np.random.default_rng(12)
    model = QNN(complex_circuit(), [Z(2), X(0)], backend="cuda")
    weights, data = (cupy.asarray(x) for x in random_batch(rng, model, 2, 40))
    assert model.capturable is True
    model(weights, data)
    out = cupy.zeros((2, 40, 2))

    def call() -> None:
        out[...] = model(weights, data)

    graph = model.device.capture(call)
    for _ in range(2):
        fresh, rows = random_batch(rng, model, 2, 40)
        weights.set(fresh)
        data.set(rows)
        with model.device.use():
            graph.launch()
        np.testing.assert_array_equal(
            out.get(), model(cupy.asarray(fresh), cupy.asarray(rows)).get()
        )


def test_a_graph_keeps_its_arena(cupy: ModuleType) -> None:
    """Calls of other sizes push arenas out; that of a graph must stay."""
    rng = np.random.default_rng(13)
    model = QNN(grown(), [Z(3)], backend="cuda")
    weights, data = (cupy.asarray(x) for x in random_batch(rng, model, 2, 40))
    want = model(weights, data).get()
    out = cupy.zeros(want.shape)

    def call() -> None:
        out[...] = model(weights, data)

    graph = model.device.capture(call)
    for samples in range(1, 7):
        model(*random_batch(rng, model, 1, samples))
    with model.device.use():
        graph.launch()
    np.testing.assert_array_equal(out.get(), want)


def test_wrong_arrays_are_refused(cupy: ModuleType) -> None:
    model = QNN(grown(), [Z(3)], backend="cuda")
    weights, data = random_batch(np.random.default_rng(0), model, 2, 4)
    with pytest.raises(InputError, match="X: an array of cupy expected"):
        model(cupy.asarray(weights), data)
    with pytest.raises(InputError, match="float64 of shapes"):
        model(cupy.asarray(weights.astype(np.float32)), cupy.asarray(data))
    with pytest.raises(InputError, match="float64 of shapes"):
        model(cupy.asarray(weights[:, 1:]), cupy.asarray(data))
    host = QNN(grown(), [Z(3)], backend="cpu")
    with pytest.raises(BackendError, match="arrays given to backend='cpu'"):
        host(cupy.asarray(weights), cupy.asarray(data))


def test_cublas_takes_the_largest_steps_outside_a_graph(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "GEMM_WORK", 8)
    monkeypatch.setattr(schedule, "GEMM_OUTPUTS", 4)
    rng = np.random.default_rng(14)
    cuda, cpu = twins(complex_circuit(), [Z(2), X(1) @ Y(2)], dtype="float64")
    inputs = random_batch(rng, cpu, 2, 3)
    agree(cuda, cpu, *inputs)
    kernels = {c.launch.kernel for e in cuda._prepared(False).executors
               for a in e.arenas.values() for c in a.calls}  # fmt: skip
    assert "run_gemm" in kernels
    called = []
    real = cuda_executor.step_product
    monkeypatch.setattr(cuda_executor, "step_product", lambda *a: called.append(1) or real(*a))
    monkeypatch.setattr(cuda_executor, "CUBLAS_WORK", 8)
    agree(cuda, cpu, *inputs)
    assert called


# --- names


def test_backends_by_name(cupy: ModuleType) -> None:
    assert get_backend("auto").name == get_backend("cuda").name == "cuda"
    with pytest.raises(BackendError, match="threads: for the CPU backend only"):
        get_backend("cuda", threads=2)
    beyond = cupy.cuda.runtime.getDeviceCount()
    for devices in ([beyond], [0, 0], [], [-1], [True]):
        with pytest.raises(BackendError, match="devices: "):
            get_backend("cuda", devices=devices)
    for name in ("cpu", "einsum"):
        with pytest.raises(BackendError, match="devices: for the CUDA backend only"):
            get_backend(name, devices=[0])


def test_without_a_gpu_auto_is_the_cpu() -> None:
    from tn_qnn.backends.cuda.detect import why_not

    if not why_not():
        pytest.skip("there is a GPU")
    model = QNN(grown(), [Z(3)])
    assert (model.requested_backend, model.backend.name, model.device) == ("auto", "cpu", None)
    with pytest.raises(BackendError):
        QNN(grown(), [Z(3)], backend="cuda")
