"""Plans kept on disk, so that no topology is searched twice on one machine."""

from __future__ import annotations

import functools
import json
import logging
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from tn_qnn.errors import PlanError, TnQnnError
from tn_qnn.files import read_json, write_json
from tn_qnn.plan.plan import Path, check_path
from tn_qnn.plan.topology import Topology

FORMAT = 1
FOLDER_VARIABLE = "TN_QNN_CACHE_DIR"
IN_MEMORY = 256  # entries

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What is kept of a plan: costs are computed anew from it, never read."""

    path: Path
    sliced: tuple[int, ...]
    seconds: float


class PlanCache:
    """A folder with one JSON file a plan, and the latest entries in memory.

    Files are written atomically, so any number of processes may share a folder. A file that is
    damaged, foreign or does not fit its topology is logged as a warning and planned anew; a
    folder that cannot be written is logged once, and the cache goes on in memory.

    Parameters
    ----------
    folder
        Where the files are; made when first written. Default: ``$TN_QNN_CACHE_DIR``, or the user's
        cache folder of the platform.

    Examples
    --------
    >>> import tempfile
    >>> topology = Topology(((0, 1), (1, 2)), (0, 2), (2, 2, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PlanCache(folder).put("a" * 64, Entry(((0, 1),), (), 0.1))
    ...     PlanCache(folder).get("a" * 64, topology)
    Entry(path=((0, 1),), sliced=(), seconds=0.1)
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = FilePath(folder) if folder is not None else default_folder()
        self._memory: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._writable = True

    def file(self, key: str) -> FilePath:
        """Return the file of a key."""
        return self.folder / f"{key}.json"

    def get(self, key: str, topology: Topology) -> Entry | None:
        """Return the entry of a key if there is one that is valid for ``topology``."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        try:
            entry = self._read(key, topology)
        except FileNotFoundError:
            return None
        # ValueError: an integer of thousands of digits; RecursionError: deep nesting.
        except (TnQnnError, OSError, ValueError, RecursionError) as error:
            log.warning("%s is no plan (%s); planning anew", self.file(key), error)
            return None
        self._remember(key, entry)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; a folder that cannot be written is a warning in the log."""
        self._remember(key, entry)
        if not self._writable:
            return
        value = {"format": FORMAT, "key": key, "path": json.dumps(entry.path)}
        value |= {"sliced": list(entry.sliced), "seconds": entry.seconds}
        try:
            write_json(self.file(key), value)
        except OSError as error:
            self._writable = False
            log.warning(
                "plans are not kept in %s (%s); set %s to another folder",
                self.folder,
                error,
                FOLDER_VARIABLE,
            )

    def clear(self) -> None:
        """Forget every entry, in memory and on disk."""
        with self._lock:
            self._memory.clear()
        for file in self.folder.glob("*.json"):
            if len(file.stem) == 64:
                file.unlink(missing_ok=True)

    def _remember(self, key: str, entry: Entry) -> None:
        with self._lock:
            self._memory[key] = entry
            self._memory.move_to_end(key)
            while len(self._memory) > IN_MEMORY:
                self._memory.popitem(last=False)

    def _read(self, key: str, topology: Topology) -> Entry:
        found = self.file(key).stat()
        # Bounds what a hostile file can make us read; a pipe or a device would block.
        most = 4096 + 64 * (topology.num_tensors + len(topology.sizes))
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise PlanError(f"no regular file of at most {most} bytes")
        value = read_json(self.file(key))
        if not isinstance(value, dict) or value.get("format") != FORMAT or value.get("key") != key:
            raise PlanError(f"not a plan of format {FORMAT} with this key")
        return _entry(value, topology)


def _entry(value: dict[str, Any], topology: Topology) -> Entry:
    """Check everything that a file says against the topology that it is to serve."""
    path, sliced, seconds = (value.get(name) for name in ("path", "sliced", "seconds"))
    if not isinstance(path, str) or not isinstance(sliced, list):
        raise PlanError("path or sliced is missing")
    steps = json.loads(path)
    if not isinstance(steps, list):
        raise PlanError("path is no list")
    summed = {i for term in topology.inputs for i in term} - set(topology.output)
    if any(type(i) is not int or i not in summed for i in sliced) or len({*sliced}) < len(sliced):
        raise PlanError("sliced names something that is not summed")
    if type(seconds) is not float or not 0.0 <= seconds < 1e9:
        raise PlanError("seconds is no time")
    return Entry(check_path(steps, topology.num_tensors), tuple(sliced), seconds)


def default_folder() -> FilePath:
    """Return ``$TN_QNN_CACHE_DIR``, or the user's cache folder of this platform."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return FilePath(given) / "plans"
    import platformdirs

    return FilePath(platformdirs.user_cache_dir("tn_qnn")) / "plans"


@functools.lru_cache(maxsize=8)
def _shared(folder: FilePath) -> PlanCache:
    return PlanCache(folder)


def default_cache() -> PlanCache:
    """Return this process's cache over the default folder, as the environment names it now."""
    return _shared(default_folder())
