"""Simultaneous perturbation (SPSA), plain or with light-cone credit.

Source: J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation
gradient approximation", IEEE Trans. Autom. Control 37 (1992) 332.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError
from tn_qnn.train.gains import Gains, Schedule, check_gain_settings, make_gains, perturbation
from tn_qnn.train.losses import Loss, output_changes
from tn_qnn.train.ops import ArrayOps, Ops, ops_of
from tn_qnn.train.protocol import Estimate, Trainable


@dataclass(frozen=True)
class SPSA:
    """Gradient estimates from random perturbations of all weights at once.

    Plain: g_i = (L(w + c D) - L(w - c D)) / 2c * D_i, D random signs. With light-cone credit
    (``credit=True``) weight i takes only the changes of outputs f_k whose cone holds it:
    g_i = sum_k dL/df_k (f_k+ - f_k-) / 2c * D_i over k with ``model.credit[k, i]``. Both have a
    bias of O(c^2) and take the same two evaluations a sample; credit has far less noise where
    cones are smaller than the model.

    Parameters
    ----------
    a : float, optional
        Spall's a in a_k = a / (k + 1 + A)^alpha, or the gain at which another schedule begins.
        None: fixed by ``first_step``.
    c : float
        Spall's c in c_k = c / (k + 1)^gamma, in radians for angles.
    A : float, optional
        Stability constant; None: a tenth of the steps.
    alpha, gamma : float
        Decay of a_k and c_k; A and alpha are of the schedule "power" alone.
    directions : int
        Directions a step, averaged; 2 * directions sets of weights a model call.
    per_sample : bool
        Fresh directions for each sample: less noise a step, but no sharing over samples.
    credit : bool
        Light-cone credit; needs a loss with a slope in the outputs.
    first_step : float
        Mean change of a weight wanted in the first step, where ``a`` is None: for Adam the
        initial learning rate, for other updates the target of the calibration
        (see :func:`~tn_qnn.train.gains.calibrated_a`). With a warm-up: what it rises to.
    calibration : int
        Gradient estimates that the calibration averages.
    schedule : "power", "constant" or "cosine"
        How the gain falls, see :class:`~tn_qnn.train.gains.Gains`.
    warmup : int
        Steps in which the gain rises first, in a straight line.
    final : float
        Of "cosine": the gain at the end of the run, as a share of the first.

    Raises
    ------
    InputError
        When a number is out of its range.

    Examples
    --------
    >>> SPSA(c=0.2, directions=4).directions
    4
    """

    a: float | None = None
    c: float = 0.1
    A: float | None = None
    alpha: float = 0.602
    gamma: float = 0.101
    directions: int = 1
    per_sample: bool = False
    credit: bool = True
    first_step: float = 0.05
    calibration: int = 10
    schedule: Schedule = "power"
    warmup: int = 0
    final: float = 0.0

    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_gain_settings(self)
        for name in ("directions", "calibration"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name}: got {value!r}, expected a whole number, 1 or above.")

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` when light-cone credit is asked of a loss without a slope."""
        if self.credit and not loss.has_slope:
            raise InputError(
                f"loss: {loss.name} has no slope in the outputs, which light-cone credit needs. "
                f"Use SPSA(credit=False), or a loss with a slope such as cross_entropy."
            )

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Return the gain sequences for a run of ``total_steps``.

        ``unit_change()`` is a weight's mean change at gain 1; it is called only if ``a`` is None.
        """
        return make_gains(
            self.schedule,
            self.first_step,
            self.a,
            total_steps,
            unit_change,
            self.c,
            self.A,
            self.alpha,
            self.gamma,
            self.warmup,
            self.final,
        )

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
        """Estimate the gradient from one model call with 2 * directions sets of weights.

        Parameters
        ----------
        weights : float64 (W,)
        X : (S, F)
        y : (S, ...)
        sample_weight : (S,) or None
        seed, step : int
            Key of the directions, with direction and (per sample) place in the minibatch. On a
            device all of this, the step too, may be arrays there; then nothing is transferred.

        Returns
        -------
        Estimate
            ``loss`` is the mean over the perturbed sets.
        """
        self.check(loss)
        ops = ops_of(model, weights)
        c = perturbation(self.c, self.gamma, step)
        samples = len(X) if self.per_sample else 1
        signs = ops.rademacher(seed, step, self.directions, samples, len(weights))
        outputs = model(perturbed_weights(weights, signs, c), X)
        credit = model.credit if self.credit else None
        expected = (2 * self.directions, len(X), model.num_outputs)
        if outputs.shape != expected:
            raise InputError(
                f"model: returned outputs of shape {outputs.shape}, expected {expected}: "
                f"(weight sets, samples, outputs)."
            )
        gradient, value = gradient_from_outputs(
            outputs, signs, c, loss, y, sample_weight, credit, ops
        )
        return Estimate(gradient, value, 2 * self.directions * len(X))


def perturbed_weights(weights: Array, signs: Array, c: float | Array) -> Array:
    """Return w + c D for all directions, then w - c D.

    Parameters
    ----------
    weights : (W,)
    signs : (D, 1, W), or (D, S, W) for directions a sample
    c : float, or an array without axes

    Returns
    -------
    (2D, W), or (2D, S, W)
    """
    xp, half = array_module(weights), len(signs)
    shift = c * signs
    stack = xp.empty((2 * half, *signs.shape[1:]), dtype=shift.dtype)
    xp.add(weights, shift, out=stack[:half])
    xp.subtract(weights, shift, out=stack[half:])
    return stack[:, 0] if signs.shape[1] == 1 else stack


def gradient_from_outputs(
    outputs: Array,
    signs: Array,
    c: float | Array,
    loss: Loss,
    y: Array,
    sample_weight: Array | None = None,
    credit: Array | None = None,
    ops: Ops | None = None,
) -> tuple[Array, Array]:
    """Return the gradient estimate (W,), averaged over directions, and the mean loss.

    Parameters
    ----------
    outputs : (2D, S, K)
        For the weights in the order of :func:`perturbed_weights`.
    signs : (D, 1, W) or (D, S, W)
    c : float, or an array without axes
    y : (S, ...)
    sample_weight : (S,), optional
    credit : bool (K, W), optional
        Credit mask; None gives plain SPSA.
    ops : Ops, optional
        Default: those of the array module of ``signs``.
    """
    xp = array_module(signs)
    ops = ops or ArrayOps(xp)
    sets, samples, num_outputs = outputs.shape
    half = sets // 2
    # Float32 outputs are differenced in float64: 1/2c would magnify another rounding.
    rows = xp.asarray(outputs, dtype=xp.float64).reshape(sets * samples, num_outputs)
    targets = repeated(xp.asarray(y), sets)
    middle = half * samples
    values = loss.value(rows, targets).reshape(sets, samples)
    if credit is None:
        changes = (values[:half] - values[half:])[..., None]
    else:
        changes = output_changes(loss, rows[:middle], rows[middle:], targets[:middle])
        changes = changes.reshape(half, samples, num_outputs)
    if sample_weight is not None:
        sample_weight = xp.asarray(sample_weight)
        values = values * sample_weight
        changes = changes * sample_weight[:, None]
    quotients = changes / (2.0 * c)  # (D, S, K), or (D, S, 1) without credit
    if signs.shape[1] == 1:
        quotients = quotients.mean(axis=1, keepdims=True)
    # How each output moves with each weight, (K, W), before the mask takes the noise away.
    rows_of_signs = signs.reshape(-1, signs.shape[-1])
    moves = ops.matmul(quotients.reshape(len(rows_of_signs), -1).T, rows_of_signs)
    moves = moves / len(rows_of_signs)
    gradient = moves[0] if credit is None else (moves * xp.asarray(credit)).sum(axis=0)
    return gradient, values.mean()


def repeated(array: Array, times: int) -> Array:
    """Return ``times`` copies one after the other, along the first axis."""
    # Not by concatenate: beyond 8 arrays CuPy copies a list to the device, for each call anew.
    return (
        array_module(array)
        .broadcast_to(array, (times, *array.shape))
        .reshape(times * len(array), *array.shape[1:])
    )
