"""Functions of the stand-in for the module ``cupy``, in groups: each maps a name to a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cupy_standin_api import Api
from .cupy_standin_array import ArrayBase

UFUNCS = """absolute abs add arctan2 bitwise_and bitwise_or bitwise_xor ceil conj conjugate cos
    cosh divide equal exp expm1 floor floor_divide fmax fmin greater greater_equal hypot invert
    isfinite isinf isnan left_shift less less_equal log log1p log2 logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative not_equal positive power reciprocal
    remainder right_shift rint sign sin sinh sqrt square subtract tan tanh true_divide""".split()
NUMPYS_OWN = """bool_ complex64 complex128 dtype e finfo float32 float64 iinfo inf int8 int16 int32
    int64 nan newaxis pi uint8 uint16 uint32 uint64""".split()


class Ufunc:
    """An elementwise function on the device."""

    def __init__(self, api: Api, name: str) -> None:
        self._api, self._numpy, self.__name__ = api, getattr(np, name), name
        self.nin, self.nout = self._numpy.nin, self._numpy.nout

    def __call__(
        self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind"
    ) -> ArrayBase:
        if len(args) == self.nin + 1 and out is None:
            args, out = args[:-1], args[-1]
        if out is not None and not isinstance(out, ArrayBase):
            raise TypeError(f"return arrays must be of cupy.ndarray, not {type(out)}")
        more = {} if dtype is None else {"dtype": dtype, "casting": casting}
        return self._api.compute(lambda *values: self._numpy(*values, **more), *args, out=out)

    def at(self, a: ArrayBase, indices: Any, b: Any = None) -> None:
        """As ``cupy.add.at``; its atomics add in no fixed order on a GPU."""
        index = self._api.index(indices)[0]
        if self.__name__ != "add" or isinstance(indices, tuple) or index.dtype.kind == "b":
            raise NotImplementedError("at: only add, with one integer array, is in the stand-in")
        value = b if isinstance(b, ArrayBase) else self._api.array(b, dtype=a.dtype)
        self._api.update(lambda x, i, v: np.add.at(x, i, v), a, index, value)


def _creation(api: Api) -> dict[str, Callable]:
    def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ArrayBase:
        return full(shape, 0, dtype, order)

    def ones(shape: Any, dtype: Any = float, order: str = "C") -> ArrayBase:
        return full(shape, 1, dtype, order)

    def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ArrayBase:
        kind = np.result_type(fill_value) if dtype is None else np.dtype(dtype)
        new = api.empty(shape, kind, order)
        if new.size:
            api.assign(new, fill_value)
        return new

    def empty_like(
        prototype: ArrayBase, dtype: Any = None, order: str = "K", *, shape: Any = None
    ) -> ArrayBase:
        flags = prototype.flags
        layout = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
        shape = prototype.shape if shape is None else shape
        return api.empty(shape, dtype or prototype.dtype, layout)

    def zeros_like(a: ArrayBase, dtype: Any = None, order: str = "K", *, shape: Any = None) -> Any:
        return full_like(a, 0, dtype, order, shape=shape)

    def ones_like(a: ArrayBase, dtype: Any = None, order: str = "K", *, shape: Any = None) -> Any:
        return full_like(a, 1, dtype, order, shape=shape)

    def full_like(
        a: ArrayBase, fill_value: Any, dtype: Any = None, order: str = "K", *, shape: Any = None
    ) -> ArrayBase:
        new = empty_like(a, dtype, order, shape=shape)
        if new.size:
            api.assign(new, fill_value)
        return new

    def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ArrayBase:
        low, high = (0, start) if stop is None else (start, stop)
        api.check(low, high, step)
        return api.compute(lambda: np.arange(low, high, step, dtype=dtype))

    def eye(N: int, M: Any = None, k: int = 0, dtype: Any = float) -> ArrayBase:
        return api.compute(lambda: np.eye(N, M, k, dtype=dtype))

    def asarray(
        a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
    ) -> ArrayBase:
        return api.array(a, dtype, bool(copy), order or "K", blocking=blocking)

    def asnumpy(
        a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
    ) -> np.ndarray:
        if isinstance(a, ArrayBase):
            return a.get(stream, order, out, blocking)
        return np.asarray(a)

    def ascontiguousarray(a: Any, dtype: Any = None) -> ArrayBase:
        a = asarray(a, dtype)
        return a if a.flags.c_contiguous else a.astype(a.dtype, order="C")

    def copy(a: ArrayBase, order: str = "K") -> ArrayBase:
        return a.copy(order)

    return locals() | {"array": api.array, "empty": api.empty, "asanyarray": asarray}


def _manipulation(api: Api) -> dict[str, Callable]:
    def reshape(a: ArrayBase, newshape: Any, order: str = "C") -> ArrayBase:
        return api.reshape(a, newshape, order)

    def ravel(a: ArrayBase) -> ArrayBase:
        return api.reshape(a, -1)

    def transpose(a: ArrayBase, axes: Any = None) -> ArrayBase:
        return api.view(a, np.transpose(a._values, axes))

    def moveaxis(a: ArrayBase, source: Any, destination: Any) -> ArrayBase:
        return api.view(a, np.moveaxis(a._values, source, destination))

    def swapaxes(a: ArrayBase, axis1: int, axis2: int) -> ArrayBase:
        return api.view(a, np.swapaxes(a._values, axis1, axis2))

    def expand_dims(a: ArrayBase, axis: Any) -> ArrayBase:
        return api.view(a, np.expand_dims(a._values, axis))

    def squeeze(a: ArrayBase, axis: Any = None) -> ArrayBase:
        return api.view(a, np.squeeze(a._values, axis))

    def diagonal(a: ArrayBase, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ArrayBase:
        return api.view(a, np.diagonal(a._values, offset, axis1, axis2))

    def broadcast_to(array: ArrayBase, shape: Any) -> ArrayBase:
        return api.view(array, np.broadcast_to(array._values, shape))

    def broadcast_arrays(*args: ArrayBase) -> list[ArrayBase]:
        shape = np.broadcast_shapes(*(a.shape for a in args))
        return [broadcast_to(a, shape) for a in args]

    def stack(
        tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
    ) -> ArrayBase:
        arrays = list(tup)
        for a in arrays:
            if not isinstance(a, ArrayBase):
                raise TypeError(f"Unsupported type {type(a)}")
        place = axis if axis >= 0 else axis + arrays[0].ndim + 1
        return api.concatenate([expand_dims(a, place) for a in arrays], place, out, dtype=dtype)

    def concatenate(
        tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
    ) -> ArrayBase:
        return api.concatenate(tup, axis, out, dtype=dtype, casting=casting)

    def tile(A: ArrayBase, reps: Any) -> ArrayBase:
        return api.compute(lambda a: np.tile(a, reps), A)

    def repeat(a: ArrayBase, repeats: int, axis: Any = None) -> ArrayBase:
        if not isinstance(repeats, int):
            raise NotImplementedError("repeat with anything but one int: it may synchronise")
        return api.compute(lambda x: np.repeat(x, repeats, axis), a)

    def copyto(dst: ArrayBase, src: Any, casting: str = "same_kind") -> None:
        kind = src.dtype if isinstance(src, ArrayBase) else np.result_type(src)
        if isinstance(src, ArrayBase) and not np.can_cast(kind, dst.dtype, casting):
            raise TypeError(f"Cannot cast {kind} to {dst.dtype} in {casting} casting mode")
        api.assign(dst, src)

    return locals()


def _mathematics(api: Api) -> dict[str, Callable]:
    def cumsum(a: ArrayBase, axis: Any = None, dtype: Any = None, out: Any = None) -> ArrayBase:
        return a.cumsum(axis, dtype, out)

    def clip(a: ArrayBase, a_min: Any, a_max: Any, out: Any = None) -> ArrayBase:
        return api.compute(np.clip, a, a_min, a_max, out=out)

    def sinc(x: ArrayBase) -> ArrayBase:
        return api.compute(np.sinc, x)

    def where(condition: ArrayBase, x: Any = None, y: Any = None) -> Any:
        if x is None and y is None:
            return condition.nonzero()
        return api.compute(np.where, condition, x, y)

    def take(a: ArrayBase, indices: Any, axis: Any = None, out: Any = None) -> ArrayBase:
        return api.take(a, indices, axis, out)

    def take_along_axis(a: ArrayBase, indices: ArrayBase, axis: int) -> ArrayBase:
        return api.compute(lambda x, i: np.take_along_axis(x, i, axis), a, indices)

    def real(val: ArrayBase) -> ArrayBase:
        return val.real

    def imag(val: ArrayBase) -> ArrayBase:
        return val.imag

    def array_equal(a1: ArrayBase, a2: ArrayBase) -> ArrayBase:
        return api.compute(np.array_equal, a1, a2)

    def allclose(a: ArrayBase, b: Any, rtol: float = 1e-05, atol: float = 1e-08) -> ArrayBase:
        return api.compute(lambda x, y: np.allclose(x, y, rtol, atol), a, b)

    return locals()


def _reductions() -> dict[str, Callable]:
    def reduction(name: str) -> Callable:
        takes_dtype = name in ("sum", "prod", "mean")

        def reduce(
            a: ArrayBase, axis: Any = None, out: Any = None, keepdims: bool = False, **more: Any
        ) -> ArrayBase:
            if set(more) - ({"dtype"} if takes_dtype else set()):
                raise TypeError(f"{name}() got an unexpected keyword argument")
            return getattr(a, name)(axis=axis, out=out, keepdims=keepdims, **more)

        return reduce

    names = "sum prod mean max min all any argmax argmin".split()
    aliases = {"amax": "max", "amin": "min"}
    return {name: reduction(aliases.get(name, name)) for name in [*names, *aliases]}


def _linear_algebra(api: Api) -> dict[str, Callable]:
    """What goes to cuBLAS and cuSOLVER, and so cannot be captured (cublas.pyx:648)."""

    def matmul(*args: ArrayBase, out: Any = None) -> ArrayBase:
        return api.library("cuBLAS", np.matmul, *args, out=out)

    def dot(a: ArrayBase, b: ArrayBase) -> ArrayBase:
        return api.library("cuBLAS", np.dot, a, b)

    def tensordot(a: ArrayBase, b: ArrayBase, axes: Any = 2) -> ArrayBase:
        return api.library("cuBLAS", lambda x, y: np.tensordot(x, y, axes), a, b)

    def einsum(*operands: Any, **kwargs: Any) -> ArrayBase:
        if set(kwargs) - {"dtype", "optimize"}:
            raise TypeError(f"Did not understand the following kwargs: {list(kwargs)}")
        subscripts, *arrays = operands
        if not isinstance(subscripts, str):
            raise NotImplementedError("einsum in interleaved form is not in the stand-in")
        return api.library("cuBLAS", lambda *a: np.einsum(subscripts, *a, **kwargs), *arrays)

    return locals()


def _linalg(api: Api) -> dict[str, Callable]:
    def eigh(a: ArrayBase, UPLO: str = "L") -> tuple[ArrayBase, ArrayBase]:
        values = api.library("cuSOLVER", lambda x: np.linalg.eigh(x, UPLO).eigenvalues, a)
        vectors = api.library("cuSOLVER", lambda x: np.linalg.eigh(x, UPLO).eigenvectors, a)
        return values, vectors

    def svd(a: ArrayBase, full_matrices: bool = True) -> tuple[ArrayBase, ...]:
        def part(k: int) -> Callable:
            return lambda x: np.linalg.svd(x, full_matrices)[k]

        left, values, right = (api.library("cuSOLVER", part(k), a) for k in range(3))
        return left, values, right

    def norm(x: ArrayBase, ord: Any = None, axis: Any = None, keepdims: bool = False) -> ArrayBase:
        if ord is not None:
            raise NotImplementedError("norm: only the Frobenius norm is in the stand-in")
        return api.compute(lambda a: np.linalg.norm(a, axis=axis, keepdims=keepdims), x)

    return locals()


def _stride_tricks(api: Api) -> dict[str, Callable]:
    def as_strided(x: ArrayBase, shape: Any = None, strides: Any = None) -> ArrayBase:
        return api.view(x, np.lib.stride_tricks.as_strided(x._values, shape, strides))

    return locals()


def _of_dtypes(name: str) -> Callable:
    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(np, name)(
            *(a.dtype if isinstance(a, ArrayBase) else a for a in args), **kwargs
        )

    function.__name__ = name
    return function


def functions(api: Api) -> dict[str, dict[str, Any]]:
    """Return what is offered, by module: "" is ``cupy`` itself."""
    main: dict[str, Any] = {name: getattr(np, name) for name in NUMPYS_OWN}
    main |= {name: Ufunc(api, name) for name in UFUNCS}
    for group in (_creation, _manipulation, _mathematics, _linear_algebra):
        main |= group(api)
    main |= _reductions()
    main |= {name: _of_dtypes(name) for name in ("result_type", "promote_types", "can_cast")}
    found = {"": main, "linalg": _linalg(api), "lib.stride_tricks": _stride_tricks(api)}
    return {name: {k: v for k, v in group.items() if k != "api"} for name, group in found.items()}
