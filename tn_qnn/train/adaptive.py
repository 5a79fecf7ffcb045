"""Update rules that give each weight a step size of its own, learnt from its gradients."""

from dataclasses import dataclass
from typing import ClassVar

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError
from tn_qnn.train.gains import is_finite


@dataclass(frozen=True)
class MomentsState:
    """Running means of the gradient and of its square, (W,), and the number of updates so far."""

    count: int | Array
    mean: Array
    square: Array


@dataclass(frozen=True)
class LargestState:
    """As :class:`MomentsState`, with the largest corrected mean of the square so far, (W,)."""

    count: int | Array
    mean: Array
    square: Array
    largest: Array


@dataclass(frozen=True)
class SignsState:
    """Step sizes as multiples of the gain and the last signs, (W,), and the number of updates."""

    count: int | Array
    sizes: Array
    signs: Array


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
        check_decay("beta1", self.beta1)
        check_decay("beta2", self.beta2)
        check_positive("epsilon", self.epsilon)

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


@dataclass(frozen=True)
class AMSGrad:
    """Adam whose step sizes never grow: S. J. Reddi, S. Kale, S. Kumar, arXiv:1904.09237.

    In the place of the running mean of the square stands the largest it has been, each corrected
    for its start at zero. The gain is the learning rate, as in :class:`Adam`.

    Examples
    --------
    >>> import numpy as np
    >>> rule = AMSGrad(beta1=0.0, beta2=0.0)
    >>> change, state = rule.update(np.array([4.0]), rule.init(np.zeros(1)), gain=0.5)
    >>> change, state = rule.update(np.array([1.0]), state, gain=0.5)
    >>> change.round(6).tolist()
    [-0.125]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    scale_free: ClassVar[bool] = True
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_decay("beta1", self.beta1)
        check_decay("beta2", self.beta2)
        check_positive("epsilon", self.epsilon)

    def init(self, weights: Array) -> LargestState:
        """Return the state before the first update."""
        zeros = array_module(weights).zeros_like(weights)
        return LargestState(0, zeros, zeros, zeros)

    def update(
        self, gradient: Array, state: LargestState, gain: float | Array
    ) -> tuple[Array, LargestState]:
        """Return the change of the weights and the next state."""
        xp = array_module(gradient)
        count = state.count + 1
        mean = self.beta1 * state.mean + (1.0 - self.beta1) * gradient
        square = self.beta2 * state.square + (1.0 - self.beta2) * gradient * gradient
        largest = xp.maximum(state.largest, square / (1.0 - self.beta2**count))
        change = (-gain / (1.0 - self.beta1**count)) * mean / (xp.sqrt(largest) + self.epsilon)
        return change, LargestState(count, mean, square, largest)


@dataclass(frozen=True)
class Resilient:
    """Resilient propagation: steps by the gradient's sign alone, of a size for each weight.

    A weight's size grows while its gradient keeps its sign. Where the sign turns, the size
    shrinks and the weight rests for a step. Sizes are multiples of the gain, 1 at first. It is
    made for accurate gradients, of large minibatches; noise turns signs and so shrinks steps.

    Source: M. Riedmiller, H. Braun, IEEE Int. Conf. Neural Networks (1993) 586, in the form iRprop-
    of C. Igel, M. Hüsken, Neurocomputing 50 (2003) 105.

    Parameters
    ----------
    grow, shrink : float
        Factors of a size, above 1 and below 1.
    smallest, largest : float
        Bounds of a size.

    Examples
    --------
    >>> import numpy as np
    >>> rule, state = Resilient(), Resilient().init(np.zeros(2))
    >>> for gradient in ([3.0, 3.0], [2.0, -2.0]):
    ...     change, state = rule.update(np.array(gradient), state, gain=0.1)
    >>> abs(change).round(6).tolist(), state.sizes.tolist()
    ([0.12, 0.0], [1.2, 0.5])
    """

    grow: float = 1.2
    shrink: float = 0.5
    smallest: float = 1e-6
    largest: float = 50.0
    scale_free: ClassVar[bool] = True
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("grow", "shrink", "smallest", "largest"):
            check_positive(name, getattr(self, name))
        if not self.shrink < 1.0 < self.grow:
            raise InputError(
                f"grow, shrink: got {self.grow!r} and {self.shrink!r}, expected a factor above 1 "
                f"and one below."
            )
        if not self.smallest <= 1.0 <= self.largest:
            raise InputError(
                f"smallest, largest: got {self.smallest!r} and {self.largest!r}, expected bounds "
                f"with 1 between them, which is the size of the first step."
            )

    def init(self, weights: Array) -> SignsState:
        """Return the state before the first update."""
        xp = array_module(weights)
        return SignsState(0, xp.ones_like(weights), xp.zeros_like(weights))

    def update(
        self, gradient: Array, state: SignsState, gain: float | Array
    ) -> tuple[Array, SignsState]:
        """Return the change of the weights and the next state."""
        xp = array_module(gradient)
        signs = xp.sign(gradient)
        agreement = signs * state.signs
        factor = xp.where(agreement > 0, self.grow, xp.where(agreement < 0, self.shrink, 1.0))
        sizes = xp.clip(state.sizes * factor, self.smallest, self.largest)
        signs = xp.where(agreement < 0, 0.0, signs)
        return -gain * sizes * signs, SignsState(state.count + 1, sizes, signs)


def check_decay(name: str, value: float) -> None:
    """Raise ``InputError`` unless ``value`` can be the decay of a running mean."""
    if not (is_finite(value) and 0.0 <= value < 1.0):
        raise InputError(f"{name}: got {value!r}, expected a number in [0, 1).")


def check_positive(name: str, value: float) -> None:
    """Raise ``InputError`` unless ``value`` is a finite number above 0."""
    if not (is_finite(value) and value > 0):
        raise InputError(f"{name}: got {value!r}, expected a finite number above 0.")
