"""The gradient from shifted weights alone, exact for every loss with a slope.

Source: D. Wierichs, J. Izaac, C. Wang, C. Y.-Y. Lin, "General parameter-shift rules for quantum
gradients", Quantum 6 (2022) 677; for one frequency K. Mitarai, M. Negoro, M. Kitagawa, K. Fujii,
Phys. Rev. A 98 (2018) 032309.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.train.gains import Gains, Schedule, check_gain_settings, make_gains
from tn_qnn.train.losses import Loss, output_slopes
from tn_qnn.train.protocol import Estimate, Trainable
from tn_qnn.train.trigonometric import model_frequencies, shift_rule


@dataclass(frozen=True)
class ParameterShift:
    """Exact gradients from outputs at shifted weights, as a quantum computer could give them.

    An output turns with a weight by the R frequencies that ``model.frequencies`` tells, so its
    derivative is a sum over 2R shifts of that weight (see
    :func:`~tn_qnn.train.trigonometric.shift_rule`); the loss's slope in the outputs does the rest.
    A step takes 1 + sum of all 2R evaluations a sample: for many weights that is dear, and
    ``ExactGradient`` gives the same numbers from one sweep.

    Parameters
    ----------
    first_step, schedule, a, A, alpha, warmup, final
        The gains, as of :class:`~tn_qnn.train.exact.ExactGradient`.
    max_sets : int
        Weight sets that one model call takes at most.

    Raises
    ------
    InputError
        When a number is out of its range.

    Examples
    --------
    >>> from tn_qnn.train.losses import from_callable
    >>> class Cosine:                                   # outputs cos(w + x), (S, 1)
    ...     weight_names, num_weights, num_outputs = ("w",), 1, 1
    ...     credit, signature = np.ones((1, 1), dtype=bool), "cosine"
    ...     frequencies = ((1.0,),)
    ...     def __call__(self, weights, X):
    ...         return np.cos(weights[..., None, :] + X)
    >>> energy = from_callable(lambda outputs, y: outputs[:, 0])
    >>> X, y = np.zeros((1, 1)), np.zeros(1)
    >>> found = ParameterShift().estimate(Cosine(), energy, np.array([0.5]), X, y, None, 0, 0)
    >>> found.gradient.round(6), found.evaluations      # -sin(0.5)
    (array([-0.479426]), 3)
    """

    first_step: float = 0.02
    schedule: Schedule = "cosine"
    a: float | None = None
    A: float | None = None
    alpha: float = 0.602
    warmup: int = 0
    final: float = 0.0
    max_sets: int = 64

    calibration: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_gain_settings(self)
        sets = self.max_sets
        if not isinstance(sets, int) or isinstance(sets, bool) or sets < 1:
            raise InputError(f"max_sets: got {sets!r}, expected a whole number, 1 or above.")

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` for a loss without a slope in the outputs."""
        if not loss.has_slope:
            raise InputError(
                f"loss: {loss.name} has no slope in the outputs, which ParameterShift needs. Use "
                f"Rotosolve, SPSA(credit=False), or a loss with a slope such as cross_entropy."
            )

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
        """Return the gradient, exact up to rounding.

        Parameters
        ----------
        weights : float64 (W,)
        X : (S, F)
        y : (S, ...)
        sample_weight : (S,) or None
        seed, step : int
            Not used: nothing is random.

        Raises
        ------
        InputError
            When the model does not tell its frequencies, or has none that hold for all data.
        """
        self.check(loss)
        columns, shifts, coefficients = _all_shifts(model)
        outputs = np.asarray(model(weights, X), dtype=np.float64)
        values, slopes = loss.value(outputs, y), output_slopes(loss, outputs, y)
        if sample_weight is not None:
            values, slopes = values * sample_weight, slopes * sample_weight[:, None]
        gradient = np.zeros(len(weights))
        for start in range(0, len(columns), self.max_sets):
            part = slice(start, start + self.max_sets)
            here = columns[part]
            sets = np.tile(weights, (len(here), 1))
            sets[np.arange(len(here)), here] += shifts[part]
            moved = np.asarray(model(sets, X), dtype=np.float64)
            changes = np.einsum("psk,sk->pk", moved, slopes) * model.credit[:, here].T
            np.add.at(gradient, here, coefficients[part] * changes.sum(axis=1))
        evaluations = (1 + len(columns)) * len(X)
        return Estimate(gradient / len(X), float(values.mean()), evaluations)


def _all_shifts(model: Trainable) -> tuple[Array, Array, Array]:
    """For every weight set: which weight is shifted, by how much, and what it counts, (N,)."""
    columns: list[int] = []
    shifts: list[Array] = [np.zeros(0)]
    coefficients: list[Array] = [np.zeros(0)]
    for column, frequencies in enumerate(model_frequencies(model, "ParameterShift")):
        if frequencies:  # else no output depends on the weight
            rule = shift_rule(frequencies)
            columns += [column] * (2 * len(rule.shifts))
            shifts += [rule.shifts, -rule.shifts]
            coefficients += [rule.coefficients, -rule.coefficients]
    indices = np.array(columns, dtype=np.intp)
    return indices, np.concatenate(shifts), np.concatenate(coefficients)
