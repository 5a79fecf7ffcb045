"""Spall's gain sequences: a_k, the size of a step, and c_k, the size of a perturbation.

Source: J. C. Spall, "Implementation of the simultaneous perturbation algorithm for stochastic
optimization", IEEE Trans. Aerosp. Electron. Syst. 34 (1998) 817.
"""

from dataclasses import dataclass

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError


@dataclass(frozen=True)
class Gains:
    """Gain sequences with every number fixed, as a training run uses them.

    a_k = a / (k + 1 + A)^alpha and c_k = c / (k + 1)^gamma for step k = 0, 1, ...

    Examples
    --------
    >>> gains = Gains(a=0.1, c=0.2, A=0.0, alpha=1.0, gamma=0.5)
    >>> gains.step_size(1), gains.perturbation(3)
    (0.05, 0.1)
    """

    a: float
    c: float
    A: float
    alpha: float
    gamma: float

    def step_size(self, step: int) -> float:
        """Return a_k, the gain of step k = ``step``."""
        return float(self.a / (step + 1 + self.A) ** self.alpha)

    def perturbation(self, step: int) -> float:
        """Return c_k, the perturbation of step k = ``step``."""
        return float(perturbation(self.c, self.gamma, step))


def perturbation(c: float, gamma: float, step: int | Array) -> float | Array:
    """Return c_k = c / (k + 1)^gamma; for a step on the device, an array without axes."""
    return c / (step + 1) ** gamma


def calibrated_a(first_step: float, unit_change: float, A: float, alpha: float) -> float:
    """Return the ``a`` for which a weight's mean change in the first step is ``first_step``.

    The rule: a_0 * unit_change = first_step, where unit_change is the mean absolute change of a
    weight at gain 1. For plain and momentum updates that is the mean magnitude of the gradient
    estimate at the initial weights, averaged over a few estimates: Spall's semi-automatic rule in
    the form of Kandala et al., Nature 549 (2017) 242, supplement. For an update that is free of
    the gradient's scale (Adam) it is 1, and nothing is evaluated.

    Raises
    ------
    InputError
        When the gradient estimate was zero, or not a number.

    Examples
    --------
    >>> calibrated_a(first_step=0.02, unit_change=0.5, A=0.0, alpha=0.602)
    0.04
    """
    if not 0.0 < unit_change < float("inf"):
        raise InputError(
            f"weights: the gradient estimate at the initial weights has mean magnitude "
            f"{unit_change}, so `a` cannot be calibrated; expected a loss that changes with the "
            f"weights. Give other initial weights or set `a` in the estimator."
        )
    return float(first_step * (1.0 + A) ** alpha / unit_change)
