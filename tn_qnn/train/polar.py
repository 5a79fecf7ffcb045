"""Tensor-valued weights, one block at a time, by polar decompositions of their environments.

A loss that is linear in the outputs is a quadratic form in the matrix W of a block which occurs
once in each circuit. A quadratic form lies below its linearisation plus shift / 2 ||W' - W||^2 if
the shift is large enough, and the unitary W' with the least such bound is a polar factor,
polar(shift * W - G) with the gradient G. So the loss cannot grow: a majorise-minimise step
(D. R. Hunter, K. Lange, Am. Stat. 58 (2004) 30) with the linearised environments of G. Evenbly,
G. Vidal, Phys. Rev. B 79 (2009) 144108. For other
losses the shift is found by a line search.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.circuit.block_charts import entries_of, matrices_of
from tn_qnn.circuit.block_groups import BlockGroup
from tn_qnn.circuit.polar import polar_factor
from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed, permutation
from tn_qnn.train.gains import Gains
from tn_qnn.train.inputs import positive
from tn_qnn.train.losses import Loss, output_slopes
from tn_qnn.train.protocol import Trainable
from tn_qnn.train.rotosolve import mean_losses

LARGEST_ANGLE = math.pi / 3  # at pi / 2 the shift is 0, and the polar factor may be arbitrary


@dataclass(frozen=True)
class PolarSweep:
    """Trains the blocks in the chart "entries" by polar updates; other weights stay as they are.

    It stands in an estimator's place and takes whole steps: no update rule, no gains. A step
    is a pure function of weights, minibatch, seed and step.

    Parameters
    ----------
    shift : "search" or "guaranteed"
        "search": updates that turn the blocks by at most pi/3, half of that, a quarter ... are
        evaluated as weight sets of one model call, and the best one is taken if it is better than
        staying. "guaranteed": the shift with which a loss that is linear in the outputs cannot
        grow; it is small, and no model evaluation is spent on it. It asks for a model with
        ``output_bounds`` whose blocks occur once a circuit.
    candidates : int
        Updates that a line search tries.
    blocks_per_step : int
        How many blocks a step turns, all along one gradient; 1 where the shift is guaranteed.
    order : "random" or "sweep"
        Each epoch of blocks in a new random order, or back and forth in the order of the circuit.

    Raises
    ------
    InputError
        When an argument is not legal.

    Examples
    --------
    >>> PolarSweep(candidates=6, order="sweep")
    PolarSweep(shift='search', candidates=6, blocks_per_step=1, order='sweep')
    """

    shift: Literal["search", "guaranteed"] = "search"
    candidates: int = 8
    blocks_per_step: int = 1
    order: Literal["random", "sweep"] = "random"

    def __post_init__(self) -> None:
        if self.shift not in ("search", "guaranteed"):
            raise InputError(f"shift: got {self.shift!r}, expected 'search' or 'guaranteed'.")
        if self.order not in ("random", "sweep"):
            raise InputError(f"order: got {self.order!r}, expected 'random' or 'sweep'.")
        positive("candidates", self.candidates)
        positive("blocks_per_step", self.blocks_per_step)
        if self.shift == "guaranteed" and self.blocks_per_step != 1:
            raise InputError(
                f"blocks_per_step: got {self.blocks_per_step}, expected 1 where shift is "
                f"'guaranteed': several blocks at once make no quadratic form."
            )

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` when the loss has no slope in the outputs."""
        if not loss.has_slope:
            raise InputError(
                f"loss: {loss.name} has no slope in the outputs, which PolarSweep needs; choose "
                f"cross_entropy, hinge, mse or a callable."
            )

    def gains(self, total_steps: int, unit_change: Any) -> Gains:
        """Return gains of zero: there are none."""
        return Gains(0.0, 0.0, 0.0, 0.0, 0.0)

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
        """Return the weights after the step, the loss before it, and the evaluations spent.

        The gradient counts four evaluations a sample, and each weight set of a search one.

        Raises
        ------
        InputError
            When the model has no blocks in the chart "entries" or no ``pull_back``; with a
            guaranteed shift also when it has no ``output_bounds``, or the loss is not linear.
        """
        blocks = self._chosen(model, seed, step)
        batch = _Minibatch(loss, X, y, sample_weight)
        weights = _unitary(weights, blocks)
        outputs, gradient = model.pull_back(weights, X, batch.slopes)  # type: ignore[attr-defined]
        before, spent = float(batch.losses(outputs[None])[0]), 4 * len(X)
        slopes = [matrices_of(group.coordinates(gradient), group.real) for group in blocks]
        steepest = max(float(np.linalg.norm(g, 2, axis=(-2, -1)).max()) for g in slopes)
        if not 0.0 < steepest < math.inf:
            return weights, before, spent
        if self.shift == "guaranteed":
            shift = guaranteed_shift(model, batch, outputs)
            return _turned(weights, blocks, slopes, shift), before, spent
        angles = LARGEST_ANGLE / 2.0 ** np.arange(self.candidates)
        tried = [_turned(weights, blocks, slopes, s) for s in steepest / np.tan(angles)]
        sets = np.stack([weights, *tried])
        losses = batch.losses(np.asarray(model(sets, X), dtype=np.float64))
        best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
        return sets[best], before, spent + len(sets) * len(X)

    def _chosen(self, model: Any, seed: int, step: int) -> list[BlockGroup]:
        """The blocks whose turn it is, as groups of the model with fewer rows."""
        groups = [g for g in getattr(model, "blocks", ()) if g.chart == "entries"]
        if not groups or not hasattr(model, "pull_back"):
            raise InputError(
                "model: PolarSweep turns tensor-valued weights in the chart 'entries' along the "
                "model's pull_back; make blocks by orthogonal(name, chart='entries')."
            )
        owners = np.repeat(np.arange(len(groups)), [len(g.names) for g in groups])
        rows = np.concatenate([np.arange(len(g.names)) for g in groups])
        # In the order of the weights, which is that of the circuit, whatever the blocks' kinds.
        first = np.concatenate([g.columns[:, 0] for g in groups])
        turn = np.argsort(first)[sorted(set(self._turns(len(rows), seed, step)))]
        return [groups[k].rows(rows[turn[owners[turn] == k]]) for k in np.unique(owners[turn])]

    def _turns(self, count: int, seed: int, step: int) -> Iterator[int]:
        """Which of ``count`` blocks move in a step."""
        many = min(self.blocks_per_step, count)
        for place in range(step * many, (step + 1) * many):
            if self.order == "random":
                epoch, k = divmod(place, count)
                yield int(permutation(derived_seed(seed, Stream.POLAR_SWEEP), epoch, count)[k])
            else:  # the last block comes once, then it goes back
                last = count - 1
                yield last - abs(last - place % max(2 * last, 1))


@dataclass(frozen=True)
class _Minibatch:
    """The weighted mean loss of a minibatch, and its slopes in the outputs."""

    loss: Loss
    X: Array
    y: Array
    sample_weight: Array | None

    def slopes(self, outputs: Array, rows: slice) -> Array:
        """Derivatives of the mean loss by the outputs of some samples, (s, K)."""
        found = output_slopes(self.loss, outputs, self.y[rows]) / len(self.X)
        return found if self.sample_weight is None else found * self.sample_weight[rows, None]

    def losses(self, outputs: Array) -> Array:
        """The mean loss of each weight set, (P, S, K) to (P,)."""
        return mean_losses(self.loss, outputs, self.y, self.sample_weight)


def guaranteed_shift(model: Any, batch: _Minibatch, outputs: Array) -> float:
    """Return a shift with which polar(shift * W - G) does not raise a loss linear in the outputs.

    Output k is tr(O (W rho W^H)) with an observable of norm b_k, so that the loss is a quadratic
    form Q of W whose largest eigenvalue is at most q = sum_sk |slope_sk| b_k, and ||Q W|| <= q.
    For the full gradient 2 Q W a shift of 2 q is enough. Ours is the part of it along the
    unitary matrices; what is left out is worth 2 q at most once more.

    Raises
    ------
    InputError
        When the model has no ``output_bounds`` or the loss is not linear.
    """
    if not hasattr(model, "output_bounds"):
        raise InputError(
            "model: shift='guaranteed' needs output_bounds, (K,) bounds of the outputs' sizes, "
            "which a QNN has; choose shift='search'."
        )
    everything = slice(0, len(outputs))
    slopes = batch.slopes(outputs, everything)
    for other in (-outputs, np.zeros_like(outputs), 2.0 * outputs + 1.0):
        if not np.allclose(slopes, batch.slopes(other, everything), rtol=1e-5, atol=1e-9):
            raise InputError(
                f"loss: {batch.loss.name} is not linear in the outputs, so no shift is "
                f"guaranteed; choose shift='search'."
            )
    return 4.0 * float((abs(slopes) @ np.asarray(model.output_bounds)).sum())


def _unitary(weights: Array, blocks: list[BlockGroup]) -> Array:
    """Weights with unitary matrices for entries: the same outputs, and a gradient along them."""
    moved = weights.copy()
    for group in blocks:
        moved[group.columns] = entries_of(group.matrices(weights), group.real)
    return moved


def _turned(weights: Array, blocks: list[BlockGroup], slopes: list[Array], shift: float) -> Array:
    """Weights with polar(shift * W - slope) in the place of W."""
    moved = weights.copy()
    for group, slope in zip(blocks, slopes, strict=True):
        shifted = shift * matrices_of(group.coordinates(weights), group.real) - slope
        # Of a size near 1, where the polar factor is found by matrix products.
        moved[group.columns] = entries_of(polar_factor(shifted / shift), group.real)
    return moved
