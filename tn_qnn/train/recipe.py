"""What one step of training is made of, and the step itself as a pure function of its state."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.train import inputs
from tn_qnn.train.augment import Augmentation
from tn_qnn.train.batches import minibatch
from tn_qnn.train.guards import Blocking
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import Loss
from tn_qnn.train.protocol import Estimate, Estimator, Mover, Trainable
from tn_qnn.train.regularisation import L2
from tn_qnn.train.retraction import Retraction
from tn_qnn.train.spsa import repeated
from tn_qnn.train.state import State
from tn_qnn.train.updates import Update


@dataclass(frozen=True)
class Recipe:
    """Everything that a step depends on but the state.

    Attributes
    ----------
    model, loss, estimator, update, seed, augment, regularisation, retraction
        As of :class:`~tn_qnn.train.trainer.Trainer`.
    data : Data
        All samples, arrays of NumPy.
    batch_size : int
    """

    model: Trainable
    loss: Loss
    estimator: Estimator | Mover
    update: Update
    seed: int
    data: Data
    batch_size: int
    augment: Augmentation | None = None
    regularisation: L2 | None = None
    retraction: Retraction | None = None

    def __post_init__(self) -> None:
        if isinstance(self.estimator, Mover):
            blocking = self.update if isinstance(self.update, Blocking) else None
            for name, given in (("retraction", self.retraction), ("update", blocking)):
                if given is not None:
                    raise InputError(
                        f"{name}: got {given!r}, but {type(self.estimator).__name__} takes whole "
                        f"steps itself and would not use it. Leave it out, or take an estimator "
                        f"of the gradient."
                    )

    def batch(self, seed: int, step: int) -> Data:
        """Return the minibatch of a step, augmented."""
        data = self.data.take(minibatch(seed, step, len(self.data.X), self.batch_size))
        return data if self.augment is None else replace(data, X=self.augment(data.X, seed, step))

    def estimate(self, weights: Array, seed: int, step: int) -> Estimate:
        """Return the gradient estimate of a step, minibatch and directions keyed on ``seed``."""
        assert isinstance(self.estimator, Estimator)  # a mover asks for no calibration
        data = self.batch(seed, step)
        estimate = self.estimator.estimate(
            self.model, self.loss, weights, data.X, data.y, data.sample_weight, seed, step
        )
        if self.regularisation is None:
            return estimate
        gradient = estimate.gradient + self._strengths * weights
        return replace(estimate, gradient=gradient, loss=estimate.loss + self.penalty(weights))

    def penalty(self, weights: Array) -> float:
        """Return what the regularisation adds to the loss at ``weights``."""
        if self.regularisation is None:
            return 0.0
        return 0.5 * float(self._strengths @ weights**2)

    def retracted(self, weights: Array) -> Array:
        """Return weights after a step, tensor-valued ones brought back by the retraction."""
        if self.retraction is None:
            return weights
        return self.retraction(weights, getattr(self.model, "blocks", ()))

    @cached_property
    def _strengths(self) -> Array:
        assert self.regularisation is not None
        return self.regularisation.strengths(self.model.weight_names)

    def step(self, state: State) -> tuple[State, float]:
        """Return the next state and the minibatch's loss: minibatch, gradient estimate, update.

        Raises
        ------
        InputError
            When the loss is not a finite number.
        """
        if isinstance(self.estimator, Mover):
            return self._moved(self.estimator, state)
        k = state.step
        estimate = self.estimate(state.weights, self.seed, k)
        loss = float(estimate.loss)
        inputs.check_finite_loss(loss, k + 1)
        change, update = self.update.update(
            estimate.gradient, state.update, state.gains.step_size(k)
        )
        new = replace(
            state,
            step=k + 1,
            weights=self.retracted(state.weights + change),
            update=update,
            evaluations=state.evaluations + estimate.evaluations,
        )
        if isinstance(self.update, Blocking):
            new = self._judged(self.update, state, new)
        return new, loss

    def _judged(self, rule: Blocking, old: State, new: State) -> State:
        """Return the new state, with the old weights if those that were proposed are worse."""
        data = self.batch(self.seed, old.step)
        before, after = self.losses(np.stack([old.weights, new.weights]), data)
        taken, update = rule.judge(new.update, before, after)
        return replace(
            new,
            weights=new.weights if taken else old.weights,
            update=update,
            evaluations=new.evaluations + 2 * len(data.X),
        )

    def losses(self, weights: Array, data: Data) -> list[float]:
        """Return the weighted mean loss at each of the weight sets (P, W), by one model call."""
        outputs = np.asarray(self.model(weights, data.X), dtype=np.float64)
        rows, sets = outputs.reshape(-1, outputs.shape[-1]), len(weights)
        values = self.loss.value(rows, repeated(data.y, sets)).reshape(sets, -1)
        if data.sample_weight is not None:
            values = values * data.sample_weight
        means = values.mean(axis=1).tolist()
        return [mean + self.penalty(one) for mean, one in zip(means, weights, strict=True)]

    def _moved(self, mover: Mover, state: State) -> tuple[State, float]:
        """Return the state after a step of a mover; the update rule has no part in it."""
        k = state.step
        data = self.batch(self.seed, k)
        weights, loss, evaluations = mover.move(
            self.model, self.loss, state.weights, data.X, data.y, data.sample_weight, self.seed, k
        )
        inputs.check_finite_loss(loss, k + 1)
        spent = state.evaluations + evaluations
        return replace(state, step=k + 1, weights=weights, evaluations=spent), loss
