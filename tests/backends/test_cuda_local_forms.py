"""Local forms on the GPU: those of the CPU; chunks, slices, devices."""

from types import ModuleType

import numpy as np
import pytest

from tn_qnn.backends import get_backend
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Y, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.models.qnn import QNN
from tn_qnn.network.pairs import paired
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import make_job
from tn_qnn.program.local_forms import with_local_forms

from ..circuits import batches, check_job, plan_for
from ..emulation.cupy_standin import install, make_cupy

CLOSE = {"float32": 1e-5, "float64": 1e-11}
READOUTS = [Z(2), X(1) @ Y(2) - 0.3 * Z(0) + 0.25, density_matrix([1, 3])]


@pytest.fixture
def cupy(either_cupy: ModuleType) -> ModuleType:
    """All that holds for the stand-in must hold on a GPU."""
    return either_cupy


def circuit() -> Circuit:
    c = Circuit(4)
    for q in range(4):
        c.ry(feature(0), q).rz(weight(f"a{q}"), q).rx(weight("b") * feature(0) + 0.1, q)
    return c.cx(0, 1).crx(weight("c"), 1, 2).rzz(weight("d"), 2, 3).ry(weight("a0"), 2)


def check_same(cuda: QNN, cpu: QNN, samples: int, close: float) -> None:
    rng = np.random.default_rng(0)
    weights, sets = rng.normal(size=cpu.num_weights), rng.normal(size=(2, cpu.num_weights))
    data = rng.normal(size=(samples, cpu.num_features))
    (out, parts), (wanted, others) = (m.local_outputs(weights, data, sets) for m in (cuda, cpu))
    np.testing.assert_allclose(out, wanted, atol=close)
    for a, b in zip(parts, others, strict=True):
        assert a.rows == b.rows and np.array_equal(a.weights, b.weights)
        np.testing.assert_allclose(a.outputs, b.outputs, atol=close)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_those_of_the_cpu(cupy: ModuleType, dtype: str) -> None:
    models = [QNN(circuit(), READOUTS, backend=b, dtype=dtype) for b in ("cuda", "cpu")]
    check_same(*models, samples=20, close=CLOSE[dtype])


def test_chunks_within_an_executor(cupy: ModuleType) -> None:
    cuda, cpu = (QNN(circuit(), READOUTS, backend=b, dtype="float64") for b in ("cuda", "cpu"))
    executor = cuda._local_forms.executors[-1]
    executor.ceiling = executor.forecast(1, 50) // 2  # type: ignore[attr-defined]
    check_same(cuda, cpu, samples=50, close=1e-11)
    assert max(sizes.samples for sizes in executor.arenas) < 50  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", range(3))
def test_slices(cupy: ModuleType, number: int) -> None:
    batch = batches(circuit(), READOUTS)[number]
    network = paired(batch.network)
    inner = sorted({i for t in network.tensors for i in t.indices} - set(network.output))
    program = with_local_forms(compile_program(network, plan_for(network, None, tuple(inner[:2]))))
    names = {name: k for k, name in enumerate(circuit().weights)}
    job = check_job(make_job(program, batch.cones, names))
    rng = np.random.default_rng(0)
    weights, data = rng.normal(size=(1, len(names))), rng.normal(size=(5, 1))
    cuda, cpu, einsum = (
        get_backend(name).prepare(job, np.dtype("float64"), Budget(1e9)).local_forms(weights, data)
        for name in ("cuda", "cpu", "einsum")
    )
    assert program.slices == 4 and len(cuda) == len(program.pairs) > 0
    for a, b, c in zip(cuda, cpu, einsum, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=1e-12)
        np.testing.assert_allclose(b, c[:, : b.shape[1], : b.shape[1]], atol=1e-12)


def test_of_several_devices_the_first_works(monkeypatch: pytest.MonkeyPatch) -> None:
    install(make_cupy(devices=2), monkeypatch.setitem)
    cpu = QNN(circuit(), READOUTS, backend="cpu", dtype="float64")
    cuda = QNN(circuit(), READOUTS, backend="cuda", dtype="float64", devices=[0, 1])
    check_same(cuda, cpu, samples=6, close=1e-11)
