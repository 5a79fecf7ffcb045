"""The models of the demo: scikit-learn's digits, one qubit a pixel, read out of trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.models.estimators import QNNClassifier


def digits_encoding(side: int = 8) -> Circuit:
    """Angle encoding of a square picture in Z-order.

    A tree over the qubits then joins neighbours to pairs, pairs to squares of 2x2 pixels, these
    to 2x4, 4x4 and so on. Features are the picture's pixels row by row.

    Parameters
    ----------
    side : int
        Pixels a side, a power of two.

    Examples
    --------
    >>> print(digits_encoding(2).draw())
    q0: ─┤RY(x0)├─
    <BLANKLINE>
    q1: ─┤RY(x1)├─
    <BLANKLINE>
    q2: ─┤RY(x2)├─
    <BLANKLINE>
    q3: ─┤RY(x3)├─
    >>> [str(op.params[0]) for op in digits_encoding().operations[:5]]
    ['x0', 'x1', 'x8', 'x9', 'x2']
    """
    pixels = np.arange(side * side).reshape((2,) * (2 * (side.bit_length() - 1)))
    bits = pixels.ndim // 2
    order = [axis for pair in zip(range(bits), range(bits, 2 * bits), strict=True) for axis in pair]
    return angle(side * side, scale=1.0, features=pixels.transpose(order).ravel().tolist())


def digits_classifier(**parameters: Any) -> QNNClassifier:
    """The demo's classifier, 64 qubits and 378 weights a class, with tuned parameters.

    Parameters
    ----------
    parameters
        Of :class:`QNNClassifier`, in the place of the tuned ones.

    Examples
    --------
    >>> digits_classifier(seed=3).directions
    16
    """
    tuned: dict[str, Any] = {
        "encoding": digits_encoding(),
        "feature_range": (0.0, np.pi / 2),
        "steps": 2000,
        "batch_size": 64,
        "directions": 16,
        "learning_rate": 0.05,
        "perturbation": 0.1,
        "logit_scale": 20.0,
    }
    return QNNClassifier(**{**tuned, **parameters})


def wide_digits_classifier(**parameters: Any) -> QNNClassifier:
    """Four trees of bond dimension 4 that see a picture in four orders, with a linear head.

    Blocks are real orthogonal 16x16 matrices, all entries of which are weights; the head takes the
    density matrices of the trees' tops. Trained by the exact gradient and Adam with a cosine decay,
    on pictures shifted by up to a pixel. 32,394 weights for 8x8 pixels and ten classes; pictures
    may be squares of any side.

    Parameters
    ----------
    parameters
        Of :class:`QNNClassifier`, in the place of the tuned ones.

    Examples
    --------
    >>> wide_digits_classifier(shifts=0).bond_qubits
    2
    """
    tuned: dict[str, Any] = {
        "block": "orthogonal",
        "bond_qubits": 2,
        "orders": ("row", "hilbert", "transposed", "snake"),
        "head": "linear",
        "feature_range": (0.0, np.pi / 2),
        "shifts": 1,
        "estimator": "exact",
        "schedule": "cosine",
        "retraction": "polar",
        "learning_rate": 0.02,
        "steps": 1600,
        "batch_size": 64,
        "initial_weights": "small",
        "logit_scale": 10.0,
    }
    return QNNClassifier(**{**tuned, **parameters})
