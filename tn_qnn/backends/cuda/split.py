"""Several devices: a batch, or the slices of a plan, in fixed parts that devices share out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tn_qnn.backends.cuda.executor import CudaExecutor, slice_groups, tree_sum
from tn_qnn.program.job import Job

Array = Any  # of CuPy
PARTS, LEAST = 8, 32  # parts of a batch, and points of each but for the last


@dataclass(frozen=True)
class Part:
    """A part of the work: some weight sets, some samples, some groups of slices."""

    sets: slice
    samples: slice
    groups: slice


def parts_of(sets: int, samples: int, slices: int) -> tuple[Part, ...]:
    """Cut the work; the cut knows nothing of how many devices there are.

    Slices are shared out where there are any, since then a sample fills a device; else samples,
    or weight sets where samples are few.

    Examples
    --------
    >>> [part.samples for part in parts_of(sets=2, samples=64, slices=1)]
    [slice(0, 32, None), slice(32, 64, None)]
    """
    if slices > 1:
        groups = len(slice_groups(slices))
        return tuple(Part(slice(0, sets), slice(0, samples), slice(k, k + 1))
                     for k in range(groups))  # fmt: skip
    if samples >= 2 * LEAST or sets == 1:
        return tuple(Part(slice(0, sets), cut, slice(None)) for cut in _cuts(samples, LEAST))
    return tuple(Part(cut, slice(0, samples), slice(None)) for cut in _cuts(sets, 1))


def _cuts(count: int, least: int) -> list[slice]:
    size = max(least, -(-count // PARTS))
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


@dataclass(frozen=True, eq=False)
class SplitExecutor:
    """One job on several devices; the first one holds inputs and outputs.

    Every part is worked out as on a single device, and what has to be summed is summed in one
    fixed tree on the first: so the number of devices changes no bit.
    """

    executors: tuple[CudaExecutor, ...]

    @property
    def job(self) -> Job:
        """The job."""
        return self.executors[0].job

    def forecast(self, sets: int, samples: int) -> int:
        """Bytes on the device that holds most."""
        parts = parts_of(sets, samples, self.job.program.slices)
        return max(
            self.executors[0].forecast(p.sets.stop - p.sets.start, p.samples.stop - p.samples.start)
            for p in parts
        )

    def release(self) -> None:
        """See :class:`CudaExecutor`."""
        for executor in self.executors:
            executor.release()

    def run(self, weights: Array, features: Array) -> np.ndarray:
        """See :class:`~tn_qnn.backends.protocol.Executor`; on the first device alone."""
        return self.executors[0].run(weights, features)

    def accumulate(self, weights: Array, features: Array, out: Array) -> None:
        """See :class:`CudaExecutor`; arrays of the first device. It waits for all devices."""
        main = self.executors[0].runtime
        parts = parts_of(weights.shape[0], len(features), self.job.program.slices)
        main.synchronize()  # the inputs are there before others read them
        others = [self._workers.submit(self._work, k, parts, weights, features, len(out))
                  for k in range(1, len(self.executors))]  # fmt: skip
        # the caller may hold the first device: its part is for this thread
        found = self._work(0, parts, weights, features, len(out))
        for other in others:
            found |= other.result()
        with main.use():
            if self.job.program.slices > 1:
                out += tree_sum([main.copied(found[k]) for k in range(len(parts))])
                return
            for k, part in enumerate(parts):
                out[:, part.sets, part.samples] += main.copied(found[k])

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(self.executors) - 1, thread_name_prefix="tn_qnn-cuda")

    def _work(
        self, number: int, parts: tuple[Part, ...], weights: Array, features: Array, outputs: int
    ) -> dict[int, Array]:
        """Every so-manieth part, on one device."""
        executor = self.executors[number]
        found: dict[int, Array] = {}
        runtime = executor.runtime
        with runtime.use():
            here, data = runtime.copied(weights), runtime.copied(features)
            for k in range(number, len(parts), len(self.executors)):
                part = parts[k]
                w = here[part.sets] if here.ndim == 2 else here[part.sets, part.samples]
                x = data[part.samples]
                found[k] = runtime.cp.zeros((outputs, len(w), len(x)))
                executor.accumulate(w, x, found[k], part.groups)
            runtime.synchronize()
        return found
