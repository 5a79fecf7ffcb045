"""Callbacks: called after a step with a :class:`Report`; returning True ends the training.

A callback is called after every step. On a GPU the host must then look at each of them, which
takes longer than many a step. One with the attribute ``every_step = False`` is called only where
the host looks anyway: after validations, checkpoints, the last step, and some times a second.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.train.history import History, Row
from tn_qnn.train.state import Monitor


@dataclass(frozen=True)
class Report:
    """What a callback sees after a step.

    Attributes
    ----------
    row : Row
        The step's numbers.
    steps : int
        Steps wanted in all.
    weights : float64 array (W,)
        Not to be changed.
    history : History
        All rows so far, this one included.
    monitor : "score" or "loss"
        Which validation number decides what is best.
    has_validation : bool
        Whether a validation set was given.
    """

    row: Row
    steps: int
    weights: Array
    history: History
    monitor: Monitor
    has_validation: bool


Callback: TypeAlias = Callable[[Report], bool | None]


@dataclass(frozen=True)
class EarlyStopping:
    """End the training when ``patience`` validations in a row brought no improvement.

    It has no memory of its own but the history, so a resumed run stops where it would have.

    Parameters
    ----------
    patience : int
        Validations without improvement that are borne.
    min_delta : float
        An improvement is more than this, in the monitored number.
    restore_best : bool
        Return the weights of the best validation, not the last ones.

    Raises
    ------
    InputError
        When a number is out of range, or when the training has no validation set.

    Examples
    --------
    >>> EarlyStopping(patience=5)
    EarlyStopping(patience=5, min_delta=0.0, restore_best=True)
    """

    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    every_step: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.patience, int) or self.patience < 1:
            raise InputError(f"patience: got {self.patience!r}, expected a whole number above 0.")
        if not 0.0 <= self.min_delta < math.inf:
            raise InputError(f"min_delta: got {self.min_delta!r}, expected a number, 0 or above.")

    def __call__(self, report: Report) -> bool:
        """Return whether to stop."""
        if not report.has_validation:
            raise InputError(
                "validation: got None, expected (X, y), which EarlyStopping watches; "
                "pass validation=(X, y) to fit or leave EarlyStopping out."
            )
        return report.row.validated and self.waited(report.history, report.monitor) >= self.patience

    def waited(self, history: History, monitor: Monitor) -> int:
        """Return the number of validations since the last improvement."""
        best, count = -math.inf, 0
        for row in history.validations:
            value = row.validation_score if monitor == "score" else -row.validation_loss
            count = 0 if value > best + self.min_delta else count + 1
            best = max(best, value) if count == 0 else best
        return count
