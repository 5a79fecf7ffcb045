"""Losses on outputs (N, K): a value a sample, and its slope with respect to the outputs.

No loss needs a derivative by the weights. The slope in the outputs is what light-cone credit
takes; a callable has none, and gets finite differences in the outputs, which cost no contraction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError

LossFunction: TypeAlias = Callable[[Array, Array], Array]
Targets: TypeAlias = Literal["classes", "numbers", "any"]

DIFFERENCE = 1e-5  # of outputs, where a slope is taken from differences


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes
    ----------
    name : str
        Its name with its parameters; checkpoints compare it.
    value : callable (outputs (N, K), y (N, ...)) -> (N,)
    slope : callable (outputs (N, K), y (N, ...)) -> (N, K), or None
        The closed-form derivative by the outputs; None where there is none.
    score : callable (outputs, y) -> float
        What validation reports, higher is better: accuracy, R^2, or minus the mean loss.
    targets : "classes", "numbers" or "any"
        What ``y`` holds: class indices (N,), numbers (N, K), or whatever the callable takes.
    differences : bool
        Whether the slope may be taken from finite differences in the outputs instead.
    capturable : bool
        Whether ``value`` and ``slope`` take arrays on a GPU by elementwise work and reductions
        alone, which a CUDA graph can hold: no transfer, no choice by an array's value, and no
        scalar assigned through an array of indices (CuPy copies it to the device).
    """

    name: str
    value: LossFunction
    slope: LossFunction | None
    score: Callable[[Array, Array], float]
    targets: Targets
    differences: bool = False
    capturable: bool = False

    @property
    def has_slope(self) -> bool:
        """Whether light-cone credit can use this loss."""
        return self.slope is not None or self.differences


def mse() -> Loss:
    """Mean squared error over the outputs; ``y`` is (N, K) numbers. The score is R^2.

    Examples
    --------
    >>> import numpy as np
    >>> mse().value(np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]]))
    array([5.])
    """

    def value(outputs: Array, y: Array) -> Array:
        return ((outputs - y) ** 2).mean(axis=1)

    def slope(outputs: Array, y: Array) -> Array:
        return 2.0 * (outputs - y) / outputs.shape[1]

    return Loss("mse", value, slope, r_squared, "numbers", capturable=True)


def cross_entropy(scale: float = 5.0) -> Loss:
    """Softmax cross-entropy: -log softmax(scale * outputs)[y], ``y`` class indices (N,).

    Expectation values lie in [-1, 1]; ``scale`` (an inverse temperature) lets the softmax become
    sure of a class. A single output f with classes 0 and 1 counts as the pair (-f, f).

    Examples
    --------
    >>> import numpy as np
    >>> loss = cross_entropy(scale=1.0)
    >>> loss.value(np.zeros((1, 4)), np.array([2])).round(4)     # log 4
    array([1.3863])
    >>> loss.slope(np.zeros((1, 4)), np.array([2]))
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    _check_positive("scale", scale)

    def value(outputs: Array, y: Array) -> Array:
        xp = array_module(outputs)
        logits = scale * _pair(outputs)
        logits = logits - logits.max(axis=1, keepdims=True)
        return xp.log(xp.exp(logits).sum(axis=1)) - _picked(logits, y)

    def slope(outputs: Array, y: Array) -> Array:
        xp = array_module(outputs)
        logits = scale * _pair(outputs)
        exponentials = xp.exp(logits - logits.max(axis=1, keepdims=True))
        slopes = exponentials / exponentials.sum(axis=1, keepdims=True)
        slopes = scale * (slopes - _is_class(slopes, y))
        return slopes if outputs.shape[1] > 1 else slopes[:, 1:] - slopes[:, :1]

    name = f"cross_entropy(scale={scale!r})"
    return Loss(name, value, slope, accuracy, "classes", capturable=True)


def hinge(margin: float = 1.0) -> Loss:
    """Hinge loss, ``y`` class indices (N,).

    Several outputs: max(0, margin + max_{j != y} f_j - f_y) (K. Crammer, Y. Singer, JMLR 2 (2001)
    265). One output with classes 0 and 1: max(0, margin - t f) with t = -1 and 1.
    At a kink the slope is that of the flat side.

    Examples
    --------
    >>> import numpy as np
    >>> hinge().value(np.array([[0.5, 0.2, -1.0]]), np.array([0])).round(3)
    array([0.7])
    """
    _check_positive("margin", margin)

    def gaps(outputs: Array, y: Array) -> tuple[Array, Array]:
        """How far the best other class is above the right one, and which it is, both (N,)."""
        xp = array_module(outputs)
        if outputs.shape[1] == 1:
            return (1.0 - 2.0 * y) * outputs[:, 0], y
        others = xp.where(_is_class(outputs, y), -xp.inf, outputs)
        rival = others.argmax(axis=1)
        return others.max(axis=1) - _picked(outputs, y), rival

    def value(outputs: Array, y: Array) -> Array:
        return array_module(outputs).maximum(0.0, margin + gaps(outputs, y)[0])

    def slope(outputs: Array, y: Array) -> Array:
        xp = array_module(outputs)
        gap, rival = gaps(outputs, y)
        active = (margin + gap > 0.0).astype(outputs.dtype)[:, None]
        if outputs.shape[1] == 1:
            return active * (1.0 - 2.0 * y[:, None])
        fall = xp.where(_is_class(outputs, y), -active, 0.0)
        return xp.where(_is_class(outputs, rival), active, fall)

    name = f"hinge(margin={margin!r})"
    return Loss(name, value, slope, accuracy, "classes", capturable=True)


def zero_one() -> Loss:
    """0 for the right class, 1 for a wrong one; it has no slope, so only plain SPSA can use it.

    Examples
    --------
    >>> import numpy as np
    >>> zero_one().value(np.array([[0.1, 0.3], [0.2, 0.1]]), np.array([1, 1]))
    array([0., 1.])
    """

    def value(outputs: Array, y: Array) -> Array:
        return (predicted_class(outputs) != y).astype(float)

    return Loss("zero_one", value, None, accuracy, "classes", capturable=True)


def from_callable(function: LossFunction) -> Loss:
    """Make a loss of ``function(outputs (N, K), y) -> (N,)``; no gradient is asked of it.

    Its value for a sample must not depend on the other samples: the rows of several perturbed
    minibatches come in one call.

    Examples
    --------
    >>> import numpy as np
    >>> loss = from_callable(lambda outputs, y: abs(outputs[:, 0] - y))
    >>> loss.value(np.array([[1.0], [2.0]]), np.array([0.5, 4.0]))
    array([0.5, 2. ])
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)

    def value(outputs: Array, y: Array) -> Array:
        xp = array_module(outputs)
        values = xp.asarray(function(outputs, y), dtype=float)
        if values.shape != (len(outputs),):
            raise InputError(
                f"loss: {name} returned shape {values.shape} for outputs {outputs.shape}, "
                f"expected ({len(outputs)},): one number a sample. Do not average over samples."
            )
        return values

    def score(outputs: Array, y: Array) -> float:
        return -float(value(outputs, y).mean())

    return Loss(name, value, None, score, "any", differences=True)


LOSSES: dict[str, Callable[[], Loss]] = {
    "mse": mse,
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "zero_one": zero_one,
}


def get_loss(loss: str | Loss | LossFunction) -> Loss:
    """Return a loss by name, from a callable, or as it is.

    Parameters
    ----------
    loss : "mse", "cross_entropy", "hinge", "zero_one", a Loss, or a callable (outputs, y) -> (N,)

    Raises
    ------
    InputError
        When the name is unknown or the object cannot be called.

    Examples
    --------
    >>> get_loss("hinge").name
    'hinge(margin=1.0)'
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    if isinstance(loss, str) or not callable(loss):
        raise InputError(
            f"loss: got {loss!r}, expected one of {', '.join(LOSSES)} or a callable "
            f"(outputs (samples, outputs), y) -> (samples,)."
        )
    return from_callable(loss)


def output_changes(loss: Loss, plus: Array, minus: Array, y: Array) -> Array:
    """Return the change of the loss that each output alone makes on its way from minus to plus.

    A closed-form slope is taken at the midpoint, times the difference; without one the other
    outputs stay at the midpoint and the loss itself is differenced. Both agree with the
    loss's first derivative up to the third power of the difference, so that dividing by 2c leaves
    a bias of O(c^2).

    Parameters
    ----------
    plus, minus : (N, K)
    y : (N, ...)

    Returns
    -------
    (N, K)

    Raises
    ------
    InputError
        When the loss has no slope in the outputs.
    """
    middle = 0.5 * (plus + minus)
    if loss.slope is not None:
        return loss.slope(middle, y) * (plus - minus)
    if not loss.differences:
        raise InputError(
            f"loss: {loss.name} has no slope in the outputs, which light-cone credit needs. "
            f"Use SPSA(credit=False), or a loss with a slope such as cross_entropy."
        )
    xp = array_module(plus)
    changes = xp.empty_like(middle)
    for k in range(middle.shape[1]):
        ends = []
        for side in (plus, minus):
            outputs = xp.array(middle)
            outputs[:, k] = side[:, k]
            ends.append(loss.value(outputs, y))
        changes[:, k] = ends[0] - ends[1]
    return changes


def output_slopes(loss: Loss, outputs: Array, y: Array) -> Array:
    """Return the loss's derivative by the outputs, (N, K): closed form, or central differences.

    Parameters
    ----------
    outputs : float64 (N, K)
    y : (N, ...)

    Raises
    ------
    InputError
        When the loss has no slope in the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> square = from_callable(lambda outputs, y: (outputs**2).sum(axis=1))
    >>> output_slopes(square, np.array([[0.5, -1.0]]), np.zeros(1)).round(6)
    array([[ 1., -2.]])
    """
    if loss.slope is not None:
        return loss.slope(outputs, y)
    return output_changes(loss, outputs + DIFFERENCE, outputs - DIFFERENCE, y) / (2 * DIFFERENCE)


def predicted_class(outputs: Array) -> Array:
    """Return the class of each row: the largest output, or the sign of a single one."""
    return _pair(outputs).argmax(axis=1)


def accuracy(outputs: Array, y: Array) -> float:
    """Return the share of rows whose class is right."""
    return float((predicted_class(outputs) == y).mean())


def r_squared(outputs: Array, y: Array) -> float:
    """Return R^2 over all outputs; for constant targets 1 if met exactly, else 0."""
    residual = float(((outputs - y) ** 2).sum())
    total = float(((y - y.mean(axis=0)) ** 2).sum())
    return 1.0 - residual / total if total > 0.0 else float(residual == 0.0)


def _is_class(outputs: Array, classes: Array) -> Array:
    """Return which column of each row is that of the row's class, bool (N, K)."""
    return classes[:, None] == array_module(outputs).arange(outputs.shape[1])


def _picked(outputs: Array, y: Array) -> Array:
    """Return each row's entry of its class, (N,)."""
    # A sum with zeros is exact, and fewer launches on a GPU than to look up by pairs of indices.
    return array_module(outputs).where(_is_class(outputs, y), outputs, 0.0).sum(axis=1)


def _pair(outputs: Array) -> Array:
    if outputs.shape[1] > 1:
        return outputs
    return array_module(outputs).concatenate([-outputs, outputs], axis=1)


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < float("inf"):
        raise InputError(f"{name}: got {value!r}, expected a finite number above 0.")
