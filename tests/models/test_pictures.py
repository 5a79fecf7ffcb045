"""Estimators that take pictures: several orders, wider bonds, a linear head, shifts."""

from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tn_qnn as tq
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models.assemble import Design, assemble
from tn_qnn.models.choices import ESTIMATORS, chosen_estimator
from tn_qnn.models.digits_model import wide_digits_classifier
from tn_qnn.models.estimators import QNNClassifier, QNNRegressor, load_estimator
from tn_qnn.models.head import LinearHead
from tn_qnn.train import SPSA
from tn_qnn.train.augment import Shifts
from tn_qnn.train.regularisation import L2

WIDE = {"bond_qubits": 2, "orders": ("row", "hilbert"), "head": "linear", "estimator": "exact"}


@pytest.fixture(scope="module")
def pictures():
    """Digits 0, 1 and 2, 4x4 pixels: X, X of a test, y, y of a test."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 3].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16), y[y < 3]
    return train_test_split(X, y, stratify=y, random_state=0)


def quick(**parameters):
    options = {"steps": 10, "batch_size": 16, "directions": 2, "learning_rate": 0.02}
    return QNNClassifier(**{**options, **WIDE, **parameters})


def test_pictures_are_learnt_by_trees_of_wider_bonds(pictures):
    X, Xt, y, yt = pictures
    model = quick(steps=150, batch_size=32, regularisation=1e-4, seed=1).fit(X, y)
    assert isinstance(model.model_, LinearHead) and len(model.model_.model.jobs) == 1
    # Two trees of seven 16x16 matrices, two 4x4 density matrices, three scores.
    assert model.model_.num_weights == 2 * 7 * 256 + 32 * 3 + 3
    assert model.score(Xt, yt) > 0.9
    scores = model.decision_function(Xt)
    exponentials = np.exp(10 * scores)
    np.testing.assert_allclose(
        model.predict_proba(Xt), exponentials / exponentials.sum(axis=1, keepdims=True)
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"estimator": "spsa", "schedule": "cosine"},
        {"bond_qubits": 1, "estimator": None, "orders": "z"},
        {"block": "unitary", "orders": ("random", "random"), "update": "sgd"},
        {"observables": [tq.parity([0, 1]), tq.X(0)], "block": "orthogonal"},
        {"ansatz": "matrix_product", "orders": ("snake",)},
        {"ansatz": "brickwork", "layers": 2, "bond_qubits": 1, "orders": None},
        {"block": tq.ansatz.orthogonal_block, "orders": ("row", "transposed")},
        {"retraction": "polar", "update": "amsgrad"},
        {"logit_scale": 3.0, "scale_together": False, "shifts": 2, "seed": 3},
    ],
    ids=str,
)
def test_what_is_saved_predicts_and_trains_to_the_same_bits(pictures, tmp_path, parameters):
    X, Xt, y, _ = pictures
    model = quick(**{"steps": 4, "shifts": 1, "regularisation": 0.01, **parameters}).fit(X, y)
    model.save(tmp_path)
    again = load_estimator(tmp_path)
    assert deepcopy(model).predict_proba(Xt).tobytes() == model.predict_proba(Xt).tobytes()
    assert again.predict_proba(Xt).tobytes() == model.predict_proba(Xt).tobytes()
    assert clone(again).fit(X, y).weights_.tobytes() == model.weights_.tobytes()


def test_a_killed_run_with_shifts_goes_on_to_the_same_bits(pictures, tmp_path):
    X, _, y, _ = pictures

    class Killed(BaseException):
        pass

    def kill(report):
        if report.row.step == 7:
            raise Killed

    options = {"shifts": 1, "checkpoint_every": 3, "seed": 5}
    straight = quick(**options).fit(X, y)
    with pytest.raises(Killed):
        quick(**options, checkpoint=tmp_path, callbacks=[kill]).fit(X, y)
    halfway = load_estimator(tmp_path)
    assert halfway.n_iter_ == 6 and halfway.shifts == 1
    resumed = halfway.fit(X, y, resume=True)
    assert resumed.weights_.tobytes() == straight.weights_.tobytes()
    with pytest.raises(CheckpointError, match="augment"):
        quick(checkpoint=tmp_path, seed=5, steps=12).fit(X, y, resume=True)


def test_two_classes_and_a_regression(pictures):
    X, Xt, y, yt = pictures
    two = quick(steps=60).fit(X[y < 2], y[y < 2])
    assert two.model_.num_outputs == 1 and two.score(Xt[yt < 2], yt[yt < 2]) > 0.95
    number = QNNRegressor(**WIDE, steps=100, learning_rate=0.02, scale_together=True)
    assert number.fit(X, X.mean(axis=1)).score(Xt, Xt.mean(axis=1)) > 0.8


def test_pixels_are_scaled_together_and_empty_ones_move_in(pictures):
    X, _, y, _ = pictures
    model = quick(steps=1, shifts=1, feature_range=(0.2, 1.0)).fit(X, y)
    angles = model.scaling_.apply(X)
    np.testing.assert_allclose(angles, 0.2 + 0.8 * X / X.max())
    assert model._augmentation(16) == Shifts((4, 4), 1, 0.2)
    assert model._regularisation() is None
    assert quick(regularisation=0.1)._regularisation() == L2(0.1)
    own = quick(steps=1, scale_together=False).fit(X, y).scaling_
    np.testing.assert_allclose(own.high, X.max(axis=0))


@pytest.mark.parametrize("num_features", [16, 49, 784])
def test_a_wide_tree_takes_any_number_of_pixels(num_features):
    design = Design(bond_qubits=2, orders=("row", "hilbert", "random"), head="linear", seed=2)
    circuits, (readout,) = assemble(design, num_features, 10)
    assert [c.num_qubits for c in circuits] == [num_features] * 3
    assert str(readout) == "rho(0,1)"
    for circuit in circuits:
        first = circuit.operations[:num_features]
        assert sorted(next(iter(op.params[0].features)) for op in first) == list(
            range(num_features)
        )
        # The order is in the features: qubits are those of the other circuits.
        others = [(op.gate, op.qubits) for op in circuits[0].operations]
        assert [(op.gate, op.qubits) for op in circuit.operations] == others
    assert len({name for c in circuits for name in c.weights}) == 3 * len(circuits[0].weights)


def test_a_circuit_of_ones_own_serves_every_order_with_the_same_weights():
    circuit = tq.Circuit(4).ry(tq.weight("a"), 0).cx(0, 1)
    design = Design(circuit, orders=("row", "transposed"), head="linear")
    circuits, readout = assemble(design, 4, 2)
    assert [c.weights for c in circuits] == [("a",), ("a",)] and str(readout[0]) == "rho(0)"
    assert circuits[0] != circuits[1]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_by_name_take_what_they_have(name):
    made = chosen_estimator(name, 0.03, 0.2, 5, "constant")
    assert (made.first_step, made.schedule) == (0.03, "constant")
    if name == "spsa":
        assert made == SPSA(c=0.2, directions=5, first_step=0.03, schedule="constant")


FAULTS = [
    ({"head": "quadratic"}, "head: one of linear or None"),
    ({"head": None}, "orders: 2 given, but nothing joins"),
    ({"orders": ("row", "spiral")}, "orders: one of row.*'spiral'"),
    ({"orders": ()}, "orders: at least one"),
    ({"encoding": tq.encodings.angle(16)}, "orders: .* encoding of your own"),
    ({"ansatz": [tq.Circuit(16).ry(tq.weight("a"), 0)] * 3, "bond_qubits": 1}, "orders: 2 given"),
    ({"ansatz": tq.Circuit(16).ry(tq.weight("a"), 0)}, "bond_qubits: 2 given together with"),
    ({"ansatz": "mera"}, "bond_qubits: 2 given, but this ansatz has none"),
    ({"ansatz": "brickwork", "bond_qubits": 1, "block": "so4"}, "block: .* has none"),
    ({"block": "so5"}, "block"),
    ({"block": "so4"}, "so4_block acts on two qubits"),
    ({"bond_qubits": 0}, "bond_qubits"),
    ({"shifts": 4}, "shifts: most: got 4, expected .* from 1 to 3"),
    ({"shifts": -1}, "shifts: most: got -1"),
    ({"regularisation": -1.0}, "regularisation: got strength -1.0"),
    ({"regularisation": 0.1, "head": None, "orders": None}, "regularisation: got 0.1 without"),
    ({"estimator": "newton"}, "estimator: one of spsa, .*exact.*'newton'"),
    ({"estimator": SPSA(), "schedule": "cosine"}, "schedule: 'cosine' given beside SPSA"),
    ({"retraction": "svd"}, "retraction: got 'svd'"),
    ({"retraction": "qr", "block": tq.ansatz.orthogonal_block}, "retraction: the model has no"),
    ({"schedule": "linear"}, "schedule: got 'linear'"),
]


@pytest.mark.parametrize(("parameters", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_what_is_wrong_is_named(pictures, parameters, message):
    X, _, y, _ = pictures
    with pytest.raises(InputError, match=message):
        quick(**parameters).fit(X, y)


def test_what_is_no_picture_is_named(pictures):
    X, _, y, _ = pictures
    for parameters in ({"orders": "z"}, {"orders": None, "shifts": 1}):
        with pytest.raises(InputError, match="15 features are not the pixels"):
            quick(**parameters).fit(X[:, 1:], y)


def test_the_wide_model_of_the_digits_learns_in_few_steps():
    X, y = load_digits(return_X_y=True)
    X, Xt, y, yt = train_test_split(X, y, stratify=y, random_state=0)
    model = wide_digits_classifier(steps=60, seed=0).fit(X, y)
    assert model.model_.num_weights == 4 * 31 * 256 + 64 * 10 + 10
    assert len(model.model_.model.jobs) == 1
    assert model.score(Xt, yt) > 0.6
