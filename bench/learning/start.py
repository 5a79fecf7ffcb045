"""What a run of ours and JAX's of the same model share, by file.

Angles, classes, initial weights, minibatches, shifts and gains of every step: so that both walk
along one curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from bench.learning.data import Part
from tn_qnn.models.choices import chosen_estimator
from tn_qnn.models.estimators import QNNClassifier
from tn_qnn.train.augment import Shifts
from tn_qnn.train.batches import minibatch
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.inputs import starting_weights

Array = NDArray[Any]


def shared_start(classifier: QNNClassifier, part: Part, held: Part) -> dict[str, Array]:
    """Everything that decides a run, but its arithmetic; a copy of it is fitted for a step.

    Returns
    -------
    dict
        ``angles`` (S, F) and ``y`` (S,); ``held_angles``, ``held_y``; ``orders`` (T, F), the
        feature of each leaf of each tree; ``weights`` (W,); ``batches`` (steps, B), rows of
        ``angles``, -1 where a batch is smaller; ``sources`` (steps, B, F), the pixel that moves to
        each place and F where none does, of shape (steps, 0, 0) without shifts; ``gains`` (steps,);
        ``fill``, ``scale`` and ``bond_qubits`` without axes; ``y`` are class indices.

    Raises
    ------
    ValueError
        For an estimator or an update rule that JAX's run lacks.
    """
    steps, seed = classifier.steps, classifier.seed
    once = {"steps": 1, "estimator": "exact", "schedule": None}
    fitted = clone(classifier).set_params(**once).fit(part.X, part.y)
    model = fitted.model_
    samples = len(part.y)
    size = min(classifier.batch_size, samples)
    batches = np.full((steps, size), -1, dtype=np.int32)
    for step in range(steps):
        rows = minibatch(seed, step, samples, classifier.batch_size)
        batches[step, : len(rows)] = rows
    estimator = chosen_estimator(
        classifier.estimator,
        classifier.learning_rate,
        classifier.perturbation,
        classifier.directions,
        classifier.schedule,
    )
    if not isinstance(estimator, ExactGradient) or classifier.update != "adam":
        raise ValueError("JAX's run has the exact gradient and Adam; so must ours")
    gains = estimator.gains(steps, lambda: 1.0)
    return {
        "angles": fitted.scaling_.apply(part.X),
        "y": np.searchsorted(fitted.classes_, part.y),
        "held_angles": fitted.scaling_.apply(held.X),
        "held_y": np.searchsorted(fitted.classes_, held.y),
        "orders": np.array([_leaves(circuit) for circuit in model.circuits]),
        "weights": starting_weights(model, classifier.initial_weights, seed),
        "batches": batches,
        "sources": _sources(classifier, batches, part.X.shape[1]),
        "gains": np.array([gains.step_size(step) for step in range(steps)]),
        "fill": np.array(fitted.scaling_.first),
        "scale": np.array(fitted._scale()),
        "bond_qubits": np.array(classifier.bond_qubits),
    }


def _leaves(circuit: Any) -> list[int]:
    """The feature that turns each qubit, of an encoding by one angle each."""
    found = {}
    for operation in circuit.operations[: circuit.num_qubits]:
        ((monomial, _),) = operation.params[0].terms
        found[operation.qubits[0]] = monomial.features[0]
    return [found[qubit] for qubit in range(circuit.num_qubits)]


def _sources(classifier: QNNClassifier, batches: Array, pixels: int) -> Array:
    if not classifier.shifts:
        return np.zeros((len(batches), 0, 0), dtype=np.int16)
    side = round(pixels**0.5)
    shifts = Shifts((side, side), classifier.shifts, fill=float(pixels))
    numbered = np.arange(pixels, dtype=float)[None]
    moved = np.full((*batches.shape, pixels), pixels, dtype=np.int16)
    for step, rows in enumerate(batches):
        count = int((rows >= 0).sum())
        moved[step, :count] = shifts(numbered.repeat(count, axis=0), classifier.seed, step)
    return moved
