"""Networks as quimb objects, to be drawn and inspected."""

from __future__ import annotations

from typing import Any

import numpy as np

from tn_qnn.errors import InputError
from tn_qnn.models.qnn import QNN
from tn_qnn.program.tensor_weights import block_slot_values


def to_quimb(model: QNN, job: int = 0) -> Any:
    """The network of a model's cone topology as a ``quimb.tensor.TensorNetwork``.

    Parameters
    ----------
    model
        A model.
    job
        Which of its distinct topologies.

    Returns
    -------
    quimb.tensor.TensorNetwork
        One tensor a leaf, indices ``i0, i1, ...`` and the batch labels "c", "p" and "s" with
        size 2 each, tagged KET, BRA or READOUT and with what it depends on. The entries are
        those at angle zero, blocks the identity: the network is for drawing, not for
        contraction.

    Raises
    ------
    InputError
        When the model is a part, some of whose gates are worked out already.

    Examples
    --------
    >>> import tn_qnn as tq
    >>> model = tq.QNN(tq.Circuit(2).h(0).cx(0, 1), [tq.Z(1)])
    >>> to_quimb(model).num_tensors
    5
    """
    import quimb.tensor as qtn

    program = model.jobs[job].program
    network = program.network
    if program.given:
        raise InputError("model: a part holds values without gates; give the model it is a part of")
    tensors = []
    for tensor in network.tensors:
        labels = sorted(tensor.labels)
        shape = [network.sizes[i] for i in tensor.indices]
        if tensor.coefficients is None:
            entry = next(
                b for b in program.blocks if (b.element, b.conj) == (tensor.element, tensor.conj)
            )
            identity = np.eye(2 ** (len(entry.fixed) // 2))[None, None, None]
            values = block_slot_values(entry, identity).reshape(shape)
        else:
            values = tensor.coefficients[:2].sum(axis=0).reshape(shape)
        stack = np.broadcast_to(
            values[(..., *(None for _ in labels))], (*shape, *(2 for _ in labels))
        )
        layer = "READOUT" if tensor.element < 0 else ("BRA" if tensor.conj else "KET")
        tags = {layer, *(f"depends on {label}" for label in labels)}
        tensors.append(qtn.Tensor(stack, [*(f"i{k}" for k in tensor.indices), *labels], tags))
    return qtn.TensorNetwork(tensors)
