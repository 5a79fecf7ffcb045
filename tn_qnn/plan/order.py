"""The order of a tree's steps that keeps the fewest elements alive; the tree itself stays."""

from tn_qnn.plan.plan import Elements, Path, kept_indices
from tn_qnn.plan.topology import Topology


def order_for_peak(topology: Topology, path: Path, sliced: tuple[int, ...] = ()) -> Path:
    """Reorder the steps of ``path``, depth first, so that the peak of live elements is least.

    Of two branches the one that needs more on the way than it leaves behind goes first (Liu,
    SIAM J. Algebraic Discrete Methods 8, 375, 1987: best among depth-first orders).

    Examples
    --------
    >>> pair = Topology(((0,), (0, 1), (2,), (2, 1)), (), (2, 8, 2))
    >>> order_for_peak(pair, ((0, 1), (2, 3), (4, 5)))
    ((0, 1), (2, 3), (4, 5))
    """
    given = topology.num_tensors
    elements = Elements.of(topology, sliced)
    sizes = [0] * given + [elements(k) for k in kept_indices(topology, path)[given:]]
    peaks = [0] * given
    ordered = []
    for step, (left, right) in enumerate(path):
        if peaks[right] - sizes[right] > peaks[left] - sizes[left]:
            left, right = right, left
        ordered.append((left, right))
        at_end = sizes[left] + sizes[right] + sizes[given + step]
        peaks.append(max(peaks[left], sizes[left] + peaks[right], at_end))
    names = list(range(given)) + [0] * len(path)
    result: list[tuple[int, int]] = []
    stack = [(len(path) - 1, False)] if path else []
    while stack:
        step, ready = stack.pop()
        left, right = ordered[step]
        if ready:
            names[given + step] = given + len(result)
            result.append((names[left], names[right]))
            continue
        stack.append((step, True))
        stack += [(child - given, False) for child in (right, left) if child >= given]
    return tuple(result)
