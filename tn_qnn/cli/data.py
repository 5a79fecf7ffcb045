"""Data sets of the command line, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.cli.config import DIGITS, TrainConfig
from tn_qnn.cli.tables import Table, as_number, listed, read_table, shown
from tn_qnn.errors import InputError

CLASSIFICATION, REGRESSION = "classification", "regression"
MOST_CLASSES = 20  # different whole numbers that are still taken for classes
LEAST_ROWS = 2  # of each class: one to train on, one to test


@dataclass(frozen=True)
class Samples:
    """Features (S, F) and what belongs to them: labels or numbers (S,)."""

    X: NDArray[np.float64]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """All samples, with names for messages and pictures.

    Attributes
    ----------
    name
        What the run is about.
    features
        Names of the columns of ``samples.X``.
    target
        Name of what is learnt.
    task
        "classification" or "regression".
    """

    name: str
    features: tuple[str, ...]
    target: str
    task: str
    samples: Samples


@dataclass(frozen=True)
class Split:
    """Samples to train on, to watch the training by, and to test on at its end."""

    train: Samples
    validation: Samples
    test: Samples


def load_dataset(config: TrainConfig) -> Dataset:
    """Read the data that a configuration names.

    Raises
    ------
    InputError
        As :func:`~tn_qnn.cli.tables.read_table`; also where no feature or but one class is left.
    """
    return _digits() if config.data == DIGITS else _from_table(config, read_table(config.data))


def split(dataset: Dataset, config: TrainConfig) -> Split:
    """Split at random, the same for the same seed; classes keep their shares.

    Raises
    ------
    InputError
        When a part would be empty or lack a class.
    """
    rest, test = _parted(dataset, dataset.samples, config.test_share, config.seed, "test-share")
    train, validation = _parted(
        dataset, rest, config.validation_share, config.seed + 1, "validation-share"
    )
    return Split(train, validation, test)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    found = load_digits()
    samples = Samples(np.asarray(found.data, dtype=float), np.asarray(found.target))
    return Dataset(DIGITS, tuple(found.feature_names), "digit", CLASSIFICATION, samples)


def _from_table(config: TrainConfig, table: Table) -> Dataset:
    target = config.target or ""
    cells = table.texts(target)
    for name in config.ignore:
        table.place(name)
    features = tuple(c for c in table.columns if c != target and c not in config.ignore)
    if not features:
        raise InputError(f"{config.data}: no column but the target is left to learn from")
    task = config.task or _task(cells)
    y = table.numbers([target])[:, 0] if task == REGRESSION else _labels(cells)
    if task == CLASSIFICATION:
        _check_classes(config.data, target, y)
    samples = Samples(table.numbers(features), y)
    return Dataset(Path(config.data).stem, features, target, task, samples)


def _task(cells: list[str]) -> str:
    """Regression for numbers that are not all whole, or more than MOST_CLASSES different ones."""
    numbers = np.array([as_number(cell) for cell in cells])
    if not np.isfinite(numbers).all():
        return CLASSIFICATION
    whole = bool((numbers == np.round(numbers)).all())
    return CLASSIFICATION if whole and len(np.unique(numbers)) <= MOST_CLASSES else REGRESSION


def _labels(cells: list[str]) -> NDArray[Any]:
    """Labels as integers where all are, else as text."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(cells)


def _check_classes(file: str, target: str, y: NDArray[Any]) -> None:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise InputError(
            f"{file}: column {shown(target)} holds one class only, {shown(str(classes[0]))}; at"
            " least two are needed"
        )
    if counts.min() < LEAST_ROWS:
        rare = [str(c) for c, n in zip(classes, counts, strict=True) if n < LEAST_ROWS]
        raise InputError(
            f"{file}: column {shown(target)}: the classes {listed(rare)} have fewer than"
            f" {LEAST_ROWS} rows; give more, or --task regression if the target is a number"
        )


def _parted(
    dataset: Dataset, samples: Samples, share: float, seed: int, option: str
) -> tuple[Samples, Samples]:
    from sklearn.model_selection import train_test_split

    stratify = samples.y if dataset.task == CLASSIFICATION else None
    try:
        X, X_out, y, y_out = train_test_split(
            samples.X, samples.y, test_size=share, random_state=seed % 2**32, stratify=stratify
        )
    except ValueError as error:
        raise InputError(f"--{option}: {len(samples)} rows cannot be split ({error})") from None
    return Samples(X, y), Samples(X_out, y_out)
