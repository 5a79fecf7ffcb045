"""Counts the instructions of compiled kernels, loop by loop, with nvcc and nvdisasm.

nvdisasm comes with the CUDA toolkit, or as the wheel nvidia-cuda-nvdisasm.
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LETTER = {"float": "f", "double": "d", "true": "Lb1E", "false": "Lb0E"}


@dataclass(frozen=True)
class Loop:
    """What one turn of an innermost loop executes.

    Attributes
    ----------
    size : int
        Instructions.
    fma : int
        Fused multiply-adds.
    loads : int
        From memory of the device, shared memory, or either (generic).
    """

    size: int
    fma: int
    loads: int


def why_not() -> str:
    """Say what is missing; empty if kernels can be compiled and disassembled here."""
    if shutil.which("nvcc") is None:
        return "no nvcc"
    return "" if nvdisasm() else "no nvdisasm; pip install nvidia-cuda-nvdisasm"


def nvdisasm() -> str | None:
    """Return the program's path, from the wheel or else from PATH."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in Path(folder).glob("*/bin/nvdisasm")]
    return str(found[0]) if found else shutil.which("nvdisasm")


def disassemble(source: Path, arch: str = "sm_90") -> dict[str, list[str]]:
    """Compile a source and return the instructions of its kernels, labels among them.

    Returns
    -------
    dict
        From the mangled name to lines such as ``FFMA R1, R2, R3, R1`` and ``.L_x_7:``.
    """
    with tempfile.TemporaryDirectory() as folder:
        cubin = f"{folder}/kernels.cubin"
        flags = ["-std=c++17", f"-arch={arch}", "-ftz=true", f"-I{source.parent}"]
        for command in (
            ["nvcc", *flags, "-cubin", "-o", cubin, str(source)],
            [str(nvdisasm()), "-c", cubin],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{command[0]}: {done.stderr[-4000:]}")
    parts = re.split(r"^\.text\.(\S+):$", done.stdout, flags=re.MULTILINE)
    return {name: instructions(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def instructions(body: str) -> list[str]:
    """Read a kernel's listing: its instructions and, with a colon, its labels."""
    line = r"^(\.L_x_\d+:)|^\s*/\*[0-9a-f]+\*/\s+([^;]*?)\s*;"
    body = body.split("//-----")[0]
    return [label or code for label, code in re.findall(line, body, flags=re.MULTILINE)]


def mangled(expression: str) -> str:
    """Return how the compiled name of ``run_stage<float, true>`` begins."""
    name, *arguments = re.findall(r"\w+", expression)
    letters = "".join(LETTER[word] for word in arguments)
    return f"_Z{len(name)}{name}" + (f"I{letters}E" if letters else "")


def operations(lines: list[str]) -> Counter[str]:
    """Count instructions by name, without predicates and modifiers: ``FFMA``, ``LDG``."""
    return Counter(
        match[1] for line in lines if (match := re.match(r"(?:@\S+ +)?([A-Z]\w*)", line))
    )


def inner_loops(lines: list[str]) -> list[Loop]:
    """Return the loops that hold no other loop and do something, in the order of the code."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    jumps = [(i, re.search(r"\bBRA\S* .*?(\.L_x_\d+)", line)) for i, line in enumerate(lines)]
    spans = [(labels[jump[1]], i) for i, jump in jumps if jump and labels.get(jump[1], i) < i - 1]
    inner = [
        (first, last)
        for first, last in spans
        if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in spans)
    ]
    return [_loop(operations(lines[first : last + 1])) for first, last in inner]


def _loop(counts: Counter[str]) -> Loop:
    fma, loads = counts["FFMA"] + counts["DFMA"], counts["LD"] + counts["LDG"] + counts["LDS"]
    return Loop(counts.total(), fma, loads)
