"""One source for NumPy and CuPy: find an array's module without importing CuPy."""

import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

# A NumPy or a CuPy array; shapes and dtypes are in the docstrings.
Array: TypeAlias = Any


def array_module(array: Array) -> ModuleType:
    """Return the module (``numpy`` or ``cupy``) that made ``array``; ``numpy`` for anything else.

    Examples
    --------
    >>> array_module(np.zeros(3)) is np
    True
    """
    root = type(array).__module__.partition(".")[0]
    return sys.modules["cupy"] if root == "cupy" else np


def to_numpy(array: Array) -> np.ndarray:
    """Return ``array`` as a NumPy array, copied from the device if it lies there."""
    return np.asarray(array.get() if array_module(array) is not np else array)
