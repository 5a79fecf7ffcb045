"""Executors into outputs: on the host, on a device, or through a device piece by piece."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import Array
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor

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
        return np.ascontiguousarray(self._outputs(np, sets, features, dtype))

    def on_arrays(self, xp: Any, sets: Array, features: Array) -> Array:
        """Outputs of arrays of another module, float64; nothing passes through the host."""
        with self.device.use() if self.device is not None else nullcontext():
            return xp.ascontiguousarray(self._outputs(xp, sets, features, np.dtype(float)))

    def _outputs(self, xp: Any, sets: Array, features: Array, dtype: np.dtype[Any]) -> Array:
        out = xp.zeros((len(self.constants), len(sets), len(features)), dtype=dtype)
        for executor in self.executors:
            executor.accumulate(sets, features, out)
        if self._constant:
            if xp not in self._copies:
                self._copies[xp] = xp.asarray(self.constants)
            out += self._copies[xp].astype(dtype)[:, None, None]
        return out.transpose(1, 2, 0)

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
            upload = self.device.to_device
            for i in range(0, len(features), rows):
                here = sets if sets.ndim == 2 else np.ascontiguousarray(sets[:, i : i + rows])
                found = self.on_arrays(self.device.cp, upload(here), upload(features[i : i + rows]))
                parts.append(self.device.to_host(found))
        return np.concatenate(parts, axis=1)
