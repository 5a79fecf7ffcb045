"""Files that are either whole or absent, and that can never run code when read."""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tn_qnn.errors import CheckpointError

#: What numpy and zipfile raise on a damaged or hostile archive.
_DAMAGED = (
    ValueError,
    EOFError,
    KeyError,
    OSError,
    MemoryError,
    NotImplementedError,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Raises
    ------
    OSError
        When the folder cannot be written; an existing file is left as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, 0o666 & ~_umask())  # mkstemp makes files for the owner alone
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    old = os.umask(0o077)
    os.umask(old)
    return old


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_npz(path: str | os.PathLike[str], **arrays: np.ndarray) -> None:
    """Write named arrays as an npz file, atomically."""
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON; a damaged file is a :class:`~tn_qnn.errors.CheckpointError`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable JSON file ({error})") from error


def read_npz(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """Read an npz file without pickle; a damaged file is a ``CheckpointError``."""
    data = Path(path).read_bytes()
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        raise CheckpointError(f"{path}: not a readable npz file ({error})") from error
