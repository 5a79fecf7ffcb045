"""The estimator: its exact mean over all sign patterns, bias, credit, variance, chunking."""

import itertools

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn.errors import InputError
from tn_qnn.rng import rademacher
from tn_qnn.train.losses import cross_entropy, from_callable, get_loss, mse, zero_one
from tn_qnn.train.spsa import SPSA, gradient_from_outputs, perturbed_weights

WEIGHTS = np.array([0.3, -0.8, 1.1, 0.5, -0.4])


def mean_estimate(model, loss, c, X, y, credit, weights=WEIGHTS, sample_weight=None):
    """The estimate averaged over all 2^W sign patterns: its exact expectation."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=len(weights))))[:, None, :]
    outputs = model(perturbed_weights(weights, signs, c), X)
    mask = model.credit if credit else None
    return gradient_from_outputs(outputs, signs, c, loss, y, sample_weight, mask)[0]


def exact_gradient(model, loss, X, y, sample_weight=1.0):
    slopes = loss.slope(model(WEIGHTS, X), y) * np.reshape(sample_weight, (-1, 1))
    return np.einsum("sk,skw->w", slopes, model.gradient(WEIGHTS, X)) / len(X)


def closed_form(model, c, X, y):
    """E[estimate] of the squared error, summed over outputs, by products of one-weight means.

    E cos(t + cD) = cos c cos t,           E D cos(t + cD) = -sin c sin t,
    E cos^2(t + cD) = (1 + cos 2c cos 2t) / 2,  E D cos^2(t + cD) = -sin 2c sin 2t / 2.
    """
    angles = WEIGHTS + X @ model.phases
    mean1, odd1 = np.cos(c) * np.cos(angles), -np.sin(c) * np.sin(angles)
    mean2 = (1 + np.cos(2 * c) * np.cos(2 * angles)) / 2
    odd2 = -np.sin(2 * c) * np.sin(2 * angles) / 2
    result = np.zeros(len(WEIGHTS))
    for k, i in np.argwhere(model.credit):
        others = model.credit[k] & (np.arange(len(WEIGHTS)) != i)
        square = odd2[:, i] * mean2[:, others].prod(axis=1)
        linear = odd1[:, i] * mean1[:, others].prod(axis=1)
        result[i] += (square - 2 * y[:, k] * linear).mean() / c
    return result


@pytest.mark.parametrize("c", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("credit", [True, False])
@pytest.mark.parametrize("as_callable", [True, False])
def test_exact_mean_at_finite_c(c, credit, as_callable):
    model = CosineModel(CHAIN)
    X = samples(4)[0]
    y = np.random.default_rng(1).normal(size=(4, 3))
    loss = mse()
    if as_callable:
        loss = from_callable(loss.value)
    mean = mean_estimate(model, loss, c, X, y, credit)
    np.testing.assert_allclose(mean, closed_form(model, c, X, y) / 3, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("credit", [True, False])
@pytest.mark.parametrize("as_callable", [True, False])
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_bias_falls_with_c_squared(name, credit, as_callable):
    model, loss = CosineModel(CHAIN), get_loss(name)
    X, y = samples(6)
    y = y if name == "cross_entropy" else np.eye(3)[y]
    exact = exact_gradient(model, loss, X, y)
    assert abs(exact).max() > 0.01
    used = from_callable(loss.value) if as_callable else loss
    bias = [mean_estimate(model, used, c, X, y, credit) - exact for c in (0.02, 0.01)]
    np.testing.assert_allclose(bias[0], 4 * bias[1], rtol=0.02, atol=1e-7)
    assert 0 < abs(bias[1]).max() < 1e-3


@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_credit_and_plain_have_the_same_mean_to_first_order(name):
    model, loss = CosineModel(CHAIN), get_loss(name)
    X, y = samples(6)
    y = y if name == "cross_entropy" else np.eye(3)[y]
    means = [mean_estimate(model, loss, 1e-3, X, y, credit) for credit in (True, False)]
    np.testing.assert_allclose(means[0], means[1], atol=2e-5)


def test_credit_never_crosses_cones():
    model = CosineModel(BLOCKS)
    random = np.random.default_rng(2)
    X, weights = random.normal(size=(5, 2)), random.normal(size=12)
    for k in range(4):
        loss = from_callable(lambda outputs, y, k=k: outputs[:, k] ** 2)
        used = SPSA(directions=3).estimate(model, loss, weights, X, np.zeros(5), None, 1, 0)
        assert (used.gradient[model.credit[k]] != 0).all()
        assert (used.gradient[~model.credit[k]] == 0).all()
        plain = SPSA(directions=3, credit=False)
        used = plain.estimate(model, loss, weights, X, np.zeros(5), None, 1, 0)
        assert (used.gradient != 0).all()


@pytest.mark.parametrize("cones", [CHAIN, BLOCKS], ids=["chain", "blocks"])
def test_credit_has_less_variance(cones):
    model, loss = CosineModel(cones), cross_entropy()
    weights = 0.5 * np.random.default_rng(1).normal(size=model.num_weights)
    X, y = samples(12)
    spread = {}
    for credit in (True, False):
        gradients = [
            SPSA(credit=credit).estimate(model, loss, weights, X, y, None, seed, 0).gradient
            for seed in range(300)
        ]
        spread[credit] = np.var(gradients, axis=0).sum()
    assert spread[True] < 0.75 * spread[False]


def test_directions_and_samples_cut_the_variance():
    model, loss = CosineModel(CHAIN), cross_entropy()
    X, y = samples(16)

    def variance(**settings):
        spsa = SPSA(**settings)
        many = [spsa.estimate(model, loss, WEIGHTS, X, y, None, s, 0).gradient for s in range(300)]
        return np.var(many, axis=0).sum()

    one = variance()
    assert 0.8 < variance(directions=4) * 4 / one < 1.25
    assert variance(per_sample=True) < one / 4


def test_all_one_cone_makes_credit_with_mse_plain():
    model = CosineModel(np.ones((1, 5), dtype=int))
    X, y = samples(6)[0], np.random.default_rng(0).normal(size=(6, 1))
    both = [
        SPSA(credit=credit, directions=2).estimate(model, mse(), WEIGHTS, X, y, None, 5, 7)
        for credit in (True, False)
    ]
    np.testing.assert_allclose(both[0].gradient, both[1].gradient, rtol=1e-12)
    assert both[0].loss == both[1].loss


def reference(model, loss, spsa, X, y, sample_weight, seed, step):
    """The estimate by loops over directions, samples, outputs and weights."""
    c = spsa.c / (step + 1) ** spsa.gamma
    gradient = np.zeros(len(WEIGHTS))
    for d in range(spsa.directions):
        for s in range(len(X)):
            sign = rademacher(seed, step, d, s if spsa.per_sample else 0, len(WEIGHTS))
            row, target = X[s : s + 1], y[s : s + 1]
            plus, minus = model(WEIGHTS + c * sign, row), model(WEIGHTS - c * sign, row)
            plain = (loss.value(plus, target) - loss.value(minus, target))[0] / (2 * c)
            parts = (loss.slope((plus + minus) / 2, target) * (plus - minus))[0] / (2 * c)
            for i in range(len(WEIGHTS)):
                amount = sum(parts[model.credit[:, i]]) if spsa.credit else plain
                gradient[i] += sample_weight[s] * amount * sign[i]
    return gradient / (spsa.directions * len(X))


@pytest.mark.parametrize("directions", [1, 3])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("credit", [True, False])
def test_one_model_call_equals_loops(directions, per_sample, credit):
    model, loss = CosineModel(CHAIN), cross_entropy(3.0)
    X, y = samples(5)
    weight = np.array([0.5, 2.0, 1.0, 0.0, 1.5])
    spsa = SPSA(directions=directions, per_sample=per_sample, credit=credit, c=0.2)
    estimate = spsa.estimate(model, loss, WEIGHTS, X, y, weight, 11, 4)
    assert model.calls == [(2 * directions, 5, 5) if per_sample else (2 * directions, 5)]
    assert estimate.evaluations == 2 * directions * 5
    np.testing.assert_allclose(
        estimate.gradient, reference(model, loss, spsa, X, y, weight, 11, 4), rtol=1e-10
    )


def test_loss_is_near_that_of_the_weights():
    model, loss = CosineModel(CHAIN), cross_entropy()
    X, y = samples(5)
    estimate = SPSA(c=1e-3, directions=2).estimate(model, loss, WEIGHTS, X, y, None, 0, 0)
    assert abs(estimate.loss - loss.value(model(WEIGHTS, X), y).mean()) < 1e-4


def test_float32_outputs():
    X, y = samples(5)
    double, single = (
        SPSA().estimate(CosineModel(CHAIN, dtype=t), cross_entropy(), WEIGHTS, X, y, None, 0, 0)
        for t in (np.float64, np.float32)
    )
    assert single.gradient.dtype == np.float64
    np.testing.assert_allclose(single.gradient, double.gradient, atol=2e-5)


def test_plain_spsa_learns_from_zero_one():
    model = CosineModel(CHAIN)
    X, y = samples(60)
    estimate = SPSA(credit=False, c=0.5).estimate(model, zero_one(), WEIGHTS, X, y, None, 0, 0)
    assert estimate.gradient.any()


def test_credit_with_zero_one_is_refused():
    with pytest.raises(InputError, match=r"zero_one has no slope.*SPSA\(credit=False\)"):
        SPSA().estimate(CosineModel(CHAIN), zero_one(), WEIGHTS, *samples(3), None, 0, 0)


def test_a_model_with_a_wrong_shape_is_refused():
    class Wrong(CosineModel):
        def __call__(self, weights, X):
            return super().__call__(weights, X)[..., :1]

    with pytest.raises(InputError, match=r"model: returned outputs of shape \(2, 3, 1\)"):
        SPSA().estimate(Wrong(CHAIN), mse(), WEIGHTS, *samples(3), None, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("c", 0.0),
        ("c", -1.0),
        ("c", float("nan")),
        ("a", 0.0),
        ("first_step", float("inf")),
        ("A", -1.0),
        ("alpha", -0.1),
        ("gamma", float("nan")),
        ("directions", 0),
        ("directions", 1.5),
        ("directions", True),
        ("calibration", 0),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises(InputError, match=f"^{name}: got {value!r}, expected"):
        SPSA(**{name: value})
