"""Errors of the stand-in for CuPy, and what the CUDA runtime calls them."""

ERRORS = {
    1: "cudaErrorInvalidValue: invalid argument",
    2: "cudaErrorMemoryAllocation: out of memory",
    3: "cudaErrorInitializationError: initialization error",
    35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    700: "cudaErrorIllegalAddress: an illegal memory access was encountered",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during"
    " capture",
}


class CUDARuntimeError(RuntimeError):
    """As ``cupy.cuda.runtime.CUDARuntimeError`` (runtime.pyx:128)."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(ERRORS.get(status, f"CUDA error {status}"))


class OutOfMemoryError(MemoryError):
    """As ``cupy.cuda.memory.OutOfMemoryError`` (memory.pyx:55)."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes)."
        )


class StandinError(AssertionError):
    """Something that a GPU may let pass, and that would be wrong: no code should catch it."""


class CUDADriverError(RuntimeError):
    """As ``cupy.cuda.driver.CUDADriverError``."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"CUDA driver error {status}")


class CompileException(Exception):
    """As ``cupy.cuda.compiler.CompileException``."""
