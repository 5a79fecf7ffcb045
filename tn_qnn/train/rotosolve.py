"""One weight at a time to the minimum of its line, which a few evaluations tell in closed form.

Sources: M. Ostaszewski, E. Grant, M. Benedetti, "Structure optimization for parameterized quantum
circuits", Quantum 5 (2021) 391; K. M. Nakanishi, K. Fujii, S. Todo, "Sequential minimal
optimization for quantum-classical hybrid algorithms", Phys. Rev. Research 2 (2020) 043158.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed, permutation
from tn_qnn.train.gains import Gains
from tn_qnn.train.line_search import lowest
from tn_qnn.train.losses import Loss
from tn_qnn.train.protocol import Trainable
from tn_qnn.train.spsa import repeated
from tn_qnn.train.trigonometric import basis, interpolation, model_frequencies

Frequencies: TypeAlias = tuple[float, ...]
MAX_NUMBERS = 1 << 20  # outputs that the search along a line holds at once


@dataclass(frozen=True)
class Rotosolve:
    """Steps of exact minimisation over single weights, the others held; no gains, no update rule.

    An output turns with a weight by the R frequencies that ``model.frequencies`` tells, so outputs
    at 2R shifts give those at all shifts, for each sample. Along this closed form any loss of the
    outputs, with or without a slope, is minimised by a grid that is then narrowed; no more
    evaluations are needed, and the minibatch's loss never rises. Where it is a single sinusoid
    (one frequency, a loss that is linear in the outputs) the minimum is that of the sources, in
    closed form. Outputs at the new weight are known too, so that a step of n weights takes
    1 + sum of n times 2R evaluations a sample.

    A line is that of the minibatch: take large ones, or all samples.

    Parameters
    ----------
    weights_per_step : int
        Weights that a step moves, one after the other; at most each once.
    order : "cyclic" or "random"
        Every sweep goes through all weights: in their order, or in one keyed on seed and sweep.
    grid : int
        Points of the first search for one turn of the highest frequency.

    Raises
    ------
    InputError
        When an argument is not legal.

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
    >>> found = Rotosolve().move(Cosine(), energy, np.array([0.5]), X, y, None, seed=0, step=0)
    >>> (found[0] / np.pi).round(9), found[2]
    (array([1.]), 3)
    """

    weights_per_step: int = 16
    order: Literal["cyclic", "random"] = "cyclic"
    grid: int = 32

    def __post_init__(self) -> None:
        for name, least in (("weights_per_step", 1), ("grid", 4)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"{name}: got {value!r}, expected a whole number, {least} or above."
                )
        if self.order not in ("cyclic", "random"):
            raise InputError(f"order: got {self.order!r}, expected 'cyclic' or 'random'.")

    def check(self, loss: Loss) -> None:
        """Accept every loss: none needs a slope."""

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Return gains of 1, which nothing reads: a step goes the whole way."""
        return Gains(a=1.0, c=0.0, A=0.0, alpha=0.0, gamma=0.0, schedule="constant")

    def move(
        self,
        model: Trainable,
        loss: Loss,
        weights: Array,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        seed: int,
        step: int,
    ) -> tuple[Array, float, int]:
        """Return the weights after the step, the minibatch's loss before it, and evaluations.

        Parameters
        ----------
        weights : float64 (W,)
        X : (S, F)
        y : (S, ...)
        sample_weight : (S,) or None
        seed, step : int
            Tell whose turn it is.

        Raises
        ------
        InputError
            When the model does not tell its frequencies, or has none that hold for all data.
        """
        frequencies = model_frequencies(model, "Rotosolve")
        moved = np.array(weights, dtype=np.float64)
        outputs = np.asarray(model(moved, X))
        rounding = 8.0 * float(np.finfo(outputs.dtype).eps)
        outputs = outputs.astype(np.float64)
        first = float(mean_losses(loss, outputs[None], y, sample_weight)[0])
        evaluations = len(X)
        if not np.isfinite(first):
            return moved, first, evaluations  # the trainer tells which step it was
        for column in self._turns(frequencies, seed, step):
            some = frequencies[column]
            known = interpolation(some)
            sets = np.tile(moved, (len(known.shifts), 1))
            sets[:, column] += known.shifts
            values = np.concatenate([outputs[None], np.asarray(model(sets, X), dtype=np.float64)])
            evaluations += len(sets) * len(X)
            coefficients = np.tensordot(known.matrix, values, axes=1)  # (2R + 1, S, K)

            def line(shifts: Array, some: Frequencies = some, held: Array = coefficients) -> Array:
                return _losses_along(some, held, shifts, loss, y, sample_weight)

            shift = lowest(line, some, self.grid, rounding)
            moved[column] += shift
            outputs = np.tensordot(basis(some, np.array([shift]))[0], coefficients, axes=1)
        return moved, first, evaluations

    def _turns(self, frequencies: tuple[Frequencies, ...], seed: int, step: int) -> list[int]:
        """Return the columns of the weights that a step moves."""
        columns = [column for column, some in enumerate(frequencies) if some]
        if not columns:
            raise InputError("model: no output depends on any weight, so there is nothing to move.")
        size = min(self.weights_per_step, len(columns))
        key = derived_seed(seed, Stream.DIRECTIONS)
        turns = []
        for turn in range(step * size, (step + 1) * size):
            sweep, place = divmod(turn, len(columns))
            if self.order == "random":
                place = int(permutation(key, sweep, len(columns))[place])
            turns.append(columns[place])
        return turns


def mean_losses(loss: Loss, outputs: Array, y: Array, sample_weight: Array | None) -> Array:
    """Return the weighted mean loss of each of N sets of outputs (N, S, K): float64 (N,)."""
    sets, samples, num_outputs = outputs.shape
    rows = outputs.reshape(sets * samples, num_outputs)
    values = loss.value(rows, repeated(np.asarray(y), sets)).reshape(sets, samples)
    if sample_weight is not None:
        values = values * sample_weight
    means: Array = values.mean(axis=1)
    return means


def _losses_along(
    frequencies: Frequencies,
    coefficients: Array,
    shifts: Array,
    loss: Loss,
    y: Array,
    sample_weight: Array | None,
) -> Array:
    """Mean losses (N,) at shifts (N,) of the weight whose outputs have these coefficients."""
    at_once = max(1, MAX_NUMBERS // coefficients[0].size)
    functions = basis(frequencies, shifts)
    return np.concatenate([
        mean_losses(
            loss,
            np.tensordot(functions[start : start + at_once], coefficients, axes=1),
            y,
            sample_weight,
        )
        for start in range(0, len(shifts), at_once)
    ])  # fmt: skip
