"""The machine behind the stand-in for CuPy: devices, memory pools, streams, events, graphs.

Every operation is a function without arguments that reads and writes NumPy arrays. An eager
machine runs it at once; a lazy one queues it on its stream, and runs it only when the host waits,
or when another stream waits for an event behind it: work that nothing orders is not done yet
when it is looked at. While a stream captures, operations are recorded, not run.

The rules are those of CuPy 14.2.0; comments name the file and line that each stands for.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cupy_standin_errors import CUDARuntimeError, OutOfMemoryError, StandinError
from .cupy_standin_streams import Event, Operation, Stream

UNIT = 512  # bytes to which a pool rounds (memory.pyx:40)
POISON = 0xFF  # every byte of memory that nobody wrote: NaN, or -1


@dataclass
class Counters:
    """What was done since the machine was made."""

    allocations: int = 0
    to_device: int = 0
    to_host: int = 0
    launches: list[str] = field(default_factory=list)


class Machine:
    """All state of one stand-in."""

    def __init__(self, devices: int, memory: int, lazy: bool, status: int) -> None:
        self.devices, self.memory, self.lazy, self.status = devices, memory, lazy, status
        self.used = [0] * devices
        self.fail_in: int | None = None
        self.counters = Counters()
        self.lock = threading.RLock()
        self.local = threading.local()
        self.numbers = itertools.count(0x1000)
        self.streams: dict[int, list[Stream]] = defaultdict(list)
        self.null = Stream(self, null=True)
        self.pool = MemoryPool(self)

    def check(self) -> None:
        """Raise what every call raises where there is no driver, or no device."""
        if self.status or not self.devices:
            raise CUDARuntimeError(self.status or 100)

    @property
    def device(self) -> int:
        """The current device of this thread."""
        self.check()
        return getattr(self.local, "device", 0)

    def set_device(self, device: int) -> None:
        self.check()
        if not 0 <= device < self.devices:
            raise CUDARuntimeError(101)
        # Nothing forbids it in CUDA, but work for another device would not be recorded.
        if device != self.device and self.stream._capturing:
            raise StandinError("the device changes while the current stream captures")
        self.local.device = device

    @property
    def stacks(self) -> dict[int, list[Stream]]:
        """The streams of this thread, by device; the last one is current (stream.pyx:14)."""
        if not hasattr(self.local, "streams"):
            self.local.streams = defaultdict(lambda: [self.null])
        return self.local.streams

    @property
    def stream(self) -> Stream:
        return self.stacks[self.device][-1]

    def refuse_capture(self, message: str) -> None:
        """Raise CuPy's own error if the current stream captures; the capture stays valid."""
        if self.stream._capturing:
            raise RuntimeError(f"the current stream is capturing, so {message}")

    def run(self, operation: Operation, blocks: Iterable[Block] = ()) -> None:
        """Run an operation on the current stream, now or later; ``blocks`` are what it touches."""
        stream = self.stream
        with self.lock:
            if stream._graph is not None:
                stream._graph._operations.append(operation)
                stream._graph._touch(blocks)
            elif self.lazy:
                self._enqueue(stream, operation)
            else:
                operation()

    def _enqueue(self, stream: Stream, operation: Operation) -> None:
        # The legacy stream and blocking streams wait for each other.
        for other in self._blocking(stream):
            event = Event(self)
            event._place = other, len(other._queue)
            stream._queue.append(event._reach)
        stream._queue.append(operation)

    def _blocking(self, stream: Stream) -> list[Stream]:
        if stream is not self.null:
            return [] if stream._non_blocking else [self.null]
        return [s for group in self.streams.values() for s in group if not s._non_blocking]

    def reserve(self, device: int, size: int) -> None:
        """Take memory of a device, or raise cudaErrorMemoryAllocation."""
        if self.used[device] + size > self.memory:
            raise CUDARuntimeError(2)
        self.used[device] += size


class Block:
    """A piece of device memory of a pool: its bytes, and how often it was taken and given back."""

    def __init__(self, device: int, size: int, pool: MemoryPool) -> None:
        self.device, self.pool, self.alive = device, weakref.ref(pool), True
        self.pool_number = id(pool)
        self.bytes = np.full(size, POISON, dtype=np.uint8)
        self.taken = self.freed = 0

    def poison(self) -> None:
        self.bytes[:] = POISON

    def release(self, machine: Machine) -> None:
        """Give the memory back to the device."""
        self.alive = False
        machine.used[self.device] -= len(self.bytes)


class Allocation:
    """A block in use; gives it back when nobody holds it."""

    def __init__(self, block: Block, stream: Stream) -> None:
        self.block, self.stream = block, stream

    def __del__(self) -> None:
        pool = self.block.pool()
        if pool is None:  # then the memory is freed at once (memory.pyx:1010, 121)
            self.block.release(self.stream._machine)
        else:
            pool._give_back(self.block, self.stream)


class MemoryPool:
    """``cupy.cuda.MemoryPool``: freed blocks are kept, by stream, and reused (memory.pyx:1352)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._free: dict[tuple[int, int, int], list[Block]] = defaultdict(list)
        self._used: dict[int, int] = defaultdict(int)

    def malloc(self, size: int) -> Allocation:
        machine = self._machine
        size = -(-max(size, 1) // UNIT) * UNIT
        with machine.lock:
            device, stream = machine.device, machine.stream
            machine.counters.allocations += 1
            if machine.fail_in is not None:
                machine.fail_in -= 1
                if machine.fail_in <= 0:
                    machine.fail_in = None
                    raise OutOfMemoryError(size, self.total_bytes())
            if stream._graph is not None:
                if self is machine.pool:
                    raise StandinError(
                        "memory from the default pool while the stream captures: the graph keeps"
                        " no reference, the pool would give it to others (see graph.pyx)"
                    )
                stream._graph._pools.add(self)
            kept = self._free[device, stream.ptr, size]
            block = kept.pop() if kept else self._new_block(device, size)
            block.taken += 1
            self._used[device] += size
            if stream._graph is not None:
                stream._graph._touch([block])
            return Allocation(block, stream)

    def _new_block(self, device: int, size: int) -> Block:
        try:
            self._machine.reserve(device, size)
        except CUDARuntimeError:  # only this pool's blocks are given back (memory.pyx:1518)
            self.free_all_blocks()
            try:
                self._machine.reserve(device, size)
            except CUDARuntimeError:
                raise OutOfMemoryError(size, self.total_bytes()) from None
        return Block(device, size, self)

    def _give_back(self, block: Block, stream: Stream) -> None:
        machine = self._machine
        with machine.lock:
            block.freed += 1
            self._used[block.device] -= len(block.bytes)
            self._free[block.device, stream.ptr, len(block.bytes)].append(block)
            # In the order of the stream: what is queued before may still read it.
            if machine.lazy and stream._graph is None:
                stream._queue.append(block.poison)
            else:
                block.poison()

    def free_all_blocks(self) -> None:
        machine = self._machine
        with machine.lock:
            for kept in self._free.values():
                while kept:
                    kept.pop().release(machine)

    def used_bytes(self) -> int:
        return self._used[self._machine.device]

    def free_bytes(self) -> int:
        device = self._machine.device
        with self._machine.lock:  # as CuPy's pool has one; another thread may allocate
            return sum(size * len(kept) for (d, _, size), kept in self._free.items() if d == device)

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def __del__(self) -> None:
        self.free_all_blocks()  # the chunks' memory is freed with them (memory.pyx:1010)


class Device:
    """``cupy.cuda.Device`` (device.pyx)."""

    def __init__(self, machine: Machine, device: Any = None) -> None:
        self._machine = machine
        self.id = machine.device if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        self._machine.local.__dict__.setdefault("devices", []).append(self._machine.device)
        self.use()
        return self

    def __exit__(self, *args: object) -> None:
        self._machine.set_device(self._machine.local.devices.pop())

    def use(self) -> Device:
        self._machine.set_device(self.id)
        return self

    def synchronize(self) -> None:
        for stream in [self._machine.null, *self._machine.streams[self.id]]:
            stream.synchronize()

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        self._machine.check()
        if not 0 <= self.id < self._machine.devices:
            raise CUDARuntimeError(101)
        return self._machine.memory - self._machine.used[self.id], self._machine.memory

    @property
    def attributes(self) -> dict[str, int]:
        return {"MaxSharedMemoryPerBlockOptin": 232448, "MultiProcessorCount": 132}


@contextmanager
def using_allocator(machine: Machine, allocator: Callable[[int], Allocation]) -> Iterator[None]:
    """As ``cupy.cuda.using_allocator``: for this thread only."""
    before = getattr(machine.local, "allocator", None)
    machine.local.allocator = allocator
    try:
        yield
    finally:
        machine.local.allocator = before


def allocate(machine: Machine, size: int) -> Allocation:
    """Memory from this thread's allocator."""
    allocator = getattr(machine.local, "allocator", None)
    return (allocator or machine.pool.malloc)(size)
