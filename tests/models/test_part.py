"""A part of a model: the outputs and gradients of the whole, at the price of the part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit.ansatz import brickwork, matrix_product, tree
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.graphs import line
from tn_qnn.circuit.observables import Observable, Z
from tn_qnn.circuit.slots import weight
from tn_qnn.errors import InputError
from tn_qnn.models.qnn import QNN
from tn_qnn.network.labels import SETS
from tn_qnn.plan.partial import work_of
from tn_qnn.program.check import check_program
from tn_qnn.train.parts import layers, qubits, trainable_mask

from ..circuits import TOLERANCE, check_job, random_circuit, some_observables
from .part_cases import CASES, case, encoded, kept, some_mask


def outputs_of(
    model: QNN, mask: np.ndarray, weights: np.ndarray, X: np.ndarray, sets: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of whole and part for some sets of free weights."""
    moved = np.repeat(weights[None], sets, axis=0)
    moved[:, mask] += np.random.default_rng(1).normal(size=(sets, mask.sum()))
    return model(moved, X), model.part(mask, weights)(moved[:, mask], X)


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_before_and_after_the_fold_are_equal(name: str, dtype: str, backend: str) -> None:
    model, weights, X = case(name, dtype=dtype, backend=backend)
    for seed, share in ((0, 0.05), (1, 0.3), (2, 0.9)):
        whole, part = outputs_of(model, some_mask(model, seed, share), weights, X)
        assert part.dtype == dtype
        np.testing.assert_allclose(part, whole, atol=5 * TOLERANCE[dtype])


def random_part(rng: np.random.Generator) -> tuple[QNN, np.ndarray, np.ndarray, np.ndarray]:
    circuit = random_circuit(rng, int(rng.integers(1, 6)), int(rng.integers(1, 14)))
    observables = some_observables(circuit.num_qubits)
    if not circuit.weights:
        circuit.ry(weight("w0"), 0)
    model = QNN(circuit, observables, dtype="float64", search="greedy")
    weights = rng.normal(size=model.num_weights)
    X = rng.normal(size=(3, max(1, model.num_features)))
    return model, rng.random(model.num_weights) < 0.5, weights, X


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_parts_of_random_circuits(seed: int) -> None:
    model, mask, weights, X = random_part(np.random.default_rng(seed))
    whole, part = outputs_of(model, mask, weights, X)
    np.testing.assert_allclose(part, whole, atol=1e-10)
    for job in model.part(mask, weights).jobs:
        check_job(job)


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_from_kept_values_are_equal(name: str, dtype: str, backend: str) -> None:
    model, weights, X = case(name, dtype=dtype, backend=backend)
    for seed, share in ((0, 0.05), (1, 0.3), (2, 0.9)):
        mask = some_mask(model, seed, share)
        part = model.part(mask, weights)
        moved = np.random.default_rng(1).normal(size=(3, mask.sum()))
        still, features = kept(part, X)
        assert features.dtype == dtype and features.shape == (len(X), still.num_features)
        found = still(moved, features)
        np.testing.assert_allclose(found, part(moved, X), atol=5 * TOLERANCE[dtype])
        for job in still.jobs:
            check_job(job)


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_kept_values_of_random_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model, mask, weights, X = random_part(rng)
    part = model.part(mask, weights)
    moved = rng.normal(size=(2, mask.sum()))
    still, features = kept(part, X)
    np.testing.assert_allclose(still(moved, features), part(moved, X), atol=1e-10)
    for job in still.jobs:
        check_job(job)


def test_samples_are_worked_out_in_equal_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tn_qnn.models.keeping.ROWS", 4)
    model, weights, _ = case("trees")
    X = np.random.default_rng(0).normal(size=(13, 5))
    mask = trainable_mask(model, layers(-1))
    part = model.part(mask, weights)
    still, features = kept(part, X)
    np.testing.assert_allclose(still(weights[mask], features), model(weights, X), atol=1e-11)


def test_the_gain_and_the_memory_decide_whether_values_are_kept() -> None:
    model, weights, X = case("trees")
    last = model.part(trainable_mask(model, layers(-1)), weights)
    found = last.kept(X)
    assert found is not None
    outputs = found[0](weights[last.mask], found[1])
    np.testing.assert_allclose(outputs, last(weights[last.mask], X), atol=1e-11)
    # encodings alone: to read their values takes as long as to make them
    assert model.part(trainable_mask(model, layers(0)), weights).kept(X) is None
    short = QNN(*CASES["trees"], search="greedy", memory=200_000)
    part = short.part(last.mask, weights)
    assert part.kept(np.zeros((10, 5))) is not None
    assert part.kept(np.zeros((10_000, 5))) is None


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_whole(name: str) -> None:
    model, weights, X = case(name)
    mask = some_mask(model, 3)
    slopes = np.random.default_rng(2).normal(size=(len(X), model.num_outputs))
    whole = model.pull_back(weights, X, lambda out, rows: slopes[rows])
    part = model.part(mask, weights)
    for form, data in ((part, X), kept(part, X)):
        found = form.pull_back(weights[mask], data, lambda out, rows: slopes[rows])
        np.testing.assert_allclose(found[0], whole[0], atol=1e-11)
        np.testing.assert_allclose(found[1], whole[1][mask], atol=1e-10)
        for executor in form._gradients.executors:
            check_program(executor.job.program)


def test_weight_sets_a_sample() -> None:
    model, weights, X = case("shared")
    mask = np.array([True, False, True])
    moved = np.repeat(np.repeat(weights[None, None], 2, axis=0), len(X), axis=1)
    moved[..., mask] += np.random.default_rng(1).normal(size=(2, len(X), 2))
    part = model.part(mask, weights)
    for form, data in ((part, X), kept(part, X)):
        np.testing.assert_allclose(form(moved[..., mask], data), model(moved, X), atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_nothing_free_is_a_model_of_data_alone(name: str) -> None:
    model, weights, X = case(name)
    part = model.part(np.zeros(model.num_weights, dtype=bool), weights)
    assert (part.num_weights, part.weight_names) == (0, ())
    for form, data in ((part, X), kept(part, X)):
        found = form(np.zeros((2, 0)), data)
        np.testing.assert_allclose(found[1], model(weights, X), atol=1e-11)
        assert not any(SETS in s.labels for job in form.jobs for s in job.program.slots)
        outputs, gradient = form.pull_back(np.zeros(0), data, lambda out, rows: out)
        np.testing.assert_allclose(outputs, model(weights, X), atol=1e-11)
        assert gradient.shape == (0,)


def test_parts_are_sliced_where_they_do_not_fit() -> None:
    circuit, observables = encoded(brickwork(line(14), 10)), [Z(7)]
    options = {"dtype": "float64", "search": "greedy", "threads": 1}
    roomy = QNN(circuit, observables, **options)
    weights = np.random.default_rng(0).normal(size=roomy.num_weights)
    X = np.random.default_rng(1).normal(size=(2, 14))
    mask = trainable_mask(roomy, layers(2, 3, 4, 5))
    (executor,) = roomy.part(mask, weights)._prepared(False).executors
    tight = QNN(circuit, observables, memory=executor.forecast(1, 1) // 2, **options)
    part = tight.part(mask, weights)
    assert all(job.program.slices > 1 for job in part.jobs)
    np.testing.assert_allclose(part(weights[mask], X), roomy(weights, X), atol=1e-11)


def test_frozen_zeros_change_no_structure() -> None:
    """Programs are kept for other values of the same weights: none may be read off a value."""
    model, weights, X = case("shared")
    mask = np.array([False, True, False])
    zeros = np.where(mask, weights, 0.0)
    slots = [[job.program.slots for job in model.part(mask, w).jobs] for w in (weights, zeros)]
    assert slots[0] == slots[1]
    whole, part = outputs_of(model, mask, zeros, X)
    np.testing.assert_allclose(part, whole, atol=1e-11)


def test_a_part_of_a_part() -> None:
    model, weights, X = case("tree")
    outer = some_mask(model, 1, 0.5)
    inner = np.arange(outer.sum()) % 3 == 0
    both = np.zeros_like(outer)
    both[np.flatnonzero(outer)[inner]] = True
    once = model.part(both, weights)
    twice = model.part(outer, weights).part(inner, weights[outer])
    assert once.weight_names == twice.weight_names and once.signature == twice.signature
    assert np.array_equal(once(weights[both], X), twice(weights[both], X))


def test_what_the_trainer_asks_of_a_part() -> None:
    model, weights, _ = case("brickwork")
    mask = trainable_mask(model, layers(-1))
    part = model.part(mask, weights)
    assert part.weight_names == tuple(n for n in model.weight_names if n.startswith("w.2."))
    assert np.array_equal(part.credit, model.credit[:, mask])
    assert part.credit.any() and not part.credit.all()
    other = weights.copy()
    other[~mask] += 1.0
    signatures = {model.signature, part.signature, model.part(mask, other).signature}
    assert len(signatures) == 3
    other = weights.copy()
    other[mask] += 1.0
    assert model.part(mask, other).signature == part.signature


def test_blocks_of_a_part_are_those_that_are_free_as_a_whole() -> None:
    model, weights, _ = case("blocks")
    mask = trainable_mask(model, ["w.0.0[*", "w.1.0[3]"])
    assert mask.sum() == 17
    (group,) = model.part(mask, weights).blocks
    assert group.names == ("w.0.0",)


# --- what it costs


def varying(model: QNN) -> int:
    """Multiply-adds that every weight set costs anew."""
    return sum(
        len(b.cones) * work_of(b.network, b.path, model.sets, model.samples).varying
        for b in model.readouts.batches
        if b.path is not None
    )


def whole_work(model: QNN) -> int:
    everything = np.ones(model.num_weights, dtype=bool)
    return varying(model.part(everything, np.zeros(model.num_weights)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_a_part_is_never_dearer_than_the_whole(name: str, share: float) -> None:
    model, weights, _ = case(name, search="fast")
    part = model.part(some_mask(model, 5, share), weights)
    assert varying(part) <= whole_work(model)


@pytest.mark.parametrize(
    ("circuit", "observables", "selection", "most"),
    [
        (encoded(tree(64)), [Z(0)], layers(-1), 0.02),
        (encoded(tree(64)), [Z(0)], "w.2.3.*", 0.05),
        (encoded(matrix_product(32)), [Z(31)], "w.0.30.*", 0.05),
        (encoded(matrix_product(32)), [Z(31)], "w.0.12.*", 0.1),
        (encoded(brickwork(line(24), 4)), [Z(q) for q in range(24)], qubits([11]), 0.4),
        (encoded(brickwork(line(24), 4)), [Z(q) for q in range(24)], "w.0.3.0", 0.25),
    ],
)
def test_a_small_part_costs_little(
    circuit: Circuit, observables: list[Observable], selection: object, most: float
) -> None:
    model = QNN(circuit, observables)
    part = model.part(trainable_mask(model, selection), np.zeros(model.num_weights))
    assert 0 < varying(part) < most * whole_work(model)


def test_equal_cones_stay_equal_where_the_same_is_free() -> None:
    model, weights, _ = case("trees")
    part = model.part(trainable_mask(model, "class*.1.*"), weights)
    assert [len(b.cones) for b in part.readouts.batches] == [3]


def test_still_cones_are_set_apart() -> None:
    model, weights, _ = case("trees")
    part = model.part(trainable_mask(model, "class1.*"), weights)
    assert [len(b.cones) for b in part.readouts.batches] == [2, 1]
    still = part.readouts.batches[0].network
    assert not any(SETS in tensor.labels for tensor in still.tensors)


def test_structures_of_the_last_parts_are_kept() -> None:
    model, weights, _ = case("tree")
    masks = [some_mask(model, seed) for seed in range(20)]
    first = [model.part(mask, weights).readouts.batches for mask in masks]
    again = [model.part(mask, weights + 1.0).readouts.batches for mask in masks[::-1]]
    kept = [a is b for a, b in zip(first, again[::-1], strict=True)]
    assert kept == [False] * 4 + [True] * 16


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        ([True], "mask: bool of shape"),
        (np.ones(42, dtype=int), "mask: bool of shape"),
        ("w.0.0", "mask: bool of shape"),
    ],
)
def test_masks_that_do_not_fit(mask: object, match: str) -> None:
    model, weights, _ = case("tree")
    with pytest.raises(InputError, match=match):
        model.part(mask, weights)


@pytest.mark.parametrize("weights", [np.zeros(3), np.full(42, np.nan), "zero"])
def test_weights_that_do_not_fit(weights: object) -> None:
    model, _, _ = case("tree")
    with pytest.raises(InputError, match="weights: "):
        model.part(np.ones(model.num_weights, dtype=bool), weights)
