"""The sweep back on the GPU: against einsum, the CPU and differences; chunks, devices, memory."""

from itertools import count
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
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.models.qnn import QNN
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job, make_job
from tn_qnn.program.reverse import with_reverse

from ..circuits import (
    batches,
    plan_for,
    random_batch,
    random_circuit,
    random_path,
    some_observables,
)
from ..emulation.cupy_standin import install, make_cupy

CLOSE = {"float32": 1e-5, "float64": 1e-11}


@pytest.fixture
def cupy(either_cupy: ModuleType) -> ModuleType:
    """All that holds for the stand-in must hold on a GPU."""
    return either_cupy


def mixed_circuit() -> Circuit:
    """Complex gates, shared weights, data times weights, and blocks of both kinds."""
    c = Circuit(5)
    for q in range(5):
        c.ry(feature(q), q).rz(weight(f"a{q}"), q).rx(weight(f"b{q % 2}") * feature(0) + 0.1, q)
    for q in range(4):
        c.cx(q, q + 1).rzz(weight("c") * weight(f"a{q}"), q, q + 1)
    return c.block(orthogonal("O"), [0, 1]).block(unitary("U"), [1, 2]).ry(weight("a0"), 2)


def grown(qubits: int = 8, layers: int = 4) -> Circuit:
    return angle(qubits).compose(brickwork(qubits, layers))


READOUTS = [Z(2), X(1) @ Y(2) - 0.3 * Z(0) + 0.25, density_matrix([1, 3])]


def job_of(
    circuit: Circuit,
    readouts: Any,
    path: Any = None,
    sliced: int = 0,
    seed: int = 0,
    keep: int | None = None,
) -> Job:
    """The first topology of a model, with a sweep back, along a plan of one's own."""
    network, cones = (batch := batches(circuit, readouts)[0]).network, batch.cones
    inner = sorted({i for t in network.tensors for i in t.indices} - set(network.output))
    chosen = np.random.default_rng(seed).permutation(inner)[:sliced].tolist()
    plan = plan_for(network, path, tuple(chosen))
    program = with_reverse(compile_program(network, plan), keep)
    return make_job(program, cones, {name: k for k, name in enumerate(circuit.weights)})


def prepared(job: Job, backend: str, dtype: str = "float64", memory: float = 1e9, **options: Any):
    made = get_backend(backend, 1 if backend == "cpu" else None, **options)
    return made.prepare(job, np.dtype(dtype), Budget(memory))


def num_outputs(job: Job) -> int:
    if job.scatter.open_outputs:
        return max(job.scatter.open_outputs) + job.program.slots[job.program.output].size
    return int(job.scatter.outputs.max()) + 1


def inputs_of(job: Job, weights: int, sets: int, samples: int, seed: int = 0) -> tuple:
    """Weights, data and slopes of the outputs."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(sets, weights)), rng.normal(size=(samples, 8)),
            rng.normal(size=(num_outputs(job), sets, samples)))  # fmt: skip


def on_host(executor: Any, weights: np.ndarray, data: np.ndarray, slopes: np.ndarray):
    gradient = np.zeros_like(weights)
    executor.pull_back(weights, data, slopes, gradient)
    return gradient


def on_device(
    executor: Any, cupy: ModuleType, weights: Any, data: Any, slopes: Any, forward: bool = True
) -> np.ndarray:
    """The gradient of the device; the pass forward first, as a model does it."""
    w, x, by = (cupy.asarray(a) for a in (weights, data, slopes))
    gradient = cupy.zeros(w.shape)
    if forward:
        executor.accumulate(w, x, cupy.zeros(by.shape))
    executor.pull_back(w, x, by, gradient)
    return gradient.get()


# --- the same gradient as others give


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_a_model_are_those_of_the_cpu(cupy: ModuleType, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for circuit in (mixed_circuit(), grown(6, 3), tree(8)):
        cuda, cpu = (QNN(circuit, READOUTS, backend=b, dtype=dtype) for b in ("cuda", "cpu"))
        (weights,), data = random_batch(rng, cpu, 1, 40)
        slopes = rng.normal(size=(40, cpu.num_outputs))

        def chosen(out: np.ndarray, rows: slice, slopes: np.ndarray = slopes) -> np.ndarray:
            return slopes[rows]

        got, want = (model.pull_back(weights, data, chosen) for model in (cuda, cpu))
        for here, there in zip(got, want, strict=True):
            scale = max(1.0, abs(there).max())
            np.testing.assert_allclose(here, there, atol=CLOSE[dtype] * scale, rtol=0)


def test_blocks_by_their_entries(cupy: ModuleType) -> None:
    """Of any real numbers, near unitary matrices and far from them."""
    rng = np.random.default_rng(3)
    circuit = angle(4)
    for k, make in enumerate((orthogonal, unitary, orthogonal)):
        circuit.block(make(f"B{k}", chart="entries"), [k, k + 1])
    cuda, cpu = (QNN(circuit, [Z(1), Y(2)], backend=b, dtype="float64") for b in ("cuda", "cpu"))
    labels, data = rng.integers(2, size=9), rng.normal(size=(9, 4))
    near = cpu.init_weights(0) if hasattr(cpu, "init_weights") else rng.normal(size=cpu.num_weights)
    for weights in (near, rng.normal(size=cpu.num_weights)):
        got, want = (m.value_and_grad(weights, data, labels) for m in (cuda, cpu))
        assert got[0] == pytest.approx(want[0], abs=1e-12)
        np.testing.assert_allclose(got[1], want[1], atol=1e-11 * max(1, abs(want[1]).max()))


def test_a_loss_falls_as_its_gradient_says(cupy: ModuleType) -> None:
    model = QNN(mixed_circuit(), [Z(2), X(1)], backend="cuda", dtype="float64")
    rng = np.random.default_rng(2)
    (weights,), data = random_batch(rng, model, 1, 9)
    labels, step = rng.integers(2, size=9), 1e-5
    _, gradient = model.value_and_grad(weights, data, labels)
    for k in rng.permutation(model.num_weights)[:6]:
        ends = [weights + sign * step * (np.arange(len(weights)) == k) for sign in (1, -1)]
        up, down = (model.value_and_grad(w, data, labels)[0] for w in ends)
        assert gradient[k] == pytest.approx((up - down) / (2 * step), abs=1e-8)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    sets=st.sampled_from([1, 3]),
    samples=st.sampled_from([1, 33]),
    keep=st.sampled_from([None, 0, 2]),
)
def test_any_path_and_any_slicing(
    cupy: ModuleType, seed: int, sets: int, samples: int, keep: int | None
) -> None:
    """Also where intermediates are not kept for the sweep but worked out again."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    circuit = random_circuit(rng, n, int(rng.integers(2, 9)), weights=2, features=1)
    observable = some_observables(n)[rng.integers(len(some_observables(n)))]
    if not circuit.weights or not batches(circuit, [observable]):
        return
    tensors = len(batches(circuit, [observable])[0].network.tensors)
    path = random_path(rng, tensors) if tensors > 1 else None
    job = job_of(circuit, [observable], path, int(rng.integers(3)), seed, keep)
    given = inputs_of(job, len(circuit.weights), sets, samples, seed)
    want = on_host(prepared(job, "einsum"), *given)
    for forward in (True, False):
        got = on_device(prepared(job, "cuda"), cupy, *given, forward)
        np.testing.assert_allclose(got, want, atol=1e-10 * max(1, abs(want).max()))


# --- what is left of the pass forward


def test_values_of_other_inputs_are_not_taken_for_ones_own(cupy: ModuleType) -> None:
    job = job_of(mixed_circuit(), [Z(2)])
    executor = prepared(job, "cuda")
    given, other = (inputs_of(job, len(mixed_circuit().weights), 1, 20, s) for s in (0, 1))
    want = on_device(executor, cupy, *given)
    w, x, slopes = (cupy.asarray(a) for a in given)
    out, gradient = cupy.zeros(slopes.shape), cupy.zeros(w.shape)
    executor.accumulate(w, x, out)
    executor.accumulate(*(cupy.asarray(a) for a in other[:2]), out)  # in the same arena
    executor.pull_back(w, x, slopes, gradient)
    np.testing.assert_array_equal(gradient.get(), want)


def test_values_of_a_graph_are_not_taken_for_ones_own(cupy: ModuleType) -> None:
    job = job_of(grown(), [Z(3)])
    executor = prepared(job, "cuda")
    given, other = (inputs_of(job, 32, 1, 20, s) for s in (0, 1))
    want = on_device(executor, cupy, *given)
    w, x, slopes = (cupy.asarray(a) for a in given)
    v, y = (cupy.asarray(a) for a in other[:2])
    out, gradient = cupy.zeros(slopes.shape), cupy.zeros(w.shape)
    graph = executor.runtime.capture(lambda: executor.accumulate(v, y, out))
    executor.accumulate(w, x, out)
    graph.launch()  # in the same arena
    executor.pull_back(w, x, slopes, gradient)
    np.testing.assert_array_equal(gradient.get(), want)


def test_a_sweep_can_be_captured_and_replayed(cupy: ModuleType) -> None:
    job = job_of(grown(), [Z(3)])
    executor = prepared(job, "cuda")
    w, x, slopes = (cupy.asarray(a) for a in inputs_of(job, 32, 1, 20))
    out, gradient = cupy.zeros(slopes.shape), cupy.zeros(w.shape)

    def step() -> None:
        gradient[...] = 0
        executor.accumulate(w, x, out)
        executor.pull_back(w, x, slopes, gradient)

    step()
    graph = executor.runtime.capture(step)
    for seed in (3, 4):
        fresh = inputs_of(job, 32, 1, 20, seed)
        for array, values in zip((w, x, slopes), fresh, strict=True):
            array.set(values)
        graph.launch()
        executor.runtime.synchronize()
        np.testing.assert_array_equal(gradient.get(), on_device(executor, cupy, *fresh))


def test_what_was_not_compiled_to_sweep_back_says_so(cupy: ModuleType) -> None:
    (batch,) = batches(grown(), [Z(3)])
    program = compile_program(batch.network, plan_for(batch.network))
    job = make_job(program, batch.cones, {name: k for k, name in enumerate(grown().weights)})
    with pytest.raises(InputError, match="no reverse stages"):
        on_device(prepared(job, "cuda"), cupy, *inputs_of(job, 32, 1, 4))


# --- how it is cut


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_launches_change_no_bit(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    job = job_of(mixed_circuit(), [Z(2)])
    given = inputs_of(job, len(mixed_circuit().weights), 2, 50)
    want = on_device(prepared(job, "cuda", dtype), cupy, *given)
    for name, value in (("LARGE_WORK", 1), ("BUSY", 0), ("TABLE_BYTES", 1024)):
        with monkeypatch.context() as changed:
            changed.setattr(schedule, name, value)
            got = on_device(prepared(job, "cuda", dtype), cupy, *given)
        np.testing.assert_array_equal(got, want, err_msg=name)


def test_large_steps_of_the_sweep_by_tiles_and_by_cublas(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(mixed_circuit(), [Z(2)], sliced=1)
    given = inputs_of(job, len(mixed_circuit().weights), 1, 3)
    want = on_host(prepared(job, "einsum"), *given)
    monkeypatch.setattr(schedule, "GEMM_WORK", 8)
    monkeypatch.setattr(schedule, "GEMM_OUTPUTS", 4)
    for least in (1 << 22, 8):
        monkeypatch.setattr(cuda_executor, "CUBLAS_WORK", least)
        got = on_device(prepared(job, "cuda"), cupy, *given)
        np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.parametrize("sliced", [0, 2])
def test_chunks_add_up(cupy: ModuleType, sliced: int) -> None:
    job = job_of(grown(), [Z(3)], sliced=sliced)
    given = inputs_of(job, 32, 2, 64)
    roomy = prepared(job, "cuda")
    want = on_device(roomy, cupy, *given)
    tight = prepared(job, "cuda", memory=roomy.forecast(1, 20))
    np.testing.assert_allclose(on_device(tight, cupy, *given), want, atol=1e-12)
    assert any(chunk != whole for whole, chunk in tight.chunks.items())
    with pytest.raises(MemoryBudgetError, match="one sample needs"):
        on_device(prepared(job, "cuda", memory=1000), cupy, *given, forward=False)


@pytest.mark.parametrize("sliced", [0, 2])
def test_a_shortage_in_the_middle_leaves_nothing_half_added(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, sliced: int
) -> None:
    job = job_of(grown(), [Z(3)], sliced=sliced)
    given = inputs_of(job, 32, 1, 32)
    want = on_device(prepared(job, "cuda"), cupy, *given)
    tries, real = [0], CudaExecutor._sweep_slice

    def scarce(self: CudaExecutor, arena: Any, number: int) -> None:
        tries[0] += 1
        real(self, arena, number)
        if arena.layout.placement.sizes.samples > 8 and number == job.program.slices - 1:
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    monkeypatch.setattr(CudaExecutor, "_sweep_slice", scarce)
    got = on_device(prepared(job, "cuda"), cupy, *given)
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert tries[0] == (1 + 1 + 4) * job.program.slices  # 32 and 16 in vain, then four of 8


@pytest.mark.parametrize(("sliced", "every"), [(0, 11), (1, 97)])
def test_a_shortage_at_any_allocation_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, sliced: int, every: int
) -> None:
    cupy = make_cupy()
    install(cupy, monkeypatch.setitem)
    machine = cupy._standin.machine
    job = job_of(mixed_circuit(), [Z(2)], sliced=sliced)
    given = inputs_of(job, len(mixed_circuit().weights), 1, 20)
    want = on_device(prepared(job, "cuda"), cupy, *given)
    w, x, by = (cupy.asarray(a) for a in given)
    for at in count(1, every):
        executor, gradient = prepared(job, "cuda"), cupy.zeros(w.shape)
        executor.accumulate(w, x, cupy.zeros(by.shape))
        machine.fail_in = at
        executor.pull_back(w, x, by, gradient)
        over, machine.fail_in = machine.fail_in is not None, None
        np.testing.assert_allclose(gradient.get(), want, atol=1e-12)
        if over:  # it made fewer allocations
            break
    assert at > 2 * every


def test_a_shortage_for_one_sample_is_an_error(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(grown(), [Z(3)])

    def none(*_: Any) -> None:
        raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    monkeypatch.setattr(CudaExecutor, "_sweep_slice", none)
    with pytest.raises(MemoryBudgetError, match="one sample needs"):
        on_device(prepared(job, "cuda"), cupy, *inputs_of(job, 32, 1, 4))


# --- several devices


@pytest.mark.parametrize("sliced", [0, 2])
def test_the_number_of_devices_changes_no_bit(monkeypatch: pytest.MonkeyPatch, sliced: int) -> None:
    cupy = make_cupy(devices=3)
    install(cupy, monkeypatch.setitem)
    job = job_of(grown(), [Z(3)], sliced=sliced)
    given = inputs_of(job, 32, 1, 100)
    two, three = (prepared(job, "cuda", "float32", devices=x) for x in ([0, 1], [0, 1, 2]))
    found = on_device(two, cupy, *given)
    np.testing.assert_array_equal(on_device(three, cupy, *given), found)
    want = on_host(prepared(job, "cpu"), *given)
    np.testing.assert_allclose(found, want, atol=CLOSE["float32"] * abs(want).max())


def test_a_model_on_several_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    install(make_cupy(devices=2), monkeypatch.setitem)
    rng = np.random.default_rng(5)
    several = QNN(mixed_circuit(), [Z(2), X(1)], backend="cuda", devices=[0, 1], dtype="float64")
    cpu = QNN(mixed_circuit(), [Z(2), X(1)], backend="cpu", dtype="float64")
    (weights,), data = random_batch(rng, cpu, 1, 70)
    labels = rng.integers(2, size=70)
    got, want = (m.value_and_grad(weights, data, labels) for m in (several, cpu))
    assert got[0] == pytest.approx(want[0], abs=1e-12)
    np.testing.assert_allclose(got[1], want[1], atol=1e-11)
