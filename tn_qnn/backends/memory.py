"""How much memory a call may hold."""

import math
from dataclasses import dataclass
from numbers import Real

from tn_qnn.errors import InputError


@dataclass(frozen=True)
class Budget:
    """Bytes, or a share of the memory that is free when it is asked for.

    Parameters
    ----------
    memory
        A number of bytes, at least 1000, or a share between 0 and 1.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> Budget(0.5).bytes(free=8000)
    4000
    """

    memory: float = 0.5

    def __post_init__(self) -> None:
        value = self.memory
        legal = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not legal or not (0 < value < 1 or value >= 1000):
            raise InputError(
                "memory: bytes (at least 1000), or a share of the free memory between 0 and 1,"
                f" expected, not {value!r}"
            )

    def bytes(self, free: int, held: int = 0) -> int:
        """The budget in bytes.

        Parameters
        ----------
        free
            Bytes that are free where it is to be held: see ``Backend.free_memory``.
        held
            Bytes that the caller itself holds; they count as free.
        """
        if self.memory >= 1:
            return int(self.memory)
        return int(self.memory * (free + held))
