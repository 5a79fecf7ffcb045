"""Outputs as functions of one weight: trigonometric polynomials of known frequencies.

f(w + d) = a_0 + sum_j a_j cos(f_j d) + b_j sin(f_j d), for every sample and output. Twice as many
evaluations as there are frequencies give its derivative; one more gives the function itself.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError

MAX_POINTS = 8192
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class ShiftRule:
    """f'(w) = sum_m coefficients[m] (f(w + shifts[m]) - f(w - shifts[m])).

    Attributes
    ----------
    shifts, coefficients : float64 (M,), M at most the number of frequencies
    """

    shifts: Array
    coefficients: Array


@dataclass(frozen=True, eq=False)
class Interpolation:
    """What makes a trigonometric polynomial of its values at d = 0 and at some shifts.

    Attributes
    ----------
    shifts : float64 (2R,)
    matrix : float64 (2R + 1, 2R + 1)
        Takes the values at 0 and at the shifts to the coefficients of :func:`basis`.
    """

    shifts: Array
    matrix: Array


def model_frequencies(model: Any, method: str) -> tuple[tuple[float, ...], ...]:
    """Return the model's frequencies, a tuple a weight.

    Raises
    ------
    InputError
        When the model does not tell them, or a weight has none that hold for all data.
    """
    frequencies = getattr(model, "frequencies", None)
    if frequencies is None:
        raise InputError(
            f"model: {type(model).__name__} has no `frequencies`, which {method} needs: for each "
            f"weight the frequencies by which outputs turn with it. Use SPSA instead."
        )
    return tuple(tuple(float(value) for value in some) for some in frequencies)


def basis(frequencies: tuple[float, ...], shifts: Array) -> Array:
    """Return (1, cos(f_1 d), ..., sin(f_1 d), ...) for shifts d (N,): float64 (N, 2R + 1).

    Examples
    --------
    >>> basis((1.0,), np.array([0.0]))
    array([[1., 1., 0.]])
    """
    angles = np.multiply.outer(shifts, frequencies)
    return np.hstack([np.ones((len(angles), 1)), np.cos(angles), np.sin(angles)])


def half_window(frequencies: tuple[float, ...]) -> float:
    """Return pi over the smallest gap of the frequencies and 0.

    Where they are multiples of that gap, the window from minus to plus that is a period.

    Raises
    ------
    InputError
        When two frequencies are so close, beside the largest, that no shifts tell them apart.

    Examples
    --------
    >>> half_window((0.5, 1.0)) / np.pi
    2.0
    """
    gap = min(np.diff([0.0, *frequencies]).tolist())
    if not gap > 0.0 or 16 * frequencies[-1] / gap > MAX_POINTS:
        raise InputError(
            f"model: a weight has frequencies {frequencies}, expected them positive, ascending and "
            f"apart by a {MAX_POINTS // 16}th of the largest at least. Use ExactGradient, or SPSA."
        )
    return math.pi / gap


@lru_cache(maxsize=1024)
def shift_rule(frequencies: tuple[float, ...]) -> ShiftRule:
    """Return the parameter-shift rule that magnifies noise in the outputs the least.

    For frequencies f, 2f, ..., R f the shifts are equidistant and the rule is known in closed form
    (D. Wierichs, J. Izaac, C. Wang, C. Y.-Y. Lin, Quantum 6 (2022) 677). For others a linear
    program picks the shifts: the smallest sum of coefficients that solves the linear system. The
    sum of all 2M coefficients' sizes comes out at the largest frequency, as in the closed form, or
    close to it; by Bernstein's inequality no rule has less.

    Examples
    --------
    >>> rule = shift_rule((1.0,))
    >>> (rule.shifts / np.pi).tolist(), rule.coefficients.round(12).tolist()
    ([0.5], [0.5])
    """
    count, first = len(frequencies), frequencies[0]
    window = half_window(frequencies)
    if _equidistant(frequencies):
        order = np.arange(count)
        angles = (2 * order + 1) * math.pi / (2 * count)
        signs = 1.0 - 2.0 * (order % 2)
        return ShiftRule(angles / first, first * signs / (4 * count * np.sin(angles / 2) ** 2))
    from scipy.optimize import linprog

    shifts = _grid(frequencies, window)
    wanted = np.array(frequencies)
    differences = 2.0 * np.sin(np.multiply.outer(wanted, shifts))
    both = np.hstack([differences, -differences])
    found = linprog(np.ones(both.shape[1]), A_eq=both, b_eq=wanted).x
    used = np.flatnonzero(found[: len(shifts)] - found[len(shifts) :])
    # The program is solved to some 1e-7 only.
    coefficients = np.linalg.lstsq(differences[:, used], wanted, rcond=None)[0]
    return ShiftRule(shifts[used], coefficients)


@lru_cache(maxsize=1024)
def interpolation(frequencies: tuple[float, ...]) -> Interpolation:
    """Return shifts from which, with 0, the whole function is known, and how.

    For frequencies f, 2f, ..., R f they are equidistant over a period (a discrete Fourier
    transform); else QR with pivoting picks them from a fine grid.

    Examples
    --------
    >>> known = interpolation((1.0,))
    >>> values = 0.3 + 2 * np.sin(np.array([0.0, *known.shifts]))
    >>> (known.matrix @ values).round(12) + 0.0
    array([0.3, 0. , 2. ])
    """
    count = len(frequencies)
    window = half_window(frequencies)
    if _equidistant(frequencies):
        order = np.arange(1, count + 1)
        shifts = 2 * math.pi * np.concatenate([order, -order]) / (2 * count + 1) / frequencies[0]
    else:
        from scipy.linalg import qr

        positive = _grid(frequencies, window)
        shifts = np.concatenate([positive, -positive])
        zero = basis(frequencies, np.zeros(1))[0] / math.sqrt(count + 1)
        rows = basis(frequencies, shifts)
        rows -= np.outer(rows @ zero, zero)  # what the value at 0 does not tell
        shifts = shifts[qr(rows.T, mode="r", pivoting=True)[1][: 2 * count]]
    matrix = np.linalg.inv(basis(frequencies, np.concatenate([[0.0], shifts])))
    return Interpolation(shifts, matrix)


def _equidistant(frequencies: tuple[float, ...]) -> bool:
    multiples = frequencies[0] * np.arange(1, len(frequencies) + 1)
    return bool(np.allclose(frequencies, multiples, rtol=EQUAL, atol=0.0))


def _grid(frequencies: tuple[float, ...], window: float) -> Array:
    """Return shifts in (0, window], 16 for half a turn of the largest frequency."""
    points = math.ceil(16 * frequencies[-1] * window / math.pi)
    return np.arange(1, points + 1) * (window / points)
