"""Fit a path into a memory budget: first a tree that needs less, then summed indices to slice."""

from __future__ import annotations

import math

import numpy as np

from tn_qnn.errors import MemoryBudgetError
from tn_qnn.plan.anneal import Annealer
from tn_qnn.plan.order import order_for_peak
from tn_qnn.plan.plan import Cost, Elements, Path, cost_of, kept_indices
from tn_qnn.plan.topology import Topology

MAX_SLICES = 2**24
MAX_OVERHEAD = 2**10  # multiply-adds with slicing, over those of the best path without
SWEEPS, RUNS = 1000, 2  # annealing after every cut


def fit_budget(
    topology: Topology, path: Path, budget_elements: int, seed: int, reshape: bool = True
) -> tuple[Path, tuple[int, ...], Cost]:
    """Return a path and indices to slice whose live intermediates stay within a budget.

    Only indices that are summed are sliced, so the results of the slices add up. With ``reshape``
    the tree is annealed anew under a limit on its largest tensor, before the first cut and after
    each; without, the path is kept (a path of the user's).

    Returns
    -------
    (path, sliced, cost)
        ``cost.peak_elements`` is at most ``budget_elements``.

    Raises
    ------
    MemoryBudgetError
        With the figures, when no slicing up to ``MAX_SLICES`` slices and ``MAX_OVERHEAD`` times
        the multiply-adds fits.
    """
    unsliced = best = cost_of(topology, path)
    sliced: tuple[int, ...] = ()
    kept_best = sliced
    ceiling = MAX_OVERHEAD * max(1, unsliced.multiply_adds)
    while True:
        if reshape and path:
            path = _anneal_below(topology, path, sliced, budget_elements, seed + len(sliced))
        cost = cost_of(topology, path, sliced)
        if cost.slices > MAX_SLICES or cost.multiply_adds > ceiling:
            break
        if cost.peak_elements < best.peak_elements:
            best, kept_best = cost, sliced
        if cost.peak_elements <= budget_elements:
            return path, sliced, cost
        index = best_cut(topology, path, sliced, budget_elements)
        if index is None:
            break
        sliced = (*sliced, index)
    raise MemoryBudgetError(
        f"budget_elements is {budget_elements:,}, but the plan needs {unsliced.peak_elements:,} "
        f"elements at {unsliced.multiply_adds:.3g} multiply-adds; the best slicing found "
        f"({len(kept_best)} indices, {best.slices:,} slices) still needs {best.peak_elements:,} "
        f"elements at {best.multiply_adds:.3g} multiply-adds. Limits are {MAX_SLICES:,} slices and "
        f"{MAX_OVERHEAD:,} times the multiply-adds. Give more memory, fewer samples or parameter "
        f"sets at once, or search longer (search='auto' or 'long')"
    )


def _anneal_below(
    topology: Topology, path: Path, sliced: tuple[int, ...], budget: int, seed: int
) -> Path:
    """Return the better of ``path`` and of what annealing with a limit on tensors makes of it."""
    candidates = [path]
    # Two operands and a result live at once, so aim at tensors of a quarter of the budget.
    annealer = Annealer(topology, path, sliced, size_limit=max(1, budget // 4))
    for run in range(RUNS):
        found = annealer.run(SWEEPS, seed * RUNS + run)[1]
        candidates.append(order_for_peak(topology, found, sliced))

    def rank(candidate: Path) -> float:
        cost = cost_of(topology, candidate, sliced)
        # Each halving of memory still missing is a cut, which costs up to twice the work.
        return math.log2(max(1, cost.multiply_adds)) + max(
            0.0, math.log2(max(1, cost.peak_elements) / budget)
        )

    return min(candidates, key=rank)


def best_cut(topology: Topology, path: Path, sliced: tuple[int, ...], budget: int) -> int | None:
    """Return the summed index whose slicing costs least for the memory it saves, if any saves."""
    given = topology.num_tensors
    kept = kept_indices(topology, path)
    fixed = set(topology.output) | set(sliced)
    candidates = [
        index
        for index in sorted({i for term in topology.inputs for i in term} - fixed)
        if topology.sizes[index] > 1 and any(k >> index & 1 for k in kept[given:])
    ]
    if not candidates:
        return None
    has = np.array([[k >> index & 1 for index in candidates] for k in kept], bool)
    sizes = np.array([topology.sizes[index] for index in candidates], float)
    left, right = np.array(path).T
    elements, work = _floats(topology, path, sliced, kept)
    share = work / work.sum()
    # A step without the index is repeated in every slice: its work grows by the index's size.
    growth = sizes - share @ (has[left] | has[right]) * (sizes - 1.0)

    def excess(cut_sizes: np.ndarray) -> np.ndarray:
        born, dead = cut_sizes[given:], cut_sizes[left] + cut_sizes[right]
        live = np.cumsum(born, axis=0) - np.cumsum(dead, axis=0) + dead
        return np.asarray(np.maximum(0.0, np.log2(np.maximum(live, 1.0) / budget)).sum(axis=0))

    before = excess(elements[:, None])
    saved = before - excess(np.where(has, elements[:, None] / sizes, elements[:, None]))
    useful = saved > 1e-9
    if not useful.any():
        return None
    price = np.where(useful, (np.log2(growth) + 1e-3) / np.where(useful, saved, 1.0), np.inf)
    return candidates[int(np.argmin(price))]


def _floats(
    topology: Topology, path: Path, sliced: tuple[int, ...], kept: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return elements of every made tensor (0 for those given) and the work of every step."""
    elements = Elements.of(topology, sliced)
    given = topology.num_tensors
    sizes = [0.0] * given + [float(elements(k)) for k in kept[given:]]
    work = [float(elements(kept[left] | kept[right])) for left, right in path]
    return np.array(sizes), np.array(work)
