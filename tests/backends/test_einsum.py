"""The slow backend: opt_einsum along the plan's path, against plain numpy without a path."""

from typing import Any

import numpy as np
import pytest
from opt_einsum.backends import dispatch

from tn_qnn.backends import get_backend
from tn_qnn.backends.cuda import detect
from tn_qnn.backends.einsum import _linear_path
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import I, X, Z, density_matrix
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.models.qnn import QNN
from tn_qnn.plan.plan import linear_to_ssa
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import make_job

from ..circuits import (
    TOLERANCE,
    batches,
    checked_model,
    plan_for,
    random_batch,
    random_circuit,
    random_path,
    run_cones,
)


def test_paths_are_converted_back_and_forth() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 30):
        path = random_path(rng, n)
        linear = _linear_path(path, n)
        assert [set(p) for p in linear_to_ssa(linear, n)] == [set(p) for p in path]


def test_a_network_by_numpys_einsum_in_one_go() -> None:
    """No path, no labels as indices: one sample and one set, all tensors at once."""
    a, b, x = 0.4, 1.2, -0.9
    circuit = (
        Circuit(2).ry(feature(0), 0).cx(0, 1).rx(weight("a"), 1).ry(weight("b") * feature(0), 0)
    )
    (batch,) = batches(circuit, [X(0) @ Z(1)])
    network = batch.network
    arguments: list[object] = []
    for tensor in network.tensors:
        assert tensor.coefficients is not None
        values = tensor.coefficients[0]
        if len(tensor.coefficients) == 3:
            angle = batch.cones[0].elements[tensor.element].angle.evaluate({"a": a, "b": b}, [x])
            trig = [1, np.cos(angle), np.sin(angle)]
            values = np.tensordot(trig, tensor.coefficients, axes=1)
        arguments += [values, list(tensor.indices)]
    want = np.einsum(*arguments, list(network.output))
    got = run_cones(
        network, batch.cones, ("a", "b"), np.array([[a, b]]), np.array([[x]]), backend="einsum"
    )
    np.testing.assert_allclose(got.reshape(-1), want.reshape(-1), atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_of_the_dtype(dtype: str) -> None:
    circuit = Circuit(2).ry(feature(0), 0).cx(0, 1).rx(weight("a"), 1)
    for readout, kinds in ((Z(1), "f"), (density_matrix([1]), "c")):
        (batch,) = batches(circuit, [readout])
        values = run_cones(
            batch.network, batch.cones, ("a",), np.ones((2, 1)), np.ones((3, 1)),
            backend="einsum", dtype=dtype,
        )  # fmt: skip
        assert values.dtype.kind in kinds
        assert values.real.dtype == dtype


def test_values_have_one_axis_a_label() -> None:
    """P and S are 1 where nothing depends on them."""
    for circuit, shape in (
        (Circuit(1).ry(0.3, 0), (1, 1, 1, 1)),
        (Circuit(1).ry(weight("a"), 0), (1, 1, 2, 1)),
        (Circuit(1).ry(feature(0), 0), (1, 1, 1, 3)),
        (Circuit(1).ry(feature(0) * weight("a"), 0), (1, 1, 2, 3)),
    ):
        (batch,) = batches(circuit, [Z(0)])
        for backend in ("einsum", "cpu"):
            values = run_cones(
                batch.network, batch.cones, ("a",), np.ones((2, 1)), np.ones((3, 1)),
                backend=backend,
            )  # fmt: skip
            assert values.shape == shape


def test_forecast_bounds_what_it_holds() -> None:
    model = checked_model(Circuit(3).ry(feature(0), 0).cx(0, 1).cx(1, 2), [Z(2)], backend="einsum")
    (executor,) = model._prepared(False).executors
    assert executor.forecast(1, 1000) > 1000 * 8
    assert executor.forecast(1, 2000) > executor.forecast(1, 1000)


def test_equal_cones_are_stacked() -> None:
    circuit = Circuit(6)
    for q in range(6):
        circuit.ry(feature(q), q).rx(weight(f"a{q}"), q)
    (batch,) = batches(circuit, [Z(q) for q in range(6)])
    names = [f"a{q}" for q in range(6)]
    index = {name: k for k, name in enumerate(names)}
    job = make_job(compile_program(batch.network, plan_for(batch.network)), batch.cones, index)
    executor = get_backend("einsum").prepare(job, np.dtype("float64"), Budget())
    rng = np.random.default_rng(0)
    weights, X_ = rng.normal(size=(2, 6)), rng.normal(size=(3, 6))
    values = executor.run(weights, X_)
    assert values.shape == (1, 6, 2, 3)
    want = np.cos(X_.T)[:, None] * np.cos(weights.T)[:, :, None]
    np.testing.assert_allclose(values[0], want, atol=1e-14)


def test_batches_of_any_size_give_the_same_bits_row_by_row() -> None:
    model = checked_model(
        Circuit(2).ry(feature(0), 0).cx(0, 1).rx(weight("a"), 1), [Z(1)], backend="einsum"
    )
    weights, data = random_batch(np.random.default_rng(0), model, 3, 5)
    whole = model(weights, data)
    for i in range(3):
        np.testing.assert_allclose(model(weights[i], data), whole[i], atol=1e-15)


# --- CuPy's arrays --------------------------------------------------------------------------


@pytest.fixture(params=["stand-in", pytest.param("GPU", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy: the stand-in, and where there is a GPU also the module itself."""
    # opt_einsum keeps the functions of the first module that is called cupy.
    for name in ("_cached_funcs", "_has_einsum", "_has_tensordot"):
        kept = getattr(dispatch, name)
        mine = {k: v for k, v in kept.items() if "cupy" not in k}
        monkeypatch.setattr(dispatch, name, mine)
    return request.getfixturevalue("cupy") if request.param == "stand-in" else detect.require()


MODELS: dict[str, Any] = {
    "rotations": lambda: (
        Circuit(4).ry(feature(0), 0).cx(0, 1).rx(weight("a") * feature(1) + 0.2, 1).cz(1, 2)
        .ry(weight("b"), 2).rzz(weight("a") - weight("b") * weight("b"), 2, 3).rx(feature(2), 3),
        [X(0) @ Z(1) + 0.5 * Z(2), Z(1), Z(3)],
    ),
    "blocks": lambda: (
        Circuit(3).ry(feature(0), 0).block(unitary("A"), [0, 1]).block(orthogonal("B"), [1, 2]),
        [Z(0), X(1)],
    ),
    "density matrix": lambda: (
        Circuit(3).rx(feature(0), 0).rx(feature(1), 1).rx(weight("a"), 1).cx(1, 2),
        [density_matrix([0, 1]), density_matrix([2, 1])],
    ),
    "equal cones": lambda: (
        Circuit(3).ry(feature(0), 0).ry(feature(1), 1).ry(feature(2), 2),
        [Z(2), Z(0) + Z(1), -1.0 * Z(1) + I()],
    ),
    "constants": lambda: (Circuit(2).h(0).cx(0, 1), [Z(0) @ Z(1)]),
}  # fmt: skip


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_cupy_give_arrays_of_cupy(
    xp: Any, name: str, dtype: str, per_sample: bool
) -> None:
    model = QNN(*MODELS[name](), backend="einsum", search="greedy", dtype=dtype)
    rng = np.random.default_rng(1)
    X_ = rng.normal(size=(3, model.num_features))
    weights = rng.normal(size=(2, 3, model.num_weights) if per_sample else (2, model.num_weights))
    found = model(xp.asarray(weights), xp.asarray(X_))
    assert isinstance(found, xp.ndarray) and found.dtype == np.float64
    np.testing.assert_allclose(found.get(), model(weights, X_), atol=TOLERANCE[dtype])


def test_slices_on_cupy(xp: Any) -> None:
    circuit = random_circuit(np.random.default_rng(4), 4, 25)
    (batch,) = batches(circuit, [Z(0)])
    inner = sorted({i for t in batch.network.tensors for i in t.indices} - {*batch.network.output})
    plan = plan_for(batch.network, sliced=tuple(inner[:2]))
    index = {name: k for k, name in enumerate(circuit.weights)}
    job = make_job(compile_program(batch.network, plan), batch.cones, index)
    executor = get_backend("einsum").prepare(job, np.dtype("float64"), Budget())
    rng = np.random.default_rng(0)
    weights, data = rng.normal(size=(2, len(index))), rng.normal(size=(3, 3))
    assert job.program.slices == 4
    found = executor.run(xp.asarray(weights), xp.asarray(data))
    want = executor.run(weights, data)
    np.testing.assert_allclose(found.get(), want, atol=TOLERANCE["float64"])


@pytest.mark.parametrize("name", MODELS)
def test_a_second_call_sends_nothing_and_fetches_nothing(cupy: Any, name: str) -> None:
    model = QNN(*MODELS[name](), backend="einsum", search="greedy")
    weights, data = random_batch(np.random.default_rng(0), model, 2, 3)
    there = cupy.asarray(weights), cupy.asarray(data)
    counters = cupy._standin.machine.counters
    model(*there)
    before = counters.to_device, counters.to_host
    model(*there)
    assert (counters.to_device, counters.to_host) == before
