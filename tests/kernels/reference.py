"""Launches of the step kernels, and what they should come to, by NumPy alone.

A `Stage` is built tensor by tensor and step by step. Tensors lie in the arena in a random order of
elements, with gaps, and everything in the arena that is not a value is NaN: what is read wrongly
shows in the results, what is written wrongly in `check`, which looks at the whole arena.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SPLAT, VECTOR, LOCAL = 0, 1, 2
STEP_BYTES = 96  # of a step in shared memory
NAMES = {"float32": "float", "float64": "double"}
Array = NDArray[Any]


class Run(Protocol):
    """Launches a kernel of a source on arrays of NumPy, in place."""

    def __call__(
        self,
        source: str,
        expression: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None: ...


@dataclass(frozen=True)
class Batch:
    """Points of the batch: rows n0 x n1 of so many lanes."""

    n0: int = 1
    n1: int = 1
    inner: int = 32

    @property
    def points(self) -> int:
        return self.n0 * self.n1 * self.inner

    def runs(self, lanes: int) -> int:
        """Blocks that it takes, with so many lanes each."""
        return self.n0 * self.n1 * -(-self.inner // lanes)


@dataclass(eq=False)
class Tensor:
    """A tensor of a stage.

    Attributes
    ----------
    values, sizes
        Shape (n0, n1, elements, inner), complex128 and float64: what it should hold, NaN where
        nothing, and the sum of the absolute values of what is summed up in it.
    places
        Where the real plane lies in the arena, same shape; None for LOCAL.
    filled
        Whether it has its values before the launch.
    error
        Roundings on the way to a value.
    """

    kind: int
    base: int
    imag: int
    stride: int
    s0: int
    s1: int
    values: Array
    sizes: Array
    places: Array | None
    filled: bool = False
    error: int = 0

    @property
    def elements(self) -> int:
        return int(self.values.shape[2])


@dataclass(eq=False)
class Stage:
    """Steps that run one after the other over one batch.

    Attributes
    ----------
    cuts
        Steps with which a new part begins, which runs beside the others.
    top, scratch
        Scalars of the arena and elements of scratch in use.
    """

    batch: Batch
    dtype: str = "float32"
    seed: int = 0
    cuts: list[int] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    shifts: list[list[int]] = field(default_factory=list)
    top: int = 3
    scratch: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def tensor(
        self,
        elements: int,
        kind: int = VECTOR,
        is_complex: bool = False,
        filled: bool = True,
        varies: tuple[bool, bool] = (True, True),
        base: int | None = None,
    ) -> Tensor:
        """Add a tensor.

        Parameters
        ----------
        filled
            Whether it has random values from the start; what a step makes has none.
        varies
            Whether it depends on i0 and on i1.
        base
            Where in the scratch it begins; by default behind all others.
        """
        n0, n1, inner = self.batch.n0, self.batch.n1, self.batch.inner
        planes, shape = 1 + is_complex, (n0, n1, elements, inner)
        values = np.full(shape, complex(np.nan, np.nan))
        if kind == LOCAL:
            base = self.scratch if base is None else base
            self.scratch = max(self.scratch, base + planes * elements)
            imag = elements * is_complex
            made = Tensor(LOCAL, base, imag, 0, 0, 0, values, abs(values), None)
            self.tensors.append(made)
            return made
        lanes = 1 if kind == SPLAT else inner
        s1 = lanes + 2 if varies[1] else 0  # two NaN behind every run of lanes
        s0 = (n1 if varies[1] else 1) * (lanes + 2) if varies[0] else 0
        stride = (n0 if varies[0] else 1) * (n1 if varies[1] else 1) * (lanes + 2) + 1
        imag = (elements * stride + 5) * is_complex
        axes = np.ix_(*(np.arange(n) for n in (n0, n1, elements)))
        start = sum(x * s for x, s in zip(axes, (s0, s1, stride), strict=True)) + self.top
        places = start[..., None] + np.arange(inner) * (kind == VECTOR)
        if filled:
            parts = self.rng.uniform(-1, 1, (2, places.max() - self.top + 1))
            parts = parts.astype(self.dtype).astype(float)[:, places - self.top]
            values = parts[0] + 1j * parts[1] * is_complex
        made = Tensor(kind, self.top, imag, stride, s0, s1, values, abs(values), places, filled)
        self.top = int(places.max()) + imag + 8
        self.tensors.append(made)
        return made

    def step(
        self,
        sizes: tuple[int, int, int, int],
        left: Tensor,
        right: Tensor,
        out: Tensor,
        natural: str = "",
    ) -> Tensor:
        """Add a step of H, M, N, K, with random tables, and work it out.

        Parameters
        ----------
        natural
            Letters of operands, of "ABC", whose elements stand in order, the last axis fastest.
        """
        h, m, n, k = sizes
        tables = [
            *separable(self.rng, (h, m, k), left.elements, "A" in natural),
            *separable(self.rng, (h, k, n), right.elements, "B" in natural),
            *separable(self.rng, (h, m, n), out.elements, "C" in natural),
        ]
        row, shift = [*sizes, len(self.tables), 0, 0, 0], []
        for x in (left, right, out):
            moved = 0 if x.kind == LOCAL else int(self.rng.integers(-9, 9))
            row += [x.kind, x.base - moved, x.imag, x.stride, x.s0, x.s1, 0, 0]
            shift.append(moved)
        self.rows.append(row)
        self.shifts.append(shift)
        self.tables += np.concatenate(tables).tolist()
        self._work_out(tables, left, right, out, k)
        return out

    def _work_out(
        self, tables: list[Array], left: Tensor, right: Tensor, out: Tensor, k: int
    ) -> None:
        a, b, c = (sum(np.ix_(*tables[i : i + 3])) for i in (0, 3, 6))
        made = "xyhmkt,xyhknt->xyhmnt"
        x, y = left.values[:, :, a], right.values[:, :, b]
        out.values[:, :, c] = np.einsum(made, x, y)
        out.sizes[:, :, c] = np.einsum(made, left.sizes[:, :, a], right.sizes[:, :, b])
        out.error = left.error + right.error + 2 * k + 2

    def copy(self, source: Tensor, kind: int) -> Tensor:
        """Add a step that copies a tensor, as a product with one."""
        one = self.tensor(1, SPLAT)
        one.values[:] = one.sizes[:] = 1
        out = self.tensor(source.elements, kind, bool(source.imag), filled=False)
        return self.step((1, 1, source.elements, 1), one, source, out)

    @property
    def is_complex(self) -> bool:
        return any(x.imag for x in self.tensors)

    def arena(self) -> Array:
        """The arena before the launch."""
        found = np.full(self.top, np.nan, self.dtype)
        for x in self.tensors:
            if x.filled:
                self._write(found, x)
        return found

    def _write(self, arena: Array, x: Tensor) -> None:
        arena[x.places] = x.values.real
        if x.imag:
            arena[x.places + x.imag] = x.values.imag

    def check(self, arena: Array) -> None:
        """Compare all of an arena with what it should be after the launch."""
        want, allowed = np.full(self.top, np.nan), np.zeros(self.top)
        eps = np.finfo(self.dtype).eps
        for x in self.tensors:
            if x.places is None:
                continue
            self._write(want, x)
            for plane in {0, x.imag}:
                allowed[x.places + plane] = np.nan_to_num(x.error * eps * x.sizes)
        np.testing.assert_array_equal(np.isnan(arena), np.isnan(want))
        assert np.all(np.nan_to_num(abs(arena - want)) <= allowed)

    # --- launches

    def run_stage(
        self,
        run: Run,
        lanes: int = 32,
        groups: int = 1,
        kernel: str = "run_stage",
        is_complex: bool | None = None,
    ) -> Array:
        """Run all steps by ``run_stage``; returns the arena."""
        arena, steps, tables, shifts = self.arena(), *self._arrays()
        parts, relative = self._parts(steps, tables)
        numbers = [np.int32(n) for n in (self.scratch, self.batch.n1)]
        run(
            "stage.cu",
            self._expression(kernel, is_complex),
            (self.batch.runs(lanes), len(parts)),
            (lanes, groups),
            (arena, relative, tables, shifts, parts, *numbers, np.int64(self.batch.inner)),
            self.scratch * lanes * arena.itemsize + int(max(parts @ [0, STEP_BYTES, 0, 4])),
        )
        return arena

    def _parts(self, steps: Array, tables: Array) -> tuple[Array, Array]:
        """The table of parts, and the rows with offsets that begin with their part."""
        starts = [0, *self.cuts, len(steps)]
        entries = [*(steps[cut, 4] for cut in starts[:-1]), len(tables)]
        found = [
            (a, b - a, c, d - c)
            for (a, b), (c, d) in zip(pairwise(starts), pairwise(entries), strict=True)
        ]
        relative = steps.copy()
        for first, count, entry, _ in found:
            relative[first : first + count, 4] -= entry
        return np.array(found, np.int32), relative

    def run_large(
        self, run: Run, lanes: int = 32, groups: int = 2, share: int = 2, kernel: str = "run_large"
    ) -> Array:
        """Run the only step by ``run_large``; ``share`` is the grid's second size."""
        grid = self.batch.runs(lanes), share
        return self._run_single(run, kernel, grid, (lanes, groups))

    def run_gemm(self, run: Run, most: int = 65535) -> Array:
        """Run the only step by ``run_gemm``; ``most`` is the most of the grid's second size."""
        (h, m, n, _), points = self.rows[0][:4], self.batch.points
        grid = -(-m // 64) * -(-n // 64), min(h, most), points
        return self._run_single(run, "run_gemm", grid, (16, 16))

    def _run_single(
        self, run: Run, kernel: str, grid: tuple[int, ...], block: tuple[int, ...]
    ) -> Array:
        arena, (row,), tables, (shift,) = self.arena(), *self._arrays()
        numbers = np.int32(self.batch.n1), np.int64(self.batch.inner)
        run("gemm.cu", self._expression(kernel), grid, block, (arena, row, tables, shift, *numbers))
        return arena

    def _arrays(self) -> tuple[Array, Array, Array]:
        return (
            np.array(self.rows, np.int64),
            np.array(self.tables, np.int32),
            np.array(self.shifts, np.int64),
        )

    def _expression(self, kernel: str, is_complex: bool | None = None) -> str:
        found = self.is_complex if is_complex is None else is_complex
        return f"{kernel}<{NAMES[self.dtype]}, {str(found).lower()}>"


def separable(
    rng: np.random.Generator, sizes: tuple[int, ...], elements: int, natural: bool = False
) -> list[Array]:
    """Tables, one an axis, whose sums are distinct numbers below ``elements``."""
    axes = range(len(sizes) - 1, -1, -1) if natural else rng.permutation(len(sizes))
    tables, stride = [np.zeros(size, np.int64) for size in sizes], 1
    for axis in axes:
        steps = np.arange(sizes[axis])
        tables[axis] = (steps if natural else rng.permutation(steps)) * stride
        stride *= sizes[axis]
    room = elements - stride
    assert room >= 0, f"{elements} elements are too few for {sizes}"
    tables[0] = tables[0] + (0 if natural else int(rng.integers(room + 1)))
    return tables


def one_step(
    sizes: tuple[int, int, int, int],
    batch: Batch,
    dtype: str = "float32",
    planes: tuple[int, int] = (1, 1),
    kinds: tuple[int, int, int] = (VECTOR, VECTOR, VECTOR),
    natural: str = "",
    varies: tuple[tuple[bool, bool], tuple[bool, bool]] = ((True, True), (True, True)),
    seed: int = 0,
) -> Stage:
    """A stage of one step; for LOCAL operands others copy to them, or from them."""
    stage, (h, m, n, k) = Stage(batch, dtype, seed), sizes
    operands = []
    counts = h * m * k + 1, h * k * n + 2
    for count, kind, own, depends in zip(counts, kinds[:2], planes, varies, strict=True):
        made = stage.tensor(count, min(kind, VECTOR), own == 2, varies=depends)
        operands.append(stage.copy(made, LOCAL) if kind == LOCAL else made)
    spare = 0 if kinds[2] == LOCAL else 1  # what is copied must all be there
    out = stage.tensor(h * m * n + spare, kinds[2], max(planes) == 2, filled=False)
    stage.step(sizes, *operands, out, natural)
    if kinds[2] == LOCAL:
        stage.copy(out, VECTOR)
    return stage
