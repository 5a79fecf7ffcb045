"""One source for NumPy and CuPy: an array's module without importing CuPy, tables beside it."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from types import ModuleType
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np

# A NumPy or a CuPy array; shapes and dtypes are in the docstrings.
Array: TypeAlias = Any


class Dataclass(Protocol):
    """What ``dataclasses`` make."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Record = TypeVar("Record", bound=Dataclass)


def array_module(array: Array) -> ModuleType:
    """Return the module (``numpy`` or ``cupy``) that made ``array``; ``numpy`` for anything else.

    Examples
    --------
    >>> array_module(np.zeros(3)) is np
    True
    """
    if isinstance(array, np.ndarray):
        return np  # the usual case, and calls may take but microseconds
    root = type(array).__module__.partition(".")[0]
    return sys.modules["cupy"] if root == "cupy" else np


def to_numpy(array: Array) -> np.ndarray:
    """Return ``array`` as a NumPy array, copied from the device if it lies there."""
    return np.asarray(array.get() if array_module(array) is not np else array)


def beside(record: Record, array: Array) -> Record:
    """Return ``record`` with its arrays where ``array`` lies: on the host, or on a device.

    A record goes to a device once: the copy is kept as long as the record itself.

    Parameters
    ----------
    record
        A frozen dataclass, whose fields hold NumPy arrays among other things.
    array
        A NumPy or a CuPy array.

    Returns
    -------
    dataclass
        The record itself where ``array`` lies on the host.
    """
    if isinstance(array, np.ndarray):
        return record
    xp = array_module(array)
    copies: dict[Any, Record] = vars(record).setdefault("_copies", {})
    place = xp, array.device.id
    if place not in copies:
        held = {field.name: getattr(record, field.name) for field in fields(record)}
        with array.device:
            copies[place] = replace(record, **{
                name: xp.asarray(value) for name, value in held.items()
                if isinstance(value, np.ndarray)
            })  # fmt: skip
            # What is kept may be read on any stream: it must have arrived.
            xp.cuda.get_current_stream().synchronize()
    return copies[place]
