"""Simulated annealing of contraction trees: the search behind every level but ``"greedy"``.

The moves are the rotations of a binary tree, ((a b) c) -> ((a c) b), as in Kalachev, Panteleev and
Yung, arXiv:2108.05665 (TreeSA). A rotation changes the indices of one node only, and what that
node keeps follows from its neighbours: (a | c) & (b | parent). With index sets as bit masks a move
costs well under a microsecond, so some hundred thousand of them fit where a search in Python
makes a few hundred.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tn_qnn.plan.plan import Path, kept_indices
from tn_qnn.plan.topology import Topology

HOT, COLD = 1.0, 0.05  # temperatures, in units of the natural logarithm of a step's cost
FROZEN = 0.03  # share of the sweeps at the end that accept no loss
PENALTY = 4.0  # exponent by which a tensor over the size limit makes its step dearer
CEILING = 900.0  # log2 costs above are not told apart, so that no sum overflows


def _sweep_tree(
    left: np.ndarray,
    right: np.ndarray,
    legs: np.ndarray,
    cost: np.ndarray,
    excess: np.ndarray,
    weights: np.ndarray,
    limit: float,
    temperatures: np.ndarray,
    seed: int,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Anneal in place; return the lowest total cost seen and its tree. Compiled by Numba."""

    def ones(word: Any) -> Any:  # inlined: number of set bits of a uint64
        word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
        word = (word & np.uint64(0x3333333333333333)) + (
            (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
        )
        word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)

    nodes, words = legs.shape
    first = (nodes + 1) // 2  # the first node that is no leaf
    best = cost.sum()
    best_left, best_right = left.copy(), right.copy()
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x14057B7EF767814F)
    fresh = np.empty(words, np.uint64)
    for temperature in temperatures:
        for parent in range(first, nodes):
            state ^= state << np.uint64(13)  # xorshift64, repeatable from its seed
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            child, c = left[parent], right[parent]
            if state & np.uint64(1):
                child, c = c, child
            if child < first:
                child, c = c, child
                if child < first:
                    continue
            a, b = left[child], right[child]
            if state & np.uint64(2):
                a, b = b, a
            lower = 0.0
            upper = 0.0
            size = 0.0
            for w in range(words):
                joined = legs[a, w] | legs[c, w]
                kept = joined & (legs[b, w] | legs[parent, w])
                fresh[w] = kept
                lower += ones(joined) * weights[w]
                upper += ones(kept | legs[b, w]) * weights[w]
                size += ones(kept) * weights[w]
            over = PENALTY * max(0.0, size - limit)
            cost_child = 2.0 ** min(lower + over, CEILING)
            cost_parent = 2.0 ** min(upper + excess[parent], CEILING)
            old, new = cost[child] + cost[parent], cost_child + cost_parent
            if new > old:
                chance = (state >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                if temperature <= 0.0 or chance >= (old / new) ** (1.0 / temperature):
                    continue
            for w in range(words):
                legs[child, w] = fresh[w]
            cost[child], cost[parent], excess[child] = cost_child, cost_parent, over
            left[child], right[child] = a, c
            left[parent], right[parent] = child, b
        total = cost.sum()
        if total < best:
            best = total
            best_left[:] = left
            best_right[:] = right
    return best, best_left, best_right


@functools.cache
def _compiled() -> Callable[..., Any]:
    from numba import njit

    try:
        kernel: Callable[..., Any] = njit(cache=True, nogil=True)(_sweep_tree)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        kernel = njit(nogil=True)(_sweep_tree)
    return kernel


class Annealer:
    """A topology and a starting path, translated once for any number of annealing runs.

    Parameters
    ----------
    topology
        Network of at least two tensors.
    path
        Where every run starts.
    sliced
        Indices that are fixed and so take no part.
    size_limit
        Elements of the largest intermediate that costs no penalty; ``inf`` for none.
    """

    def __init__(
        self,
        topology: Topology,
        path: Path,
        sliced: tuple[int, ...] = (),
        size_limit: float = math.inf,
    ) -> None:
        self.num_tensors = topology.num_tensors
        by_size: dict[int, list[int]] = {}
        for index in sorted(
            {i for term in topology.inputs for i in term if topology.sizes[i] > 1} - set(sliced)
        ):
            by_size.setdefault(topology.sizes[index], []).append(index)
        # One word holds indices of one size only, so a popcount times a weight is its log2 size.
        packed = [
            (size, ids[k : k + 64]) for size, ids in by_size.items() for k in range(0, len(ids), 64)
        ]
        self.weights = np.array([math.log2(size) for size, _ in packed])
        place = {index: (w, b) for w, (_, ids) in enumerate(packed) for b, index in enumerate(ids)}
        kept = kept_indices(topology, path)
        bits = np.zeros((len(kept), len(topology.sizes)), bool)
        for node, indices in enumerate(kept):
            while indices:
                low = indices & -indices
                bits[node, low.bit_length() - 1] = True
                indices ^= low
        self.legs = np.zeros((len(kept), len(packed)), np.uint64)
        for index, (word, bit) in place.items():
            self.legs[:, word] |= bits[:, index].astype(np.uint64) << np.uint64(bit)
        self.left = np.full(len(kept), -1)
        self.right = np.full(len(kept), -1)
        self.left[self.num_tensors :], self.right[self.num_tensors :] = np.array(path).T
        self.limit = math.log2(size_limit)
        self.excess = PENALTY * np.maximum(0.0, self._log_sizes(self.legs) - self.limit)
        self.cost = np.zeros(len(kept))
        made = slice(self.num_tensors, None)
        joined = self.legs[self.left[made]] | self.legs[self.right[made]]
        self.cost[made] = np.exp2(np.minimum(self._log_sizes(joined) + self.excess[made], CEILING))

    def _log_sizes(self, legs: np.ndarray) -> np.ndarray:
        return np.asarray(np.bitwise_count(legs) @ self.weights)

    @property
    def sweep_work(self) -> int:
        """Words of index masks that one sweep touches: a sweep's time goes with it."""
        return (self.num_tensors - 1) * (len(self.weights) + 4)

    def run(self, sweeps: int, seed: int, hot: float = HOT) -> tuple[float, Path]:
        """Anneal once; the same arguments give the same path.

        Returns
        -------
        (float, path)
            Multiply-adds of one slice with the penalties, and the best path seen.
        """
        temperatures = hot * (COLD / hot) ** np.linspace(0.0, 1.0, sweeps)
        temperatures[int(sweeps * (1 - FROZEN)) :] = 0.0
        arrays = [a.copy() for a in (self.left, self.right, self.legs, self.cost, self.excess)]
        total, left, right = _compiled()(
            *arrays, self.weights, self.limit, temperatures, seed % 2**62 + 1
        )
        return float(total), tree_path(left.tolist(), right.tolist(), self.num_tensors)


def tree_path(left: list[int], right: list[int], num_tensors: int) -> Path:
    """Return the SSA path of a tree whose inner nodes have any order; its root is the last node."""
    made: list[int] = []
    stack = [len(left) - 1] if len(left) > num_tensors else []
    while stack:  # parents before children; reversed, children before parents
        node = stack.pop()
        made.append(node)
        stack += [child for child in (left[node], right[node]) if child >= num_tensors]
    name = list(range(len(left)))
    for step, node in enumerate(reversed(made)):
        name[node] = num_tensors + step
    return tuple((name[left[node]], name[right[node]]) for node in reversed(made))
