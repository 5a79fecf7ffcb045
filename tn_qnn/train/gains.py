"""Gain sequences: a_k, the size of a step, and c_k, the size of a perturbation.

Source of the power laws: J. C. Spall, "Implementation of the simultaneous perturbation algorithm
for stochastic optimization", IEEE Trans. Aerosp. Electron. Syst. 34 (1998) 817. Of the cosine:
I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
arXiv:1608.03983, without restarts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError

Schedule: TypeAlias = Literal["power", "constant", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("power", "constant", "cosine")


@dataclass(frozen=True)
class Gains:
    """Gain sequences with every number fixed, as a training run uses them.

    For step k = 0, 1, ... the perturbation is c_k = c / (k + 1)^gamma. The gain rises in a straight
    line over the first ``warmup`` steps; then, j = k - warmup steps on, it is

    - "power": a_k = a / (j + 1 + A)^alpha,
    - "constant": a_k = a,
    - "cosine": a_k falls from a to final * a along half a wave which ends with step ``steps``,
      and stays there.

    Numbers that a schedule does not use are 0.

    Raises
    ------
    InputError
        When the schedule is unknown, or its numbers are out of their range.

    Examples
    --------
    >>> gains = Gains(a=0.1, c=0.2, A=0.0, alpha=1.0, gamma=0.5)
    >>> gains.step_size(1), gains.perturbation(3)
    (0.05, 0.1)
    >>> cosine = Gains(0.1, 0.2, 0.0, 0.0, 0.0, "cosine", steps=5, warmup=1, final=0.5)
    >>> [round(cosine.step_size(k), 3) for k in (0, 1, 3, 5, 100)]
    [0.05, 0.1, 0.075, 0.05, 0.05]
    """

    a: float
    c: float
    A: float
    alpha: float
    gamma: float
    schedule: Schedule = "power"
    steps: int = 0
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_schedule(self.schedule, self.warmup, self.final)
        if self.schedule == "cosine" and not self.steps > self.warmup:
            raise InputError(
                f"steps: got {self.steps!r}, expected more than the warm-up's {self.warmup}."
            )

    def step_size(self, step: int) -> float:
        """Return a_k, the gain of step k = ``step``."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        return float(rise * self._after_warmup(max(0, step - self.warmup)))

    def perturbation(self, step: int) -> float:
        """Return c_k, the perturbation of step k = ``step``."""
        return float(perturbation(self.c, self.gamma, step))

    def _after_warmup(self, step: int) -> float:
        if self.schedule == "constant":
            return self.a
        if self.schedule == "cosine":
            share = min(1.0, step / (self.steps - self.warmup))
            wave = 0.5 * (1.0 + math.cos(math.pi * share))
            return self.a * (self.final + (1.0 - self.final) * wave)
        power: float = self.a / (step + 1 + self.A) ** self.alpha
        return power


def perturbation(c: float, gamma: float, step: int | Array) -> float | Array:
    """Return c_k = c / (k + 1)^gamma; for a step on the device, an array without axes."""
    return c / (step + 1) ** gamma


def make_gains(
    schedule: Schedule,
    first_step: float,
    a: float | None,
    steps: int,
    unit_change: Callable[[], float],
    c: float = 0.0,
    A: float | None = None,
    alpha: float = 0.602,
    gamma: float = 0.101,
    warmup: int = 0,
    final: float = 0.0,
) -> Gains:
    """Return the gain sequences of a run, from the settings of an estimator.

    Parameters
    ----------
    schedule : "power", "constant" or "cosine"
    first_step : float
        Mean change of a weight wanted in the first step at full gain: after the warm-up, if any.
    a : float, optional
        The gain itself; None: fixed by ``first_step``, see :func:`calibrated_a`.
    steps : int
        Length of the run.
    unit_change : callable
        Gives a weight's mean change at gain 1; called only if ``a`` is None, as it may cost.
    c, gamma : float
        Of the perturbation; c = 0 for an estimator without.
    A, alpha : float
        Of "power" alone; A None: a tenth of the steps.
    warmup : int
        Steps of the linear rise.
    final : float
        Of "cosine" alone: its end, as a share of its start.

    Raises
    ------
    InputError
        When the warm-up is not shorter than the run, or calibration finds no slope.

    Examples
    --------
    >>> gains = make_gains("cosine", 0.02, None, 100, lambda: 1.0)
    >>> gains.step_size(0), round(gains.step_size(50), 6), gains.step_size(100)
    (0.02, 0.01, 0.0)
    """
    if warmup and warmup >= steps:
        raise InputError(
            f"warmup: got {warmup}, expected fewer than the {steps} steps of the run, so that the "
            f"full gain is reached. Take a shorter warm-up, or more steps."
        )
    if schedule == "power":
        A = 0.1 * steps if A is None else A
    else:
        A, alpha = 0.0, 0.0
    if schedule != "cosine":
        steps, final = 0, 0.0
    if a is None:
        a = calibrated_a(first_step, unit_change(), A, alpha)
    return Gains(a, c, A, alpha, gamma, schedule, steps, warmup, final)


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


def check_gain_settings(estimator: Any) -> None:
    """Check those settings of an estimator that :func:`make_gains` takes, as far as it has them.

    Raises
    ------
    InputError
        When one is out of its range.
    """
    held = vars(estimator)
    for names, zero, words in (
        (("a", "c", "first_step"), False, "a finite number above 0"),
        (("A", "alpha", "gamma"), True, "a finite number, 0 or above"),
    ):
        for name in names:
            value = held.get(name)
            absent = value is None and (name in ("a", "A") or name not in held)
            if not absent and not (is_finite(value) and (value > 0 or (zero and value == 0))):
                raise InputError(f"{name}: got {value!r}, expected {words}.")
    _check_schedule(held.get("schedule", "power"), held.get("warmup", 0), held.get("final", 0.0))


def _check_schedule(schedule: Any, warmup: Any, final: Any) -> None:
    if schedule not in SCHEDULES:
        raise InputError(f"schedule: got {schedule!r}, expected one of {', '.join(SCHEDULES)}.")
    if not isinstance(warmup, int) or isinstance(warmup, bool) or warmup < 0:
        raise InputError(f"warmup: got {warmup!r}, expected a whole number of steps, 0 or above.")
    if not (is_finite(final) and 0 <= final <= 1):
        raise InputError(f"final: got {final!r}, expected a number in [0, 1].")


def is_finite(value: Any) -> bool:
    """Return whether ``value`` is a finite number."""
    return isinstance(value, Real) and math.isfinite(value)
