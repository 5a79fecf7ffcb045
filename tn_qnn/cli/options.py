"""Arguments that several commands share, and a parser that complains in one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tn_qnn.backends import BACKENDS

if TYPE_CHECKING:
    from tn_qnn.models.head import Model

SEARCHES = ("fast", "auto", "long")
#: Names a user may give a precision, and the precision of planes that they mean.
DTYPES = {
    "float32": "float32",
    "float64": "float64",
    "complex64": "float32",
    "complex128": "float64",
}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{unit}i": 2 ** (10 * k) for k, unit in enumerate("kmgt", start=1)}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and to which ``-Z0`` is no option."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = re.compile(r"-[XYZIP\d.]")

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        words = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {words}; see '{self.prog} --help'\n")


def count(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number above 0 expected, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """A whole number, 0 or above."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"a whole number, 0 or above, expected, not {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e300:
        raise argparse.ArgumentTypeError(f"a number above 0 expected, not {text!r}")
    return value


def share(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"a number between 0 and 1 expected, not {text!r}")
    return value


def memory(text: str) -> float:
    """Bytes, such as ``2e9``, ``4GB`` and ``512MiB``, or a share of the free memory.

    Examples
    --------
    >>> memory("0.5"), memory("4 GB"), memory("512MiB")
    (0.5, 4000000000.0, 536870912.0)
    """
    found = re.fullmatch(r"(\d{1,20}\.?\d{0,20}(?:e\d{1,2})?) ?([kmgt]?i?)b?", text, re.I | re.A)
    value = float(found[1]) * _UNITS.get(found[2].lower(), 0) if found else 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(
            f"bytes such as 4GB or 512MiB, or a share of free memory such as 0.5, expected,"
            f" not {text!r}"
        )
    return value


def devices(text: str) -> list[int]:
    """Numbers of GPUs, none twice.

    Examples
    --------
    >>> devices("0,1")
    [0, 1]
    """
    words = text.split(",")
    found = [int(word) for word in words if re.fullmatch(r"\d{1,3}", word, re.ASCII)]
    if len(found) < len(words) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"numbers of GPUs, such as 0,1, expected, not {text!r}")
    return found


#: Options that say where and how it is computed, not what: a model or a run may change them.
MACHINE = ("backend", "devices", "memory", "threads")


def add_machine(group: argparse._ArgumentGroup) -> None:
    """Add the options :data:`MACHINE`; absent where not given."""

    def add(name: str, text: str, **options: Any) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **options)

    add("--backend", "cuda, cpu, einsum (slow), or auto: cuda where there is a usable GPU, else cpu"
        " (default: auto)", choices=BACKENDS, metavar="NAME")  # fmt: skip
    # "extend": a list in a TOML file gives the option once a number.
    add("--devices", "GPUs by number, such as 0,1 (default: the first)", type=devices,
        action="extend", metavar="N,N")  # fmt: skip
    add("--memory", "4GB, or a share of free memory (default: 0.5)", type=memory, metavar="SIZE")
    add("--threads", "of backend cpu (default: all cores)", type=count, metavar="N")


def add_engine(parser: argparse.ArgumentParser, dtypes: Sequence[str], dtype: str) -> None:
    """Add --dtype and --search, and the options :data:`MACHINE`; absent where not given."""
    group = parser.add_argument_group("engine")
    absent = argparse.SUPPRESS
    group.add_argument(
        "--dtype", default=absent, help=f"precision (default: {dtype})", choices=dtypes
    )
    add_machine(group)
    text = "how long to look for a contraction path (default: fast)"
    group.add_argument("--search", default=absent, help=text, choices=SEARCHES)


def given_options(args: argparse.Namespace, names: Sequence[str] = MACHINE) -> dict[str, Any]:
    """Those of the options that were given, as arguments of ``QNN``."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def computed_by(model: Model) -> str:
    """The backend that a model runs on, with the name of a GPU."""
    name = model.backend.name
    return f"{name}: {model.device.facts.name}" if model.device else name


def engine(args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """The options of :func:`add_engine` as arguments of ``QNN``."""
    options = given_options(args, (*MACHINE, "search"))
    return {**options, "dtype": DTYPES[getattr(args, "dtype", dtype)]}
