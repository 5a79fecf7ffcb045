"""Cones of equal topology: relabelled so that they share one plan and one program."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from tn_qnn.network.elements import Element, Elements
from tn_qnn.network.labels import CONES, SAMPLES, SETS
from tn_qnn.network.readout import Group


@dataclass(frozen=True, eq=False)
class Cone:
    """A group's cone in canonical order.

    Attributes
    ----------
    elements
        In time order.
    wires
        For each element its wires, numbered from 0: first the observed ones, then in the
        order in which a walk back from the readout meets them.
    terms
        Letters of the readout's terms on the observed wires; empty for an open readout.
    num_observed, num_wires
        Observed wires, and all wires.
    parts
        As in :class:`~tn_qnn.network.readout.Group`.
    signature
        Equal for two cones exactly if they can share a network: wires, tensors (with their
        constants) and what depends on weights or data, but no angle and no name.
    """

    elements: tuple[Element, ...]
    wires: tuple[tuple[int, ...], ...]
    terms: tuple[str, ...]
    num_observed: int
    num_wires: int
    parts: tuple[tuple[tuple[int, float], ...], ...]
    signature: Hashable


def canonical_cone(circuit: Elements, group: Group) -> Cone:
    """Relabel the wires of a group's cone and sort its elements, independent of position."""
    label = {wire: k for k, wire in enumerate(group.readout.wires)}
    level_of_wire: dict[int, int] = {}
    levels: list[list[Element]] = []
    for position in reversed(group.cone):
        element = circuit.elements[position]
        level = max(level_of_wire.get(wire, 0) for wire in element.wires)
        level_of_wire.update(dict.fromkeys(element.wires, level + 1))
        if level == len(levels):
            levels.append([])
        levels[level].append(element)
    elements: list[Element] = []
    wires: list[tuple[int, ...]] = []
    for together in levels:
        # elements of one level share no wire, and each has one that is labelled
        unknown = len(label)
        together.sort(key=lambda e: min(label.get(w, unknown) for w in e.wires))
        for element in together:
            known = tuple(label.setdefault(w, len(label)) for w in _by_label(element, label))
            elements.append(element)
            wires.append(known)
    elements.reverse()
    wires.reverse()
    terms, observed = group.readout.terms, len(group.readout.wires)
    signature = (terms, observed, tuple(wires), tuple(e.topology for e in elements))
    return Cone(tuple(elements), tuple(wires), terms, observed, len(label), group.parts, signature)


def group_cones(cones: Sequence[Cone]) -> list[list[Cone]]:
    """Cones of equal signature together, in the order of first appearance."""
    found: dict[Hashable, list[Cone]] = {}
    for cone in cones:
        found.setdefault(cone.signature, []).append(cone)
    return list(found.values())


def _by_label(element: Element, label: dict[int, int]) -> tuple[int, ...]:
    """The wires of a symmetric element by label, so that mirrored cones are equal too."""
    if element.factor is None or not element.factor.symmetric:
        return element.wires
    return tuple(sorted(element.wires, key=lambda w: label.get(w, len(label))))


def batch_labels(
    cones: Sequence[Cone], free: Collection[str] | None = None
) -> tuple[frozenset[str], ...]:
    """For each element of cones of one signature, the batch labels its tensor depends on.

    Parameters
    ----------
    cones
        Of one signature.
    free
        Names of the weights that vary, None for all; the others are numbers, whatever these are:
        an element that is free in one cone varies in all.
    """
    found = []
    for position, element in enumerate(cones[0].elements):
        labels = set()
        others = [cone.elements[position] for cone in cones[1:]]
        if varies(element, free) or (free is not None and any(varies(e, free) for e in others)):
            labels.add(SETS)
        if element.uses_features:
            labels.add(SAMPLES)
        same = (element.angle, element.weights)
        if any((other.angle, other.weights) != same for other in others):
            labels.add(CONES)
        found.append(frozenset(labels))
    return tuple(found)


def varies(element: Element, free: Collection[str] | None) -> bool:
    """Whether an element depends on weights, where only some of them are free."""
    if free is None or not element.uses_weights:
        return element.uses_weights
    return not element.weight_names.isdisjoint(free)


def free_positions(cone: Cone, free: Collection[str]) -> tuple[int, ...]:
    """Positions of the elements of a cone that depend on free weights."""
    return tuple(k for k, element in enumerate(cone.elements) if varies(element, free))
