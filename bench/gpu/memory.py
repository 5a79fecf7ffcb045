"""How much memory of a GPU is in use, as the driver counts it: the same for every peer."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType
from typing import Any

INTERVAL = 0.005  # seconds between two looks


class DeviceMemory:
    """Watches a device; the peak of its use between entering and leaving.

    All processes count, so nobody else may allocate meanwhile. Without a driver everything is 0.
    """

    def __init__(self, device: int = 0, library: str = "libcuda.so.1") -> None:
        self.device, self.peak = device, 0
        self._stop = threading.Event()
        self._cuda: Any
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError:
            self._cuda = None
        self._context = ctypes.c_void_p()

    def __enter__(self) -> DeviceMemory:
        self.peak = 0
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def used(self) -> int:
        """Bytes in use now, by everybody."""
        if self._cuda is None or self._cuda.cuInit(0):
            return 0
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        failed = (
            self._retain()
            or self._cuda.cuCtxSetCurrent(self._context)
            or self._cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        )
        return 0 if failed else total.value - free.value

    def _retain(self) -> int:
        """Take hold of the context that all libraries of the process share; an error code."""
        if self._context:
            return 0
        device = ctypes.c_int()
        code: int = self._cuda.cuDeviceGet(
            ctypes.byref(device), self.device
        ) or self._cuda.cuDevicePrimaryCtxRetain(ctypes.byref(self._context), device)
        return code

    def _watch(self) -> None:
        # The context that used() makes current is this thread's alone.
        while True:
            self.peak = max(self.peak, self.used())
            if self._stop.wait(INTERVAL):
                self.peak = max(self.peak, self.used())
                return
