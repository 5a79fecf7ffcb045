"""What a captured step reads and writes on a device, and the step itself."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.train.feeding import Feed
from tn_qnn.train.ops import Ops
from tn_qnn.train.protocol import Estimator, Trainable
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State
from tn_qnn.train.stepping import Device
from tn_qnn.train.updates import state_from_fields, state_to_fields


@dataclass(frozen=True)
class OnDevice:
    """A model as a step on the device sees it: the credit mask lies there too."""

    model: Trainable
    credit: Array
    ops: Ops

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, weights: Array, X: Array) -> Array:
        return self.model(weights, X)


@dataclass(frozen=True)
class Buffers:
    """Buffers on the device, which the step changes in place.

    Attributes
    ----------
    feed : Feed
    model : OnDevice
    weights : float64 (W,)
    update : state of the update rule, of arrays
    counters : int64 (2,)
        The number of the step, and its place in the tables.
    gains, losses : float64 (rows,)
        The gains of the coming steps, and what the last ones gave.
    """

    feed: Feed
    model: Any
    weights: Array
    update: Any
    counters: Array
    gains: Array
    losses: Array

    def step(self, recipe: Recipe, size: int) -> int:
        """Take a step, in place, by work that a graph can hold; return its model evaluations."""
        step, place = (self.counters[i : i + 1].reshape(()) for i in (0, 1))
        assert isinstance(recipe.estimator, Estimator)  # a mover is not capturable
        data = self.feed.batch(place, size)
        estimate = recipe.estimator.estimate(
            self.model,
            recipe.loss,
            self.weights,
            data.X,
            data.y,
            data.sample_weight,
            recipe.seed,
            step,
        )
        gain = self.gains.take(place)
        change, update = recipe.update.update(estimate.gradient, self.update, gain)
        for name, value in state_to_fields(update).items():
            getattr(self.update, name)[...] = value
        weights, counters = self.weights, self.counters
        weights += change
        self.losses[counters[1:]] = estimate.loss
        counters += 1
        return estimate.evaluations

    def load(self, state: State, steps: int) -> None:
        """Send a state, and the tables of the steps that follow."""
        self.weights.set(np.asarray(state.weights, dtype=np.float64))
        for name, value in state_to_fields(state.update).items():
            buffer = getattr(self.update, name)
            buffer.set(np.asarray(value, dtype=buffer.dtype))
        gains = [state.gains.step_size(state.step + i) for i in range(steps)]
        self.gains[:steps].set(np.array(gains))
        self.counters.set(np.array([state.step, 0]))
        self.feed.begin(state.step, steps)

    def read(self, device: Device, state: State, steps: int) -> State:
        """Return the state that the steps led to from ``state``."""
        fields = {n: device.to_host(v) for n, v in state_to_fields(self.update).items()}
        return replace(
            state,
            step=state.step + steps,
            weights=device.to_host(self.weights),
            update=state_from_fields(state.update, fields),
        )
