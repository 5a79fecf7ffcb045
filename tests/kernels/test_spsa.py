"""Random directions bit for bit, published vectors of Philox, and matrix products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tn_qnn.rng import Stream, philox, rademacher, stream_key

WORDS = str(Path(__file__).with_name("philox_words.cu"))

# Counter, key and words, from kat_vectors of Random123, the library of Philox's authors.
KNOWN = (
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def words(run, counters, keys):
    found = np.zeros((len(counters), 4), np.uint32)
    given = (np.array(counters, np.uint32), np.array(keys, np.uint32))
    run(WORDS, "philox_words", (2,), (128,), (found, *given, np.int32(len(found))))
    return found


def test_philox_gives_the_published_words(run):
    counters, keys, want = zip(*KNOWN, strict=True)
    np.testing.assert_array_equal(words(run, counters, keys), np.array(want, np.uint32))


def test_philox_is_the_hosts(run):
    given = np.random.default_rng(0).integers(0, 2**32, (200, 6), np.uint32)
    want = [philox(row[:4], (int(row[4]), int(row[5]))) for row in given]
    np.testing.assert_array_equal(words(run, given[:, :4], given[:, 4:]), want)


def signs(run, seed, step, directions, samples, weights, grid=None, threads=128):
    """The kernel's directions; without a grid as many threads as there are blocks of 128."""
    out = np.full((directions, samples, weights), np.nan)
    key = (np.uint32(word) for word in stream_key(seed, Stream.DIRECTIONS))
    sizes = (np.int32(n) for n in out.shape)
    blocks = directions * samples * -(-weights // 128)
    grid = grid or -(-blocks // threads)
    run("spsa.cu", "random_signs", (grid,), (threads,), (out, *key, np.int64([step]), *sizes))
    return out


def host_signs(seed, step, directions, samples, weights):
    direction, sample = np.ix_(np.arange(directions), np.arange(samples))
    return rademacher(seed, step, direction, sample, weights)


@pytest.mark.parametrize("weights", [1, 31, 32, 33, 127, 128, 129, 378, 1000])
@pytest.mark.parametrize(("directions", "samples"), [(1, 1), (3, 1), (1, 5), (16, 7)])
def test_directions_are_the_hosts_bits(run, directions, samples, weights):
    given = (2**40 + 7, 12, directions, samples, weights)
    np.testing.assert_array_equal(signs(run, *given), host_signs(*given))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**64 - 1])
@pytest.mark.parametrize("step", [0, 1, 2**31, 2**32 - 1])
def test_seeds_and_steps(run, seed, step):
    given = (seed, step, 2, 3, 150)
    np.testing.assert_array_equal(signs(run, *given), host_signs(*given))


@pytest.mark.parametrize(("grid", "threads"), [(1, 32), (2, 64), (1, 128), (9, 128)])
def test_directions_do_not_depend_on_the_grid(run, grid, threads):
    given = (5, 6, 4, 9, 300)
    np.testing.assert_array_equal(signs(run, *given, grid, threads), host_signs(*given))


def product(run, left, right, grid=None):
    out = np.full((left.shape[0], right.shape[1]), np.nan)
    strides = [np.int64(n // 8) for n in (*left.strides, *right.strides)]
    sizes = [np.int64(n) for n in (*out.shape, left.shape[1])]
    grid = grid or -(-out.size // 128)
    args = (out, base_of(left), base_of(right), *sizes, *strides)
    run("spsa.cu", "product", (grid,), (128,), args)
    return out


def base_of(matrix):
    """What a view that begins at its base's first element is a view of."""
    return matrix if matrix.base is None else matrix.base


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 378, 16), (16, 33, 5), (70, 1, 9), (3, 4, 0)])
def test_product(run, shape):
    m, n, k = shape
    rng = np.random.default_rng(m + n)
    left, right = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    got = product(run, left, right, grid=3)
    np.testing.assert_allclose(got, left @ right, rtol=1e-13, atol=1e-14)


def test_product_of_views(run):
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(6, 40)), rng.normal(size=(21, 12))
    views = (left[::2, ::3], right.T[::3][:4, ::2])  # (3, 14) and (4, 11)
    got = product(run, views[0][:, :4], views[1])
    np.testing.assert_allclose(got, views[0][:, :4] @ views[1], rtol=1e-13)
