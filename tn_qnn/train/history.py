"""What a training run did: one row a step."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from tn_qnn.files import write_atomic


@dataclass(frozen=True)
class Row:
    """One step.

    Attributes
    ----------
    step : int
        Steps done, this one included.
    epoch : float
        Epochs done.
    loss : float
        The minibatch's weighted mean loss, from the perturbed evaluations.
    validation_loss, validation_score : float
        Mean loss and score on the validation set after this step; nan where not evaluated.
    evaluations : int
        Model evaluations so far, calibration included and validation not: one is one sample
        with one set of weights.
    seconds : float
        Time so far, resumed parts added up.
    a_k, c_k : float
        Gains of this step.
    """

    step: int
    epoch: float
    loss: float
    validation_loss: float
    validation_score: float
    evaluations: int
    seconds: float
    a_k: float
    c_k: float

    @property
    def validated(self) -> bool:
        """Whether the validation set was evaluated after this step."""
        return not np.isnan(self.validation_loss)


COLUMNS = tuple(field.name for field in fields(Row))
WHOLE = ("step", "evaluations")


class History:
    """Rows of a training run; ``history["loss"]`` is a column.

    Examples
    --------
    >>> nan = float("nan")
    >>> history = History()
    >>> history.append(Row(1, 0.5, 0.9, nan, nan, 128, 0.1, 0.05, 0.1))
    >>> len(history), history["loss"]
    (1, array([0.9]))
    """

    def __init__(self, rows: tuple[Row, ...] = ()) -> None:
        self._rows = list(rows)

    def append(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        self._rows.extend(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, column: str) -> np.ndarray:
        return np.array([getattr(row, column) for row in self._rows])

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return tuple(self._rows)

    @property
    def validations(self) -> tuple[Row, ...]:
        """The rows that hold a validation."""
        return tuple(row for row in self._rows if row.validated)

    def until(self, step: int) -> "History":
        """Return the history up to and including ``step``."""
        return History(tuple(row for row in self._rows if row.step <= step))

    def to_array(self) -> np.ndarray:
        """Return all rows as float64 (rows, columns)."""
        return np.array(self._tuples(), dtype=float).reshape(-1, len(COLUMNS))

    @classmethod
    def from_array(cls, array: np.ndarray) -> "History":
        """Return the history that :meth:`to_array` came from."""
        columns = dict(zip(COLUMNS, array.T.tolist(), strict=True))
        columns |= {name: [int(value) for value in columns[name]] for name in WHOLE}
        return cls(tuple(Row(*values) for values in zip(*columns.values(), strict=True)))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with a header, atomically; what was not evaluated is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for values in self._tuples():
            writer.writerow(["" if value != value else value for value in values])
        write_atomic(path, text.getvalue().encode())

    def _tuples(self) -> list[tuple[float, ...]]:
        return [tuple(getattr(row, name) for name in COLUMNS) for row in self._rows]
