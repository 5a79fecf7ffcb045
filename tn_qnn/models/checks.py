"""Arguments of models: checked, and in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.arrays import Array, array_module
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable, check_observable
from tn_qnn.errors import InputError


def check_count(name: str, value: object) -> None:
    """Raise ``InputError`` unless the value is an integer of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{name}: an integer >= 1 expected, not {value!r}")


def as_floats(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Finite numbers as float64, or ``InputError`` with the place of the first that is not."""
    try:
        given = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: an array of numbers expected ({error})") from error
    if given.dtype.kind not in "fiub":
        raise InputError(f"{name}: an array of real numbers expected, not of {given.dtype}")
    array = given.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        if array.ndim == 0:
            raise InputError(f"{name}: an array of finite numbers expected, not {float(array)}")
        bad = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(array)))
        raise InputError(f"{name}: NaN or infinite at position {bad}; clean the data first")
    return array


def as_circuits(circuits: Circuit | Sequence[Circuit]) -> tuple[Circuit, ...]:
    """Copies of one circuit or several, so that what the caller appends later is not in them."""
    if not isinstance(circuits, Circuit | Sequence):
        raise InputError(f"circuits: a Circuit or a sequence of them expected, not {circuits!r}")
    found = (circuits,) if isinstance(circuits, Circuit) else tuple(circuits)
    if not found or not all(isinstance(c, Circuit) for c in found):
        raise InputError(f"circuits: a Circuit or a sequence of them expected, not {circuits!r}")
    return tuple(c.compose(Circuit(c.num_qubits)) for c in found)


def as_observables(
    observables: Observable | Sequence[Observable], circuits: Sequence[Circuit]
) -> tuple[Observable, ...]:
    """One observable or several that are legal on all the circuits."""
    single = hasattr(observables, "qubits")
    if not single and not isinstance(observables, Sequence):
        raise InputError(
            f"observables: an observable or a list of them expected, not {observables!r}"
        )
    found = (observables,) if single else tuple(observables)  # type: ignore[arg-type]
    if not found:
        raise InputError("observables: at least one is needed")
    fewest = min(c.num_qubits for c in circuits)
    return tuple(check_observable(o, fewest) for o in found)


def checked_features(X: ArrayLike | None, num_features: int) -> NDArray[np.float64]:
    """Data of shape (S, F), F at least ``num_features``; one empty row where none are used."""
    if X is None:
        if num_features:
            raise InputError(
                f"X: the circuit uses {num_features} features; pass data of shape"
                f" (samples, {num_features})"
            )
        return np.zeros((1, 0))
    features = as_floats("X", X)
    if features.ndim != 2 or features.shape[1] < num_features or not len(features):
        raise InputError(f"X: shape (samples >= 1, {num_features}) expected, not {features.shape}")
    return features


def checked_weights(
    weights: ArrayLike | Mapping[str, float] | None, known: Mapping[str, int], samples: int
) -> tuple[NDArray[np.float64], bool]:
    """Weight sets (P, W) or (P, S, W), and whether one set (W,) was given; ``known`` by column."""
    if weights is None:
        weights = {}
    if isinstance(weights, Mapping):
        missing = [name for name in known if name not in weights]
        unknown = [name for name in weights if name not in known]
        if missing:
            raise InputError(
                f"weights: no value for {missing[0]!r}; pass weights={{{missing[0]!r}: ...}}"
            )
        if unknown:
            raise InputError(f"weights: the model has no weight named {unknown[0]!r}")
        weights = [weights[name] for name in known]
    array = as_floats("weights", weights)
    count = len(known)
    if array.ndim == 0 or array.shape[-1] != count or array.ndim > 3 or not all(array.shape[:-1]):
        raise InputError(
            f"weights: shape ({count},), (sets, {count}) or (sets, samples, {count})"
            f" expected, not {array.shape}"
        )
    if array.ndim == 3 and array.shape[1] != samples:
        raise InputError(
            f"weights: {array.shape[1]} samples in the weights, {samples} in X; they must agree"
        )
    return (array[None], True) if array.ndim == 1 else (array, False)


def checked_arrays(
    xp: Any, weights: Any, X: Any, known: Mapping[str, int], num_features: int, device: Any
) -> tuple[Array, bool, Array]:
    """Weight sets, whether one was given, and data, float64 of CuPy; no value is looked at.

    Parameters
    ----------
    xp
        The module that they are to be of.
    weights, X
        As the model was given them.
    known, num_features
        Columns of the weights by name, and columns that the data must have at least.
    device
        The first GPU's runtime, on which they are to be, or None for any.
    """
    named = weights is None or isinstance(weights, Mapping)
    given = X if named else weights
    if device is not None and given.device.id != device.device:
        raise InputError(
            f"weights, X: arrays of GPU {device.device} expected, as the model's, not of"
            f" GPU {given.device.id}"
        )
    with given.device:
        features = xp.zeros((1, 0)) if X is None else X
        if array_module(features) is not xp or features.device != given.device:
            raise InputError(
                f"X: an array of {xp.__name__} expected beside such weights, on the same GPU"
            )
        if named:
            weights = xp.asarray(checked_weights(weights, known, len(features))[0][0])
    shape = (weights.shape, features.shape)
    single, count = weights.ndim == 1, len(known)
    sets = weights[None] if single else weights
    if (
        sets.ndim not in (2, 3) or sets.shape[-1] != count
        or features.ndim != 2 or features.shape[1] < num_features
        or (sets.ndim == 3 and sets.shape[1] != len(features))
        or not all((*sets.shape[:-1], len(features)))
        or {sets.dtype, features.dtype} != {np.dtype(float)}
    ):  # fmt: skip
        raise InputError(
            f"weights, X: float64 of shapes ({count},), (sets, {count})"
            f" or (sets, samples, {count}), and (samples >= 1, {num_features})"
            f" expected, not {sets.dtype} and {features.dtype} of {shape}"
        )
    return sets, single, features
