"""From cones to executors that fit in memory: sliced, and split, only as far as they must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Backend, Executor
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.network.batch import ConeBatch
from tn_qnn.network.canonical import Cone
from tn_qnn.plan.budget import Search
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import make_job
from tn_qnn.program.program import Program


@dataclass(frozen=True)
class Fitting:
    """How a model's cones become executors.

    Attributes
    ----------
    backend, dtype, budget
        What runs them, in which precision, within how much memory.
    search, sets, samples
        How plans are found, and the batch that they are made for.
    weight_index
        Column of each weight.
    """

    backend: Backend
    dtype: np.dtype[Any]
    budget: Budget
    search: Search
    sets: int
    samples: int
    weight_index: Mapping[str, int]

    def executors(self, batch: ConeBatch) -> list[Executor]:
        """Executors of a batch of cones, sliced until one sample of one cone fits.

        The executor's own forecast decides, so planner and executor cannot disagree.

        Raises
        ------
        MemoryBudgetError
            With the figures, when no slicing fits.
        """
        budget = self.budget.bytes(self.backend.free_memory())
        itemsize = self.dtype.itemsize * (1 if batch.network.real else 2)
        elements: int | None = None
        while True:
            try:
                plan = self.search.plan(batch.network, self.sets, self.samples, elements)
            except MemoryBudgetError as error:
                raise MemoryBudgetError(
                    f"memory: the budget is {budget:,} bytes, and no slicing fits: {error}"
                ) from error
            program = compile_program(batch.network, plan)
            need = self._executor(program, batch.cones[:1]).forecast(1, 1)
            if need <= budget:
                return self._split(program, batch.cones, budget)
            wanted = budget // itemsize if elements is None else elements * budget // (2 * need)
            if not wanted:
                raise MemoryBudgetError(
                    f"memory: the budget is {budget:,} bytes; even {program.slices:,} slices need"
                    f" {need:,} for one sample. Give more memory"
                )
            elements = wanted

    def _split(self, program: Program, cones: Sequence[Cone], budget: int) -> list[Executor]:
        """As few executors as fit, each with its share of the cones."""
        executor = self._executor(program, cones)
        if len(cones) == 1 or executor.forecast(1, 1) <= budget:
            return [executor]
        half = len(cones) // 2
        first = self._split(program, cones[:half], budget)
        return first + self._split(program, cones[half:], budget)

    def _executor(self, program: Program, cones: Sequence[Cone]) -> Executor:
        job = make_job(program, cones, self.weight_index)
        return self.backend.prepare(job, self.dtype, self.budget)
