"""Perturbations gate by gate: every gate answers for its own change, all else as it is.

The random signs and the gains are Spall's (see :mod:`tn_qnn.train.spsa`); what is local is that
the gates do not disturb one another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.train.gains import Gains, Schedule, check_gain_settings, make_gains, perturbation
from tn_qnn.train.losses import Loss
from tn_qnn.train.ops import ops_of
from tn_qnn.train.protocol import Estimate, LocalOutputs, Trainable, local_outputs
from tn_qnn.train.spsa import repeated


@dataclass(frozen=True)
class LocalSPSA:
    """Gradient estimates from finite changes of one gate at a time.

    An occurrence is a gate in the light cone of some outputs. Its angle takes its values at
    w + c D and at w - c D, D random signs; the outputs of that cone follow, all others stay. Weight
    i gets g_i = (L+ - L-) / 2c * D_i, summed over the occurrences whose angle it is in. No slope of
    the loss is asked for: the loss itself is differenced, so that jumps of the size c are seen.

    Bias is O(c^2) and is that of single gates: it does not grow with their number. Only an angle
    of several weights has noise, since these share its change; an angle of one weight has none.

    The model tells how an output turns with one gate (``model.local_outputs``): a
    :class:`~tn_qnn.models.qnn.QNN` by one sweep back over a network in which ket and bra of each
    gate are joined, which costs more than that of :class:`~tn_qnn.train.exact.ExactGradient`: use
    it for losses without a slope. What is counted is what hardware would need: one evaluation at w,
    and two for each occurrence.

    Parameters
    ----------
    a, first_step, schedule, A, alpha, warmup, final
        Gains, as of :class:`~tn_qnn.train.spsa.SPSA`.
    c, gamma : float
        The perturbation of step k is c / (k + 1)^gamma, in radians for angles. With a loss that
        jumps, such as "zero_one", a large c sees more of them.

    Raises
    ------
    InputError
        When a number is out of its range.

    Examples
    --------
    >>> from tn_qnn import QNN, Circuit, Z, weight
    >>> from tn_qnn.train.losses import from_callable
    >>> model = QNN(Circuit(1).ry(weight("a"), 0), [Z(0)], dtype="float64")
    >>> energy = from_callable(lambda outputs, y: outputs[:, 0])
    >>> X, y = np.zeros((1, 1)), np.zeros(1)
    >>> found = LocalSPSA(c=0.1).estimate(model, energy, np.array([0.5]), X, y, None, 0, 0)
    >>> found.gradient / -np.sin(0.5), found.evaluations    # sin(c) / c
    (array([0.99833417]), 3)
    """

    a: float | None = None
    c: float = 0.1
    A: float | None = None
    alpha: float = 0.602
    gamma: float = 0.101
    first_step: float = 0.05
    schedule: Schedule = "power"
    warmup: int = 0
    final: float = 0.0

    calibration: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_gain_settings(self)

    def check(self, loss: Loss) -> None:
        """Accept every loss: none needs a slope."""

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Return the gain sequences for a run of ``total_steps``."""
        return make_gains(
            self.schedule, self.first_step, self.a, total_steps, unit_change,
            self.c, self.A, self.alpha, self.gamma, self.warmup, self.final,
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
        """Estimate the gradient.

        Parameters
        ----------
        weights : float64 (W,)
        X : (S, F)
        y : (S, ...)
        sample_weight : (S,) or None
        seed, step : int
            Key of the signs.

        Raises
        ------
        InputError
            When the model has no ``local_outputs``, or a tensor-valued weight varies.
        """
        signs = ops_of(model, weights).rademacher(seed, step, 1, 1, len(weights))[0, 0]
        c = perturbation(self.c, self.gamma, step)
        sets = weights + c * np.stack([signs, -signs])
        outputs, turned = local_outputs(model, weights, X, sets)
        share = (np.ones(len(X)) if sample_weight is None else sample_weight) / len(X)
        value = float((loss.value(outputs, y) * share).sum())
        gradient, evaluations = np.zeros(len(weights)), len(X)
        for part in turned:
            found = _mean_losses(loss, part, y, share)
            quotients = (found[:, 0] - found[:, 1]) / (2.0 * c)
            own = quotients[part.occurrences] * signs[part.weights]
            np.add.at(gradient, part.weights, own)
            samples = part.outputs.shape[2]
            evaluations += 2 * len(np.unique(part.occurrences)) * samples
        return Estimate(gradient, value, evaluations)


def _mean_losses(loss: Loss, part: LocalOutputs, y: Array, share: Array) -> Array:
    """Return the losses (n, N) of a part's samples, added up by their shares."""
    occurrences, sets, samples, num_outputs = part.outputs.shape
    count = occurrences * sets
    rows = part.outputs.reshape(count * samples, num_outputs)
    values = loss.value(rows, repeated(np.asarray(y)[part.rows], count))
    found: Array = values.reshape(occurrences, sets, samples) @ share[part.rows]
    return found
