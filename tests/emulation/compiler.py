"""Compiles CUDA sources with g++, together with what runs them, and keeps what was built."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from .sources import translation_unit

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
CACHE = HERE.parents[1] / ".pytest_cache" / "emulation"  # what is built, by its content
KEPT = 7 * 24 * 3600  # seconds that a build is kept after its last use

COMPILER = os.environ.get("CXX", "g++").split()
# Warnings that nvcc does not give, and one that gcc 12 gives of its own library.
QUIET = "unknown-pragmas unused-parameter missing-field-initializers restrict"
FLAGS = [
    *"-std=c++20 -DTN_EMULATED -pthread -ffp-contract=off -Wall -Wextra".split(),
    *[f"-Wno-{warning}" for warning in QUIET.split()],
]


def resolve(source: str | Path) -> Path:
    """Return the path of a source; a bare name is that of a file in kernels/."""
    path = Path(source)
    path = KERNELS / path if len(path.parts) == 1 else path
    if not path.is_file():
        raise FileNotFoundError(f"no CUDA source {path}")
    return path.resolve()


def build(source: Path, runtime: str, flags: Sequence[str], suffix: str) -> Path:
    """Return the built file, from the cache where it is there.

    Parameters
    ----------
    runtime : str
        ``library.cpp`` or ``standalone.cpp``.
    """
    command = [*COMPILER, *FLAGS, *flags]
    base = _digest(command, [*HERE.glob("*.h"), HERE / runtime, Path(__file__)])
    unit = translation_unit(source)
    digest = _digest([base, unit.replace(str(source), "")], source.parent.glob("*.cu*"))
    linked, target = CACHE / f"{runtime}-{base}.o", CACHE / f"{source.stem}-{digest}{suffix}"
    if not target.exists():
        _tidy()
        if not linked.exists():
            _compile([*command, "-c", str(HERE / runtime)], linked)
        with tempfile.NamedTemporaryFile("w", suffix=".cpp", encoding="utf-8") as file:
            file.write(unit)
            file.flush()
            folders = [f"-I{HERE}", f"-I{source.parent}"]
            # In this order: the other way round the sanitizers find no lines.
            _compile([*command, *folders, str(linked), file.name], target)
    for used in filter(Path.exists, (linked, target)):
        used.touch()
    return target


def _tidy() -> None:
    """Remove what was not used for long."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for path in CACHE.iterdir():
        if path.is_file() and time.time() - path.stat().st_mtime > KEPT:
            path.unlink(missing_ok=True)


def _digest(words: Sequence[str], files: Iterable[Path]) -> str:
    state = hashlib.sha256(str(words).encode())
    for file in sorted(files):
        state.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return state.hexdigest()[:16]


def _compile(command: list[str], target: Path) -> None:
    """Run a compiler; what it makes appears at once and whole."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        made = f"{folder}/{target.name}"
        done = subprocess.run([*command, "-o", made], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{target.stem} does not compile:\n{done.stderr[-8000:]}")
        os.replace(made, target)
