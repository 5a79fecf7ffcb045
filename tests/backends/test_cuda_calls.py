"""Calls on device arrays: any strides, any stream, any device; what a shortage leaves behind."""

import threading
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tn_qnn.backends import get_backend
from tn_qnn.backends.cuda.executor import CudaExecutor
from tn_qnn.backends.memory import Budget
from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import Z
from tn_qnn.errors import BackendError, InputError
from tn_qnn.models.qnn import QNN
from tn_qnn.program.placement import Sizes

from ..circuits import random_batch
from ..emulation import cupy_standin_api
from ..emulation.cupy_standin import install, make_cupy


def line(**options: Any) -> Any:
    return QNN(angle(6).compose(brickwork(6, 3)), [Z(2), Z(3)], backend="cuda", **options)


def inputs(model: QNN, sets: int = 2, samples: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return random_batch(np.random.default_rng(0), model, sets, samples)


def transposed(cupy: ModuleType, array: np.ndarray) -> Any:
    """The same values on the device, neighbours of the first axis side by side in memory."""
    return cupy.asarray(np.ascontiguousarray(array.T)).T


def test_arrays_with_any_strides(cupy: ModuleType) -> None:
    model = line()
    weights, data = inputs(model)
    want = model(weights, data)
    w, x = cupy.asarray(weights), cupy.asarray(data)
    for some in ((transposed(cupy, weights), x), (w, transposed(cupy, data)), (w[::-1], x)):
        expected = want[::-1] if some[0].strides[0] < 0 else want
        got = model(*some)
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got.get().astype(np.float32), expected)


def test_arrays_of_the_host_in_fortran_order(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy keeps the order of such an array (core.pyx, _array_default), as of a data frame's."""
    real = cupy_standin_api.Api.array

    def array(
        self: Any, obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", **more: Any
    ) -> Any:
        fortran = isinstance(obj, np.ndarray) and obj.flags.fnc
        return real(self, obj, dtype, copy, "F" if fortran else order, **more)

    model = line()
    weights, data = inputs(model)
    want = model(weights, data)
    monkeypatch.setattr(cupy_standin_api.Api, "array", array)
    np.testing.assert_array_equal(model(weights, np.asfortranarray(data)), want)
    np.testing.assert_array_equal(model(np.asfortranarray(weights), data), want)
    executor = model._prepared(False).executors[0]
    values = executor.run(weights, data)
    np.testing.assert_array_equal(executor.run(weights, np.asfortranarray(data)), values)


@pytest.mark.parametrize(("sets", "samples"), [(0, 3), (2, 0)])
def test_no_sets_or_no_samples_are_refused(cupy: ModuleType, sets: int, samples: int) -> None:
    model = line()
    weights = cupy.zeros((sets, model.num_weights))
    with pytest.raises(InputError, match=r"samples >= 1"):
        model(weights, cupy.zeros((samples, model.num_features)))


def test_outputs_stay_their_callers_when_another_stream_calls(lazy_cupy: ModuleType) -> None:
    """What the first stream still reads, the second one's call may not get as fresh memory."""
    cp, model = lazy_cupy, line()
    weights, data = inputs(model)
    want, other = model(weights, data), model(weights, -data)
    w, x, y = (cp.asarray(a) for a in (weights, data, -data))
    cp.cuda.Device().synchronize()
    first, second = (cp.cuda.Stream(non_blocking=True) for _ in range(2))
    with first:
        doubled = 2.0 * model(w, x)
    with second:
        found = model(w, y).get()
    with first:
        np.testing.assert_allclose(doubled.get(), 2.0 * want, atol=1e-6)
    np.testing.assert_allclose(found, other, atol=1e-6)


def test_a_model_of_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cp = make_cupy(devices=2)
    install(cp, monkeypatch.setitem)
    model = line(devices=[1])
    weights, data = inputs(model)
    want = model(weights, data)
    with cp.cuda.Device(1):
        w, x = cp.asarray(weights), cp.asarray(data)
    np.testing.assert_array_equal(model(w, x).get().astype(np.float32), want)
    named = dict(zip(model.weight_names, weights[0], strict=True))
    np.testing.assert_array_equal(model(named, x).get().astype(np.float32), want[0])
    with pytest.raises(InputError, match="arrays of GPU 1 expected, as the model's, not of GPU 0"):
        model(cp.asarray(weights), cp.asarray(data))
    with pytest.raises(InputError, match="on the same GPU"):
        model(w, cp.asarray(data))


def test_a_capture_that_is_not_the_models_is_refused(cupy: ModuleType) -> None:
    model = line()
    model(*(given := [cupy.asarray(a) for a in inputs(model)]))
    stream = cupy.cuda.Stream(non_blocking=True)
    out = model(*given)
    with stream:
        stream.begin_capture()
        with pytest.raises(BackendError, match=r"model\.device\.capture"):
            model._prepared(False).executors[0].accumulate(*given, out.transpose(2, 0, 1))
        stream.end_capture()


# --- memory


def test_a_shortage_frees_what_failed_before_it_tries_again(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = line(memory=1e9)
    weights, data = inputs(model, sets=1, samples=64)
    want = model(weights, data)
    again = line(memory=1e9)
    tried: list[tuple[int, Any]] = []
    alive: list[int] = []
    real = CudaExecutor._run_slice

    def scarce(self: CudaExecutor, arena: Any, number: int) -> None:
        samples = arena.layout.placement.sizes.samples
        if samples > 16:
            tried.append((samples, weakref.ref(arena.data)))
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)
        alive.append(sum(data() is not None for _, data in tried))
        real(self, arena, number)

    monkeypatch.setattr(CudaExecutor, "_run_slice", scarce)
    np.testing.assert_array_equal(again(weights, data), want)
    executors = len(again._prepared(False).executors)
    assert [samples for samples, _ in tried] == [64, 32] * executors  # and no size twice
    assert max(alive) == 0


def test_a_shortage_in_a_capture_is_passed_on(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smaller arena cannot be made there: its tables would come from the host."""
    model = line()
    given = [cupy.asarray(a) for a in inputs(model)]
    model(*given)

    def scarce(*_: Any) -> None:
        raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    monkeypatch.setattr(CudaExecutor, "_run_slice", scarce)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        model.device.capture(lambda: model(*given))
    assert all(e.arenas for e in model._prepared(False).executors)


def test_elements_stay_within_reach_of_32_bits(cupy: ModuleType) -> None:
    model = line(memory=1e15)
    job = model._prepared(False).executors[0].job
    for dtype, samples in (("float32", 1 << 24), ("float64", 1 << 23)):
        executor = get_backend("cuda").prepare(job, np.dtype(dtype), Budget(1e15))
        assert isinstance(executor, CudaExecutor)
        size = executor._chunk(Sizes(job.cones, 64, samples))
        layouts = executor._layout(size).placement.layouts.values()
        extent = max(layout.extent for layout in layouts)
        assert 1 << 30 <= extent * executor.dtype.itemsize < 1 << 32


def test_calls_and_runs_in_two_threads_do_not_lock_each_other_out(cupy: ModuleType) -> None:
    model = line()
    weights, data = inputs(model)
    executor = model._prepared(False).executors[0]

    def repeat(call: Any) -> None:
        for _ in range(100):
            call(weights, data)

    threads = [
        threading.Thread(target=repeat, args=[call], daemon=True) for call in (model, executor.run)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
