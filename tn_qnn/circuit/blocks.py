"""Tensor-valued weights: a whole unitary or real orthogonal matrix as one trainable block.

Its weights are coordinates of the matrix in one of two charts, free real numbers in both, so that
every trainer can move them: the generator ("exponential"), zero for the identity, or the entries
("entries"), made unitary by the polar factor, for steps along a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tn_qnn.circuit.block_charts import (
    Chart,
    block_gradient,
    block_matrices,
    check_chart,
    num_coordinates,
)
from tn_qnn.errors import CircuitError

__all__ = [
    "MAX_BLOCK_QUBITS",
    "Block",
    "Chart",
    "block_gradient",
    "block_matrices",
    "orthogonal",
    "unitary",
]

MAX_BLOCK_QUBITS = 6  # four indices of a bond of dimension 8


@dataclass(frozen=True)
class Block:
    """A tensor-valued weight; its dimension is fixed where it is placed.

    Attributes
    ----------
    name
        Its weights are called ``name[0]``, ``name[1]``, ...
    kind
        "orthogonal" (real) or "unitary". The exponential chart reaches the orthogonal matrices
        of determinant 1, the entries all.
    chart
        What the weights are: "exponential" or "entries".
    """

    name: str
    kind: Literal["orthogonal", "unitary"]
    chart: Chart = "exponential"

    @property
    def real(self) -> bool:
        """True for a real orthogonal block."""
        return self.kind == "orthogonal"

    def num_weights(self, num_qubits: int) -> int:
        """Of dimension d: d(d-1)/2 orthogonal, d*d unitary; as entries d*d and 2*d*d."""
        return num_coordinates(num_qubits, self.real, self.chart)

    def weights(self, num_qubits: int) -> tuple[str, ...]:
        """Names of the coordinates, in order."""
        return tuple(f"{self.name}[{i}]" for i in range(self.num_weights(num_qubits)))


def orthogonal(name: str, chart: Chart = "exponential") -> Block:
    """A trainable real orthogonal block, to be placed by ``Circuit.block``.

    Parameters
    ----------
    name
        Prefix of its weights.
    chart
        "exponential": the weights are the d(d-1)/2 coordinates of the generator, zero for the
        identity; "entries": the d*d entries of the matrix, row by row.

    Raises
    ------
    CircuitError
        For a name or chart that is not legal.

    Examples
    --------
    >>> orthogonal("U").num_weights(2), orthogonal("U", chart="entries").num_weights(2)
    (6, 16)
    """
    return _checked(Block(name, "orthogonal", chart))


def unitary(name: str, chart: Chart = "exponential") -> Block:
    """A trainable unitary block, to be placed by ``Circuit.block``.

    Parameters
    ----------
    name
        Prefix of its weights.
    chart
        "exponential": the weights are the d*d coordinates of the generator, zero for the
        identity; "entries": real parts, then imaginary parts of the matrix, row by row.

    Raises
    ------
    CircuitError
        For a name or chart that is not legal.

    Examples
    --------
    >>> unitary("U").num_weights(1), unitary("U", chart="entries").num_weights(1)
    (4, 8)
    """
    return _checked(Block(name, "unitary", chart))


def _checked(block: Block) -> Block:
    name = block.name
    if not isinstance(name, str) or not name or "[" in name:
        raise CircuitError(f"block name: a non-empty string without '[', not {name!r}")
    check_chart(block.chart)
    return block
