"""The folder of a training run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tn_qnn.cli.config import TrainConfig, read_config
from tn_qnn.cli.data import Dataset, Split
from tn_qnn.errors import CheckpointError, InputError, TnQnnError
from tn_qnn.files import read_json, write_json

CONFIG, DATA, METRICS = "config.toml", "data.json", "metrics.json"
RUNS = Path("runs")


@dataclass(frozen=True)
class Facts:
    """What a run keeps of its data: enough to predict for other rows.

    Attributes
    ----------
    features
        Names of the columns, in order.
    target, task
        As in :class:`~tn_qnn.cli.data.Dataset`.
    """

    features: tuple[str, ...]
    target: str
    task: str


def new_folder(name: str, out: str | None) -> Path:
    """Make a folder for a run: ``out``, or the first of runs/NAME, runs/NAME-2, ... that is free.

    Raises
    ------
    InputError
        When it cannot be made, or holds something already.
    """
    try:
        if out is None:
            return _first_free(name)
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"--out: {out or RUNS} cannot be written ({error.strerror}); give another folder"
        ) from None
    if filled:
        hint = f"go on with --resume {out}, or " if (folder / CONFIG).exists() else ""
        raise InputError(f"--out: {out} is not empty; {hint}give another folder")
    return folder


def _first_free(name: str) -> Path:
    RUNS.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() ends never")


def save_start(folder: Path, config: TrainConfig, dataset: Dataset, parts: Split) -> None:
    """Write the configuration and what is known of the data.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    facts: dict[str, Any] = {
        "name": dataset.name,
        "task": dataset.task,
        "target": dataset.target,
        "features": dataset.features,
        "rows": {"train": len(parts.train), "validation": len(parts.validation),
                 "test": len(parts.test)},
    }  # fmt: skip
    try:
        write_json(folder / DATA, facts)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror})") from None
    save_config(folder, config)


def save_config(folder: Path, config: TrainConfig) -> None:
    """Write the configuration, by which a run is resumed.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    try:
        config.save(folder / CONFIG)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror})") from None


def read_run(run: str) -> tuple[Path, TrainConfig, Facts]:
    """Read what :func:`save_start` has written.

    Raises
    ------
    CheckpointError
        For a folder that is not that of a run, or damaged.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file() or not (folder / DATA).is_file():
        raise CheckpointError(
            f"{run} is not the folder of a run ({CONFIG} and {DATA} are not there); 'tn-qnn train'"
            " makes such folders"
        )
    try:
        config = read_config(folder / CONFIG)
        found = read_json(folder / DATA)
        facts = Facts(tuple(found["features"]), found["target"], found["task"])
    except OSError as error:
        raise CheckpointError(f"{run} cannot be read ({error.strerror})") from None
    except (TnQnnError, KeyError, TypeError) as error:
        raise CheckpointError(f"{run} is damaged: {error}") from None
    if not all(isinstance(name, str) for name in (*facts.features, facts.target, facts.task)):
        raise CheckpointError(f"{run} is damaged: {DATA} holds names that are no text")
    return folder, config, facts


def as_numbers(values: Any) -> Any:
    """NumPy's numbers and arrays as those of JSON."""
    if isinstance(values, dict):
        return {name: as_numbers(value) for name, value in values.items()}
    return values.tolist() if isinstance(values, np.ndarray | np.generic) else values
