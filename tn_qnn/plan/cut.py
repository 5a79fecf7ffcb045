"""A network cut where it stops to vary: what is fixed becomes values that are given.

Along a contraction path the largest branches without a varying tensor are networks of their own.
They are contracted once, or once for each sample; what is left takes their results as tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.network.network import Network, Tensor, one
from tn_qnn.plan.plan import Path


@dataclass(frozen=True, eq=False)
class Branch:
    """A network with its contraction path."""

    network: Network
    path: Path


@dataclass(frozen=True, eq=False)
class Cut:
    """A network in pieces.

    Attributes
    ----------
    rest
        What varies, with a tensor of ``given = k`` for the result of piece k.
    pieces
        What does not, each with the open indices of its result.
    """

    rest: Branch
    pieces: tuple[Branch, ...]


def cut(network: Network, path: Path, keep_samples: bool) -> Cut:
    """Cut a network along its path, where label "p" begins.

    Parameters
    ----------
    network, path
        What is contracted, and how.
    keep_samples
        Whether what depends on data alone is a piece too; else only constants are.

    Returns
    -------
    Cut
        Constants of the circuit and angles of data stay where they are: to give their values would
        save nothing.
    """
    return _Cutter(network, path, {SETS} if keep_samples else {SETS, SAMPLES}).run()


class _Cutter:
    def __init__(self, network: Network, path: Path, varying: set[str]) -> None:
        self.network, self.path = network, path
        self.leaves = len(network.tensors)
        self.labels = [tensor.labels for tensor in network.tensors]
        for left, right in path:
            self.labels.append(self.labels[left] | self.labels[right])
        self.varies = [not varying.isdisjoint(labels) for labels in self.labels]
        self.everywhere = _occurrences(network.tensors) + Counter(network.output)
        self.tensors: list[Tensor] = []
        self.pieces: list[Branch] = []

    def run(self) -> Cut:
        root = 2 * self.leaves - 2
        top = [node for node in range(self.leaves, root + 1) if self.varies[node]]
        names: dict[int, int] = {}  # the rest's leaves, then its steps in the order of the whole's
        for node in top:
            for child in self.path[node - self.leaves]:
                if child < self.leaves or not self.varies[child]:
                    names[child] = len(names)
                    self.tensors.append(self._leaf(child, self.labels[node]))
        names |= {node: len(names) + number for number, node in enumerate(top)}
        pairs = (self.path[node - self.leaves] for node in top)
        path: Path = tuple((names[left], names[right]) for left, right in pairs)
        if not top:  # nothing varies: the rest is the result of the only piece
            self.tensors, path = [self._leaf(root, frozenset()), one()], ((0, 1),)
        real = all(tensor.real for tensor in self.tensors)
        rest = replace(self.network, tensors=tuple(self.tensors), real=real)
        return Cut(Branch(rest, path), tuple(self.pieces))

    def _leaf(self, node: int, around: frozenset[str]) -> Tensor:
        """A tensor of the rest: one of the network's, or the result of a piece.

        Constants that differ between cones, and meet weights there, are given for every weight
        set: a batch whose values all have the same labels is walked as one.
        """
        if node < self.leaves and self._stays(self.network.tensors[node]):
            return self.network.tensors[node]
        piece = self._piece(node)
        self.pieces.append(piece)
        labels = self.labels[node]
        if labels == {CONES} and around == {CONES, SETS}:
            labels = around
        number, real = len(self.pieces) - 1, piece.network.real
        return Tensor(piece.network.output, None, -1, False, (), labels, real, number)

    def _stays(self, tensor: Tensor) -> bool:
        if tensor.labels & {SETS, SAMPLES} and tensor.coefficients is not None:
            return True
        constant = tensor.coefficients is not None and len(tensor.coefficients) == 1
        return constant or SETS in tensor.labels

    def _piece(self, root: int) -> Branch:
        leaves, steps, stack = [], [], [root]
        while stack:
            node = stack.pop()
            if node < self.leaves:
                leaves.append(node)
            else:
                steps.append(node)
                stack += self.path[node - self.leaves]
        steps.sort()
        names = {node: number for number, node in enumerate([*leaves, *steps])}
        tensors = [self.network.tensors[node] for node in leaves]
        pairs = (self.path[node - self.leaves] for node in steps)
        path: Path = tuple((names[left], names[right]) for left, right in pairs)
        output = self._open(tensors)
        if not steps:
            tensors, path = [*tensors, one()], ((0, 1),)
        real = all(tensor.real for tensor in tensors)
        network = replace(self.network, tensors=tuple(tensors), output=output, real=real)
        return Branch(network, path)

    def _open(self, tensors: list[Tensor]) -> tuple[int, ...]:
        """Indices of some tensors that others, or the output, have too."""
        if len(tensors) == self.leaves:
            return self.network.output
        here = _occurrences(tensors)
        return tuple(i for i in here if here[i] < self.everywhere[i])


def _occurrences(tensors: Iterable[Tensor]) -> Counter[int]:
    return Counter(i for tensor in tensors for i in dict.fromkeys(tensor.indices))
