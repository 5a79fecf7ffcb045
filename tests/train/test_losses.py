"""Losses: values by hand, slopes against differences, changes of the loss by single outputs."""

import numpy as np
import pytest

from tn_qnn.errors import InputError
from tn_qnn.train.losses import (
    accuracy,
    cross_entropy,
    from_callable,
    get_loss,
    hinge,
    mse,
    output_changes,
    r_squared,
    zero_one,
)

LOSSES = {
    "mse": mse(),
    "cross_entropy": cross_entropy(),
    "cold": cross_entropy(scale=30.0),
    "hinge": hinge(),
    "narrow": hinge(margin=0.1),
}


def case(name, num_outputs, samples=40):
    random = np.random.default_rng(1)
    outputs = random.uniform(-1, 1, (samples, num_outputs))
    if LOSSES[name].targets == "classes":
        return outputs, random.integers(0, max(2, num_outputs), samples)
    return outputs, random.normal(size=outputs.shape)


@pytest.mark.parametrize("num_outputs", [1, 2, 5])
@pytest.mark.parametrize("name", LOSSES)
def test_slope_is_the_derivative(name, num_outputs):
    loss = LOSSES[name]
    outputs, y = case(name, num_outputs)
    slope = loss.slope(outputs, y)
    assert slope.shape == outputs.shape and loss.value(outputs, y).shape == (40,)
    for k in range(num_outputs):
        step = 1e-6 * np.eye(num_outputs)[k]
        difference = (loss.value(outputs + step, y) - loss.value(outputs - step, y)) / 2e-6
        np.testing.assert_allclose(slope[:, k], difference, atol=1e-6)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("name", ["mse", "cross_entropy"])
def test_a_callable_gets_the_same_changes_up_to_third_order(name, num_outputs):
    loss = LOSSES[name]
    outputs, y = case(name, num_outputs)
    bare = from_callable(loss.value)
    errors = []
    for size in (0.02, 0.01):
        shift = size * np.random.default_rng(2).choice([-1, 1], outputs.shape)
        exact = output_changes(loss, outputs + shift, outputs - shift, y)
        errors.append(abs(output_changes(bare, outputs + shift, outputs - shift, y) - exact).max())
    if name == "mse":
        assert errors[0] < 1e-15  # a square: the midpoint's slope is the whole change
    else:
        assert errors[1] < errors[0] / 7 < 0.1


def test_values_by_hand():
    outputs = np.array([[1.0, 0.0, -1.0]])
    scaled = np.exp([2.0, 0.0, -2.0])
    expected = -np.log(scaled[1] / scaled.sum())
    np.testing.assert_allclose(cross_entropy(2.0).value(outputs, np.array([1])), expected)
    assert hinge().value(outputs, np.array([0])) == 0.0
    assert hinge().value(outputs, np.array([2])) == 3.0
    assert hinge().value(np.array([[0.25]]), np.array([0])) == 1.25
    assert hinge().value(np.array([[0.25]]), np.array([1])) == 0.75
    assert zero_one().value(outputs, np.array([2])) == 1.0
    np.testing.assert_allclose(
        cross_entropy(2.0).value(np.array([[0.3]]), np.array([1])), np.log1p(np.exp(-1.2))
    )


def test_cross_entropy_is_finite_for_huge_outputs():
    outputs = np.array([[1e4, -1e4]])
    assert cross_entropy().value(outputs, np.array([1])) == 1e5
    assert np.isfinite(cross_entropy().slope(outputs, np.array([1]))).all()


def test_scores():
    assert accuracy(np.array([[0.1, 0.2], [0.3, 0.2]]), np.array([1, 1])) == 0.5
    assert accuracy(np.array([[0.1], [-0.2]]), np.array([1, 0])) == 1.0
    y = np.array([[0.0], [1.0], [2.0]])
    assert r_squared(y, y) == 1.0 and r_squared(np.ones((3, 1)), y) == 0.0
    assert r_squared(y[:1] + 1, y[:1]) == 0.0 and r_squared(y[:1], y[:1]) == 1.0
    assert from_callable(lambda o, y: o[:, 0]).score(y, y) == -1.0


def test_losses_do_not_change_their_arguments():
    for name, loss in LOSSES.items():
        outputs, y = case(name, 3)
        copy = outputs.copy()
        loss.value(outputs, y), loss.slope(outputs, y)
        assert np.array_equal(outputs, copy)


def test_zero_one_has_no_changes():
    outputs = np.zeros((2, 2))
    with pytest.raises(InputError, match=r"zero_one has no slope.*credit=False"):
        output_changes(zero_one(), outputs, outputs, np.zeros(2, dtype=int))


def test_a_callable_with_steps_still_has_changes():
    loss = from_callable(lambda outputs, y: (outputs.argmax(axis=1) != y).astype(float))
    plus, minus = np.array([[0.3, 0.0]]), np.array([[-0.3, 0.0]])
    assert output_changes(loss, plus, minus, np.array([0])).tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize("wrong", ["l2", 3, None])
def test_unknown_loss(wrong):
    with pytest.raises(InputError, match=r"loss: got .* expected one of mse"):
        get_loss(wrong)


def test_a_callable_must_give_one_number_a_sample():
    loss = get_loss(lambda outputs, y: outputs.mean())
    with pytest.raises(InputError, match=r"returned shape \(\)"):
        loss.value(np.zeros((3, 2)), np.zeros(3))


@pytest.mark.parametrize("make", [cross_entropy, hinge])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_parameters(make, value):
    with pytest.raises(InputError, match="expected a finite number above 0"):
        make(value)


def test_get_loss_passes_records_on():
    loss = cross_entropy(2.0)
    assert get_loss(loss) is loss and get_loss("mse").name == "mse"
