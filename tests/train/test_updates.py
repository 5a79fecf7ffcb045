"""One contract for all update rules and their guards, and each one's arithmetic against a loop."""

from dataclasses import fields, replace

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from device_model import DeviceCosine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import InputError
from tn_qnn.train import (
    SGD,
    SPSA,
    Adam,
    AMSGrad,
    Blocking,
    Momentum,
    Resilient,
    Trainer,
    TrustRegion,
)
from tn_qnn.train.updates import UPDATES, get_update, state_from_fields, state_to_fields

PLAIN = [
    *(rule() for rule in UPDATES.values()),
    Momentum(0.5),
    Adam(0.8, 0.9, 1e-6),
    AMSGrad(0.8, 0.9, 1e-6),
    Resilient(1.5, 0.3, 0.1, 2.0),
]
GUARDED = [
    TrustRegion("sgd", 0.15),
    TrustRegion("momentum", 0.3, "l2"),
    TrustRegion(TrustRegion("adam", 0.08), 0.15, "l2"),
    TrustRegion("rprop", 0.12),
    Blocking("sgd"),
    Blocking("amsgrad", tolerance=0.1, backoff=1.0),
    Blocking(TrustRegion("momentum", 0.15)),
]
RULES = PLAIN + GUARDED
CAPTURABLE = [rule for rule in RULES if rule.capturable]
GRADIENTS = np.random.default_rng(0).normal(size=(20, 6))
X, Y = samples(41)


def run(rule, gradients, state=None, weights=None, gain=0.1):
    weights = np.zeros(gradients.shape[1]) if weights is None else weights
    state = rule.init(weights) if state is None else state
    for gradient in gradients:
        change, state = rule.update(gradient, state, gain)
        weights = weights + change
    return weights, state


def held_back(change, rule):
    """What the guards of a rule let through of a change."""
    if not isinstance(rule, TrustRegion | Blocking):
        return change
    change = held_back(change, rule.rule)
    if isinstance(rule, Blocking):
        return change
    if rule.norm == "max":
        return np.clip(change, -rule.radius, rule.radius)
    return change * min(1.0, rule.radius / np.linalg.norm(change))


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
        assert (np.sign(change) == -np.sign(GRADIENTS[0])).all()
        assert [v for n, v in state_to_fields(state).items() if n.endswith("count")] == [1]

    def test_first_change_has_the_promised_size(self, rule):
        """And so ``scale_free`` is what the calibration takes it for."""
        for scale in (1.0, 30.0):
            gradient = scale * GRADIENTS[0]
            change, _ = rule.update(gradient, rule.init(np.zeros(6)), 0.1)
            plain = 0.1 * (np.sign(gradient) if rule.scale_free else gradient)
            np.testing.assert_allclose(change, held_back(-plain, rule), rtol=1e-4)

    def test_shapes_and_types(self, rule):
        weights, state = run(rule, GRADIENTS)
        assert weights.shape == (6,) and weights.dtype == np.float64
        first = state_to_fields(rule.init(np.zeros(6)))
        assert first.keys() == state_to_fields(state).keys()
        for name, value in state_to_fields(state).items():
            assert type(value) is type(first[name])
            if isinstance(value, np.ndarray):
                assert value.shape == (6,) and value.dtype == np.float64
            else:
                assert type(value) in (int, float)

    def test_it_is_pure(self, rule):
        state = run(rule, GRADIENTS[:5])[1]
        before = {n: np.array(v, copy=True) for n, v in state_to_fields(state).items()}
        gradient = GRADIENTS[5].copy()
        first = rule.update(gradient, state, 0.1)[0]
        second = rule.update(gradient, state, 0.1)[0]
        assert np.array_equal(first, second) and np.array_equal(gradient, GRADIENTS[5])
        for name, value in state_to_fields(state).items():
            assert np.array_equal(value, before[name])

    def test_records_are_frozen(self, rule):
        for record in (rule, rule.init(np.zeros(2))):
            name = fields(record)[0].name if fields(record) else "new"
            with pytest.raises(AttributeError):
                setattr(record, name, 1)
        assert rule == replace(rule) and hash(rule) == hash(replace(rule))

    def test_state_goes_through_fields(self, rule):
        whole, _ = run(rule, GRADIENTS)
        weights, state = run(rule, GRADIENTS[:9])
        stored = {name: np.asarray(value) for name, value in state_to_fields(state).items()}
        restored = state_from_fields(rule.init(weights), stored)
        assert type(restored) is type(state)
        numbers = [(n, v) for n, v in state_to_fields(restored).items() if not np.ndim(v)]
        assert numbers and all(type(v) in (int, float) for _, v in numbers)
        assert run(rule, GRADIENTS[9:], restored, weights)[0].tobytes() == whole.tobytes()

    def test_zero_gradient_and_zero_gain_change_nothing(self, rule):
        assert not run(rule, np.zeros((3, 4)))[0].any()
        assert not run(rule, GRADIENTS, gain=0.0)[0].any()

    def test_weights_are_apart(self, rule):
        """But for the length of a whole step, their order does not matter, nor their company."""
        order = np.array([3, 1, 0, 5, 4, 2])
        whole, turned = run(rule, GRADIENTS)[0], run(rule, GRADIENTS[:, order])[0]
        if "l2" in repr(rule):
            np.testing.assert_allclose(turned, whole[order], rtol=1e-12)
        else:
            assert np.array_equal(turned, whole[order])
            assert np.array_equal(run(rule, GRADIENTS[:, :2])[0], whole[:2])


@pytest.mark.parametrize("rule", CAPTURABLE, ids=repr)
class TestOnADevice:
    def test_arrays_of_a_device(self, cupy, rule):
        """Gradient, gain and all of the state, the count too, are arrays there."""
        weights, state = run(rule, GRADIENTS[:7])
        host = run(rule, GRADIENTS[7:], state, weights)
        stored = {n: cupy.asarray(v) for n, v in state_to_fields(state).items()}
        there = replace(state, **stored)
        gain = cupy.asarray(0.1)
        device = run(rule, cupy.asarray(GRADIENTS[7:]), there, cupy.asarray(weights), gain)
        np.testing.assert_allclose(device[0].get(), host[0], rtol=1e-12)
        for name, value in state_to_fields(device[1]).items():
            assert isinstance(value, cupy.ndarray), name
            np.testing.assert_allclose(value.get(), state_to_fields(host[1])[name], rtol=1e-12)
        first = rule.init(cupy.asarray(weights))
        assert all(isinstance(v, int | cupy.ndarray) for v in state_to_fields(first).values())

    def test_a_captured_step_is_that_of_the_host(self, cupy, rule):
        results = [
            Trainer(model, "cross_entropy", SPSA(a=0.05, A=3.0), rule, seed=1).fit(
                X, Y, steps=17, batch_size=16, progress=False
            )
            for model in (CosineModel(CHAIN), DeviceCosine(CHAIN, CudaRuntime(cupy)))
        ]
        assert results[1].backend == "cuda: Stand-in, one graph a step"
        np.testing.assert_allclose(results[1].weights, results[0].weights, rtol=1e-9)


def test_adam_against_a_loop():
    expected = np.zeros(6)
    for i in range(6):
        mean = square = 0.0
        for t, g in enumerate(GRADIENTS[:, i], start=1):
            mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
            expected[i] -= 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run(Adam(), GRADIENTS)[0], expected, rtol=1e-12)


def test_amsgrad_against_a_loop():
    rule = AMSGrad(0.7, 0.8, 1e-6)
    expected = np.zeros(6)
    for i in range(6):
        mean = square = largest = 0.0
        for t, g in enumerate(GRADIENTS[:, i], start=1):
            mean, square = 0.7 * mean + 0.3 * g, 0.8 * square + 0.2 * g * g
            largest = max(largest, square / (1 - 0.8**t))
            expected[i] -= 0.1 * (mean / (1 - 0.7**t)) / (np.sqrt(largest) + 1e-6)
    np.testing.assert_allclose(run(rule, GRADIENTS)[0], expected, rtol=1e-12)
    adam = run(Adam(0.7, 0.8, 1e-6), GRADIENTS)[0]
    assert not np.allclose(adam, expected)


def test_amsgrad_converges_where_adam_does_not():
    """After Reddi et al., section 3: Adam makes too little of rare, large gradients."""

    def end(rule):
        weights, state = np.zeros(1), rule.init(np.zeros(1))
        for t in range(3000):
            gradient = np.array([-14.0 if t % 11 == 0 else 1.0])  # -4 in all: downhill is up
            change, state = rule.update(gradient, state, 0.5 / np.sqrt(t + 1))
            weights = np.clip(weights + change, -1.0, 1.0)
        return weights[0]

    assert end(AMSGrad(0.0, 0.1)) > 0.9 and end(Adam(0.0, 0.1)) < -0.9


def test_resilient_against_a_loop():
    rule = Resilient(1.3, 0.4, 0.2, 2.5)
    gradients = np.where(GRADIENTS > -0.4, 1.0, -1.0) * abs(GRADIENTS)  # runs of equal signs
    gradients[3:5, 2] = 0.0
    expected, seen = np.zeros(6), set()
    for i in range(6):
        size, last = 1.0, 0.0
        for g in gradients[:, i]:
            if g * last > 0:
                size = min(1.3 * size, 2.5)
            elif g * last < 0:
                size, g = max(0.4 * size, 0.2), 0.0
            expected[i] -= 0.1 * size * np.sign(g)
            last = g
            seen.add(size)
    assert {0.2, 2.5} < seen and len(seen) > 5
    np.testing.assert_allclose(run(rule, gradients)[0], expected, rtol=1e-12)


def test_sgd_and_momentum_against_sums():
    np.testing.assert_allclose(run(SGD(), GRADIENTS)[0], -0.1 * GRADIENTS.sum(axis=0))
    mean = sum(0.5 * 0.5 ** (2 - k) * GRADIENTS[k] for k in range(3)) / (1 - 0.5**3)
    change, _ = Momentum(0.5).update(GRADIENTS[2], run(Momentum(0.5), GRADIENTS[:2])[1], 1.0)
    np.testing.assert_allclose(change, -mean)


@pytest.mark.parametrize("name", UPDATES)
@given(
    gradient=arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)),
    radius=st.floats(1e-3, 1e3),
    gain=st.floats(1e-3, 10.0),
)
def test_no_step_leaves_the_region(name, gradient, radius, gain):
    rule = get_update(name)
    plain, state = rule.update(gradient, rule.init(gradient), gain)
    for norm, size in (("max", lambda v: abs(v).max()), ("l2", np.linalg.norm)):
        change, same = TrustRegion(rule, radius, norm).update(gradient, rule.init(gradient), gain)
        assert size(change) <= radius * (1 + 1e-12)
        if size(plain) <= radius:
            assert np.array_equal(change, plain)
        elif norm == "l2":
            np.testing.assert_allclose(change / radius, plain / size(plain), rtol=1e-9, atol=1e-12)
        else:
            assert np.array_equal(change, np.clip(plain, -radius, radius))
        for one, other in zip(*(state_to_fields(s).values() for s in (state, same)), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("wrong", ["lbfgs", 3, SGD.__name__])
def test_unknown_update(wrong):
    message = r"update: got .* expected one of sgd, momentum, adam, amsgrad, rprop"
    with pytest.raises(InputError, match=message):
        get_update(wrong)
    for guard in (Blocking, lambda rule: TrustRegion(rule, 0.1)):
        with pytest.raises(InputError, match=message):
            guard(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(1.0), r"beta1: got 1\.0, expected a number in \[0, 1\)"),
        (lambda: Adam(0, 2), r"beta2: got 2, expected a number in \[0, 1\)"),
        (lambda: Adam(epsilon=0.0), r"epsilon: got 0\.0, expected a finite number above 0"),
        (lambda: AMSGrad(-1.0), r"beta1: got -1\.0"),
        (lambda: AMSGrad(0.9, float("nan")), "beta2: got nan"),
        (lambda: AMSGrad(epsilon=-1e-8), "epsilon: got -1e-08"),
        (lambda: Momentum(-0.1), r"beta: got -0\.1, expected a number in \[0, 1\)"),
        (lambda: Momentum("0.9"), r"beta: got '0\.9'"),
        (lambda: Resilient(grow=1.0), r"grow, shrink: got 1\.0 and 0\.5"),
        (lambda: Resilient(shrink=1.0), r"grow, shrink: got 1\.2 and 1\.0"),
        (lambda: Resilient(smallest=2.0), r"smallest, largest: got 2\.0 and 50\.0"),
        (lambda: Resilient(largest=0.5), r"smallest, largest: got 1e-06 and 0\.5"),
        (lambda: Resilient(largest=float("inf")), "largest: got inf, expected a finite number"),
        (lambda: TrustRegion("adam", 0.0), r"radius: got 0\.0, expected a finite number above 0"),
        (lambda: TrustRegion("adam", "wide"), "radius: got 'wide'"),
        (lambda: TrustRegion("adam", 1.0, "l1"), "norm: got 'l1', expected 'max' or 'l2'"),
        (lambda: TrustRegion(Blocking(), 1.0), r"write it the other way round, Blocking\(Trust"),
        (lambda: Blocking(Blocking()), "got Blocking within Blocking"),
        (lambda: Blocking(tolerance=-0.1), r"tolerance: got -0\.1, expected a finite number, 0"),
        (lambda: Blocking(tolerance=float("nan")), "tolerance: got nan"),
        (lambda: Blocking(backoff=0.0), r"backoff: got 0\.0, expected a number in \(0, 1\]"),
        (lambda: Blocking(backoff=1.5), r"backoff: got 1\.5"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()
