"""Device memory and operations of the stand-in for CuPy, on NumPy arrays.

What CuPy does on the device goes through `Api.compute` or `Api.update`, which may run it later.
What CuPy does in the host's memory, or by a library call that cannot be captured, is refused
under capture with CuPy's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cupy_standin_array import ArrayBase, Pointer
from .cupy_standin_device import Allocation, Block, Machine, allocate
from .cupy_standin_streams import Stream

SCALARS = (bool, int, float, complex, np.generic)
LARGE = 2 * 1024 * 1024  # bytes an array from which concatenate copies one by one


class Api:
    """What the arrays and the module's functions are made of."""

    def __init__(self, machine: Machine, module: Any) -> None:
        self.machine, self.module = machine, module
        self.ndarray = type("ndarray", (ArrayBase,), {"_api": self, "__module__": "cupy"})
        self.pinned: dict[int, int] = {}

    # The core: memory, and operations that run now or later.

    def empty(self, shape: Any, dtype: Any = float, order: str = "C") -> ArrayBase:
        shape = tuple(shape) if np.iterable(shape) else (shape,)
        if any(isinstance(n, ArrayBase) for n in shape):
            raise TypeError("'ndarray' object cannot be interpreted as an integer")
        kind = np.dtype(dtype)
        if kind.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {kind}")
        size = int(np.prod(np.array(shape, dtype=np.int64))) * kind.itemsize
        memory = allocate(self.machine, size) if size else None
        buffer = memory.block.bytes if memory else np.empty(0, dtype=np.uint8)
        return self._wrap(np.ndarray(shape, kind, buffer=buffer, order=order), memory)

    def _wrap(
        self, values: np.ndarray, memory: Allocation | None, device: int | None = None
    ) -> ArrayBase:
        array = self.ndarray.__new__(self.ndarray)
        array._values = values
        array.data = Pointer(memory, values, self.machine.device if device is None else device)
        return array

    def view(self, array: ArrayBase, values: np.ndarray) -> ArrayBase:
        return self._wrap(values, array.data.mem, array.data.device_id)

    def check(self, *arguments: Any) -> None:
        """Only arrays of the current device, and scalars (_scalar.pyx:344, _kernel.pyx:128)."""
        for argument in arguments:
            if isinstance(argument, ArrayBase):
                if argument.data.device_id != self.machine.device:
                    raise ValueError(
                        f"The device where the array resides ({argument.data.device_id}) is"
                        f" different from the current device ({self.machine.device})."
                    )
            elif not isinstance(argument, SCALARS):
                raise TypeError(f"Unsupported type {type(argument)}")

    def on(self, stream: Stream) -> Any:
        """Make a stream current whatever its device."""
        return _On(self.machine, stream)

    def compute(
        self, function: Callable, *arguments: Any, out: Any = None, now: bool = False
    ) -> Any:
        """Return a new array with the function's values, or fill ``out``.

        The function gets NumPy arrays in place of device arrays. It is first tried on zeros, for
        shape and dtype, where the values come later.
        """
        self.check(*arguments, *([] if out is None else [out]))
        later = self._later and not now
        ghosts = [_ghost(a) if later else _values(a) for a in arguments]
        with np.errstate(all="ignore"):
            first = np.asarray(function(*ghosts))
        if out is None:
            order = "F" if first.flags.f_contiguous and not first.flags.c_contiguous else "C"
            out = self.empty(first.shape, first.dtype, order)
        else:
            if first.shape != out.shape:
                raise ValueError(f"out has shape {out.shape}, expected {first.shape}")
            if not np.can_cast(first.dtype, out.dtype, "same_kind"):
                raise TypeError(f"output {first.dtype} cannot be cast to {out.dtype}")
        values, target = [_values(a) for a in arguments], out._values
        ready = None if later else first

        def run() -> None:
            with np.errstate(all="ignore"):
                result = function(*values) if ready is None else ready
                np.copyto(target, result, casting="same_kind")

        self.machine.run(run, _blocks(*arguments, out))
        return out

    @property
    def _later(self) -> bool:
        return self.machine.lazy or self.machine.stream._capturing

    def update(
        self, function: Callable, array: ArrayBase, *arguments: Any, now: bool = False
    ) -> None:
        """Let a function change an array in place."""
        self.check(array, *arguments)
        target, values = array._values, [_values(a) for a in arguments]
        if self._later and not now:
            function(np.empty(array.shape, array.dtype), *[_ghost(a) for a in arguments])

        def run() -> None:
            with np.errstate(all="ignore"):
                function(target, *values)

        self.machine.run(run, _blocks(array, *arguments))

    def assign(self, target: ArrayBase, value: Any) -> None:
        self.update(lambda a, v: np.copyto(a, v, casting="unsafe"), target, value)

    def library(self, name: str, function: Callable, *arguments: Any, out: Any = None) -> Any:
        """Call what CuPy gives to a library that it does not let be captured."""
        if self.machine.stream._capturing:  # cublas.pyx:648, cusolver.pyx:1498
            raise NotImplementedError(
                f"calling {name} API during stream capture is currently unsupported"
            )
        return self.compute(function, *arguments, out=out)

    def reduce(
        self, function: Callable, array: ArrayBase, axis: Any, out: Any, keepdims: bool, **more: Any
    ) -> ArrayBase:
        return self.compute(
            lambda a: function(a, axis=axis, keepdims=keepdims, **more), array, out=out
        )

    # From the host.

    def array(
        self,
        obj: Any,
        dtype: Any = None,
        copy: Any = True,
        order: str = "K",
        subok: bool = False,
        ndmin: int = 0,
        *,
        blocking: bool = False,
    ) -> ArrayBase:
        """As ``cupy.array`` (core.pyx:2821)."""
        if isinstance(obj, ArrayBase):
            if obj.data.device_id != self.machine.device:
                obj = self._from_peer(obj)
            kind = obj.dtype if dtype is None else np.dtype(dtype)
            if copy or obj.dtype != kind:
                return obj.astype(kind, order=order or "K")
            return obj
        if _holds_arrays(obj):
            new = self.module.stack([self.array(part, copy=False) for part in obj])
            return new if dtype is None else new.astype(dtype, copy=False)
        host = np.array(obj, dtype=dtype, copy=None, ndmin=ndmin)
        keeps = order in (None, "K", "A") and host.flags.fnc  # core.pyx:3033
        new = self.empty(host.shape, host.dtype, "F" if order == "F" or keeps else "C")
        if host.ndim == 0:
            new.fill(host)  # core.pyx:3069: a kernel, so it can be captured
        elif host.size:
            self.copy_in(new, host)
        if blocking:
            self.machine.stream.synchronize()
        return new

    def copy_in(self, target: ArrayBase, host: np.ndarray) -> None:
        """Copy from the host; from pinned memory without waiting, so that it must not change."""
        machine = self.machine
        machine.refuse_capture("H2D transfers are disallowed")  # memory.pyx:620
        machine.counters.to_device += 1
        source, place = host if self.is_pinned(host) else host.copy(), target._values

        def run() -> None:
            place[...] = source

        machine.run(run)

    def _from_peer(self, array: ArrayBase) -> ArrayBase:
        if not array.flags.c_contiguous and not array.flags.f_contiguous:  # core.pyx:899
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        new = self.empty(array.shape, array.dtype)
        source, place = array._values, new._values

        def run() -> None:
            place[...] = source

        self.machine.run(run, _blocks(array, new))
        return new

    def is_pinned(self, host: np.ndarray) -> bool:
        address = host.__array_interface__["data"][0]
        return any(start <= address < start + size for start, size in self.pinned.items())

    # Indices.

    def index(self, key: Any) -> tuple[Any, ...]:
        """Return an index as a tuple; arrays and lists of the host are copied to the device."""
        parts = list(key) if isinstance(key, tuple) else [key]
        for i, part in enumerate(parts):
            host = isinstance(part, list | tuple | np.ndarray | bool | np.bool_)
            if host:  # _routines_indexing.pyx:291
                part = self.array(np.array(part, dtype=None if np.size(part) else np.int32))
            if isinstance(part, ArrayBase) and part.dtype.kind not in "biu":
                raise IndexError("arrays used as indices must be of integer or boolean type")
            parts[i] = part
        return tuple(parts)

    def counts_mask(self, arrays: Sequence[ArrayBase]) -> bool:
        """Wait for a boolean index to be counted on the host (_routines_indexing.pyx:802)."""
        masked = any(a.dtype.kind == "b" for a in arrays)
        if masked:
            self.machine.refuse_capture("D2H transfers are disallowed")
            self.machine.stream.synchronize()
        return masked

    def take(self, a: ArrayBase, indices: Any, axis: Any = None, out: Any = None) -> ArrayBase:
        if not isinstance(indices, ArrayBase) and np.ndim(indices):
            indices = self.array(indices, dtype=int)  # _routines_indexing.pyx:858
        return self.compute(lambda x, i: np.take(x, i, axis=axis), a, indices, out=out)

    def reshape(self, a: ArrayBase, shape: Any, order: str = "C") -> ArrayBase:
        values = a._values.view()
        try:
            return self.view(a, np.reshape(values, shape, order=order, copy=False))
        except ValueError:
            if a.flags.c_contiguous:
                raise
        return self.compute(lambda x: np.reshape(x, shape, order=order), a)

    def concatenate(
        self, tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = ""
    ) -> ArrayBase:
        arrays = list(tup)
        for array in arrays:
            if not isinstance(array, ArrayBase):
                raise TypeError(f"Unsupported type {type(array)}")
        if axis is None:
            arrays, axis = [a.ravel() for a in arrays], 0
        # Many small arrays: their addresses are copied to the device (..._manipulation.pyx:745).
        same = len({a.dtype for a in arrays}) == 1
        if len(arrays) > 8 and same and sum(a.nbytes for a in arrays) < LARGE * len(arrays):
            self.machine.refuse_capture("H2D transfers are disallowed")
        return self.compute(
            lambda *parts: np.concatenate(parts, axis=axis, dtype=dtype), *arrays, out=out
        )


class _On:
    """A stream as the current one, without the check of the device."""

    def __init__(self, machine: Machine, stream: Stream) -> None:
        self._stack, self._stream = machine.stacks[machine.device], stream

    def __enter__(self) -> None:
        self._stack.append(self._stream)

    def __exit__(self, *args: object) -> None:
        self._stack.pop()


def _holds_arrays(obj: Any) -> bool:
    if isinstance(obj, list | tuple) and obj:
        return isinstance(obj[0], ArrayBase) or _holds_arrays(obj[0])
    return False


def _values(argument: Any) -> Any:
    return argument._values if isinstance(argument, ArrayBase) else argument


def _ghost(argument: Any) -> Any:
    if not isinstance(argument, ArrayBase):
        return argument
    return np.broadcast_to(np.zeros((), argument.dtype), argument.shape)


def _blocks(*arguments: Any) -> list[Block]:
    arrays = [a for a in arguments if isinstance(a, ArrayBase)]
    return [a.data.mem.block for a in arrays if a.data.mem is not None]
