"""The CUDA backend: CuPy for memory and elementwise work, our own kernels for the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tn_qnn.backends.cuda import detect
from tn_qnn.backends.cuda.arena import Shelf
from tn_qnn.backends.cuda.ceilings import matching
from tn_qnn.backends.cuda.executor import CudaExecutor
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.backends.cuda.split import SplitExecutor
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import BackendError
from tn_qnn.program.job import Job

#: Share of a device's arithmetic that small contractions reach, for predictions; not measured.
REACHED = 0.1


@dataclass(frozen=True)
class CudaBackend:
    """Makes executors for one device or several.

    Parameters
    ----------
    devices
        Numbers of the devices; the first holds weights, data and outputs.

    Raises
    ------
    BackendError
        When there is no usable GPU, with what to install, or no device of such a number.
    """

    devices: tuple[int, ...] = (0,)
    name: str = "cuda"

    def __post_init__(self) -> None:
        there = detect.require().cuda.runtime.getDeviceCount()
        if not self.devices or len(set(self.devices)) < len(self.devices):
            raise BackendError(f"devices: different numbers expected, not {list(self.devices)}")
        for number in self.devices:
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < there:
                raise BackendError(
                    f"devices: numbers from 0 to {there - 1} expected, not {number!r}; there are"
                    f" {there} CUDA devices"
                )

    @cached_property
    def runtimes(self) -> tuple[CudaRuntime, ...]:
        """One runtime, with a stream of its own, for each device."""
        cp = detect.require()
        return tuple(CudaRuntime(cp, number) for number in self.devices)

    @cached_property
    def shelves(self) -> tuple[Shelf, ...]:
        """What each device keeps: the jobs of a model share it, and the budget."""
        return tuple(Shelf() for _ in self.runtimes)

    def prepare(self, job: Job, dtype: np.dtype[Any], budget: Budget) -> Executor:
        """Bind a job."""
        executors = tuple(
            CudaExecutor(job, dtype, runtime, budget, shelf)
            for runtime, shelf in zip(self.runtimes, self.shelves, strict=True)
        )
        return executors[0] if len(executors) == 1 else SplitExecutor(executors)

    def free_memory(self) -> int:
        """Bytes free on the device that has least."""
        return min(runtime.free_memory() for runtime in self.runtimes)

    def speed(self, dtype: str) -> float:
        """Multiply-adds a second to expect: a rough figure from the device's ceiling."""
        ceilings = [matching(runtime.facts.name) for runtime in self.runtimes]
        known = [c.operations(dtype) / 2 for c in ceilings if c is not None]
        guess = [1e12 * len(self.runtimes)] if len(known) < len(ceilings) else []
        return REACHED * sum(known + guess)


def make_backend(devices: Sequence[int] | None) -> CudaBackend:
    """The backend for some devices, by default the first one."""
    return CudaBackend() if devices is None else CudaBackend(tuple(devices))
