"""Orders of a picture's pixels, in which they become the leaves of a tree or a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed, permutation

Place = tuple[int, int]
ORDERS = ("row", "snake", "hilbert", "transposed", "z", "random")


def pixel_order(name: str, num_pixels: int, seed: int = 0, draw: int = 0) -> tuple[int, ...]:
    """The pixels of a square picture in some order.

    Parameters
    ----------
    name : str
        "row" (as given: row by row), "snake" (every other row backwards), "transposed" (column
        by column), "z" (Z-order: squares of 2x2 pixels, of 4x4 ...), "hilbert" (squares too, and
        each pixel next to the one before) or "random". Any side is legal; Hilbert's curve is
        generalised where it is no power of two.
    num_pixels : int
        The square of the side; with "row" and "random" any number.
    seed, draw : int
        Key of the random order: draws of one seed differ.

    Returns
    -------
    tuple of int
        The feature of each place: pixels are numbered row by row.

    Raises
    ------
    InputError
        When the name is unknown, or the order needs a square picture and this is none.

    References
    ----------
    Morton (1966) for Z-order; Hilbert, Math. Ann. 38, 459 (1891), generalised as by Červený's
    "gilbert" (2019).

    Examples
    --------
    >>> pixel_order("snake", 9)
    (0, 1, 2, 5, 4, 3, 6, 7, 8)
    >>> pixel_order("hilbert", 4), pixel_order("z", 16)[:6]
    ((0, 1, 3, 2), (0, 1, 4, 5, 2, 3))
    """
    if name not in ORDERS:
        raise InputError(f"orders: one of {', '.join(ORDERS)} expected, not {name!r}")
    if name == "row":
        return tuple(range(num_pixels))
    if name == "random":
        drawn = permutation(derived_seed(seed, Stream.ORDERS), draw, num_pixels)
        return tuple(int(pixel) for pixel in drawn)
    side = picture_side(num_pixels)
    return tuple(row * side + column for row, column in _CURVES[name](side))


def pixel_orders(names: Sequence[str], num_pixels: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """An order for each name; "random" is another one each time.

    Examples
    --------
    >>> first, second = pixel_orders(("random", "random"), 16, seed=1)
    >>> first != second
    True
    """
    return tuple(
        pixel_order(name, num_pixels, seed, names[:place].count("random"))
        for place, name in enumerate(names)
    )


def picture_side(num_pixels: int) -> int:
    """The side of a square picture.

    Raises
    ------
    InputError
        When the number of pixels is no square.
    """
    side = math.isqrt(num_pixels)
    if side * side != num_pixels:
        raise InputError(
            f"X: {num_pixels} features are not the pixels of a square picture, which orders and"
            " shifts need; crop or pad the pictures, or give orders 'row' and 'random' only"
        )
    return side


def _snake(side: int) -> list[Place]:
    return [(r, c if r % 2 == 0 else side - 1 - c) for r in range(side) for c in range(side)]


def _transposed(side: int) -> list[Place]:
    return [(r, c) for c in range(side) for r in range(side)]


def _z(side: int) -> list[Place]:
    """By the bits of row and column, interleaved; sides that are no power of two leave gaps."""
    places = [(r, c) for r in range(side) for c in range(side)]
    rows, columns = np.array(places).T
    code = np.zeros(len(places), dtype=np.int64)
    for bit in range(side.bit_length()):
        code |= (rows >> bit & 1) << (2 * bit + 1) | (columns >> bit & 1) << (2 * bit)
    return [places[k] for k in np.argsort(code)]


def _hilbert(side: int) -> list[Place]:
    return list(_gilbert(0, 0, side, 0, 0, side))


def _gilbert(r: int, c: int, ar: int, ac: int, br: int, bc: int) -> Iterator[Place]:
    """Fill the rectangle that (ar, ac) and (br, bc) span at (r, c), going along the first."""
    length, width = abs(ar + ac), abs(br + bc)
    along, across = (np.sign(ar), np.sign(ac)), (np.sign(br), np.sign(bc))
    if width == 1 or length == 1:
        step = along if width == 1 else across
        for k in range(max(length, width)):
            yield int(r + k * step[0]), int(c + k * step[1])
        return
    hr, hc, kr, kc = ar // 2, ac // 2, br // 2, bc // 2
    if 2 * length > 3 * width:
        if abs(hr + hc) % 2 and length > 2:  # even halves meet without a diagonal step
            hr, hc = hr + along[0], hc + along[1]
        yield from _gilbert(r, c, hr, hc, br, bc)
        yield from _gilbert(r + hr, c + hc, ar - hr, ac - hc, br, bc)
        return
    if abs(kr + kc) % 2 and width > 2:
        kr, kc = kr + across[0], kc + across[1]
    yield from _gilbert(r, c, kr, kc, hr, hc)
    yield from _gilbert(r + kr, c + kc, ar, ac, br - kr, bc - kc)
    end_r, end_c = r + ar - along[0] + kr - across[0], c + ac - along[1] + kc - across[1]
    yield from _gilbert(end_r, end_c, -kr, -kc, -(ar - hr), -(ac - hc))


_CURVES: Mapping[str, Callable[[int], list[Place]]] = MappingProxyType(
    {"snake": _snake, "transposed": _transposed, "z": _z, "hilbert": _hilbert}
)
