"""Takes the steps of a run in phases, each of which trains some of the weights.

A state is always of all weights. Where steps are taken, the free ones are picked out of it, with
what the update rule remembers of them, and put back afterwards: freezing a weight and letting it go
again loses nothing. Each weight has a count of its own updates, so that a rule which corrects its
running means for their start, such as Adam, treats it as if nothing else had been trained.
"""

import logging
import warnings
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from tn_qnn.arrays import Array
from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed
from tn_qnn.train.execution import make_stepper
from tn_qnn.train.parts import part_of, some_names, trainable_mask
from tn_qnn.train.protocol import Mover
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.schedules import Only, Phase, Schedule, View, block_masks
from tn_qnn.train.state import PhaseState, State
from tn_qnn.train.stepping import Stepper, Taken
from tn_qnn.train.updates import state_to_fields

log = logging.getLogger("tn_qnn.train")


class PhaseStepper:
    """A :class:`~tn_qnn.train.stepping.Stepper` that follows a schedule.

    Parameters
    ----------
    recipe : Recipe
        Of the whole model.
    schedule : Schedule
    steps : int
        Of the run, in all.

    Raises
    ------
    InputError
        When the schedule asks for gradients and the recipe has none.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule, steps: int) -> None:
        self.recipe, self.schedule, self.steps = recipe, schedule, steps
        self.execution = make_stepper(recipe).execution
        self._inner: tuple[int, Stepper] | None = None
        self._part: tuple[int, Recipe] | None = None
        if schedule.adaptive and isinstance(recipe.estimator, Mover):
            raise InputError(
                f"trainable: {type(schedule).__name__} asks for gradients, but "
                f"{type(recipe.estimator).__name__} estimates none; take another schedule, or an "
                f"estimator of gradients."
            )

    @property
    def most(self) -> int:
        """See :class:`~tn_qnn.train.stepping.Stepper`."""
        return self._inner[1].most if self._inner else 1

    def advance(self, state: State, steps: int) -> tuple[State, tuple[Taken, ...]]:
        """See :class:`~tn_qnn.train.stepping.Stepper`."""
        taken: list[Taken] = []
        while len(taken) < steps:
            state = self._entered(state)
            phase = state.phase
            assert phase is not None
            left = steps - len(taken)
            if phase.end is not None:
                left = min(left, phase.end - state.step)
            if self._inner is None or self._inner[0] != phase.number:
                self._inner = phase.number, make_stepper(self.part(phase, state.weights))
                self._part = None
            picked, new = self._inner[1].advance(gathered(state, phase), left)
            state = scattered(state, phase, picked, left)
            taken += new
        return state, tuple(taken)

    def part(self, phase: PhaseState, weights: Array) -> Recipe:
        """Return the recipe of a phase: of the free weights alone."""
        if self._part is None or self._part[0] != phase.number:
            found = self._keeping(phase.mask, weights) if phase.keeps else None
            if found is None:
                if phase.keeps:
                    log.warning("too little memory to keep values by sample, as the run did before")
                model = part_of(self.recipe.model, phase.mask, weights)
                found = replace(self.recipe, model=model)
            self._part = phase.number, found
        return self._part[1]

    def _keeping(self, mask: Array, weights: Array) -> Recipe | None:
        """Return the recipe with all that is fixed kept for every sample; None if it cannot be."""
        model: Any = part_of(self.recipe.model, mask, weights)
        kept = model.kept(self.recipe.data.X) if hasattr(model, "kept") else None
        if kept is None:
            return None
        return replace(self.recipe, model=kept[0], data=replace(self.recipe.data, X=kept[1]))

    def first(self, weights: Array) -> tuple[PhaseState, int]:
        """Return the first phase of a run, and the evaluations that it took to choose it."""
        return self._chosen(0, 0, weights, np.zeros(len(weights), dtype=np.int64))

    def _entered(self, state: State) -> State:
        """Return the state in the phase that its step is of."""
        old = state.phase
        assert old is not None
        if old.end is None or state.step < old.end:
            return state
        self._inner = None  # its memory is free before that of the next phase is taken
        phase, spent = self._chosen(old.number + 1, state.step, state.weights, old.updates)
        return replace(state, phase=phase, evaluations=state.evaluations + spent)

    def _chosen(
        self, number: int, step: int, weights: Array, updates: Array
    ) -> tuple[PhaseState, int]:
        spent = 0
        seed = derived_seed(self.recipe.seed, Stream.SCHEDULE)

        def gradients(count: int) -> Array:
            nonlocal spent
            found = [self.recipe.estimate(weights, seed, number * count + k) for k in range(count)]
            spent += sum(estimate.evaluations for estimate in found)
            return np.stack([estimate.gradient for estimate in found])

        view = View(self.recipe.model, self.recipe.seed, gradients)
        mask, steps = _checked(self.schedule.phase(number, view), self.recipe)
        log.info("step %d: phase %d trains %d weights", step, number, mask.sum())
        end = None if steps is None else step + steps
        # To work out all samples beforehand pays where each is visited at least once.
        visits = self.recipe.batch_size * ((self.steps if end is None else end) - step)
        samples = len(self.recipe.data.X)
        found = None
        if self.recipe.augment is None and visits >= samples:
            found = self._keeping(mask, weights)
        if found is not None:
            self._part, spent = (number, found), spent + samples
        return PhaseState(number, end, found is not None, mask, updates), spent


def _checked(phase: Phase, recipe: Recipe) -> tuple[Array, int | None]:
    mask = trainable_mask(recipe.model, phase.mask, "trainable")
    if phase.steps is not None and not phase.steps > 0:
        raise InputError(f"trainable: got a phase of {phase.steps!r} steps, expected 1 or more.")
    return mask, phase.steps


def gathered(state: State, phase: PhaseState) -> State:
    """Return the state of the free weights alone."""
    counts = phase.updates[phase.mask]
    count = int(counts[0]) if (counts == counts[0]).all() else counts
    values = {
        name: count if _is_count(name) else value[phase.mask] if _is_full(value, phase) else value
        for name, value in state_to_fields(state.update).items()
    }
    update = _rebuilt(state.update, values)
    return replace(state, weights=state.weights[phase.mask], update=update, phase=None)


def scattered(state: State, phase: PhaseState, picked: State, steps: int) -> State:
    """Return the state of all weights, the free ones as they are ``steps`` steps on."""
    new = state_to_fields(picked.update)
    values = {
        name: value + steps
        if _is_count(name)
        else _put(value, phase, new[name])
        if _is_full(value, phase)
        else new[name]
        for name, value in state_to_fields(state.update).items()
    }
    return replace(
        picked,
        weights=_put(state.weights, phase, picked.weights),
        update=_rebuilt(state.update, values),
        phase=replace(phase, updates=phase.updates + steps * phase.mask),
    )


def _is_count(name: str) -> bool:
    return name.rpartition(".")[2] == "count"


def _is_full(value: Any, phase: PhaseState) -> bool:
    return np.shape(value) == phase.mask.shape


def _put(full: Array, phase: PhaseState, picked: Array) -> Array:
    whole = full.copy()
    whole[phase.mask] = picked
    return whole


def _rebuilt(state: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """Return a state with other values, by the names of ``state_to_fields``."""
    parts = {}
    for field in fields(state):
        name, old = prefix + field.name, getattr(state, field.name)
        within = is_dataclass(old)
        parts[field.name] = _rebuilt(old, values, f"{name}.") if within else values[name]
    return replace(state, **parts)


def warn_of_untrained(schedule: Schedule, recipe: Recipe, steps: int) -> None:
    """Warn where a schedule leaves weights untrained in so many steps; it is surely unwanted.

    Phases that are chosen by gradients cannot be told in advance: then only weights that are in
    no block are named.
    """
    model = recipe.model
    names = np.array(model.weight_names)
    if isinstance(schedule, Only):
        return
    if schedule.adaptive:
        trained = block_masks(model, getattr(schedule, "blocks", "places")).any(axis=0)
        if getattr(schedule, "always", None) is not None:
            trained |= trainable_mask(model, schedule.always, "always")  # type: ignore[attr-defined]
    else:
        trained = np.zeros(len(names), dtype=bool)
        view = View(model, recipe.seed, lambda count: np.zeros((count, len(names))))
        number = step = 0
        while step < steps and not trained.all():
            mask, length = _checked(schedule.phase(number, view), recipe)
            trained |= mask
            number, step = number + 1, steps if length is None else step + length
    if not trained.all():
        warnings.warn(
            f"trainable: {type(schedule).__name__} never trains {some_names(names[~trained])} in "
            f"{steps} steps; they stay at their initial values. Take more steps or shorter phases, "
            f"or add them to the blocks.",
            stacklevel=3,
        )
