"""Model files: a folder with ``model.json`` and an npz file, enough to predict without any code.

``model.json`` names the npz file by its content and is replaced last, so that a process killed at
any moment leaves the old pair or the new one. A training run's checkpoint may lie in the same
folder: its weights are taken where they are further than those of the model file.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from tn_qnn.arrays import to_numpy
from tn_qnn.backends import BACKENDS
from tn_qnn.errors import BackendError, CheckpointError, InputError, PlanError
from tn_qnn.files import read_json, read_npz, write_atomic, write_npz
from tn_qnn.models import fields
from tn_qnn.models.head import LinearHead, Model
from tn_qnn.models.qnn import QNN
from tn_qnn.models.serialise import (
    circuits_from_json,
    circuits_to_json,
    dumps,
    observables_from_json,
    observables_to_json,
)
from tn_qnn.plan.budget import Search
from tn_qnn.train.checkpoint import digest, has_checkpoint, load_checkpoint

FILE = "model.json"
FORMAT = "tn_qnn model"
VERSION = 1
KINDS = ("qnn", "classifier", "regressor")
Weights = NDArray[np.float64]


class Machine(TypedDict, total=False):
    """Options of a QNN that say where and how it computes, not what: loading may change them.

    Attributes
    ----------
    backend, devices, memory, threads
        As :class:`~tn_qnn.models.qnn.QNN` takes them.
    """

    backend: str
    devices: Sequence[int] | None
    memory: float
    threads: int | None


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes
    ----------
    kind
        "qnn", or the kind of estimator.
    model
        The network, with its head where it has one.
    weights
        Shape (W,), float64; None where nothing is trained yet.
    step
        Training steps behind the weights, None where that is not known.
    facts
        What an estimator adds, as JSON values.
    arrays
        What an estimator adds, as float64 arrays of one axis.
    """

    kind: str
    model: Model
    weights: Weights | None
    step: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Weights] = field(default_factory=dict)


def save_model(folder: str | os.PathLike[str], model: Model, weights: Any = None) -> None:
    """Save a model with its weights as ``model.json`` and an npz file.

    Parameters
    ----------
    folder
        Made where it is missing; a model file that is there already is replaced.
    model : QNN or LinearHead
    weights : (W,) or mapping, optional
        May be left out where a training run keeps its checkpoint in the same folder.

    Raises
    ------
    InputError
        When the weights do not fit the model.
    CheckpointError
        When the folder cannot be written; what it held before is left as it was.

    Examples
    --------
    >>> import tempfile, tn_qnn as tq
    >>> model = tq.QNN(tq.Circuit(1).ry(tq.weight("a"), 0), [tq.Z(0)], dtype="float64")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(folder, model, {"a": np.pi / 3})
    ...     same, weights = load_model(folder)
    >>> same(weights).round(6)
    array([[0.5]])
    """
    values = None if weights is None else checked_weights(model, weights)
    write_model(folder, SavedModel("qnn", model, values))


def load_model(folder: str | os.PathLike[str], **machine: Unpack[Machine]) -> tuple[Model, Weights]:
    """Read the model and the weights that :func:`save_model` or an estimator's ``save`` wrote.

    Parameters
    ----------
    folder
        Of a model file; where a checkpoint in it is further, its weights are taken.
    machine
        ``backend``, ``devices``, ``memory``, ``threads``: in the place of those that were saved.
        A file keeps the backend that was asked for: "auto" is what is best where it is loaded.
        It keeps no devices: they belong to a machine, not to a model.

    Returns
    -------
    model : QNN or LinearHead
    weights : ndarray, shape (W,), float64

    Raises
    ------
    CheckpointError
        When there is no model file, or it is damaged, foreign, of an unknown version, or without
        weights. Nothing in a file can run code.
    BackendError
        When this machine lacks the backend; ``backend="auto"`` loads the model nevertheless.
    """
    saved = read_model(folder, **machine)
    return saved.model, trained_weights(folder, saved)[0]


def checked_weights(model: Model, weights: Any) -> Weights:
    """One set of weights as float64 (W,), from a mapping or an array.

    Raises
    ------
    InputError
        When it has another shape, an unknown name, or numbers that are not finite.
    """
    named = weights is None or isinstance(weights, Mapping)
    sets, single = model._checked_weights(weights if named else to_numpy(weights), 1)
    if not single:
        raise InputError(f"weights: shape ({model.num_weights},) expected, not {sets.shape}")
    return np.array(sets[0])


def write_model(folder: str | os.PathLike[str], saved: SavedModel) -> None:
    """Write a model file; see :func:`save_model`."""
    arrays = dict(saved.arrays)
    if saved.weights is not None:
        arrays["weights"] = saved.weights
    content = digest(arrays)
    name = f"model-{content[:16]}.npz"
    head = {
        "format": FORMAT,
        "version": VERSION,
        "kind": saved.kind,
        "signature": saved.model.signature,
        "step": saved.step,
        "arrays": {key: len(array) for key, array in arrays.items()},
        "file": name,
        "digest": content,
        "model": model_to_json(saved.model),
        "facts": dict(saved.facts),
    }
    folder = Path(folder)
    with _writing(folder):
        write_npz(folder / name, **arrays)
        write_atomic(folder / FILE, dumps(head) + b"\n")
        for old in folder.glob("model-*.npz"):
            if old.name != name:
                old.unlink(missing_ok=True)


def read_model(folder: str | os.PathLike[str], **machine: Unpack[Machine]) -> SavedModel:
    """Read a model file, with every value checked; see :func:`load_model`."""
    path = Path(folder) / FILE
    head = _read_head(path)
    where = str(path)
    kind = fields.text(head["kind"], f"{where}: kind", KINDS)
    step = head["step"] if head["step"] is None else fields.whole(head["step"], f"{where}: step")
    model = model_from_json(head["model"], f"{where}: model", **machine)
    if model.signature != head["signature"]:
        raise CheckpointError(f"{where}: damaged: the circuits are not those that were saved")
    arrays = _read_arrays(path, head)
    weights = arrays.pop("weights", None)
    if weights is not None and weights.shape != (model.num_weights,):
        raise CheckpointError(f"{where}: {len(weights)} weights for a model of {model.num_weights}")
    facts = fields.record(head["facts"], f"{where}: facts")
    return SavedModel(kind, model, weights, step, facts, arrays)


def has_model(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds a model file with weights, or one that cannot be read."""
    if not (Path(folder) / FILE).exists():
        return False
    try:
        return read_model(folder).weights is not None
    except (CheckpointError, BackendError):
        return True


def trained_weights(
    folder: str | os.PathLike[str], saved: SavedModel, best: bool = False
) -> tuple[Weights, int | None]:
    """Weights and their step, of a model file or, where that is further, of its checkpoint.

    Parameters
    ----------
    folder, saved
        Where it was read, and what was read.
    best
        Take the checkpoint's best validated weights, where it has any.

    Raises
    ------
    CheckpointError
        When there are no weights, or the checkpoint is damaged or of another model.
    """
    if saved.weights is not None and (saved.step is None or not has_checkpoint(folder)):
        return saved.weights, saved.step
    if not has_checkpoint(folder):
        raise CheckpointError(f"{folder}: the model has no weights and there is no checkpoint")
    facts, arrays = load_checkpoint(folder)
    where = f"{folder}: checkpoint"
    identity = fields.record(facts.get("identity"), where, ["model"])
    step = fields.whole(fields.record(facts.get("state"), where, ["step"])["step"], where)
    if saved.weights is not None and saved.step is not None and step <= saved.step:
        return saved.weights, saved.step
    if identity["model"] != saved.model.signature:
        raise CheckpointError(f"{where} is of another model than {FILE}")
    weights = arrays.get("best_weights") if best else None
    weights = arrays.get("weights") if weights is None else weights
    if weights is None or weights.shape != (saved.model.num_weights,) or weights.dtype != float:
        raise CheckpointError(f"{where} has no weights that fit the model")
    return weights, step


def model_to_json(model: Model) -> dict[str, Any]:
    """A model as JSON values, without its weights.

    Examples
    --------
    >>> import tn_qnn as tq
    >>> model_to_json(tq.QNN(tq.Circuit(1).h(0), [tq.X(0)]))["circuits"]
    {'weights': [], 'circuits': [[1, [['h', [0]]]]]}
    """
    if isinstance(model, LinearHead):
        head = {"outputs": model.num_outputs, "bias": model.bias}
        return {**model_to_json(model.model), "head": head}
    return {
        "circuits": circuits_to_json(model.circuits),
        "observables": observables_to_json(model.observables),
        "options": {
            "backend": model.requested_backend,
            "dtype": model.dtype,
            "search": _search_to_json(model.search),
            "memory": model.budget.memory,
            "threads": getattr(model.backend, "threads", None),
            "sets": model.sets,
            "samples": model.samples,
        },
    }


def model_from_json(value: Any, where: str, **machine: Unpack[Machine]) -> Model:
    """The inverse of :func:`model_to_json`; ``machine`` as in :func:`load_model`.

    Raises
    ------
    CheckpointError
        When anything in it is not legal; the message names the place.
    BackendError
        When this machine lacks the backend.
    """
    if unknown := set(machine) - set(Machine.__annotations__):
        raise TypeError(f"{unknown.pop()!r} is not among {', '.join(Machine.__annotations__)}")
    fields.record(value, where, ["circuits", "observables", "options"])
    circuits = circuits_from_json(value["circuits"], f"{where}.circuits")
    observables = observables_from_json(value["observables"], f"{where}.observables")
    here = f"{where}.options"
    names = ["backend", "dtype", "search", "memory", "threads", "sets", "samples"]
    given = fields.record(value["options"], here, names)
    backend = fields.text(given["backend"], f"{here}.backend", BACKENDS)
    threads = given["threads"]
    threads = None if threads is None else fields.whole(threads, f"{here}.threads", 1, 2**16)
    options: dict[str, Any] = {
        "backend": backend,
        "dtype": fields.text(given["dtype"], f"{here}.dtype"),
        **{name: fields.whole(given[name], f"{here}.{name}", 1, 2**31)
           for name in ("sets", "samples")},
        "search": _search_from_json(given["search"], f"{here}.search"),
        "memory": fields.real(given["memory"], f"{here}.memory"),
        # They are those of the backend that was saved.
        "threads": None if "backend" in machine else threads,
    }  # fmt: skip
    try:
        model = QNN(circuits, observables, **{**options, **machine})
    except InputError as error:
        raise CheckpointError(f"{where}: {error}") from error
    except BackendError as error:
        if machine:
            raise  # of what was asked for, not of the file
        raise BackendError(
            f"{where}: saved with backend={backend!r}; load it with another (predict --backend):"
            f" {error}"
        ) from error
    return _with_head(model, value.get("head"), f"{where}.head")


def _with_head(model: QNN, value: Any, where: str) -> Model:
    if value is None:
        return model
    fields.record(value, where, ["outputs", "bias"])
    outputs = fields.whole(value["outputs"], f"{where}.outputs", 1, 2**31)
    try:
        return LinearHead(model, outputs, value["bias"])
    except InputError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _search_to_json(search: Search) -> Any:
    level = search.level
    return [level if isinstance(level, str) else [list(pair) for pair in level], search.seconds]


def _search_from_json(value: Any, where: str) -> Search:
    level, seconds = fields.items(value, where, 2)
    if not isinstance(level, str):
        pairs = [fields.items(pair, where, 2) for pair in fields.items(level, where)]
        level = [[fields.whole(i, where) for i in pair] for pair in pairs]
    try:
        return Search(level, None if seconds is None else fields.real(seconds, where))
    except PlanError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head = read_json(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: no readable model file ({error.strerror}); give the folder of a saved model"
            " or of a training run"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise CheckpointError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError(f"{path}: damaged, or not a {FORMAT}")
    if head.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {head.get('version')!r}, expected {VERSION}; use the release of"
            " tn_qnn that wrote it"
        )
    names = ["kind", "signature", "step", "arrays", "file", "digest", "model", "facts"]
    return fields.record(head, str(path), names)


def _read_arrays(path: Path, head: Mapping[str, Any]) -> dict[str, Weights]:
    where = str(path)
    lengths = {
        name: fields.whole(length, f"{where}: arrays", 0, 2**40)
        for name, length in fields.record(head["arrays"], f"{where}: arrays").items()
    }
    file = path.parent / Path(fields.text(head["file"], f"{where}: file")).name
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
        # A few megabytes can unpack to anything: look before reading.
        if size > sum(8 * length + 1024 for length in lengths.values()):
            raise CheckpointError(f"{file}: larger than the model; damaged or not of this model")
        arrays = dict(read_npz(file))
    except OSError as error:
        raise CheckpointError(f"{file}: missing or unreadable ({error.strerror})") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError,
            MemoryError, OverflowError) as error:  # fmt: skip
        raise CheckpointError(f"{file}: not a readable npz file ({error})") from error
    found = {name: array.shape for name, array in arrays.items() if array.dtype == float}
    if found != {name: (length,) for name, length in lengths.items()}:
        raise CheckpointError(f"{file}: does not hold the arrays that {FILE} names")
    if digest(arrays) != head["digest"]:
        raise CheckpointError(f"{file}: damaged: its content is not what was saved")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise CheckpointError(f"{file}: NaN or infinite numbers")
    return arrays


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error.strerror}); what was saved there before is"
            " unchanged. Free space or give another folder"
        ) from error
