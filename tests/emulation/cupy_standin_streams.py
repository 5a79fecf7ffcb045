"""Streams, events and graphs of the stand-in for CuPy; see cupy_standin_device.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .cupy_standin_errors import CUDARuntimeError, StandinError

if TYPE_CHECKING:
    from .cupy_standin_device import Block, Machine, MemoryPool

Operation = Callable[[], None]


class Stream:
    """``cupy.cuda.Stream`` (stream.pyx)."""

    null: Stream

    def __init__(self, machine: Machine, null: bool = False, non_blocking: bool = False) -> None:
        self._machine, self._non_blocking = machine, non_blocking
        self.ptr = 0 if null else next(machine.numbers)
        self.device_id = -1 if null else machine.device
        self._queue: list[Operation] = []
        self._done_to = 0
        self._graph: Graph | None = None
        self._broken = False
        if not null:
            machine.streams[self.device_id].append(self)

    @property
    def _capturing(self) -> bool:
        return self._graph is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def _check_device(self) -> int:
        device = self._machine.device  # stream.pyx: check_stream_device_match
        if self.device_id not in (-1, device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id})"
                f" does not match with the current device ({device})"
            )
        return device

    def __enter__(self) -> Stream:
        device = self._check_device()
        self._machine.stacks[device].append(self)
        self._machine.local.__dict__.setdefault("entered", []).append(device)
        return self

    def __exit__(self, *args: object) -> None:
        self._machine.stacks[self._machine.local.entered.pop()].pop()

    def use(self) -> Stream:
        self._machine.stacks[self._check_device()][-1] = self
        return self

    def _flush(self, to: int | None = None) -> None:
        """Run what is queued, up to a place in the queue."""
        with self._machine.lock:
            to = len(self._queue) if to is None else to
            while self._done_to < to:
                operation = self._queue[self._done_to]
                self._queue[self._done_to] = _nothing
                self._done_to += 1
                operation()

    def synchronize(self) -> None:
        if self._graph is not None:
            self._broken = True
            raise CUDARuntimeError(900)
        if self is self._machine.null:
            for other in self._machine._blocking(self):
                other._flush()
        self._flush()

    def record(self, event: Event | None = None) -> Event:
        event = Event(self._machine) if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if self._graph is not event._graph:  # cudaErrorStreamCaptureIsolation, or a fork
            raise StandinError("a captured stream and another one wait for each other")
        place = event._place  # a later record of the event does not count
        if self._graph is not None or place is None:
            return
        with self._machine.lock:
            if self._machine.lazy:
                self._queue.append(lambda: place[0]._flush(place[1]))
            else:
                place[0]._flush(place[1])

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._graph is not None:
            raise CUDARuntimeError(900)
        self._flush()  # earlier work runs before; nothing is lost by running it now
        self._graph, self._broken = Graph(self._machine), False

    def end_capture(self) -> Graph:
        graph, self._graph = self._graph, None
        if graph is None or self._broken:
            raise CUDARuntimeError(901)
        graph._seal()
        return graph

    def is_capturing(self) -> bool:
        return self._capturing

    @property
    def done(self) -> bool:
        return self._done_to == len(self._queue)


def _nothing() -> None:
    pass


class Event:
    """``cupy.cuda.Event`` (stream.pyx): a place in a stream."""

    def __init__(
        self,
        machine: Machine,
        block: bool = False,
        disable_timing: bool = False,
        interprocess: bool = False,
    ) -> None:
        self._machine, self._timed = machine, not disable_timing
        self._place: tuple[Stream, int] | None = None
        self._graph: Graph | None = None
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        stream = self._machine.stream if stream is None else stream
        with self._machine.lock:
            if self._timed and stream._graph is None and self._machine.lazy:
                stream._queue.append(self._stamp)
            self._place, self._graph = (stream, len(stream._queue)), stream._graph
        if not self._machine.lazy:
            self._stamp()

    def _stamp(self) -> None:
        self._time = time.perf_counter()

    def _reach(self) -> None:
        """Let the event's stream come to the event."""
        if self._place is not None:
            self._place[0]._flush(self._place[1])

    @property
    def done(self) -> bool:
        return self._place is None or self._place[0]._done_to >= self._place[1]

    def synchronize(self) -> None:
        if self._place is not None and self._graph is not None:
            self._place[0]._broken = True
            raise CUDARuntimeError(900)
        self._reach()


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events that have happened."""
    for event in (start_event, end_event):
        if not event._timed or event._time is None or not event.done:
            raise CUDARuntimeError(1)
    assert start_event._time is not None and end_event._time is not None
    return 1e3 * (end_event._time - start_event._time)


class Graph:
    """``cupy.cuda.Graph`` (graph.pyx): operations on fixed buffers, of which it keeps none.

    A launch after a buffer went back to its pool, or to another owner, is an error here; a GPU
    would compute something else.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._operations: list[Operation] = []
        self._pools: set[MemoryPool] = set()
        self._blocks: dict[int, Block] = {}
        self._state: dict[int, tuple[int, int]] = {}
        self._private: set[int] = set()

    def _touch(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._blocks[id(block)] = block
            self._state[id(block)] = block.taken, block.freed

    def _seal(self) -> None:
        """Note who owns which memory, as the capture ends."""
        self._private = {id(pool) for pool in self._pools}
        self._pools.clear()  # to keep the pool is the business of who captured
        for key, block in self._blocks.items():
            if block.pool_number in self._private:
                self._state[key] = block.taken, block.freed

    def _check(self) -> None:
        for key, block in self._blocks.items():
            taken, freed = self._state[key]
            private = block.pool_number in self._private
            if not block.alive or block.taken != taken or (not private and block.freed != freed):
                raise StandinError("the graph uses memory that was freed since it was captured")

    def launch(self, stream: Stream | None = None) -> None:
        machine = self._machine
        self._check()
        stream = machine.stream if stream is None else stream
        if stream._graph is not None:
            raise StandinError("a graph launched while its stream captures: not emulated")
        with machine.lock:
            for operation in self._operations:
                if machine.lazy:
                    machine._enqueue(stream, operation)
                else:
                    operation()

    def upload(self, stream: Stream | None = None) -> None:
        self._check()
