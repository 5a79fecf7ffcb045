"""By which frequencies a model's outputs turn with each of its weights.

A factor whose angle holds ``a * w`` makes an output turn with ``w`` by the differences of its
eigenphases, times a. A weight that stands in several factors of a cone has all sums and
differences of one of each. Source: M. Schuld, R. Sweke, J. J. Meyer, Phys. Rev. A 103 (2021)
032430, for data; weights are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from tn_qnn.errors import InputError
from tn_qnn.network.batch import Readouts
from tn_qnn.network.canonical import Cone
from tn_qnn.network.elements import Element
from tn_qnn.program.angles import NOTHING

MAX_FREQUENCIES = 64
EQUAL = 1e-9  # frequencies that are closer than this, relative to the largest, are one

Frequencies = tuple[float, ...]
INSTEAD = "use ExactGradient, or SPSA, which need none."


def weight_frequencies(
    readouts: Readouts, names: Sequence[str], frozen: Mapping[str, float] = NOTHING
) -> tuple[Frequencies, ...]:
    """The positive frequencies, in ascending order, of all outputs together.

    Parameters
    ----------
    readouts
        Cones of all outputs.
    names
        The weights.
    frozen
        Values of the other weights, where there are any.

    Returns
    -------
    tuple
        One tuple a weight, empty for a weight outside of all cones.

    Raises
    ------
    InputError
        When a weight has no finite spectrum that holds for all data: it multiplies a feature or a
        weight, or belongs to a tensor-valued block; or when it has more than 64 frequencies.

    Examples
    --------
    >>> from tn_qnn.circuit.circuit import Circuit
    >>> from tn_qnn.circuit.observables import Z
    >>> from tn_qnn.circuit.slots import weight
    >>> from tn_qnn.network.batch import read_out
    >>> circuit = Circuit(2).ry(weight("a"), 0).cry(weight("b"), 0, 1).rx(2 * weight("a"), 1)
    >>> weight_frequencies(read_out([circuit], [Z(1)]), ["a", "b"])
    ((1.0, 2.0, 3.0), (0.5, 1.0))
    """
    found: dict[str, set[tuple[Frequencies, ...]]] = {name: set() for name in names}
    for batch in readouts.batches:
        for cone in batch.cones:
            for name, parts in _turns(cone, frozen).items():
                found[name].add(tuple(sorted(parts)))
    return tuple(_spectrum(name, cones) for name, cones in found.items())


def _turns(cone: Cone, frozen: Mapping[str, float]) -> dict[str, list[Frequencies]]:
    """For each weight of a cone, the frequencies that each factor with it alone would give."""
    found: dict[str, list[Frequencies]] = {}
    for element in cone.elements:
        if element.block is not None and not element.weight_names <= frozen.keys():
            raise InputError(
                f"weights: {element.weights[0]!r} is an entry of the tensor-valued weight "
                f"{element.block.name!r}, so outputs have no frequencies in it; {INSTEAD}"
            )
        for monomial, coefficient in element.angle.terms:
            free = [name for name in monomial.weights if name not in frozen]
            if not free:
                continue
            name = free[0]
            if len(free) + len(monomial.features) > 1:
                raise InputError(
                    f"weights: {name!r} stands in the angle {element.angle} in a product, so the "
                    f"frequencies of outputs depend on data or on other weights; {INSTEAD}"
                )
            scale = math.prod(frozen[x] for x in monomial.weights if x in frozen)
            found.setdefault(name, []).append(_of_factor(element, coefficient * scale))
    return found


def _of_factor(element: Element, coefficient: float) -> Frequencies:
    factor = element.factor
    assert factor is not None  # an angle has a factor
    # The element's angle is the gate's times the factor's frequency already.
    scale = abs(coefficient) / abs(factor.frequency)
    return tuple(scale * frequency for frequency in factor.frequencies)


def _spectrum(name: str, cones: Iterable[tuple[Frequencies, ...]]) -> Frequencies:
    """All frequencies of a weight in several cones."""
    values = [value for parts in sorted(cones) for value in _sums(parts)]
    result = tuple(value for value in _distinct(values) if value > 0.0)
    if len(result) > MAX_FREQUENCIES:
        raise InputError(
            f"weights: outputs turn with {name!r} by more than {MAX_FREQUENCIES} frequencies, "
            f"since it stands in many gates; give the gates weights of their own, or {INSTEAD}"
        )
    return result


@lru_cache(maxsize=1024)
def _sums(parts: tuple[Frequencies, ...]) -> Frequencies:
    """Sums and differences of zero or one frequency of each part, not negative."""
    values: Frequencies = (0.0,)
    for part in parts:
        pairs = [(old, new) for old in values for new in part]
        values = _distinct([*values, *(a + b for a, b in pairs), *(abs(a - b) for a, b in pairs)])
        if len(values) > MAX_FREQUENCIES + 1:  # and zero; more parts can only add to them
            break
    return values


def _distinct(values: Iterable[float]) -> Frequencies:
    """The values in ascending order, each once, rounding aside."""
    ordered = sorted(values)
    step = EQUAL * max(ordered, default=0.0)
    kept = [b for a, b in zip([-1.0, *ordered], ordered, strict=False) if b - a > step]
    # Rounding may make a zero of a difference.
    return tuple(0.0 if value <= step else value for value in kept)
