"""The whole state of a training run, as one frozen record that a checkpoint can hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from tn_qnn.arrays import Array, to_numpy
from tn_qnn.train.gains import Gains
from tn_qnn.train.history import History, Row
from tn_qnn.train.updates import state_from_fields, state_to_fields

Monitor: TypeAlias = Literal["score", "loss"]
PHASE_FACTS = ("number", "end", "keeps")


@dataclass(frozen=True)
class Best:
    """The best validated weights so far: (W,), with their step, validation loss and score."""

    step: int
    loss: float
    score: float
    weights: Array

    def rank(self, monitor: Monitor) -> tuple[float, float]:
        """Return a key that is larger for better weights; the other number breaks ties."""
        return (self.score, -self.loss) if monitor == "score" else (-self.loss, self.score)


@dataclass(frozen=True)
class PhaseState:
    """Which weights are trained at present.

    Attributes
    ----------
    number : int
        Of the phase, from 0.
    end : int or None
        The step at which it is over; None: it goes on to the end.
    keeps : bool
        Whether what the free weights do not change is kept for every sample.
    mask : bool (W,)
        The weights that are free.
    updates : int64 (W,)
        How many updates each weight has had so far.
    """

    number: int
    end: int | None
    keeps: bool
    mask: Array
    updates: Array


@dataclass(frozen=True)
class State:
    """Where a run stands after ``step`` steps; all arrays are of NumPy.

    Attributes
    ----------
    weights : float64 (W,)
    update : state of the update rule
    gains : the fixed gain sequences
    evaluations, seconds : spent so far
    best : best validated weights, if any
    stopped : a callback ended the run here
    phase : which weights are trained; None where all are, all the time
    """

    step: int
    weights: Array
    update: Any
    gains: Gains
    evaluations: int = 0
    seconds: float = 0.0
    best: Best | None = None
    stopped: bool = False
    phase: PhaseState | None = None


def better(best: Best | None, row: Row, weights: Array, monitor: Monitor) -> Best | None:
    """Return the better of ``best`` and a validated row's weights; on a tie the earlier."""
    if not row.validated:
        return best
    new = Best(row.step, row.validation_loss, row.validation_score, weights)
    return new if best is None or new.rank(monitor) > best.rank(monitor) else best


def state_to_arrays(state: State, history: History) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a state and its history as JSON-able facts and named arrays."""
    facts = {
        "step": state.step,
        "evaluations": state.evaluations,
        "seconds": state.seconds,
        "stopped": state.stopped,
        "gains": asdict(state.gains),
        "best_step": state.best.step if state.best else None,
    }
    arrays = {"weights": to_numpy(state.weights), "history": history.to_array()}
    for name, value in state_to_fields(state.update).items():
        arrays[f"update_{name}"] = to_numpy(value)
    if state.phase:
        facts["phase"] = {name: getattr(state.phase, name) for name in PHASE_FACTS}
        arrays["phase_mask"], arrays["phase_updates"] = state.phase.mask, state.phase.updates
    if state.best:
        arrays["best_weights"] = to_numpy(state.best.weights)
        arrays["best_loss_score"] = np.array([state.best.loss, state.best.score])
    return facts, arrays


def state_from_arrays(
    facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], update_template: Any
) -> tuple[State, History]:
    """Return what :func:`state_to_arrays` was given.

    Raises
    ------
    KeyError, TypeError, ValueError
        When something is missing or of the wrong kind.
    """
    best = None
    if facts["best_step"] is not None:
        loss, score = (float(number) for number in arrays["best_loss_score"])
        best = Best(int(facts["best_step"]), loss, score, arrays["best_weights"])
    phase = None
    if facts.get("phase") is not None:
        phase = PhaseState(
            **{name: facts["phase"][name] for name in PHASE_FACTS},
            mask=arrays["phase_mask"].astype(bool),
            updates=arrays["phase_updates"],
        )
    names = state_to_fields(update_template)
    state = State(
        step=int(facts["step"]),
        weights=arrays["weights"],
        update=state_from_fields(update_template, {n: arrays[f"update_{n}"] for n in names}),
        gains=Gains(**facts["gains"]),
        evaluations=int(facts["evaluations"]),
        seconds=float(facts["seconds"]),
        best=best,
        stopped=bool(facts["stopped"]),
        phase=phase,
    )
    return state, History.from_array(arrays["history"])
