"""What the trainer knows of a model, and what an estimator must give."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.train.gains import Gains
from tn_qnn.train.losses import Loss


@runtime_checkable
class Trainable(Protocol):
    """A model as the trainer sees it: K outputs a sample from W weights.

    Attributes
    ----------
    weight_names : tuple of str
        One name a weight, in the order of the weights' last axis.
    num_weights, num_outputs : int
        W and K.
    credit : bool array (K, W)
        ``credit[k, i]``: output k can depend on weight i (i is in the light cone of k).
    signature : str
        A hash of everything that defines the model but its weights; checkpoints carry it.

    Notes
    -----
    A model may also have ``environment``, a JSON-able dict (threads, chunking, ...): checkpoints
    keep it and a resume warns where it differs, since the last bits may then differ too.

    A model with tensor-valued weights has ``blocks``, a tuple of
    :class:`~tn_qnn.circuit.block_groups.BlockGroup`, which initial weights and retractions take.

    A model that can sweep back has ``pull_back``, as :meth:`QNN.pull_back`, for the exact gradient;
    one that can change single gates has ``local_outputs``, see :class:`LocalOutputs`.

    One with ``part(mask, weights)`` gives a model of some of its weights, the others frozen; else
    their values are put in at every call. What such a part does not change of some samples may be
    worked out once: ``kept(X)`` gives a model and what it takes for them, or None. ``gate_uses``
    tells the gates, which weights can then be chosen by.

    A model that computes on a GPU takes arrays of either module and answers in the same, and has
    ``device``, which the trainer runs whole steps on (see
    :class:`~tn_qnn.train.stepping.Device`), ``ops`` (see :class:`~tn_qnn.train.ops.Ops`) and
    ``capturable``: True where a call, once made eagerly with arrays of the same shapes on the
    device, can be recorded in a CUDA graph, else a text that says why not.
    """

    @property
    def weight_names(self) -> tuple[str, ...]: ...
    @property
    def num_weights(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    @property
    def credit(self) -> Array: ...
    @property
    def signature(self) -> str: ...

    def __call__(self, weights: Array, X: Array) -> Array:
        """Outputs: (W,) -> (S, K); (P, W) -> (P, S, K); (P, S, W) -> (P, S, K), for X (S, F).

        They are arrays of the weights' module, NumPy or CuPy, in float32 or float64.
        """
        ...


@dataclass(frozen=True, eq=False)
class LocalOutputs:
    """A model's outputs where single gates have the angles of other weights, all else as it is.

    Attributes
    ----------
    rows : slice
        The samples, s of them.
    outputs : float64 (n, N, s, K)
        For each of n occurrences of a gate in a light cone and each of N weight sets.
    occurrences, weights : int arrays (u,)
        Pairs that belong together: the occurrence's angle depends on the weight.
    """

    rows: slice
    outputs: Array
    occurrences: Array
    weights: Array


#: What ``model.local_outputs(weights (W,), X (S, F), sets (N, W))`` gives: the outputs (S, K) at
#: ``weights``, and those with single gates turned to each of ``sets``; together these hold every
#: occurrence of a gate that depends on weights, with every sample, once.
MovedOutputs: TypeAlias = tuple[Array, Iterator[LocalOutputs]]


def local_outputs(model: Any, weights: Array, X: Array, sets: Array) -> MovedOutputs:
    """Return what ``model.local_outputs`` gives.

    Raises
    ------
    InputError
        When the model has none.
    """
    if not hasattr(model, "local_outputs"):
        raise InputError(
            f"model: {type(model).__name__} has no local_outputs, which LocalSPSA needs. Use "
            f"SPSA(credit=False) for a loss without a slope, or a model such as QNN."
        )
    found: MovedOutputs = model.local_outputs(weights, X, sets)
    return found


@dataclass(frozen=True)
class Estimate:
    """A gradient estimate.

    Attributes
    ----------
    gradient : float64 array (W,)
    loss : float, or an array without axes
        The minibatch's weighted mean loss, up to O(c^2) that of the unperturbed weights.
    evaluations : int
        Model evaluations spent: one is one sample with one set of weights, all outputs.
    """

    gradient: Array
    loss: float | Array
    evaluations: int


@runtime_checkable
class Estimator(Protocol):
    """Gives a gradient estimate; holds its own step-size schedule. A frozen record.

    One with ``capturable = True`` makes its estimate from arrays on a device, ``step`` included,
    by nothing that a CUDA graph cannot hold: no transfer, no ``bool`` or ``float`` of an array.
    """

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` when the loss cannot be used with this estimator."""
        ...

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Fix the schedule; ``unit_change()`` is a weight's mean change at gain 1 (it costs)."""
        ...

    def estimate(
        self,
        model: Trainable,
        loss: Loss,
        weights: Array,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        seed: int,
        step: int | Array,
    ) -> Estimate:
        """Estimate the gradient of the minibatch's weighted mean loss at ``weights``."""
        ...


@runtime_checkable
class Mover(Protocol):
    """Stands in an estimator's place and takes whole steps itself, without an update rule.

    A frozen record, as an estimator is; a step is a pure function of its arguments.
    """

    def check(self, loss: Loss) -> None:
        """Raise ``InputError`` when the loss cannot be used with this mover."""
        ...

    def gains(self, total_steps: int, unit_change: Callable[[], float]) -> Gains:
        """Return what the history shows as gains; ``unit_change`` must not be called."""
        ...

    def move(
        self,
        model: Trainable,
        loss: Loss,
        weights: Array,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        seed: int,
        step: int,
    ) -> tuple[Array, float, int]:
        """Return the weights after the step, the minibatch's loss before it, and evaluations."""
        ...
