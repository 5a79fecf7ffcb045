"""The stand-in for CuPy: it offers no more than CuPy, refuses as much, and sees wrong order."""

import gc
import inspect
import threading
import types

import numpy as np
import pytest

from .build import HERE, emulated
from .cupy_standin import make_cupy
from .cupy_standin_errors import StandinError

PROBES = (HERE / "probes.cu").read_text(encoding="utf-8")


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def cp(request):
    """Return a machine with one GPU, that works at once or only when something waits."""
    return make_cupy(lazy=request.param)


@pytest.fixture
def lazy():
    """Return a machine with one GPU that works only when something waits."""
    return make_cupy(lazy=True)


def numbers(*shape):
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape) / 7


def test_numpy_arrays_never_mix_with_device_arrays(cp):
    a, host = cp.ones(3), np.ones(3)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        a + host
    with pytest.raises(TypeError, match="Unsupported type"):
        host * a
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(a)
    with pytest.raises(TypeError, match="Unsupported type"):
        cp.concatenate([a, host])
    with pytest.raises(ValueError, match="non-scalar numpy"):
        a[:] = host
    with pytest.raises(TypeError):
        list(range(cp.asarray(3)))
    with pytest.raises(AttributeError):
        cp.fromiter  # noqa: B018
    assert (a + host[0]).get().tolist() == [2, 2, 2]  # a scalar of NumPy is one


# What it offers


def offered(module, path=()):
    """Yield the dotted names of a module and of the classes in it, ours and inherited."""
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        yield *path, name
        if isinstance(value, types.ModuleType):
            yield from offered(value, (*path, name))
        elif isinstance(value, type) and value.__module__ not in ("numpy", "builtins"):
            ours = [c for c in value.__mro__ if c.__module__ not in ("builtins", "numpy")]
            for member in {m for c in ours for m in vars(c) if not m.startswith("_")}:
                if not isinstance(value, type(Exception)) or not issubclass(value, Exception):
                    yield *path, name, member


def find(module, path):
    for name in path:
        module = getattr(module, name)
    return module


def test_every_name_is_cupys(cp):
    real = pytest.importorskip("cupy")
    names = list(offered(cp))
    assert len(names) > 200
    missing = []
    for path in names:
        try:
            find(real, path)
        except AttributeError:
            missing.append(".".join(path))
    assert not missing


def test_every_argument_is_cupys(cp):
    real = pytest.importorskip("cupy")
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    checked = 0
    for path in offered(cp):
        ours = find(cp, path)
        if not isinstance(ours, types.FunctionType) or path[-1] == "alloc_pinned_memory":
            continue
        try:
            theirs = inspect.signature(find(real, path)).parameters
        except (ValueError, TypeError):
            continue  # compiled without a signature
        if any(p.kind == inspect.Parameter.VAR_KEYWORD for p in theirs.values()):
            continue
        named = [n for n, p in inspect.signature(ours).parameters.items() if p.kind in kinds]
        assert set(named) <= set(theirs), path
        # What may be given by place stands in the same order.
        order = [n for n in theirs if n in named]
        assert [n for n in named if n in order] == order, path
        checked += 1
    assert checked > 40


# Memory


def test_new_memory_is_poisoned(cp):
    assert np.isnan(cp.empty(3).get()).all()
    assert cp.empty(2, dtype=np.int32).get().tolist() == [-1, -1]
    a = cp.zeros(3)
    del a
    assert np.isnan(cp.empty(3).get()).all()  # of the pool, the same block again


def test_memory_is_counted_pooled_and_given_back():
    cp = make_cupy(memory=1 << 20)
    pool, device = cp.get_default_memory_pool(), cp.cuda.Device(0)
    a = cp.zeros(1000)
    b = a[10:]
    assert pool.used_bytes() == 8192 and device.mem_info == ((1 << 20) - 8192, 1 << 20)
    del a
    assert pool.used_bytes() == 8192  # a view keeps it
    del b
    assert (pool.used_bytes(), pool.free_bytes()) == (0, 8192)
    pool.free_all_blocks()
    assert device.mem_info[0] == 1 << 20
    with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="Out of memory allocating 1,600,000"):
        cp.zeros(200_000)
    kept = [cp.zeros(50_000) for _ in range(2)]
    kept.pop()
    assert cp.zeros(70_000).size  # the pool gives back what it holds unused, then tries again


def test_an_allocation_can_be_made_to_fail(cp):
    cp._standin.fail_allocation(2)
    cp.zeros(1)
    with pytest.raises(MemoryError):
        cp.zeros(1)
    cp.zeros(1)


# Streams


def stream_of(cp):
    return cp.cuda.Stream(non_blocking=True)


def test_work_of_another_stream_is_seen_only_after_an_event(lazy):
    one, two = stream_of(lazy), stream_of(lazy)
    with one:
        a = lazy.full(3, 2.0)
        event = one.record()
        a += 1
    with two:
        assert np.isnan(a.get()).all()
        two.wait_event(event)
        assert a.get().tolist() == [2, 2, 2]  # not what came after the event
    one.synchronize()
    assert a.get().tolist() == [3, 3, 3]


def test_only_blocking_streams_wait_for_the_default_stream(lazy):
    blocking, free = lazy.cuda.Stream(), stream_of(lazy)
    a = lazy.ones(3)
    with free:
        assert np.isnan(a.get()).all()
    with blocking:
        assert a.get().tolist() == [1, 1, 1]


def test_pinned_memory_is_read_when_the_copy_runs(lazy):
    memory = lazy.cuda.alloc_pinned_memory(24)
    host = np.frombuffer(memory, dtype=float, count=3)
    host[:] = 1
    a = lazy.asarray(host)
    ordinary = np.ones(3)
    b = lazy.asarray(ordinary)
    host[:], ordinary[:] = 2, 2
    assert a.get().tolist() == [2, 2, 2]  # too early
    assert b.get().tolist() == [1, 1, 1]
    out = np.frombuffer(lazy.cuda.alloc_pinned_memory(24), dtype=float, count=3)
    (a + 1).get(out=out, blocking=False)
    assert np.isnan(out).all()
    lazy.cuda.get_current_stream().synchronize()
    assert out.tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="not pinned"):
        a.get(blocking=False)


def test_current_streams_and_devices_are_of_a_thread():
    cp = make_cupy(devices=2)
    seen = []

    def look():
        seen.extend([cp.cuda.get_current_stream() == cp.cuda.Stream.null, cp.cuda.Device().id])

    with cp.cuda.Device(1), stream_of(cp) as stream:
        assert cp.cuda.get_current_stream() == stream and stream.device_id == 1
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [True, 0]
    with pytest.raises(RuntimeError, match="does not match with the current device"):
        stream.use()


def test_arrays_of_another_device_are_copied_not_used():
    cp = make_cupy(devices=2)
    a = cp.arange(3.0)
    with cp.cuda.Device(1):
        with pytest.raises(ValueError, match="different from the current device"):
            a + 1
        b = cp.asarray(a)
        assert (b + 1).get().tolist() == [1, 2, 3] and b.device.id == 1
        assert cp.cuda.Device(0).mem_info[0] < 8 << 30 > cp.cuda.Device(1).mem_info[0]


def test_elapsed_time(cp):
    stream = cp.cuda.get_current_stream()
    start, end = stream.record(), stream.record()
    end.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0
    silent = stream.record(cp.cuda.Event(disable_timing=True))
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.get_elapsed_time(start, silent)


# Graphs


def captured(cp, function):
    """Return a graph of a function, and the pool of its memory."""
    stream, pool = stream_of(cp), cp.cuda.MemoryPool()
    cp.cuda.get_current_stream().synchronize()
    with stream:
        stream.begin_capture()
        try:
            with cp.cuda.using_allocator(pool.malloc):
                function()
        finally:
            graph = stream.end_capture()
    return graph, pool


def test_a_graph_does_the_work_at_each_launch(cp):
    total, step = cp.zeros(3), cp.zeros((), dtype=np.int64)
    table = cp.asarray(numbers(4, 3))
    found = []

    def work():
        row = table.take(step, axis=0)
        total[...] += row * 2 + cp.arange(3)
        total[cp.arange(1)] = cp.asarray(7.0)  # a scalar of the host becomes a kernel's argument
        found.append(total.sum())
        step[...] += 1

    graph, _pool = captured(cp, work)
    assert total.get().tolist() == [0, 0, 0] and np.isnan(found[0].get())
    expected = np.zeros(3)
    for row in numbers(4, 3)[:3]:
        graph.launch()
        expected += row * 2 + np.arange(3)
        expected[0] = 7
        np.testing.assert_array_equal(total.get(), expected)
        assert found[0].get() == pytest.approx(expected.sum())


REFUSED = {
    "get": lambda cp, a: a.get(),
    "asnumpy": lambda cp, a: cp.asnumpy(a),
    "item": lambda cp, a: a.sum().item(),
    "float": lambda cp, a: float(a.sum()),
    "int": lambda cp, a: int(a.sum()),
    "bool": lambda cp, a: bool((a > 0).all()),
    "repr": lambda cp, a: repr(a),
    "asarray": lambda cp, a: cp.asarray(np.ones(3)),
    "list": lambda cp, a: cp.array([1.0, 2.0]),
    "set": lambda cp, a: a.set(np.ones(a.shape)),
    "index_by_list": lambda cp, a: a[[0, 1]],
    "index_by_numpy": lambda cp, a: a[np.arange(2)],
    "take_by_list": lambda cp, a: cp.take(a, [0, 1], axis=0),
    "put_numpy": lambda cp, a: a.__setitem__(cp.arange(2), np.ones((2, 3))),
    "mask": lambda cp, a: a[a > 1],
    "put_mask": lambda cp, a: a.__setitem__(a > 1, 0.0),
    "nonzero": lambda cp, a: a.nonzero(),
    "where": lambda cp, a: cp.where(a > 1),
    "many": lambda cp, a: cp.concatenate([a] * 9),
    "stack_many": lambda cp, a: cp.stack([a] * 9),
}
LIBRARIES = {
    "matmul": lambda cp, a: a @ a.T,
    "dot": lambda cp, a: a.dot(a.T),
    "tensordot": lambda cp, a: cp.tensordot(a, a, axes=([1], [1])),
    "einsum": lambda cp, a: cp.einsum("ij,kj->ik", a, a),
    "eigh": lambda cp, a: cp.linalg.eigh(a[:, :3]),
}


@pytest.mark.parametrize("name", [*REFUSED, *LIBRARIES])
def test_what_cupy_refuses_under_capture(cp, name):
    a = cp.asarray(numbers(4, 3))
    calls = REFUSED | LIBRARIES
    calls[name](cp, a[:3])  # allowed elsewhere
    a = cp.asarray(numbers(4, 3))
    error, words = RuntimeError, "the current stream is capturing, so .2. transfers are disallowed"
    if name in LIBRARIES:
        error, words = NotImplementedError, "API during stream capture is currently unsupported"
    with pytest.raises(error, match=words):
        captured(cp, lambda: calls[name](cp, a[:3]))


def test_few_arrays_can_be_joined_under_capture(cp):
    a, out = cp.asarray(numbers(4, 3)), cp.zeros((32, 3))
    graph, _pool = captured(cp, lambda: out.__setitem__(..., cp.concatenate([a] * 8)))
    graph.launch()
    np.testing.assert_array_equal(out.get(), np.concatenate([numbers(4, 3)] * 8))


@pytest.mark.parametrize("how", ["stream", "device", "event"])
def test_to_wait_under_capture_breaks_it(cp, how):
    def work():
        stream = cp.cuda.get_current_stream()
        waiting = {"stream": stream, "device": cp.cuda.Device(), "event": stream.record()}[how]
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="StreamCaptureUnsupported"):
            waiting.synchronize()

    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="StreamCaptureInvalidated"):
        captured(cp, work)


def test_the_default_stream_and_another_device_are_not_captured():
    cp = make_cupy(devices=2)
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()
    with pytest.raises(StandinError, match="the device changes"):
        captured(cp, lambda: cp.cuda.Device(1).use())


def test_a_graphs_memory_is_not_of_the_default_pool(cp):
    stream = stream_of(cp)
    with stream:
        stream.begin_capture()
        with pytest.raises(StandinError, match="default pool"):
            cp.zeros(3)


@pytest.mark.parametrize("lost", ["input", "pool", "temporary"])
def test_a_graph_that_outlives_its_memory_is_caught(cp, lost):
    held = [cp.zeros(3), cp.zeros(3)]
    graph, pool = captured(cp, lambda: held[1].__setitem__(..., held[0] * 2 + 1))
    graph.launch()
    assert held[1].get().tolist() == [1, 1, 1]
    if lost == "input":
        del held[0]
    elif lost == "pool":
        del pool
    else:
        with cp.cuda.using_allocator(pool.malloc), stream_of(cp):
            pass
        graph_stream = cp._standin.machine.streams[0][0]
        with graph_stream, cp.cuda.using_allocator(pool.malloc):
            held.append(cp.empty(3))
    gc.collect()
    with pytest.raises(StandinError, match="memory that was freed"):
        graph.launch()


# Kernels


@pytest.fixture
def module(cp):
    """Return the emulator's probes as a RawModule."""
    cp._standin.libraries[PROBES] = emulated(HERE / "probes.cu")
    names = ("block_sums<float>", "block_sums<double>", "transpose", "scalars", "count_digits")
    return cp.RawModule(code=PROBES, options=("-std=c++17",), name_expressions=names)


def test_a_kernel_runs_now_or_in_a_graph(cp, module):
    kernel = module.get_function("transpose")
    a, out = cp.asarray(numbers(5, 7)), cp.zeros((7, 5))
    sizes = (np.int64(5), np.int64(7))
    kernel((1, 1), (32, 8), (out, a, *sizes))
    np.testing.assert_array_equal(out.get(), numbers(5, 7).T)
    graph, _pool = captured(cp, lambda: kernel((1, 1), (32, 8), (out, a, *sizes)))
    a *= 2
    cp.cuda.get_current_stream().synchronize()
    np.testing.assert_array_equal(out.get(), numbers(5, 7).T)
    graph.launch()
    np.testing.assert_array_equal(out.get(), 2 * numbers(5, 7).T)
    assert cp._standin.machine.counters.launches == ["transpose", "transpose"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"args": lambda a, o: (o, a, 5, np.int64(7))}, "neither an array nor a NumPy scalar"),
        ({"args": lambda a, o: (o, a, np.int32(5), np.int64(7))}, "expected a scalar i8"),
        ({"args": lambda a, o: (o, a.get(), np.int64(5), np.int64(7))}, "neither an array"),
        ({"args": lambda a, o: (o, a.astype("f4"), np.int64(5), np.int64(7))}, "expected an array"),
        ({"grid": [1, 1]}, "must be tuples"),
        ({"grid": (1, 70_000)}, "driver error"),
        ({"shared": 49_153}, "driver error"),
    ],
)
def test_a_wrong_launch_is_refused(cp, module, change, words):
    kernel = module.get_function("transpose")
    a, out = cp.asarray(numbers(5, 7)), cp.zeros((7, 5))
    args = change.get("args", lambda a, o: (o, a, np.int64(5), np.int64(7)))(a, out)
    with pytest.raises((Exception, StandinError), match=words):
        kernel(change.get("grid", (1, 1)), (32, 8), args, shared_mem=change.get("shared", 0))


def test_shared_memory_needs_permission(cp, module):
    kernel = module.get_function("transpose")
    kernel.max_dynamic_shared_size_bytes = 100_000
    args = cp.zeros((7, 5)), cp.zeros((5, 7)), np.int64(5), np.int64(7)
    kernel((1, 1), (32, 8), args, shared_mem=100_000)
    with pytest.raises(cp.cuda.driver.CUDADriverError):
        kernel.max_dynamic_shared_size_bytes = 300_000


def test_kernels_are_not_compiled_under_capture(cp, module):
    with pytest.raises(StandinError, match="compiled while"):
        captured(cp, lambda: module.get_function("transpose"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((f"-I{HERE}", "-DX=1"), "-std=c"),
        (("-std=c++17", "-DX=1"), "-I of"),
        (("-std=c++17", f"-I{HERE}"), "digest"),
    ],
)
def test_options_of_the_compiler(cp, options, words):
    module = cp.RawModule(code=PROBES, options=options, name_expressions=("transpose",))
    with pytest.raises(StandinError, match=words):
        module.get_function("transpose")
