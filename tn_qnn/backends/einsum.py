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
from tn_qnn.network.labels import CONES, LABELS, SAMPLES, SETS
from tn_qnn.network.network import Tensor
from tn_qnn.program.job import Job, block_slot_values


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
        if tensor.coefficients is None:
            entry = next(
                b
                for b in self.job.program.blocks
                if (b.element, b.conj) == (tensor.element, tensor.conj)
            )
            flat = block_slot_values(entry, self.job.blocks[entry.element].matrices(weights))
        else:
            flat = self._rotation(tensor, weights, features)
        shape = [self.job.program.network.sizes[i] for i in tensor.indices]
        kept = flat.reshape(*shape, *flat.shape[1:])
        missing = tuple(
            axis - len(LABELS) for axis, label in enumerate(LABELS) if label not in tensor.labels
        )
        kept = array_module(kept).squeeze(kept, axis=missing)
        return (kept.real if kind == self.dtype else kept).astype(kind)

    def _rotation(self, tensor: Tensor, weights: Array, features: Array) -> Array:
        labels = tuple(label for label in LABELS if label in tensor.labels)
        row = self.job.program.row_elements[labels].index(tensor.element)
        angle = self.job.tables[labels].evaluate(weights, features)[row]
        xp = array_module(angle)
        trig = xp.stack([xp.ones_like(angle), xp.cos(angle), xp.sin(angle)])
        assert tensor.coefficients is not None
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
