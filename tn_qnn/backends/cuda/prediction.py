"""What a call of a model should take on a device that need not be here: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tn_qnn.backends.cuda.arena import Layout, lay_out
from tn_qnn.backends.cuda.ceilings import DTYPE_BYTES, Ceilings
from tn_qnn.backends.cuda.chunking import fitting_chunk, needed
from tn_qnn.backends.cuda.roofline import NODE_SECONDS, Line, predict
from tn_qnn.backends.cuda.schedule import Limits
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.program.job import Job
from tn_qnn.program.placement import Sizes

NAMES = {CONES: "cones", SETS: "sets", SAMPLES: "samples"}
HEAD = (
    "stage", "kernel", "steps", "points", "blocks", "device bytes", "on-chip bytes", "operations",
    "limit", "predicted",
)  # fmt: skip
MEASURED = ("measured", "of ceiling")
#: Nodes of a captured training step beside the contraction: gather the minibatch, draw and apply
#: the directions, loss, credit, gradient, update rule, counters. Counted in a capture on the
#: stand-in for CuPy of the tests, for Adam and cross entropy.
STEP_NODES = 72
#: Elementwise kernels that make the seed of a sweep back: zeros, a gather, its factors, the
#: addition, both planes; those of an open readout are a few more.
SEED_NODES = 6


@dataclass(frozen=True)
class JobPrediction:
    """One cone topology on a device.

    Attributes
    ----------
    cones
        How many cones share it.
    lines
        The launches of one chunk of the batch.
    chunks
        How many chunks the batch needs to fit in the memory, and so how often all that runs.
    nodes
        Small launches beside them: filling the angles of a label set, reading out, the seed of a
        sweep back, the derivatives by the weights of a label set.
    bytes
        Of device memory that a chunk holds.
    """

    cones: int
    lines: tuple[Line, ...]
    chunks: int
    nodes: int
    bytes: int

    @property
    def seconds(self) -> float:
        """Predicted seconds of a call; what depends on nothing was worked out before."""
        launches = sum(x.runs * x.seconds for x in self.lines if x.labels or x.runs > 1)
        return self.chunks * (launches + self.nodes * NODE_SECONDS)


def predict_job(
    job: Job, sets: int, samples: int, dtype: str, device: Ceilings, budget: int
) -> JobPrediction:
    """Predict a job.

    Parameters
    ----------
    job
        Circuits lowered to a program.
    sets, samples
        The batch.
    dtype
        "float32" or "float64".
    device
        Its ceilings.
    budget
        Bytes of device memory that it may hold.

    Raises
    ------
    MemoryBudgetError
        When not even one sample with one set of weights fits.
    """
    limits = Limits(device.shared_block, device.multiprocessors)
    itemsize = DTYPE_BYTES[dtype]
    whole = Sizes(job.cones, sets, samples)

    def layout_of(sizes: Sizes) -> Layout:
        return lay_out(job, sizes, itemsize, limits)

    chunk = fitting_chunk(job, whole, itemsize, budget, layout_of, f"the budget of {device.name}")
    layout = layout_of(chunk)
    lines = predict(layout.schedule, chunk, dtype, device)
    chunks = -(-sets // chunk.sets) * -(-samples // chunk.samples)
    fills = sum(1 for labels in job.tables if {SETS, SAMPLES} & set(labels))
    pulls = len(layout.placement.environments) * job.program.slices
    seeds = SEED_NODES if job.program.reverse else 0
    held = needed(job, layout, itemsize)
    nodes = fills + job.program.slices + seeds + pulls
    return JobPrediction(job.cones, lines, chunks, nodes, held)


def rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Cells of a table under :data:`HEAD`, and under :data:`MEASURED` where it was measured."""
    return [_cells(x) + (() if x.measured is None else _measured(x, x.measured)) for x in lines]


def _cells(x: Line) -> tuple[str, ...]:
    return (
        stage_name(x.labels),
        x.kernel,
        f"{x.steps}",
        f"{x.points:,}",
        f"{x.load.blocks:,}",
        scaled(x.load.device_bytes, "B"),
        scaled(x.load.chip_bytes, "B"),
        scaled(x.load.operations, ""),
        x.limit,
        seconds_text(x.seconds) + (f" x {x.runs}" if x.runs > 1 else ""),
    )


def _measured(x: Line, seconds: float) -> tuple[str, str]:
    return seconds_text(seconds), f"{x.ceiling / seconds:.0%}"


def stage_name(labels: tuple[str, ...]) -> str:
    """What a stage runs once for each of.

    Examples
    --------
    >>> stage_name(("p", "s"))
    'sets and samples'
    """
    return " and ".join(NAMES[x] for x in labels) or "plan (once)"


def record(x: Line) -> dict[str, Any]:
    """A launch as a mapping of plain values; times in seconds."""
    return {
        "stage": stage_name(x.labels),
        "kernel": x.kernel,
        "steps": x.steps,
        "points": x.points,
        **asdict(x.load),
        "limit": x.limit,
        "runs": x.runs,
        "ceiling": x.ceiling,
        "predicted": x.seconds,
        "measured": x.measured,
    }


def scaled(value: float, unit: str) -> str:
    """A number with a decimal prefix.

    Examples
    --------
    >>> scaled(1234567, "B"), scaled(12, "B"), scaled(1234, "")
    ('1.23 MB', '12 B', '1.23 k')
    """
    power = 0 if value < 999.5 else min(4, int(math.log10(value * 1.0005) / 3))
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T'][power]}{unit}".rstrip()


def seconds_text(value: float) -> str:
    """A time in µs, ms or s.

    Examples
    --------
    >>> seconds_text(1.2345e-5)
    '12.3 µs'
    """
    scale, unit = (1e6, "µs") if value < 1e-3 else (1e3, "ms") if value < 1 else (1, "s")
    return f"{value * scale:.3g} {unit}"
