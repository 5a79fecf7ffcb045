"""What a GPU can reach at best: a small table of devices, and a measurement for any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from tn_qnn.errors import InputError
from tn_qnn.program.rows import LOCAL, VECTOR

if TYPE_CHECKING:
    from tn_qnn.backends.cuda.runtime import CudaRuntime

SHARED_BYTES_PER_CLOCK = 128  # 32 banks of 4 bytes a multiprocessor, since compute capability 5
MB, GB, TB, TERA, GHZ = 1 << 20, 10**9, 1e12, 1e12, 1e9
DTYPE_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of one device; every rate is what the whole device reaches.

    Attributes
    ----------
    name
        As NVIDIA calls it; ``--device`` takes it in any case.
    multiprocessors
        Streaming multiprocessors.
    threads
        Threads that a multiprocessor holds at most.
    clock
        Boost clock in Hz.
    fp32, fp64
        Vector units in floating-point operations a second; a fused multiply-add is two.
    bandwidth
        Device memory by the data sheet, bytes a second read and written together.
    copied
        What a device-to-device copy was seen to reach, bytes read and written; 0 where not known.
    l2
        Second-level cache, bytes.
    shared_block, shared_multiprocessor
        Shared memory in bytes: the most a block may ask for, and all of a multiprocessor's.
    memory
        Device memory, bytes.
    source
        Where the figures come from.
    """

    name: str
    multiprocessors: int
    threads: int
    clock: float
    fp32: float
    fp64: float
    bandwidth: float
    copied: float
    l2: int
    shared_block: int
    shared_multiprocessor: int
    memory: int
    source: str

    @property
    def shared_bandwidth(self) -> float:
        """Bytes a second that all shared memories give together.

        Examples
        --------
        >>> round(ceilings("h100").shared_bandwidth / 1e12)
        33
        """
        return self.multiprocessors * SHARED_BYTES_PER_CLOCK * self.clock

    @property
    def reachable_bandwidth(self) -> float:
        """Device memory's ceiling in bytes a second: a copy's rate where one is known."""
        return self.copied or self.bandwidth

    def operations(self, dtype: str) -> float:
        """Floating-point operations a second in "float32" or "float64"."""
        return self.fp32 if dtype == "float32" else self.fp64


# Data sheets and architecture white papers of NVIDIA; shared memory by compute capability from the
# CUDA C++ Programming Guide, "Technical Specifications" (8.0: 163 of 164 KB, 8.9: 99 of 100 KB,
# 9.0 and 10.0: 227 of 228 KB). The clock is the one at which lanes x clock x 2 is the rated peak.
_TABLE = (
    Ceilings(
        "A100", 108, 2048, 1.41 * GHZ, 19.5 * TERA, 9.7 * TERA, 2.039 * TB, 0,
        40 * MB, 163 << 10, 164 << 10, 80 * GB, "A100 80GB SXM data sheet",
    ),
    Ceilings(
        "H100", 132, 2048, 1.98 * GHZ, 67 * TERA, 34 * TERA, 3.35 * TB, 3.0 * TB,
        50 * MB, 227 << 10, 228 << 10, 80 * GB, "H100 SXM data sheet; copy: published measurement",
    ),
    Ceilings(
        "H200", 132, 2048, 1.98 * GHZ, 67 * TERA, 34 * TERA, 4.8 * TB, 4.3 * TB,
        60 * MB, 227 << 10, 228 << 10, 141 * GB, "H200 data sheet; copy: published measurement",
    ),
    Ceilings(
        "B200", 148, 2048, 1.98 * GHZ, 75 * TERA, 37 * TERA, 8.0 * TB, 0,
        126 * MB, 227 << 10, 228 << 10, 180 * GB, "DGX and HGX B200 data sheets, an eighth",
    ),
    Ceilings(
        "RTX 4090", 128, 1536, 2.52 * GHZ, 82.6 * TERA, 1.29 * TERA, 1.008 * TB, 0,
        72 * MB, 99 << 10, 100 << 10, 24 * GB, "Ada GPU architecture white paper, RTX 4090",
    ),
)  # fmt: skip


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


DEVICES = {_plain(device.name): device for device in _TABLE}
# Words of a driver's name by which a device differs from the table's: another form, or a part.
_OTHERS = {"PCIE", "NVL", "LAPTOP", "D", "40GB", "64GB", "MIG"}


def ceilings(name: str) -> Ceilings:
    """A device of the table.

    Parameters
    ----------
    name
        Such as "h100"; case, spaces and dashes do not count.

    Raises
    ------
    InputError
        For a device that the table lacks; the message lists those it has.

    Examples
    --------
    >>> ceilings("rtx-4090").multiprocessors
    128
    """
    found = DEVICES.get(_plain(name))
    if found is None:
        raise InputError(f"device: one of {', '.join(DEVICES)} expected, not {name!r}")
    return found


def matching(device_name: str) -> Ceilings | None:
    """The table's entry for a name that the driver gives, None where there is none.

    Examples
    --------
    >>> matching("NVIDIA H100 80GB HBM3").name
    'H100'
    >>> matching("NVIDIA H100 PCIe") is None
    True
    """
    words = device_name.upper().replace("-", " ").split()
    if _OTHERS & set(words):
        return None
    text = f" {' '.join(words)} "
    return next((device for device in _TABLE if f" {device.name} " in text), None)


def measured(runtime: CudaRuntime, copied: int = 1 << 28, blocks: int | None = None) -> Ceilings:
    """The ceilings of a device that the table lacks, by two small measurements on it.

    Parameters
    ----------
    runtime
        Of the device.
    copied
        Bytes that are copied on the device, far more than its caches hold.
    blocks
        Blocks that run the synthetic step; default 16 a multiprocessor.

    Returns
    -------
    Ceilings
        Device memory by a copy. Shared memory and arithmetic by the interpreter itself on a step
        whose operands stay in the first-level cache: what it reaches at best, which is less than
        the vector units can do. What is not needed to predict a time is 0.
    """
    facts = runtime.facts
    blocks = 16 * facts.multiprocessors if blocks is None else blocks
    rate = {dtype: _step_rate(runtime, dtype, blocks) for dtype in DTYPE_BYTES}
    on_chip = max(rate[dtype][1] for dtype in DTYPE_BYTES)
    bandwidth = copy_rate(runtime, copied)
    return Ceilings(
        facts.name,
        facts.multiprocessors,
        1024,
        on_chip / (facts.multiprocessors * SHARED_BYTES_PER_CLOCK),
        rate["float32"][0],
        rate["float64"][0],
        bandwidth,
        bandwidth,
        0,
        facts.shared_bytes,
        facts.shared_bytes,
        facts.memory,
        "measured on this device: a copy, and run_stage on a synthetic step",
    )


def copy_rate(runtime: CudaRuntime, size: int = 1 << 28) -> float:
    """Bytes read and written a second by a copy within the device."""
    with runtime.use():
        source = runtime.cp.zeros(size // 4, dtype=np.float32)
        target = runtime.cp.zeros_like(source)

        def copy() -> None:
            target[...] = source

        return 2 * size / _best_seconds(runtime, copy)


def _step_rate(runtime: CudaRuntime, dtype: str, blocks: int) -> tuple[float, float]:
    """Operations and on-chip bytes a second of run_stage on a step of one 4 x 4 tile."""
    from tn_qnn.backends.cuda.sources import variant

    m, n, k, lanes, repeats = 4, 4, 16, 128, 64
    row = np.zeros(32, np.int64)
    row[:4] = 1, m, n, k
    row[8:12] = VECTOR, 0, 0, lanes
    row[16:20] = VECTOR, m * k * lanes, 0, lanes
    row[24:26] = LOCAL, 0
    rows, columns, inner = (np.arange(count) for count in (m, n, k))
    offsets = ([0], rows * k, inner, [0], inner * n, columns, [0], rows * n, columns)
    tables = np.concatenate(offsets).astype(np.int32)
    cp, grid = runtime.cp, (blocks,)
    with runtime.use():
        arguments = (
            cp.zeros((m + n) * k * lanes, dtype=dtype),
            cp.asarray(np.tile(row, (repeats, 1))),
            cp.asarray(tables),
            cp.zeros((repeats, 3), dtype=np.int64),
            cp.asarray(np.array([[0, repeats, 0, len(tables)]], np.int32)),
            *(np.int32(x) for x in (m * n, blocks)),
            np.int64(lanes),
        )
        size = DTYPE_BYTES[dtype]
        shared = m * n * lanes * size + 8 * row.size * repeats + 4 * len(tables)
        kind = variant("run_stage", dtype)
        seconds = _best_seconds(
            runtime,
            lambda: runtime.launch("run_stage", kind, grid, (lanes, 1), arguments, shared),
        )
    times = grid[0] * lanes * repeats / seconds
    # As step_chip_bytes of the roofline counts: operands, results, table entries.
    return 2 * m * n * k * times, (size * ((m + n) * k + m * n) + 4 * (19 + 2 * k)) * times


def _best_seconds(runtime: CudaRuntime, work: Callable[[], None], rounds: int = 5) -> float:
    """Seconds of the fastest of some rounds, the first one not counted."""
    found = []
    for _ in range(rounds + 1):
        runtime.synchronize()
        start = perf_counter()
        work()
        runtime.synchronize()
        found.append(perf_counter() - start)
    return max(min(found[1:]), 1e-9)
