"""Outputs of a model as terms, and terms that share a cone as one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tn_qnn.circuit.observables import DensityMatrix, Observable, PauliSum
from tn_qnn.network.cone import ANY, light_cone
from tn_qnn.network.elements import Elements

MAX_TERMS = 256  # terms that one network carries along an index of its own

#: Letters of a term: Pauli axes and the projectors on 0 and 1.
Letters = tuple[tuple[int, str], ...]
AXIS = {"X": "X", "Y": "Y", "Z": "Z", "0": "Z", "1": "Z"}


@dataclass(frozen=True)
class Readout:
    """What one network reads out.

    Attributes
    ----------
    wires
        Observed wires, sorted (for an open readout in the order asked for).
    terms
        For each term the letter on every wire of ``wires`` ("I" where it has none);
        empty for an open readout, which is the density matrix of the wires.
    """

    wires: tuple[int, ...]
    terms: tuple[str, ...]

    @property
    def axes(self) -> dict[int, str]:
        """The algebra on each observed wire."""
        if not self.terms:
            return dict.fromkeys(self.wires, ANY)
        found = {}
        for place, wire in enumerate(self.wires):
            axes = {AXIS[term[place]] for term in self.terms if term[place] != "I"}
            found[wire] = axes.pop() if len(axes) == 1 else ANY
        return found


@dataclass(frozen=True)
class Group:
    """A readout with its cone, and where its values go.

    Attributes
    ----------
    readout, cone
        The readout and the positions of the elements in its cone.
    parts
        For each term of the readout the pairs (output, coefficient) it adds to; for an open
        readout one entry with the first of its outputs.
    """

    readout: Readout
    cone: tuple[int, ...]
    parts: tuple[tuple[tuple[int, float], ...], ...]


def num_outputs(observable: Observable) -> int:
    """How many real numbers an observable gives."""
    return 4 ** len(observable.qubits) if isinstance(observable, DensityMatrix) else 1


def group_readouts(
    circuit: Elements, observables: Sequence[Observable], first_output: int = 0
) -> tuple[list[Group], dict[int, float]]:
    """Group the terms of all observables so that each cone is contracted once.

    Returns
    -------
    groups
        Terms on the same wires, and terms with the very same cone, are one group.
    constants
        What the identity terms add to each output.
    """
    parts: dict[Letters, list[tuple[int, float]]] = {}
    constants: dict[int, float] = {}
    groups: list[Group] = []
    output = first_output
    for observable in observables:
        if isinstance(observable, DensityMatrix):
            readout = Readout(tuple(circuit.wire_of[q] for q in observable.qubits), ())
            cone = light_cone(circuit, readout.axes)
            groups.append(Group(readout, cone, (((output, 1.0),),)))
        elif isinstance(observable, PauliSum):
            for string, coefficient in observable.terms:
                if not string:
                    constants[output] = constants.get(output, 0.0) + coefficient.real
                    continue
                letters = tuple(sorted((circuit.wire_of[q], axis) for q, axis in string))
                parts.setdefault(letters, []).append((output, coefficient.real))
        else:
            letters = tuple(sorted((circuit.wire_of[q], str(b)) for q, b in observable.bits))
            parts.setdefault(letters, []).append((output, 1.0))
        output += num_outputs(observable)
    groups += _merge(circuit, parts)
    return groups, constants


def _merge(circuit: Elements, parts: dict[Letters, list[tuple[int, float]]]) -> list[Group]:
    by_wires: dict[tuple[int, ...], list[Letters]] = {}
    for letters in parts:
        by_wires.setdefault(tuple(wire for wire, _ in letters), []).append(letters)
    by_cone: dict[tuple[int, ...], list[list[Letters]]] = {}
    for family in by_wires.values():
        cone = light_cone(circuit, _readout(family).axes)
        by_cone.setdefault(cone, []).append(family)
    groups = []
    for cone, families in by_cone.items():
        lots = families
        if cone and len(families) > 1:
            together = [letters for family in families for letters in family]
            # terms together may commute with fewer elements than each of them alone
            if light_cone(circuit, _readout(together).axes) == cone:
                lots = [together]
        for lot in lots:
            for start in range(0, len(lot), MAX_TERMS):
                some = lot[start : start + MAX_TERMS]
                values = tuple(tuple(parts[letters]) for letters in some)
                groups.append(Group(_readout(some), cone, values))
    return groups


def _readout(family: Sequence[Letters]) -> Readout:
    wires = tuple(sorted({wire for letters in family for wire, _ in letters}))
    terms = tuple("".join(dict(letters).get(wire, "I") for wire in wires) for letters in family)
    return Readout(wires, terms)
