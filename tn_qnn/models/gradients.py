"""Exact gradients of a model: chunks of samples forward, slopes of the loss, and back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.models.evaluation import made
from tn_qnn.program.arena import ALIGN

Array = NDArray[Any]
#: ``slopes(outputs (s, K), rows)`` gives the derivatives of the loss by these outputs, (s, K).
Slopes = Callable[[Array, slice], Array]


@dataclass(frozen=True, eq=False)
class Gradients:
    """What gives a model's outputs and their pull-back, ready to run.

    Attributes
    ----------
    executors
        All jobs, with a reverse sweep each.
    constants
        What no circuit changes of each output, shape (K,).
    device
        Runtime of the GPU, or None.
    budget
        What all executors together may hold, and the free memory it is a share of.
    free_memory
        Gives the bytes that are free.
    """

    executors: tuple[Executor, ...]
    constants: Array
    device: Any
    budget: Budget
    free_memory: Callable[[], int]
    _chunks: dict[tuple[int, int], int] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def run(self, weights: Array, features: Array, slopes: Slopes) -> tuple[Array, Array]:
        """Outputs (P, S, K) and gradient (P, W), float64, for weights (P, W) and data (S, F)."""
        sets, samples = len(weights), len(features)
        size = self.chunk(sets, samples)
        outputs = np.zeros((sets, samples, len(self.constants)))
        gradient = np.zeros(weights.shape)
        with self._lock:  # between the passes the executors hold values of this call
            for start in range(0, samples, size):
                rows = slice(start, min(start + size, samples))
                here = partial(_of_rows, slopes, rows)
                outputs[:, rows], found = self._chunk(weights, features[rows], here)
                gradient += found
        return outputs, gradient

    def _chunk(
        self, weights: Array, features: Array, slopes: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        if self.device is not None:
            with self.device.use():
                return self._on_device(weights, features, slopes)
        out = np.zeros((len(self.constants), len(weights), len(features)))
        for executor in self.executors:
            executor.accumulate(weights, features, out)
        outputs = np.ascontiguousarray(out.transpose(1, 2, 0)) + self.constants
        back = self._slopes(outputs, slopes)
        gradient = np.zeros(weights.shape)
        for executor in self.executors:
            executor.pull_back(weights, features, back, gradient)
        return outputs, gradient

    def _on_device(
        self, weights: Array, features: Array, slopes: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        device, shape = self.device, (len(self.constants), len(weights), len(features))

        def sent(array: Array) -> Array:
            return made(device, self.executors, lambda: device.to_device(array, np.float64))

        w, x = sent(weights), sent(features)
        out = made(device, self.executors, lambda: device.cp.zeros(shape))
        for executor in self.executors:
            executor.accumulate(w, x, out)
        outputs = device.to_host(out).transpose(1, 2, 0) + self.constants
        back = sent(self._slopes(outputs, slopes))
        gradient = sent(np.zeros(weights.shape))
        for executor in self.executors:
            executor.pull_back(w, x, back, gradient)
        return outputs, device.to_host(gradient)

    def _slopes(self, outputs: Array, slopes: Callable[[Array], Array]) -> Array:
        """Slopes of all weight sets, (K, P, S)."""
        found = [np.asarray(slopes(one), dtype=float) for one in outputs]
        for one in found:
            if one.shape != outputs.shape[1:]:
                raise InputError(
                    f"slopes: shape {one.shape} returned, expected {outputs.shape[1:]}, one slope"
                    " for each output of each sample"
                )
        return np.ascontiguousarray(np.stack(found).transpose(2, 0, 1))

    def chunk(self, sets: int, samples: int) -> int:
        """Samples that all executors together have room for: a half of a half ... of the batch.

        Raises
        ------
        MemoryBudgetError
            When not even one sample fits.
        """
        key = sets, samples
        if key not in self._chunks:
            budget = self.budget.bytes(self.free_memory())
            size = samples
            while (need := self.forecast(sets, size)) > budget:
                if size == 1:
                    raise MemoryBudgetError(
                        f"memory: the gradient of one sample needs {need:,} bytes, the budget is"
                        f" {budget:,}; give more memory, or use SPSA"
                    )
                half = -(-size // 2)
                size = -(-half // ALIGN) * ALIGN if half > ALIGN else half
            self._chunks[key] = size
        return self._chunks[key]

    def forecast(self, sets: int, samples: int) -> int:
        """Bytes that a sweep over so many samples holds."""
        return sum(executor.forecast(sets, samples) for executor in self.executors)


def _of_rows(slopes: Slopes, rows: slice, outputs: Array) -> Array:
    return slopes(outputs, rows)
