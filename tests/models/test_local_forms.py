"""Outputs with single gates turned: against the dense simulator, backends, parts, heads, memory."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit import ansatz
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.graphs import ring
from tn_qnn.circuit.observables import Observable, X, Y, Z, density_matrix, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.models import local_forms
from tn_qnn.models.head import LinearHead
from tn_qnn.models.qnn import QNN
from tn_qnn.train.parts import FrozenWithGradient
from tn_qnn.train.protocol import LocalOutputs

from ..circuits import check_job, checked_model, dense_outputs, random_circuit
from ..circuits import some_observables as readouts_of

Parts = list[LocalOutputs]
READOUTS: list[Observable] = [
    0.5 * X(1) @ Y(2) - Z(0) + 0.25, density_matrix([2, 0]), projector({1: 0}), Z(0)
]  # fmt: skip


def forms_model(circuit: Any, readouts: Any, **options: Any) -> QNN:
    """A model of which every paired program has passed the invariant checker."""
    model = checked_model(circuit, readouts, **options)
    for executor in model._local_forms.executors:
        check_job(executor.job)
    return model


def turned(model: Any, sets: int = 2, samples: int = 3, seed: int = 0) -> tuple[Any, ...]:
    """Weights, data, weight sets, outputs and all parts."""
    rng = np.random.default_rng(seed)
    weights, others = rng.normal(size=model.num_weights), rng.normal(size=(sets, model.num_weights))
    data = rng.normal(size=(samples, max(1, model.num_features)))
    outputs, parts = model.local_outputs(weights, data, others)
    return weights, data, others, outputs, list(parts)


def moves(parts: Parts, outputs: np.ndarray, num_weights: int) -> np.ndarray:
    """Changes (N, S, K, W) of the outputs, those of all occurrences of a weight added up."""
    sets = {part.outputs.shape[1] for part in parts} or {2}
    found = np.zeros((*sets, *outputs.shape, num_weights))
    for part in parts:
        changes = part.outputs - outputs[part.rows]
        for occurrence, column in zip(part.occurrences, part.weights, strict=True):
            found[:, part.rows, :, column] += changes[occurrence]
    return found


def dense(model: QNN, weights: np.ndarray, data: np.ndarray) -> np.ndarray:
    return dense_outputs(model.circuits, model.observables, model.weight_names, weights, data)


def one_by_one(model: QNN, weights: np.ndarray, data: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The same changes where each weight alone is another, by the dense simulator."""
    near = dense(model, weights, data)
    found = np.zeros((len(others), *near.shape, len(weights)))
    for n, k in np.ndindex(others.shape):
        moved = weights.copy()
        moved[k] = others[n, k]
        found[n, ..., k] = dense(model, moved, data) - near
    return found


def check_dense(model: QNN, samples: int = 3) -> np.ndarray:
    """For a model whose cones hold each weight once; returns the changes."""
    weights, data, others, outputs, parts = turned(model, samples=samples)
    np.testing.assert_allclose(outputs, dense(model, weights, data), atol=1e-11)
    found = moves(parts, outputs, len(weights))
    np.testing.assert_allclose(found, one_by_one(model, weights, data, others), atol=1e-11)
    return found


def check_derivative(model: QNN) -> None:
    """Small changes of all occurrences of a weight add up to its derivative."""
    rng = np.random.default_rng(1)
    weights, data = rng.normal(size=model.num_weights), rng.normal(size=(3, model.num_features))
    slopes = rng.normal(size=(3, model.num_outputs))
    _, gradient = model.pull_back(weights, data, lambda outputs, rows: slopes[rows])
    for k in range(model.num_weights):
        # alone, so that an angle of several weights turns by this one only
        ends = weights + 1e-5 * np.array([1.0, -1.0])[:, None] * np.eye(model.num_weights)[k]
        outputs, parts = model.local_outputs(weights, data, ends)
        plus, minus = moves(list(parts), outputs, model.num_weights)[..., k]
        slope = ((plus - minus) * slopes).sum() / 2e-5
        assert slope == pytest.approx(gradient[k], abs=1e-8)


@pytest.mark.parametrize("name", sorted(n for n, gate in GATES.items() if gate.parameters))
def test_every_gate_turned_by_any_angle(name: str) -> None:
    gate = GATES[name]
    n = max(2, gate.num_qubits)
    c = Circuit(n)
    for q in range(n):
        c.ry(weight(f"before{q}"), q).rz(feature(0) + 0.3 * q, q)
    angles = [1.3 * weight(f"w{k}") + 0.2 for k in range(len(gate.parameters))]
    c.append(name, list(range(n))[: gate.num_qubits][::-1], angles)
    for q in range(n):
        c.rx(0.7 * weight(f"behind{q}"), q)
    c.cx(0, n - 1)
    model = forms_model(c, [Z(0) @ X(n - 1), Y(0), Z(n - 1)])
    check_derivative(model)
    places = [f.parameter for f in gate.factors if f.parameter is not None]
    if len(set(places)) == len(places):
        own = [k for k, w in enumerate(model.weight_names) if w.startswith("w")]
        assert (
            np.all(np.abs(check_dense(model)[..., own]).max(axis=(0, 1, 2)) > 1e-3) or name == "u0"
        )


@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_every_readout(readout: Observable) -> None:
    c = Circuit(3)
    for q in range(3):
        c.rx(weight(f"a{q}") + feature(0), q).rz(weight(f"b{q}"), q)
    c.cx(0, 1).crx(weight("c"), 1, 2).rxx(weight("d"), 0, 2).u3(0.1, weight("e"), 0.3, 1)
    check_dense(forms_model(c, [readout]))


def test_equal_cones_with_shared_and_own_weights() -> None:
    """A weight that all cones share has an occurrence in each."""
    circuit = angle(6).compose(ansatz.brickwork(ring(6), 2))
    model = forms_model(circuit, [Z(q) for q in range(6)])
    assert len(model._local_forms.executors) < 6
    check_dense(model)
    shared = Circuit(4)
    for q in range(4):
        shared.ry(feature(0), q).rx(weight("a") * feature(q), q).ry(weight(f"b{q}"), q)
    model = forms_model(shared, [Z(q) for q in range(4)])
    weights, data, others, outputs, parts = turned(model)
    occurrences = sum(len(part.outputs) for part in parts)
    uses = sum(int((part.weights == 0).sum()) for part in parts)
    assert (occurrences, uses) == (8, 4)
    np.testing.assert_allclose(
        moves(parts, outputs, 5), one_by_one(model, weights, data, others), atol=1e-11
    )


def test_a_weight_in_several_gates_turns_them_one_at_a_time() -> None:
    model = forms_model(Circuit(1).ry(weight("a"), 0).ry(2.0 * weight("a"), 0), [Z(0)])
    outputs, parts = model.local_outputs([0.3], None, [[1.0]])
    found = np.concatenate([part.outputs for part in parts])
    assert np.isclose(outputs[0, 0], np.cos(0.9))
    np.testing.assert_allclose(np.sort(found[:, 0, 0, 0]), np.sort(np.cos([1.6, 2.3])), atol=1e-12)


def test_outputs_of_other_cones_keep_every_bit() -> None:
    model = forms_model(angle(6).compose(ansatz.tree(6)), [Z(0), Z(3), X(5)])
    *_, outputs, parts = turned(model)
    for part in parts:
        for occurrence, column in zip(part.occurrences, part.weights, strict=True):
            rest = ~model.credit[:, column]
            here = part.outputs[occurrence][..., rest]
            assert np.array_equal(here, np.broadcast_to(outputs[part.rows][:, rest], here.shape))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), qubits=st.integers(1, 4), gates=st.integers(1, 12))
def test_random_circuits(seed: int, qubits: int, gates: int) -> None:
    """Any angles: degrees above one, several weights, data; both backends, and derivatives."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits, gates, specials=0.0)
    models = [
        forms_model(circuit, readouts_of(qubits), backend=backend) for backend in ("cpu", "einsum")
    ]
    cpu, einsum = (turned(model, seed=seed)[-1] for model in models)
    for a, b in zip(cpu, einsum, strict=True):
        np.testing.assert_allclose(a.outputs, b.outputs, atol=1e-11)
        assert np.array_equal(a.weights, b.weights)
    if models[0].num_weights and models[0].num_features:
        check_derivative(models[0])


def test_single_precision() -> None:
    circuit = angle(6).compose(ansatz.brickwork(6, 3))
    single, double = (turned(QNN(circuit, READOUTS, dtype=d))[-1] for d in ("float32", "float64"))
    for a, b in zip(single, double, strict=True):
        assert a.outputs.dtype == np.float64
        np.testing.assert_allclose(a.outputs, b.outputs, atol=1e-5)


def test_without_weights_there_is_nothing_to_turn() -> None:
    model = forms_model(Circuit(2).ry(feature(0), 0).cx(0, 1), [Z(1)])
    assert turned(model)[-1] == []


# --- cut to size


def same(parts: Parts, others: Parts) -> None:
    """Equal changes whatever the cuts are."""

    def joined(some: Parts) -> dict[tuple[int, ...], np.ndarray]:
        found: dict[tuple[int, ...], list[np.ndarray]] = {}
        for part in some:
            for k in range(len(part.outputs)):
                columns = tuple(part.weights[part.occurrences == k].tolist())
                for row, values in enumerate(part.outputs[k].swapaxes(0, 1), part.rows.start):
                    found.setdefault((*columns, row), []).append(values)
        order = {key: np.sort(np.stack(values), axis=0) for key, values in found.items()}
        return dict(sorted(order.items()))

    a, b = joined(parts), joined(others)
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-12)


def six(**options: Any) -> QNN:
    return forms_model(
        angle(6).compose(ansatz.brickwork(ring(6), 2)), [Z(1), Z(3), X(5)], **options
    )


@pytest.mark.parametrize("numbers", [1, 50, 150])
def test_lots_change_nothing(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = turned(six())[-1]
    monkeypatch.setattr(local_forms, "MAX_NUMBERS", numbers)
    parts = turned(six())[-1]
    assert len(parts) > len(whole)
    same(whole, parts)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_samples_in_chunks(share: float) -> None:
    need = six(threads=1)._local_forms.forecast(400)
    model = six(threads=1, memory=int(share * need))
    assert model._local_forms.chunk(400) < 400
    parts = turned(model, samples=400)[-1]
    assert len({part.rows.start for part in parts}) > 1
    same(turned(six(), samples=400)[-1], parts)


@pytest.mark.parametrize(("share", "sliced"), [(0.8, False), (0.5, True)])
def test_values_worked_out_again_and_slices(share: float, sliced: bool) -> None:
    circuit = angle(8).compose(ansatz.brickwork(ring(8), 4))
    whole = QNN(circuit, [Z(0)], dtype="float64", search="greedy", threads=1)
    (executor,) = whole._local_forms.executors
    tight = forms_model(circuit, [Z(0)], threads=1, memory=int(share * executor.forecast(1, 1)))
    (other,) = tight._local_forms.executors
    programs = [e.job.program for e in (executor, other)]
    assert [program.slices > 1 for program in programs] == [False, sliced]
    steps = [len(program.all_stages[-1].steps) for program in programs]
    assert steps[0] < steps[1]
    same(turned(whole, samples=2)[-1], turned(tight, samples=2)[-1])


def test_too_little_memory() -> None:
    with pytest.raises(MemoryBudgetError, match="memory"):
        turned(six(memory=5000))
    model = six()
    small = local_forms.LocalForms(
        model._local_forms.executors, type(model.budget)(1000), model.backend.free_memory
    )
    with pytest.raises(MemoryBudgetError, match="for one sample, the budget is 1,000"):
        small.chunk(4)


def test_threads_change_no_bit() -> None:
    one, two = (turned(six(threads=k), samples=40)[-1] for k in (1, 2))
    assert all(np.array_equal(a.outputs, b.outputs) for a, b in zip(one, two, strict=True))


# --- models made of models


def test_a_part_turns_what_is_free() -> None:
    whole = six()
    weights, data, others, _, parts = turned(whole)
    free = np.arange(whole.num_weights) % 3 == 0
    part = whole.part(free, weights)
    found = list(part.local_outputs(weights[free], data, others[:, free])[1])
    frozen = FrozenWithGradient(whole, free, weights)
    again = list(frozen.local_outputs(weights[free], data, others[:, free])[1])
    outputs = whole(weights, data).astype(float)
    wanted = moves(parts, outputs, len(weights))[..., free]
    for some in (found, again):
        np.testing.assert_allclose(moves(some, outputs, free.sum()), wanted, atol=1e-11)
        assert all(np.isin(np.arange(len(p.outputs)), p.occurrences).all() for p in again)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_turns_its_own_weights_too(bias: bool) -> None:
    inner = QNN(angle(4).compose(ansatz.tree(4)), [Z(0), density_matrix([1])], dtype="float64")
    model = LinearHead(inner, 3, bias)
    weights, data, others, outputs, parts = turned(model)
    np.testing.assert_allclose(outputs, model(weights, data), atol=1e-12)
    used = sorted({k for part in parts for k in part.weights})
    assert used == np.flatnonzero(model.credit.any(axis=0)).tolist()
    for part in parts:
        for occurrence, column in zip(part.occurrences, part.weights, strict=True):
            if column < inner.num_weights:
                continue
            moved = np.stack([weights, weights])
            moved[:, column] = others[:, column]
            np.testing.assert_allclose(
                part.outputs[occurrence], model(moved, data)[:, part.rows], atol=1e-12
            )
    sums = moves(parts, outputs, model.num_weights)
    for n, k in np.ndindex(2, inner.num_weights):
        moved = weights.copy()
        moved[k] = others[n, k]
        change = model(moved, data) - outputs
        np.testing.assert_allclose(sums[n, ..., k], change, atol=1e-10)


def test_tensor_valued_weights_have_no_angle() -> None:
    circuit = Circuit(2).ry(weight("a"), 0).block(orthogonal("B"), [0, 1])
    model = QNN(circuit, [Z(1)], dtype="float64")
    with pytest.raises(InputError, match="tensor-valued weights have no angle"):
        turned(model)
    free = np.array([name == "a" for name in model.weight_names])
    check_frozen = model.part(free, np.full(len(free), 0.4))
    outputs, parts = check_frozen.local_outputs([0.4], None, [[1.3], [-0.2]])
    found = np.concatenate([part.outputs for part in parts])[0, :, 0]
    np.testing.assert_allclose(found, check_frozen([[1.3], [-0.2]])[:, 0], atol=1e-12)
    assert outputs.shape == (1, 1)


@pytest.mark.parametrize(
    ("weights", "X", "sets", "message"),
    [
        ([0.1], None, [[0.1]], "weights: shape"),
        ([0.1, np.nan], None, [[0.1, 0.2]], "weights: NaN"),
        ([[0.1, 0.2]], None, [[0.1, 0.2]], r"weights: shape \(2,\) expected"),
        ([0.1, 0.2], None, [[0.1]], "weights: shape"),
    ],
)
def test_bad_input(weights: Any, X: Any, sets: Any, message: str) -> None:
    model = QNN(Circuit(1).ry(weight("a"), 0).rx(weight("b"), 0), [Z(0)])
    with pytest.raises(InputError, match=message):
        model.local_outputs(weights, X, sets)


def test_a_part_whose_data_is_worked_out_beforehand() -> None:
    whole = QNN(angle(8).compose(ansatz.tree(8)), [Z(0)], dtype="float64")
    weights, data, others, _, parts = turned(whole)
    free = np.array([name.startswith("w.2") for name in whole.weight_names])
    found = whole.part(free, weights).kept(data)
    assert found is not None
    model, features = found
    outputs, some = model.local_outputs(weights[free], features, others[:, free])
    np.testing.assert_allclose(outputs, whole(weights, data), atol=1e-12)
    wanted = moves(parts, outputs, len(weights))[..., free]
    np.testing.assert_allclose(moves(list(some), outputs, free.sum()), wanted, atol=1e-11)
