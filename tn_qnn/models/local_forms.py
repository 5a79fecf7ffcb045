"""Outputs of a model where the angle of one gate is another: the closed form of each gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.network.batch import Readouts
from tn_qnn.network.pairs import paired
from tn_qnn.program.arena import ALIGN
from tn_qnn.program.job import Job
from tn_qnn.program.placement import Sizes
from tn_qnn.program.program import Form
from tn_qnn.train.protocol import LocalOutputs

Array = NDArray[Any]
Lot = tuple[tuple[int, ...], slice]  # forms, by number, and cones
MAX_NUMBERS = 1 << 20  # numbers that are worked out at once


def paired_readouts(readouts: Readouts) -> Readouts:
    """The same with each gate's tensors in ket and bra as one leaf, along paths of their own."""
    batches = (replace(b, network=paired(b.network), path=None) for b in readouts.batches)
    return replace(readouts, batches=tuple(batches))


@dataclass(frozen=True, eq=False)
class LocalForms:
    """What tells a model's outputs for other angles of single gates, ready to run.

    Attributes
    ----------
    executors
        All jobs, with local forms each.
    budget
        What all executors together may hold, and the free memory it is a share of.
    free_memory
        Gives the bytes that are free.
    """

    executors: tuple[Executor, ...]
    budget: Budget
    free_memory: Callable[[], int]
    _chunks: dict[int, int] = field(default_factory=dict)

    def run(
        self, weights: Array, features: Array, sets: Array, outputs: Array
    ) -> Iterator[LocalOutputs]:
        """Outputs with single gates turned.

        Parameters
        ----------
        weights, features, sets
            Shapes (W,), (S, F) and (N, W), float64.
        outputs
            Those at ``weights``, shape (S, K), float64.
        """
        size = self.chunk(len(features))
        for start in range(0, len(features), size):
            rows = slice(start, min(start + size, len(features)))
            data, near = features[rows], outputs[rows]
            for executor in self.executors:
                forms = executor.local_forms(weights[None], data)
                turned = _Turned(executor.job, forms, np.vstack([weights, sets]), data, near)
                for lot in turned.lots():
                    yield LocalOutputs(rows, turned.outputs(*lot), *turned.uses(*lot))

    def chunk(self, samples: int) -> int:
        """Samples that there is room for: a half of a half ... of the batch.

        Raises
        ------
        MemoryBudgetError
            When not even one sample fits.
        """
        if samples not in self._chunks:
            budget = self.budget.bytes(self.free_memory())
            size = samples
            while (need := self.forecast(size)) > budget:
                if size == 1:
                    raise MemoryBudgetError(
                        f"memory: the surroundings of all gates need {need:,} bytes for one sample,"
                        f" the budget is {budget:,}; give more memory, or use SPSA"
                    )
                half = -(-size // 2)
                size = -(-half // ALIGN) * ALIGN if half > ALIGN else half
            self._chunks[samples] = size
        return self._chunks[samples]

    def forecast(self, samples: int) -> int:
        """Bytes that so many samples hold; what is worked out at once is bounded otherwise."""
        held = max((_form_bytes(e.job, samples) for e in self.executors), default=0)
        return held + sum(executor.forecast(1, samples) for executor in self.executors)


def _form_bytes(job: Job, samples: int) -> int:
    """Bytes of a job's forms in double precision, and of the copy by which they are stacked."""
    program, sizes = job.program, Sizes(job.cones, 1, samples).of()
    output = program.slots[program.output]
    batch = math.prod(sizes[x] for x in output.labels)
    elements = sum(program.slots[f.slot].size * program.slots[f.slot].planes for f in _forms(job))
    return 2 * 8 * elements * output.size * batch


def _forms(job: Job) -> tuple[Form, ...]:
    assert job.program.reverse is not None
    return job.program.reverse.forms


@dataclass(frozen=True, eq=False)
class _Turned:
    """Forms of a job for some samples, and the weight sets, the first of them the model's own."""

    job: Job
    forms: tuple[Array, ...]
    sets: Array
    features: Array
    near: Array
    _angles: dict[tuple[str, ...], Array] = field(default_factory=dict)

    def lots(self) -> Iterator[Lot]:
        """Forms with angles of equal labels and functions, as many and as many cones as fit."""
        kinds: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for number, form in enumerate(_forms(self.job)):
            labels, _ = self._row(number)
            functions = self.job.program.slots[form.slot].shape[0]
            kinds.setdefault((labels, functions), []).append(number)
        samples, num_outputs = self.near.shape
        values = 3 * len(self.forms[0]) if self.forms else 0
        each = len(self.sets) * samples * max(num_outputs, values)  # numbers of one occurrence
        cones = min(self.job.cones, max(1, MAX_NUMBERS // each))
        together = max(1, MAX_NUMBERS // (each * cones))
        for numbers in kinds.values():
            for start in range(0, len(numbers), together):
                some = tuple(numbers[start : start + together])
                for first in range(0, self.job.cones, cones):
                    yield some, slice(first, min(first + cones, self.job.cones))

    def outputs(self, numbers: tuple[int, ...], cones: slice) -> Array:
        """Outputs (n, N, s, K) of the occurrences of a lot: forms x cones."""
        samples, num_outputs = self.near.shape
        count, functions = cones.stop - cones.start, self.forms[numbers[0]].shape[1]
        angles = np.stack([self._angle(number, cones) for number in numbers])
        trig = np.stack([np.cos(angles), np.sin(angles), np.ones_like(angles)])[:functions]
        stack = [_of_cones(self.forms[number], cones, 3) for number in numbers]
        shape = (*stack[0].shape[:3], count, 1, samples)
        forms = np.stack([np.broadcast_to(one, shape)[..., 0, :] for one in stack])
        # f form, t term, c cone, n weight set, s sample
        values = np.einsum("ftijcs,jfcns->fticns", forms, trig)
        values = np.einsum("fticns,ifcns->tcfns", values, trig)
        changes = values[..., 1:, :] - values[..., :1, :]
        job = self.job
        moved = job.scatter.by_cone(changes, cones, job.cones, num_outputs)  # (c, K, f, N, s)
        out = np.moveaxis(moved, (2, 1), (0, -1)) + self.near
        return out.reshape(len(numbers) * count, *out.shape[2:])

    def uses(self, numbers: tuple[int, ...], cones: slice) -> tuple[Array, Array]:
        """The occurrences of a lot that depend on weights, and on which, one a pair."""
        columns = []
        for number in numbers:
            labels, row = self._row(number)
            table = self.job.tables[labels]
            for cone in range(cones.start, cones.stop):
                own = cone if table.cones > 1 else 0
                columns.append(table.columns[row * table.cones + own])
        occurrences = np.repeat(np.arange(len(columns)), [len(found) for found in columns])
        return occurrences, np.concatenate(columns)

    def _row(self, number: int) -> tuple[tuple[str, ...], int]:
        """The angle table of a form, and its row there."""
        ket = _forms(self.job)[number].pair.ket
        return self.job.program.slots[ket].labels, self._rows[ket]

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {angle.slot: angle.row for angle in self.job.program.angles}

    def _angle(self, number: int, cones: slice) -> Array:
        """Angles (cones, 1 + N, s) of a form."""
        labels, row = self._row(number)
        if labels not in self._angles:
            self._angles[labels] = self.job.tables[labels].evaluate(self.sets, self.features)
        found = _of_cones(self._angles[labels][row], cones, 0)
        return np.broadcast_to(found, (cones.stop - cones.start, len(self.sets), len(self.near)))


def _of_cones(array: Array, cones: slice, axis: int) -> Array:
    """Some cones of an array that may be the same in all."""
    where = (slice(None),) * axis
    return array if array.shape[axis] == 1 else array[(*where, cones)]
