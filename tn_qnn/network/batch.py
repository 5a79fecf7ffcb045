"""All readouts of a model as batches of equal cones, each with its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable
from tn_qnn.network.canonical import Cone, batch_labels, canonical_cone, group_cones
from tn_qnn.network.elements import circuit_elements
from tn_qnn.network.network import Network, build_network
from tn_qnn.network.readout import group_readouts, num_outputs


@dataclass(frozen=True, eq=False)
class ConeBatch:
    """Cones of one topology and the network that they share."""

    cones: tuple[Cone, ...]
    network: Network


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

    def per_sample(self) -> Readouts:
        """The same for weight sets a sample: whatever depends on weights has label "s" too."""
        batches = tuple(_batch(batch.cones, weights_per_sample=True) for batch in self.batches)
        return replace(self, batches=batches)


def _batch(cones: Sequence[Cone], weights_per_sample: bool) -> ConeBatch:
    labels = batch_labels(cones, weights_per_sample)
    return ConeBatch(tuple(cones), build_network(cones[0], labels))


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
    batches = tuple(_batch(equal, weights_per_sample=False) for equal in group_cones(cones))
    return Readouts(batches, tuple(sorted(constants.items())), first)
