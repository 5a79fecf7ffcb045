"""LocalSPSA: its mean and noise on circuits, losses without a slope, counts, resume, bad input."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn import QNN, Circuit, LinearHead, X, Z, feature, weight
from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import density_matrix
from tn_qnn.errors import InputError
from tn_qnn.train import ExactGradient, LocalSPSA, Trainer, get_loss
from tn_qnn.train.losses import from_callable
from tn_qnn.train.ops import ArrayOps

RNG = np.random.default_rng(3)


@pytest.fixture
def patterns(monkeypatch):
    """Make the seed the number of the pattern of signs."""

    def rademacher(self, seed, step, directions, samples, num_weights):
        signs = list(itertools.product([-1.0, 1.0], repeat=num_weights))
        return np.array(signs[seed]).reshape(1, 1, num_weights)

    monkeypatch.setattr(ArrayOps, "rademacher", rademacher)


def mixed():
    """Shared weights, several weights in an angle, data times weights, terms, equal cones."""
    c = Circuit(4)
    for q in range(4):
        c.ry(feature(0) + 0.2 * q, q).rx(weight("a") * feature(1) + weight("b"), q)
    for q in (0, 2):
        c.cx(q, q + 1).crx(weight("c") * weight("a"), q, q + 1).rz(weight(f"d{q}"), q)
    readouts = [X(q) @ Z(q + 1) + 0.5 * Z(q) for q in (0, 2)] + [Z(3)]
    return QNN(c, readouts, dtype="float64", search="greedy")


def gradients(estimator, model, loss, weights, X, y, sample_weight=None):
    return np.array([
        estimator.estimate(model, loss, weights, X, y, sample_weight, seed, 0).gradient
        for seed in range(2**model.num_weights)
    ])  # fmt: skip


def problem(model, loss):
    number = 5
    weights, data = RNG.normal(size=model.num_weights), RNG.normal(size=(number, 4))
    y = np.arange(number) % model.num_outputs
    return weights, data, np.eye(model.num_outputs)[y] if loss == "mse" else y


@pytest.mark.parametrize("name", ["mse", "cross_entropy", "hinge"])
def test_the_mean_is_the_gradient_up_to_c_squared(patterns, name):
    model, loss = mixed(), get_loss(name)
    arguments = (model, loss, *problem(model, name), RNG.uniform(0.5, 1.5, size=5))
    exact = ExactGradient().estimate(*arguments, 0, 0).gradient
    bias = [
        gradients(LocalSPSA(c=c, gamma=0.0), *arguments).mean(axis=0) - exact
        for c in (0.02, 0.01)
    ]  # fmt: skip
    assert 1e-7 < abs(bias[1]).max() < 1e-4
    np.testing.assert_allclose(bias[0], 4 * bias[1], rtol=0.02, atol=1e-3 * abs(bias[0]).max())


def test_only_angles_of_several_weights_have_noise(patterns):
    """That of a pair is the other's slope, either way."""
    model, loss = mixed(), get_loss("mse")
    found = gradients(LocalSPSA(c=0.1), model, loss, *problem(model, "mse"))
    spread = dict(zip(model.weight_names, np.ptp(found, axis=0), strict=True))
    assert spread["d0"] == spread["d2"] == 0
    assert min(spread[name] for name in "abc") > 1e-3


def test_a_bias_does_not_grow_with_the_number_of_gates():
    """Each gate is changed alone: the estimate is sin(c) / c of the slope, whatever the others."""
    weights, data, y = RNG.normal(size=5), RNG.normal(size=(3, 2)), np.zeros(3)
    linear = from_callable(lambda outputs, y: outputs.sum(axis=1))
    model = CosineModel(CHAIN)
    found = LocalSPSA(c=0.5).estimate(model, linear, weights, data, y, None, 1, 0).gradient
    exact = model.gradient(weights, data).sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(found, np.sin(0.5) / 0.5 * exact, atol=1e-12)


def test_circuits_and_the_closed_form_agree():
    """A product of cosines as a circuit: rotations of qubits that a string of Z reads."""
    model = CosineModel([[1, 1, 0], [0, 1, 1]])
    c = Circuit(3)
    for q in range(3):
        a, b = model.phases[:, q]
        c.ry(weight(f"w{q}") + a * feature(0) + b * feature(1), q)
    network = QNN(c, [Z(0) @ Z(1), Z(1) @ Z(2)], dtype="float64")
    weights, data, y = RNG.normal(size=3), RNG.normal(size=(4, 2)), np.arange(4) % 2
    loss = get_loss("cross_entropy")
    a, b = (
        LocalSPSA().estimate(m, loss, weights, data, y, None, 7, 3) for m in (model, network)
    )  # fmt: skip
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-12)
    assert a.loss == pytest.approx(b.loss) and a.evaluations == b.evaluations == 4 * (1 + 2 * 4)


def test_a_linear_head_is_trained_too(patterns):
    inner = QNN(angle(2).compose(brickwork(2, 1)), [density_matrix([1])], dtype="float64")
    model, loss = LinearHead(inner, 2), get_loss("cross_entropy")
    weights, data, y = problem(model, "cross_entropy")
    estimator = LocalSPSA(c=1e-3)
    found = estimator.estimate(model, loss, weights, data, y, None, 5, 0).gradient
    exact = ExactGradient().estimate(model, loss, weights, data, y, None, 0, 0).gradient
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_gains_and_perturbation_follow_the_step():
    estimator = LocalSPSA(a=0.3, c=0.2, gamma=0.5, schedule="constant")
    gains = estimator.gains(100, lambda: pytest.fail("no calibration is needed"))
    assert (gains.step_size(7), gains.perturbation(3)) == (0.3, 0.1)
    model, loss = CosineModel(CHAIN), from_callable(lambda outputs, y: outputs[:, 0])
    weights, data = RNG.normal(size=5), RNG.normal(size=(2, 2))
    later, smaller = (
        e.estimate(model, loss, weights, data, np.zeros(2), None, 0, step).gradient
        for e, step in ((estimator, 3), (replace(estimator, c=0.1), 0))
    )
    assert np.array_equal(later, smaller)
    assert LocalSPSA(first_step=0.1, A=0.0).gains(10, lambda: 2.0).a == pytest.approx(0.05)


# --- training


def fit(steps=40, loss="zero_one", **options):
    data, y = samples(48, classes=4)
    estimator = LocalSPSA(c=0.8, gamma=0.0, first_step=0.2, schedule="constant")
    trainer = Trainer(CosineModel(BLOCKS), loss, estimator, seed=1)
    return trainer.fit(data, y, steps=steps, batch_size=24, weights="uniform", progress=False,
                       validation=(data, y), **options)  # fmt: skip


def test_zero_one_loss_trains():
    losses = [fit(steps).history["validation_loss"][-1] for steps in (1, 60)]
    assert losses[0] > 0.5 and losses[1] < 0.1


def test_zero_one_loss_trains_a_circuit():
    """Two angles of which the larger is to be told, from phases that are off by about one."""
    data = np.random.default_rng(0).uniform(0, np.pi, size=(64, 2))
    y = (data[:, 1] < data[:, 0]).astype(int)
    c = Circuit(2)
    for q in range(2):
        c.ry(feature(q), q).ry(weight(f"a{q}"), q).rz(weight(f"b{q}"), q)
    trainer = Trainer(QNN(c, [Z(0), Z(1)]), "zero_one", LocalSPSA(c=0.3, first_step=0.1), seed=3)
    weights = np.array([1.0, 0.3, -0.9, 0.2])
    result = trainer.fit(data, y, steps=40, batch_size=64, weights=weights, progress=False)
    losses = result.history["loss"]
    assert losses[0] > 0.2 and losses[-5:].mean() < 0.05


def test_a_resumed_run_has_the_same_bits(tmp_path):
    class Cut(Exception):
        pass

    def cut(report):
        if report.row.step == 13:
            raise Cut

    folder = {"checkpoint": tmp_path, "checkpoint_every": 5}
    with pytest.raises(Cut):
        fit(20, callbacks=[cut], **folder)
    resumed = fit(20, resume=True, **folder)
    assert resumed.weights.tobytes() == fit(20).weights.tobytes()


# --- bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [("c", 0.0), ("c", -1.0), ("gamma", -0.1), ("first_step", 0.0), ("a", float("nan")),
     ("schedule", "linear"), ("warmup", -1), ("final", 2.0)],
)  # fmt: skip
def test_bad_settings(name, value):
    with pytest.raises(InputError, match=f"^{name}: got"):
        LocalSPSA(**{name: value})


def test_a_model_without_local_outputs_is_refused():
    class Opaque:
        weight_names, num_weights, num_outputs, num_features = ("w",), 1, 1, 1
        credit, signature = np.ones((1, 1), dtype=bool), "opaque"

        def __call__(self, weights, X):
            return weights[..., None, :] + X

    trainer = Trainer(Opaque(), "mse", LocalSPSA(), seed=0)
    with pytest.raises(InputError, match=r"model: Opaque has no local_outputs.*SPSA\(credit=False"):
        trainer.fit(np.zeros((2, 1)), np.zeros((2, 1)), steps=1, progress=False)
