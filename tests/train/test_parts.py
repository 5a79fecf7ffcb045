"""Which weights a selection means, and training with the others frozen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn import QNN, Circuit, Z, weight
from tn_qnn.circuit.ansatz import brickwork, orthogonal_block, tree
from tn_qnn.circuit.graphs import line
from tn_qnn.errors import InputError
from tn_qnn.train import (
    SGD,
    SPSA,
    Adam,
    AMSGrad,
    Blocking,
    ExactGradient,
    LocalSPSA,
    Momentum,
    Trainer,
)
from tn_qnn.train.parts import (
    Frozen,
    gates,
    layers,
    part_of,
    qubits,
    trainable_mask,
    weight_layers,
    weight_places,
)

TREES = QNN([tree(4, prefix=p) for p in ("a", "b")], [Z(0)])
BRICKS = QNN(brickwork(line(4), 2, ("ry", "rz")), [Z(q) for q in range(4)])
BLOCK = QNN(tree(4, orthogonal_block), [Z(0)])


def names(model, selection):
    mask = trainable_mask(model, selection)
    return [name for name, free in zip(model.weight_names, mask, strict=True) if free]


@pytest.mark.parametrize(
    ("model", "selection", "expected"),
    [
        (BRICKS, "w.0.1.0", ["w.0.1.0"]),
        (BRICKS, "w.1.[0-9]*", None),
        (BRICKS, "w.?.2.*", ["w.0.2.0", "w.0.2.1", "w.1.2.0", "w.1.2.1"]),
        (BRICKS, ["w.0.0.0", "w.1.3.*"], ["w.0.0.0", "w.1.3.0", "w.1.3.1"]),
        (BRICKS, gates("rz"), [f"w.{layer}.{q}.1" for layer in range(2) for q in range(4)]),
        (BRICKS, qubits([3]), ["w.0.3.0", "w.0.3.1", "w.1.3.0", "w.1.3.1"]),
        (BRICKS, [qubits([0]), gates("ry")], None),
        (TREES, "a.1.0.[!0]", None),
        (TREES, layers(-1), [f"{p}.1.0.{k}" for p in "ab" for k in range(6)]),
        (TREES, layers(1), [f"{p}.1.0.{k}" for p in "ab" for k in range(6)]),
        (TREES, ["a.0.1.*", layers(-1)], None),
        (BLOCK, "w.0.1[2]", ["w.0.1[2]"]),
        (BLOCK, "w.0.1*", [f"w.0.1[{k}]" for k in range(6)]),
        (BLOCK, gates("block"), list(BLOCK.weight_names)),
        (BLOCK, layers(1), [f"w.1.0[{k}]" for k in range(6)]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_a_selection_means(model, selection, expected):
    if expected is None:  # told by the parts, or that brackets mean themselves
        if isinstance(selection, str):
            with pytest.raises(InputError, match="name of no weight"):
                trainable_mask(model, selection)
            return
        either = np.any([trainable_mask(model, one) for one in selection], axis=0)
        assert np.array_equal(trainable_mask(model, selection), either)
        assert either.sum() > trainable_mask(model, selection[0]).sum()
        return
    assert names(model, selection) == expected


def test_a_gate_on_two_qubits_belongs_to_both():
    model = QNN(Circuit(3).rxx(weight("a"), 0, 1).ry(weight("b"), 2), [Z(0), Z(2)])
    assert names(model, qubits([0])) == names(model, qubits([1])) == ["a"]


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_masks_are_taken_as_they_are(kind):
    mask = [k % 3 == 0 for k in range(16)]
    assert trainable_mask(BRICKS, kind(mask)).tolist() == mask


def test_layers_of_circuits_of_different_depth():
    model = QNN([tree(4, "rxx", prefix="a"), tree(8, "rxx", prefix="b")], [Z(0)])
    assert names(model, layers(-1)) == ["a.1.0.0", "b.2.0.0"]
    assert names(model, layers(2)) == ["b.2.0.0"]
    assert names(model, layers(-3)) == [f"b.0.{k}.0" for k in range(4)]


def test_layers_and_places_of_names():
    given = ["w.0.3-4.1", "c.1.u.2.0", "head[0,1]", "head.bias[3]", "w.2", "a.b.7.1", "x"]
    assert weight_layers(given) == [
        ("w", 0), ("c", 1), None, None, ("w", 2), ("a.b", 7), None
    ]  # fmt: skip
    assert weight_places(given) == ["0.3-4", "1.u.2", "head", "head.bias", "2", "7", "x"]


@pytest.mark.parametrize(
    ("model", "selection", "match"),
    [
        (BRICKS, np.ones(3, dtype=bool), r"got bool of shape \(3,\), expected a mask.*\(16,\)"),
        (BRICKS, np.ones(16), "got float64 of shape"),
        (BRICKS, 3, "got int64 of shape"),
        (BRICKS, "w.9.*", "'w.9.*', which is the name of no weight"),
        (BRICKS, ["w.0.*", "nothing"], "'nothing', which is the name of no weight"),
        (BRICKS, layers(2), r"layers\(2\), but 2 has no weights; .*layers 0 to 1"),
        (BRICKS, layers(0, -3), "-3 has no weights"),
        (BRICKS, gates("rx"), "'rx' has no weights; .*gates ry, rz"),
        (BRICKS, qubits([1, 7]), "7 has no weights; .*qubits up to 3"),
        (BRICKS, np.zeros(16, dtype=bool), "an empty set of weights"),
        (BRICKS, [], "an empty set of weights"),
        (QNN(Circuit(1).ry(weight("theta"), 0), [Z(0)]), layers(0), "no weight has a layer"),
        (CosineModel(CHAIN), gates("ry"), "CosineModel does not tell its gates"),
    ],
    ids=str,
)
def test_selections_that_mean_nothing(model, selection, match):
    with pytest.raises(InputError, match="trainable: .*" + match):
        trainable_mask(model, selection)


@pytest.mark.parametrize(
    "make", [lambda: layers(), lambda: layers(True), lambda: gates(1), lambda: qubits(["a"])]
)
def test_selectors_that_are_not_legal(make):
    with pytest.raises(InputError, match="at least one"):
        make()


def test_weights_that_no_output_depends_on_are_warned_of():
    model = QNN(Circuit(2).ry(weight("a"), 0).ry(weight("b"), 1), [Z(0)])
    with pytest.warns(UserWarning, match="no output depends on any of the weights b"):
        trainable_mask(model, "b")
    with warnings.catch_warnings():
        trainable_mask(model, ["a", "b"])


# --- a model without parts of its own


def test_frozen_weights_are_put_in():
    model = CosineModel(CHAIN)
    weights, (X, _) = np.arange(5.0), samples(6)
    mask = np.array([True, False, True, False, False])
    part = part_of(model, mask, weights)
    assert part.weight_names == ("w0", "w2") and part.num_features == 2
    assert np.array_equal(part.credit, model.credit[:, mask])
    moved = np.random.default_rng(0).normal(size=(3, 6, 2))
    full = np.broadcast_to(weights, (3, 6, 5)).copy()
    full[..., mask] = moved
    for pick in (lambda w: w, lambda w: w[:, 0], lambda w: w[0, 0]):
        assert np.array_equal(part(pick(moved), X), model(pick(full), X))
    assert part_of(model, np.ones(5, dtype=bool), weights) is model
    signatures = {model.signature, part.signature, Frozen(model, mask, weights + 1).signature}
    assert len(signatures) == 3


def test_gradients_of_frozen_models():
    model, weights, (X, _) = CosineModel(CHAIN), np.arange(5.0), samples(6)
    mask = np.array([False, True, True, False, False])
    part = part_of(model, mask, weights)
    slope = np.random.default_rng(0).normal(size=(6, 3))
    found = part.pull_back(weights[mask], X, lambda outputs, rows: slope[rows])
    whole = model.pull_back(weights, X, lambda outputs, rows: slope[rows])
    assert np.array_equal(found[0], whole[0]) and np.array_equal(found[1], whole[1][mask])
    assert not hasattr(part_of(WithoutGradient(), mask[:2], weights[:2]), "pull_back")


class WithoutGradient:
    weight_names, num_weights, num_outputs = ("w0", "w1"), 2, 1
    credit, signature = np.ones((1, 2), dtype=bool), "none"

    def __call__(self, weights, X):
        return weights[..., None, :1] + X[:, :1]


# --- training


def fit(model, X, y, *, loss="cross_entropy", estimator=None, update="adam", **options):
    settings = {"steps": 12, "batch_size": 8, "weights": "uniform", "progress": False}
    trainer = Trainer(model, loss, estimator, update, seed=3)
    return trainer.fit(X, y, **settings | options)


@pytest.mark.parametrize("update", [SGD(), Momentum(), Adam(), AMSGrad(), Blocking()], ids=repr)
def test_only_what_is_free_moves(update):
    model = CosineModel(BLOCKS)
    X, y = samples(16, classes=4)
    mask = np.arange(12) % 3 == 1
    first = fit(model, X, y, steps=1, trainable=~mask).weights[mask]
    result = fit(model, X, y, update=update, trainable=mask)
    assert np.array_equal(result.weights[~mask], fit(model, X, y, trainable=mask).weights[~mask])
    assert not np.isclose(result.weights[mask], first).any()


@pytest.mark.parametrize("estimator", [SPSA(directions=2), LocalSPSA(), ExactGradient()], ids=repr)
def test_a_part_is_trained_as_a_model_of_its_own(estimator):
    """The same bits as training a circuit whose other weights are numbers; no trace of the rest."""
    circuit = brickwork(line(4), 2)
    model = QNN(circuit, [Z(q) for q in range(4)], dtype="float64")
    part = fit(model, None, None, loss=half, estimator=estimator, trainable="w.1.*")
    named = dict(zip(model.weight_names, part.weights.tolist(), strict=True))
    frozen = {name: value for name, value in named.items() if name.startswith("w.0.")}
    alone = QNN(circuit.bind(frozen), [Z(q) for q in range(4)], dtype="float64")
    start = np.array([named[name] for name in model.weight_names])
    start[4:] = fit(model, None, None, loss=half, steps=1, trainable="w.0.*").weights[4:]
    expected = fit(alone, None, None, loss=half, estimator=estimator, weights=start[4:])
    np.testing.assert_allclose(part.weights[4:], expected.weights, atol=1e-9)
    assert part.evaluations == expected.evaluations


def half(outputs, y):
    return ((outputs - 0.5) ** 2).sum(axis=-1)


def test_everything_free_is_the_same_as_no_part():
    model = CosineModel(CHAIN)
    X, y = samples(16)
    plain = fit(model, X, y)
    part = fit(model, X, y, trainable="w*")
    assert plain.weights.tobytes() == part.weights.tobytes()
    assert plain.history["loss"].tobytes() == part.history["loss"].tobytes()


def test_the_first_step_is_calibrated_for_the_part():
    """A weight's mean change in the first step is as asked for, however few weights are free."""
    model = CosineModel(BLOCKS)
    X, y = samples(200, classes=4)
    spsa = SPSA(first_step=0.05, directions=64, calibration=20)
    mask = np.arange(12) == 4
    options = {"batch_size": 200, "update": "sgd", "estimator": spsa, "trainable": mask}
    before = fit(model, X, y, steps=1, trainable=~mask).weights[4]
    after = fit(model, X, y, steps=1, **options).weights[4]
    assert abs(after - before) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize(
    ("trainable", "match"),
    [("nothing", "name of no weight"), (np.ones(3, dtype=bool), "shape"), ([], "empty set")],
)
def test_errors_come_before_any_work(trainable, match, tmp_path):
    model = CosineModel(CHAIN)
    X, y = samples(16)
    with pytest.raises(InputError, match=match):
        fit(model, X, y, trainable=trainable, checkpoint=tmp_path / "run")
    assert not model.calls and not (tmp_path / "run").exists()
