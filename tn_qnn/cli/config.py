"""The configuration of a training run: one record, from words of a command line or a TOML file."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from tn_qnn.cli.options import Parser, add_engine, count, positive, seed, share
from tn_qnn.errors import InputError
from tn_qnn.files import write_atomic
from tn_qnn.models.assemble import ANSATZE, ENCODINGS
from tn_qnn.models.choices import ESTIMATORS
from tn_qnn.train.gains import SCHEDULES
from tn_qnn.train.updates import UPDATES

DIGITS = "digits"
TASKS = ("classification", "regression")
#: What a model of the digits changes of the defaults, where an option does not say otherwise.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "trees": {},
    "wide": {"estimator": "exact", "schedule": "cosine", "steps": 1600, "learning_rate": 0.02},
})  # fmt: skip
CIRCUIT = ("ansatz", "layers", "encoding")


@dataclass(frozen=True)
class TrainConfig:
    """All that defines a run of ``tn-qnn train`` but the version of the program.

    Attributes
    ----------
    data
        "digits", or the path of a CSV file.
    target
        Name of the target column of a CSV file.
    task
        "classification" or "regression"; None: decided by the target column.
    ignore
        Columns that are no features.
    model
        Of digits: "trees" or "wide".
    ansatz, layers, encoding
        Of the circuit; layers None: the ansatz's own number.
    estimator, schedule
        Of the gradient, and of its gain; schedule None: the estimator's own.
    steps, batch_size, directions, learning_rate, update, validate_every, seed
        Of the training.
    test_share, validation_share
        Share of all samples that is held out for the test, and of the rest for validation.
    dtype, backend, devices, search, memory, threads
        Of the model.
    """

    data: str
    target: str | None = None
    task: str | None = None
    ignore: tuple[str, ...] = ()
    model: str = "trees"
    ansatz: str = "tree"
    layers: int | None = None
    encoding: str = "angle"
    estimator: str = "spsa"
    schedule: str | None = None
    steps: int = 2000
    batch_size: int = 64
    directions: int = 16
    learning_rate: float = 0.05
    update: str = "adam"
    validate_every: int = 50
    seed: int = 0
    test_share: float = 0.25
    validation_share: float = 0.1
    dtype: str = "float32"
    backend: str = "auto"
    devices: tuple[int, ...] | None = None
    search: str = "fast"
    memory: float = 0.5
    threads: int | None = None

    def save(self, path: Path) -> None:
        """Write a TOML file that ``tn-qnn train`` takes."""
        lines = [
            f"{name.replace('_', '-')} = {_toml(value)}"
            for name, value in asdict(self).items()
            if value not in (None, ())
        ]
        write_atomic(path, ("\n".join(lines) + "\n").encode())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field but ``data``; what is not given is absent."""

    def add(name: str, text: str, **options: Any) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **options)

    group = parser.add_argument_group("data")
    add("--target", "column to learn, of a CSV file", metavar="COLUMN")
    add("--task", "default: regression where the target holds numbers that are not"
        " whole or more than 20 different ones, else classification", choices=TASKS)  # fmt: skip
    add("--ignore", "column that is no feature; repeat for more", metavar="COLUMN", action="append")
    add("--test-share", "share held out for the test (default: 0.25)", type=share, metavar="SHARE")
    add("--validation-share", "share of the rest held out for validation (default: 0.1)",
        type=share, metavar="SHARE")  # fmt: skip
    group = parser.add_argument_group("circuit")
    add("--model", "of digits: trees, one a class (default), or wide: four trees of bond"
        " dimension 4 and a linear head, by the exact gradient",
        choices=tuple(PRESETS))  # fmt: skip
    add("--ansatz", ", ".join(ANSATZE), choices=tuple(ANSATZE), metavar="NAME")
    add("--layers", "of an ansatz that has layers", type=count, metavar="N")
    add("--encoding", "default: angle", choices=sorted(ENCODINGS))
    group = parser.add_argument_group("training")
    add("--estimator", "of the gradient (default: spsa; wide: exact)", choices=tuple(ESTIMATORS))
    add("--schedule", "how the learning rate falls (default: the estimator's own)",
        choices=SCHEDULES)  # fmt: skip
    add("--steps", "default: 2000; wide: 1600", type=count, metavar="N")
    add("--batch-size", "samples a step (default: 64)", type=count, metavar="N")
    add("--directions", "random directions a step (default: 16)", type=count, metavar="N")
    add("--learning-rate", "default: 0.05; wide: 0.02", type=positive, metavar="RATE")
    add("--update", "rule of the steps (default: adam)", choices=tuple(UPDATES))
    add("--validate-every", "steps (default: 50)", type=count, metavar="N")
    add("--seed", "of split, weights, minibatches and directions (default: 0)", type=seed,
        metavar="N")  # fmt: skip
    add_engine(parser, ("float32", "float64"), "float32")


def make_config(data: str, given: Mapping[str, Any]) -> TrainConfig:
    """A configuration from data and options; a TOML file's options come first.

    Raises
    ------
    InputError
        For a file that is no configuration, or a target that is missing or not wanted.
    """
    names = {field.name for field in fields(TrainConfig)} - {"data"}
    options = {name: given[name] for name in names if name in given}
    if data != DIGITS and data.lower().endswith(".toml"):
        config = changed(read_config(Path(data)), options)
    else:
        preset = PRESETS[options.get("model", "trees")]
        config = TrainConfig(data, **{**preset, **_frozen(options)})
    if config.data == DIGITS:
        unwanted = [n for n in ("target", "task", "ignore") if getattr(config, n)]
        if unwanted:
            raise InputError(f"--{unwanted[0]}: digits has its own; leave it out")
        fixed = [n for n in CIRCUIT if getattr(config, n) != getattr(TrainConfig, n)]
        if config.model == "wide" and fixed:
            raise InputError(f"--{fixed[0]}: the wide model has its own; leave it out")
        return config
    if config.model != "trees":
        raise InputError(f"--model: {config.model} is a model of the digits; leave it out")
    if config.target is None:
        raise InputError(f"--target: say which column of {config.data} is to be learnt")
    return replace(config, data=str(Path(config.data).absolute()))


def changed(config: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """The configuration with other options; another backend comes without the old one's own.

    Examples
    --------
    >>> changed(TrainConfig("digits", backend="cpu", threads=2), {"backend": "cuda"}).threads
    """
    old = {"threads": None, "devices": None} if "backend" in options else {}
    return replace(config, **{**old, **_frozen(options)})


def read_config(path: Path) -> TrainConfig:
    """Read a TOML file; a path in it is relative to its folder.

    Raises
    ------
    InputError
        For a file that cannot be read, is no TOML, or has a key or value that is not legal.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    data = values.pop("data", None)
    if not isinstance(data, str):
        raise InputError(f'{path}: data = "digits", or the path of a CSV file, is missing')
    parser = _FileParser(prog=str(path), add_help=False, allow_abbrev=False)
    add_options(parser)
    given = vars(parser.parse_args(_words(path, values)))
    place = data if data == DIGITS else str(path.absolute().parent / data)
    return TrainConfig(place, **_frozen(given))


class _FileParser(Parser):
    """Checks what a file says by the rules of the command line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message.replace('argument --', '')}")


def _words(path: Path, values: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) or not isinstance(item, int | float | str):
                raise InputError(f"{path}: {name}: a number or a text expected")
            words.append(f"--{name.replace('_', '-')}={item}")
    return words


def _frozen(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, Sequence | list) and not isinstance(v, str) else v
            for k, v in options.items()}  # fmt: skip


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's texts are TOML's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
