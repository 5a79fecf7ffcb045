"""The sweep back: environments of everything that bears weights, compiled to Steps.

Every value of a program is multilinear in its leaves, so the derivative by a leaf is the rest of
the network: its environment. One pass from the output back gives all of them, since for a step
``(a, b) -> c`` the environment of ``a`` is the contraction of that of ``c`` with ``b``. It is an
adjoint written by hand: no tape, no automatic differentiation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tn_qnn.network.labels import SETS, ordered
from tn_qnn.program.program import Environment, Program, Reverse, Slot, Stage, Step, Sum


def with_reverse(program: Program, keep: int | None = None) -> Program:
    """Add the sweep back to a program.

    Parameters
    ----------
    program
        Forward only.
    keep
        Intermediates of more elements for a point of the batch than this are not kept between the
        passes but worked out again; None keeps all.

    Returns
    -------
    Program
        With further slots, and ``reverse``; the forward stages are the same.

    Examples
    --------
    >>> from tn_qnn import QNN, Circuit, Z, weight
    >>> model = QNN(Circuit(2).ry(weight("a"), 0).cx(0, 1), [Z(1)])
    >>> swept = with_reverse(model.jobs[0].program)
    >>> len(swept.reverse.environments)
    1
    """
    return Sweep(program, keep).compiled()


Shape = tuple[int, ...]


class Sweep:
    """Compiles the sweep back of a program; see :func:`with_reverse`."""

    def __init__(self, program: Program, keep: int | None) -> None:
        self.program, self.keep = program, keep
        self.slots = list(program.slots)
        self.constants = dict(program.constants)
        self.made = {step.out: step for stage in program.stages for step in stage.steps}
        self.exported = program.exported
        self.reader: dict[int, Step] = {}  # of a source in both layers, the use that counts
        self.wanted = self._wanted()
        self.outside: dict[int, int] = {}  # environment of a slot
        self.steps: list[Step] = []
        self.sums: list[Sum] = []

    def compiled(self) -> Program:
        program = self.program
        seed = self._seed()
        stages = []
        for stage in reversed(program.stages):
            self.steps, self.sums = [], []
            for step in reversed(stage.steps):
                self._back(step)
            if self.steps:
                stages.append(Stage(stage.labels, tuple(self.steps), tuple(self.sums)))
        found = [
            Environment(source, self.outside[source])
            for source in sorted(self.wanted)
            if self.slots[source].source
        ]
        return replace(
            program,
            slots=tuple(self.slots),
            constants=self.constants,
            reverse=Reverse(seed, tuple(stages), tuple(found)),
        )

    def _seed(self) -> int:
        output = self.slots[self.program.output]
        is_complex = output.complex and bool(output.indices) and _is_open(self.program)
        seed = self._slot(replace(output, complex=is_complex, source=True))
        self.outside[self.program.output] = seed
        return seed

    def _wanted(self) -> frozenset[int]:
        """Slots on the way to a source in the ket that depends on weights."""
        program = self.program
        steps = [step for step in self.made.values() if step.out not in program.bras]
        sources = {a.slot for a in program.angles} | {b.slot for b in program.blocks}
        # where one layer's index is sliced, an angle may stand in the bra alone
        sources &= {slot for step in steps for slot in (step.left, step.right)}
        found = {s for s in sources - program.bras if SETS in self.slots[s].labels}
        for step in steps:
            self.reader |= dict.fromkeys(found & {step.left, step.right}, step)
        for step in steps:
            if any(s in found and self._counts(s, step) for s in (step.left, step.right)):
                found.add(step.out)
        return frozenset(found)

    def _counts(self, operand: int, step: Step) -> bool:
        """An angle that stands in both layers has a use in each, with equal real parts."""
        return self.reader.get(operand, step) is step

    def _slot(self, slot: Slot) -> int:
        self.slots.append(slot)
        return len(self.slots) - 1

    def _back(self, step: Step) -> None:
        """Environments of a step's operands from that of its result."""
        if step.out not in self.wanted:
            return
        for operand, other in ((step.left, step.right), (step.right, step.left)):
            new = operand in self.wanted and operand not in self.outside
            if new and self._counts(operand, step):
                self._environment(operand, self.outside[step.out], other)

    def _environment(self, operand: int, around: int, other: int) -> None:
        inside = self.slots[operand]
        kept = tuple(i for i in inside.indices if i not in self.program.sliced)
        known = {*self.slots[around].indices, *self.slots[other].indices}
        if summed := tuple(i for i in kept if i not in known):
            around = self._step(around, self._ones(summed), self.slots[around].indices + summed)
        value = self._step(around, self._value(other), kept)
        self.outside[operand] = self._summed(value, inside.labels)

    def _summed(self, value: int, labels: tuple[str, ...]) -> int:
        """A value summed over all but some of its labels."""
        if self.slots[value].labels == labels:
            return value
        total = self._slot(replace(self.slots[value], labels=labels))
        self.sums.append(Sum(value, total))
        return total

    def _value(self, number: int) -> int:
        """A forward value, by steps of its own where it was too large to keep."""
        slot = self.slots[number]
        small = self.keep is None or slot.size <= self.keep
        if slot.source or small or number in self.exported:
            return number
        step = self.made[number]
        return self._step(self._value(step.left), self._value(step.right), slot.indices)

    def _ones(self, indices: tuple[int, ...]) -> int:
        """A constant by which an index that the step summed alone is broadcast."""
        slot = self._slot(Slot(indices, self._shape(indices), (), False, True))
        self.constants[slot] = np.ones(self.slots[slot].shape, dtype=complex)
        return slot

    def _step(self, left: int, right: int, out: tuple[int, ...]) -> int:
        a, b = self.slots[left], self.slots[right]
        known = dict(zip((*a.indices, *b.indices), (*a.shape, *b.shape), strict=True))
        labels = ordered({*a.labels, *b.labels})
        slot = Slot(out, self._shape(out, known), labels, a.complex or b.complex, False)
        self.steps.append(Step(left, right, self._slot(slot)))
        return self.steps[-1].out

    def _shape(self, indices: tuple[int, ...], known: dict[int, int] | None = None) -> Shape:
        sizes = self.program.network.sizes
        return tuple((known or {}).get(i) or sizes[i] for i in indices)


def _is_open(program: Program) -> bool:
    """Whether the output is a density matrix, and not one value a term."""
    return len(program.network.output) > 1
