"""Lowering: network and plan to program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.network.labels import ordered
from tn_qnn.network.network import Network, Tensor
from tn_qnn.plan.plan import Plan
from tn_qnn.program.program import (
    TRIG,
    TRIG_BRA,
    AngleRow,
    BlockInput,
    GivenInput,
    Pair,
    Program,
    Slot,
    Stage,
    Step,
)


def compile_program(network: Network, plan: Plan) -> Program:
    """Lower a network along the path of a plan.

    Every leaf is a constant, a tensor-valued weight, or the contraction of a constant
    with the vector (cos, sin, 1) of an angle: so there is one kind of Step only.
    """
    lower = _Lowering(network, plan)
    for tensor in network.tensors:
        lower.add_leaf(tensor)
    lower.follow_path()
    return lower.finish()


class _Lowering:
    def __init__(self, network: Network, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self.slots: list[Slot] = []
        self.steps: list[Step] = []
        self.constants: dict[int, NDArray[np.complex128]] = {}
        self.trig: dict[tuple[int, tuple[int, ...], int], int] = {}
        self.angles: list[AngleRow] = []
        # steps that make a leaf, run just before its first use
        self.fills: dict[int, tuple[Step, ...]] = {}
        self.rows: dict[tuple[str, ...], dict[int, int]] = {}
        self.blocks: list[BlockInput] = []
        self.given: list[GivenInput] = []
        self.pairs: list[Pair] = []
        self.nodes: list[int] = []  # slot of each node of the path, leaves first
        self.kets: set[int] = set()  # slots of leaves that stand in the ket, or in both layers

    def _slot(self, slot: Slot) -> int:
        self.slots.append(slot)
        return len(self.slots) - 1

    def add_leaf(self, tensor: Tensor) -> None:
        self.nodes.append(self._leaf(tensor))
        if not tensor.conj:
            self.kets.add(self.nodes[-1])

    def _leaf(self, tensor: Tensor) -> int:
        shape = tuple(self.network.sizes[i] for i in tensor.indices)
        labels = ordered(tensor.labels)
        if tensor.coefficients is None:
            slot = self._slot(Slot(tensor.indices, shape, labels, not tensor.real, True))
            if tensor.given is not None:
                self.given.append(GivenInput(slot, tensor.given))
                return slot
            self.blocks.append(BlockInput(slot, tensor.element, tensor.conj, tensor.fixed))
            return slot
        if tensor.pair:
            return self._paired(tensor, tensor.coefficients, labels)
        if len(tensor.coefficients) == 1:
            return self._constant(tensor.coefficients[0], tensor.indices)
        return self._parametrised(tensor, tensor.coefficients, labels)

    def _constant(self, values: NDArray[np.complex128], indices: tuple[int, ...]) -> int:
        is_complex = bool(np.any(values.imag))
        slot = self._slot(Slot(indices, values.shape, (), is_complex, True))
        self.constants[slot] = values
        return slot

    def _parametrised(
        self, tensor: Tensor, coefficients: NDArray[np.complex128], labels: tuple[str, ...]
    ) -> int:
        moved = coefficients[[1, 2, 0]]  # (cos, sin, 1): the last falls away for rotations
        if not np.any(moved[2]):
            moved = moved[:2]
        whole = not set(tensor.indices) & set(self.plan.sliced)
        if whole and moved.shape == (2, 2) and np.array_equal(moved, np.eye(2)):
            # RY on |0>: the tensor is the vector (cos, sin) itself
            return self._trig(tensor.element, tensor.indices, 2, labels)
        trig = self._trig(tensor.element, (TRIG,), len(moved), labels)
        values = np.ascontiguousarray(np.moveaxis(moved, 0, -1))
        constant = self._constant(values, (*tensor.indices, TRIG))
        kept = tuple(i for i in tensor.indices if i not in self.plan.sliced)
        step = self._step(constant, trig, kept)
        self.fills[step.out] = (step,)
        return step.out

    def _paired(
        self, tensor: Tensor, coefficients: NDArray[np.complex128], labels: tuple[str, ...]
    ) -> int:
        moved = coefficients[np.ix_([1, 2, 0], [1, 2, 0])]
        if not (np.any(moved[2]) or np.any(moved[:, 2])):
            moved = moved[:2, :2]
        ket, bra = (
            self._trig(tensor.element, (index,), len(moved), labels) for index in (TRIG, TRIG_BRA)
        )
        values = np.ascontiguousarray(np.moveaxis(moved, (1, 0), (-2, -1)))
        constant = self._constant(values, (*tensor.indices, TRIG_BRA, TRIG))
        kept = tuple(i for i in tensor.indices if i not in self.plan.sliced)
        half = self._step(constant, ket, (*kept, TRIG_BRA))
        step = self._step(half.out, bra, kept)
        self.fills[step.out] = (half, step)
        self.pairs.append(Pair(step.out, constant, ket, bra))
        return step.out

    def _trig(
        self, element: int, indices: tuple[int, ...], functions: int, labels: tuple[str, ...]
    ) -> int:
        key = (element, indices, functions)
        if key not in self.trig:
            row = self.rows.setdefault(labels, {}).setdefault(element, len(self.rows[labels]))
            self.trig[key] = self._slot(Slot(indices, (functions,), labels, False, True))
            self.angles.append(AngleRow(self.trig[key], row))
        return self.trig[key]

    def _step(self, left: int, right: int, out: tuple[int, ...]) -> Step:
        a, b = self.slots[left], self.slots[right]
        size = dict(zip(a.indices, a.shape, strict=True)) | dict(
            zip(b.indices, b.shape, strict=True)
        )
        slot = Slot(
            out,
            tuple(size[i] for i in out),
            ordered({*a.labels, *b.labels}),
            a.complex or b.complex,
            False,
        )
        return Step(left, right, self._slot(slot))

    def follow_path(self) -> None:
        count: dict[int, int] = {}
        for node in self.nodes:
            for i in self.slots[node].indices:
                count[i] = count.get(i, 0) + 1
        for i in self.network.output:
            count[i] = count.get(i, 0) + 1
        for left, right in depth_first(self.plan.path, len(self.nodes)):
            self.nodes.append(self._pair(self.nodes[left], self.nodes[right], count))

    def _pair(self, left: int, right: int, count: dict[int, int]) -> int:
        a = [i for i in self.slots[left].indices if i not in self.plan.sliced]
        b = [i for i in self.slots[right].indices if i not in self.plan.sliced]
        for i in (*a, *b):
            count[i] -= 1
        shared = [i for i in a if i in b and count[i]]
        out = shared
        out = out + [i for i in a if i not in b and count[i]]
        out = out + [i for i in b if i not in a and count[i]]
        if len(self.nodes) == 2 * len(self.network.tensors) - 2:
            out = list(self.network.output)  # the last step writes the order asked for
        for i in out:
            count[i] += 1
        for operand in (left, right):
            if operand in self.fills:
                self.steps += self.fills.pop(operand)
        self.steps.append(self._step(left, right, tuple(out)))
        return self.steps[-1].out

    def finish(self) -> Program:
        by_labels: dict[tuple[str, ...], list[Step]] = {}
        for step in self.steps:
            by_labels.setdefault(self.slots[step.out].labels, []).append(step)
        order = sorted(by_labels, key=lambda labels: (len(labels), labels))
        return Program(
            self.network,
            self.plan,
            tuple(self.slots),
            tuple(Stage(labels, tuple(by_labels[labels])) for labels in order),
            self.constants,
            tuple(self.angles),
            {labels: tuple(rows) for labels, rows in self.rows.items()},
            tuple(self.blocks),
            self.nodes[-1],
            self.plan.sliced,
            frozenset(self.nodes[: len(self.network.tensors)]) - self.kets,
            given=tuple(self.given),
            pairs=tuple(self.pairs),
        )


def depth_first(path: Sequence[tuple[int, int]], num_leaves: int) -> tuple[tuple[int, int], ...]:
    """The same contractions in an order in which few results wait: larger branch first."""
    if not path:
        return ()
    weight = [1] * num_leaves
    for left, right in path:
        weight.append(weight[left] + weight[right])
    new: dict[int, int] = {leaf: leaf for leaf in range(num_leaves)}
    ordered_path: list[tuple[int, int]] = []
    todo = [num_leaves + len(path) - 1]
    while todo:
        node = todo[-1]
        pair = path[node - num_leaves]
        waiting = [child for child in pair if child not in new]
        if waiting:
            todo.append(max(waiting, key=lambda child: weight[child]))
            continue
        new[node] = num_leaves + len(ordered_path)
        ordered_path.append((new[pair[0]], new[pair[1]]))
        todo.pop()
    return tuple(ordered_path)
