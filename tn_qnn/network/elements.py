"""A circuit as elements on wires: what the light cone walks over."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

from tn_qnn.circuit.blocks import Block
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.factors import Factor
from tn_qnn.circuit.slots import Expr


@dataclass(frozen=True, eq=False)
class Element:
    """One unitary tensor of the circuit: a factor of a gate, or a tensor-valued weight.

    Attributes
    ----------
    wires
        Wires it acts on. A SWAP exchanges wires and leaves no element.
    factor
        The gate's factor, None for a block.
    angle
        The factor's angle times its frequency; empty for constants and blocks.
    block
        The tensor-valued weight, None for a factor.
    weights
        For a block, the names of its coordinates.
    """

    wires: tuple[int, ...]
    factor: Factor | None
    angle: Expr = Expr()
    block: Block | None = None
    weights: tuple[str, ...] = ()

    @property
    def diagonal(self) -> tuple[bool, ...]:
        """For each wire, whether it is a hyper-edge of this element."""
        return self.factor.diagonal if self.factor else (False,) * len(self.wires)

    @property
    def axes(self) -> tuple[str | None, ...]:
        """For each wire, the Pauli axis that the element commutes with there."""
        return self.factor.axes if self.factor else (None,) * len(self.wires)

    @cached_property
    def topology(self) -> Hashable:
        """What two elements share if they can be one tensor of a common network."""
        tensor = self.factor.key if self.factor else self.block
        kind = (tensor.kind, tensor.chart) if isinstance(tensor, Block) else tensor
        return (kind, self.uses_weights, self.uses_features)

    @property
    def uses_weights(self) -> bool:
        """True where its tensor depends on weights."""
        return self.block is not None or bool(self.angle.weights)

    @property
    def uses_features(self) -> bool:
        """True where its tensor depends on data."""
        return bool(self.angle.features)

    @property
    def weight_names(self) -> frozenset[str]:
        """Names of all weights it depends on."""
        return self.angle.weights | frozenset(self.weights)


@dataclass(frozen=True, eq=False)
class Elements:
    """All elements of a circuit in time order.

    Attributes
    ----------
    elements
        In the order in which they act.
    wire_of
        The wire that each qubit ends on.
    """

    num_wires: int
    elements: tuple[Element, ...]
    wire_of: tuple[int, ...]

    @cached_property
    def on_wire(self) -> tuple[tuple[int, ...], ...]:
        """For each wire, the positions of the elements that touch it, in time order."""
        found: list[list[int]] = [[] for _ in range(self.num_wires)]
        for position, element in enumerate(self.elements):
            for wire in element.wires:
                found[wire].append(position)
        return tuple(map(tuple, found))


def circuit_elements(circuit: Circuit) -> Elements:
    """Break a circuit into elements; what only puts a phase on ``|0...0>`` is left out."""
    wire_of = list(range(circuit.num_qubits))
    still_zero = [True] * circuit.num_qubits
    found: list[Element] = []

    def add(element: Element) -> None:
        if all(element.diagonal) and all(still_zero[wire] for wire in element.wires):
            return
        for wire, diagonal in zip(element.wires, element.diagonal, strict=True):
            still_zero[wire] = still_zero[wire] and diagonal
        found.append(element)

    for op in circuit.operations:
        wires = [wire_of[q] for q in op.qubits]
        if op.block is not None:
            add(Element(tuple(wires), None, block=op.block, weights=op.weights))
            continue
        for factor in op.factors:
            here = tuple(wires[k] for k in factor.qubits)
            angle = (
                Expr()
                if factor.parameter is None
                else op.params[factor.parameter] * factor.frequency
            )
            add(Element(here, factor, angle))
        permutation = None if op.gate == "unitary" else op.record.permutation
        if permutation is not None:
            for k, place in enumerate(permutation):
                wire_of[op.qubits[place]] = wires[k]
    return Elements(circuit.num_qubits, tuple(found), tuple(wire_of))
