"""What a training run leaves behind, whoever ran it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Mark = tuple[int, int, float]  # steps, evaluations, seconds since the run began


@dataclass(frozen=True, eq=False)
class Trained:
    """A run.

    Attributes
    ----------
    losses
        Of each step, the minibatch's.
    marks, weights
        Where the run was kept: every so many steps, and at its end.
    score
        Accuracy of the held samples with given weights.
    facts
        What else is to be told.
    """

    losses: Sequence[float]
    marks: Sequence[Mark]
    weights: Sequence[Array]
    score: Callable[[Array], float]
    facts: dict[str, Any]

    def result(self, watched: bool) -> dict[str, Any]:
        """For the result file; without ``watched`` the held samples are looked at once, at the end.

        ``curve`` has a (steps, evaluations, seconds, accuracy) for each look.
        """
        kept = list(zip(self.marks, self.weights, strict=True))[0 if watched else -1 :]
        curve = [(*mark, self.score(weights)) for mark, weights in kept]
        steps, evaluations, seconds, accuracy = curve[-1]
        return {
            "accuracy": accuracy,
            "steps": steps,
            "evaluations": evaluations,
            "seconds": seconds,
            "first_seconds": self.marks[0][2],
            "losses": list(self.losses),
            "curve": curve,
            **self.facts,
        }
