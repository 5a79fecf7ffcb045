"""All readouts of a model as batches of equal cones, each with its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable
from tn_qnn.network.canonical import Cone, batch_labels, canonical_cone, group_cones
from tn_qnn.network.elements import circuit_elements
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.network.network import Network, build_network
from tn_qnn.network.readout import group_readouts, num_outputs


@dataclass(frozen=True, eq=False)
class ConeBatch:
    """Cones of one topology and the network that they share.

    Attributes
    ----------
    cones
        All of one signature.
    network
        With the labels of their tensors.
    free
        Names of the weights that vary, None for all: the network has label "p" for these alone.
    path
        The contraction path to take, as SSA pairs; None to search for one.
    """

    cones: tuple[Cone, ...]
    network: Network
    free: frozenset[str] | None = None
    path: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, eq=False)
class Readouts:
    """Everything that a model reads out.

    Attributes
    ----------
    batches
        Distinct topologies.
    constants
        Pairs (output, value) of identity terms.
    num_outputs
        Length of the output vector.
    """

    batches: tuple[ConeBatch, ...]
    constants: tuple[tuple[int, float], ...]
    num_outputs: int

    @cached_property
    def offsets(self) -> NDArray[np.float64]:
        """What identity terms add to each output, shape (K,)."""
        found = np.zeros(self.num_outputs)
        for output, value in self.constants:
            found[output] += value
        return found

    def per_sample(self) -> Readouts:
        """The same for weight sets a sample: whatever depends on weights has label "s" too."""
        return replace(self, batches=tuple(map(_per_sample, self.batches)))


def _per_sample(batch: ConeBatch) -> ConeBatch:
    tensors = tuple(
        replace(tensor, labels=tensor.labels | {SAMPLES}) if SETS in tensor.labels else tensor
        for tensor in batch.network.tensors
    )
    return replace(batch, network=replace(batch.network, tensors=tensors))


def cone_batch(
    cones: Sequence[Cone],
    free: frozenset[str] | None = None,
    path: tuple[tuple[int, int], ...] | None = None,
) -> ConeBatch:
    """Cones of one signature with their network; see :class:`ConeBatch`."""
    return ConeBatch(tuple(cones), build_network(cones[0], batch_labels(cones, free)), free, path)


def read_out(circuits: Sequence[Circuit], observables: Sequence[Observable]) -> Readouts:
    """Cones, topologies and networks of every observable on every circuit.

    Outputs are in the order: first circuit with all observables, second circuit, ...
    """
    cones: list[Cone] = []
    constants: dict[int, float] = {}
    first = 0
    for circuit in circuits:
        elements = circuit_elements(circuit)
        groups, added = group_readouts(elements, observables, first)
        constants |= added
        cones += [canonical_cone(elements, group) for group in groups]
        first += sum(map(num_outputs, observables))
    batches = tuple(map(cone_batch, group_cones(cones)))
    return Readouts(batches, tuple(sorted(constants.items())), first)
