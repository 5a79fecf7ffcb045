"""Min-max scaling of features to angles and of targets to expectation values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MinMax:
    """Maps each column linearly from [low, high] to [first, last].

    Values outside are clipped: an angle far beyond its range would stand for another value. A
    column that was constant goes to the middle of the range.

    Attributes
    ----------
    low, high
        Smallest and largest value of each column, shape (columns,).
    first, last
        The range.

    Examples
    --------
    >>> scaling = MinMax.fit(np.array([[0.0, 5.0], [2.0, 5.0]]), (0.0, 1.0))
    >>> scaling.apply(np.array([[1.0, 5.0], [9.0, 5.0]]))
    array([[0.5, 0.5],
           [1. , 0.5]])
    >>> scaling.undo(np.array([[0.5, 0.5]]))
    array([[1., 5.]])
    """

    low: Array
    high: Array
    first: float
    last: float

    @classmethod
    def fit(
        cls, values: NDArray[Any], bounds: tuple[float, float], together: bool = False
    ) -> MinMax:
        """Take the range of each column of ``values``, shape (samples, columns).

        Where ``together`` is true, all columns get the range of all values: pixels of a picture
        stay comparable with each other.

        Raises
        ------
        InputError
            When ``bounds`` is not a pair of finite numbers, the smaller first, or a column spans
            more than a float64 can hold.
        """
        first, last = check_bounds("feature_range", bounds)
        low, high = (np.asarray(f(values, axis=0), dtype=float) for f in (np.min, np.max))
        if together:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        with np.errstate(over="ignore"):
            spans = high - low
        if not np.isfinite(spans).all():
            raise InputError(
                f"X: column {int(np.argmin(np.isfinite(spans)))} spans more than a float64 can"
                " hold; scale the data first"
            )
        return cls(low, high, first, last)

    def apply(self, values: NDArray[Any]) -> Array:
        """The scaled values, shape (samples, columns)."""
        span = self._span
        share = np.where(span > 0, (values - self.low) / np.where(span > 0, span, 1.0), 0.5)
        return self.first + (self.last - self.first) * np.clip(share, 0.0, 1.0)

    def undo(self, scaled: NDArray[Any]) -> Array:
        """Values that :meth:`apply` would scale to these; nothing is clipped."""
        return self.low + (np.asarray(scaled) - self.first) / (self.last - self.first) * self._span

    @property
    def _span(self) -> Array:
        return self.high - self.low


def check_bounds(name: str, bounds: Any) -> tuple[float, float]:
    """A range as two floats, or an error that names the argument."""
    try:
        first, last = (float(x) for x in bounds)
    except (TypeError, ValueError):
        first = last = np.nan
    if not (np.isfinite([first, last]).all() and first < last):
        raise InputError(
            f"{name}: two finite numbers expected, the smaller first, such as (0, 1.57), not"
            f" {bounds!r}"
        )
    return first, last
