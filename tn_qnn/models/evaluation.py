"""Executors into outputs: on the host, on a device, or through a device piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import MemoryBudgetError

SHARE = 4  # of the budget, its part for data and outputs that go through a device


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What gives a model's outputs, ready to run.

    Attributes
    ----------
    executors
        All jobs.
    constants
        What no circuit changes of each output, shape (K,), float64.
    device
        Runtime of the GPU, or None.
    budget
        What a call may hold.
    """

    executors: tuple[Executor, ...]
    constants: NDArray[np.float64]
    device: Any
    budget: Budget
    _copies: dict[Any, Array] = field(default_factory=dict)

    def on_host(
        self, sets: NDArray[Any], features: NDArray[Any], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Outputs (P, S, K) of NumPy arrays (P, W) or (P, S, W), and (S, F), float64."""
        if self.device is not None:
            return self._through_device(sets, features).astype(dtype)
        out = np.zeros((len(self.constants), len(sets), len(features)), dtype=dtype)
        self._add(np, sets, features, out)
        return np.ascontiguousarray(out.transpose(1, 2, 0))

    def on_arrays(self, xp: Any, sets: Array, features: Array) -> Array:
        """Outputs of arrays of another module, float64; nothing passes through the host."""
        # Memory of outputs is of the caller's stream: CuPy gives it to nobody before that is done.
        with sets.device:
            out = made(
                self.device,
                self.executors,
                lambda: xp.zeros((len(sets), len(features), len(self.constants))),
            )
            with self.device.use() if self.device is not None else nullcontext():
                self._add(xp, sets, features, out.transpose(2, 0, 1))
        return out

    def _uploaded(self, array: NDArray[Any]) -> Array:
        return made(self.device, self.executors, lambda: self.device.to_device(array))

    def _add(self, xp: Any, sets: Array, features: Array, out: Array) -> None:
        """Add the outputs to ``out``, shape (K, P, S) with any strides."""
        for executor in self.executors:
            executor.accumulate(sets, features, out)
        if self._constant:
            if xp not in self._copies:
                self._copies[xp] = xp.asarray(self.constants)
            out += self._copies[xp].astype(out.dtype, copy=False)[:, None, None]

    @cached_property
    def _constant(self) -> bool:
        return bool(self.constants.any())

    def _through_device(self, sets: NDArray[Any], features: NDArray[Any]) -> NDArray[Any]:
        """So many samples at a time as fit beside the contraction."""
        row = 8 * (features.shape[1] + 3 * len(sets) * len(self.constants))
        row += 0 if sets.ndim == 2 else sets[:, 0].nbytes
        rows = max(1, self.budget.bytes(self.device.free_memory()) // (SHARE * max(1, row)))
        parts = []
        with self.device.use():
            for i in range(0, len(features), rows):
                here = sets if sets.ndim == 2 else np.ascontiguousarray(sets[:, i : i + rows])
                w, x = (self._uploaded(array) for array in (here, features[i : i + rows]))
                found = self.on_arrays(self.device.cp, w, x)
                parts.append(self.device.to_host(found))
        return np.concatenate(parts, axis=1)


def made(device: Any, executors: Sequence[Executor], make: Callable[[], Array]) -> Array:
    """An array on the device (or anywhere, without one); arenas go where there is no room beside.

    Raises
    ------
    MemoryBudgetError
        When it does not fit without them either.
    """
    try:
        return make()
    except Exception as error:
        if device is None or device.capturing or not device.is_out_of_memory(error):
            raise
    for executor in executors:
        executor.release()  # type: ignore[attr-defined]  # of the CUDA backend, all of them
    try:
        return make()
    except Exception as error:
        if not device.is_out_of_memory(error):
            raise
        raise MemoryBudgetError(
            f"memory: {device.facts.name} has no room for weights, data and outputs ({error});"
            " give fewer samples or weight sets at once"
        ) from error
