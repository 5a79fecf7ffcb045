"""Bars and stripes: what they are, that they repeat, and that no linear model tells them apart."""

import numpy as np
import pytest

from tn_qnn.datasets import bars_and_stripes
from tn_qnn.errors import InputError


@pytest.mark.parametrize("side", [2, 3, 16])
def test_lines_of_a_picture_are_constant_along_its_orientation(side):
    X, y = bars_and_stripes(400, side, noise=0.0, seed=3)
    pictures = X.reshape(-1, side, side)
    assert set(np.unique(X)) == {0.0, 1.0}
    along_rows = (pictures == pictures[:, :, :1]).all(axis=(1, 2))
    along_columns = (pictures == pictures[:, :1, :]).all(axis=(1, 2))
    np.testing.assert_array_equal(along_rows, y == 0)
    np.testing.assert_array_equal(along_columns, y == 1)  # so none is all on or all off


def test_every_picture_of_the_smallest_size_occurs():
    X, y = bars_and_stripes(200, 2, noise=0.0, seed=0)
    assert {tuple(row) for row in np.column_stack([X, y]).astype(int).tolist()} == {
        (1, 1, 0, 0, 0), (0, 0, 1, 1, 0), (1, 0, 1, 0, 1), (0, 1, 0, 1, 1),
    }  # fmt: skip


def test_the_share_of_inverted_pixels_is_the_noise():
    (clean, y), (noisy, same) = (bars_and_stripes(500, 16, noise=p, seed=5) for p in (0.0, 0.1))
    np.testing.assert_array_equal(y, same)
    inverted = (clean != noisy).mean()
    assert abs(inverted - 0.1) < 5 * np.sqrt(0.09 / clean.size)


def test_the_seed_decides():
    first, again, other = (bars_and_stripes(50, 8, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_linear_model_stays_near_chance_and_products_of_pixels_do_not():
    from sklearn.linear_model import LogisticRegression

    X, y = bars_and_stripes(2000, 8, seed=0)
    pictures = 2 * X.reshape(-1, 8, 8) - 1
    across = (pictures[:, :, 1:] * pictures[:, :, :-1]).sum(axis=(1, 2))
    down = (pictures[:, 1:] * pictures[:, :-1]).sum(axis=(1, 2))
    assert ((across < down) == y).mean() > 0.97
    found = LogisticRegression(C=0.1).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:])
    assert abs(found - 0.5) < 0.08


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples: a whole number from 1"),
        ({"samples": 2.0}, "samples"),
        ({"side": 1}, "side: a whole number from 2 to 62"),
        ({"side": 63}, "side"),
        ({"noise": 0.5}, "noise: a probability in"),
        ({"noise": -0.1}, "noise"),
        ({"noise": "0.1"}, "noise"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        bars_and_stripes(**{"samples": 5, **arguments})
