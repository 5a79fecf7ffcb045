"""The sweep back that ends at pairs: what any finite change of one gate's angle does.

Where a gate's tensors in ket and bra are one leaf (:mod:`tn_qnn.network.pairs`), the leaf's
environment contracted with the leaf's constant is a small matrix M, and the value ``t^T M t``
with ``t = (cos, sin, 1)`` of the angle: for every angle, all else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.network.labels import SAMPLES
from tn_qnn.program.program import TRIG, TRIG_BRA, Form, Program, Reverse, Stage
from tn_qnn.program.reverse import Sweep

Array = NDArray[Any]


def with_local_forms(program: Program, keep: int | None = None) -> Program:
    """Add the sweep back to a program of a paired network.

    Parameters
    ----------
    program
        Forward only.
    keep
        As of :func:`~tn_qnn.program.reverse.with_reverse`.

    Returns
    -------
    Program
        With a form for every pair, of all labels that the output has: nothing is summed over the
        batch. The seed is to be 1 for one of the terms, and 0 for the others.

    Examples
    --------
    >>> from tn_qnn import Circuit, Z, weight
    >>> from tn_qnn.network.batch import read_out
    >>> from tn_qnn.network.pairs import paired
    >>> from tn_qnn.plan.budget import Search
    >>> from tn_qnn.program.compile import compile_program
    >>> circuit = Circuit(2).ry(weight("a"), 0).cx(0, 1)
    >>> network = paired(read_out([circuit], [Z(1)]).batches[0].network)
    >>> program = compile_program(network, Search("greedy").plan(network, 1, 1))
    >>> [form.pair for form in with_local_forms(program).reverse.forms] == list(program.pairs)
    True
    """
    return _PairSweep(program, keep).compiled()


class _PairSweep(Sweep):
    """All of its steps depend on all labels of the output, so they are one stage."""

    def compiled(self) -> Program:
        self.forms: dict[int, Form] = {}
        self.pair_of = {pair.leaf: pair for pair in self.program.pairs}
        seed = self._seed()
        for stage in reversed(self.program.stages):
            for step in reversed(stage.steps):
                self._back(step)
        labels = self.slots[seed].labels
        stages = (Stage(labels, tuple(self.steps)),) if self.steps else ()
        forms = tuple(self.forms[pair.leaf] for pair in self.program.pairs)
        return replace(
            self.program,
            slots=tuple(self.slots),
            constants=self.constants,
            reverse=Reverse(seed, stages, (), forms),
        )

    def _wanted(self) -> frozenset[int]:
        """Pairs, and what was made with them."""
        found = {pair.leaf for pair in self.program.pairs}
        for step in self.made.values():
            if found & {step.left, step.right}:
                found.add(step.out)
        return frozenset(found)

    def _environment(self, operand: int, around: int, other: int) -> None:
        super()._environment(operand, around, other)
        if pair := self.pair_of.get(operand):
            form = self._step(self.outside[operand], pair.constant, (TRIG_BRA, TRIG))
            self.forms[operand] = Form(pair, form)

    def _summed(self, value: int, labels: tuple[str, ...]) -> int:
        return value

    def _value(self, number: int) -> int:
        # a value of fewer labels takes little room, and a step of its own would be of another stage
        whole = self.slots[number].labels == self.slots[self.program.output].labels
        return super()._value(number) if whole else number


def gathered_forms(
    program: Program, sweep: Callable[[Array], None], read: Callable[[int], Array]
) -> list[Array]:
    """Forms of one slice whose forward values are there, term by term.

    Parameters
    ----------
    program
        With local forms.
    sweep
        Runs back from a seed of shape (elements, 1, 1, 1).
    read
        Gives a slot, shape (elements, C or 1, P or 1, S or 1).

    Returns
    -------
    list of ndarray
        As of :meth:`~tn_qnn.backends.protocol.Executor.local_forms`.
    """
    assert program.reverse is not None
    forms, output = program.reverse.forms, program.slots[program.output]
    if not forms:
        return []
    terms: list[list[Array]] = []
    kind = complex if program.slots[program.reverse.seed].complex else float
    for seed in np.eye(output.size, dtype=kind):
        sweep(seed.reshape(-1, 1, 1, 1))
        terms.append([_wide(read(form.slot), len(output.indices) > 1) for form in forms])
    shapes = [program.slots[form.slot].shape for form in forms]
    return [
        np.stack(values).reshape(output.size, *shape, *values[0].shape[1:])
        for shape, values in zip(shapes, zip(*terms, strict=True), strict=True)
    ]


def _wide(values: Array, is_open: bool) -> Array:
    """In double precision; the imaginary parts only where the value is no real number."""
    return values.astype(np.result_type(values, "f8")) if is_open else values.real.astype(float)


def added_forms(total: Sequence[Array], found: Sequence[Array]) -> list[Array]:
    """Forms of some slices and of one more."""
    return [a + b for a, b in zip(total, found, strict=True)] if total else list(found)


def joined_forms(program: Program, chunks: Sequence[Sequence[Array]]) -> tuple[Array, ...]:
    """Forms of all samples from those of chunks."""
    if SAMPLES not in program.slots[program.output].labels:
        return tuple(chunks[0])
    return tuple(np.concatenate(found, axis=-1) for found in zip(*chunks, strict=True))
