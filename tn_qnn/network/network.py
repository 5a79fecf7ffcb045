"""Cone to tensor network: tensors with indices, and what each depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.factors import PAULI
from tn_qnn.network.canonical import Cone
from tn_qnn.network.elements import Element

LETTER = {**PAULI, "0": np.diag([1, 0]).astype(complex), "1": np.diag([0, 1]).astype(complex)}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the network.

    Attributes
    ----------
    indices
        Its index ids; a batch label is not among them.
    coefficients
        Shape (R, 2, 2, ...): R = 1 for a constant tensor; R = 3 for ``C0 + C1 cos + C2 sin``
        of its element's angle; (3, 3, 2, ...) for a pair, the ket's functions first; None for a
        tensor-valued weight, and for one that is given.
    element
        Position of its element in the cone; -1 for the readout, and for one that is given.
    conj
        True in the bra layer (the coefficients are conjugated already).
    fixed
        For each axis of the element's tensor, whether it was fixed to |0>.
    labels
        What it depends on, a subset of {"c", "p", "s"}.
    real
        Whether its entries are real.
    given
        Which of the values that are worked out beforehand it stands for; None where it is a
        tensor of the circuit.
    pair
        Whether it is the product of an element's tensors in ket and bra.
    """

    indices: tuple[int, ...]
    coefficients: NDArray[np.complex128] | None
    element: int
    conj: bool
    fixed: tuple[bool, ...]
    labels: frozenset[str]
    real: bool
    given: int | None = None
    pair: bool = False


@dataclass(frozen=True, eq=False)
class Network:
    """A tensor network whose value is a readout.

    Attributes
    ----------
    tensors
        Ket, bra and readout.
    output
        Open indices: the terms of the readout, or the wires of an open readout, ket
        indices first, then bra indices.
    sizes
        Size of each index id.
    real
        True where every tensor is real: then the whole program is.
    """

    tensors: tuple[Tensor, ...]
    output: tuple[int, ...]
    sizes: tuple[int, ...]
    real: bool


class _Builder:
    """Adds tensors and hands out index ids."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.sizes: list[int] = []

    def index(self, size: int = 2) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1

    def layer(self, cone: Cone, labels: Sequence[frozenset[str]], conj: bool) -> list[int | None]:
        """Add the ket or the bra; return each wire's last index (None while still |0>)."""
        wires: list[int | None] = [None] * cone.num_wires
        for position, element in enumerate(cone.elements):
            indices: list[int | None] = []
            for wire, diagonal in zip(cone.wires[position], element.diagonal, strict=True):
                if diagonal:
                    indices.append(wires[wire])
                else:
                    new = self.index()
                    indices += [new, wires[wire]]
                    wires[wire] = new
            fixed = tuple(i is None for i in indices)
            kept = tuple(i for i in indices if i is not None)
            values = _coefficients(element, fixed, conj)
            real = values is None or not np.any(values.imag)
            if element.block is not None:
                real = element.block.real
            self.tensors.append(Tensor(kept, values, position, conj, fixed, labels[position], real))
        return wires

    def close(self, ket: Sequence[int | None], bra: Sequence[int | None], start: int,
              diagonal: Sequence[bool]) -> None:  # fmt: skip
        """Join ket and bra on every wire that the readout leaves alone or is diagonal on."""
        joined = {
            b: k
            for wire, (k, b) in enumerate(zip(ket, bra, strict=True))
            if diagonal[wire] and k is not None and b is not None
        }
        for place in range(start, len(self.tensors)):
            t = self.tensors[place]
            moved = tuple(joined.get(i, i) for i in t.indices)
            self.tensors[place] = replace(t, indices=moved)


def _coefficients(
    element: Element, fixed: tuple[bool, ...], conj: bool
) -> NDArray[np.complex128] | None:
    if element.factor is None:
        return None
    kept = element.factor.tensor[(slice(None), *(0 if f else slice(None) for f in fixed))]
    return np.ascontiguousarray(kept.conj() if conj else kept)


def build_network(cone: Cone, labels: Sequence[frozenset[str]]) -> Network:
    """The network of a cone's readout.

    Parameters
    ----------
    cone
        In canonical order.
    labels
        For each element of the cone, the batch labels it depends on.

    Notes
    -----
    Wires start in |0>: an index there is fixed, not summed, so there are no tensors for the
    initial state. A qubit on which an element is diagonal gets no new index.
    """
    build = _Builder()
    ket = build.layer(cone, labels, conj=False)
    start = len(build.tensors)
    bra = build.layer(cone, labels, conj=True)
    letters = [{term[k] for term in cone.terms} for k in range(cone.num_observed)]
    diagonal = [bool(cone.terms) and not names & {"X", "Y"} for names in letters]
    diagonal += [True] * (cone.num_wires - cone.num_observed)
    build.close(ket, bra, start, diagonal)
    output: tuple[int, ...]
    if cone.terms:
        output = _add_terms(build, cone, ket, bra, diagonal)
    else:
        output = _open(build, ket[: cone.num_observed], bra[: cone.num_observed])
    real = all(t.real for t in build.tensors)
    if len(build.tensors) == 1:
        build.tensors.append(one())
    return Network(tuple(build.tensors), output, tuple(build.sizes), real)


def one() -> Tensor:
    """The number 1, so that a network of one tensor has a step."""
    return _readout_tensor((), np.ones(()))


def _readout_tensor(indices: tuple[int, ...], values: NDArray[np.generic]) -> Tensor:
    coefficients = np.asarray(values, dtype=complex)[None]
    real = not np.any(coefficients.imag)
    return Tensor(indices, coefficients, -1, False, (False,) * len(indices), frozenset(), real)


def _add_terms(
    build: _Builder,
    cone: Cone,
    ket: Sequence[int | None],
    bra: Sequence[int | None],
    diagonal: Sequence[bool],
) -> tuple[int, ...]:
    """One tensor a wire; where terms differ, an index over the terms runs through them."""
    over_terms = build.index(len(cone.terms)) if len(cone.terms) > 1 else None
    for k in range(cone.num_observed):
        stack = np.stack([LETTER[term[k]].T for term in cone.terms])  # [term, ket, bra]
        indices: list[int | None] = [ket[k], bra[k]]
        if diagonal[k]:
            stack, indices = np.einsum("tii->ti", stack), indices[:1]
        stack = stack[(slice(None), *(0 if i is None else slice(None) for i in indices))]
        varies = len({term[k] for term in cone.terms}) > 1
        kept = ([over_terms] if varies else []) + indices
        build.tensors.append(
            _readout_tensor(tuple(i for i in kept if i is not None), stack if varies else stack[0])
        )
    return () if over_terms is None else (over_terms,)


def _open(build: _Builder, ket: Sequence[int | None], bra: Sequence[int | None]) -> tuple[int, ...]:
    """Open indices of an open readout; a wire that is still |0> gets a tensor of its own."""
    output: list[int] = []
    for index in (*ket, *bra):
        if index is None:
            index = build.index()
            build.tensors.append(_readout_tensor((index,), np.array([1.0, 0.0])))
        output.append(index)
    return tuple(output)
