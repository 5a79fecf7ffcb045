"""A whole step of training on a device, captured once as a CUDA graph and replayed.

What changes from step to step lies in buffers on the device: weights, state of the update rule,
step number, and tables of gains and minibatches which the host sends for many steps at once. The
graph reads and writes them in place; the host launches it again and again, then reads the losses
and the state. So a state is always of the host between two calls, whole, and of the same bits
however the steps were cut into calls.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from tn_qnn.errors import BackendError, MemoryBudgetError, TnQnnError
from tn_qnn.train import inputs
from tn_qnn.train.batches import batch_length
from tn_qnn.train.buffers import Buffers, OnDevice
from tn_qnn.train.feeding import make_feed
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State
from tn_qnn.train.stepping import Device, Graph, Taken
from tn_qnn.train.updates import state_to_fields

#: At most so many steps, bytes of minibatch numbers, and seconds pass unseen by the host.
CHUNK_STEPS, CHUNK_BYTES, CHUNK_SECONDS = 128, 1 << 22, 0.25
log = logging.getLogger("tn_qnn.train")


class DeviceStepper:
    """Takes steps on a device, one graph a step; see the module's description.

    Parameters
    ----------
    recipe : Recipe
        Its model, loss, estimator and update are all ``capturable``.
    device : Device
    execution : str
        How steps are taken, in words.
    """

    def __init__(self, recipe: Recipe, device: Device, execution: str) -> None:
        self.recipe, self.device, self.execution = recipe, device, execution
        self.most = 1  # until it is known how long a step takes
        width = 8 * min(recipe.batch_size, len(recipe.data.X))
        self._rows = max(1, min(CHUNK_STEPS, CHUNK_BYTES // width))
        self._buffers: Buffers | None = None
        self._graphs: dict[int, tuple[Graph, int]] = {}

    def advance(self, state: State, steps: int) -> tuple[State, tuple[Taken, ...]]:
        """See :class:`~tn_qnn.train.stepping.Stepper`.

        Raises
        ------
        BackendError
            When the step cannot be captured.
        InputError
            When a loss is not a finite number; the message names the step.
        """
        taken: list[Taken] = []
        with self.device.use():
            try:
                while len(taken) < steps:
                    state, new = self._advanced(state, min(steps - len(taken), self._rows))
                    taken += new
                return state, tuple(taken)
            except BaseException:
                # Ctrl-C, say: what was launched must have ended before its buffers are freed.
                with suppress(Exception):  # a broken device has said so already
                    self.device.synchronize()
                raise

    def _advanced(self, state: State, steps: int) -> tuple[State, list[Taken]]:
        """Take as many steps as the tables have rows, at most."""
        samples, batch = len(self.recipe.data.X), self.recipe.batch_size
        sizes = [batch_length(state.step + i, samples, batch) for i in range(steps)]
        if self._buffers is None:
            with self._shortage_explained():
                self._buffers = self._allocated(state)
        buffers = self._buffers
        for size in dict.fromkeys(sizes):
            if size not in self._graphs:
                buffers.load(state, steps)
                self._graphs[size] = self._captured(buffers, size)
        buffers.load(state, steps)
        begin = time.perf_counter()
        for place, size in enumerate(sizes):
            buffers.feed.before(place)
            self._graphs[size][0].launch()
            buffers.feed.after(place)
        losses = self.device.to_host(buffers.losses)[:steps].tolist()
        seconds = (time.perf_counter() - begin) / steps
        self.most = max(1, min(self._rows, int(CHUNK_SECONDS / max(seconds, 1e-9))))
        for i, loss in enumerate(losses, start=1):
            inputs.check_finite_loss(loss, state.step + i)
        spent = state.evaluations + np.cumsum([self._graphs[size][1] for size in sizes])
        taken = [Taken(*one) for one in zip(losses, spent.tolist(), strict=True)]
        new = buffers.read(self.device, state, steps)
        return replace(new, evaluations=int(spent[-1])), taken

    def _allocated(self, state: State) -> Buffers:
        recipe, device = self.recipe, self.device
        feed = make_feed(device, recipe.data, recipe.seed, recipe.batch_size, self._rows)
        log.info("data: %s", feed.description)
        fields = state_to_fields(state.update)
        return Buffers(
            feed=feed,
            model=OnDevice(recipe.model, device.to_device(recipe.model.credit), device.ops),
            weights=device.to_device(state.weights),
            update=replace(
                state.update, **{n: device.to_device(np.asarray(v)) for n, v in fields.items()}
            ),
            counters=device.to_device(np.zeros(2, dtype=np.int64)),
            gains=device.to_device(np.zeros(self._rows)),
            losses=device.to_device(np.zeros(self._rows)),
        )

    def _captured(self, buffers: Buffers, size: int) -> tuple[Graph, int]:
        """Capture the step for minibatches of one size; also return its model evaluations."""
        # Once eagerly: kernels are compiled, memory is allocated, and where there is too little of
        # it the model finds out. The buffers are loaded anew before they count.
        with self._shortage_explained():
            evaluations = buffers.step(self.recipe, size)
            self.device.synchronize()
            try:
                graph = self.device.capture(lambda: buffers.step(self.recipe, size))
            except TnQnnError:
                raise
            except Exception as error:
                if self.device.is_out_of_memory(error):
                    raise
                raise BackendError(
                    f"backend: a training step could not be captured as a CUDA graph ({error!r}). "
                    f"Something in the model, the loss, the estimator or the update does what a "
                    f"graph cannot hold, such as a transfer to the host, and says it is "
                    f"`capturable`."
                ) from error
        return graph, evaluations

    @contextmanager
    def _shortage_explained(self) -> Iterator[None]:
        """Say in the error of a shortage how much there is, and what helps."""
        try:
            yield
        except Exception as error:
            if not self.device.is_out_of_memory(error):
                raise
            raise MemoryBudgetError(
                f"memory: a training step needs more than the {self.device.free_memory():,} bytes "
                f"that are free on the device ({error}); free memory, or give the model less by "
                f"`memory`."
            ) from error
