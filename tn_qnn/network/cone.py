"""The light cone of a readout: the elements that do not cancel with their conjugates.

An element outside the readout's past cancels (U†U = 1). So does one inside it that commutes
with all that it meets on the way out. Per wire we keep the algebra in which the evolved
readout lies: nothing, the algebra of one Pauli axis, or anything; an element whose own
axis agrees on every wire that is not empty commutes.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Mapping

from tn_qnn.network.elements import Element, Elements

ANY = "*"


def light_cone(circuit: Elements, axes: Mapping[int, str]) -> tuple[int, ...]:
    """Positions of the elements in the cone, in time order.

    Parameters
    ----------
    circuit
        The elements of the circuit.
    axes
        For each observed wire the Pauli axis of the readout there, or ``ANY``.

    Returns
    -------
    tuple of int
        The cost is that of the cone, not of the circuit.
    """
    status = dict(axes)
    left = {wire: len(circuit.on_wire[wire]) for wire in status}
    queue: list[int] = []

    def advance(wire: int) -> None:
        if left[wire]:
            left[wire] -= 1
            heapq.heappush(queue, -circuit.on_wire[wire][left[wire]])

    for wire in status:
        advance(wire)
    kept: list[int] = []
    while queue:
        position = -heapq.heappop(queue)
        while queue and queue[0] == -position:
            heapq.heappop(queue)
        element = circuit.elements[position]
        active = [wire for wire in element.wires if wire in status]
        if not commutes(element, status):
            kept.append(position)
            for wire in element.wires:
                if wire not in status:
                    # elements on this wire that come later act on the identity: they cancel
                    left[wire] = bisect_left(circuit.on_wire[wire], position)
            absorb(element, status)
            active = list(element.wires)
        for wire in active:
            advance(wire)
    return tuple(reversed(kept))


def commutes(element: Element, status: Mapping[int, str]) -> bool:
    """Whether the element commutes with whatever lies in the algebras ``status``."""
    return all(
        wire not in status or (axis is not None and status[wire] == axis)
        for wire, axis in zip(element.wires, element.axes, strict=True)
    )


def absorb(element: Element, status: dict[int, str]) -> None:
    """Update the algebras after the readout is conjugated by the element."""
    if element.factor is not None and element.factor.axis_map:
        wire = element.wires[0]
        status[wire] = element.factor.axis_map.get(status[wire], ANY)
        return
    for wire, axis in zip(element.wires, element.axes, strict=True):
        old = status.get(wire)
        status[wire] = (axis or ANY) if old is None or old == axis else ANY
