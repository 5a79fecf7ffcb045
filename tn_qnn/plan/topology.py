"""What the path search sees of a network: which index sits on which tensor, and how large it is."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

from tn_qnn.errors import PlanError


@dataclass(frozen=True)
class Topology:
    """The index structure of a tensor network, without any numbers.

    Parameters
    ----------
    inputs
        For every tensor the ids of its indices, in the order of its axes. An id may occur on any
        number of tensors (a hyper-index); an id that occurs twice on one tensor takes its diagonal.
    output
        Ids that are kept: batch labels and open indices. All others are summed over.
    sizes
        ``sizes[i]`` is the size of index ``i`` (for a batch label: its size class).
    batch
        Ids that are batch labels (samples, parameter sets): always kept, never sliced.

    Raises
    ------
    PlanError
        When an id has no size, a size is not positive, the output repeats an id or names one that
        no tensor has, or a batch label is missing in the output.

    Examples
    --------
    >>> chain = Topology(inputs=((0, 1), (1, 2), (2, 3)), output=(0, 3), sizes=(4, 2, 2, 4))
    >>> chain.num_tensors, len(chain.key())
    (3, 64)
    """

    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    sizes: tuple[int, ...]
    batch: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        present = {index for term in self.inputs for index in term}
        known = range(len(self.sizes))
        if not self.inputs:
            raise PlanError("inputs is empty: a network needs at least one tensor")
        if unknown := sorted(index for index in present if index not in known):
            raise PlanError(f"inputs use index {unknown[0]}, but sizes has {len(known)} entries")
        if wrong := [i for i in sorted(present) if self.sizes[i] < 1]:
            raise PlanError(f"sizes[{wrong[0]}] is {self.sizes[wrong[0]]}; expected at least 1")
        if repeated := [i for i, count in Counter(self.output).items() if count > 1]:
            raise PlanError(f"output names index {repeated[0]} more than once")
        if absent := [i for i in self.output if i not in present]:
            raise PlanError(f"output names index {absent[0]}, which no tensor has")
        if lost := sorted(self.batch - set(self.output)):
            raise PlanError(f"batch label {lost[0]} is not in output; batch labels are always kept")

    @property
    def num_tensors(self) -> int:
        """Number of tensors."""
        return len(self.inputs)

    def key(self, *salt: str) -> str:
        """SHA-256 over a canonical serialisation; ``salt`` (search level, versions) goes in too."""
        value = [self.inputs, self.output, self.sizes, sorted(self.batch), salt]
        return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
