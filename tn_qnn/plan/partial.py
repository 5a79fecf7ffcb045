"""Paths for a network of which only some tensors vary from step to step.

What depends on no varying tensor is contracted once, or once for each sample, and kept. So a path
is as good as the work of its steps that hold a varying tensor. The tree of the whole network is
always a candidate: a part is never dearer than the whole.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tn_qnn.network.labels import SETS
from tn_qnn.network.network import Network
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.network import topology_of
from tn_qnn.plan.order import order_for_peak
from tn_qnn.plan.plan import Elements, Path, kept_indices

#: How often a varying step runs for each time that a fixed one does, in the eyes of the search.
REPEATS = 16
#: Multiply-adds of varying steps from which a search of its own is worth its tenths of a second.
WORTH_A_SEARCH = 10_000_000


@dataclass(frozen=True, order=True)
class Work:
    """Multiply-adds of a path's steps, batch labels at their sizes.

    Attributes
    ----------
    varying
        Of steps that depend on weight sets: they run every time.
    data
        Of those that depend on samples alone: once for each sample.
    constant
        Of the rest: once.
    """

    varying: int
    data: int
    constant: int


def work_of(network: Network, path: Path, sets: int, samples: int) -> Work:
    """What the steps of a path cost, by what they depend on."""
    topology = topology_of(network, sets, samples)
    elements = Elements.of(topology)
    first = len(network.sizes)
    p, s = 1 << first, 1 << (first + 1)
    kept = kept_indices(topology, path)
    total = [0, 0, 0]
    for left, right in path:
        indices = kept[left] | kept[right]
        total[0 if indices & p else 1 if indices & s else 2] += elements(indices)
    return Work(*total)


def part_path(network: Network, path: Path, sets: int, samples: int) -> Path:
    """The best path for a network whose label "p" stands on what varies.

    Parameters
    ----------
    network
        Fewer tensors depend on weight sets than in the whole.
    path
        Of the whole, by SSA pairs.
    sets, samples
        Batch that the path is made for.

    Returns
    -------
    tuple
        One of: the whole's path, the same tree with its root moved to what varies, and the path
        of a search of its own where there is enough to be gained.
    """
    found = _trees(network, path, sets, samples)
    if tree_work(network, path, sets, samples).varying > WORTH_A_SEARCH:
        searched = topology_of(network, REPEATS * sets, samples)
        found.append(find_plan(searched, "fast").path)
    return min(found, key=lambda one: work_of(network, one, sets, samples))


def tree_work(network: Network, path: Path, sets: int, samples: int) -> Work:
    """What the network costs along the whole's tree, with the best of its roots."""
    trees = _trees(network, path, sets, samples)
    return min(work_of(network, one, sets, samples) for one in trees)


def _trees(network: Network, path: Path, sets: int, samples: int) -> list[Path]:
    moved = rerooted(path, [k for k, t in enumerate(network.tensors) if SETS in t.labels])
    if moved == path:
        return [path]
    return [path, order_for_peak(topology_of(network, sets, samples), moved)]


def rerooted(path: Path, marked: Collection[int]) -> Path:
    """The same tree with its root at the smallest subtree that holds all marked leaves.

    In a tree whose edges are the cuts of a network any edge can be the root. The branches that
    hang off the way from the old root to the new one then become one branch without marked leaves.

    Examples
    --------
    >>> rerooted(((0, 1), (4, 2), (5, 3)), marked=[1])      # ((0 1) 2) 3
    ((3, 2), (4, 0), (5, 1))
    >>> rerooted(((0, 1), (4, 2), (5, 3)), marked=[1, 3])
    ((0, 1), (4, 2), (5, 3))
    """
    leaves = len(path) + 1
    inside = [int(leaf in marked) for leaf in range(leaves)]
    for left, right in path:
        inside.append(inside[left] + inside[right])
    node, aside = 2 * leaves - 2, []
    while node >= leaves and inside[-1]:
        left, right = path[node - leaves]
        below = next((k for k in (left, right) if inside[k] == inside[-1]), None)
        if below is None:
            break
        aside.append(right if below == left else left)
        node = below
    if not aside:
        return path
    return _Rewritten(path).around(node, aside)


class _Rewritten:
    """SSA pairs of subtrees of a path, numbered anew."""

    def __init__(self, path: Path) -> None:
        self.old, self.leaves = path, len(path) + 1
        self.new: list[tuple[int, int]] = []

    def around(self, node: int, aside: list[int]) -> Path:
        outside = self.subtree(aside[0])
        for branch in aside[1:]:
            outside = self.pair(outside, self.subtree(branch))
        self.pair(outside, self.subtree(node))
        return tuple(self.new)

    def subtree(self, root: int) -> int:
        """Number of a subtree's result."""
        names: dict[int, int] = {}
        stack = [root]
        while stack:
            node = stack[-1]
            if node < self.leaves:
                names[stack.pop()] = node
                continue
            left, right = self.old[node - self.leaves]
            waiting = [child for child in (left, right) if child not in names]
            if waiting:
                stack += waiting
                continue
            names[stack.pop()] = self.pair(names[left], names[right])
        return names[root]

    def pair(self, left: int, right: int) -> int:
        self.new.append((left, right))
        return self.leaves + len(self.new) - 1
