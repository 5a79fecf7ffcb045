"""The program that runs kernels with real threads under sanitizers: what it must see."""

import numpy as np
import pytest

from .build import POISON, SanitizerError, run_standalone
from .sources import LaunchError
from .test_emulator import PROBES, line_of

pytestmark = pytest.mark.slow
EITHER = pytest.mark.parametrize("sanitizer", ["address", "thread"])


def run(*args, **keywords):
    return run_standalone(PROBES, *args, **keywords)


@EITHER
def test_right_kernels_pass(sanitizer):
    given = np.random.default_rng(0).integers(-9, 9, 500).astype(np.float32)
    args = (np.zeros(4, np.float32), given, np.int32(given.size))
    run("block_sums<float>", (4,), (128,), args, 512, sanitizer)
    np.testing.assert_array_equal(args[0], np.append(given, np.zeros(12)).reshape(4, 128).sum(1))

    matrix = np.random.default_rng(1).random((20, 33))
    args = (np.zeros((33, 20)), matrix, np.int64(20), np.int64(33))
    run("transpose", (3, 2), (16, 16), args, sanitizer=sanitizer)
    np.testing.assert_array_equal(args[0], matrix.T)


@EITHER
def test_shuffles_and_atomic_sums_pass(sanitizer):
    given = np.random.default_rng(2).random(64)
    args = (np.zeros((64, 4)), given, np.int32(32), np.int32(3))
    run("shuffles", (1,), (64,), args, sanitizer=sanitizer)
    np.testing.assert_array_equal(args[0][:, 3], given[np.arange(64) ^ 3])

    digits = np.arange(200, dtype=np.int32) % 10
    args = (np.zeros(10, np.int32), np.zeros(1, np.float32), digits, np.int32(200))
    run("count_digits", (4,), (64,), args, sanitizer=sanitizer)
    assert (args[0] == 20).all()
    assert args[1] == [100]


@EITHER
def test_shared_memory_is_poisoned(sanitizer):
    args = (np.zeros(4, np.float32), np.zeros(4), np.zeros(4, np.int32))
    run("untouched", (4,), (1,), args, 16, sanitizer)
    assert np.isnan(args[0]).all() and np.isnan(args[1]).all()
    assert (args[2] == POISON).all()


def test_a_missing_barrier_is_reported():
    out = np.zeros(64, np.int32)
    run("neighbours<true>", (1,), (64,), (out,), 256, "thread")
    np.testing.assert_array_equal(out, np.roll(np.arange(64), -1))
    with pytest.raises(SanitizerError, match=r"data race(.|\n)*probes\.cu"):
        run("neighbours<false>", (1,), (64,), (out,), 256, "thread")


def test_a_race_between_blocks_is_reported():
    args = (np.zeros(1, np.int32),)
    run("last_block", (1,), (1,), args, sanitizer="thread")
    with pytest.raises(SanitizerError, match=r"data race(.|\n)*probes\.cu"):
        run("last_block", (2,), (1,), args, sanitizer="thread")


@pytest.mark.parametrize(
    ("kernel", "args", "shared", "report"),
    [
        ("overrun", (np.zeros(32, np.float32), np.int32(1)), 128, "heap-buffer-overflow"),
        ("overrun", (np.zeros(31, np.float32), np.int32(0)), 128, "heap-buffer-overflow"),
        ("overrun", (np.zeros(32, np.float32), np.int32(0)), 127, "heap-buffer-overflow"),
        ("overrun", (np.zeros(32, np.float32), np.int32(-1)), 128, "heap-buffer-overflow"),
        ("overflow", (np.zeros(32, np.int32), np.int32(2**31 - 1)), 0, "signed integer overflow"),
        ("wild", (np.zeros(1, np.int32), np.int64(1), np.int32(1)), 0, "heap-buffer-overflow"),
        ("wild", (np.zeros(1, np.int32), np.int64(0), np.int32(0)), 0, "division by zero"),
    ],
)
def test_what_is_out_of_bounds_or_undefined_is_reported(kernel, args, shared, report):
    with pytest.raises(SanitizerError, match=rf"probes\.cu(.|\n)*{report}|{report}(.|\n)*probes"):
        run(kernel, (1,), (32,), args, shared)


@EITHER
def test_divergence_ends_the_program(sanitizer):
    out = np.zeros(8, np.int32)
    lines = rf"probes.cu:({line_of('three threads')} and|{line_of('the others')} and)"
    with pytest.raises(LaunchError, match=rf"divergent barrier: threads wait at {lines}"):
        run("two_barriers", (1,), (8,), (out,), sanitizer=sanitizer)
    with pytest.raises(LaunchError, match=r"divergent barrier at probes.cu.*have returned"):
        run("early_return", (1,), (8,), (out,), sanitizer=sanitizer)


def test_arguments_and_limits_are_checked():
    with pytest.raises(LaunchError, match=r"argument 0 \(out\)"):
        run("last_block", (1,), (1,), (np.zeros(1),))
    with pytest.raises(LaunchError, match="1024 threads"):
        run("last_block", (1,), (1025,), (np.zeros(1, np.int32),))
