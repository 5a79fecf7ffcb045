"""The lowest point of a loss along one weight, where looking costs no model evaluation."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.train.trigonometric import half_window

Line: TypeAlias = Callable[[Array], Array]  # shifts (N,) to mean losses (N,)
ZOOM, ZOOMS = 8, 9  # each narrows the search by this factor: together beyond sqrt(rounding)


def lowest(line: Line, frequencies: tuple[float, ...], grid: int, rounding: float) -> float:
    """Return the shift with the lowest loss; 0 where no other is lower by more than rounding.

    Parameters
    ----------
    line : callable, shifts (N,) to losses (N,)
    frequencies : tuple of float
        By which the outputs turn; they tell how far to look, and how finely.
    grid : int
        Points for one turn of the highest.
    rounding : float
        Of the losses, relative to those above 1.

    Examples
    --------
    >>> found = lowest(lambda d: abs(np.cos(d - 1) - 0.5), (1.0,), 32, 1e-15)
    >>> round(found, 7) == round(1 - np.pi / 3, 7)
    True
    """
    window = half_window(frequencies)
    points = max(2, math.ceil(0.5 * grid * frequencies[-1] * window / math.pi))
    spacing = window / points
    order = np.arange(1 - points, points + 1)
    order = order[np.argsort(abs(order), kind="stable")]  # of equal ones the nearest
    losses = _finite(line(order * spacing))
    allowed = rounding * max(1.0, abs(float(losses[0])))
    if len(frequencies) == 1 and np.isfinite(losses).all():
        closed = _of_sinusoid(frequencies[0], order, losses, allowed)
        if closed is not None:
            return closed
    best = int(losses.argmin())
    shift, found, width = float(order[best] * spacing), float(losses[best]), spacing
    offsets = np.arange(-ZOOM, ZOOM + 1) / ZOOM
    for _ in range(ZOOMS):
        shifts = shift + width * offsets
        near = _finite(line(shifts))
        place = int(near.argmin())
        if near[place] < found:
            shift, found = float(shifts[place]), float(near[place])
        width /= ZOOM
    return shift if found < losses[0] - allowed else 0.0


def _of_sinusoid(frequency: float, order: Array, losses: Array, allowed: float) -> float | None:
    """The lowest point of a loss that is a + b cos + c sin over its period, None for another."""
    angles = order * (2.0 * math.pi / len(order))
    cosine, sine = 2.0 * np.array([np.cos(angles) @ losses, np.sin(angles) @ losses]) / len(order)
    misfit = losses - losses.mean() - cosine * np.cos(angles) - sine * np.sin(angles)
    if not np.abs(misfit).max() <= allowed or math.hypot(cosine, sine) <= allowed:
        return None
    return math.atan2(-sine, -cosine) / frequency


def _finite(losses: Array) -> Array:
    """Losses with infinity for what is not a number."""
    return np.where(np.isnan(losses), np.inf, losses)
