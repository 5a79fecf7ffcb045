"""Update rules as pure init/update pairs; the state is a frozen record that holds the count."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Protocol

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError
from tn_qnn.train.adaptive import Adam, AMSGrad, Resilient, check_decay


@dataclass(frozen=True)
class CountState:
    """State of an update rule without memory."""

    count: int | Array


@dataclass(frozen=True)
class MeanState:
    """Running mean of the gradient, (W,), and the number of updates so far."""

    count: int | Array
    mean: Array


class Update(Protocol):
    """An update rule. ``scale_free``: a change does not grow with the gradient.

    One with ``capturable = True`` works on a device too: gradient, gain and all fields of the
    state, ``count`` included, are arrays there, and nothing depends on their values but by
    arithmetic. Then a whole step can be one CUDA graph.
    """

    @property
    def scale_free(self) -> bool: ...

    def init(self, weights: Array) -> Any:
        """Return the state before the first update."""
        ...

    def update(self, gradient: Array, state: Any, gain: float | Array) -> tuple[Array, Any]:
        """Return what to add to the weights, (W,), and the next state; changes no argument."""
        ...


@dataclass(frozen=True)
class SGD:
    """Plain gradient descent: the change is -gain * gradient.

    Examples
    --------
    >>> import numpy as np
    >>> rule = SGD()
    >>> change, state = rule.update(np.array([2.0, -1.0]), rule.init(np.zeros(2)), gain=0.5)
    >>> change.tolist(), state.count
    ([-1.0, 0.5], 1)
    """

    scale_free: ClassVar[bool] = False
    capturable: ClassVar[bool] = True

    def init(self, weights: Array) -> CountState:
        """Return the state before the first update."""
        return CountState(0)

    def update(
        self, gradient: Array, state: CountState, gain: float | Array
    ) -> tuple[Array, CountState]:
        """Return the change of the weights and the next state."""
        return -gain * gradient, CountState(state.count + 1)


@dataclass(frozen=True)
class Momentum:
    """Descent along the running mean of the gradient, corrected for its start at zero.

    The mean (not the sum of heavy-ball form) makes a gain mean the same as in :class:`SGD`;
    heavy-ball with gain g is this rule with gain g / (1 - beta).

    Examples
    --------
    >>> import numpy as np
    >>> rule = Momentum(beta=0.5)
    >>> change, state = rule.update(np.array([2.0]), rule.init(np.zeros(1)), gain=0.5)
    >>> change.tolist()
    [-1.0]
    """

    beta: float = 0.9
    scale_free: ClassVar[bool] = False
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_decay("beta", self.beta)

    def init(self, weights: Array) -> MeanState:
        """Return the state before the first update."""
        return MeanState(0, array_module(weights).zeros_like(weights))

    def update(
        self, gradient: Array, state: MeanState, gain: float | Array
    ) -> tuple[Array, MeanState]:
        """Return the change of the weights and the next state."""
        count = state.count + 1
        mean = self.beta * state.mean + (1.0 - self.beta) * gradient
        return (-gain / (1.0 - self.beta**count)) * mean, MeanState(count, mean)


UPDATES: dict[str, type[SGD] | type[Momentum] | type[Adam] | type[AMSGrad] | type[Resilient]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
    "amsgrad": AMSGrad,
    "rprop": Resilient,
}


def get_update(update: str | Update) -> Update:
    """Return an update rule by its name, one of ``UPDATES``, or as it is.

    Raises
    ------
    InputError
        When the name is unknown or the object is not an update rule.

    Examples
    --------
    >>> get_update("adam")
    Adam(beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if isinstance(update, str) and update in UPDATES:
        return UPDATES[update]()
    if isinstance(update, str) or not hasattr(update, "init") or not hasattr(update, "update"):
        raise InputError(
            f"update: got {update!r}, expected one of {', '.join(UPDATES)} or an object with "
            f"`init` and `update`, such as Adam()."
        )
    return update


def state_to_fields(state: Any, prefix: str = "") -> dict[str, Any]:
    """Return an update state's numbers and arrays by name, to be kept in a checkpoint.

    What a state within the state holds has a name with a dot, such as "rule.count".
    """
    result: dict[str, Any] = {}
    for field in fields(state):
        name, value = prefix + field.name, getattr(state, field.name)
        result |= state_to_fields(value, f"{name}.") if is_dataclass(value) else {name: value}
    return result


def state_from_fields(template: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """Return a state of the same kind as ``template`` with the given values.

    Where the template has a number of Python, such as a count, so has the state.
    """
    parts: dict[str, Any] = {}
    for field in fields(template):
        name, kind = prefix + field.name, getattr(template, field.name)
        if is_dataclass(kind):
            parts[field.name] = state_from_fields(kind, values, f"{name}.")
        else:
            value = values[name]
            parts[field.name] = type(kind)(value) if isinstance(kind, int | float) else value
    return type(template)(**parts)
