"""From cones to executors that fit in memory: sliced, and split, only as far as they must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Backend, Executor
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.network.batch import ConeBatch, Readouts
from tn_qnn.network.canonical import Cone
from tn_qnn.plan.budget import Search
from tn_qnn.program.compile import compile_program
from tn_qnn.program.given import Supply
from tn_qnn.program.job import make_job
from tn_qnn.program.local_forms import with_local_forms
from tn_qnn.program.program import Program
from tn_qnn.program.reverse import with_reverse

KEPT_SHARE = 16  # by which the largest intermediate that is kept shrinks until all fits


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
        Column of each weight that varies.
    reverse
        Whether executors are to sweep back too.
    frozen
        Values of the weights that do not vary.
    supply
        By cone, values that were worked out beforehand.
    """

    backend: Backend
    dtype: np.dtype[Any]
    budget: Budget
    search: Search
    sets: int
    samples: int
    weight_index: Mapping[str, int]
    reverse: bool = False
    frozen: Mapping[str, float] = field(default_factory=dict)
    supply: Supply = field(default_factory=dict)

    def executors(self, readouts: Readouts) -> tuple[Executor, ...]:
        """Executors of all cones."""
        return tuple(e for batch in readouts.batches for e in self._fitted(batch))

    def _fitted(self, batch: ConeBatch) -> list[Executor]:
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
            # a path given is for a batch that fits; slices want one that is made for them
            fits = elements is None
            search = Search(batch.path) if fits and batch.path is not None else self.search
            try:
                plan = search.plan(batch.network, self.sets, self.samples, elements)
            except MemoryBudgetError as error:
                raise MemoryBudgetError(
                    f"memory: the budget is {budget:,} bytes, and no slicing fits: {error}"
                ) from error
            forward = compile_program(batch.network, plan)
            for program in self._passes(forward):
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

    def _passes(self, forward: Program) -> Iterator[Program]:
        """The program; with a reverse sweep, one that keeps ever fewer intermediates."""
        if not self.reverse:
            yield forward
            return
        sweep = with_local_forms if forward.pairs else with_reverse
        yield sweep(forward)
        largest = max(slot.size for slot in forward.slots)
        while largest > 1:
            largest //= KEPT_SHARE
            yield sweep(forward, keep=largest)

    def _split(self, program: Program, cones: Sequence[Cone], budget: int) -> list[Executor]:
        """As few executors as fit, each with its share of the cones."""
        executor = self._executor(program, cones)
        if len(cones) == 1 or executor.forecast(1, 1) <= budget:
            return [executor]
        half = len(cones) // 2
        first = self._split(program, cones[:half], budget)
        return first + self._split(program, cones[half:], budget)

    def _executor(self, program: Program, cones: Sequence[Cone]) -> Executor:
        job = make_job(program, cones, self.weight_index, self.frozen, self.supply)
        return self.backend.prepare(job, self.dtype, self.budget)
