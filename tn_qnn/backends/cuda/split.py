"""Several devices: a batch, or the slices of a plan, in fixed parts that devices share out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tn_qnn.backends.cuda.executor import CudaExecutor, slice_groups, tree_sum
from tn_qnn.program.job import Job

Array = Any  # of CuPy
#: What is done on a device for a part of the work, its weights and its data.
Work = Callable[[CudaExecutor, "Part", Array, Array], Array]
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

    def local_forms(self, weights: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, ...]:
        """See :class:`~tn_qnn.backends.protocol.Executor`; on the first device alone."""
        return self.executors[0].local_forms(weights, features)

    def accumulate(self, weights: Array, features: Array, out: Array) -> None:
        """See :class:`CudaExecutor`; arrays of the first device. It waits for all devices."""

        def work(executor: CudaExecutor, part: Part, w: Array, x: Array) -> Array:
            found = executor.runtime.cp.zeros((len(out), len(w), len(x)))
            executor.accumulate(w, x, found, part.groups)
            return found

        parts, found = self._everywhere(weights, features, work)
        with self.executors[0].runtime.use():
            if self.job.program.slices > 1:
                out += tree_sum(found)
                return
            for part, values in zip(parts, found, strict=True):
                out[:, part.sets, part.samples] += values

    def pull_back(self, weights: Array, features: Array, slopes: Array, gradient: Array) -> None:
        """See :class:`CudaExecutor`; arrays of the first device. It waits for all devices.

        A device has several parts and memory for the values of one: each part runs forward again.
        """

        def work(executor: CudaExecutor, part: Part, w: Array, x: Array) -> Array:
            there = executor.runtime.copied(slopes[:, part.sets, part.samples])
            found = executor.runtime.cp.zeros_like(w)
            executor.pull_back(w, x, there, found, part.groups)
            return found

        parts, found = self._everywhere(weights, features, work)
        with self.executors[0].runtime.use():
            for part, values in zip(parts, found, strict=True):
                gradient[part.sets] += values

    def _everywhere(
        self, weights: Array, features: Array, work: Work
    ) -> tuple[tuple[Part, ...], list[Array]]:
        """The parts, and what each comes to, on the first device."""
        main = self.executors[0].runtime
        parts = parts_of(weights.shape[0], len(features), self.job.program.slices)
        main.synchronize()  # the inputs are there before others read them
        others = [self._workers.submit(self._share, k, parts, weights, features, work)
                  for k in range(1, len(self.executors))]  # fmt: skip
        # the caller may hold the first device: its part is for this thread
        found = self._share(0, parts, weights, features, work)
        for other in others:
            found |= other.result()
        with main.use():
            return parts, [main.copied(found[k]) for k in range(len(parts))]

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(self.executors) - 1, thread_name_prefix="tn_qnn-cuda")

    def _share(
        self, number: int, parts: tuple[Part, ...], weights: Array, features: Array, work: Work
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
                found[k] = work(executor, part, w, data[part.samples])
            runtime.synchronize()
        return found
