"""Finds the kernels of a CUDA source and checks what is passed to them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class LaunchError(ValueError):
    """A launch that a GPU would refuse, or that ends in an error."""


@dataclass(frozen=True)
class Signature:
    """A kernel of a source.

    Attributes
    ----------
    expression : str
        Such as ``run_stage<float, true>``.
    max_threads : int
        Of a block, by ``__launch_bounds__``.
    types : tuple of str
        Of the parameters: ``i8`` a number of that dtype, ``f4*`` an array of it that the kernel
        may write, ``const f4*`` one that it only reads.
    names : tuple of str
        Of the parameters.
    """

    expression: str
    max_threads: int
    types: tuple[str, ...]
    names: tuple[str, ...]

    def written(self) -> list[int]:
        """Return which parameters are arrays that the kernel may write."""
        return [i for i, kind in enumerate(self.types) if re.fullmatch(r"\w+\*", kind)]

    def check(self, args: Sequence[object]) -> None:
        """Raise `LaunchError` unless each argument has the type of its parameter."""
        if len(args) != len(self.types):
            raise LaunchError(
                f"{self.expression} takes {len(self.types)} arguments"
                f" ({', '.join(self.names)}), not {len(args)}"
            )
        for i, (arg, kind, name) in enumerate(zip(args, self.types, self.names, strict=True)):
            if fault := _misfit(arg, kind):
                raise LaunchError(f"{self.expression}: argument {i} ({name}) {fault}")


def _misfit(arg: object, kind: str) -> str:
    """Say why an argument cannot be passed as ``kind``; empty if it can."""
    if not isinstance(arg, np.ndarray | np.generic):
        return f"is {type(arg).__name__}; pass a NumPy array or a NumPy scalar"
    given = f"{arg.dtype.kind}{arg.dtype.itemsize}"
    if not kind.endswith("*"):
        wrong = isinstance(arg, np.ndarray) or given != kind
        return f"is {_say(arg)}; expected a scalar {kind}" if wrong else ""
    if not isinstance(arg, np.ndarray) or given != kind.removeprefix("const ").rstrip("*"):
        return f"is {_say(arg)}; expected an array {kind}"
    if not kind.startswith("const") and not arg.flags.writeable:
        return "cannot be written; the kernel may write it"
    return ""


def _say(arg: np.ndarray | np.generic) -> str:
    return f"{'an array' if isinstance(arg, np.ndarray) else 'a scalar'} {arg.dtype.str[1:]}"


def squeeze(expression: str) -> str:
    """Return an expression without blanks: ``run_stage<float,true>``."""
    return re.sub(r"\s+", "", expression)


_KERNEL = re.compile(
    r"""(?P<template> template \s* < [^;{}()]* > \s* )? (?:extern \s+ "C" \s+)? __global__ \s+
    (?: void \s+ (?:__launch_bounds__ \s* \( (?P<late> [^()]*) \) \s*)?
      | __launch_bounds__ \s* \( (?P<early> [^()]*) \) \s* void \s+ )
    (?P<name> \w+) \s* \( (?P<parameters> [^()]*) \) \s* \{""",
    re.VERBOSE,
)
_INSTANCE = re.compile(r"template\s+__global__\s+void\s+((\w+)\s*<[^;()]*>)\s*\(")


def _code(source: Path) -> str:
    """Return a source without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", source.read_text(encoding="utf-8"), flags=re.DOTALL)


def _definitions(source: Path) -> dict[str, re.Match]:
    return {match["name"]: match for match in _KERNEL.finditer(_code(source))}


def expressions_of(source: Path) -> list[str]:
    """Return the kernels of a source: explicit instances, and kernels that are no templates."""
    plain = [name for name, match in _definitions(source).items() if not match["template"]]
    instances = [re.sub(r"\s+", " ", m[1]) for m in _INSTANCE.finditer(_code(source))]
    return plain + instances


def translation_unit(source: Path) -> str:
    """Return what is compiled: the source, and the table of its kernels."""
    definitions, entries = _definitions(source), []
    for expression in expressions_of(source):
        match = definitions.get(expression.split("<")[0].strip())
        if match is None:
            raise RuntimeError(f"{source.name}: {expression} has no definition in this file")
        bounds = (match["late"] or match["early"] or "1024").split(",")[0]
        entries.append(f'    describe<{expression}>("{expression}", {bounds}),\n')
    if not entries:
        raise RuntimeError(f"{source.name} instantiates no kernel")
    return (
        f'#include "cuda_emulator.h"\n#include "{source}"\n#include "table.h"\n'
        "namespace tn_emulator {\n"
        f"const Kernel KERNELS[] = {{\n{''.join(entries)}}};\n"
        f"const size_t NUM_KERNELS = {len(entries)};\n}}\n"
    )


def signatures(lines: str, source: Path) -> dict[str, Signature]:
    """Read the table that a build describes itself by, with the parameters' names added."""
    definitions = _definitions(source)
    found = {}
    for line in lines.splitlines():
        expression, bounds, types = line.split("\t")
        match = definitions[expression.split("<")[0].strip()]
        names = tuple(re.findall(r"(\w+)\s*(?:,|$)", match["parameters"].strip()))
        found[squeeze(expression)] = Signature(
            expression, int(bounds), tuple(filter(None, types.split(","))), names
        )
    return found


def find(kernels: dict[str, Signature], expression: str) -> Signature:
    """Return the kernel that ``expression`` means; blanks do not count."""
    try:
        return kernels[squeeze(expression)]
    except KeyError:
        known = "; ".join(kernel.expression for kernel in kernels.values())
        raise LaunchError(f"no kernel {expression!r}; there are: {known}") from None
