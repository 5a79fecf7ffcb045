"""Training samples that are changed anew in every step: pictures, shifted."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, random_words


class Augmentation(Protocol):
    """Changes a minibatch's features before its gradient is estimated. A frozen record."""

    def __call__(self, X: Array, seed: int, step: int) -> Array:
        """Return changed features (S, F), a pure function of the arguments."""
        ...


@dataclass(frozen=True)
class Shifts:
    """Shifts each picture by a whole number of pixels along both axes.

    Both distances are uniform in -most, ..., most, and keyed on the seed, the step and the
    picture's place in the minibatch. What is pushed over the edge is lost.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a picture, whose pixels are the features row by row.
    most : int
        Greatest distance, in pixels.
    fill : float
        Feature of a pixel that moves in: that of an empty one, after scaling.

    Raises
    ------
    InputError
        When a number is out of range; when called, for another number of features.

    References
    ----------
    Simard, Steinkraus, Platt, ICDAR (2003) 958.

    Examples
    --------
    >>> picture = np.arange(1.0, 5.0)[None]
    >>> Shifts((2, 2), most=1)(picture, seed=1, step=1)
    array([[0., 1., 0., 3.]])
    """

    shape: tuple[int, int]
    most: int = 1
    fill: float = 0.0

    def __post_init__(self) -> None:
        shape = self.shape
        if not (isinstance(shape, tuple) and len(shape) == 2 and all(map(_is_count, shape))):
            raise InputError(f"shape: got {shape!r}, expected (rows, columns) of a picture.")
        if not _is_count(self.most) or self.most >= min(shape):
            raise InputError(
                f"most: got {self.most!r}, expected a whole number of pixels from 1 to "
                f"{min(shape) - 1}, so that something of a {shape[0]}x{shape[1]} picture is left."
            )
        number = isinstance(self.fill, int | float) and not isinstance(self.fill, bool)
        if not number or not math.isfinite(self.fill):
            raise InputError(f"fill: got {self.fill!r}, expected a finite number.")

    def __call__(self, X: Array, seed: int, step: int) -> Array:
        """Return the shifted pictures, shape (S, rows * columns), of the dtype of ``X``."""
        rows, columns = self.shape
        if X.ndim != 2 or X.shape[1] != rows * columns:
            raise InputError(
                f"shape: pictures of {rows}x{columns} pixels expected, but X has shape {X.shape}."
            )
        places = np.arange(len(X))
        words = random_words(seed, Stream.SHIFTS, (places, 0, step), 2).astype(np.uint64)
        down, right = (words.T * np.uint64(2 * self.most + 1) >> np.uint64(32)).astype(np.intp)
        edge = (self.most, self.most)
        pictures = X.reshape(-1, rows, columns)
        padded = np.pad(pictures, ((0, 0), edge, edge), constant_values=self.fill)
        views = np.lib.stride_tricks.sliding_window_view(padded, self.shape, axis=(1, 2))
        return np.ascontiguousarray(views[places, down, right]).reshape(X.shape)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
