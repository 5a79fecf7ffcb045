"""The linear head: outputs, credit and gradients against the dense simulator and differences."""

import json

import numpy as np
import pytest

import tn_qnn as tq
from tn_qnn import dense
from tn_qnn.circuit.observables import pack_density
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models.gradients import Gradients
from tn_qnn.models.head import LinearHead
from tn_qnn.models.model_file import load_model, read_model, save_model
from tn_qnn.train import SPSA, Trainer
from tn_qnn.train.exact import ExactGradient, loss_and_gradient
from tn_qnn.train.inputs import Data, starting_weights
from tn_qnn.train.losses import get_loss
from tn_qnn.train.parts import part_of
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.regularisation import L2

TOP = tq.density_matrix([0, 1])
SIDE = tq.parity([0, 2])
RNG = np.random.default_rng(7)


def views(orders=((0, 1, 2, 3), (2, 0, 3, 1))):
    """Circuits on four features, each with weights of its own."""
    first = [tq.encodings.angle(4, scale=1.0, features=order) for order in orders]
    trained = [
        tq.ansatz.tree(4, prefix=f"v{k}").compose(tq.Circuit(4).rx(tq.weight(f"x{k}"), 0))
        for k in range(len(orders))
    ]
    return [a.compose(b) for a, b in zip(first, trained, strict=True)]


def head(num_outputs=3, bias=True, observables=(TOP, SIDE), **options):
    return LinearHead(tq.QNN(views(), list(observables), **options), num_outputs, bias)


def dense_inputs(weights, X):
    """What the circuits give, by the dense simulator."""
    rows = []
    for x in X:
        row = []
        for circuit in views():
            rho = dense.expectation(circuit, TOP, weights, x)
            row += [*pack_density(rho), dense.expectation(circuit, SIDE, weights, x)]
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def X():
    return RNG.uniform(0, 2, size=(5, 4))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_linear_in_what_is_read_out(X, bias, dtype):
    model = head(bias=bias, dtype=dtype)
    weights = RNG.normal(size=model.num_weights)
    named = dict(zip(model.weight_names, weights, strict=True))
    matrix = [[named[f"head[{j},{k}]"] for k in range(3)] for j in range(34)]
    expected = dense_inputs(named, X) @ matrix
    if bias:
        expected += [named[f"head.bias[{k}]"] for k in range(3)]
    found = model(weights, X)
    assert found.shape == (5, 3) and found.dtype == float and model.num_inputs == 34
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 1e-10)
    assert (model(named, X) == found).all()


@pytest.mark.parametrize("bias", [True, False])
def test_stacks_of_weights(X, bias):
    model = head(bias=bias, dtype="float64")
    sets = RNG.normal(size=(2, len(X), model.num_weights))
    shared = model(sets[:, 0], X)
    assert shared.shape == (2, 5, 3)
    for p in range(2):
        np.testing.assert_allclose(shared[p], model(sets[p, 0], X), atol=1e-12)
    own = model(sets, X)
    for p, s in np.ndindex(2, 5):
        np.testing.assert_allclose(own[p, s], model(sets[p, s], X[s : s + 1])[0], atol=1e-12)


def test_credit_is_what_outputs_depend_on(X):
    model = head(dtype="float64")
    weights = RNG.normal(size=model.num_weights)
    base = model(weights, X)
    moved = weights + 0.3 * np.eye(model.num_weights)
    changed = np.abs(model(moved, X) - base).max(axis=1).T > 1e-9
    assert model.credit.shape == changed.shape and not (changed & ~model.credit).any()
    own = [name.startswith("head") for name in model.weight_names]
    # Of a real network the imaginary parts are zero; this one is complex.
    assert (changed[:, own] == model.credit[:, own]).all()
    assert model.credit[:, own].sum() == 3 * 34 + 3


@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", "mse"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient_is_that_of_finite_differences(X, loss, bias):
    model = head(bias=bias, dtype="float64")
    weights = RNG.normal(size=model.num_weights)
    y = RNG.normal(size=(5, 3)) if loss == "mse" else np.arange(5) % 3
    share = RNG.uniform(0.5, 2.0, size=5)
    value, gradient = model.value_and_grad(weights, X, y, loss, share)

    def total(sets):
        outputs = model(sets, X)
        return np.array([(get_loss(loss).value(one, y) * share).mean() for one in outputs])

    step = 1e-5 * np.eye(model.num_weights)
    differences = (total(weights + step) - total(weights - step)) / 2e-5
    assert value == pytest.approx(total(weights[None])[0])
    np.testing.assert_allclose(gradient, differences, atol=1e-7)


def test_float32_and_chunks_change_the_gradient_by_rounding_alone(X, monkeypatch):
    y = np.arange(5) % 3
    exact = head(dtype="float64")
    weights = RNG.normal(size=exact.num_weights)
    value, gradient = exact.value_and_grad(weights, X, y)
    single = head().value_and_grad(weights, X, y)
    assert single[0] == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(single[1], gradient, atol=1e-4)
    calls = []
    monkeypatch.setattr(Gradients, "chunk", lambda self, sets, samples: 2)
    found = exact.pull_back(weights, X, lambda out, rows: calls.append(rows) or out * 0 + 1.0)
    assert [(rows.start, rows.stop) for rows in calls] == [(0, 2), (2, 4), (4, 5)]
    monkeypatch.undo()
    whole = exact.pull_back(weights, X, lambda out, rows: np.ones_like(out))
    np.testing.assert_allclose(found[0], whole[0], atol=1e-12)
    np.testing.assert_allclose(found[1], whole[1], atol=1e-12)


def masks():
    """Free: the first circuit; no network weight; a network weight and a head weight; the bias."""
    names = head().weight_names
    return {
        "a circuit and the head": [not name.startswith(("v1", "x1")) for name in names],
        "the head alone": [name.startswith("head") for name in names],
        "one of each": [name in ("v0.1.0.1", "head[3,1]") for name in names],
        "all but the bias": [not name.startswith("head.bias") for name in names],
        "the bias": [name.startswith("head.bias") for name in names],
    }


@pytest.mark.parametrize("free", masks())
def test_a_part_gives_what_the_whole_does(X, free):
    model, mask = head(dtype="float64"), np.array(masks()[free])
    weights = RNG.normal(size=model.num_weights)
    part = part_of(model, mask, weights)
    assert part.weight_names == tuple(np.array(model.weight_names)[mask])
    assert (part.credit == model.credit[:, mask]).all()
    moved = np.where(mask, RNG.normal(size=model.num_weights), weights)
    np.testing.assert_allclose(part(moved[mask], X), model(moved, X), atol=1e-12)
    found, expected = (
        loss_and_gradient(one, get_loss("cross_entropy"), w, X, np.arange(5) % 3)
        for one, w in ((part, moved[mask]), (model, moved))
    )
    assert found[0] == pytest.approx(expected[0])
    np.testing.assert_allclose(found[1], expected[1][mask], atol=1e-10)


def test_initial_weights_are_keyed_and_the_head_is_small():
    model = head()
    first, again, other = (model.initial_weights("uniform", seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other)[: -model.num_outputs].all()
    assert (first[-3:] == 0).all() and abs(first[model.model.num_weights :]).max() < 0.5
    assert (first[: model.model.num_weights] == starting_weights(model.model, "uniform", 1)).all()


def test_every_estimator_sees_the_same_penalty(X):
    model = head(dtype="float64")
    weights = RNG.normal(size=model.num_weights)
    y = np.arange(5) % 3
    for estimator in (SPSA(), ExactGradient()):
        both = [
            Trainer(model, estimator=estimator, regularisation=penalty)
            for penalty in (None, L2(0.7))
        ]
        plain, bound = (recipe_of(trainer, X, y).estimate(weights, 1, 2) for trainer in both)
        own = np.array([name.startswith("head[") for name in model.weight_names])
        np.testing.assert_allclose(bound.gradient - plain.gradient, 0.7 * own * weights)
        assert bound.loss - plain.loss == pytest.approx(0.35 * (weights[own] ** 2).sum())
        assert bound.evaluations == plain.evaluations


def recipe_of(trainer, X, y):
    parts = trainer.model, trainer.loss, trainer.estimator, trainer.update, 0
    return Recipe(*parts, Data(X, y), 5, regularisation=trainer.regularisation)


def test_a_head_learns_and_a_run_goes_on_to_the_same_bits(tmp_path):
    X = np.random.default_rng(1).uniform(0, 1.5, size=(60, 4))
    y = (X[:, 0] > X[:, 3]).astype(int) + (X[:, 1] > 1.0)
    model = head(observables=[TOP])
    trainer = Trainer(model, estimator=ExactGradient(a=0.05, schedule="constant"), seed=3,
                      regularisation=L2(1e-4))  # fmt: skip
    result = trainer.fit(X, y, steps=120, batch_size=30, weights="uniform", progress=False)
    assert trainer.evaluate(result.weights, X, y)[1] > 0.9
    half = {"batch_size": 30, "weights": "uniform", "progress": False, "checkpoint": tmp_path}
    trainer.fit(X, y, steps=50, **half)
    with pytest.raises(CheckpointError, match="regularisation"):
        Trainer(model, estimator=trainer.estimator, seed=3).fit(X, y, resume=True, **half)
    again = trainer.fit(X, y, steps=120, resume=True, **half)
    assert again.weights.tobytes() == result.weights.tobytes()


@pytest.mark.parametrize("bias", [True, False])
def test_a_saved_head_gives_the_same_bits(tmp_path, X, bias):
    model = head(bias=bias)
    weights = RNG.normal(size=model.num_weights)
    save_model(tmp_path, model, dict(zip(model.weight_names, weights, strict=True)))
    loaded, same = load_model(tmp_path)
    assert isinstance(loaded, LinearHead) and loaded.signature == model.signature
    assert loaded(same, X).tobytes() == model(weights, X).tobytes()
    other, _ = load_model(tmp_path, backend="einsum")
    np.testing.assert_allclose(other(same, X), model(weights, X), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": 0}, "outputs: a whole number"),
        ({"bias": 1}, "bias: True or False"),
        ({"outputs": 4}, "not those that were saved"),
        ({"bias": False}, "not those that were saved"),
    ],
)
def test_a_spoiled_head_is_named(tmp_path, change, message):
    save_model(tmp_path, head(), np.zeros(head().num_weights))
    content = json.loads((tmp_path / "model.json").read_text())
    content["model"]["head"] |= change
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        read_model(tmp_path)


def test_signatures_tell_heads_apart():
    found = {head(), head(2), head(bias=False), head(dtype="float64"), head().model}
    assert len({model.signature for model in found}) == 5


def named(name):
    return tq.QNN(tq.Circuit(1).ry(tq.weight(name), 0), [tq.Z(0)])


FAULTS = [
    (lambda model, X: LinearHead(model.model, 0), "num_outputs: got 0"),
    (lambda model, X: LinearHead(model.model, 2, bias=1), "bias: True or False"),
    (lambda model, X: LinearHead(model, 2), "model: a QNN expected, not LinearHead"),
    (lambda model, X: LinearHead(named("head[0,0]"), 2), "'head.0,0.' is named as those of a head"),
    (lambda model, X: LinearHead(named("head.bias[7]"), 2), "named as those of a head"),
    (lambda model, X: model(np.zeros(model.num_weights), 5), "X: shape"),
    (lambda model, X: model(np.zeros(3), X), "weights: shape .*expected, not"),
    (lambda model, X: model(np.full(model.num_weights, np.nan), X), "weights: NaN"),
    (lambda model, X: model(np.zeros((2, 3, model.num_weights)), X), "3 samples in the weights"),
    (lambda model, X: model(np.zeros(model.num_weights), X[:, :3]), "X: shape"),
    (lambda model, X: model({"a": 1.0}, X), "unknown names a,"),
    (lambda model, X: model.value_and_grad(np.zeros((2, model.num_weights)), X, [0] * 5), "weight"),
    (lambda model, X: model.value_and_grad(np.zeros(model.num_weights), X, [0]), "y: got shape"),
]


@pytest.mark.parametrize(("call", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_what_is_wrong_is_named(X, call, message):
    with pytest.raises(InputError, match=message):
        call(head(), X)


def test_four_orders_of_one_tree_are_one_batch_of_cones():
    orders = [tq.encodings.angle(16, features=np.roll(range(16), k).tolist()) for k in range(4)]
    block = tq.ansatz.orthogonal_block
    trees = [
        order.compose(tq.ansatz.tree(16, block, bond_qubits=2, prefix=f"v{k}"))
        for k, order in enumerate(orders)
    ]
    model = tq.QNN(trees, [TOP])
    (batch,) = model.readouts.batches
    assert len(batch.cones) == 4 and len(model.jobs) == 1
