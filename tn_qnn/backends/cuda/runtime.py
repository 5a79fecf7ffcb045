"""The one object through which the CUDA backend reaches the GPU.

It gets CuPy as an argument, so that tests can hand it a stand-in. All its work goes to a stream
of its own, so that two models do not wait for each other, and one thread at a time uses it, so
that two threads with one model do not mix their work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from tn_qnn.backends.cuda.detect import INITIALIZATION
from tn_qnn.backends.cuda.ops import CudaOps
from tn_qnn.backends.cuda.sources import ALL_EXPRESSIONS, KERNELS, options, read
from tn_qnn.errors import BackendError

Array = Any
DEFAULT_SHARED = 48 * 1024  # bytes of dynamic shared memory that need no permission
OUT_OF_MEMORY = 2  # of the CUDA runtime's and of the driver's errors
FORKED = (
    "device: CUDA does not work in a process that was forked after the GPU was used: start "
    'processes by "spawn", or make the model in the new process.'
)

LAST_DEFAULT = 2  # streams with larger handles are none of CUDA's default ones
FOREIGN_CAPTURE = (
    "capture: the current stream captures a graph, which would not keep the memory that a model "
    "works in: let model.device.capture(function) make the graph."
)


@dataclass(frozen=True)
class DeviceFacts:
    """What a GPU is.

    Attributes
    ----------
    name : str
    capability : (int, int)
        Compute capability, major and minor.
    multiprocessors : int
    shared_bytes : int
        Most shared memory of a block, where the kernel has permission.
    memory : int
        Bytes, all of it.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    memory: int


@dataclass(frozen=True, eq=False)
class Graph:
    """Work that was captured, to be launched as one; it keeps the memory that the work uses.

    Attributes
    ----------
    values : object
        What the captured function returned: arrays that each launch fills anew.
    """

    runtime: CudaRuntime
    values: Any
    _graph: Any
    # CUDA keeps no reference: neither to the temporaries nor to what the function works on.
    _held: tuple[Any, ...]

    def launch(self) -> None:
        """Do the work again, on the runtime's stream; returns before it is done."""
        with self.runtime.use():
            self._graph.launch()


class CudaRuntime:
    """A GPU and a stream on it.

    Parameters
    ----------
    cp : module
        ``cupy``, from :func:`~tn_qnn.backends.cuda.detect.require`.
    device : int
        Number of the GPU, as CUDA counts.

    Raises
    ------
    BackendError
        When there is no such device.
    """

    def __init__(self, cp: ModuleType, device: int = 0) -> None:
        count = cp.cuda.runtime.getDeviceCount()
        if not 0 <= device < count:
            raise BackendError(f"devices: got {device}, but this machine has {count} (from 0).")
        self.cp: Any = cp
        self.device = device
        self.ops = CudaOps(self)
        self._lock = threading.RLock()
        self._process = 0
        self._stream: Any = None
        self._kernels: dict[str, Any] = {}
        self._shared: dict[str, int] = {}  # bytes that kernels have permission for
        self._kept: list[Any] | None = None  # of the capture under way

    @cached_property
    def facts(self) -> DeviceFacts:
        """What the GPU is."""
        self._start()
        found = self.cp.cuda.runtime.getDeviceProperties(self.device)
        return DeviceFacts(
            name=found["name"].decode(),
            capability=(found["major"], found["minor"]),
            multiprocessors=found["multiProcessorCount"],
            shared_bytes=found["sharedMemPerBlockOptin"],
            memory=found["totalGlobalMem"],
        )

    @contextmanager
    def use(self) -> Iterator[None]:
        """Make this device and this runtime's stream current in this thread.

        On entry the stream waits for the stream that was current, on exit that one waits for
        this: arrays of the caller's can be used, results too. May be nested; other threads wait
        outside.

        Raises
        ------
        BackendError
            In a process that was forked after the GPU was used, or where the caller's stream
            captures: its graph would not keep the memory that this runtime's work uses.
        """
        stream = self._start()
        with self._lock, self.cp.cuda.Device(self.device):
            caller = self.cp.cuda.get_current_stream()
            if caller == stream:
                yield
                return
            if caller.ptr > LAST_DEFAULT and caller.is_capturing():
                raise BackendError(FOREIGN_CAPTURE)
            self._order(caller, stream)
            try:
                with stream:
                    yield
            finally:
                self._order(stream, caller)

    def launch(
        self,
        kernel: str,
        variant: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Start a kernel on this runtime's stream.

        Parameters
        ----------
        kernel : str
            A name of ``sources.KERNELS``.
        variant : str
            Its template arguments, as from ``sources.variant``; "" where it has none.
        grid, block : tuple of int
            Blocks, and threads of a block; one to three each, at least 1.
        args : tuple
            Device arrays, of which the kernel gets the first element's address, and NumPy scalars
            of exactly the parameters' types.
        shared : int
            Bytes of dynamic shared memory of a block.

        Raises
        ------
        BackendError
            When the kernel cannot be compiled here, or asks for too much shared memory.
        """
        if self._stream is not None and self.cp.cuda.get_current_stream() == self._stream:
            # inside `use`, as all launches of a model are: microseconds count here
            self.ready(kernel, variant, shared)(grid, block, args, shared_mem=shared)
            return
        with self.use():
            self.ready(kernel, variant, shared)(grid, block, args, shared_mem=shared)

    def ready(self, kernel: str, variant: str, shared: int = 0) -> Any:
        """Return a kernel, compiled, with permission for its shared memory.

        What a graph launches must have been made ready before: nothing compiles in a capture.
        """
        name = kernel + variant
        function = self._kernels.get(name)
        if function is None or shared > self._shared.get(name, DEFAULT_SHARED):
            with self.use():
                function = function or self._compile(kernel, variant)
                if shared > self._shared.get(name, DEFAULT_SHARED):
                    self._permit(name, function, shared)
        return function

    def free_memory(self) -> int:
        """Return the bytes that can still be allocated: free, or unused in CuPy's pool."""
        self._start()
        with self.cp.cuda.Device(self.device) as device:
            return int(device.mem_info[0] + self.cp.get_default_memory_pool().free_bytes())

    def capture(self, function: Callable[[], Any]) -> Graph:
        """Record what a function does on the GPU, without doing it.

        Parameters
        ----------
        function : callable without arguments
            It must have been called once before, with the same sizes: kernels are compiled and
            permissions given outside. It must not look at values on the device, nor take any
            from the host; memory that it allocates belongs to the graph.

        Returns
        -------
        Graph

        Raises
        ------
        BackendError
            Within another capture. What the function itself raises is passed on.
        """
        pool = self.cp.cuda.MemoryPool()
        kept: list[Any] = []
        with self.use():
            if self.capturing:
                raise BackendError("capture: called while this runtime captures.")
            # What the warm-up left in the default pool is of no use to the graph's own.
            self.cp.get_default_memory_pool().free_all_blocks()
            self._stream.begin_capture()
            self._kept = kept
            try:
                with self.cp.cuda.using_allocator(pool.malloc):
                    values = function()
            except BaseException:
                # The stream must leave its capture, which the error may have broken already.
                with suppress(self.cp.cuda.runtime.CUDARuntimeError):
                    self._stream.end_capture()
                raise
            finally:
                self._kept = None
            graph = self._stream.end_capture()
            graph.upload()
        return Graph(self, values, graph, (pool, kept, function))

    @property
    def capturing(self) -> bool:
        """Whether :meth:`capture` is recording now."""
        return self._kept is not None

    def keep(self, thing: object) -> None:
        """Let the graph that is being captured, if any, hold what its work reads or writes."""
        if self._kept is not None:
            self._kept.append(thing)

    def to_device(self, array: Array, dtype: Any = None) -> Array:
        """Return an array on this device, copied only if it is not there with that dtype.

        Host memory from :meth:`pinned` is read while the program goes on: it must not change
        before :meth:`synchronize`, or an event behind the copy.
        """
        with self.use():
            if not isinstance(array, self.cp.ndarray) or array.device.id == self.device:
                return self.cp.asarray(array, dtype=dtype)
            own = self._stream
            with self.cp.cuda.Device(array.device.id):
                array = self.cp.ascontiguousarray(array)
                other = self.cp.cuda.get_current_stream()
                self._order(other, own)
            copy = self.cp.asarray(array, dtype=dtype)
            self._order(own, other)  # or its owner could overwrite the source
            return copy

    def copied(self, array: Array) -> Array:
        """Return a device array on this device, from whatever device it is on."""
        return self.to_device(array)

    def to_host(self, array: Array) -> np.ndarray:
        """Return a NumPy copy of a device array, after all work on this stream."""
        with self.use():
            return np.asarray(self.to_device(array).get())

    def pinned(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return new host memory that the GPU copies to and from while the program goes on."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        if not count:
            return np.empty(shape, dtype=kind)
        self._start()
        memory = self.cp.cuda.alloc_pinned_memory(count * kind.itemsize)
        return np.frombuffer(memory, dtype=kind, count=count).reshape(shape)

    def synchronize(self) -> None:
        """Wait until all work of this runtime is done."""
        stream = self._start()
        with self._lock:  # not while another thread captures
            stream.synchronize()

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that the GPU's memory is full."""
        cuda = self.cp.cuda
        if isinstance(error, cuda.memory.OutOfMemoryError):
            return True
        kinds = (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError)
        return isinstance(error, kinds) and error.status == OUT_OF_MEMORY

    def _start(self) -> Any:
        """Return the stream; made on first use, as a process must not fork after that."""
        if self._stream is not None:
            if self._process != os.getpid():
                raise BackendError(FORKED)
            return self._stream
        with self._lock:
            if self._stream is None:
                self._process = os.getpid()
                try:
                    with self.cp.cuda.Device(self.device):
                        self._stream = self.cp.cuda.Stream(non_blocking=True)
                except self.cp.cuda.runtime.CUDARuntimeError as error:
                    if error.status == INITIALIZATION:
                        raise BackendError(FORKED) from error
                    raise BackendError(
                        f"device: GPU {self.device} does not start: {error}"
                    ) from error
        return self._stream

    def _order(self, first: Any, then: Any) -> None:
        """Let one stream wait for what another has been given so far."""
        then.wait_event(first.record(self.cp.cuda.Event(disable_timing=True)))

    def _compile(self, kernel: str, variant: str) -> Any:
        file, name = KERNELS[kernel].file, kernel + variant
        if name not in ALL_EXPRESSIONS[file]:
            raise BackendError(f"kernel: there is no {name}.")
        # one instance a module: a first call compiles no more than it runs
        module = self.cp.RawModule(code=read(file), options=options(), name_expressions=(name,))
        try:
            self._kernels[name] = module.get_function(name)
        except self.cp.cuda.compiler.CompileException as error:
            raise BackendError(f"kernels/{file} does not compile: {error}") from error
        except RuntimeError as error:
            if "nvrtc" not in str(error) and "CUDA headers" not in str(error):
                raise
            raise BackendError(
                "backend: CUDA's compiler NVRTC or its headers are missing: "
                'pip install "cupy-cuda13x[ctk]" (or "cupy-cuda12x[ctk]"). '
                f"CuPy says: {error}"
            ) from error
        return self._kernels[name]

    def _permit(self, name: str, function: Any, shared: int) -> None:
        """Let a kernel use more than the default; all that there is, so once for ever."""
        most = self.facts.shared_bytes - function.shared_size_bytes
        if shared > most:
            raise BackendError(
                f"{name}: {shared} bytes of shared memory, but {self.facts.name} has {most}."
            )
        function.max_dynamic_shared_size_bytes = most
        self._shared[name] = most
