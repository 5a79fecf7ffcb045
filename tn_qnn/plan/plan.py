"""A contraction path with what it costs, and the rules that every path must keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tn_qnn.errors import PlanError
from tn_qnn.plan.topology import Topology

Path = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Cost:
    """What a path costs; the sizes of batch labels are part of every figure but ``width``.

    Parameters
    ----------
    multiply_adds
        Multiply-adds of all steps and all slices.
    peak_elements
        Largest sum of elements of the intermediates alive at once in one slice: while a step
        runs, its operands and its result count. The network's own tensors do not.
    largest_intermediate
        Elements of the largest intermediate of one slice.
    width
        log2 of the largest intermediate of one slice, batch labels not counted.
    slices
        How many times the path is run.
    """

    multiply_adds: int
    peak_elements: int
    largest_intermediate: int
    width: float
    slices: int


@dataclass(frozen=True)
class Plan:
    """How to contract a topology.

    Parameters
    ----------
    path
        Pairs of SSA ids: the tensors are 0 to N - 1, step ``t`` makes tensor ``N + t``. One tensor
        alone has an empty path; what is left to do is then to sum over its indices that are not
        in the output.
    sliced
        Summed indices that an outer loop fixes to each of their values; the slices' results add up.
    cost
        What the path costs with this slicing.
    search
        Search level that found it, ``"user"`` for a path given.
    seconds
        Time that the search took.
    source
        Where this plan came from in this process.
    """

    path: Path
    sliced: tuple[int, ...]
    cost: Cost
    search: str
    seconds: float
    source: Literal["search", "cache", "user"]


def check_path(path: Iterable[Sequence[int]], num_tensors: int) -> Path:
    """Return ``path`` as tuples, or say what is wrong with it.

    Raises
    ------
    PlanError
        When a step is no pair of integers, names a tensor that is not there at that time, or
        contracts one a second time, or when tensors are left over.

    Examples
    --------
    >>> check_path([[0, 1], [3, 2]], num_tensors=3)
    ((0, 1), (3, 2))
    """
    hint = "expected SSA pairs (linear_to_ssa converts opt_einsum's linear paths)"
    steps: list[tuple[int, int]] = []
    used: set[int] = set()
    for number, step in enumerate(path):
        pair = tuple(step) if isinstance(step, Sequence) and not isinstance(step, str) else ()
        if len(pair) != 2 or not all(type(i) is int for i in pair):
            raise PlanError(f"path step {number} is {step!r}: not two integers; {hint}")
        for i in pair:
            if not 0 <= i < num_tensors + number:
                raise PlanError(f"path step {number} uses tensor {i}, which is not there; {hint}")
            if i in used:
                raise PlanError(f"path step {number} uses tensor {i} a second time; {hint}")
            used.add(i)
        steps.append((pair[0], pair[1]))
    if len(steps) != num_tensors - 1:
        raise PlanError(
            f"path has {len(steps)} steps; {num_tensors} tensors need {num_tensors - 1}; {hint}"
        )
    return tuple(steps)


def linear_to_ssa(path: Iterable[Sequence[int]], num_tensors: int) -> Path:
    """Convert a path of opt_einsum or NumPy (positions in a shrinking list) to SSA pairs.

    Raises
    ------
    PlanError
        When a step is no pair of integers or names a position past the end of the list.

    Examples
    --------
    >>> linear_to_ssa([(0, 1), (0, 1)], num_tensors=3)
    ((0, 1), (2, 3))
    """
    remaining = list(range(num_tensors))
    steps = []
    for number, step in enumerate(path):
        if len(step) != 2 or any(not 0 <= i < len(remaining) for i in step):
            raise PlanError(
                f"path step {number} is {step!r}: expected two positions below {len(remaining)}"
            )
        # opt_einsum removes from the right, so that earlier positions stay valid.
        first, second = sorted(step)
        pair = remaining.pop(second), remaining.pop(first)
        steps.append((pair[1], pair[0]))
        remaining.append(num_tensors + number)
    return check_path(steps, num_tensors)


@dataclass(frozen=True)
class Elements:
    """Number of elements of index sets that are bit masks (bit ``i`` stands for index ``i``)."""

    classes: tuple[tuple[int, int], ...]  # (mask of the indices of one size, that size)

    @classmethod
    def of(cls, topology: Topology, ignored: Iterable[int] = ()) -> Elements:
        """Take the sizes of a topology; indices that are ignored count as size 1."""
        left_out = set(ignored)
        masks: dict[int, int] = {}
        for index, size in enumerate(topology.sizes):
            if size != 1 and index not in left_out:
                masks[size] = masks.get(size, 0) | 1 << index
        return cls(tuple((mask, size) for size, mask in masks.items()))

    def __call__(self, indices: int) -> int:
        """Return the product of the sizes of the indices in a mask."""
        return math.prod(size ** (indices & mask).bit_count() for mask, size in self.classes)


def mask_of(indices: Iterable[int]) -> int:
    """Return the bit mask of a set of indices."""
    mask = 0
    for index in indices:
        mask |= 1 << index
    return mask


def kept_indices(topology: Topology, path: Path) -> list[int]:
    """Return for every tensor, given or made by ``path``, the bit mask of its indices.

    A made tensor keeps the indices of its operands that are in the output or still occur on a
    tensor outside it.
    """
    inside = [mask_of(term) for term in topology.inputs]
    for left, right in path:
        inside.append(inside[left] | inside[right])
    outside = [0] * len(inside)
    outside[-1] = mask_of(topology.output)
    given = topology.num_tensors
    for made in range(len(inside) - 1, given - 1, -1):
        left, right = path[made - given]
        outside[left] = outside[made] | inside[right]
        outside[right] = outside[made] | inside[left]
    return inside[:given] + [i & o for i, o in zip(inside[given:], outside[given:], strict=True)]


def cost_of(topology: Topology, path: Path, sliced: Iterable[int] = ()) -> Cost:
    """Return what a valid path costs; a pure function of integers, exact at any size.

    Examples
    --------
    >>> chain = Topology(((0, 1), (1, 2), (2, 3)), (0, 3), (4, 2, 2, 4))
    >>> cost_of(chain, ((0, 1), (3, 2)))
    Cost(multiply_adds=48, peak_elements=24, largest_intermediate=16, width=4.0, slices=1)
    >>> cost_of(chain, ((0, 1), (3, 2)), sliced=[1]).multiply_adds
    80
    """
    cut = set(sliced)
    slices = math.prod(topology.sizes[index] for index in cut)
    elements = Elements.of(topology, cut)
    unbatched = Elements.of(topology, cut | topology.batch)
    given = topology.num_tensors
    kept = kept_indices(topology, path)
    if not path:
        result = mask_of(topology.output)
        work = elements(kept[0]) if kept[0] & ~result else 0
        size = elements(result)
        return Cost(work * slices, size, size, math.log2(unbatched(result)), slices)
    work = live = peak = 0
    sizes = [0] * given + [elements(indices) for indices in kept[given:]]
    for step, (left, right) in enumerate(path):
        work += elements(kept[left] | kept[right])
        live += sizes[given + step]
        peak = max(peak, live)
        live -= sizes[left] + sizes[right]
    width = math.log2(max(unbatched(indices) for indices in kept[given:]))
    return Cost(work * slices, peak, max(sizes), width, slices)
