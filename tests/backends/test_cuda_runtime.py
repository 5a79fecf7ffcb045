"""The runtime of the CUDA backend: on the stand-in, eager and lazy, and on a GPU."""

import os
import shutil
import threading
import warnings

import numpy as np
import pytest

from tn_qnn.backends.cuda import sources
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import BackendError

from ..emulation.cupy_standin import make_cupy

TWICE = """// Doubles numbers by way of shared memory.
#include "portable.cuh"

template <typename T>
__global__ void twice(T* out, const T* in, int count) {
  TN_DYNAMIC_SHARED(T, part);
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < count ? 2 * in[i] : T(0);
  __syncthreads();
  if (i < count) out[i] = part[threadIdx.x];
}

template __global__ void twice<float>(float*, const float*, int);
template __global__ void twice<double>(double*, const double*, int);
"""
ON = ["eager", "lazy", pytest.param("gpu", marks=pytest.mark.gpu)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder of sources with one kernel."""
    path = tmp_path_factory.mktemp("kernels")
    shutil.copy(sources.folder() / "portable.cuh", path)
    (path / "twice.cu").write_text(TWICE, encoding="utf-8")
    return path


@pytest.fixture(params=ON)
def cp(request):
    """Return CuPy, or a stand-in."""
    if request.param == "gpu":
        import cupy

        return cupy
    return make_cupy(lazy=request.param == "lazy")


@pytest.fixture
def runtime(cp):
    return CudaRuntime(cp)


@pytest.fixture
def twice(folder, monkeypatch):
    """Make the kernel ``twice`` known, and return a function that launches it."""
    monkeypatch.setattr(sources, "folder", lambda: folder)
    monkeypatch.setitem(sources.KERNELS, "twice", sources.Kernel("twice.cu", sources.BY_TYPE))
    monkeypatch.setitem(sources.ALL_EXPRESSIONS, "twice.cu", ("twice<float>", "twice<double>"))

    def launch(runtime, out, a, shared=1024):
        grid, args = (-(-a.size // 128),), (out, a, np.int32(a.size))
        runtime.launch("twice", sources.variant("twice", a.dtype), grid, (128,), args, shared)

    return launch


def wait(cp):
    cp.cuda.get_current_stream().synchronize()


# The device and its stream


def test_facts(runtime):
    facts = runtime.facts
    assert facts.name and facts.capability >= (5, 0) and facts.multiprocessors > 0
    assert facts.shared_bytes >= 48 * 1024 and facts.memory > 1 << 29


def test_a_device_that_is_not_there():
    with pytest.raises(BackendError, match="devices: got 2, but this machine has 2"):
        CudaRuntime(make_cupy(devices=2), 2)


def test_streams_wait_for_each_other(cp, runtime):
    a = cp.full(100_000, 2.0)  # by the caller's stream
    with runtime.use():
        b = a * 3
    assert (b + 1).sum().get() == 700_000  # by the caller's stream again


def test_without_the_order_results_would_be_missing():
    cp = make_cupy(lazy=True)
    runtime = CudaRuntime(cp)
    runtime._order = lambda first, then: None
    a = cp.full(3, 2.0)
    with runtime.use():
        b = a * 3
    assert np.isnan(b.get()).all()


def test_use_may_be_nested_and_leaves_all_as_it_was(cp, runtime):
    before = cp.cuda.get_current_stream()
    with runtime.use():
        own = cp.cuda.get_current_stream()
        assert own != before
        with runtime.use():
            assert cp.cuda.get_current_stream() == own
        with cp.cuda.Stream(non_blocking=True) as other, runtime.use():
            assert cp.cuda.get_current_stream() == own != other
    assert cp.cuda.get_current_stream() == before
    with pytest.raises(KeyError), runtime.use():
        raise KeyError
    assert cp.cuda.get_current_stream() == before


def test_each_runtime_is_on_its_device():
    cp = make_cupy(devices=2)
    first, second = CudaRuntime(cp), CudaRuntime(cp, 1)
    with first.use(), second.use():
        assert cp.zeros(3).device.id == 1
        with first.use():
            assert cp.zeros(3).device.id == 0
    assert cp.cuda.runtime.getDevice() == 0


def test_two_threads_take_turns_with_one_runtime(cp, runtime):
    shared, wrong = cp.zeros(1000), []
    wait(cp)

    def work(number):
        for _ in range(50):
            with runtime.use():
                shared.fill(number)
                wrong.extend(runtime.to_host(shared + 0 * shared) != number)

    run_in_threads(work, 2)
    assert len(wrong) == 100_000 and not any(wrong)


def test_two_runtimes_in_two_threads_do_not_disturb_each_other(cp, twice):
    found = {}

    def work(number):
        runtime = CudaRuntime(cp)
        with runtime.use():
            a = cp.full(1000, float(number))
            for _ in range(6):
                twice(runtime, a, a.copy())
            found[number] = runtime.to_host(a), cp.cuda.get_current_stream().ptr

    run_in_threads(work, 3)
    for number, (values, _) in found.items():
        assert (values == 64 * number).all()
    assert len({pointer for _, pointer in found.values()}) == 3


def run_in_threads(work, count):
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def in_child(function):
    """Return what a forked process finds: the message of a BackendError, or ""."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads
        child = os.fork()
    if child == 0:
        try:
            function()
            message = "no error"
        except BackendError as error:
            message = str(error)
        except BaseException as error:
            message = f"another error: {error!r}"
        os.write(write, message.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.parametrize("how", ["use", "synchronize", "to_host", "facts"])
def test_a_forked_process_is_told(cp, runtime, how):
    a = runtime.to_device(np.ones(3))

    def call():
        if how == "facts":
            del runtime.facts
        result = runtime.to_host(a) if how == "to_host" else getattr(runtime, how)
        with result() if how == "use" else warnings.catch_warnings():
            result() if how == "synchronize" else None

    if how == "facts":
        _ = runtime.facts  # cached: asked for again in the child
    assert "forked after the GPU was used" in in_child(call)


def test_a_runtime_that_was_not_used_can_be_forked():
    cp = make_cupy()
    runtime = CudaRuntime(cp)
    assert in_child(runtime.synchronize) == "no error"
    cp._standin.machine.status = 3  # as CUDA has it where the parent has used a GPU otherwise
    with pytest.raises(BackendError, match="forked after the GPU was used"):
        runtime.synchronize()
    cp._standin.machine.status = 999
    with pytest.raises(BackendError, match="GPU 0 does not start: CUDA error 999"):
        runtime.synchronize()


# Launches


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_launch(cp, runtime, twice, dtype):
    a = cp.arange(1000, dtype=dtype)
    out = cp.zeros_like(a)
    twice(runtime, out, a)
    assert (out.get() == 2 * np.arange(1000)).all()


def test_kernels_are_compiled_once(twice):
    cp, asked = make_cupy(), []
    cp._standin.compiler = lambda: asked.append(1)
    runtime = CudaRuntime(cp)
    a = cp.zeros(3)
    for _ in range(3):
        twice(runtime, a, a + 1)
    assert len(asked) == 1 and len(runtime._kernels) == 1
    twice(runtime, a.astype(np.float32), a.astype(np.float32))
    assert len(asked) == 2


def test_much_shared_memory_is_permitted_once(cp, runtime, twice):
    a, most = cp.arange(1000.0), runtime.facts.shared_bytes
    out = cp.zeros_like(a)
    for shared in (60_000, most, 1024, 50_000):
        out.fill(0)
        twice(runtime, out, a, shared)
        assert (out.get() == 2 * np.arange(1000)).all()
    assert runtime._kernels["twice<double>"].max_dynamic_shared_size_bytes == most
    with pytest.raises(
        BackendError, match=f"twice<double>: {most + 8} bytes of shared memory, but"
    ):
        twice(runtime, out, a, most + 8)


def test_a_kernel_that_is_not_there(runtime):
    with pytest.raises(BackendError, match="there is no run_stage<half>"):
        runtime.launch("run_stage", "<half>", (1,), (1,), ())


def raising(error):
    def compiler():
        raise error

    return compiler


def test_what_is_said_when_nothing_can_be_compiled(twice):
    cp = make_cupy()
    runtime, a = CudaRuntime(cp), cp.zeros(3)
    for words in ('Failure finding "libnvrtc.so.13"', "Failed to find CUDA headers. Please"):
        cp._standin.compiler = raising(RuntimeError(words))
        with pytest.raises(BackendError, match=r'pip install "cupy-cuda13x\[ctk\]"'):
            twice(runtime, a, a)
    cp._standin.compiler = raising(cp.cuda.compiler.CompileException("line 3: no such thing"))
    with pytest.raises(BackendError, match=r"kernels/twice\.cu does not compile: line 3"):
        twice(runtime, a, a)
    cp._standin.compiler = raising(RuntimeError("anything else"))
    with pytest.raises(RuntimeError, match="anything else"):
        twice(runtime, a, a)


# Graphs


def test_a_graph_replays_kernels_and_arithmetic(cp, runtime, twice):
    total, step = runtime.to_device(np.zeros(500)), runtime.to_device(np.zeros((), np.int64))

    def work():
        doubled = cp.empty_like(total)
        twice(runtime, doubled, total + step)
        total[...] = doubled
        step[...] += 1
        return doubled

    work()  # the warm-up is part of the sequence: total = 0, step = 1
    graph = runtime.capture(work)
    assert (runtime.to_host(total) == 0).all()
    expected = 0
    for k in range(1, 20):
        graph.launch()
        expected = 2 * (expected + k)
    assert (runtime.to_host(total) == expected).all()
    assert (runtime.to_host(graph.values) == expected).all()


def test_a_graph_keeps_what_it_works_on(cp, runtime):
    out = runtime.to_device(np.zeros(1000))

    def make():
        source = runtime.to_device(np.full(1000, 3.0))
        held = [runtime.to_device(np.full(1000, 4.0))]

        def work():
            assert runtime.capturing
            runtime.keep(held[0])
            out[...] += source * 2 + held[0]

        graph = runtime.capture(work)
        held.clear()
        return graph

    out += out * 2 + out  # warm
    graph = make()
    assert not runtime.capturing
    for _ in range(5):  # what was freed would be used again
        runtime.to_device(np.full(1000, -1.0))
    graph.launch()
    graph.launch()
    assert (runtime.to_host(out) == 20).all()
    runtime.keep(object())  # outside a capture nothing is kept


def test_capture_and_launch_may_be_within_use(cp, runtime):
    a = runtime.to_device(np.zeros(3))
    with runtime.use():
        a += 1
        graph = runtime.capture(lambda: a.__iadd__(1))
        graph.launch()
        a *= 2
        graph.launch()
    assert runtime.to_host(a).tolist() == [5, 5, 5]


def test_the_default_pool_gives_way_to_the_graph():
    runtime = CudaRuntime(make_cupy(memory=1_000_000))
    a = runtime.to_device(np.ones(50_000))
    a += a * 2  # leaves 400,000 bytes in the default pool
    graph = runtime.capture(lambda: a.__iadd__(a * 2))
    graph.launch()
    assert (runtime.to_host(a) == 9).all()


def test_other_threads_wait_while_one_captures(cp, runtime):
    a, b = runtime.to_device(np.zeros(3)), runtime.to_device(np.zeros(3))
    a += 1
    wait(cp)
    capturing = threading.Event()

    def meanwhile():
        capturing.wait()
        runtime.synchronize()
        with runtime.use():
            b.__iadd__(1)

    def work():
        capturing.set()
        other.join(timeout=0.2)
        a.__iadd__(1)

    other = threading.Thread(target=meanwhile)
    other.start()
    graph = runtime.capture(work)
    other.join()
    graph.launch()
    graph.launch()
    assert (runtime.to_host(a) == 3).all() and (runtime.to_host(b) == 1).all()


@pytest.mark.parametrize("fault", ["copy", "wait", "error", "memory"])
def test_after_a_capture_that_failed_the_stream_works(runtime, cp, fault):
    a = runtime.to_device(np.ones(3))

    def work():
        b = a + 1
        if fault == "copy":
            return runtime.to_host(b)
        if fault == "wait":
            return runtime.synchronize()
        if fault == "error":
            raise KeyError("mine")
        return cp.empty(1 << 50)

    a += a + 1 - 2  # compiles what is captured below
    with pytest.raises(Exception) as caught:
        runtime.capture(work)
    assert runtime.is_out_of_memory(caught.value) is (fault == "memory")
    assert isinstance(caught.value, KeyError) is (fault == "error")
    assert not runtime.capturing
    assert runtime.to_host(a + 1).tolist() == [2, 2, 2]
    graph = runtime.capture(lambda: a.__iadd__(1))
    graph.launch()
    assert runtime.to_host(a).tolist() == [2, 2, 2]


def test_captures_are_not_nested(runtime):
    with pytest.raises(BackendError, match="while this runtime captures"):
        runtime.capture(lambda: runtime.capture(lambda: None))
    runtime.synchronize()


def test_a_matrix_product_by_cublas_is_not_captured(runtime):
    a = runtime.to_device(np.ones((3, 3)))
    with runtime.use():
        _ = a @ a
    with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
        runtime.capture(lambda: a @ a)


# Memory


def test_free_memory_counts_what_the_pool_holds(cp, runtime):
    free = runtime.free_memory()
    a = cp.zeros(1 << 20)
    wait(cp)
    assert runtime.free_memory() <= free - (8 << 20)
    held = runtime.free_memory()
    del a
    assert runtime.free_memory() >= held + (8 << 20)


def test_out_of_memory_is_recognised(cp, runtime):
    with pytest.raises(MemoryError) as caught:
        cp.empty(1 << 50, dtype=np.int8)
    assert runtime.is_out_of_memory(caught.value)
    cuda = cp.cuda
    assert runtime.is_out_of_memory(cuda.runtime.CUDARuntimeError(2))
    assert runtime.is_out_of_memory(cuda.driver.CUDADriverError(2))
    others = MemoryError(), cuda.runtime.CUDARuntimeError(1), KeyError(), OSError(2, "x")
    assert not any(map(runtime.is_out_of_memory, others))


def test_copies(cp, runtime):
    host = np.arange(6.0).reshape(2, 3)
    a = runtime.to_device(host)
    assert isinstance(a, cp.ndarray) and (runtime.to_host(a) == host).all()
    assert runtime.to_device(a) is a
    b = runtime.to_device(host.T, dtype=np.float32)
    assert b.dtype == np.float32 and (runtime.to_host(b) == host.T).all()
    assert runtime.to_device([1, 2], dtype=np.int64).dtype == np.int64
    assert runtime.to_host(host) is not host and runtime.to_device(host[:0]).shape == (0, 3)
    host[:] = 7  # ordinary memory was read at once
    assert runtime.to_host(a)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("lazy", [False, True])
def test_copies_between_devices_wait_and_are_waited_for(lazy):
    cp = make_cupy(devices=2, lazy=lazy)
    first, second = CudaRuntime(cp), CudaRuntime(cp, 1)
    with first.use():
        assert second.to_host(second.copied(cp.arange(3.0) + 1)).tolist() == [1, 2, 3]
        a = cp.arange(8.0).reshape(2, 4)
        parts = a, a.T, a[:, ::2]
        copies = [second.copied(part) for part in parts]
        a.fill(9)  # after the copies were asked for
    first.synchronize()
    whole = np.arange(8.0).reshape(2, 4)
    for copy, want in zip(copies, (whole, whole.T, whole[:, ::2]), strict=True):
        assert copy.device.id == 1 and second.copied(copy) is copy
        assert (second.to_host(copy) == want).all() and (first.to_host(copy) == want).all()


def test_pinned_memory(cp, runtime):
    host = runtime.pinned((4, 1000), np.float32)
    assert host.shape == (4, 1000) and host.dtype == np.float32 and host.flags.writeable
    host[...] = np.arange(4)[:, None]
    a = runtime.to_device(host)
    runtime.synchronize()
    host[...] = -1  # allowed only after waiting
    assert (runtime.to_host(a) == np.arange(4)[:, None]).all()
    with runtime.use():
        a.get(out=host, blocking=False)
    runtime.synchronize()
    assert (host == np.arange(4)[:, None]).all()
    assert runtime.pinned((0, 3), float).shape == (0, 3) and runtime.pinned(2, bool).size == 2


def test_pinned_memory_that_changes_too_early_would_show():
    cp = make_cupy(lazy=True)
    runtime = CudaRuntime(cp)
    host = runtime.pinned(3, float)
    host[:] = 1
    a = runtime.to_device(host)
    host[:] = 2
    assert runtime.to_host(a).tolist() == [2, 2, 2]
