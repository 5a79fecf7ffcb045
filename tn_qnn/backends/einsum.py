"""The slow, obviously right backend: every leaf an array, opt_einsum along the plan's path.

It computes where its arguments lie: on the host for NumPy's, on the GPU for CuPy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tn_qnn.arrays import Array, array_module, beside
from tn_qnn.backends.memory import Budget
from tn_qnn.backends.protocol import Executor
from tn_qnn.machine import free_memory
from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS, ordered
from tn_qnn.network.network import Tensor
from tn_qnn.program.job import Job


@dataclass(frozen=True, eq=False)
class EinsumExecutor:
    """Runs a job by ``opt_einsum.contract``, labels as further indices; the batch in one piece."""

    job: Job
    dtype: np.dtype[Any]

    def run(self, weights: Array, features: Array) -> Array:
        """See :class:`~tn_qnn.backends.protocol.Executor`; all arrays NumPy's, or all CuPy's."""
        import opt_einsum

        xp = array_module(weights)
        network = self.job.program.network
        sizes = {CONES: self.job.cones, SETS: weights.shape[0], SAMPLES: features.shape[0]}
        leaves = [self._leaf(beside(t, weights), weights, features) for t in network.tensors]
        names = {label: len(network.sizes) + k for k, label in enumerate(LABELS)}
        used = [label for label in LABELS if any(label in t.labels for t in network.tensors)]
        output = [*network.output, *(names[label] for label in used)]
        path = _linear_path(self.job.program.plan.path, len(leaves))
        shape = [network.sizes[i] for i in network.output] + [sizes[x] for x in used]
        total: Array = xp.zeros(shape, dtype=leaves[0].dtype)
        sliced = self.job.program.sliced
        for values in product(*(range(network.sizes[i]) for i in sliced)):
            fixed = dict(zip(sliced, values, strict=True))
            arguments: list[Any] = []
            for tensor, leaf in zip(network.tensors, leaves, strict=True):
                kept = [i for i in tensor.indices if i not in fixed]
                where = tuple(fixed.get(i, slice(None)) for i in tensor.indices)
                labels = [names[label] for label in LABELS if label in tensor.labels]
                arguments += [leaf[where], [*kept, *labels]]
            total = total + opt_einsum.contract(*arguments, output, optimize=path)
        full = total.reshape(-1, *(sizes[x] if x in used else 1 for x in LABELS))
        cones = xp.broadcast_to(full, (len(full), self.job.cones, *full.shape[2:]))
        return cones if network.output and not self.job.scatter.values.size else cones.real

    def accumulate(self, weights: Array, features: Array, out: Array) -> None:
        """See :class:`~tn_qnn.backends.protocol.Executor`."""
        self.job.scatter.add(self.run(weights, features), out)

    def pull_back(self, weights: Array, features: Array, slopes: Array, gradient: Array) -> None:
        """See :class:`~tn_qnn.backends.protocol.Executor`.

        Environments one by one, each the contraction of all other tensors: slow, obviously right.
        """
        job, network = self.job, self.job.program.network
        leaves = [self._leaf(beside(t, weights), weights, features) for t in network.tensors]
        seed = job.seed(slopes)
        found: dict[tuple[str, ...], Array] = {}
        blocks: dict[int, Array] = {}
        for place, tensor in enumerate(network.tensors):
            if tensor.conj or SETS not in tensor.labels:
                continue
            around = self._environment(leaves, seed, place)
            labels = ordered(tensor.labels)
            if tensor.coefficients is None:
                blocks[tensor.element] = around
                continue
            row = job.program.row_elements[labels].index(tensor.element)
            coefficients: Array = beside(tensor, weights).coefficients
            flat = coefficients.reshape(3, -1)
            angles = job.tables[labels].evaluate(weights, features)
            xp = array_module(angles)
            slope = xp.stack([-xp.sin(angles[row]), xp.cos(angles[row])])
            by_angle = 2 * xp.einsum("re,rcps,ecps->cps", flat[1:], slope, around).real
            found.setdefault(labels, xp.zeros_like(angles))[row] = by_angle
        for labels, by_angles in found.items():
            job.tables[labels].pull_back(by_angles, weights, features, gradient)
        around = {
            group.slots: array_module(weights).stack(
                [blocks[entry.element] for entry in group.entries], axis=1
            )
            for group in job.block_groups
            if not group.entries[0].conj and group.entries[0].element in blocks
        }
        job.pull_back_blocks(around, weights, gradient)

    def local_forms(self, weights: Array, features: Array) -> tuple[Array, ...]:
        """See :class:`~tn_qnn.backends.protocol.Executor`; environments one by one."""
        program = self.job.program
        network, output = program.network, program.slots[program.output]
        leaves = [self._leaf(t, weights, features) for t in network.tensors]
        sizes = {CONES: self.job.cones, SETS: len(weights), SAMPLES: len(features)}
        used = frozenset(output.labels)
        batch = [sizes[x] if x in used else 1 for x in LABELS]
        turned = [1, 2, 0]  # (1, cos, sin) to (cos, sin, 1)
        found = []
        for place, tensor in enumerate(network.tensors):
            if not tensor.pair:
                continue
            assert tensor.coefficients is not None
            flat = tensor.coefficients.reshape(3, 3, -1)[np.ix_(turned, turned)]
            forms = []
            for seed in np.eye(output.size):
                whole = np.broadcast_to(seed[:, None, None, None], (output.size, *batch))
                around = self._environment(leaves, whole, place, used)
                forms.append(np.einsum("ije,ecps->jicps", flat, around))
            values = np.stack(forms)
            found.append(values if len(output.indices) > 1 else values.real)
        return tuple(found)

    def _environment(
        self, leaves: list[Array], seed: Array, place: int, labels: frozenset[str] | None = None
    ) -> Array:
        """Everything but one tensor, (elements, C or 1, P or 1, S or 1); its labels are kept."""
        import opt_einsum

        network = self.job.program.network
        names = {label: len(network.sizes) + k for k, label in enumerate(LABELS)}
        used = {label for tensor in network.tensors for label in tensor.labels}
        sizes = dict(enumerate(network.sizes))
        lost = tuple(1 + k for k, label in enumerate(LABELS) if label not in used)
        shape = [network.sizes[i] for i in network.output]
        kept = array_module(seed).squeeze(seed, axis=lost)
        arguments: list[Any] = [
            kept.reshape(*shape, *kept.shape[1:]),
            [*network.output, *(names[x] for x in LABELS if x in used)],
        ]
        for number, tensor in enumerate(network.tensors):
            if number != place:
                own = [names[x] for x in LABELS if x in tensor.labels]
                arguments += [leaves[number], [*tensor.indices, *own]]
        tensor = network.tensors[place]
        held = {i for indices in arguments[1::2] for i in indices}
        xp = array_module(seed)
        for i in tensor.indices:
            if i not in held:
                arguments += [xp.ones(sizes[i]), [i]]
        wanted = tensor.labels if labels is None else labels
        output = [*tensor.indices, *(names[x] for x in LABELS if x in wanted)]
        around = opt_einsum.contract(*arguments, output, optimize="greedy")
        batch = iter(around.shape[len(tensor.indices) :])
        return around.reshape(-1, *(next(batch) if x in wanted else 1 for x in LABELS))

    def forecast(self, sets: int, samples: int) -> int:
        """See :class:`~tn_qnn.backends.protocol.Executor`; peak of the path, an upper estimate."""
        program = self.job.program
        sizes = {CONES: self.job.cones, SETS: sets, SAMPLES: samples}
        itemsize = self.dtype.itemsize * (1 if program.network.real else 2)
        elements = sum(
            s.size * int(np.prod([sizes[x] for x in s.labels], dtype=np.int64))
            for s in program.slots
        )
        return elements * itemsize

    def _leaf(self, tensor: Tensor, weights: Array, features: Array) -> Array:
        """A leaf with the axes of its indices, then one for each of its labels."""
        kind = self.dtype if self.job.program.network.real else np.result_type(self.dtype, "c8")
        if tensor.coefficients is not None and len(tensor.coefficients) == 1:
            values = tensor.coefficients[0]
            return (values.real if kind == self.dtype else values).astype(kind)
        if tensor.given is not None:
            flat = self._given(tensor.given, weights, features)
        elif tensor.coefficients is None:
            entry = next(
                b
                for b in self.job.program.blocks
                if (b.element, b.conj) == (tensor.element, tensor.conj)
            )
            flat = next(
                values[:, slots.index(entry.slot)]
                for slots, values in self.job.block_values(weights)
                if entry.slot in slots
            )
        else:
            flat = self._rotation(tensor, weights, features)
        shape = [self.job.program.network.sizes[i] for i in tensor.indices]
        kept = flat.reshape(*shape, *flat.shape[1:])
        missing = tuple(
            axis - len(LABELS) for axis, label in enumerate(LABELS) if label not in tensor.labels
        )
        kept = array_module(kept).squeeze(kept, axis=missing)
        return (kept.real if kind == self.dtype else kept).astype(kind)

    def _given(self, number: int, weights: Array, features: Array) -> Array:
        program = self.job.program
        wanted = next(entry.slot for entry in program.given if entry.number == number)
        table = next(table for table in self.job.given if wanted in table.slots)
        slots = [program.slots[k] for k in table.slots[: table.slots.index(wanted)]]
        first = sum(slot.size * slot.planes for slot in slots)
        size, labels = program.slots[wanted].size, program.slots[wanted].labels
        rows = table.rows(features)[first:]
        if program.slots[wanted].complex:
            rows = rows[:size] + 1j * rows[size : 2 * size]
        # a constant may stand beside each weight set
        sets = len(weights) if SETS in labels else 1
        samples = len(features) if SAMPLES in labels else 1
        shape = (size, rows.shape[1], sets, samples)
        return array_module(rows).broadcast_to(rows[:size], shape)

    def _rotation(self, tensor: Tensor, weights: Array, features: Array) -> Array:
        labels = tuple(label for label in LABELS if label in tensor.labels)
        row = self.job.program.row_elements[labels].index(tensor.element)
        angle = self.job.tables[labels].evaluate(weights, features)[row]
        xp = array_module(angle)
        trig = xp.stack([xp.ones_like(angle), xp.cos(angle), xp.sin(angle)])
        assert tensor.coefficients is not None
        if tensor.pair:
            both = tensor.coefficients.reshape(3, 3, -1)
            return xp.einsum("ije,icps,jcps->ecps", both, trig, trig)
        flat = tensor.coefficients.reshape(3, -1)
        return xp.einsum("re,rcps->ecps", flat, trig)


def _linear_path(path: tuple[tuple[int, int], ...], num_leaves: int) -> list[tuple[int, ...]]:
    """SSA pairs as opt_einsum's positions in a shrinking list."""
    alive = list(range(num_leaves))
    linear: list[tuple[int, ...]] = []
    for step, pair in enumerate(path):
        places = sorted(alive.index(node) for node in pair)
        linear.append(tuple(places))
        for place in reversed(places):
            del alive[place]
        alive.append(num_leaves + step)
    return linear


@dataclass(frozen=True)
class EinsumBackend:
    """Makes :class:`EinsumExecutor`."""

    name: str = "einsum"

    def prepare(self, job: Job, dtype: np.dtype[Any], budget: Budget) -> Executor:
        """Bind a job."""
        return EinsumExecutor(job, dtype)

    def free_memory(self) -> int:
        """Bytes that are free on the host."""
        return free_memory()

    def speed(self, dtype: str) -> float:
        """Multiply-adds a second to expect: a rough figure, it is not made for speed."""
        return 2e8
