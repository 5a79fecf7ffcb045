"""The array class of the stand-in for CuPy; what it does is in cupy_standin_api.py.

Comments name the file and line of CuPy 14.2.0 that a rule stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .cupy_standin_device import Allocation, Device
from .cupy_standin_streams import Stream

if TYPE_CHECKING:
    from .cupy_standin_api import Api


class Pointer:
    """``cupy.cuda.MemoryPointer``: the address of an array, and what keeps it."""

    def __init__(self, memory: Allocation | None, values: np.ndarray, device_id: int) -> None:
        self.mem, self.device_id = memory, device_id
        self.ptr = values.__array_interface__["data"][0] if values.size else 0


class ArrayBase(np.lib.mixins.NDArrayOperatorsMixin):
    """A device array; `Api` makes the class ``cupy.ndarray`` of it."""

    _api: Api

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: Pointer | None = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        if memptr is not None or strides is not None:
            raise NotImplementedError("ndarray with memptr or strides is not in the stand-in")
        new = self._api.empty(shape, dtype, order)
        self._values, self.data = new._values, new.data

    # What an array says of itself.

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype:
        return self._values.dtype

    @property
    def ndim(self) -> int:
        return self._values.ndim

    @property
    def size(self) -> int:
        return self._values.size

    @property
    def nbytes(self) -> int:
        return self._values.nbytes

    @property
    def itemsize(self) -> int:
        return self._values.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._values.strides

    @property
    def flags(self) -> Any:
        return self._values.flags

    @property
    def device(self) -> Device:
        return Device(self._api.machine, self.data.device_id)

    def __len__(self) -> int:
        return len(self._values)

    # To the host: each of these waits (core.pyx:2098).

    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        api = self._api
        if out is not None and (out.dtype, out.shape) != (self.dtype, self.shape):
            raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
        if out is None:
            out = np.empty(self.shape, self.dtype, order="F" if order == "F" else "C")
        if not self.size:
            return out
        stream = api.machine.stream if stream is None else stream
        if stream._capturing:  # memory.pyx:718
            raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
        api.machine.counters.to_host += 1
        out[...] = np.frombuffer(b"\xff" * self.itemsize, dtype=self.dtype)[0]
        source, target = self._values, out

        def copy() -> None:
            target[...] = source

        with api.on(stream):
            api.machine.run(copy)
        if blocking:
            stream.synchronize()
        elif not api.is_pinned(out):
            raise ValueError("get(blocking=False) into memory that is not pinned")
        return out

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous")
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Copy from the host (core.pyx:2210)."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        with self._api.on(self._api.machine.stream if stream is None else stream):
            self._api.copy_in(self, arr)

    # Operators go through NumPy's protocols, as in CuPy (core.pyx:1969, 2028).

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if "out" in kwargs:
            if len(kwargs["out"]) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            kwargs["out"] = kwargs["out"][0]
        function = getattr(self._api.module, ufunc.__name__, None)
        if method != "__call__":
            function = getattr(function, method, None)
        return NotImplemented if function is None else function(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module: Any = self._api.module
        for name in [*func.__module__.split(".")[1:], func.__name__]:
            module = getattr(module, name, None)
        if module is None or not all(issubclass(t, ArrayBase | np.ndarray) for t in types):
            return NotImplemented
        return module(*args, **kwargs)

    # Views and copies.

    @property
    def T(self) -> ArrayBase:
        return self.transpose()

    @property
    def real(self) -> ArrayBase:
        return self._api.view(self, self._values.real)

    @property
    def imag(self) -> ArrayBase:
        if self.dtype.kind != "c":
            return self._api.zeros(self.shape, self.dtype)
        return self._api.view(self, self._values.imag)

    def view(self, dtype: Any = None) -> ArrayBase:
        values = self._values
        return self._api.view(self, values.view() if dtype is None else values.view(dtype))

    def reshape(self, *shape: Any, order: str = "C") -> ArrayBase:
        shape = shape[0] if len(shape) == 1 else shape
        return self._api.reshape(self, shape, order)

    def ravel(self) -> ArrayBase:
        return self.reshape(-1)

    def flatten(self) -> ArrayBase:
        return self.copy().reshape(-1)

    def transpose(self, *axes: Any) -> ArrayBase:
        return self._api.view(self, self._values.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ArrayBase:
        return self._api.view(self, self._values.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ArrayBase:
        return self._api.view(self, self._values.squeeze(axis))

    def copy(self, order: str = "C") -> ArrayBase:
        return self._api.array(self, order=order)

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> ArrayBase:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return self._api.compute(lambda a: a.astype(dtype, order=order), self)

    def fill(self, value: Any) -> None:
        """One scalar into all elements (core.pyx:1000)."""
        if isinstance(value, ArrayBase):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
        else:
            value = np.asarray(value, dtype=self.dtype)
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value[()]
        self._api.assign(self, value)

    # Indices (_routines_indexing.pyx).

    def __iter__(self) -> Iterator[ArrayBase]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ArrayBase:
        api, key = self._api, self._api.index(key)
        arrays = [k for k in key if isinstance(k, ArrayBase)]
        if not arrays:
            # An ellipsis keeps a single element a 0-d view.
            return api.view(self, self._values[(*key, ...) if ... not in key else key])
        masked = api.counts_mask(arrays)

        def pick(a: np.ndarray, *indices: np.ndarray) -> np.ndarray:
            rest = iter(indices)
            return np.array(a[tuple(next(rest) if isinstance(k, ArrayBase) else k for k in key)])

        return api.compute(pick, self, *arrays, now=masked)

    def __setitem__(self, key: Any, value: Any) -> None:
        api, key = self._api, self._api.index(key)
        arrays = [k for k in key if isinstance(k, ArrayBase)]
        if not arrays:
            target = self[key]
            if isinstance(value, ArrayBase):
                api.assign(target, value)
            else:
                target.fill(value)  # no arrays of the host: _routines_indexing.pyx:1092
            return
        masked = api.counts_mask(arrays)
        if not isinstance(value, ArrayBase):
            value = api.array(value, dtype=self.dtype)  # _routines_indexing.pyx:917

        def put(a: np.ndarray, v: np.ndarray, *indices: np.ndarray) -> None:
            rest = iter(indices)
            a[tuple(next(rest) if isinstance(k, ArrayBase) else k for k in key)] = v

        api.update(put, self, value, *arrays, now=masked)

    # Reductions, all on the device.

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> ArrayBase:
        return self._api.reduce(np.sum, self, axis, out, keepdims, dtype=dtype)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> ArrayBase:
        return self._api.reduce(np.prod, self, axis, out, keepdims, dtype=dtype)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> ArrayBase:
        return self._api.reduce(np.mean, self, axis, out, keepdims, dtype=dtype)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ArrayBase:
        return self._api.reduce(np.max, self, axis, out, keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ArrayBase:
        return self._api.reduce(np.min, self, axis, out, keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ArrayBase:
        return self._api.reduce(np.all, self, axis, out, keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ArrayBase:
        return self._api.reduce(np.any, self, axis, out, keepdims)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> ArrayBase:
        return self._api.reduce(np.argmax, self, axis, out, keepdims)

    def argmin(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> ArrayBase:
        return self._api.reduce(np.argmin, self, axis, out, keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> ArrayBase:
        return self._api.compute(lambda a: np.cumsum(a, axis=axis, dtype=dtype), self, out=out)

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> ArrayBase:
        return self._api.take(self, indices, axis, out)

    def conj(self) -> ArrayBase:
        return self._api.compute(np.conj, self)

    def nonzero(self) -> tuple[ArrayBase, ...]:
        self._api.machine.refuse_capture("D2H transfers are disallowed")  # indexing.pyx:123
        return tuple(self._api.array(part) for part in self.get().nonzero())

    def dot(self, b: ArrayBase) -> ArrayBase:
        return self._api.library("cuBLAS", np.dot, self, b)

    def __matmul__(self, other: Any) -> Any:
        return self._api.module.matmul(self, other)
