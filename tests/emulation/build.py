"""Builds CUDA sources for the CPU: as a library that runs in this process, or as a program.

`emulated` is what most tests want: `emulated("stage.cu").launch("run_stage<float, true>", ...)`
runs the threads of a block as fibers. `run_standalone` runs one launch in a program with real
threads under a sanitizer.
"""

import ctypes
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .compiler import HERE, build, resolve
from .sources import LaunchError, Signature, find, signatures, squeeze

__all__ = [
    "HERE",
    "POISON",
    "Library",
    "SanitizerError",
    "emulated",
    "run_standalone",
    "standalone",
]

POISON = 0x7FF47FF4  # what cuda_emulator.h fills shared memory with

# Jumps between stacks look like an attack to _FORTIFY_SOURCE; libraries share nothing.
LIBRARY = "-Werror -O2 -shared -fPIC -U_FORTIFY_SOURCE -fvisibility=hidden -fno-gnu-unique".split()
# -O0 compiles in a third of the time; gcc warns of what the sanitizers themselves put in.
SANITIZERS = {
    "address": "-O0 -g1 -w -fsanitize=address,undefined -fno-sanitize-recover=all".split(),
    "thread": "-O0 -g1 -w -fsanitize=thread".split(),
}
LIMIT = 100  # seconds that a launch in a program may take


class SanitizerError(AssertionError):
    """A program's report of what a kernel did wrong."""


class Library:
    """The kernels of one source, compiled for the CPU and loaded; made by `emulated`."""

    def __init__(self, path: Path, source: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.tn_describe.restype = ctypes.c_char_p
        self._library.tn_launch.restype = ctypes.c_char_p
        self._kernels = signatures(self._library.tn_describe().decode(), source)

    @property
    def expressions(self) -> tuple[str, ...]:
        """Every kernel, as its instantiation is written in the source."""
        return tuple(kernel.expression for kernel in self._kernels.values())

    def signature(self, expression: str) -> Signature:
        """Return one kernel's parameters; blanks in ``expression`` do not count."""
        return find(self._kernels, expression)

    def launch(
        self,
        expression: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[object],
        shared: int = 0,
        workers: int | None = None,
    ) -> None:
        """Run a kernel to its end.

        Parameters
        ----------
        expression : str
            One of `expressions`.
        grid, block : sequence of int
            One to three numbers each.
        args : sequence
            NumPy arrays, of which the kernel gets the address of the first element, and NumPy
            scalars of exactly the parameters' types.
        shared : int
            Bytes of dynamic shared memory.
        workers : int, optional
            Threads that run blocks at the same time; two where there is enough to do.

        Raises
        ------
        LaunchError
            If an argument has the wrong type, a limit of the GPU is exceeded, threads wait at
            different barriers, or a thread touches memory that is not there.
        """
        signature = self.signature(expression)
        signature.check(args)
        sizes = [_extents(name, given) for name, given in (("grid", grid), ("block", block))]
        if shared < 0:
            raise LaunchError(f"shared = {shared} bytes")
        if workers is None:
            blocks, threads = (int(np.prod(np.array(size), dtype=np.int64)) for size in sizes)
            workers = 2 if blocks >= 4 and blocks * threads >= 4096 else 1
        number = list(self._kernels).index(squeeze(expression))
        cells = [np.array(_value(arg)) for arg in args]
        pointers = (ctypes.c_void_p * len(cells))(*[cell.ctypes.data for cell in cells])
        error = self._library.tn_launch(
            ctypes.c_uint(number), *sizes, ctypes.c_ulonglong(shared), pointers, workers
        )
        if error is not None:
            raise LaunchError(f"{signature.expression}: {error.decode()}")


def _value(arg: np.ndarray | np.generic) -> np.generic:
    return np.uintp(arg.ctypes.data) if isinstance(arg, np.ndarray) else arg


def _extents(name: str, given: Sequence[int]) -> ctypes.Array:
    numbers = [int(number) for number in given]
    if not 1 <= len(numbers) <= 3 or not all(0 < number < 2**31 for number in numbers):
        raise LaunchError(f"{name} {tuple(given)}: one to three numbers from 1 to 2**31 - 1")
    return (ctypes.c_uint * 3)(*numbers, *[1] * (3 - len(numbers)))


@functools.cache
def emulated(source: str | Path) -> Library:
    """Compile a CUDA source for the CPU, unless it was before, and load it.

    Parameters
    ----------
    source : str or Path
        The name of a file in kernels/, or a path.
    """
    path = resolve(source)
    return Library(build(path, "library.cpp", (*LIBRARY, *_fma()), ".so"), path)


@functools.cache
def _fma() -> tuple[str, ...]:
    """Return the flag for fused multiply-adds in hardware: twice as fast, the same bits."""
    facts = Path("/proc/cpuinfo")
    known = facts.is_file() and re.search(r"^flags\s*:.*\bfma\b", facts.read_text(), re.MULTILINE)
    return ("-mfma",) if known else ()


def run_standalone(
    source: str | Path,
    expression: str,
    grid: Sequence[int],
    block: Sequence[int],
    args: Sequence[object],
    shared: int = 0,
    sanitizer: str = "address",
) -> None:
    """Run one launch in a program of its own, with real threads and a sanitizer.

    Parameters are those of `Library.launch`; as there, arrays that the kernel may write are
    changed in place.

    Parameters
    ----------
    sanitizer : {"address", "thread"}
        AddressSanitizer and UndefinedBehaviorSanitizer, one block after the other; or
        ThreadSanitizer, two blocks at the same time.

    Raises
    ------
    SanitizerError
        With the sanitizer's report, or if the program did not end.
    LaunchError
        As `Library.launch`.
    """
    path = resolve(source)
    program = standalone(path, sanitizer)
    signature = find(_described(program, path), expression)
    signature.check(args)
    shape = [*_extents("grid", grid), *_extents("block", block)]
    head = [signature.expression, *shape, shared, 2 if sanitizer == "thread" else 1]
    kinds = ["array" if isinstance(arg, np.ndarray) else "scalar" for arg in args]
    with tempfile.TemporaryDirectory(prefix="tn-case-") as folder:
        case = "".join(f"{item}\n" for item in [*head, *kinds])
        Path(folder, "case").write_text(case, encoding="utf-8")
        for i, arg in enumerate(args):
            np.save(f"{folder}/{i}.npy", np.ascontiguousarray(arg).reshape(np.shape(arg)))
        _run_case(program, folder, signature)
        for i in signature.written():
            args[i][...] = np.load(f"{folder}/{i}.npy", allow_pickle=False)


@functools.cache
def _described(program: Path, source: Path) -> dict[str, Signature]:
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return signatures(lines, source)


def _run_case(program: Path, folder: str, signature: Signature) -> None:
    options = {
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1 report_thread_leaks=0",
    }
    command = [*_fixed_addresses(), str(program), folder]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env={**os.environ, **options}
        )
    except subprocess.TimeoutExpired:
        raise SanitizerError(f"{signature.expression} still runs after {LIMIT} s") from None
    if done.returncode == 2 and done.stderr.startswith("error: "):
        raise LaunchError(f"{signature.expression}: {done.stderr.removeprefix('error: ').strip()}")
    if done.returncode:
        raise SanitizerError(done.stderr[:8000] or f"exit status {done.returncode}")


@functools.cache
def _fixed_addresses() -> tuple[str, ...]:
    """Return a prefix for commands: gcc's ThreadSanitizer dislikes widely random addresses."""
    prefix = ("setarch", "-R")
    try:
        works = not subprocess.run([*prefix, "true"], capture_output=True).returncode
    except OSError:
        works = False
    return prefix if works else ()


@functools.cache
def standalone(source: Path, sanitizer: str) -> Path:
    """Return the program that runs a source's kernels under a sanitizer; built where needed."""
    return build(resolve(source), "standalone.cpp", SANITIZERS[sanitizer], f"-{sanitizer}")
