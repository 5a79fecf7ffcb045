"""What one step of training is made of, and the step itself as a pure function of its state."""

from dataclasses import dataclass, replace

from tn_qnn.arrays import Array
from tn_qnn.train import inputs
from tn_qnn.train.batches import minibatch
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import Loss
from tn_qnn.train.protocol import Estimate, Estimator, Trainable
from tn_qnn.train.state import State
from tn_qnn.train.updates import Update


@dataclass(frozen=True)
class Recipe:
    """Everything that a step depends on but the state.

    Attributes
    ----------
    model, loss, estimator, update, seed
        As of :class:`~tn_qnn.train.trainer.Trainer`.
    data : Data
        All samples, arrays of NumPy.
    batch_size : int
    """

    model: Trainable
    loss: Loss
    estimator: Estimator
    update: Update
    seed: int
    data: Data
    batch_size: int

    def estimate(self, weights: Array, seed: int, step: int) -> Estimate:
        """Return the gradient estimate of a step, minibatch and directions keyed on ``seed``."""
        data = self.data.take(minibatch(seed, step, len(self.data.X), self.batch_size))
        return self.estimator.estimate(
            self.model, self.loss, weights, data.X, data.y, data.sample_weight, seed, step
        )

    def step(self, state: State) -> tuple[State, float]:
        """Return the next state and the minibatch's loss: minibatch, gradient estimate, update.

        Raises
        ------
        InputError
            When the loss is not a finite number.
        """
        k = state.step
        estimate = self.estimate(state.weights, self.seed, k)
        loss = float(estimate.loss)
        inputs.check_finite_loss(loss, k + 1)
        change, update = self.update.update(
            estimate.gradient, state.update, state.gains.step_size(k)
        )
        return replace(
            state,
            step=k + 1,
            weights=state.weights + change,
            update=update,
            evaluations=state.evaluations + estimate.evaluations,
        ), loss
