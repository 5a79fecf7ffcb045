"""Minibatches on a device: from data that lie there, or streamed while the last step runs."""

from typing import Any, Protocol

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.train.batches import minibatch
from tn_qnn.train.inputs import Data
from tn_qnn.train.stepping import Device

#: Data lie on the device if they take no more than this share of its free memory.
RESIDENT_SHARE = 0.25


class Feed(Protocol):
    """Brings the minibatches of the steps to the device. ``description``: how, in words."""

    description: str

    def begin(self, first: int, steps: int) -> None:
        """Prepare for ``steps`` steps from step ``first`` on."""
        ...

    def before(self, place: int) -> None:
        """Called before the ``place``-th of these steps is launched."""
        ...

    def after(self, place: int) -> None:
        """Called after it is launched."""
        ...

    def batch(self, place: Array, size: int) -> Data:
        """Return the minibatch of a step: part of what is captured.

        ``place`` is an int64 array without axes on the device, ``size`` the number of samples.
        """
        ...


def make_feed(device: Device, data: Data, seed: int, batch_size: int, rows: int) -> Feed:
    """Return a feed for at most ``rows`` steps at once; see :data:`RESIDENT_SHARE`."""
    if data_bytes(data) <= RESIDENT_SHARE * device.free_memory():
        return Resident(device, data, seed, batch_size, rows)
    return Streamed(device, data, seed, batch_size)


def data_bytes(data: Data) -> int:
    """Return what the data take on the device."""
    return sum(a.size * kind.itemsize for a, kind in _parts(data))


class Resident:
    """All data on the device; the host sends a table of sample numbers, (steps, batch size)."""

    def __init__(self, device: Device, data: Data, seed: int, batch_size: int, rows: int) -> None:
        self._seed, self._samples, self._size = seed, len(data.X), batch_size
        self._data = Data(*(device.to_device(a, kind) for a, kind in _parts(data)))
        self._whole = batch_size >= len(data.X)
        self.description = f"{data_bytes(data):,} bytes on the device"
        if not self._whole:
            self._host = np.zeros((rows, batch_size), dtype=np.int64)
            self._table = device.to_device(self._host)

    def begin(self, first: int, steps: int) -> None:
        """See :class:`Feed`."""
        if self._whole:
            return
        for place in range(steps):
            chosen = minibatch(self._seed, first + place, self._samples, self._size)
            self._host[place, : len(chosen)] = chosen
        self._table[:steps].set(self._host[:steps])

    def before(self, place: int) -> None:
        """See :class:`Feed`."""

    def after(self, place: int) -> None:
        """See :class:`Feed`."""

    def batch(self, place: Array, size: int) -> Data:
        """See :class:`Feed`."""
        if self._whole:
            return self._data
        chosen = self._table.take(place, axis=0)[:size]
        return Data(*(None if a is None else a.take(chosen, axis=0) for a in _fields(self._data)))


class Streamed:
    """Data on the host: two minibatches on the device, one in use while the other is filled.

    A minibatch goes from pageable to pinned memory by the host, and from there to the device on
    a stream of its own, while the step before it runs.
    """

    def __init__(self, device: Device, data: Data, seed: int, batch_size: int) -> None:
        self._device, self._data = device, data
        self.description = (
            f"{data_bytes(data):,} bytes, streamed from the host: more than {RESIDENT_SHARE:.0%} "
            f"of the free memory of the device"
        )
        self._seed, self._samples = seed, len(data.X)
        self._size, self._first = min(batch_size, len(data.X)), 0
        shapes = [((2, self._size, *a.shape[1:]), kind) for a, kind in _parts(data)]
        self._pinned = [device.pinned(shape, kind) for shape, kind in shapes]
        self._staged = [device.cp.zeros(shape, dtype=kind) for shape, kind in shapes]
        cuda = device.cp.cuda
        self._stream = cuda.Stream(non_blocking=True)
        self._filled = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._used = [cuda.Event(disable_timing=True) for _ in range(2)]
        for event in self._used:  # nothing is copied before the arrays are made
            event.record(cuda.get_current_stream())

    def begin(self, first: int, steps: int) -> None:
        """See :class:`Feed`."""
        self._first = first

    def before(self, place: int) -> None:
        """See :class:`Feed`."""
        slot, now = place % 2, self._device.cp.cuda.get_current_stream()
        self._filled[slot].synchronize()  # what is pinned was sent
        chosen = minibatch(self._seed, self._first + place, self._samples, self._size)
        self._stream.wait_event(self._used[slot])  # the step before the last has read it
        for (source, _), pinned, staged in zip(
            _parts(self._data), self._pinned, self._staged, strict=True
        ):
            pinned[slot, : len(chosen)] = source[chosen]
            staged[slot, : len(chosen)].set(pinned[slot, : len(chosen)], stream=self._stream)
        self._filled[slot].record(self._stream)
        now.wait_event(self._filled[slot])

    def after(self, place: int) -> None:
        """See :class:`Feed`."""
        self._used[place % 2].record(self._device.cp.cuda.get_current_stream())

    def batch(self, place: Array, size: int) -> Data:
        """See :class:`Feed`."""
        slot = place % 2
        return Data(*(staged.take(slot, axis=0)[:size] for staged in self._staged))


def _fields(data: Data) -> tuple[Any, Any, Any]:
    return data.X, data.y, data.sample_weight


def _parts(data: Data) -> list[tuple[Array, np.dtype[Any]]]:
    """The arrays of a data set, each with its dtype on the device."""
    return [
        (a, np.dtype(np.int64 if a.dtype.kind in "biu" else np.float64))
        for a in _fields(data)
        if a is not None
    ]
