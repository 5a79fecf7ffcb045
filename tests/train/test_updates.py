"""One contract for all update rules, and each rule's arithmetic against a loop."""

import numpy as np
import pytest

from tn_qnn.errors import InputError
from tn_qnn.train.updates import (
    SGD,
    Adam,
    Momentum,
    get_update,
    state_from_fields,
    state_to_fields,
)

RULES = [SGD(), Momentum(), Momentum(0.5), Adam(), Adam(0.8, 0.9, 1e-6)]
GRADIENTS = np.random.default_rng(0).normal(size=(20, 6))


def run(rule, gradients, state=None, weights=None, gain=0.1):
    weights = np.zeros(gradients.shape[1]) if weights is None else weights
    state = rule.init(weights) if state is None else state
    for gradient in gradients:
        change, state = rule.update(gradient, state, gain)
        weights = weights + change
    return weights, state


@pytest.mark.parametrize("rule", RULES, ids=repr)
class TestContract:
    def test_it_descends(self, rule):
        scales = np.array([0.5, 1, 2, 1, 1, 1])
        weights, state = np.full(6, 0.7), rule.init(np.zeros(6))
        for k in range(400):
            change, state = rule.update(2 * scales * weights, state, 0.1 / (1 + 0.05 * k))
            weights = weights + change
        assert abs(weights).max() < 0.02

    def test_first_change_is_against_the_gradient(self, rule):
        change, state = rule.update(GRADIENTS[0], rule.init(np.zeros(6)), 0.1)
        assert (np.sign(change) == -np.sign(GRADIENTS[0])).all() and state.count == 1

    def test_first_change_has_the_promised_size(self, rule):
        change, _ = rule.update(GRADIENTS[0], rule.init(np.zeros(6)), 0.1)
        expected = 0.1 if rule.scale_free else 0.1 * abs(GRADIENTS[0])
        np.testing.assert_allclose(abs(change), np.broadcast_to(expected, 6), rtol=1e-4)

    def test_it_is_pure(self, rule):
        state = run(rule, GRADIENTS[:5])[1]
        before = {n: np.array(v, copy=True) for n, v in state_to_fields(state).items()}
        gradient = GRADIENTS[5].copy()
        first = rule.update(gradient, state, 0.1)[0]
        second = rule.update(gradient, state, 0.1)[0]
        assert np.array_equal(first, second) and np.array_equal(gradient, GRADIENTS[5])
        for name, value in state_to_fields(state).items():
            assert np.array_equal(value, before[name])

    def test_state_goes_through_fields(self, rule):
        whole, _ = run(rule, GRADIENTS)
        weights, state = run(rule, GRADIENTS[:9])
        stored = {name: np.asarray(value) for name, value in state_to_fields(state).items()}
        restored = state_from_fields(rule.init(weights), stored)
        assert type(restored.count) is int and restored.count == 9
        assert run(rule, GRADIENTS[9:], restored, weights)[0].tobytes() == whole.tobytes()

    def test_zero_gradient_and_zero_gain_change_nothing(self, rule):
        assert not run(rule, np.zeros((3, 4)))[0].any()
        assert not run(rule, GRADIENTS, gain=0.0)[0].any()

    def test_weights_are_apart(self, rule):
        order = np.array([3, 1, 0, 5, 4, 2])
        assert np.array_equal(run(rule, GRADIENTS)[0][order], run(rule, GRADIENTS[:, order])[0])


def test_adam_against_a_loop():
    expected = np.zeros(6)
    for i in range(6):
        mean = square = 0.0
        for t, g in enumerate(GRADIENTS[:, i], start=1):
            mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
            expected[i] -= 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run(Adam(), GRADIENTS)[0], expected, rtol=1e-12)


def test_sgd_and_momentum_against_sums():
    np.testing.assert_allclose(run(SGD(), GRADIENTS)[0], -0.1 * GRADIENTS.sum(axis=0))
    mean = sum(0.5 * 0.5 ** (2 - k) * GRADIENTS[k] for k in range(3)) / (1 - 0.5**3)
    change, _ = Momentum(0.5).update(GRADIENTS[2], run(Momentum(0.5), GRADIENTS[:2])[1], 1.0)
    np.testing.assert_allclose(change, -mean)


@pytest.mark.parametrize("wrong", ["lbfgs", 3, SGD.__name__])
def test_unknown_update(wrong):
    with pytest.raises(InputError, match=r"update: got .* expected one of sgd, momentum, adam"):
        get_update(wrong)


@pytest.mark.parametrize("make", [lambda: Adam(1.0), lambda: Momentum(-0.1), lambda: Adam(0, 2)])
def test_bad_decay(make):
    with pytest.raises(InputError, match=r"expected a number in \[0, 1\)"):
        make()


def test_bad_epsilon():
    with pytest.raises(InputError, match="epsilon"):
        Adam(epsilon=0.0)
