"""Checks of what a user gives to the trainer, each with an error that says what to do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tn_qnn.arrays import Array, to_numpy
from tn_qnn.errors import InputError
from tn_qnn.train.initializers import initial_weights
from tn_qnn.train.losses import Loss
from tn_qnn.train.protocol import Mover, Trainable
from tn_qnn.train.regularisation import L2

ClassWeight: TypeAlias = str | Mapping[int, float] | Sequence[float] | np.ndarray | None


@dataclass(frozen=True)
class Data:
    """Samples: X (S, F), y (S, ...), sample_weight (S,) of mean 1 or None."""

    X: Array
    y: Array
    sample_weight: Array | None = None

    def take(self, indices: np.ndarray) -> "Data":
        """Return some of the samples."""
        weight = None if self.sample_weight is None else self.sample_weight[indices]
        return Data(self.X[indices], self.y[indices], weight)


def checked_data(model: Trainable, loss: Loss, X: Any, y: Any, prefix: str = "") -> Data:
    """Return features and targets as NumPy arrays; X None is one sample without features.

    Raises
    ------
    InputError
        For wrong shapes, kinds or lengths, NaN or infinite numbers, no samples, and labels
        out of range.
    """
    features = np.zeros((1, 0)) if X is None else numbers(prefix + "X", X)
    if features.ndim != 2:
        raise InputError(
            f"{prefix}X: got shape {features.shape}, expected (samples, features); for one "
            f"feature use X[:, None], for one sample X[None, :]."
        )
    if len(features) == 0:
        raise InputError(f"{prefix}X: got no samples, expected at least one row.")
    wanted = getattr(model, "num_features", None)
    if wanted is not None and features.shape[1] != wanted:
        raise InputError(
            f"{prefix}X: got {features.shape[1]} features, expected {wanted}, as the model has; "
            f"check the columns."
        )
    return Data(features, targets(model, loss, y, len(features), prefix + "y"))


def targets(model: Trainable, loss: Loss, y: Any, samples: int, name: str) -> Array:
    """Return checked targets of the kind that the loss takes."""
    if y is None:
        if loss.targets != "any":
            raise InputError(f"{name}: got None, expected {samples} targets for loss {loss.name}.")
        return np.zeros(samples)
    array = to_numpy(y)
    if array.ndim == 0 or len(array) != samples:
        raise InputError(
            f"{name}: got shape {array.shape}, expected {samples} entries, one a row of X."
        )
    if loss.targets == "classes":
        return class_indices(name, array, model.num_outputs)
    if loss.targets == "any":
        return numbers(name, array) if array.dtype.kind in "fc" else array
    array = numbers(name, array)
    if array.ndim == 1 and model.num_outputs == 1:
        array = array[:, None]
    if array.shape != (samples, model.num_outputs):
        raise InputError(
            f"{name}: got shape {array.shape}, expected {(samples, model.num_outputs)} "
            f"(samples, outputs of the model)."
        )
    return array


def class_indices(name: str, y: Array, num_outputs: int) -> Array:
    """Return labels as int64 (S,), checked against the number of outputs."""
    classes = max(num_outputs, 2)
    if y.ndim != 1:
        raise InputError(
            f"{name}: got shape {y.shape}, expected (samples,) class indices; for one-hot rows "
            f"use y.argmax(axis=1)."
        )
    labels = numbers(name, y)
    if (labels != labels.astype(np.int64)).any():
        raise InputError(f"{name}: got numbers that are not whole, expected class indices.")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"{name}: got labels from {labels.min()} to {labels.max()}, expected 0 to "
            f"{classes - 1} for {num_outputs} outputs; renumber the labels or add outputs."
        )
    return labels


def numbers(name: str, value: Any) -> Array:
    """Return a finite real NumPy array, floats kept as they are, other numbers as float64."""
    try:
        array = to_numpy(value)
    except ValueError as error:
        raise InputError(f"{name}: not an array ({error}); rows need equal lengths.") from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: got {array.dtype} entries, expected real numbers; convert text or missing "
            f"cells first."
        )
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        first = tuple(int(index[0]) for index in np.nonzero(~np.isfinite(array)))
        raise InputError(
            f"{name}: got {array[first]} at index {first}, expected finite numbers; "
            f"drop or fill such entries."
        )
    return array


def combined_weight(
    loss: Loss, y: Array, num_outputs: int, class_weight: ClassWeight, sample_weight: Any
) -> Array | None:
    """Return class times sample weights, scaled to mean 1 over the data set, or None.

    Raises
    ------
    InputError
        For negative or missing weights, or class weights where the loss has no classes.
    """
    if class_weight is None and sample_weight is None:
        return None
    weight = np.ones(len(y))
    if class_weight is not None:
        if loss.targets != "classes":
            raise InputError(
                f"class_weight: got {class_weight!r} for loss {loss.name}, expected None: it has "
                f"no classes. Use sample_weight."
            )
        weight = weight * class_weights(class_weight, y, max(num_outputs, 2))[y]
    if sample_weight is not None:
        given = numbers("sample_weight", sample_weight)
        if given.shape != (len(y),):
            raise InputError(
                f"sample_weight: got shape {given.shape}, expected {(len(y),)}, one a row of X."
            )
        weight = weight * given
    if weight.min() < 0 or weight.sum() <= 0:
        raise InputError(
            "sample_weight, class_weight: got negative weights or none above 0, expected "
            "numbers 0 or above with a positive sum."
        )
    return weight / weight.mean()


def class_weights(class_weight: ClassWeight, y: Array, classes: int) -> np.ndarray:
    """Return one weight a class: "balanced" is samples / (classes present * count)."""
    counts = np.bincount(y, minlength=classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(
                f"class_weight: got {class_weight!r}, expected None, 'balanced', a mapping from "
                f"class index to weight, or {classes} numbers."
            )
        balanced: np.ndarray = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1.0))
        return balanced
    if isinstance(class_weight, Mapping):
        unknown = sorted(str(key) for key in class_weight if key not in range(classes))
        if unknown:
            raise InputError(
                f"class_weight: got classes {', '.join(unknown)}, expected 0 to {classes - 1}."
            )
        class_weight = [class_weight.get(k, 1.0) for k in range(classes)]
    given: np.ndarray = numbers("class_weight", class_weight)
    if given.shape != (classes,):
        raise InputError(f"class_weight: got shape {given.shape}, expected {(classes,)}.")
    return given


def starting_weights(model: Trainable, weights: Any, seed: int) -> Array:
    """Return weights (W,), float64, from an initialiser's name, a mapping or an array.

    A model with ``initial_weights(name, seed)``, such as one with a linear head, is asked itself.
    """
    if weights is None or isinstance(weights, str):
        if hasattr(model, "initial_weights"):
            made: Array = model.initial_weights(weights or "small", seed)
            return made
        blocks = getattr(model, "blocks", ())
        return initial_weights(weights or "small", seed, model.num_weights, blocks)
    if isinstance(weights, Mapping):
        names = model.weight_names
        different = sorted(set(names) ^ set(weights))
        if different:
            raise InputError(
                f"weights: got a mapping with missing or unknown names {', '.join(different[:5])}, "
                f"expected exactly the {len(names)} names of model.weight_names."
            )
        weights = [weights[name] for name in names]
    array = numbers("weights", weights)
    if array.shape != (model.num_weights,):
        raise InputError(
            f"weights: got shape {array.shape}, expected {(model.num_weights,)}, one a weight "
            f"of the model."
        )
    return np.array(array, dtype=np.float64)


def check_classes(loss: Loss, y: Array) -> None:
    """Raise ``InputError`` where all labels are the same: there is nothing to learn."""
    if loss.targets == "classes" and bool((y == y[0]).all()):
        raise InputError(
            f"y: got one class only ({int(y[0])}), expected at least two; check how the "
            f"samples were chosen."
        )


def check_model(model: Any) -> None:
    """Raise ``InputError`` where the model lacks what the trainer needs."""
    missing = [
        name
        for name in ("weight_names", "num_weights", "num_outputs", "credit", "signature")
        if not hasattr(model, name)
    ]
    if missing or not callable(model):
        raise InputError(
            f"model: got {type(model).__name__} without {', '.join(missing) or '__call__'}, "
            f"expected a model such as QNN, or anything that satisfies Trainable."
        )
    shape = (model.num_outputs, model.num_weights)
    if model.num_weights < 1 or model.num_outputs < 1:
        raise InputError(f"model: got {shape} outputs and weights, expected at least one of each.")
    if model.credit.shape != shape or model.credit.dtype != bool:
        raise InputError(
            f"model: credit is {model.credit.dtype} {model.credit.shape}, expected bool {shape} "
            f"(outputs, weights)."
        )


def check_extras(model: Any, estimator: Any, augment: Any, regularisation: Any) -> None:
    """Raise ``InputError`` where a trainer's augmentation or regularisation cannot be used."""
    if augment is not None and not callable(augment):
        raise InputError(
            f"augment: got {augment!r}, expected Shifts or a callable (X, seed, step) -> X."
        )
    if regularisation is None:
        return
    if not isinstance(regularisation, L2):
        raise InputError(f"regularisation: got {regularisation!r}, expected an L2 record.")
    regularisation.check(model.weight_names)
    if isinstance(estimator, Mover):
        raise InputError(
            f"regularisation: {type(estimator).__name__} takes whole steps by the loss alone and "
            f"does not see it; leave it None, or take an estimator of gradients."
        )


def positive(name: str, value: Any) -> int:
    """Return a whole number above 0 or raise ``InputError``."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 < value < 2**32:
        raise InputError(f"{name}: got {value!r}, expected a whole number, 1 or above.")
    return int(value)


def check_seed(seed: Any) -> int:
    """Return a seed or raise ``InputError``."""
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**64:
        raise InputError(f"seed: got {seed!r}, expected a whole number from 0 to 2^64 - 1.")
    return int(seed)


def check_finite_loss(value: float, step: int) -> None:
    """Raise ``InputError`` when the loss stopped being a number."""
    if not math.isfinite(value):
        raise InputError(
            f"loss: became {value} at step {step}, expected finite numbers; lower `a` or "
            f"`first_step`, or check that the loss is finite for every output."
        )
