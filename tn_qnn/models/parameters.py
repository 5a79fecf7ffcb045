"""An estimator's parameters as JSON values and back, so that a saved one can go on training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models import fields
from tn_qnn.models.serialise import (
    circuits_from_json,
    circuits_to_json,
    observables_from_json,
    observables_to_json,
)
from tn_qnn.train import (
    SGD,
    SPSA,
    Adam,
    AMSGrad,
    Blocking,
    EarlyStopping,
    Momentum,
    PolarSweep,
    Resilient,
    Retraction,
    TrustRegion,
)
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.local_spsa import LocalSPSA
from tn_qnn.train.parameter_shift import ParameterShift
from tn_qnn.train.rotosolve import Rotosolve

_ESTIMATORS = (SPSA, LocalSPSA, ExactGradient, ParameterShift, Rotosolve, PolarSweep)
_UPDATES = (Adam, AMSGrad, Momentum, Resilient, SGD, TrustRegion, Blocking)
#: Records that may stand in a file by name.
RECORDS: Mapping[str, type] = MappingProxyType(
    {record.__name__: record for record in (*_ESTIMATORS, *_UPDATES, Retraction, EarlyStopping)}
)
LABEL_KINDS = "biufUO"


def parameter_to_json(value: Any) -> Any:
    """A parameter as a JSON value ``[kind, content]``, or None where a file cannot hold it.

    Examples
    --------
    >>> parameter_to_json((0, 1.5))
    ['tuple', [['plain', 0], ['plain', 1.5]]]
    >>> parameter_to_json(print) is None
    True
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return ["plain", value]
    if isinstance(value, Circuit):
        return ["circuit", circuits_to_json([value])]
    if hasattr(value, "qubits"):
        return ["observable", observables_to_json([value])]
    if (
        is_dataclass(value)
        and not isinstance(value, type)
        and RECORDS.get(type(value).__name__) is type(value)
    ):
        held = {f.name: parameter_to_json(getattr(value, f.name)) for f in fields_of(value)}
        if None in held.values():
            return None
        # A plain field stands as it is; others, such as a record in the record, with their kind.
        content = {n: v[1] if v[0] == "plain" else v for n, v in held.items()}
        return ["record", [type(value).__name__, content]]
    if isinstance(value, Mapping):
        value = ("mapping", [part for pair in value.items() for part in pair])
    elif isinstance(value, np.ndarray) and value.ndim == 1:
        value = ("tuple", value.tolist())
    elif isinstance(value, list | tuple):
        value = ("tuple", value)
    else:
        return None
    kind, parts = value
    entries = [parameter_to_json(part) for part in parts]
    return None if None in entries else [kind, entries]


def parameter_from_json(value: Any, where: str) -> Any:
    """The inverse of :func:`parameter_to_json`; lists and arrays come back as tuples.

    Raises
    ------
    CheckpointError
        When it is of an unknown kind, or its content is not legal.
    """
    kind, content = fields.items(value, where, 2)
    if kind == "plain":
        if isinstance(content, dict | list):
            raise CheckpointError(f"{where}: a plain value expected, not {type(content).__name__}")
        return content
    if kind == "circuit":
        return circuits_from_json(content, where)[0]
    if kind == "observable":
        return observables_from_json(content, where)[0]
    if kind == "record":
        return _record(content, where)
    parts = [parameter_from_json(part, where) for part in fields.items(content, where)]
    if fields.text(kind, where, ["tuple", "mapping"]) == "tuple":
        return tuple(parts)
    try:
        return dict(zip(parts[::2], parts[1::2], strict=True))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: not a mapping ({error})") from error


def labels_to_json(classes: NDArray[Any]) -> list[Any]:
    """Class labels as ``[dtype, values]``.

    Raises
    ------
    InputError
        When they are neither numbers nor texts.

    Examples
    --------
    >>> labels_to_json(np.array(["cat", "dog"]))
    ['<U3', ['cat', 'dog']]
    """
    values = classes.tolist()
    texts = all(isinstance(value, str) for value in values)
    if classes.dtype.kind not in LABEL_KINDS or (classes.dtype.kind == "O" and not texts):
        raise InputError(
            f"y: labels of type {type(values[0]).__name__} cannot be saved; use numbers or texts"
        )
    return [classes.dtype.str, values]


def labels_from_json(value: Any, where: str) -> NDArray[Any]:
    """The inverse of :func:`labels_to_json`; at least two labels, sorted."""
    kind, values = fields.items(value, where, 2)
    for label in fields.items(values, where):
        if not isinstance(label, bool | int | float | str):
            raise CheckpointError(f"{where}: {label!r} is no label")
    try:
        dtype = np.dtype(fields.text(kind, where))
        classes = np.array(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{where}: not a list of labels ({error})") from error
    if dtype.kind not in LABEL_KINDS or len(values) < 2 or classes.tolist() != values:
        raise CheckpointError(f"{where}: not a list of labels of one kind")
    return classes


def _record(content: Any, where: str) -> Any:
    name, values = fields.items(content, where, 2)
    make = RECORDS[fields.text(name, where, list(RECORDS))]
    held = {}
    for key, value in fields.record(values, where).items():
        if isinstance(value, dict):
            raise CheckpointError(f"{where}: {name}.{key} is a {type(value).__name__}")
        held[key] = parameter_from_json(value, where) if isinstance(value, list) else value
    try:
        return make(**held)
    except (InputError, TypeError) as error:
        raise CheckpointError(f"{where}: {error}") from error
