"""CSV tables of numbers, read so that an error names line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tn_qnn.errors import InputError


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file as text.

    Attributes
    ----------
    file
        Where it comes from, for messages.
    columns
        Names in the header.
    rows
        Cells, as many a row as there are columns.
    lines
        Line of the file on which each row ends.
    """

    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def texts(self, column: str) -> list[str]:
        """The cells of a column; an empty one is an error."""
        k = self.place(column)
        for row, line in zip(self.rows, self.lines, strict=True):
            if not row[k]:
                raise InputError(f"{self._cell(line, column)} is empty; fill it or drop the row")
        return [row[k] for row in self.rows]

    def numbers(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """The cells of some columns as numbers, shape (rows, columns).

        Raises
        ------
        InputError
            For a column that is not there, a cell that is empty, no number, NaN or infinite.
        """
        places = [self.place(column) for column in columns]
        out = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            for j, k in enumerate(places):
                number = as_number(row[k])
                if not math.isfinite(number):
                    self._refuse(self.lines[i], columns[j], row[k])
                out[i, j] = number
        return out

    def place(self, column: str) -> int:
        """Position of a column; an unknown name is an error."""
        if column not in self.columns:
            raise InputError(
                f"{self.file} has no column {shown(column)}; it has {listed(self.columns)}"
            )
        return self.columns.index(column)

    def _cell(self, line: int, column: str) -> str:
        return f"{self.file}: line {line}, column {shown(column)}"

    def _refuse(self, line: int, column: str, text: str) -> None:
        if not text:
            raise InputError(f"{self._cell(line, column)} is empty; fill it or drop the row")
        raise InputError(
            f"{self._cell(line, column)}: {shown(text)} is not a finite number; correct it or"
            f" leave the column out (train: --ignore)"
        )


def read_table(path: str) -> Table:
    """Read a CSV file with a header, UTF-8, commas between cells.

    Raises
    ------
    InputError
        For a file that cannot be read, is no text, is empty, or is no table.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: no UTF-8 text (byte {error.start}); a CSV file is needed"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    try:
        for cells in reader:
            row = tuple(cell.strip() for cell in cells)
            if not any(row) and len(row) <= 1:
                continue  # an empty line
            if not header:
                header = _checked_header(path, row)
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num} has {len(row)} cells, the header {len(header)}"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: no CSV ({error})") from None
    if not rows:
        raise InputError(f"{path}: no rows; a header and at least one row of cells are needed")
    return Table(path, header, tuple(rows), tuple(lines))


def as_number(text: str) -> float:
    """A cell as a number, NaN where it is none."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _checked_header(path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if "" in names:
        raise InputError(f"{path}: column {names.index('') + 1} has no name in the header")
    twice = next((n for k, n in enumerate(names) if n in names[:k]), None)
    if twice is not None:
        raise InputError(f"{path}: two columns are named {shown(twice)}")
    if all(math.isfinite(as_number(n)) for n in names):
        raise InputError(f"{path}: the first line holds numbers; names of columns are needed there")
    if len(names) == 1 and ";" in names[0]:
        raise InputError(f"{path}: cells are parted by ';'; commas are needed")
    return names


def shown(text: str) -> str:
    """Text as a message quotes it."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def listed(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(map(shown, names[:8])) + (", ..." if len(names) > 8 else "")
