"""What takes the steps of a run, and the host that takes them one at a time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.train.ops import Ops
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State


@dataclass(frozen=True)
class Taken:
    """One step that was taken: the minibatch's loss, and the model evaluations so far."""

    loss: float
    evaluations: int


class Stepper(Protocol):
    """Advances the state of a run. States always hold arrays of NumPy."""

    @property
    def execution(self) -> str:
        """Where and how the steps are taken, in words."""
        ...

    @property
    def most(self) -> int:
        """How many steps to ask for at once, at most."""
        ...

    def advance(self, state: State, steps: int) -> tuple[State, tuple[Taken, ...]]:
        """Return the state ``steps`` steps on, and what each of them gave.

        Raises
        ------
        InputError
            When a loss is not a finite number; the message names the step.
        """
        ...


class Graph(Protocol):
    """Work that was captured on a device."""

    def launch(self) -> None:
        """Run it once more, on the current stream."""
        ...


class Device(Protocol):
    """What training asks of a GPU; :class:`~tn_qnn.backends.cuda.runtime.CudaRuntime` has it."""

    cp: Any
    facts: Any

    @property
    def ops(self) -> Ops: ...

    def use(self) -> AbstractContextManager[Any]: ...

    def capture(self, function: Callable[[], object]) -> Graph: ...

    def free_memory(self) -> int: ...

    def to_device(self, array: Array, dtype: Any = None) -> Array: ...

    def to_host(self, array: Array) -> np.ndarray: ...

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray: ...

    def synchronize(self) -> None: ...

    def is_out_of_memory(self, error: BaseException) -> bool: ...


@dataclass(frozen=True)
class HostStepper:
    """Takes the steps one by one; the model may still compute on a device."""

    recipe: Recipe
    execution: str
    most: ClassVar[int] = 1

    def advance(self, state: State, steps: int) -> tuple[State, tuple[Taken, ...]]:
        """See :class:`Stepper`."""
        taken = []
        for _ in range(steps):
            state, loss = self.recipe.step(state)
            taken.append(Taken(loss, state.evaluations))
        return state, tuple(taken)
