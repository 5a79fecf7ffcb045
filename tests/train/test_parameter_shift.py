"""Shift rules and interpolation for any frequencies; the gradient that they give."""

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.errors import InputError
from tn_qnn.train import Trainer, cross_entropy, get_loss
from tn_qnn.train.losses import from_callable
from tn_qnn.train.parameter_shift import ParameterShift
from tn_qnn.train.trigonometric import basis, half_window, interpolation, shift_rule

WEIGHTS = np.array([0.3, -0.8, 1.1, 0.5, -0.4])
EQUIDISTANT = [(1.0,), (0.5, 1.0), (1.0, 2.0, 3.0), tuple(0.3 * k for k in range(1, 65))]
OTHERS = [(1.0, 3.0), (2.0, 3.0), (1.0, 2.5), (1.0, 1.02), (0.3, 0.5, 0.8, 1.1), (0.5, 7.0)]
spread = st.lists(st.integers(1, 60), min_size=1, max_size=12, unique=True).map(sorted)


def polynomial(frequencies, seed=0):
    """A random function of these frequencies and a constant, and its derivative."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, len(frequencies)))
    f = np.array(frequencies)

    def value(x):
        angles = np.multiply.outer(x, f)
        return 0.7 + np.cos(angles) @ a + np.sin(angles) @ b

    def slope(x):
        angles = np.multiply.outer(x, f)
        return np.cos(angles) @ (b * f) - np.sin(angles) @ (a * f)

    return value, slope


def check_rules(frequencies):
    value, slope = polynomial(frequencies)
    size = 1 + sum(frequencies)
    rule = shift_rule(frequencies)
    assert 1 <= len(rule.shifts) <= len(frequencies)
    for x in (0.0, 0.37, -5.0):
        found = rule.coefficients @ (value(x + rule.shifts) - value(x - rule.shifts))
        assert abs(found - slope(x)) < 1e-10 * size
    # Noise in the outputs is magnified by no more than the derivative needs.
    assert 2 * abs(rule.coefficients).sum() <= 1.01 * frequencies[-1]
    known = interpolation(frequencies)
    assert len(known.shifts) == 2 * len(frequencies)
    coefficients = known.matrix @ value(np.array([0.0, *known.shifts]))
    points = np.random.default_rng(1).uniform(-9.0, 9.0, size=50)
    assert np.allclose(basis(frequencies, points) @ coefficients, value(points), atol=1e-9 * size)
    assert np.linalg.cond(known.matrix) < 100


@pytest.mark.parametrize("frequencies", EQUIDISTANT + OTHERS)
def test_rules(frequencies):
    check_rules(frequencies)


@given(spread)
def test_rules_for_any_whole_frequencies(numbers):
    check_rules(tuple(0.25 * n for n in numbers))


def test_one_frequency_is_the_textbook_rule():
    rule = shift_rule((2.0,))
    assert np.allclose(rule.shifts, [np.pi / 4]) and np.allclose(rule.coefficients, [1.0])


def test_two_frequencies_are_the_four_term_rule():
    """Of controlled rotations: A. Anselmetti et al., New J. Phys. 23 (2021) 113010, eq. (11)."""
    rule = shift_rule((0.5, 1.0))
    root = np.sqrt(2.0)
    assert np.allclose(rule.shifts, [np.pi / 2, 3 * np.pi / 2])
    assert np.allclose(rule.coefficients, [(root + 1) / (4 * root), -(root - 1) / (4 * root)])


@pytest.mark.parametrize(
    "frequencies", [(1.0, 1.001), (0.001, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0,)]
)
def test_frequencies_that_shifts_cannot_tell_apart(frequencies):
    for function in (half_window, shift_rule, interpolation):
        with pytest.raises(InputError, match=r"^model: a weight has frequencies .* Exact"):
            function(frequencies)


# --- the gradient


def exact_gradient(model, loss, weights, X, y, sample_weight=1.0):
    slopes = loss.slope(model(weights, X), y) * np.reshape(sample_weight, (-1, 1))
    return np.einsum("sk,skw->w", slopes, model.gradient(weights, X)) / len(X)


@pytest.mark.parametrize("max_sets", [1, 3, 64])
@pytest.mark.parametrize("name", ["mse", "cross_entropy", "hinge"])
def test_gradient_in_closed_form(name, max_sets):
    model, loss = CosineModel(CHAIN), get_loss(name)
    X, y = samples(6)
    y = np.eye(3)[y] if name == "mse" else y
    weight = np.array([0.5, 2.0, 1.0, 0.0, 1.5, 1.0])
    estimator = ParameterShift(max_sets=max_sets)
    for sample_weight in (None, weight):
        model.calls.clear()
        found = estimator.estimate(model, loss, WEIGHTS, X, y, sample_weight, 0, 0)
        assert model.calls == [(5,), *[(len(part), 5) for part in parts(10, max_sets)]]
        assert found.evaluations == 11 * 6
        scale = 1.0 if sample_weight is None else sample_weight
        want = exact_gradient(model, loss, WEIGHTS, X, y, scale)
        np.testing.assert_allclose(found.gradient, want, atol=1e-14)
        values = loss.value(model(WEIGHTS, X), y) * scale
        assert found.loss == pytest.approx(values.mean(), rel=1e-14)


def parts(count, most):
    return [range(count)[start : start + most] for start in range(0, count, most)]


def test_a_callable_needs_no_slope_of_its_own():
    model, loss = CosineModel(CHAIN), cross_entropy()
    X, y = samples(6)
    found = (
        ParameterShift()
        .estimate(model, from_callable(loss.value), WEIGHTS, X, y, None, 0, 0)
        .gradient
    )
    np.testing.assert_allclose(found, exact_gradient(model, loss, WEIGHTS, X, y), atol=1e-9)


def test_float32_outputs():
    X, y = samples(6)
    single = CosineModel(CHAIN, dtype=np.float32)
    found = ParameterShift().estimate(single, cross_entropy(), WEIGHTS, X, y, None, 0, 0)
    assert found.gradient.dtype == np.float64
    want = exact_gradient(CosineModel(CHAIN), cross_entropy(), WEIGHTS, X, y)
    np.testing.assert_allclose(found.gradient, want, atol=3e-6)


def test_weights_outside_of_all_cones_cost_nothing():
    model = CosineModel([[1, 0, 1], [1, 0, 0]])
    X, y = samples(4, classes=2)
    found = ParameterShift().estimate(model, cross_entropy(), WEIGHTS[:3], X, y, None, 0, 0)
    assert found.evaluations == 5 * 4
    assert found.gradient[1] == 0 and found.gradient[[0, 2]].all()


def test_it_trains_and_resumes_to_the_same_bits(tmp_path):
    X, y = samples(40)
    model = CosineModel(BLOCKS[:3, :9])

    def fit(steps, **options):
        estimator = ParameterShift(first_step=0.1)
        trainer = Trainer(model, "cross_entropy", estimator, "sgd", seed=2)
        options = {"batch_size": 10, "weights": "uniform", "progress": False} | options
        return trainer, trainer.fit(X, y, steps=steps, **options)

    trainer, whole = fit(60)
    assert whole.evaluations == 61 * 10 * 19  # one gradient more for the calibration
    first = trainer.evaluate(fit(1)[1].weights, X, y)[0]
    assert trainer.evaluate(whole.weights, X, y)[0] < 0.6 * first

    class Cut(Exception):
        pass

    def cut(report):
        if report.row.step == 25:
            raise Cut

    folder = {"checkpoint": tmp_path, "checkpoint_every": 10}
    with pytest.raises(Cut):
        fit(60, callbacks=[cut], **folder)
    resumed = fit(60, resume=True, **folder)[1]
    assert resumed.weights.tobytes() == whole.weights.tobytes()


# --- bad input


def test_a_loss_without_a_slope_is_refused():
    with pytest.raises(InputError, match=r"^loss: zero_one has no slope.*Rotosolve"):
        Trainer(CosineModel(CHAIN), "zero_one", ParameterShift())


def test_a_model_without_frequencies_is_refused():
    model = CosineModel(CHAIN)
    del model.frequencies
    with pytest.raises(InputError, match=r"^model: CosineModel has no `frequencies`, which Param"):
        ParameterShift().estimate(model, cross_entropy(), WEIGHTS, *samples(3), None, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", 0.0),
        ("first_step", float("nan")),
        ("max_sets", 0),
        ("max_sets", 2.0),
        ("max_sets", True),
        ("warmup", -1),
        ("schedule", "linear"),
        ("final", 2.0),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises(InputError, match=f"^{name}: got {value!r}, expected"):
        ParameterShift(**{name: value})
