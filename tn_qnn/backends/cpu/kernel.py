"""Interpreter of a compiled program on the CPU: all steps of a stage for one tile of the batch.

A program is a few tables of integers, so nothing is compiled for a circuit: `run_stages` is
compiled once a machine and dtype, and kept on disk by Numba. A tile's intermediates live in the
scratch of the thread that works on it, best small enough for the L1 cache.

Threads claim tiles one at a time, and nobody waits for a thread that has not come: the caller's own
begins at once, helpers from a pool join when the system lets them run, and a stage is done when all
its tiles are. Only a helper that the system interrupts in the middle of a tile holds a stage up.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from tn_qnn.backends.cpu import simd
from tn_qnn.backends.cpu.helpers import HELPERS
from tn_qnn.backends.cpu.simd import LANES
from tn_qnn.errors import BackendError

__all__ = ["LANES", "STAGE_SIZE", "STEP_SIZE", "new_arena", "run_stages"]

STAGE_SIZE, STEP_SIZE = 8, 32  # integers a row
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SHARE = 1_000_000  # multiply-adds of a stage for each of its threads, at least
SPINS = 2_000  # looks at the progress of others, some 10 ns each, before the first nap
NAP = 20  # microseconds


def _emit_shift(typingctx: Any, pointer: Any, count: Any) -> Any:
    """``pointer + count``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, count), codegen


def _emit_call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the C function at an address; it returns nothing."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


def _emit_fetch_add(typingctx: Any, pointer: Any, amount: Any) -> Any:
    """Add to ``*pointer`` atomically; the result is what it was before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], args[1], "seq_cst")

    return pointer.dtype(pointer, pointer.dtype), codegen


def _emit_contract(
    typingctx: Any,
    variant: Any,
    pointers: Any,
    strides: Any,
    imags: Any,
    table: Any,
    extents: Any,
    lanes: Any,
    accumulate: Any,
) -> Any:
    """Call the function of `simd` for a variant; the arguments are those of `emit_contraction`."""
    signature = types.void(variant, pointers, strides, imags, table, extents, lanes, accumulate)
    dtype = np.dtype(pointers.dtype.dtype.name)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, *groups, table, extents, lanes, accumulate = args
        values = [v for group in groups for v in cgutils.unpack_tuple(builder, group)]
        values += [table, *cgutils.unpack_tuple(builder, extents), lanes]
        values += [builder.icmp_signed("!=", accumulate, simd.INDEX(0))]
        scalar = context.get_value_type(pointers.dtype.dtype)
        end = builder.append_basic_block()
        switch = builder.switch(number, end)
        for case, variant in enumerate(simd.VARIANTS):
            block = builder.append_basic_block()
            switch.add_case(simd.INDEX(case), block)
            builder.position_at_end(block)
            function = simd.emit_contraction(builder.module, scalar, LANES[dtype], variant)
            builder.call(function, values)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


_shift: Any = intrinsic(_emit_shift)
_call: Any = intrinsic(_emit_call)
_fetch_add: Any = intrinsic(_emit_fetch_add)
_contract: Any = intrinsic(_emit_contract)
_usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))


@njit(inline="always")
def _operand(
    step: Any, field: int, scratch: int, tile: int, i0: int, i1: int, t0: int
) -> tuple[int, int, int]:
    """Offset of element 0 in the arena, stride of elements and of planes (0: real), in scalars."""
    kind, base, imag = step[field], step[field + 1], step[field + 2]
    if kind == 2:
        return scratch + base * tile, tile, imag * tile
    base += i0 * step[field + 4] + i1 * step[field + 5]
    if kind == 1:
        base += t0
    return base, step[field + 3], imag


def _run_tiles(arena: Any, stage: Any, steps: Any, tables: Any, board: Any, worker: int) -> None:
    """Run tiles of a stage until all are claimed; arguments are pointers.

    ``board`` counts the tiles that are claimed and those that are done. Worker 0 returns when all
    are done, others when none is left to claim; who comes later touches nothing but the board.
    """
    n1, inner, tile = stage[3], stage[4], stage[5]
    tiles_a_row = (inner + tile - 1) // tile
    tiles = stage[2] * n1 * tiles_a_row
    scratch = stage[6] + worker * stage[7]
    done = _shift(board, 1)
    number = _fetch_add(board, 1)
    while number < tiles:
        row, t0 = number // tiles_a_row, number % tiles_a_row * tile
        i0, i1 = row // n1, row % n1
        lanes = min(tile, inner - t0)
        for s in range(stage[0], stage[1]):
            step = _shift(steps, STEP_SIZE * s)
            a, a_stride, a_imag = _operand(step, 8, scratch, tile, i0, i1, t0)
            b, b_stride, b_imag = _operand(step, 16, scratch, tile, i0, i1, t0)
            c, c_stride, c_imag = _operand(step, 24, scratch, tile, i0, i1, t0)
            _contract(
                4 * (a_imag != 0) + 2 * (b_imag != 0) + (step[8] == 0),
                (_shift(arena, a), _shift(arena, b), _shift(arena, c)),
                (a_stride, b_stride, c_stride),
                (a_imag, b_imag, c_imag),
                _shift(tables, step[4]),
                (step[0], step[1], step[2], step[3]),
                lanes,
                step[5] & 1,
            )
        _fetch_add(done, 1)
        number = _fetch_add(board, 1)
    looks = 0
    while worker == 0 and _fetch_add(done, 0) < tiles:
        looks += 1
        if looks > SPINS:
            _usleep(NAP)  # leaves the core to whoever has the tile


# Numba's cache looks at this file alone: the name carries the source of the emitted code.
_DIGEST = hashlib.sha256(Path(simd.__file__).read_bytes()).hexdigest()[:12]
_run_tiles.__qualname__ = f"_run_tiles_{_DIGEST}"


@functools.cache
def _tile_runner(dtype: np.dtype[Any]) -> Any:
    """Compile `_run_tiles` for a dtype, or load it from disk, as a C function.

    It is called by its address: linked into its callers, Numba would compile it five times.
    """
    integers = types.CPointer(types.int64)
    scalars = types.CPointer(numba.from_dtype(dtype))
    signature = types.void(scalars, integers, integers, integers, integers, types.int64)
    return cfunc(signature, cache=True)(_run_tiles)


def _run(
    runner: int, arena: int, stages: Any, steps: Any, tables: Any, first: int, limits: Any
) -> tuple[int, int]:
    """Run stages from ``first`` on, up to one for several threads: its number, and how many.

    ``limits`` are the most threads, and the least multiply-adds for each.
    """
    board = np.zeros(2, np.int64)
    for number in range(first, len(stages)):
        stage = stages[number]
        tiles = stage[2] * stage[3] * ((stage[4] + stage[5] - 1) // stage[5])
        if limits[0] > 1 and tiles > 1:
            work = 0
            for s in range(stage[0], stage[1]):
                planes = (1 + (steps[s, 10] != 0)) * (1 + (steps[s, 18] != 0))
                work += steps[s, 0] * steps[s, 1] * steps[s, 2] * steps[s, 3] * planes
            workers = min(limits[0], tiles, work * stage[2] * stage[3] * stage[4] // limits[1])
            if workers > 1:
                return number, workers
        board[:] = 0
        pointers = stage.ctypes.data, steps.ctypes.data, tables.ctypes.data, board.ctypes.data
        _call(runner, (arena, *pointers, 0))
    return len(stages), 1


def _join(
    runner: int,
    arena: int,
    stages: Any,
    steps: Any,
    tables: Any,
    number: int,
    board: Any,
    worker: int,
) -> None:
    """Work on one stage beside others; see `_run_tiles`."""
    row, first, pool = stages[number].ctypes.data, steps.ctypes.data, tables.ctypes.data
    _call(runner, (arena, row, first, pool, board.ctypes.data, worker))


@functools.cache
def _launchers() -> tuple[Any, Any]:
    """Compile `_run` and `_join`, or load them; tables may be read-only, and nothing but int64."""
    integer, limits, board = types.int64, types.UniTuple(types.int64, 2), types.int64[::1]
    rows, pool = (types.Array(integer, n, "C", readonly=True) for n in (2, 1))
    arguments = (integer, integer, rows, rows, pool, integer)
    run, join = (
        types.UniTuple(integer, 2)(*arguments, limits),
        types.void(*arguments, board, integer),
    )
    compiled = functools.partial(njit, cache=True, nogil=True)
    return compiled(run)(_run), compiled(join)(_join)


def _share(runner: Any, arguments: tuple[Any, ...], workers: int) -> None:
    """Run a stage on the caller's thread, and on those of helpers that come in time."""
    board = np.zeros(2, np.int64)
    launcher, own = _launchers()[1], (runner.address, *arguments, board, 0)

    def join(worker: int) -> None:
        # A helper may come when the caller has long gone: it must hold the code, stage and board.
        launcher(runner.address, *arguments, board, worker)

    try:
        HELPERS.ask(workers - 1, join)
    finally:  # even if interrupted: after this nobody is at work in the arena
        launcher(*own)  # nothing else, where Python might see the next interrupt too soon


def new_arena(size: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Allocate an arena that starts at a cache line, so that no vector straddles two.

    Parameters
    ----------
    size
        Number of scalars.
    dtype
        Any dtype.

    Returns
    -------
    ndarray
        Shape ``(size,)``, uninitialised.

    Examples
    --------
    >>> new_arena(100, "float32").ctypes.data % 64
    0
    """
    dtype = np.dtype(dtype)
    raw = np.empty(size + ALIGNMENT // dtype.itemsize, dtype)
    start = -raw.ctypes.data % ALIGNMENT // dtype.itemsize
    return raw[start : start + size]


def run_stages(
    arena: np.ndarray[Any, Any],
    stages: np.ndarray[Any, Any],
    steps: np.ndarray[Any, Any],
    tables: np.ndarray[Any, Any],
    threads: int = 1,
) -> None:
    """Run a compiled program: contractions ``C[h,m,n;b] = sum_k A[h,m,k;b] B[h,k,n;b]``.

    Stages run one after the other. A stage's batch is ``n0 x n1 x inner``; it is cut into tiles of
    ``tile`` lanes of the innermost axis, and all steps run for one tile before the next. Results do
    not depend on ``tile`` or ``threads``, to the last bit. Nothing checks the tables: an
    offset beyond the arena is a wild access to memory.

    Parameters
    ----------
    arena
        Shape ``(scalars,)``, float32 or float64, contiguous: everything that steps read or write.
    stages
        Shape ``(stages, 8)``, int64, C-contiguous. A row: first step, last step (exclusive), n0,
        n1, inner, tile, scratch base, scratch size. ``inner`` and ``tile`` are multiples of
        ``LANES[dtype]``. Thread ``t`` has the scratch from ``base + t * size`` on.
    steps
        Shape ``(steps, 32)``, int64, C-contiguous. A row: H, M, N, K, offset of its tables, flags
        (bit 0: add to out), 0, 0, then eight integers each for left, right and out: kind, base,
        imag, stride, s0, s1, 0, 0. Element ``e`` of batch row ``(i0, i1)``, lanes from ``t0`` on:

        - kind 0, a splat (left only), one value for all lanes: ``base + i0*s0 + i1*s1 + e*stride``;
        - kind 1, in the arena: ``base + i0*s0 + i1*s1 + t0 + e*stride + lane``;
        - kind 2, in scratch (stride unused): ``scratch + (base + e)*tile + lane``.

        The imaginary plane is ``imag`` scalars further (kind 2: ``imag*tile``); 0 means real.
        Out is complex if left or right is, and must not overlap them.
    tables
        Shape ``(entries,)``, int64, contiguous. From a step's offset on, the tables hA (H), mA (M),
        kA (K), hB (H), kB (K), nB (N), hC (H), mC (M), nC (N): element numbers that add up.
    threads
        At most so many threads, the caller's own among them; a stage with little work takes fewer.
        There is scratch for as many. Calls with other arenas may run side by side: the GIL is
        released.

    Raises
    ------
    BackendError
        The arena or a table has another dtype or layout, or ``threads`` is below 1.

    Examples
    --------
    The product of two batched numbers, 2 * 3 in 16 lanes:

    >>> arena = np.repeat(np.float32([2, 3, 0]), 16)
    >>> operands = [[1, base, 0, 16, 0, 0, 0, 0] for base in (0, 16, 32)]
    >>> steps = np.array([[1, 1, 1, 1, 0, 0, 0, 0] + sum(operands, [])])
    >>> run_stages(arena, np.array([[0, 1, 1, 1, 16, 16, 0, 0]]), steps, np.zeros(9, np.int64))
    >>> arena[32:34].tolist()
    [6.0, 6.0]
    """
    if arena.dtype not in LANES or arena.ndim != 1 or not arena.flags.c_contiguous:
        raise BackendError(
            f"arena has dtype {arena.dtype}, shape {arena.shape}; expected contiguous float32 or "
            "float64 of one dimension: make it by new_arena"
        )
    if threads < 1:
        raise BackendError(f"threads is {threads}; expected 1 or more")
    runner = _tile_runner(arena.dtype)  # held while it runs
    start, arrays = arena.ctypes.data, (stages, steps, tables)
    number, workers = -1, 1
    while number < len(stages):
        try:
            limits = threads, SHARE
            number, workers = _launchers()[0](runner.address, start, *arrays, number + 1, limits)
        except TypeError:
            given = [f"{x.dtype} {x.shape}" for x in arrays]
            raise BackendError(
                f"stages, steps, tables are {', '.join(given)}; expected C-contiguous int64 arrays "
                "of 2, 2 and 1 dimensions: convert them by np.ascontiguousarray(x, np.int64)"
            ) from None
        if workers > 1:
            _share(runner, (start, *arrays, number), workers)
