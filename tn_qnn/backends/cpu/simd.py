"""LLVM IR with explicit vectors for ``C[h,m,n;b] = sum_k A[h,m,k;b] B[h,k,n;b]``.

The batch ``b`` is the contiguous axis, so an element of a tensor is a run of lanes, and nothing is
ever transposed, packed or shuffled: tables of offsets say where elements lie. A block of outputs
times a few vectors of lanes stays in registers while ``k`` runs.

One function is emitted for every combination of real and complex operands (complex numbers are two
planes of reals), and of a left operand that varies over the lanes or is one value for all of them
(a splat). The sum over ``k`` always runs in the same order, one fused multiply-add at a time, so a
result has the same bits however its batch is cut into tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils

INDEX = ir.IntType(64)
TABLES = ("hA", "mA", "kA", "hB", "kB", "nB", "hC", "mC", "nC")
Value = Any  # an llvmlite value; llvmlite has no types to check against


def _has_avx512() -> bool:
    """Whether there are 32 registers of 512 bits; NUMBA_CPU_FEATURES overrides the host."""
    features = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is not None:
        return "+avx512f" in features
    return bool(llvm.get_host_cpu_features().get("avx512f", False))


AVX512 = _has_avx512()
LANES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): 16 if AVX512 else 8,
    np.dtype(np.float64): 8 if AVX512 else 4,
}


@dataclass(frozen=True)
class Variant:
    """What a contraction is specialised on: complex operands, and a splat on the left."""

    left_complex: bool
    right_complex: bool
    splat: bool

    @property
    def planes(self) -> tuple[int, int, int]:
        """Planes of left, right and out: 2 where complex."""
        out_complex = self.left_complex or self.right_complex
        return 1 + self.left_complex, 1 + self.right_complex, 1 + out_complex


# A variant's number is 4 * left_complex + 2 * right_complex + splat.
VARIANTS = tuple(Variant(*bits) for bits in itertools.product((False, True), repeat=3))


@dataclass(frozen=True)
class Blocking:
    """Sizes (powers of two, down to 1) of the blocks of outputs whose sums are in registers."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    registers: int

    def vectors(self, sums: int) -> tuple[int, ...]:
        """How many vectors of lanes a block takes at once that needs so many sums for each."""
        most = max(1, min(4, self.registers // sums))
        return (most, 1) if most > 1 else (1,)


def blocking(planes: int) -> Blocking:
    """Blocks for outputs of one or two planes, by the number of registers (32 or 16)."""
    if AVX512:
        return Blocking((4, 2, 1), (4, 2, 1) if planes == 1 else (2, 1), 16)
    return Blocking((4, 2, 1) if planes == 1 else (2, 1), (2, 1), 8)


@dataclass(frozen=True)
class Operand:
    """Where a batched tensor lies: distances of elements (stride) and of planes in scalars."""

    pointer: Value
    stride: Value
    imag: Value
    planes: int
    splat: bool


@dataclass(frozen=True)
class Outputs:
    """A block: offsets of its left and right elements, and which pairs go to which output."""

    left: list[Value]
    right: list[Value]
    targets: dict[tuple[int, int], tuple[Value, ...]]


class Emitter:
    """Emits the pieces of a contraction: loops, addresses, loads and products."""

    def __init__(self, builder: ir.IRBuilder, scalar: ir.Type, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.vector = ir.VectorType(scalar, lanes)
        self.itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
        # fmuladd, not fma: without the instruction it is a product and a sum, not a call of libm.
        self.fmuladd = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fmuladd.v{lanes}f{8 * self.itemsize}",
        )

    def loop(self, start: Value, stop: Value, step: int = 1) -> Any:
        """Context of ``for index in range(start, stop, step)``; yields (index, count)."""
        return cgutils.for_range_slice(self.builder, start, stop, INDEX(step), INDEX)

    def blocked(
        self, count: Value, sizes: tuple[int, ...], body: Callable[[Value, int], None]
    ) -> None:
        """Cover ``range(count)`` by blocks, the largest first: ``body(start, size)``."""
        start: Value = INDEX(0)
        for size in sizes:
            whole = self.builder.and_(self.builder.sub(count, start), INDEX(-size))
            stop = self.builder.add(start, whole)
            with self.loop(start, stop, size) as (index, _):
                body(index, size)
            start = stop

    def offsets(self, table: Value, index: Value, count: int, operand: Operand) -> list[Value]:
        """Offsets in scalars of ``count`` entries of a table."""
        b = self.builder
        entries = [b.load(b.gep(table, [b.add(index, INDEX(i))])) for i in range(count)]
        return [b.mul(entry, operand.stride, flags=("nsw",)) for entry in entries]

    def shift(self, operand: Operand, offset: Value) -> Operand:
        return replace(operand, pointer=self.builder.gep(operand.pointer, [offset]))

    def vector_at(self, operand: Operand, offset: Value, plane: int, part: int) -> Value:
        """Pointer to vector number ``part`` of one plane of the element at ``offset``."""
        pointer = operand.pointer
        if plane:
            pointer = self.builder.gep(pointer, [operand.imag])
        pointer = self.builder.gep(pointer, [offset])
        if operand.splat:
            return pointer
        pointer = self.builder.gep(pointer, [INDEX(part * self.lanes)])
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, operand: Operand, offset: Value, part: int) -> list[Value]:
        """The planes of one vector of an element, or of its one value in all lanes."""
        pointers = [self.vector_at(operand, offset, p, part) for p in range(operand.planes)]
        values = [self.builder.load(pointer, align=self.itemsize) for pointer in pointers]
        return [self.broadcast(value) for value in values] if operand.splat else values

    def broadcast(self, value: Value) -> Value:
        empty = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(empty, value, INDEX(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, empty, mask)

    def add_product(self, sums: list[Value], left: list[Value], right: list[Value]) -> None:
        """``sums += left * right``, each a list of planes; ``sums`` are pointers."""
        b = self.builder
        for (i, x), (j, y) in itertools.product(enumerate(left), enumerate(right)):
            total = sums[(i + j) % 2]
            factor = b.fneg(x) if i and j else x
            b.store(b.call(self.fmuladd, [factor, y, b.load(total)]), total)


@dataclass(frozen=True)
class Contraction:
    """Emits the loops of one contraction."""

    emitter: Emitter
    operands: tuple[Operand, ...]
    tables: dict[str, Value]
    extents: dict[str, Value]
    lanes: Value
    accumulate: Value
    blocks: Blocking

    def emit(self) -> None:
        """Matrix products for every ``h``; where they are 1 x 1, blocks of several ``h``."""
        b = self.emitter.builder
        single = b.icmp_signed("==", b.mul(self.extents["m"], self.extents["n"]), INDEX(1))
        with b.if_else(single) as (then, otherwise):
            with then:
                self.emitter.blocked(self.extents["h"], self.blocks.rows, self._products)
            with otherwise, self.emitter.loop(INDEX(0), self.extents["h"]) as (h, _):
                self._matrix(h)

    def _offsets(self, name: str, index: Value, count: int = 1) -> list[Value]:
        operand = self.operands["ABC".index(name[1])]
        return self.emitter.offsets(self.tables[name], index, count, operand)

    def _products(self, h: Value, count: int) -> None:
        """``count`` values of ``h``, where there is one ``m`` and one ``n``."""
        left, right, out = (self._offsets(name, h, count) for name in ("hA", "hB", "hC"))
        firsts = [self._offsets(name, INDEX(0))[0] for name in ("mA", "nB", "mC", "nC")]
        a, b, c = self.operands
        a, b = self.emitter.shift(a, firsts[0]), self.emitter.shift(b, firsts[1])
        c = self.emitter.shift(self.emitter.shift(c, firsts[2]), firsts[3])
        targets = {(i, i): (offset,) for i, offset in enumerate(out)}
        self._lanes((a, b, c), Outputs(left, right, targets))

    def _matrix(self, h: Value) -> None:
        """All ``m`` and ``n`` of one ``h``."""
        names = ("hA", "hB", "hC")
        bases = tuple(
            self.emitter.shift(operand, self._offsets(name, h)[0])
            for operand, name in zip(self.operands, names, strict=True)
        )

        def rows(m: Value, mb: int) -> None:
            left, out_rows = self._offsets("mA", m, mb), self._offsets("mC", m, mb)

            def columns(n: Value, nb: int) -> None:
                right, out_columns = self._offsets("nB", n, nb), self._offsets("nC", n, nb)
                targets = {
                    (i, j): (row, column)
                    for i, row in enumerate(out_rows)
                    for j, column in enumerate(out_columns)
                }
                self._lanes(bases, Outputs(left, right, targets))

            self.emitter.blocked(self.extents["n"], self.blocks.columns, columns)

        self.emitter.blocked(self.extents["m"], self.blocks.rows, rows)

    def _lanes(self, bases: tuple[Operand, ...], outputs: Outputs) -> None:
        """All lanes of a block of outputs, a few vectors at a time."""
        e = self.emitter
        vectors = self.blocks.vectors(len(outputs.targets) * bases[2].planes)

        def some(lane: Value, size: int) -> None:
            shifted = tuple(x if x.splat else e.shift(x, lane) for x in bases)
            self._block(shifted, outputs, size // e.lanes)

        e.blocked(self.lanes, tuple(v * e.lanes for v in vectors), some)

    def _block(self, bases: tuple[Operand, ...], outputs: Outputs, parts: int) -> None:
        """The sums over ``k`` of one block, in registers."""
        e, b = self.emitter, self.emitter.builder
        keys = list(itertools.product(outputs.targets, range(parts)))
        # Stack slots in the IR; LLVM promotes them to registers.
        sums = {
            key: [cgutils.alloca_once(b, e.vector) for _ in range(bases[2].planes)] for key in keys
        }
        places = []
        for (pair, part), totals in sums.items():
            *first, last = outputs.targets[pair]
            row = e.shift(bases[2], first[0]) if first else bases[2]
            places += [(t, e.vector_at(row, last, p, part)) for p, t in enumerate(totals)]
        for total, _ in places:
            b.store(ir.Constant(e.vector, None), total)
        with b.if_then(self.accumulate):
            for total, place in places:
                b.store(b.load(place, align=e.itemsize), total)
        with e.loop(INDEX(0), self.extents["k"]) as (k, _):
            left = e.shift(bases[0], self._offsets("kA", k)[0])
            right = e.shift(bases[1], self._offsets("kB", k)[0])
            for part in range(parts):
                xs = [e.load(left, offset, part) for offset in outputs.left]
                ys = [e.load(right, offset, part) for offset in outputs.right]
                for i, j in outputs.targets:
                    e.add_product(sums[(i, j), part], xs[i], ys[j])
        for total, place in places:
            b.store(b.load(total), place, align=e.itemsize)


def emit_contraction(
    module: ir.Module, scalar: ir.Type, lanes: int, variant: Variant
) -> ir.Function:
    """Add the function of one variant to a module.

    Parameters
    ----------
    module
        Module to add to; it must not have this variant yet.
    scalar
        LLVM's float or double.
    lanes
        Scalars a vector.
    variant
        What to specialise on.

    Returns
    -------
    ir.Function
        ``void (left, right, out pointers; 3 strides; 3 imags; table; H, M, N, K; lanes; i1
        accumulate)``. Strides and imags are in scalars, ``table`` points to the nine tables in the
        order of `TABLES`, and ``lanes``, the length of the run, is a multiple of a vector's.
    """
    arguments = [scalar.as_pointer()] * 3 + [INDEX] * 6 + [INDEX.as_pointer()] + [INDEX] * 5
    kind = ir.FunctionType(ir.VoidType(), [*arguments, ir.IntType(1)])
    function = ir.Function(module, kind, f"contract_{scalar}_{VARIANTS.index(variant)}")
    function.linkage = "internal"
    # optsize keeps LLVM from unrolling the loops again, which costs time and gains nothing.
    for attribute in ("noinline", "nounwind", "optsize"):
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block())
    places = zip(function.args[:3], function.args[3:6], function.args[6:9], strict=True)
    splats = (variant.splat, False, False)
    operands = tuple(
        Operand(*place, planes, splat)
        for place, planes, splat in zip(places, variant.planes, splats, strict=True)
    )
    table, *sizes, run, accumulate = function.args[9:]
    extents = dict(zip("hmnk", sizes, strict=True))
    tables = {}
    for name in TABLES:
        tables[name] = table
        table = builder.gep(table, [extents[name[0]]])
    emitter = Emitter(builder, scalar, lanes)
    blocks = blocking(variant.planes[2])
    Contraction(emitter, operands, tables, extents, run, accumulate, blocks).emit()
    builder.ret_void()
    return function
