"""The exact gradient, from environments: an adjoint written by hand, no perturbation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.train.gains import Gains, Schedule, check_gain_settings, make_gains
from tn_qnn.train.inputs import numbers, targets
from tn_qnn.train.losses import Loss, output_slopes
from tn_qnn.train.protocol import Estimate, Trainable

#: Evaluations that a sample counts as: the multiply-adds of a pass forward and the sweep back are
#: about those of so many contractions of the outputs alone.
SWEEP_EVALUATIONS = 4


@dataclass(frozen=True)
class ExactGradient:
    """The gradient of the minibatch's loss, exact up to rounding.

    The model sweeps back over its contraction once (``model.pull_back``), which costs about three
    times the outputs and not two evaluations a weight. It needs a loss with a slope in the outputs,
    and a simulator: hardware gives no environments.

    Parameters
    ----------
    first_step : float
        Mean change of a weight wanted in the first step, where ``a`` is None: for Adam the
        initial learning rate (see :func:`~tn_qnn.train.gains.calibrated_a`).
    schedule : "power", "constant" or "cosine"
        How the gain falls, see :class:`~tn_qnn.train.gains.Gains`.
    a : float, optional
        The gain itself, in the place of ``first_step``.
    A, alpha : float
        Of "power" alone.
    warmup : int
        Steps of a linear rise of the gain.
    final : float
        Of "cosine" alone: its end, as a share of its start.

    Raises
    ------
    InputError
        When a number is out of its range.

    Examples
    --------
    >>> ExactGradient(first_step=0.02, schedule="cosine").schedule
    'cosine'
    """

    first_step: float = 0.02
    schedule: Schedule = "cosine"
    a: float | None = None
    A: float | None = None
    alpha: float = 0.602
    warmup: int = 0
    final: float = 0.0

    calibration: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_gain_settings(self)

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` when the loss has no slope in the outputs."""
        _check_slope(loss)

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Return the gain sequences for a run of ``total_steps``."""
        return make_gains(
            self.schedule, self.first_step, self.a, total_steps, unit_change,
            A=self.A, alpha=self.alpha, gamma=0.0, warmup=self.warmup, final=self.final,
        )  # fmt: skip

    def estimate(
        self,
        model: Trainable,
        loss: Loss,
        weights: Array,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        seed: int,
        step: int | Array,
    ) -> Estimate:
        """Return the gradient; ``seed`` and ``step`` do not matter.

        Raises
        ------
        InputError
            When the model has no ``pull_back``.
        """
        value, gradient = loss_and_gradient(model, loss, weights, X, y, sample_weight)
        return Estimate(gradient, value, SWEEP_EVALUATIONS * len(X))


def loss_and_gradient(
    model: Any, loss: Loss, weights: Any, X: Any, y: Any, sample_weight: Any = None
) -> tuple[float, Array]:
    """Mean loss over samples, and its gradient by ``model.pull_back``.

    Parameters
    ----------
    weights : (W,), or a mapping from names
    X : (S, F), or None
    y : (S, ...)
    sample_weight : (S,), optional

    Returns
    -------
    float, float64 array (W,)

    Raises
    ------
    InputError
        When the loss has no slope, the model cannot sweep back, or the data is not what the
        loss takes.
    """
    _check_slope(loss)
    if not hasattr(model, "pull_back"):
        raise InputError(
            f"model: {type(model).__name__} has no pull_back, which the exact gradient needs. "
            f"Use SPSA(), or a model such as QNN."
        )
    features = None if X is None else np.atleast_1d(numbers("X", X))
    count = 1 if features is None else len(features)
    if not count:
        raise InputError("X: got no samples, expected at least one row.")
    wanted = targets(model, loss, y, count, "y")
    share = np.ones(count) if sample_weight is None else numbers("sample_weight", sample_weight)
    if share.shape != (count,):
        raise InputError(f"sample_weight: got shape {share.shape}, expected {(count,)}, one a row.")
    share = share / count

    def slopes(outputs: Array, rows: slice) -> Array:
        return output_slopes(loss, outputs, wanted[rows]) * share[rows, None]

    outputs, gradient = model.pull_back(weights, features, slopes)
    return float((loss.value(outputs, wanted) * share).sum()), gradient


def _check_slope(loss: Loss) -> None:
    if not loss.has_slope:
        raise InputError(
            f"loss: {loss.name} has no slope in the outputs, which the exact gradient needs. "
            f"Use SPSA(credit=False), LocalSPSA(), or a loss with a slope such as "
            f"cross_entropy."
        )
