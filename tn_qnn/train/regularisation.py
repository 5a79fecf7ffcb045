"""A penalty on the weights themselves, which every estimator sees alike.

It needs no model evaluation: the step adds its value to the minibatch's loss and its closed-form
gradient to the estimate, whoever made that. So it is part of the objective with SPSA as with an
exact gradient, and it adds no noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError


@dataclass(frozen=True)
class L2:
    """The penalty strength / 2 * sum of squares of the weights whose names begin with ``prefix``.

    Angles are periodic and want none; it is for the weights of a linear head, ``"head["``, which
    leaves out the bias.

    Parameters
    ----------
    strength : float
        Above 0.
    prefix : str
        Of the names; "" for all weights.

    Raises
    ------
    InputError
        When the strength is not a finite number above 0.

    Examples
    --------
    >>> L2(0.5, "head[").strengths(["a", "head[0,0]", "head.bias[0]"])
    array([0. , 0.5, 0. ])
    """

    strength: float
    prefix: str = "head["

    def __post_init__(self) -> None:
        number = isinstance(self.strength, int | float) and not isinstance(self.strength, bool)
        if not number or not math.isfinite(self.strength) or self.strength <= 0:
            raise InputError(
                f"regularisation: got strength {self.strength!r}, expected a finite number above 0."
            )

    def strengths(self, names: Sequence[str]) -> Array:
        """Return the strength for each weight, float64 (W,): the gradient is this times w."""
        return np.where([name.startswith(self.prefix) for name in names], self.strength, 0.0)

    def check(self, names: Sequence[str]) -> None:
        """Raise ``InputError`` where no weight's name begins with the prefix."""
        if not any(name.startswith(self.prefix) for name in names):
            raise InputError(
                f"regularisation: no weight's name begins with {self.prefix!r}; give the prefix of"
                " some of model.weight_names, such as 'head[' for a linear head."
            )
