"""From an estimator's plain arguments to how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from tn_qnn.errors import InputError
from tn_qnn.train import SPSA, Estimator
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.local_spsa import LocalSPSA
from tn_qnn.train.parameter_shift import ParameterShift
from tn_qnn.train.protocol import Mover

#: Estimators of gradients that are known by name.
ESTIMATORS: Mapping[str, type] = MappingProxyType({
    "spsa": SPSA,
    "local_spsa": LocalSPSA,
    "exact": ExactGradient,
    "parameter_shift": ParameterShift,
})  # fmt: skip


def chosen_estimator(
    estimator: str | Estimator | Mover | None,
    learning_rate: float,
    perturbation: float,
    directions: int,
    schedule: str | None,
) -> Estimator | Mover:
    """The estimator of gradients, by name with those of the other arguments that it takes.

    Raises
    ------
    InputError
        When the name is unknown, an argument is not legal, or a schedule is given beside a record.

    Examples
    --------
    >>> chosen_estimator(None, 0.05, 0.2, 4, "cosine").schedule
    'cosine'
    >>> chosen_estimator("parameter_shift", 0.05, 0.2, 4, None).first_step
    0.05
    """
    if estimator is not None and not isinstance(estimator, str):
        if schedule is not None:
            raise InputError(
                f"schedule: {schedule!r} given beside {type(estimator).__name__}, which has its"
                " own; set it there and leave this None"
            )
        return estimator
    name = estimator or "spsa"
    if name not in ESTIMATORS:
        raise InputError(
            f"estimator: one of {', '.join(ESTIMATORS)}, an estimator or None expected, not"
            f" {name!r}"
        )
    kind = ESTIMATORS[name]
    given: dict[str, Any] = {
        "first_step": learning_rate,
        "c": perturbation,
        "directions": directions,
        "schedule": schedule,
    }
    takes = {field.name for field in fields(kind)}
    made: Estimator = kind(**{k: v for k, v in given.items() if k in takes and v is not None})
    return made
