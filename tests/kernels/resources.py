"""What each kernel takes of a multiprocessor, by nvcc: registers, shared memory, stack, spills.

``python tests/kernels/resources.py`` prints the table of docs/gpu.md; with the name of a page it
writes it there, between the marks ``<!-- resources -->`` and ``<!-- /resources -->``.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "kernels"
CACHE = ROOT / ".pytest_cache" / "nvcc"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
# Warnings of compiler and assembler are errors, spills among them; -ftz as CuPy has it.
FLAGS = "-std=c++17 -cubin -ftz=true -Werror all-warnings -Xptxas -v,-warn-spills,-Werror".split()
BEGIN, END = "<!-- resources -->\n", "<!-- /resources -->"
TYPES = {"f": "float", "d": "double"}


@dataclass(frozen=True)
class Use:
    """One instance of a kernel on one architecture; memory in bytes."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spills: int


def sources() -> list[Path]:
    """All sources that hold kernels."""
    return sorted(KERNELS.glob("*.cu"))


@functools.cache
def release() -> str:
    """Return the release of nvcc, such as "13.0"; empty where there is none."""
    if not shutil.which("nvcc"):
        return ""
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release ([\d.]+)", said)[1]  # type: ignore[index]


def compiled(source: Path, architecture: str) -> str:
    """Compile a source and return what the assembler says of it.

    It is kept in a file until the source, any header, the flags or nvcc change.

    Raises
    ------
    RuntimeError
        With the messages, if there is an error or a warning.
    """
    command = ["nvcc", *FLAGS, f"-arch={architecture}"]
    state = hashlib.sha256(str([release(), *command, source.name]).encode())
    for part in [source, *sorted(KERNELS.glob("*.cuh"))]:
        state.update(f"{part.name}\0".encode() + part.read_bytes() + b"\0")
    kept = CACHE / f"{source.stem}-{architecture}-{state.hexdigest()[:16]}.txt"
    if not kept.exists():
        done = subprocess.run(
            [*command, "-o", "/dev/null", str(source)], capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        unwanted = [x for x in said.splitlines() if not x.startswith(("ptxas info", "  "))]
        if done.returncode or unwanted:
            raise RuntimeError(f"{source.name} for {architecture}:\n{said}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(said, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def parsed(said: str) -> list[Use]:
    """Read the assembler's messages; functions that are no kernels are left out."""
    found = []
    for part in said.split("Compiling entry function ")[1:]:
        symbol, architecture = re.match(r"'(\w+)' for '(\w+)'", part).groups()  # type: ignore
        own = part.partition(f"Function properties for {symbol}\n")[2]
        stack, *spills = map(int, re.findall(r"(\d+) bytes (?:stack|spill)", own)[:3])
        registers = int(re.search(r"Used (\d+) registers", own)[1])  # type: ignore[index]
        shared = re.search(r"(\d+) bytes smem", own.split("ptxas info    : Compile time")[0])
        size = int(shared[1]) if shared else 0
        found.append(Use(readable(symbol), architecture, registers, size, stack, sum(spills)))
    return found


def readable(symbol: str) -> str:
    """Return a kernel as the source writes it.

    >>> [readable(x) for x in ("_Z9run_stageIfLb1EEvPT_PKx", "_Z8read_outIdEvPKT_", "_Z7productPd")]
    ['run_stage<float, true>', 'read_out<double>', 'product']
    """
    digits, rest = re.match(r"_Z(\d+)(\w+)", symbol).groups()  # type: ignore[union-attr]
    name, rest = rest[: int(digits)], rest[int(digits) :]
    template = re.match(r"I([fd])(?:Lb([01])E)?E", rest)
    if not template:
        return name
    arguments = [TYPES[template[1]], *(["false", "true"][int(x)] for x in template[2] or "")]
    return f"{name}<{', '.join(arguments)}>"


@functools.cache
def jobs() -> dict[tuple[str, str], Future[str]]:
    """Begin to compile everything, two at a time, by the names of source and architecture."""
    pool = ThreadPoolExecutor(2)
    return {
        (source.name, x): pool.submit(compiled, source, x)
        for source in sources()
        for x in ARCHITECTURES
    }


def uses() -> list[Use]:
    """Return what all instances take on all architectures."""
    return [use for job in jobs().values() for use in parsed(job.result())]


def markdown(found: Iterable[Use]) -> str:
    """Return the table: a line for each instance, registers for each architecture."""
    lines = [
        f"By nvcc {release()}, `-ftz=true`; bytes of memory are the most of all architectures.",
        "",
        "| instance | " + " | ".join(f"registers, {x}" for x in ARCHITECTURES)
        + " | static shared memory | stack | spills |",
        "|---|" + "---:|" * (len(ARCHITECTURES) + 3),
    ]  # fmt: skip
    order = sorted(found, key=lambda use: use.kernel)
    for kernel, group in groupby(order, key=lambda use: use.kernel):
        by_architecture = {use.architecture: use for use in group}
        row = [str(by_architecture[x].registers) for x in ARCHITECTURES]
        for name in ("shared", "stack", "spills"):
            row.append(str(max(getattr(use, name) for use in by_architecture.values())))
        lines.append(f"| `{kernel}` | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def in_page(text: str) -> str | None:
    """Return the table that a page holds; None where it has no marks."""
    if BEGIN not in text or END not in text:
        return None
    return text.partition(BEGIN)[2].partition(END)[0]


def main(arguments: list[str]) -> None:
    """Print the table, or write it into a page."""
    table = markdown(uses())
    if not arguments:
        print(table, end="")
        return
    page = Path(arguments[0])
    text = page.read_text(encoding="utf-8")
    old = in_page(text)
    if old is None:
        raise SystemExit(f"{page} has no lines {BEGIN.strip()} and {END}")
    page.write_text(text.replace(BEGIN + old + END, BEGIN + table + END), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
