"""Whether this machine can run the CUDA backend, and if not, what it lacks."""

from functools import cache
from importlib.metadata import distributions
from types import ModuleType
from typing import Any

from tn_qnn.errors import BackendError

INSTALL = 'pip install "tn-qnn[gpu13]" (or "tn-qnn[gpu12]" for a driver of CUDA 12)'
DRIVERS = "580 or newer for CUDA 13, 525 or newer for CUDA 12"
# Numbers of the CUDA runtime's errors.
INITIALIZATION, INSUFFICIENT_DRIVER, NO_DEVICE = 3, 35, 100


def why_not() -> str:
    """Say in a sentence why CUDA cannot be used here, and what to install; "" if it can.

    Examples
    --------
    >>> isinstance(why_not(), str)
    True
    """
    if len(wheels()) > 1:
        return (
            f"{' and '.join(wheels())} are installed together and overwrite each other: "
            f"pip uninstall {' '.join(wheels())}, then {INSTALL}."
        )
    try:
        import cupy
    except ModuleNotFoundError as error:
        missing = error.name if error.name and not error.name.startswith("cupy") else "CuPy"
        return f"{missing} is not installed: {INSTALL}."
    except Exception as error:  # a broken installation may raise anything at all
        return f"CuPy cannot be imported ({_one_line(error)}): reinstall it, {INSTALL}."
    if cupy.cuda.runtime.is_hip:
        own = " ".join(wheels()) or "it"
        return f"this CuPy is made for AMD's GPUs: uninstall {own}, then {INSTALL}."
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return _no_devices(cupy, error)
    return "" if count else _no_devices(cupy, None)


def require() -> ModuleType:
    """Return the module ``cupy``.

    Raises
    ------
    BackendError
        When CUDA cannot be used; the message says what to install.
    """
    if reason := why_not():
        raise BackendError(f"backend: CUDA cannot be used: {reason}")
    import cupy

    return cupy


@cache
def wheels() -> tuple[str, ...]:
    """Return the names of the installed distributions of CuPy."""
    names = {(found.name or "").lower().replace("_", "-") for found in distributions()}
    return tuple(
        sorted(n for n in names if n == "cupy" or n.startswith(("cupy-cuda", "cupy-rocm")))
    )


def _no_devices(cupy: Any, error: Exception | None) -> str:
    status = NO_DEVICE if error is None else getattr(error, "status", None)
    if status == NO_DEVICE:
        return (
            "the driver finds no CUDA device: look at nvidia-smi, and at the environment "
            "variable CUDA_VISIBLE_DEVICES."
        )
    if status == INITIALIZATION:
        return (
            "CUDA does not work in a process that was forked after its parent had asked for the "
            'GPU: start processes by "spawn".'
        )
    if status != INSUFFICIENT_DRIVER:
        return f"CUDA does not start ({_one_line(error)}): look at nvidia-smi."
    driver = cupy.cuda.runtime.driverGetVersion()
    if not driver:
        return f"there is no NVIDIA driver: install one, {DRIVERS}."
    built = cupy.cuda.runtime.runtimeGetVersion()
    return (
        f"the driver knows CUDA up to {_dotted(driver)} and CuPy was built for {_dotted(built)}: "
        f"install a newer driver, {DRIVERS}, or uninstall {' '.join(wheels()) or 'CuPy'} and "
        f'install "tn-qnn[gpu12]".'
    )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:300]
