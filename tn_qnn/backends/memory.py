"""How much memory a call may hold."""

from dataclasses import dataclass

from tn_qnn.errors import InputError


@dataclass(frozen=True)
class Budget:
    """Bytes, or a share of the memory that is free when it is asked for.

    Examples
    --------
    >>> Budget(1e9).bytes()
    1000000000
    """

    memory: float = 0.5

    def __post_init__(self) -> None:
        if not self.memory > 0:
            raise InputError(
                f"memory: bytes, or a share of free memory in (0, 1), expected, not {self.memory!r}"
            )

    def bytes(self) -> int:
        """The budget in bytes, now."""
        if self.memory >= 1:
            return int(self.memory)
        import psutil

        return int(self.memory * psutil.virtual_memory().available)
