"""Orders of pixels: permutations with the neighbourhoods that their names promise."""

import numpy as np
import pytest

from tn_qnn.errors import InputError
from tn_qnn.models.orders import ORDERS, picture_side, pixel_order, pixel_orders

SIDES = [1, 2, 3, 5, 7, 8, 12, 13, 16, 28]


def places(name, side, **key):
    """Row and column of the pixel at each place, shape (pixels, 2)."""
    order = pixel_order(name, side * side, **key)
    assert sorted(order) == list(range(side * side))
    return np.array([divmod(pixel, side) for pixel in order])


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("side", SIDES)
def test_every_pixel_has_one_place(name, side):
    places(name, side, seed=5)


@pytest.mark.parametrize("name", ["snake", "hilbert"])
@pytest.mark.parametrize("side", range(2, 34))
def test_curves_go_from_neighbour_to_neighbour(name, side):
    steps = np.abs(np.diff(places(name, side), axis=0)).sum(axis=1)
    assert (steps == 1).all()


@pytest.mark.parametrize("name", ["hilbert", "z"])
@pytest.mark.parametrize("side", [4, 8, 32])
def test_squares_stay_together(name, side):
    for size in (2**k for k in range(1, side.bit_length())):
        squares = places(name, side).reshape(-1, size * size, 2)
        assert (np.ptp(squares, axis=1) == size - 1).all()


@pytest.mark.parametrize("side", [8, 16])
def test_hilberts_curve_is_the_textbooks(side):
    """Bits of the distance along the curve to places; Wikipedia's d2xy after Warren (2013)."""
    expected = []
    for distance in range(side * side):
        x = y = 0
        rest, size = distance, 1
        while size < side:
            rx = 1 & rest // 2
            ry = 1 & (rest ^ rx)
            if ry == 0:
                if rx == 1:
                    x, y = size - 1 - x, size - 1 - y
                x, y = y, x
            x, y = x + size * rx, y + size * ry
            rest, size = rest // 4, 2 * size
        expected.append((x, y))
    found = places("hilbert", side)
    assert found.tolist() in ([list(p) for p in expected], [list(p[::-1]) for p in expected])


def test_z_order_keeps_row_major_within_each_square_whatever_the_side():
    assert pixel_order("z", 9) == (0, 1, 3, 4, 2, 5, 6, 7, 8)


def test_random_orders_are_keyed():
    one = pixel_order("random", 49, seed=3)
    assert one == pixel_order("random", 49, seed=3) != pixel_order("random", 49, seed=4)
    both = pixel_orders(("random", "row", "random"), 49, seed=3)
    assert both[0] == one != both[2] and both[1] == tuple(range(49))


@pytest.mark.parametrize("name", ["row", "random"])
def test_some_orders_need_no_square(name):
    assert sorted(pixel_order(name, 7)) == list(range(7))


def test_faults_are_named():
    with pytest.raises(InputError, match=r"orders: one of row.*'spiral'"):
        pixel_order("spiral", 16)
    with pytest.raises(InputError, match="63 features are not the pixels"):
        pixel_order("hilbert", 63)
    assert picture_side(784) == 28
