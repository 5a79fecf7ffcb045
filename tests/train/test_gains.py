"""Gain sequences and their calibration."""

import pytest

from tn_qnn.errors import InputError
from tn_qnn.train.gains import Gains, calibrated_a
from tn_qnn.train.spsa import SPSA


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
