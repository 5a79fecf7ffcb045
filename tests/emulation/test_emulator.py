"""The emulation of a GPU on the CPU: index variables, barriers, shuffles, shared memory, limits."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from .build import POISON, emulated
from .sources import LaunchError, expressions_of

PROBES = Path(__file__).with_name("probes.cu")


def launch(*args, **keywords):
    emulated(PROBES).launch(*args, **keywords)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("blocks", "threads", "count"), [(1, 1, 1), (3, 32, 80), (64, 256, 16384)])
def test_barriers_order_what_threads_write(blocks, threads, count, dtype):
    given = np.random.default_rng(count).integers(-99, 99, count).astype(dtype)
    out = np.full(blocks, np.nan, dtype)
    name = {np.float32: "block_sums<float>", np.float64: "block_sums<double>"}[dtype]
    args = (out, given, np.int32(count))
    launch(name, (blocks,), (threads,), args, shared=threads * out.itemsize)
    padded = np.resize(np.append(given, np.zeros(blocks * threads - count)), (blocks, threads))
    np.testing.assert_array_equal(out, padded.sum(1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_static_shared_memory_belongs_to_one_block(workers):
    given = np.random.default_rng(0).random((70, 37))
    out = np.zeros((37, 70))
    args = (out, given, np.int64(70), np.int64(37))
    launch("transpose", (3, 5), (16, 16), args, workers=workers)
    np.testing.assert_array_equal(out, given.T)


def test_every_thread_knows_its_place():
    grid, block = (3, 2, 2), (4, 3, 2)
    out = np.zeros((12 * 24, 6), np.uint32)
    launch("places", grid, block, (out,))
    want = [(*b[::-1], *t[::-1]) for b in np.ndindex(grid[::-1]) for t in np.ndindex(block[::-1])]
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("width", [32, 8])
@pytest.mark.parametrize("by", [0, 1, 5])
def test_shuffles(width, by):
    given = np.random.default_rng(by).random(96)
    out = np.zeros((96, 4))
    launch("shuffles", (1,), (96,), (out, given, np.int32(width), np.int32(by)))
    rows = given.reshape(-1, width)
    lanes = np.arange(width)
    sources = [
        np.full(width, by),
        np.where(lanes >= by, lanes - by, lanes),
        np.where(lanes + by < width, lanes + by, lanes),
        lanes ^ by,
    ]
    want = np.stack([rows[:, source].ravel() for source in sources], axis=1)
    np.testing.assert_array_equal(out, want)


def test_atomic_sums_from_blocks_that_run_at_the_same_time():
    digits = np.random.default_rng(1).integers(0, 10, 20000).astype(np.int32)
    counts, total = np.zeros(10, np.int32), np.zeros(1, np.float32)
    args = (counts, total, digits, np.int32(digits.size))
    launch("count_digits", (80,), (256,), args, workers=3)
    np.testing.assert_array_equal(counts, np.bincount(digits, minlength=10))
    assert total[0] == 10000


def test_scalars_of_every_type():
    out = np.zeros(8)
    given = (np.bool_(True), np.int32(-5), np.uint32(4000000000), np.int64(-(2**40)))
    launch("scalars", (1,), (1,), (out, *given, np.float32(0.5), np.float64(0.1)))
    np.testing.assert_array_equal(out, [1, -5, 4e9, -(2.0**40), 0.5, 0.1, -2.5, 2e9])


def test_shared_memory_is_poisoned_before_every_block():
    floats, doubles = np.zeros(6, np.float32), np.zeros(6)
    integers = np.zeros(6, np.int32)
    launch("untouched", (6,), (1,), (floats, doubles, integers), shared=16, workers=1)
    assert np.isnan(floats).all() and np.isnan(doubles).all()
    assert (integers == POISON).all()


# What a GPU would refuse, or get wrong, is an error that says where.


def line_of(text):
    lines = PROBES.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_divergent_barrier_is_reported_with_both_lines():
    one, other = line_of("three threads wait here"), line_of("the others here")
    message = rf"\(0, 0, 0\) waits at probes.cu:{one}, \(3, 0, 0\) at probes.cu:{other}"
    with pytest.raises(LaunchError, match=message):
        launch("two_barriers", (2,), (8,), (np.zeros(8, np.int32),))


def test_a_barrier_that_a_thread_does_not_reach_is_reported():
    with pytest.raises(LaunchError, match=r"probes.cu:\d+, 1 have returned"):
        launch("early_return", (1,), (8,), (np.zeros(8, np.int32),))


def test_a_launch_after_a_failed_one_is_right():
    for _ in range(3):
        with pytest.raises(LaunchError):
            launch("two_barriers", (2,), (8,), (np.zeros(8, np.int32),))
        test_every_thread_knows_its_place()


def test_shuffles_of_a_part_of_a_warp_are_not_emulated():
    with pytest.raises(LaunchError, match=r"the mask leaves out threads of the warp at probes.cu"):
        launch("half_a_warp", (1,), (32,), (np.zeros(32, np.int32),))


@pytest.mark.parametrize(
    ("at", "divisor", "message"),
    [(1 << 45, 1, "memory that is not there"), (0, 0, "division by zero")],
)
def test_a_wild_access_ends_the_launch_not_the_process(at, divisor, message):
    args = (np.zeros(1, np.int32), np.int64(at), np.int32(divisor))
    for _ in range(2):
        with pytest.raises(LaunchError, match=rf"thread \(0, 0, 0\) of block .*{message}"):
            launch("wild", (1,), (1,), args)


def test_a_write_behind_shared_memory_is_reported():
    out = np.zeros(32, np.float32)
    launch("overrun", (1,), (32,), (out, np.int32(0)), shared=128)
    with pytest.raises(LaunchError, match="wrote beyond its 128 bytes of shared memory"):
        launch("overrun", (1,), (32,), (out, np.int32(1)), shared=128)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ((1,), (1025,), 0, "1024 threads"),
        ((1,), (32, 32, 2), 0, "1024 threads"),
        ((1,), (1, 1, 65), 0, "64"),
        ((1, 65536), (1,), 0, "65535"),
        ((1, 1, 65536), (1,), 0, "65535"),
        ((2**31,), (1,), 0, "grid"),
        ((0,), (1,), 0, "grid"),
        ((1,), (), 0, "block"),
        ((1,), (1,), 227 * 1024 + 1, "shared memory"),
        ((1,), (1,), -1, "shared"),
    ],
)
def test_limits_of_a_launch(grid, block, shared, message):
    with pytest.raises(LaunchError, match=message):
        launch("places", grid, block, (np.zeros(6, np.uint32),), shared=shared)


def test_launch_bounds_hold():
    args = (np.zeros(1), np.zeros(1), np.int32(1))
    with pytest.raises(LaunchError, match="__launch_bounds__ allows 512 threads"):
        launch("block_sums<double>", (1,), (1024,), args, shared=8192)


OUT, IN, COUNT = np.zeros(1, np.float32), np.ones(1, np.float32), np.int32(1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((OUT, IN), r"takes 3 arguments \(out, in, count\), not 2"),
        ((OUT.astype(float), IN, COUNT), r"argument 0 \(out\) is an array f8.* an array f4\*"),
        ((OUT, COUNT, COUNT), r"argument 1 \(in\) is a scalar i4; expected an array const f4\*"),
        ((OUT, IN, np.int64(1)), r"argument 2 \(count\) is a scalar i8; expected a scalar i4"),
        ((OUT, IN, np.ones(1, np.int32)), r"argument 2 \(count\) is an array i4"),
        ((OUT, IN, 1), r"argument 2 \(count\) is int; pass a NumPy array or a NumPy scalar"),
        ((OUT, None, COUNT), r"argument 1 \(in\) is NoneType"),
        ((np.broadcast_to(OUT, 1), IN, COUNT), r"argument 0 \(out\) cannot be written"),
    ],
)
def test_a_wrong_argument_is_named(args, message):
    with pytest.raises(LaunchError, match=message):
        launch("block_sums<float>", (1,), (1,), args, shared=4)


def test_an_unknown_kernel_is_named_with_the_known_ones():
    with pytest.raises(LaunchError, match=r"no kernel 'neighbours<0>'.* neighbours<true>"):
        launch("neighbours<0>", (1,), (1,), ())


def test_kernels_are_found_in_the_source():
    library = emulated(PROBES)
    assert list(library.expressions) == expressions_of(PROBES)
    assert set(library.expressions) >= {"places", "block_sums<float>", "neighbours< false>"}
    assert library.signature("block_sums< float >").types == ("f4*", "const f4*", "i4")
    assert library.signature("block_sums<float>").max_threads == 512


def test_blanks_in_an_expression_do_not_count():
    out = np.zeros(32, np.int32)
    launch("neighbours <true>", (1,), (32,), (out,), shared=128)
    np.testing.assert_array_equal(out, np.roll(np.arange(32), -1))


def test_a_source_that_does_not_compile_says_why(tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text(
        '#include "cuda_emulator.h"\n'
        "__global__ void wrong(int* out) { __shared__ int row[4]; out[0] = row[0]; }\n"
    )
    with pytest.raises(RuntimeError, match="TN_STATIC_SHARED"):
        emulated(source)


def test_launches_from_several_python_threads():
    given = np.ones(16384, np.float32)
    outs = [np.zeros(64, np.float32) for _ in range(4)]

    def work(out):
        for _ in range(5):
            launch("block_sums<float>", (64,), (256,), (out, given, np.int32(given.size)), 1024)

    threads = [threading.Thread(target=work, args=(out,)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (np.array(outs) == 256).all()


def test_fibers_are_cheap():
    """64 blocks of 256 threads with nine barriers, so that many tests fit in a minute."""
    args = (np.zeros(64, np.float32), np.ones(16384, np.float32), np.int32(16384))
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        launch("block_sums<float>", (64,), (256,), args, shared=1024)
        best = min(best, time.perf_counter() - start)
    assert best < 0.2
