"""Update rules as pure init/update pairs; the state is a frozen record that holds the count."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError


@dataclass(frozen=True)
class CountState:
    """State of an update rule without memory."""

    count: int | Array


@dataclass(frozen=True)
class MeanState:
    """Running mean of the gradient, (W,), and the number of updates so far."""

    count: int | Array
    mean: Array


@dataclass(frozen=True)
class MomentsState:
    """Running means of the gradient and of its square, (W,), and the number of updates so far."""

    count: int | Array
    mean: Array
    square: Array


class Update(Protocol):
    """An update rule. ``scale_free``: a change does not grow with the gradient.

    One with ``capturable = True`` works on a device too: gradient, gain and all fields of the
    state, ``count`` included, are arrays there, and nothing depends on their values but by
    arithmetic. Then a whole step can be one CUDA graph.
    """

    scale_free: ClassVar[bool]

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
        _check_decay("beta", self.beta)

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


@dataclass(frozen=True)
class Adam:
    """Adam: D. P. Kingma, J. Ba, arXiv:1412.6980. The gain is its learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> rule = Adam()
    >>> change, state = rule.update(np.array([2.0, -0.1]), rule.init(np.zeros(2)), gain=0.5)
    >>> change.round(6).tolist()
    [-0.5, 0.5]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    scale_free: ClassVar[bool] = True
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_decay("beta1", self.beta1)
        _check_decay("beta2", self.beta2)
        if not self.epsilon > 0:
            raise InputError(f"epsilon: got {self.epsilon!r}, expected a number above 0.")

    def init(self, weights: Array) -> MomentsState:
        """Return the state before the first update."""
        zeros = array_module(weights).zeros_like(weights)
        return MomentsState(0, zeros, zeros)

    def update(
        self, gradient: Array, state: MomentsState, gain: float | Array
    ) -> tuple[Array, MomentsState]:
        """Return the change of the weights and the next state."""
        count = state.count + 1
        mean = self.beta1 * state.mean + (1.0 - self.beta1) * gradient
        square = self.beta2 * state.square + (1.0 - self.beta2) * gradient * gradient
        root = array_module(gradient).sqrt(square / (1.0 - self.beta2**count))
        change = (-gain / (1.0 - self.beta1**count)) * mean / (root + self.epsilon)
        return change, MomentsState(count, mean, square)


UPDATES: dict[str, type[SGD] | type[Momentum] | type[Adam]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
}


def get_update(update: str | Update) -> Update:
    """Return an update rule by its name ("sgd", "momentum", "adam") or as it is.

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


def state_to_fields(state: Any) -> dict[str, Any]:
    """Return an update state's numbers and arrays by name, to be kept in a checkpoint."""
    return {field.name: getattr(state, field.name) for field in fields(state)}


def state_from_fields(template: Any, values: dict[str, Any]) -> Any:
    """Return a state of the same kind as ``template`` with the given values."""
    return type(template)(
        **{name: int(value) if name == "count" else value for name, value in values.items()}
    )


def _check_decay(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise InputError(f"{name}: got {value!r}, expected a number in [0, 1).")
