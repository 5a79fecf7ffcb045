"""A stand-in for CuPy 14: the part that tn_qnn uses, on NumPy arrays and emulated kernels.

``make_cupy()`` returns a module to be put in place of ``cupy`` in ``sys.modules``. It offers less
than CuPy, never more (tests/emulation/test_standin.py holds its names and arguments against the
real module), refuses what CuPy refuses while a stream captures, and reports what a GPU would
silently get wrong (`StandinError`). Its own settings are in ``cupy._standin``.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .cupy_standin_api import Api
from .cupy_standin_array import ArrayBase
from .cupy_standin_device import Device, Machine, MemoryPool, allocate, using_allocator
from .cupy_standin_errors import (
    CompileException,
    CUDADriverError,
    CUDARuntimeError,
    OutOfMemoryError,
    StandinError,
)
from .cupy_standin_functions import functions
from .cupy_standin_streams import Event, Graph, Stream, get_elapsed_time

SHARED_DEFAULT, SHARED_LIMIT = 48 * 1024, 232448
LIMITS = (2**31 - 1, 65535, 65535)


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


@dataclass
class Settings:
    """``cupy._standin``: what a test may set and look at.

    Attributes
    ----------
    machine : Machine
        Counters, memory, streams.
    libraries : dict of source text to library
        What ``RawModule`` runs for a source that is no file of the folder in its options.
    compiler : callable, optional
        Called before each compilation; may raise.
    """

    machine: Machine
    libraries: dict[str, Any]
    compiler: Callable[[], None] | None = None

    def fail_allocation(self, number: int = 1) -> None:
        """Let the ``number``-th allocation from now raise ``OutOfMemoryError``."""
        self.machine.fail_in = number


class RawKernel:
    """A kernel on a device, run by the emulator; as ``cupy.RawKernel`` (raw.pyx:10).

    Of an array it gets the address of the first element, whatever the strides (raw.pyx:48).
    """

    def __init__(self, api: Api, library: Any, expression: str) -> None:
        self._api, self._library, self.name = api, library, expression
        self._signature = library.signature(expression)
        self._shared = SHARED_DEFAULT

    shared_size_bytes = 0
    max_threads_per_block = 1024

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value: int) -> None:
        if not 0 <= value <= SHARED_LIMIT:
            raise CUDADriverError(1)
        self._shared = int(value)

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, *, shared_mem: int = 0
    ) -> None:
        api, machine = self._api, self._api.machine
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError("grid and block must be tuples")  # function.pyx:142
        grid, block = (tuple(max(1, int(n)) for n in size) for size in (grid, block))
        if any(n > limit for n, limit in zip(grid, LIMITS, strict=False)):
            raise CUDADriverError(1)
        if shared_mem > self._shared:
            raise CUDADriverError(1)
        for arg in args:
            if not isinstance(arg, ArrayBase | np.generic):
                # CuPy would pass a Python int as a long long, whatever the parameter is.
                raise StandinError(f"{self.name}: {arg!r} is neither an array nor a NumPy scalar")
        arrays = [arg for arg in args if isinstance(arg, ArrayBase)]
        api.check(*arrays)
        values = tuple(arg._values if isinstance(arg, ArrayBase) else arg for arg in args)
        self._signature.check(values)
        machine.counters.launches.append(self.name)

        def run() -> None:
            self._library.launch(self.name, grid, block, values, shared_mem)

        machine.run(run, [a.data.mem.block for a in arrays if a.data.mem is not None])


class RawModule:
    """CUDA sources, compiled when the first kernel is asked for (raw.pyx:306)."""

    _api: Api

    def __init__(
        self,
        *,
        code: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        name_expressions: Any = None,
    ) -> None:
        if code is None or not isinstance(options, tuple) or backend != "nvrtc":
            raise TypeError("RawModule(code=str, options=tuple, name_expressions=...) expected")
        self.code, self.options = code, options
        self.name_expressions = tuple(name_expressions or ())
        self._kernels: dict[tuple[int, str], RawKernel] = {}

    def get_function(self, name: str) -> RawKernel:
        machine = self._api.machine
        key = machine.device, name
        if name not in self.name_expressions:
            raise StandinError(f"{name} is not among the name_expressions")
        if machine.stream._capturing:
            # Loading a module may wait for the device: it belongs before the capture.
            raise StandinError(f"{name} is compiled while the stream captures")
        settings = self._api.module._standin
        if settings.compiler is not None:
            settings.compiler()
        return RawKernel(self._api, self._library(settings), key[1])

    def _library(self, settings: Settings) -> Any:
        if self.code in settings.libraries:
            return settings.libraries[self.code]
        folders = [Path(o[2:]) for o in self.options if o.startswith("-I")]
        if "-std=c++17" not in self.options or not folders:
            raise StandinError(f"options {self.options}: -std=c++17 and -I of the sources expected")
        # Included files are not in the key of CuPy's cache (compiler.py:698): a define has to be.
        if not any(o.startswith("-D") and "=" in o for o in self.options):
            raise StandinError(
                f"options {self.options}: a define with the sources' digest expected"
            )
        from .build import emulated

        for path in folders[0].glob("*.cu"):
            if path.read_text(encoding="utf-8") == self.code:
                return emulated(path)
        raise CompileException(f"no file in {folders[0]} has this source")


def _runtime(machine: Machine) -> ModuleType:
    def getDeviceCount() -> int:
        machine.check()
        return machine.devices

    def getDeviceProperties(device: int) -> dict[str, Any]:
        machine.check()
        if not 0 <= device < machine.devices:
            raise CUDARuntimeError(101)
        return {
            "name": b"Stand-in",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 132,
            "sharedMemPerBlock": SHARED_DEFAULT,
            "sharedMemPerBlockOptin": SHARED_LIMIT,
            "totalGlobalMem": machine.memory,
        }

    def memGetInfo() -> tuple[int, int]:
        return Device(machine).mem_info

    return _module(
        "cupy.cuda.runtime",
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=getDeviceCount,
        getDevice=lambda: machine.device,
        setDevice=machine.set_device,
        getDeviceProperties=getDeviceProperties,
        memGetInfo=memGetInfo,
        deviceSynchronize=lambda: Device(machine).synchronize(),
        driverGetVersion=lambda: 13000 if machine.devices and not machine.status else 0,
        runtimeGetVersion=lambda: 13020,
        is_hip=False,
    )


def _cuda(machine: Machine, api: Api) -> ModuleType:
    def bound(kind: type) -> Any:
        return type(kind.__name__, (kind,), {"__init__": functools.partialmethod(_start, machine)})

    def _start(self: Any, owner: Machine, *args: Any, **kwargs: Any) -> None:
        type(self).__mro__[1].__init__(self, owner, *args, **kwargs)

    def alloc_pinned_memory(size: int) -> Any:
        kind = type("PinnedMemoryPointer", (ctypes.c_char * max(size, 1),), {})
        memory = kind()
        address = ctypes.addressof(memory)
        api.pinned[address] = size
        weakref.finalize(memory, api.pinned.pop, address)
        return memory

    stream = bound(Stream)
    stream.null = machine.null
    return _module(
        "cupy.cuda",
        Device=bound(Device),
        Stream=stream,
        Event=bound(Event),
        Graph=Graph,
        MemoryPool=bound(MemoryPool),
        using_allocator=functools.partial(using_allocator, machine),
        alloc=functools.partial(allocate, machine),
        alloc_pinned_memory=alloc_pinned_memory,
        get_current_stream=lambda: machine.stream,
        get_elapsed_time=get_elapsed_time,
        is_available=lambda: bool(machine.devices) and not machine.status,
        memory=_module("cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError),
        driver=_module("cupy.cuda.driver", CUDADriverError=CUDADriverError),
        compiler=_module("cupy.cuda.compiler", CompileException=CompileException),
        runtime=_runtime(machine),
    )


def make_cupy(
    devices: int = 1, memory: int = 8 << 30, *, lazy: bool = False, status: int = 0
) -> ModuleType:
    """Return a new stand-in for the module ``cupy``.

    Parameters
    ----------
    devices : int
        GPUs of the machine.
    memory : int
        Bytes of each.
    lazy : bool
        Run work only when something waits for it: shows work that nothing orders.
    status : int
        A CUDA error that every call raises, such as 35 for a driver that is too old.
    """
    machine = Machine(devices, memory, lazy, status)
    cp = ModuleType("cupy")
    api = Api(machine, cp)
    groups = functions(api)
    tricks = _module("cupy.lib.stride_tricks", **groups["lib.stride_tricks"])
    vars(cp).update(
        groups[""],
        __version__="14.2.0",
        ndarray=api.ndarray,
        RawModule=type("RawModule", (RawModule,), {"_api": api}),
        cuda=_cuda(machine, api),
        linalg=_module("cupy.linalg", **groups["linalg"]),
        lib=_module("cupy.lib", stride_tricks=tricks),
        get_default_memory_pool=lambda: machine.pool,
        is_available=lambda: bool(machine.devices) and not machine.status,
        _standin=Settings(machine, {}),
    )
    return cp


def install(cp: ModuleType, setitem: Callable[[dict, str, Any], None]) -> None:
    """Put a stand-in in place of ``cupy``; ``setitem`` is pytest's ``monkeypatch.setitem``."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]:
        setitem(sys.modules, name, None)
    setitem(sys.modules, "cupy", cp)
