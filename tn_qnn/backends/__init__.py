"""Backends: what runs a program."""

from collections.abc import Sequence

from tn_qnn.backends.protocol import Backend
from tn_qnn.errors import BackendError

BACKENDS = ("auto", "cuda", "cpu", "einsum")


def get_backend(
    name: str, threads: int | None = None, devices: Sequence[int] | None = None
) -> Backend:
    """The backend of that name.

    Parameters
    ----------
    name
        "cuda"; "cpu"; "auto", which is "cuda" where CuPy sees a device, else "cpu"; or "einsum",
        slow and obviously right.
    threads
        Of the CPU backend.
    devices
        Numbers of the GPUs that share the work; default the first.

    Raises
    ------
    BackendError
        When there is none of that name, when it cannot be used here (with what to install), or
        when an argument is for another backend.
    """
    if name not in BACKENDS:
        raise BackendError(f"backend: one of {BACKENDS} expected, not {name!r}")
    if name == "auto":
        from tn_qnn.backends.cuda.detect import why_not

        name = "cuda" if devices is not None or not why_not() else "cpu"
        threads = threads if name == "cpu" else None
    if threads is not None and name == "cuda":
        raise BackendError("threads: for the CPU backend only; leave it out with backend='cuda'")
    if devices is not None and name != "cuda":
        raise BackendError(f"devices: for the CUDA backend only, not for backend={name!r}")
    if name == "cuda":
        from tn_qnn.backends.cuda.backend import make_backend

        return make_backend(devices)
    if name == "einsum":
        from tn_qnn.backends.einsum import EinsumBackend

        return EinsumBackend()
    from tn_qnn.backends.cpu.backend import CpuBackend

    return CpuBackend(threads)
