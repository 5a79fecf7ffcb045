"""Mean and variance of every estimator, exact: over all patterns of signs, not over many runs.

An estimator that draws signs draws pattern number ``seed``, so that the seeds 0 to 2^W - 1 are the
whole distribution. To enrol another one, add a line to ESTIMATORS.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn.train import SPSA, ExactGradient, LocalSPSA, ParameterShift, Trainer, get_loss
from tn_qnn.train.losses import from_callable
from tn_qnn.train.ops import ArrayOps

# From the noisiest to the one without noise; those before "exact" have a c.
ESTIMATORS = {
    "plain": SPSA(credit=False),
    "credit": SPSA(),
    "local": LocalSPSA(),
    "parameter shift": ParameterShift(),
    "exact": ExactGradient(),
}
RANDOM = [name for name, estimator in ESTIMATORS.items() if hasattr(estimator, "c")]
LOCAL = [name for name in ESTIMATORS if name != "plain"]
MODELS = {"chain": CosineModel(CHAIN), "blocks": CosineModel(BLOCKS[:2, :6])}


@pytest.fixture(autouse=True)
def patterns(monkeypatch):
    """Make the seed the number of the pattern of signs."""

    def rademacher(self, seed, step, directions, samples, num_weights):
        assert (directions, samples) == (1, 1)
        signs = list(itertools.product([-1.0, 1.0], repeat=num_weights))
        return np.array(signs[seed]).reshape(1, 1, num_weights)

    monkeypatch.setattr(ArrayOps, "rademacher", rademacher)


def problem(model, name="cross_entropy"):
    loss = get_loss(name)
    X, y = samples(6, classes=model.num_outputs)
    weights = np.random.default_rng(4).normal(size=model.num_weights)
    return loss, weights, X, np.eye(model.num_outputs)[y] if name == "mse" else y


def all_estimates(estimator, model, loss, weights, X, y):
    """The gradients (patterns, W) of every pattern."""
    return np.array([
        estimator.estimate(model, loss, weights, X, y, None, seed, 0).gradient
        for seed in range(2**model.num_weights)
    ])  # fmt: skip


def variance_of(gradients):
    """The variance (W,) over the rows, exactly 0 where they are equal to the bit."""
    return (gradients - gradients[0]).var(axis=0)


def exact_gradient(model, loss, weights, X, y):
    slopes = loss.slope(model(weights, X), y)
    return np.einsum("sk,skw->w", slopes, model.gradient(weights, X)) / len(X)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_mean_tends_to_the_gradient_and_is_it_where_there_is_no_c(name, case):
    model, estimator = MODELS[case], ESTIMATORS[name]
    loss, *rest = problem(model)
    exact = exact_gradient(model, loss, *rest)
    assert abs(exact).max() > 0.01
    if name in RANDOM:
        estimator = replace(estimator, c=1e-3)
    mean = all_estimates(estimator, model, loss, *rest).mean(axis=0)
    np.testing.assert_allclose(mean, exact, atol=1e-5 if name in RANDOM else 1e-13)


@pytest.mark.parametrize("c", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("name", RANDOM)
def test_exact_mean_at_finite_c(name, c):
    """The squared error of products of cosines: means over signs factorise, weight by weight.

    E cos(t + cD) = cos c cos t,           E D cos(t + cD) = -sin c sin t,
    E cos^2(t + cD) = (1 + cos 2c cos 2t) / 2,  E D cos^2(t + cD) = -sin 2c sin 2t / 2.
    What is local leaves the other weights where they are: their means are those at c = 0.
    """
    model = MODELS["chain"]
    loss, weights, X, y = problem(model, "mse")
    angles = weights + X @ model.phases
    beside = 0.0 if name == "local" else c
    first, odd_first = np.cos(beside) * np.cos(angles), -np.sin(c) * np.sin(angles)
    second = (1 + np.cos(2 * beside) * np.cos(2 * angles)) / 2
    odd_second = -np.sin(2 * c) * np.sin(2 * angles) / 2
    want = np.zeros(len(weights))
    for k, i in np.argwhere(model.credit):
        others = model.credit[k] & (np.arange(len(weights)) != i)
        square = odd_second[:, i] * second[:, others].prod(axis=1)
        linear = odd_first[:, i] * first[:, others].prod(axis=1)
        want[i] += (square - 2 * y[:, k] * linear).mean() / c / model.num_outputs
    found = all_estimates(replace(ESTIMATORS[name], c=c), model, loss, weights, X, y)
    np.testing.assert_allclose(found.mean(axis=0), want, atol=1e-12)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("loss_name", ["cross_entropy", "mse"])
@pytest.mark.parametrize("name", RANDOM)
def test_bias_falls_with_c_squared(name, loss_name, case):
    model = MODELS[case]
    loss, *rest = problem(model, loss_name)
    exact = exact_gradient(model, loss, *rest)
    bias = [
        all_estimates(replace(ESTIMATORS[name], c=c), model, loss, *rest).mean(axis=0) - exact
        for c in (0.01, 0.005)
    ]
    assert abs(bias[1]).max() > 1e-6
    np.testing.assert_allclose(bias[0], 4 * bias[1], rtol=0.02, atol=1e-3 * abs(bias[0]).max())


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("loss_name", ["cross_entropy", "mse", "hinge"])
def test_each_has_less_variance_than_the_one_before(loss_name, case):
    model = MODELS[case]
    loss, *rest = problem(model, loss_name)
    variance = {
        name: variance_of(all_estimates(estimator, model, loss, *rest)).sum()
        for name, estimator in ESTIMATORS.items()
    }
    for before, after in itertools.pairwise(variance):
        assert variance[after] < variance[before] or variance[after] == variance[before] == 0
    assert variance["local"] == variance["parameter shift"] == variance["exact"] == 0
    assert variance["credit"] < 0.9 * variance["plain"]


def test_variance_in_closed_form():
    """At small c: sum over j != i of the squared slopes that reach weight i by its outputs."""
    model = MODELS["chain"]
    loss, weights, X, y = problem(model)
    slopes = loss.slope(model(weights, X), y)
    by_output = np.einsum("sk,skw->kw", slopes, model.gradient(weights, X)) / len(X)
    for name, mask in (("plain", np.ones_like(model.credit)), ("credit", model.credit)):
        reach = mask.astype(float).T @ by_output  # (i, j): what j does to the outputs of i
        np.fill_diagonal(reach, 0.0)
        found = all_estimates(replace(ESTIMATORS[name], c=1e-3), model, loss, weights, X, y)
        np.testing.assert_allclose(variance_of(found), (reach**2).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_credit_never_crosses_cones(name):
    model, estimator = MODELS["chain"], ESTIMATORS[name]
    X, y = samples(5)
    for k in range(model.num_outputs):
        loss = from_callable(lambda outputs, y, k=k: outputs[:, k] ** 2)
        for seed in (0, 9, 30):
            found = estimator.estimate(model, loss, np.full(5, 0.4), X, y, None, seed, 0).gradient
            assert found[model.credit[k]].all()
            assert found[~model.credit[k]].any() == (name not in LOCAL)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_evaluations_are_counted_in_the_history(name):
    """One evaluation is one sample with one weight set, all outputs."""
    model, estimator = MODELS["chain"], ESTIMATORS[name]
    X, y = samples(6)
    result = Trainer(model, "cross_entropy", estimator, seed=0).fit(
        X, y, steps=1, batch_size=6, progress=False
    )
    each = {"plain": 2, "credit": 2, "local": 15, "parameter shift": 11, "exact": 4}
    assert result.history["evaluations"].tolist() == [6 * each[name]] == [result.evaluations]
