"""What guards an update rule: a bound on its steps, and refusal of those that make things worse."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from tn_qnn.arrays import Array, array_module
from tn_qnn.errors import InputError
from tn_qnn.train.adaptive import check_positive
from tn_qnn.train.gains import is_finite
from tn_qnn.train.updates import get_update


@dataclass(frozen=True)
class TrustRegion:
    """An update rule whose steps are held within a radius.

    Parameters
    ----------
    rule : str or Update
    radius : float
        In radians for angles.
    norm : "max" or "l2"
        "max": no weight changes by more than the radius; each is held for itself. "l2": the step
        as a whole is no longer than the radius, in the Euclidean norm; it keeps its direction.

    Raises
    ------
    InputError
        When an argument is not legal.

    Notes
    -----
    The region is fixed; :class:`Blocking` adapts the length of steps to the loss. The rule's state
    is that of the step it proposed.

    Examples
    --------
    >>> import numpy as np
    >>> rule = TrustRegion("sgd", radius=0.1)
    >>> change, state = rule.update(np.array([2.0, 0.5]), rule.init(np.zeros(2)), gain=0.1)
    >>> change.tolist()
    [-0.1, -0.05]
    """

    rule: Any
    radius: float
    norm: Literal["max", "l2"] = "max"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", get_update(self.rule))
        if isinstance(self.rule, Blocking):
            raise InputError(
                "rule: got Blocking in a TrustRegion; write it the other way round, "
                "Blocking(TrustRegion(...)), as it judges the step that is taken."
            )
        check_positive("radius", self.radius)
        if self.norm not in ("max", "l2"):
            raise InputError(f"norm: got {self.norm!r}, expected 'max' or 'l2'.")

    @property
    def scale_free(self) -> bool:
        """As the rule within."""
        return bool(self.rule.scale_free)

    @property
    def capturable(self) -> bool:
        """As the rule within."""
        return bool(getattr(self.rule, "capturable", False))

    def init(self, weights: Array) -> Any:
        """Return the rule's state before the first update."""
        return self.rule.init(weights)

    def update(self, gradient: Array, state: Any, gain: float | Array) -> tuple[Array, Any]:
        """Return the change of the weights, held back, and the rule's next state."""
        xp = array_module(gradient)
        change, state = self.rule.update(gradient, state, gain)
        if self.norm == "max":
            return xp.clip(change, -self.radius, self.radius), state
        length = xp.sqrt((change * change).sum())
        return change * (self.radius / xp.maximum(length, self.radius)), state


@dataclass(frozen=True)
class BlockingState:
    """State of the rule within, the factor of its steps, and how many were refused so far."""

    rule: Any
    factor: float
    refused: int


@dataclass(frozen=True)
class Blocking:
    """An update rule whose steps are taken only if they do not make the loss worse.

    After each step the loss of the same minibatch is evaluated at the old and at the new weights,
    in one call of the model: two evaluations a sample, which count. If it grew by more than the
    tolerance, or is no number, the weights stay as they were.

    The rule's state advances all the same: the gradient it has seen is that of the weights which
    stay. So that a rule with a deterministic gradient does not propose the same step for ever,
    steps shrink by ``backoff`` after a refusal, and grow back to full length as they are taken.

    Source: J. C. Spall, IEEE Trans. Autom. Control 45 (2000) 1839, which has ``backoff=1``.

    Parameters
    ----------
    rule : str or Update
    tolerance : float
        Growth of the loss that is let through. Where the loss is noisy, Spall takes about twice
        its standard deviation; on one minibatch it has none, and 0 asks for descent.
    backoff : float
        Factor of the steps after a refusal, above 0; 1 leaves them as they are.

    Raises
    ------
    InputError
        When an argument is not legal.

    Examples
    --------
    >>> import numpy as np
    >>> rule = Blocking("sgd")
    >>> state = rule.judge(rule.init(np.zeros(2)), before=0.5, after=0.7)[1]
    >>> change, state = rule.update(np.array([2.0, 0.5]), state, gain=0.1)
    >>> change.tolist(), state.refused
    ([-0.1, -0.025], 1)
    """

    rule: Any = "adam"
    tolerance: float = 0.0
    backoff: float = 0.5

    #: The host must look at the losses of every step.
    capturable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", get_update(self.rule))
        if isinstance(self.rule, Blocking):
            raise InputError("rule: got Blocking within Blocking; once is enough.")
        if not (is_finite(self.tolerance) and self.tolerance >= 0):
            raise InputError(
                f"tolerance: got {self.tolerance!r}, expected a finite number, 0 or above."
            )
        if not (is_finite(self.backoff) and 0.0 < self.backoff <= 1.0):
            raise InputError(f"backoff: got {self.backoff!r}, expected a number in (0, 1].")

    @property
    def scale_free(self) -> bool:
        """As the rule within."""
        return bool(self.rule.scale_free)

    def init(self, weights: Array) -> BlockingState:
        """Return the state before the first update."""
        return BlockingState(self.rule.init(weights), 1.0, 0)

    def update(
        self, gradient: Array, state: BlockingState, gain: float | Array
    ) -> tuple[Array, BlockingState]:
        """Return the change that the rule proposes, times the factor, and the next state."""
        change, inner = self.rule.update(gradient, state.rule, gain)
        return state.factor * change, replace(state, rule=inner)

    def judge(
        self, state: BlockingState, before: float, after: float
    ) -> tuple[bool, BlockingState]:
        """Return whether a step is taken that leads from one loss to the other, and the state."""
        if after <= before + self.tolerance:  # never true of a nan
            return True, replace(state, factor=min(1.0, state.factor / self.backoff))
        return False, replace(state, factor=self.backoff * state.factor, refused=state.refused + 1)
