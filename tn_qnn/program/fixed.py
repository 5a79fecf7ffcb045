"""The value of a network without weights and data: matrix products along its path, in NumPy.

It runs once for each set of frozen values, so no program is compiled for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tn_qnn.circuit.blocks import block_matrices
from tn_qnn.network.canonical import Cone
from tn_qnn.network.network import Network, Tensor
from tn_qnn.program.program import BlockInput
from tn_qnn.program.tensor_weights import block_slot_values

Array = NDArray[np.complex128]
Indices = tuple[int, ...]


def fixed_value(
    network: Network,
    path: Sequence[tuple[int, int]],
    cones: Sequence[Cone],
    frozen: Mapping[str, float],
) -> Array:
    """Contract a network all of whose weights are frozen.

    Parameters
    ----------
    network
        Without data; its tensors have label "c" or none.
    path
        SSA pairs.
    cones
        Whose elements its tensors are.
    frozen
        Values of their weights.

    Returns
    -------
    array
        Shape (cones, open indices in the order of the network's output), complex128.
    """
    values = [_leaf(network, tensor, cones, frozen) for tensor in network.tensors]
    indices: list[Indices] = [tensor.indices for tensor in network.tensors]
    count = Counter(network.output)
    for held in indices:
        count.update(held)
    for left, right in path:
        count.subtract([*indices[left], *indices[right]])
        kept = {i for i in (*indices[left], *indices[right]) if count[i] > 0}
        value, held = _product(values[left], indices[left], values[right], indices[right], kept)
        count.update(held)
        values.append(value)
        indices.append(held)
    order = [1 + indices[-1].index(i) for i in network.output]
    whole = values[-1].transpose(0, *order)
    return np.broadcast_to(whole, (len(cones), *whole.shape[1:]))


def _leaf(
    network: Network, tensor: Tensor, cones: Sequence[Cone], frozen: Mapping[str, float]
) -> Array:
    """A tensor of the network, shape (cones or 1, indices)."""
    shape = [network.sizes[i] for i in tensor.indices]
    values = tensor.coefficients
    if values is not None and len(values) == 1:
        return values.reshape(1, *shape)
    some = cones if tensor.labels else cones[:1]
    elements = [cone.elements[tensor.element] for cone in some]
    if values is not None:
        angles = np.array([element.angle.evaluate(frozen, ()) for element in elements])
        functions = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
        return (functions @ values.reshape(3, -1)).reshape(-1, *shape)
    block = elements[0].block
    assert block is not None
    coordinates = np.array([[frozen[name] for name in element.weights] for element in elements])
    count = len(elements[0].wires)
    matrices = block_matrices(coordinates, count, block.real, block.chart)
    entry = BlockInput(-1, tensor.element, tensor.conj, tensor.fixed)
    return block_slot_values(entry, matrices).T.astype(complex).reshape(-1, *shape)


def _product(a: Array, ia: Indices, b: Array, ib: Indices, kept: set[int]) -> tuple[Array, Indices]:
    """Two tensors as matrix products, and the indices of the result."""
    a, ia = _alone_summed(a, ia, ib, kept)
    b, ib = _alone_summed(b, ib, ia, kept)
    h = tuple(i for i in ia if i in ib and i in kept)
    k = tuple(i for i in ia if i in ib and i not in kept)
    m, n = tuple(i for i in ia if i not in ib), tuple(i for i in ib if i not in ia)
    size = dict(zip(ia, a.shape[1:], strict=True)) | dict(zip(ib, b.shape[1:], strict=True))
    left = _matrices(a, ia, (h, m, k), size)
    right = _matrices(b, ib, (h, k, n), size)
    out = (*h, *m, *n)
    product = left @ right
    return product.reshape(product.shape[0], *(size[i] for i in out)), out


def _alone_summed(a: Array, ia: Indices, ib: Indices, kept: set[int]) -> tuple[Array, Indices]:
    alone = [i for i in ia if i not in ib and i not in kept]
    left = tuple(i for i in ia if i not in alone)
    return a.sum(axis=tuple(1 + ia.index(i) for i in alone)), left


def _matrices(a: Array, ia: Indices, groups: Sequence[Indices], size: Mapping[int, int]) -> Array:
    moved = a.transpose(0, *(1 + ia.index(i) for group in groups for i in group))
    return moved.reshape(len(a), *(math.prod(size[i] for i in group) for group in groups))
