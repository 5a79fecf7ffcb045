"""Backends: what runs a program."""

from tn_qnn.backends.protocol import Backend
from tn_qnn.errors import BackendError

BACKENDS = ("cpu", "einsum")


def get_backend(name: str, threads: int | None = None) -> Backend:
    """The backend of that name.

    Raises
    ------
    BackendError
        When there is none.
    """
    if name == "einsum":
        from tn_qnn.backends.einsum import EinsumBackend

        return EinsumBackend()
    if name == "cpu":
        from tn_qnn.backends.cpu.backend import CpuBackend

        return CpuBackend(threads)
    raise BackendError(f"backend: one of {BACKENDS} expected, not {name!r}")
