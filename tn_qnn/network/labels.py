"""Batch labels: hyper-indices of the network that are no wires."""

from collections.abc import Iterable

CONES, SETS, SAMPLES = "c", "p", "s"

#: All labels in the order in which they are laid out in memory.
LABELS = (CONES, SETS, SAMPLES)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in the order of their layout.

    Examples
    --------
    >>> ordered({"s", "c"})
    ('c', 's')
    """
    found = set(labels)
    return tuple(label for label in LABELS if label in found)
