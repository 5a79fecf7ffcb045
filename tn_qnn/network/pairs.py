"""Networks in which a gate's tensors in ket and bra are one leaf.

The value is then linear in that leaf, so what surrounds it tells what any finite change of the
gate's angle does: ``t^T M t`` with ``t = (cos, sin, 1)`` once from the ket and once from the bra.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tn_qnn.errors import InputError
from tn_qnn.network.labels import SETS
from tn_qnn.network.network import Network, Tensor, one


def paired(network: Network) -> Network:
    """Join the two tensors of every gate whose angle depends on weights.

    Parameters
    ----------
    network
        Of a cone; its readout may be open.

    Returns
    -------
    Network
        Of the same value and indices.

    Raises
    ------
    InputError
        When a tensor-valued weight varies: it has no angle.

    Examples
    --------
    >>> from tn_qnn import Circuit, Z, weight
    >>> from tn_qnn.network.batch import read_out
    >>> circuit = Circuit(2).ry(weight("a"), 0).cx(0, 1)
    >>> network = read_out([circuit], [Z(1)]).batches[0].network
    >>> len(network.tensors), [t.pair for t in paired(network).tensors]
    (5, [True, False, False, False])
    """
    bras = {t.element: t for t in network.tensors if t.conj and _varies(t)}
    tensors: list[Tensor] = []
    for tensor in network.tensors:
        if not _varies(tensor):
            tensors.append(tensor)
        elif not tensor.conj:
            tensors.append(_pair(tensor, bras[tensor.element]))
    if len(tensors) == 1:
        tensors.append(one())
    return replace(network, tensors=tuple(tensors))


def _varies(tensor: Tensor) -> bool:
    if SETS not in tensor.labels or tensor.given is not None:
        return False
    if tensor.coefficients is None:
        raise InputError(
            "model: tensor-valued weights have no angle, so LocalSPSA cannot change them one by"
            " one; use ExactGradient, or SPSA(credit=False) for a loss without a slope"
        )
    return True


def _pair(ket: Tensor, bra: Tensor) -> Tensor:
    """The product of the two as one tensor; an index that both have stands there once."""
    assert ket.coefficients is not None
    assert bra.coefficients is not None
    indices = tuple(dict.fromkeys((*ket.indices, *bra.indices)))
    axis = {index: k for k, index in enumerate(indices, start=2)}
    operands: list[Any] = [
        ket.coefficients,
        [0, *(axis[i] for i in ket.indices)],
        bra.coefficients,
        [1, *(axis[i] for i in bra.indices)],
    ]
    values = np.einsum(*operands, [0, 1, *axis.values()])
    real = not np.any(values.imag)
    return replace(ket, indices=indices, coefficients=values, real=real, pair=True)
