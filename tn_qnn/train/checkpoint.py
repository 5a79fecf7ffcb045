"""Checkpoints: ``checkpoint.json`` names an npz file by its content and is replaced last.

A process killed at any moment leaves the old pair or the new pair, never a mixture.
"""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tn_qnn.arrays import Array, to_numpy
from tn_qnn.errors import CheckpointError
from tn_qnn.files import read_json, read_npz, write_json, write_npz
from tn_qnn.train.history import History

FILE = "checkpoint.json"
FORMAT = "tn_qnn checkpoint"
VERSION = 1


def digest(arrays: Mapping[str, Array | None]) -> str:
    """Return a SHA-256 of named arrays: names, dtypes, shapes and bytes.

    Examples
    --------
    >>> digest({"X": np.zeros(3)}) == digest({"X": np.zeros(4)})
    False
    """
    result = hashlib.sha256()
    for name in sorted(arrays):
        value = arrays[name]
        if value is None:
            result.update(f"{name}: none;".encode())
            continue
        array = np.ascontiguousarray(to_numpy(value))
        result.update(f"{name}: {array.dtype.str} {np.shape(value)};".encode())
        result.update(array.tobytes() if array.dtype.kind != "O" else repr(array.tolist()).encode())
    return result.hexdigest()


def environment(model: Any) -> dict[str, Any]:
    """Return what the last bits of a result may depend on: versions, and what the model adds."""
    try:
        version = metadata.version("tn_qnn")
    except metadata.PackageNotFoundError:
        version = "source"
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tn_qnn": version,
        "machine": platform.machine(),
        "model": dict(getattr(model, "environment", {})),
    }


def save_checkpoint(
    folder: str | os.PathLike[str], facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write facts and arrays so that a reader finds both of one moment.

    Raises
    ------
    CheckpointError
        When the folder cannot be written; what it held before is left as it was.
    """
    folder = Path(folder)
    content = digest(arrays)
    name = f"arrays-{content[:16]}.npz"
    header = {"format": FORMAT, "version": VERSION, "arrays": name, "digest": content}
    with _writing(folder):
        write_npz(folder / name, **arrays)
        write_json(folder / FILE, {**header, **facts})
        # Leftovers: the arrays of older checkpoints, and parts of files from killed processes.
        for old in [*folder.glob("arrays-*.npz"), *folder.glob(".*.part")]:
            if old.name != name:
                old.unlink(missing_ok=True)


def save_csv(folder: str | os.PathLike[str], history: History) -> None:
    """Write ``history.csv`` for people; a checkpoint does not need it."""
    with _writing(folder):
        history.to_csv(Path(folder) / "history.csv")


def has_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Return whether the folder holds a checkpoint."""
    return (Path(folder) / FILE).exists()


def load_checkpoint(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """Read facts and arrays.

    Raises
    ------
    CheckpointError
        When there is no checkpoint, or it is truncated, damaged or of an unknown version.
    """
    path = Path(folder) / FILE
    try:
        facts = read_json(path)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint: {folder} holds no readable {FILE} ({error}); train without resume first "
            f"or give the folder of a run."
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint: {path} is damaged or not a {FORMAT}.")
    if facts.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint: {path} has version {facts.get('version')!r}, expected {VERSION}; use "
            f"the release of tn_qnn that wrote it."
        )
    file = path.parent / Path(str(facts.get("arrays"))).name
    try:
        arrays = read_npz(file)
    except OSError as error:
        raise CheckpointError(f"checkpoint: {file} is missing or unreadable ({error}).") from error
    if digest(arrays) != facts.get("digest"):
        raise CheckpointError(f"checkpoint: {file} is damaged: its content is not what was saved.")
    return facts, arrays


def check_identity(
    folder: str | os.PathLike[str], saved: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Raise ``CheckpointError`` naming everything that differs from the saved run."""
    different = [
        f"{name} ({_short(saved.get(name))} there, {_short(asked[name])} here)"
        for name in asked
        if saved.get(name) != asked[name]
    ]
    if different:
        raise CheckpointError(
            f"checkpoint: {folder} is of another run: different {', '.join(different)}. Resume "
            f"with what that run was given, or train into another folder."
        )


@contextmanager
def _writing(folder: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"checkpoint: {folder} cannot be written ({error}); what was saved there before is "
            f"unchanged. Free space or give another folder."
        ) from error


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
