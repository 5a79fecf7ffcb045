"""The exact gradient as an estimator: closed forms, training, calibration, resumed runs, errors."""

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import Z
from tn_qnn.errors import InputError
from tn_qnn.models.qnn import QNN
from tn_qnn.train import SGD, SPSA, Adam, ExactGradient, Momentum, Trainer, get_loss
from tn_qnn.train.exact import SWEEP_EVALUATIONS, loss_and_gradient

X, Y = samples(40)
WEIGHTS = np.array([0.3, -0.8, 1.1, 0.5, -0.4])
LOSSES = {
    "cross_entropy": "cross_entropy",
    "hinge": "hinge",
    "mse": "mse",
    "callable": lambda outputs, y: (outputs.sum(axis=1) - y) ** 2 - outputs[:, 0] ** 3,
}


def targets(name):
    return np.random.default_rng(0).normal(size=(40, 3)) if name == "mse" else Y


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_of_the_weighted_mean(name, weighted):
    model, loss, y = CosineModel(CHAIN), get_loss(LOSSES[name]), targets(name)
    share = np.random.default_rng(1).random(40) if weighted else None
    weight = np.ones(40) if share is None else share
    value, gradient = loss_and_gradient(model, loss, WEIGHTS, X, y, share)

    def mean(w):
        return float((loss.value(model(w, X), y) * weight).mean())

    moves = 1e-5 * np.eye(5)
    want = [(mean(WEIGHTS + m) - mean(WEIGHTS - m)) / 2e-5 for m in moves]
    np.testing.assert_allclose(gradient, want, atol=1e-8)
    assert value == pytest.approx(mean(WEIGHTS), abs=1e-12)
    estimate = ExactGradient().estimate(model, loss, WEIGHTS, X, y, share, seed=3, step=5)
    np.testing.assert_array_equal(estimate.gradient, gradient)
    assert (estimate.loss, estimate.evaluations) == (value, SWEEP_EVALUATIONS * 40)


def fit(trainer, **options):
    return trainer.fit(X, Y, **{"steps": 20, "batch_size": 8, "progress": False} | options)


@pytest.mark.parametrize("update", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("name", ["cross_entropy", "hinge", "callable"])
def test_few_steps_lower_the_loss(name, update):
    model = CosineModel(BLOCKS[:3, :9])
    trainer = Trainer(model, LOSSES[name], ExactGradient(0.05), update, seed=1)
    before = trainer.evaluate(fit(trainer, steps=1).weights, X, Y)[0]
    after = trainer.evaluate(fit(trainer, steps=60, batch_size=40).weights, X, Y)[0]
    assert after < before - 0.2 * abs(before)


def test_it_leaves_spsa_behind():
    """The same model, seed and evaluations: what the noise of twelve directions costs."""
    ends = {}
    for estimator in (ExactGradient(0.05), SPSA()):
        trainer = Trainer(CosineModel(BLOCKS), "cross_entropy", estimator, seed=1)
        steps = 40 if isinstance(estimator, ExactGradient) else 80
        result = trainer.fit(*samples(40, 4), steps=steps, batch_size=40, progress=False)
        ends[type(estimator)] = result.history["loss"][-1]
        assert result.evaluations == 40 * 160
    assert ends[ExactGradient] < 0.75 * ends[SPSA]


@pytest.mark.parametrize("update", [SGD(), Momentum()])
@pytest.mark.parametrize("schedule", ["power", "constant", "cosine"])
def test_the_first_step_is_as_long_as_asked_for(schedule, update):
    estimator = ExactGradient(first_step=0.03, schedule=schedule)
    trainer = Trainer(CosineModel(CHAIN), "cross_entropy", estimator, update, seed=1)
    run = fit(trainer, steps=1, batch_size=40, weights=WEIGHTS)
    change = np.abs(run.weights - WEIGHTS).mean()
    assert change == pytest.approx(0.03, rel=1e-9)  # of the whole data set: no chance in it
    assert run.evaluations == 2 * SWEEP_EVALUATIONS * 40


def test_adam_needs_no_calibration():
    run = fit(Trainer(CosineModel(CHAIN), estimator=ExactGradient(0.03), update=Adam(), seed=1))
    assert run.gains.step_size(0) == 0.03
    assert run.evaluations == 20 * SWEEP_EVALUATIONS * 8
    assert set(np.diff(run.history["evaluations"])) == {SWEEP_EVALUATIONS * 8.0}


def test_a_gain_of_ones_own():
    estimator = ExactGradient(a=0.5, schedule="constant")
    trainer = Trainer(CosineModel(CHAIN), "cross_entropy", estimator, "sgd", seed=1)
    run = fit(trainer, steps=1, batch_size=40, weights=WEIGHTS)
    gradient = loss_and_gradient(CosineModel(CHAIN), get_loss("cross_entropy"), WEIGHTS, X, Y)[1]
    np.testing.assert_allclose(run.weights, WEIGHTS - 0.5 * gradient, rtol=1e-12)


# --- circuits


def circuit_model(**options):
    c = angle(4).compose(brickwork(4, 2, ("ry", "rz"))).block(orthogonal("B", "entries"), [1, 2])
    return QNN(c, [Z(1), Z(2)], search="greedy", **options)


def data():
    rng = np.random.default_rng(0)
    y = np.arange(32) % 2
    return rng.normal(size=(32, 4)) + np.where(y, 0.8, -0.8)[:, None], y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_circuit_learns_and_repeats_itself(dtype):
    x, y = data()
    runs = []
    for _ in range(2):
        model = circuit_model(dtype=dtype)
        trainer = Trainer(model, estimator=ExactGradient(0.05), seed=1)
        start = trainer.evaluate(np.zeros(model.num_weights) + 0.1, x, y)[0]
        runs.append(trainer.fit(x, y, steps=30, batch_size=16, progress=False, weights="uniform"))
        assert trainer.evaluate(runs[-1].weights, x, y)[0] < 0.7 * start
    assert runs[0].weights.tobytes() == runs[1].weights.tobytes()


@pytest.mark.parametrize("at", [0, 1, 7])
def test_interrupted_runs_of_a_circuit_end_in_the_same_bits(tmp_path, at):
    class Interrupted(QNN):
        left = at

        def pull_back(self, weights, X, slopes):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().pull_back(weights, X, slopes)

    x, y = data()
    options = {"steps": 12, "batch_size": 8, "progress": False, "weights": "uniform"}

    def trainer(model):
        return Trainer(model, estimator=ExactGradient(0.05, "cosine", warmup=3), seed=1)

    whole = trainer(circuit_model()).fit(x, y, **options)
    model = circuit_model()
    model.__class__ = Interrupted
    part = trainer(model).fit(x, y, checkpoint=tmp_path, **options)
    assert part.interrupted and part.step == at
    rest = trainer(circuit_model()).fit(x, y, checkpoint=tmp_path, resume=True, **options)
    assert rest.reason == "steps" and rest.weights.tobytes() == whole.weights.tobytes()
    assert np.array_equal(rest.history["loss"], whole.history["loss"])
    assert rest.evaluations == whole.evaluations


# --- errors


def test_a_loss_without_a_slope_is_told_before_work():
    with pytest.raises(InputError, match=r"loss: zero_one has no slope.*LocalSPSA\(\)"):
        Trainer(CosineModel(CHAIN), "zero_one", ExactGradient())
    with pytest.raises(InputError, match="loss: zero_one has no slope"):
        loss_and_gradient(CosineModel(CHAIN), get_loss("zero_one"), WEIGHTS, X, Y)


def test_a_model_that_cannot_sweep_back_is_told():
    class Forward:
        def __init__(self):
            self.__dict__.update(vars(CosineModel(CHAIN)))

        __call__ = CosineModel.__call__

    trainer = Trainer(Forward(), "cross_entropy", ExactGradient(), seed=1)
    with pytest.raises(InputError, match=r"Forward has no pull_back.*Use SPSA\(\)"):
        fit(trainer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_step": 0.0}, "first_step"),
        ({"first_step": float("nan")}, "first_step"),
        ({"a": -1.0}, "a:"),
        ({"schedule": "linear"}, "schedule"),
        ({"warmup": -1}, "warmup"),
        ({"final": 2.0}, "final"),
        ({"alpha": -0.5, "schedule": "power"}, "alpha"),
    ],
)
def test_settings_out_of_range_are_told(settings, message):
    with pytest.raises(InputError, match=message):
        ExactGradient(**settings)
