"""Checks of values read from JSON; what is wrong is a CheckpointError that says where."""

import math
from collections.abc import Collection
from typing import Any

from tn_qnn.errors import CheckpointError


def record(value: Any, where: str, names: Collection[str] = ()) -> dict[str, Any]:
    """A JSON object that has at least these fields.

    Raises
    ------
    CheckpointError
        When it is of another kind, or a field is missing.

    Examples
    --------
    >>> record({"a": 1}, "file", ["a"])
    {'a': 1}
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: a JSON object expected, not {_short(value)}")
    missing = [name for name in names if name not in value]
    if missing:
        raise CheckpointError(f"{where}: the field {missing[0]!r} is missing")
    return value


def items(value: Any, where: str, length: int | None = None) -> list[Any]:
    """A JSON array, of a given length where there is one."""
    if not isinstance(value, list):
        raise CheckpointError(f"{where}: an array expected, not {_short(value)}")
    if length is not None and len(value) != length:
        raise CheckpointError(f"{where}: {length} entries expected, not {len(value)}")
    return value


def whole(value: Any, where: str, low: int = 0, high: int = 2**63) -> int:
    """A whole number with ``low <= value < high``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
        raise CheckpointError(f"{where}: a whole number from {low} to {high - 1} expected, not"
                              f" {_short(value)}")  # fmt: skip
    return value


def real(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise CheckpointError(f"{where}: a finite number expected, not {_short(value)}")
    if math.isnan(value):
        raise CheckpointError(f"{where}: a finite number expected, not NaN")
    return float(value)


def text(value: Any, where: str, choices: Collection[str] = ()) -> str:
    """A string, one of ``choices`` where there are any."""
    if not isinstance(value, str) or (choices and value not in choices):
        wanted = f"one of {', '.join(choices)}" if choices else "a text"
        raise CheckpointError(f"{where}: {wanted} expected, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    shown = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
