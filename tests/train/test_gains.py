"""Gain sequences and their calibration."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.errors import InputError
from tn_qnn.train import Trainer
from tn_qnn.train.gains import SCHEDULES, Gains, calibrated_a, make_gains
from tn_qnn.train.spsa import SPSA


def made(schedule, steps=100, **settings):
    given = {"first_step": 0.05, "a": None, "unit_change": lambda: 0.4, "c": 0.2} | settings
    return make_gains(schedule, steps=steps, **given)


def test_spalls_sequences():
    gains = Gains(a=0.3, c=0.2, A=50.0, alpha=0.602, gamma=0.101)
    for k in (0, 1, 17, 999):
        assert gains.step_size(k) == 0.3 / (k + 1 + 50) ** 0.602
        assert gains.perturbation(k) == 0.2 / (k + 1) ** 0.101


@pytest.mark.parametrize("alpha", [0.0, 0.602, 1.0])
def test_calibration_gives_the_wanted_first_step(alpha):
    gains = SPSA(first_step=0.05, alpha=alpha).gains(200, lambda: 0.4)
    assert gains.A == 20.0
    assert gains.step_size(0) * 0.4 == pytest.approx(0.05)
    assert gains.a == calibrated_a(0.05, 0.4, 20.0, alpha)


def test_a_given_is_not_calibrated():
    def unit_change():
        raise AssertionError("evaluated")

    gains = SPSA(a=0.7, A=3.0, c=0.2).gains(100, unit_change)
    assert gains == Gains(a=0.7, c=0.2, A=3.0, alpha=0.602, gamma=0.101)


@pytest.mark.parametrize("magnitude", [0.0, float("nan"), float("inf")])
def test_a_flat_start_is_refused(magnitude):
    with pytest.raises(InputError, match=r"weights: .*cannot be calibrated"):
        calibrated_a(0.05, magnitude, 1.0, 0.602)


@pytest.mark.parametrize("warmup", [0, 1, 30])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_calibration_fixes_the_first_step_at_full_gain(schedule, warmup):
    gains = made(schedule, warmup=warmup)
    assert gains.step_size(warmup) * 0.4 == pytest.approx(0.05)
    sizes = [gains.step_size(k) for k in range(100)]
    np.testing.assert_allclose(np.diff(sizes[: warmup + 1]), 0.125 / (warmup + 1))
    assert (np.diff(sizes[warmup:]) <= 0).all() and min(sizes) > 0
    assert made(schedule, warmup=warmup, a=0.3, A=0.0).step_size(warmup) == 0.3


@pytest.mark.parametrize("warmup", [0, 20])
@pytest.mark.parametrize("final", [0.0, 0.25, 1.0])
def test_cosine(final, warmup):
    gains = made("cosine", steps=120, a=0.8, warmup=warmup, final=final)
    half = warmup + (120 - warmup) // 2
    assert gains.step_size(warmup) == 0.8
    assert gains.step_size(half) == pytest.approx(0.4 * (1 + final))
    # A run that is made longer goes on at the end of the wave.
    assert [gains.step_size(k) for k in (120, 121, 10**6)] == [0.8 * final] * 3
    quarter = gains.step_size(warmup + (120 - warmup) // 4)
    assert quarter == pytest.approx(0.8 * (final + (1 - final) * (2 + 2**0.5) / 4))


def test_constant_and_the_warm_up_of_power():
    assert {made("constant", a=0.3).step_size(k) for k in (0, 5, 10**6)} == {0.3}
    plain, late = made("power", a=0.3), made("power", a=0.3, warmup=10)
    assert [late.step_size(10 + k) for k in range(50)] == [plain.step_size(k) for k in range(50)]
    assert late.step_size(4) == pytest.approx(plain.step_size(0) * 5 / 11)
    assert [late.perturbation(k) for k in (0, 7)] == [plain.perturbation(k) for k in (0, 7)]


@given(
    schedule=st.sampled_from(SCHEDULES),
    steps=st.integers(1, 10**6),
    warmup=st.integers(0, 10**6),
    final=st.floats(0, 1),
    a=st.floats(1e-6, 1e3),
    step=st.integers(0, 10**7),
)
def test_gains_go_through_json_and_stay_in_their_bounds(schedule, steps, warmup, final, a, step):
    if warmup >= steps:
        if warmup:
            with pytest.raises(InputError, match=r"warmup: got .* expected fewer than the"):
                make_gains(schedule, 0.1, a, steps, float, warmup=warmup)
        warmup = 0
    gains = make_gains(schedule, 0.1, a, steps, float, c=0.1, warmup=warmup, final=final)
    again = Gains(**json.loads(json.dumps(asdict(gains))))
    assert again == gains and again.step_size(step) == gains.step_size(step)
    assert 0.0 <= gains.step_size(step) <= a * (1 + 1e-12)


def test_an_estimator_without_perturbation():
    gains = make_gains("constant", 0.1, None, 10, lambda: 1.0)
    assert gains.perturbation(0) == gains.perturbation(9) == 0.0 and gains.step_size(0) == 0.1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_spsa_trains_with_each_schedule(schedule):
    X, y = samples(40)
    spsa = SPSA(schedule=schedule, warmup=5, final=0.1, first_step=0.06)
    trainer = Trainer(CosineModel(CHAIN), "cross_entropy", spsa, seed=1)
    result = trainer.fit(X, y, steps=60, progress=False)
    expected = make_gains(schedule, 0.06, None, 60, lambda: 1.0, c=0.1, warmup=5, final=0.1)
    assert result.gains == expected
    assert result.history["a_k"].tolist() == [expected.step_size(k) for k in range(60)]
    assert result.history["a_k"].max() == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule: got 'linear', expected one of power, constant, cosine"),
        ({"schedule": None}, "schedule: got None"),
        ({"warmup": -1}, "warmup: got -1, expected a whole number of steps, 0 or above"),
        ({"warmup": 2.5}, r"warmup: got 2\.5"),
        ({"warmup": True}, "warmup: got True"),
        ({"final": -0.1}, r"final: got -0\.1, expected a number in \[0, 1\]"),
        ({"final": 1.1}, r"final: got 1\.1"),
        ({"final": float("nan")}, "final: got nan"),
        ({"c": 0.0}, r"c: got 0\.0, expected a finite number above 0"),
        ({"c": None}, "c: got None"),
        ({"first_step": "0.1"}, r"first_step: got '0\.1'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        SPSA(**settings)


def test_bad_gains_of_a_damaged_checkpoint():
    with pytest.raises(InputError, match="schedule: got 'linear'"):
        Gains(0.1, 0.1, 0.0, 0.0, 0.0, "linear")
    with pytest.raises(InputError, match="steps: got 5, expected more than the warm-up's 5"):
        Gains(0.1, 0.1, 0.0, 0.0, 0.0, "cosine", 5, 5)
