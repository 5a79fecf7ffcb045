"""The CUDA sources: which kernel stands in which file, and how they are compiled."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tn_qnn.errors import BackendError

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
ALONE = ("",)
BY_TYPE = ("<float>", "<double>")
BY_TYPE_AND_FIELD = ("<float, false>", "<float, true>", "<double, false>", "<double, true>")


@dataclass(frozen=True)
class Kernel:
    """A kernel: its file, and its template instances as they are written behind its name."""

    file: str
    variants: tuple[str, ...]


KERNELS = {
    "run_stage": Kernel("stage.cu", BY_TYPE_AND_FIELD),
    "run_stage_naive": Kernel("stage.cu", BY_TYPE_AND_FIELD),
    "run_large": Kernel("gemm.cu", BY_TYPE_AND_FIELD),
    "run_gemm": Kernel("gemm.cu", BY_TYPE_AND_FIELD),
    "run_step_naive": Kernel("gemm.cu", BY_TYPE_AND_FIELD),
    "fill_angles": Kernel("fill.cu", BY_TYPE),
    "read_out": Kernel("readout.cu", BY_TYPE),
    "sum_batch": Kernel("sums.cu", BY_TYPE),
    "pull_angles": Kernel("pull.cu", BY_TYPE),
    "random_signs": Kernel("spsa.cu", ALONE),
    "product": Kernel("spsa.cu", ALONE),
}
ALL_EXPRESSIONS = {
    file: tuple(n + v for n, k in KERNELS.items() if k.file == file for v in k.variants)
    for file in dict.fromkeys(kernel.file for kernel in KERNELS.values())
}


def variant(kernel: str, dtype: Any = np.float64, is_complex: bool = False) -> str:
    """Return the template arguments of a kernel, as they are written behind its name.

    Parameters
    ----------
    kernel : str
        A name of ``KERNELS``.
    dtype : float32 or float64
        Of the arena; of no account for kernels without an arena.
    is_complex : bool
        Whether a tensor is complex; of no account for kernels that do not distinguish.

    Raises
    ------
    BackendError
        For another kernel or dtype.

    Examples
    --------
    >>> variant("run_stage", "float32", is_complex=True), variant("read_out", "float64")
    ('<float, true>', '<double>')
    """
    kind = np.dtype(dtype)
    if kernel not in KERNELS:
        raise BackendError(f"kernel: got {kernel!r}, expected one of {', '.join(KERNELS)}.")
    if kind not in TYPES:
        raise BackendError(f"dtype: got {kind}, expected float32 or float64 on the GPU.")
    variants = KERNELS[kernel].variants
    if variants == ALONE:
        return ""
    field = f", {str(bool(is_complex)).lower()}" if variants == BY_TYPE_AND_FIELD else ""
    return f"<{TYPES[kind]}{field}>"


def expression(kernel: str, dtype: Any = np.float64, is_complex: bool = False) -> str:
    """Return how C++ names one instance of a kernel; see :func:`variant`.

    Examples
    --------
    >>> expression("run_stage", np.float32, True), expression("random_signs")
    ('run_stage<float, true>', 'random_signs')
    """
    return kernel + variant(kernel, dtype, is_complex)


@cache
def folder() -> Path:
    """Return the folder of the sources, in which they include each other."""
    return Path(str(files("tn_qnn.kernels")))


def read(file: str) -> str:
    """Return the text of a source."""
    return (folder() / file).read_text(encoding="utf-8")


def digest() -> str:
    """Return a hash of all sources and headers, 16 hexadecimal digits."""
    return _digest(folder())


def options() -> tuple[str, ...]:
    """Return the compiler's options.

    CuPy's cache of compiled kernels has options and source in its key, not what the source
    includes: a define with the digest of all files stands for that.
    """
    return ("-std=c++17", f"-I{folder()}", f"-DTN_QNN_SOURCES=0x{digest()}")


@cache
def _digest(folder: Path) -> str:
    state = sha256()
    for path in sorted(folder.glob("*.cu*")):
        state.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return state.hexdigest()[:16]
