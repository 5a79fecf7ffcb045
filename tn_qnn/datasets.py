"""Data sets that are made, not read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tn_qnn.errors import InputError

MOST_SIDE = 62  # on and off of a picture's lines are the bits of one int64


def bars_and_stripes(
    samples: int, side: int = 16, *, noise: float = 0.1, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pictures of horizontal bars (class 0) and vertical stripes (class 1), with pixel noise.

    An orientation is drawn, then for each line of it whether it is on, with probability 1/2 each;
    a picture of which all lines are on, or all off, has no orientation and is drawn anew. Then
    each pixel is inverted with probability `noise`.

    Inverting all pixels of a class changes nothing. So the mean logistic loss of a linear model, a
    convex function, is least where no pixel has a weight: such a model stays near chance. What
    tells the classes apart are products of pixels.

    Parameters
    ----------
    samples : int
    side : int
        Pixels a side, 2 to 62.
    noise : float
        In [0, 1/2).
    seed : int
        Same seed, same pictures.

    Returns
    -------
    X : float64 array (samples, side * side)
        Pixels row by row, 0 or 1.
    y : int64 array (samples,)

    Raises
    ------
    InputError
        When a number is out of range.

    References
    ----------
    D. J. C. MacKay, Information Theory, Inference, and Learning Algorithms, Cambridge (2003),
    chapter 43, after G. E. Hinton, T. J. Sejnowski (1986); A. Fischer, C. Igel, "An introduction to
    restricted Boltzmann machines", LNCS 7441, 14 (2012), as a benchmark. There the pictures are to
    be generated, without noise; here they are to be told apart.

    Examples
    --------
    >>> X, y = bars_and_stripes(4, side=3, noise=0.0, seed=1)
    >>> y.tolist()
    [0, 1, 1, 1]
    >>> X[3].reshape(3, 3).astype(int).tolist()
    [[0, 1, 1], [0, 1, 1], [0, 1, 1]]
    """
    _check_whole("samples", samples, 1, 2**31)
    _check_whole("side", side, 2, MOST_SIDE + 1)
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < 0.5:
        raise InputError(f"noise: a probability in [0, 0.5) expected, not {noise!r}")
    _check_whole("seed", seed, 0, 2**63)
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=samples)
    patterns = rng.integers(1, 2**side - 1, size=samples)  # neither all off nor all on
    lines = (patterns[:, None] >> np.arange(side)) & 1
    pictures = np.where(y[:, None, None] == 0, lines[:, :, None], lines[:, None, :])
    inverted = rng.random(pictures.shape) < noise
    return (pictures ^ inverted).reshape(samples, -1).astype(np.float64), y


def _check_whole(name: str, value: int, least: int, end: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < end:
        raise InputError(
            f"{name}: a whole number from {least} to {end - 1} expected, not {value!r}"
        )
