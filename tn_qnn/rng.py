"""Counter-based random numbers: Philox-4x32-10, a pure function of a key and a counter.

Nothing has a state, so any machine, any chunking and any order give the same bits.
Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from types import ModuleType

import numpy as np

from tn_qnn.arrays import Array

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF


class Stream(IntEnum):
    """What random numbers are for; each use has its own key, derived from the seed."""

    DIRECTIONS = 1
    SHUFFLE = 2
    INITIAL = 3
    CALIBRATION = 4
    ORDERS = 5
    SHIFTS = 6
    HEAD = 7
    POLAR_SWEEP = 8
    SCHEDULE = 9


def philox(counter: Sequence[Array], key: tuple[int, int], xp: ModuleType = np) -> Array:
    """Philox-4x32-10 of four counter words that broadcast to one shape.

    Parameters
    ----------
    counter : four integers or integer arrays below 2^32
    key : two integers below 2^32
    xp : ``numpy`` or ``cupy``

    Returns
    -------
    uint32 array (..., 4)

    Examples
    --------
    >>> [f"{int(word):08x}" for word in philox((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    # 32-bit words are kept in uint64, where a product of two of them is exact.
    c0, c1, c2, c3 = (xp.asarray(word, dtype=xp.uint64) for word in counter)
    m0, m1 = (xp.uint64(multiplier) for multiplier in MULTIPLIERS)
    half, mask = xp.uint64(32), xp.uint64(MASK)
    for i in range(ROUNDS):
        k0, k1 = (xp.uint64((key[j] + i * WEYL[j]) & MASK) for j in (0, 1))
        p0, p1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & mask, (p0 >> half) ^ c3 ^ k1, p0 & mask
    return xp.stack(xp.broadcast_arrays(c0, c1, c2, c3), axis=-1).astype(xp.uint32)


@lru_cache(maxsize=64)
def stream_key(seed: int, stream: int) -> tuple[int, int]:
    """Return the two key words of a stream: Philox of the stream's number under the seed."""
    first, second, _, _ = philox((stream, 0, 0, 0), (seed & MASK, (seed >> 32) & MASK))
    return int(first), int(second)


def derived_seed(seed: int, stream: Stream) -> int:
    """Return a 64-bit seed for one use of ``seed``.

    Examples
    --------
    >>> derived_seed(0, Stream.SHUFFLE) == derived_seed(0, Stream.INITIAL)
    False
    """
    first, second = stream_key(seed, stream)
    return first | second << 32


def random_words(
    seed: int,
    stream: Stream,
    index: tuple[Array, Array, Array],
    count: int,
    xp: ModuleType = np,
) -> Array:
    """Return ``count`` random uint32 words for each index: shape (*index's broadcast, count)."""
    blocks = xp.arange(-(-count // 4), dtype=xp.uint64)
    rest = [xp.asarray(part, dtype=xp.uint64)[..., None] for part in index]
    words = philox((blocks, *rest), stream_key(seed, stream), xp)
    return words.reshape(*words.shape[:-2], -1)[..., :count]


def rademacher(
    seed: int,
    step: int | Array,
    direction: Array,
    sample: Array,
    num_weights: int,
    xp: ModuleType = np,
) -> Array:
    """Return random signs keyed on (seed, step, direction, sample).

    Parameters
    ----------
    seed : int below 2^64
    step, direction, sample : int or int arrays below 2^32, which broadcast to one shape
    num_weights : int, W
    xp : ``numpy`` or ``cupy``

    Returns
    -------
    float64 array (*shape, W) of -1 and 1; the first signs do not depend on W.

    Examples
    --------
    >>> rademacher(1, 0, direction=0, sample=0, num_weights=6)
    array([-1., -1.,  1.,  1.,  1.,  1.])
    """
    words = random_words(
        seed, Stream.DIRECTIONS, (sample, direction, step), -(-num_weights // 32), xp
    )
    bits = (words[..., None] >> xp.arange(32, dtype=xp.uint32)) & xp.uint32(1)
    bits = bits.reshape(*bits.shape[:-2], -1)[..., :num_weights]
    return 1.0 - 2.0 * bits.astype(xp.float64)


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return a permutation of ``range(size)``, a pure function of its arguments (read only).

    Examples
    --------
    >>> sorted(permutation(seed=1, epoch=0, size=5).tolist())
    [0, 1, 2, 3, 4]
    """
    words = random_words(seed, Stream.SHUFFLE, (epoch, 0, 0), 2 * size).astype(np.uint64)
    order: np.ndarray = np.argsort(words[0::2] << np.uint64(32) | words[1::2], kind="stable")
    order.flags.writeable = False
    return order


def uniform(seed: int, count: int) -> np.ndarray:
    """Return ``count`` float64 numbers, uniform in [0, 1) with 53 random bits each."""
    words = random_words(seed, Stream.INITIAL, (0, 0, 0), 2 * count).astype(np.uint64)
    high, low = words[0::2] >> np.uint64(5), words[1::2] >> np.uint64(6)
    numbers: np.ndarray = (high * 2.0**26 + low) / 2.0**53
    return numbers


def normal(seed: int, count: int) -> np.ndarray:
    """Return ``count`` standard normal float64 numbers (Box and Muller's transform).

    The bits are those of one machine: logarithm and cosine may differ in the last digit on another.
    """
    numbers = uniform(seed, 2 * count)
    radius = np.sqrt(-2.0 * np.log1p(-numbers[0::2]))
    result: np.ndarray = radius * np.cos(2.0 * np.pi * numbers[1::2])
    return result
