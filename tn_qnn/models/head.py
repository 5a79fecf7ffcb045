"""A linear layer on a network's outputs: f @ V + b, with V and b trained like other weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tn_qnn.arrays import Array, array_module
from tn_qnn.circuit.block_groups import BlockGroup
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Observable
from tn_qnn.errors import InputError
from tn_qnn.models.checks import as_floats
from tn_qnn.models.explain import Explanation
from tn_qnn.models.gradients import Slopes
from tn_qnn.models.part import Part
from tn_qnn.models.qnn import QNN
from tn_qnn.rng import Stream, derived_seed, normal
from tn_qnn.train.exact import loss_and_gradient
from tn_qnn.train.inputs import positive, starting_weights
from tn_qnn.train.losses import Loss, LossFunction, get_loss
from tn_qnn.train.parts import FrozenWithGradient, GateUse
from tn_qnn.train.protocol import LocalOutputs, MovedOutputs, Trainable

Model: TypeAlias = "QNN | LinearHead"

PREFIX = "head"
OWN = f"{PREFIX}[", f"{PREFIX}.bias["
SCALE = 0.1  # standard deviation of the first entries of V


class LinearHead:
    """A QNN with a linear head: any number of scores from what its circuits read out.

    It is trained as a QNN is, by every estimator: its weights are the network's and then those of
    the head, ``head[j,k]`` from the network's output j to its own output k, row by row, and
    ``head.bias[k]``.

    Parameters
    ----------
    model : QNN
        Expectation values, density matrices (as packed real numbers), or both.
    num_outputs : int
        K.
    bias : bool
        Whether there is a b.

    Raises
    ------
    InputError
        When an argument is not legal.

    References
    ----------
    Huggins et al., Quantum Sci. Technol. 4, 024001 (2019), read density matrices of a tree's top.

    Examples
    --------
    >>> from tn_qnn.circuit.observables import density_matrix
    >>> from tn_qnn.circuit.slots import weight
    >>> inner = QNN(Circuit(1).ry(weight("a"), 0), [density_matrix([0])])
    >>> model = LinearHead(inner, 2)
    >>> model.weight_names[:3], model.num_weights
    (('a', 'head[0,0]', 'head[0,1]'), 11)
    >>> model([0.0, *np.arange(8.0), 0.0, 0.5])     # the density matrix is diag(1, 0)
    array([[0. , 1.5]])
    """

    def __init__(self, model: QNN, num_outputs: int, bias: bool = True) -> None:
        if not hasattr(model, "credit") or isinstance(model, LinearHead):
            raise InputError(f"model: a QNN expected, not {type(model).__name__}")
        if not isinstance(bias, bool):
            raise InputError(f"bias: True or False expected, not {bias!r}")
        taken = [name for name in model.weight_names if name.startswith(OWN)]
        if taken:
            raise InputError(
                f"model: its weight {taken[0]!r} is named as those of a head; rename it"
            )
        self.model = model
        self.num_outputs = positive("num_outputs", num_outputs)
        self.bias = bias

    @property
    def num_inputs(self) -> int:
        """Number of the network's outputs, which the head takes."""
        return self.model.num_outputs

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights: the network's, the head's, the bias."""
        rows, columns = range(self.num_inputs), range(self.num_outputs)
        head = [f"{PREFIX}[{j},{k}]" for j in rows for k in columns]
        bias = [f"{PREFIX}.bias[{k}]" for k in columns] if self.bias else []
        return (*self.model.weight_names, *head, *bias)

    @property
    def num_weights(self) -> int:
        """Number of weights."""
        return len(self.weight_names)

    @cached_property
    def credit(self) -> NDArray[np.bool_]:
        """Which outputs can depend on which weights, shape (outputs, weights)."""
        count = self.num_outputs
        inner = np.tile(self.model.credit.any(axis=0), (count, 1))
        own = np.tile(np.eye(count, dtype=bool), self.num_inputs + self.bias)
        return np.hstack([inner, own])

    @cached_property
    def frequencies(self) -> tuple[tuple[float, ...], ...]:
        """As of :attr:`QNN.frequencies`; zero stands for the head's weights: outputs are linear."""
        own = self.num_weights - self.model.num_weights
        return (*self.model.frequencies, *([(0.0,)] * own))

    @cached_property
    def signature(self) -> str:
        """SHA-256 of everything that defines the outputs."""
        facts = f"{self.model.signature} linear head {self.num_outputs} {self.bias}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def initial_weights(self, name: str, seed: int) -> NDArray[np.float64]:
        """Initial weights: the network's by name, a small random head, no bias."""
        count = self.num_inputs * self.num_outputs
        head = SCALE * normal(derived_seed(seed, Stream.HEAD), count)
        bias = np.zeros(self.num_outputs if self.bias else 0)
        return np.concatenate([starting_weights(self.model, name, seed), head, bias])

    def __call__(
        self, weights: ArrayLike | Mapping[str, float] | None = None, X: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Outputs for weights and data; arguments as of :meth:`QNN.__call__`.

        Returns
        -------
        ndarray
            Shape (S, K), or (P, S, K) for stacked weights, float64.
        """
        named = weights is None or isinstance(weights, Mapping)
        xp = array_module(X if named else weights)
        if xp is np or named:
            sets, single = self._checked_weights(weights)
            weights = xp.asarray(sets[0] if single else sets)
        inner, matrix, bias = self._parts(weights)
        return self._logits(self.model(inner, X), matrix, bias)

    def pull_back(
        self, weights: ArrayLike | Mapping[str, float], X: ArrayLike | None, slopes: Slopes
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Outputs, and the gradient of a loss whose slope in the outputs is known.

        The head's own part has a closed form: by V the network's outputs times the slopes, by b
        the slopes, summed over samples. The slopes times V go on to the network.

        Parameters, results and errors are those of :meth:`QNN.pull_back`.
        """
        inner, matrix, bias = self._parts(self._one_set(weights))
        lots: list[tuple[slice, Array]] = []

        def inner_slopes(outputs: Array, rows: slice) -> Array:
            lots.append((rows, slopes(self._logits(outputs, matrix, bias), rows)))
            return lots[-1][1] @ matrix.T

        found, gradient = self.model.pull_back(inner, X, inner_slopes)
        slope = np.zeros((len(found), self.num_outputs))
        for rows, part in lots:
            slope[rows] = part
        own = [(found.T @ slope).ravel(), *([slope.sum(axis=0)] if self.bias else [])]
        return self._logits(found, matrix, bias), np.concatenate([gradient, *own])

    def local_outputs(
        self, weights: ArrayLike | Mapping[str, float], X: ArrayLike | None, sets: ArrayLike
    ) -> MovedOutputs:
        """Outputs with single gates turned, and then with single entries of V and b changed.

        Parameters, results and errors are those of :meth:`QNN.local_outputs`.
        """
        inner, matrix, bias = self._parts(self._one_set(weights))
        others = self._parts(self._checked_weights(sets)[0])
        found, turned = self.model.local_outputs(inner, X, others[0])
        logits = self._logits(found, matrix, bias)

        def all_parts() -> Iterator[LocalOutputs]:
            for part in turned:
                values = self._logits(part.outputs, matrix, bias)
                yield LocalOutputs(part.rows, values, part.occurrences, part.weights)
            ones = np.ones((len(found), 1))
            inputs = np.hstack([found, ones]) if self.bias else found
            here, there = (np.concatenate([v, b[..., None, :]], axis=-2)[..., : inputs.shape[1], :]
                           for v, b in ((matrix, bias), others[1:]))  # fmt: skip
            for row, changes in enumerate(np.swapaxes(there - here, 0, 1)):
                yield self._changed_row(row, changes, inputs[:, row], logits)

        return logits, all_parts()

    def _changed_row(self, row: int, changes: Array, inputs: Array, logits: Array) -> LocalOutputs:
        """Outputs (K, N, S, K) where single entries of a row of V, or b, change by (N, K)."""
        count = self.num_outputs
        moves = np.eye(count)[:, None, None] * changes.T[:, :, None, None] * inputs[:, None]
        first = self.model.num_weights + row * count
        own = np.arange(count)
        return LocalOutputs(slice(0, len(logits)), logits + moves, own, first + own)

    def value_and_grad(
        self,
        weights: ArrayLike | Mapping[str, float],
        X: ArrayLike | None,
        y: ArrayLike,
        loss: str | Loss | LossFunction = "cross_entropy",
        sample_weight: ArrayLike | None = None,
    ) -> tuple[float, NDArray[np.float64]]:
        """Mean loss over samples and its exact gradient, as :meth:`QNN.value_and_grad`."""
        return loss_and_gradient(self, get_loss(loss), weights, X, y, sample_weight)

    def part(self, mask: NDArray[np.bool_], weights: NDArray[np.float64]) -> Trainable:
        """The model with some of its weights frozen, those of the network folded.

        Parameters
        ----------
        mask : bool (W,)
            Which weights are free.
        weights : float64 (W,)
            Values; those of free weights are not used.
        """
        count = self.model.num_weights
        inner, own = mask[:count], mask[count:]
        model, values = self, weights
        if not inner.all():
            network = self.model.part(inner, weights[:count])
            model = LinearHead(network, self.num_outputs, self.bias)
            values = np.concatenate([weights[:count][inner], weights[count:]])
        free = np.concatenate([np.ones(model.model.num_weights, dtype=bool), own])
        return model if free.all() else FrozenWithGradient(model, free, values)

    def kept(self, X: ArrayLike) -> tuple[LinearHead, Array] | None:
        """For some samples, with all that is free of its weights worked out, as `Part.kept`."""
        found = self.model.kept(X) if isinstance(self.model, Part) else None
        if found is None:
            return None
        return LinearHead(found[0], self.num_outputs, self.bias), found[1]

    def _parts(self, weights: Array) -> tuple[Array, Array, Array]:
        """The network's weights (..., n), V (..., inputs, K), and b (..., K) or zeros."""
        first = self.model.num_weights
        last = first + self.num_inputs * self.num_outputs
        shape = (*weights.shape[:-1], self.num_inputs, self.num_outputs)
        xp = array_module(weights)
        bias = weights[..., last:] if self.bias else xp.zeros((*shape[:-2], self.num_outputs))
        inner = xp.ascontiguousarray(weights[..., :first])
        return inner, weights[..., first:last].reshape(shape), bias

    def _logits(self, outputs: Array, matrix: Array, bias: Array) -> Array:
        """Outputs (..., S, K); V of shape (P, S, inputs, K) is one a sample."""
        if matrix.ndim == 4:
            return (outputs[..., None, :] @ matrix)[..., 0, :] + bias
        return outputs @ matrix + bias[..., None, :]

    def _checked_weights(self, weights: Any, samples: int = 1) -> tuple[NDArray[np.float64], bool]:
        """Weights (1, W), (P, W) or (P, S, W), and whether it was one set."""
        if weights is None or isinstance(weights, Mapping):
            weights = starting_weights(self, weights or {}, 0)
        array = as_floats("weights", weights)
        count = self.num_weights
        if array.ndim == 0 or array.shape[-1] != count:
            raise InputError(
                f"weights: shape ({count},), (sets, {count}) or (sets, samples, {count})"
                f" expected, not {array.shape}"
            )
        # Sets a sample are held against the data where the network is called.
        samples = array.shape[1] if array.ndim == 3 else samples
        single = self.model._checked_weights(self._parts(array)[0], samples)[1]
        return (array[None], True) if single else (array, False)

    def _one_set(self, weights: Any) -> NDArray[np.float64]:
        sets, single = self._checked_weights(weights)
        if not single:
            raise InputError(f"weights: shape ({self.num_weights},) expected, not {sets.shape}")
        return sets[0]

    # What a QNN has and a head does not change.

    @property
    def circuits(self) -> tuple[Circuit, ...]:
        """The network's circuits."""
        return self.model.circuits

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The network's observables."""
        return self.model.observables

    @property
    def gate_uses(self) -> tuple[GateUse, ...]:
        """As of :attr:`QNN.gate_uses`."""
        return self.model.gate_uses

    @property
    def blocks(self) -> tuple[BlockGroup, ...]:
        """The network's tensor-valued weights."""
        return self.model.blocks

    @property
    def num_features(self) -> int:
        """Number of columns that the data must have at least."""
        return self.model.num_features

    @property
    def dtype(self) -> str:
        """Precision of the network."""
        return self.model.dtype

    @property
    def backend(self) -> Any:
        """The network's backend."""
        return self.model.backend

    @property
    def device(self) -> Any:
        """The first GPU's runtime, or None."""
        return self.model.device

    @property
    def ops(self) -> Any:
        """As of :attr:`QNN.ops`."""
        return self.model.ops

    @property
    def capturable(self) -> bool | str:
        """Why a call cannot be captured in a CUDA graph."""
        return "a linear head's product is left to cuBLAS"

    @property
    def environment(self) -> dict[str, Any]:
        """As of :attr:`QNN.environment`."""
        return self.model.environment

    def explain(
        self, sets: int | None = None, samples: int | None = None, error: float = 0.01
    ) -> Explanation:
        """What the network of a call costs; the head adds next to nothing."""
        return self.model.explain(sets, samples, error)
