"""How much of a batch runs at once."""

from __future__ import annotations

import math
from collections.abc import Callable

from tn_qnn.backends.cuda.arena import Layout
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.program.job import Job
from tn_qnn.program.placement import Sizes

#: Multiply-adds in the time of one launch, by which chunks are weighed against each other.
LAUNCH_WORK = 1 << 26


def needed(job: Job, layout: Layout, itemsize: int) -> int:
    """Bytes that a chunk holds: arena, tables, and what inputs and gradients are worked out in."""
    sizes = layout.placement.sizes
    inputs = job.input_bytes(sizes.sets, sizes.samples)
    return layout.bytes(itemsize) + max(inputs, sweep_bytes(job, sizes))


def sweep_bytes(job: Job, sizes: Sizes) -> int:
    """Bytes of the temporaries before and behind a sweep back, about; 0 without one."""
    program, counts = job.program, sizes.of()
    if program.reverse is None:
        return 0
    output = program.slots[program.output]
    # the seed's sum and its addends; a density matrix has two halves, each once as it is read
    seed = (6 * 16 if output.complex else 3 * 8) * output.size * math.prod(counts.values())
    entries = [
        2 ** len(b.fixed) * math.prod(counts[x] for x in program.slots[b.slot].labels)
        for b in program.blocks
    ]
    # cotangents, eigenvectors and the products of a block's chart are complex128
    return max(seed, 8 * 16 * sum(entries))


def fitting_chunk(
    job: Job,
    whole: Sizes,
    itemsize: int,
    budget: int,
    layout_of: Callable[[Sizes], Layout],
    where: str,
) -> Sizes:
    """Halves of halves of a batch, each time the half by which all of it takes less time.

    Parameters
    ----------
    job, whole, itemsize
        What runs, its batch, and bytes of a scalar.
    budget
        Bytes that a chunk may hold.
    layout_of
        Lays the job out for a batch size.
    where
        Whose budget it is, for the message.

    Raises
    ------
    MemoryBudgetError
        When not even one sample with one set of weights fits.
    """

    def cost(chunk: Sizes) -> int:
        count = -(-whole.sets // chunk.sets) * -(-whole.samples // chunk.samples)
        launches = len(layout_of(chunk).schedule.launches) * job.program.slices
        return count * (job.program.multiply_adds(chunk.of()) + LAUNCH_WORK * launches)

    size = whole
    while True:
        layout = layout_of(size)
        need = needed(job, layout, itemsize)
        if need <= budget and layout.reachable(itemsize):
            return size
        if (size.sets, size.samples) == (1, 1):
            raise MemoryBudgetError(
                f"memory: one sample needs {need:,} bytes, {where} is {budget:,}; give more memory"
                " or a smaller circuit"
            )
        size = min(_halves(size), key=cost)


def _halves(size: Sizes) -> list[Sizes]:
    found = []
    if size.samples > 1:
        found.append(Sizes(size.cones, size.sets, -(-size.samples // 2)))
    if size.sets > 1:
        found.append(Sizes(size.cones, -(-size.sets // 2), size.samples))
    return found
