"""The trainer: a loop around steps, with validation, callbacks and checkpoints."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tn_qnn.arrays import Array, array_module, to_numpy
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.rng import Stream, derived_seed
from tn_qnn.train import inputs
from tn_qnn.train.augment import Augmentation
from tn_qnn.train.batches import steps_per_epoch
from tn_qnn.train.callbacks import Callback, Report
from tn_qnn.train.checkpoint import has_checkpoint
from tn_qnn.train.execution import make_stepper
from tn_qnn.train.gains import Gains
from tn_qnn.train.history import History, Row
from tn_qnn.train.inputs import ClassWeight, Data
from tn_qnn.train.losses import Loss, LossFunction, get_loss
from tn_qnn.train.parts import Selection
from tn_qnn.train.phases import PhaseStepper, warn_of_untrained
from tn_qnn.train.progress import progress_bar
from tn_qnn.train.protocol import Estimator, Mover, Trainable
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.regularisation import L2
from tn_qnn.train.retraction import Retraction, get_retraction
from tn_qnn.train.run import Run, identity, restore, save
from tn_qnn.train.schedules import Schedule, described, get_schedule
from tn_qnn.train.spsa import SPSA
from tn_qnn.train.state import Best, Monitor, State, better
from tn_qnn.train.stepping import Stepper, Taken
from tn_qnn.train.updates import Update, get_update

log = logging.getLogger("tn_qnn.train")


@dataclass(frozen=True)
class TrainResult:
    """What :meth:`Trainer.fit` returns.

    Attributes
    ----------
    weights : float64 array (W,)
        The last weights, or the best validated ones if a callback has ``restore_best``.
    step : int
        Steps done.
    history : History
        One row a step.
    best : Best or None
        Best validated weights with their step, loss and score.
    gains : Gains
        The gain sequences, calibrated.
    update : state of the update rule
        As it was left; that of ``Blocking`` counts the steps ``refused``.
    evaluations : int
        Model evaluations spent on training.
    seconds : float
    reason : "steps", "callback" or "interrupted"
        Why the training ended.
    backend : str
        Where and how the steps were taken, such as "cpu" or "cuda: NVIDIA H100 80GB HBM3, one
        graph a step".
    """

    weights: Array
    step: int
    history: History
    best: Best | None
    gains: Gains
    update: Any
    evaluations: int
    seconds: float
    reason: Literal["steps", "callback", "interrupted"]
    backend: str = "cpu"

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training."""
        return self.reason == "interrupted"


class Trainer:
    """Trains the weights of any :class:`~tn_qnn.train.protocol.Trainable`.

    Parameters
    ----------
    model : Trainable
    loss : str, Loss or callable (outputs (S, K), y) -> (S,)
    estimator : Estimator or Mover, optional
        Default ``SPSA()``.
    update : "adam", "momentum", "sgd" or an update rule
    seed : int
        Key of directions, minibatches and initial weights; same seed, same bits.
    augment : Augmentation, optional
        Changes the samples of every step, such as :class:`~tn_qnn.train.augment.Shifts`.
    regularisation : L2, optional
        Added to the loss of every step, not to that of validation.
    retraction : "polar", "qr" or Retraction, optional
        Makes tensor-valued weights in the chart "entries" unitary after every step.

    Raises
    ------
    InputError
        When an argument is not legal, or the loss does not suit the estimator.

    Examples
    --------
    >>> import numpy as np
    >>> class Line:                                     # outputs w0 + w1 x, (S, 1)
    ...     weight_names, num_weights, num_outputs = ("w0", "w1"), 2, 1
    ...     credit, signature = np.ones((1, 2), dtype=bool), "line"
    ...     def __call__(self, weights, X):
    ...         return (weights[..., None, :1] + weights[..., None, 1:] * X)
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> result = Trainer(Line(), "mse", seed=1).fit(X, 0.5 - 2 * X, steps=600, batch_size=20)
    >>> result.weights.round(1).tolist()
    [0.5, -2.0]
    """

    def __init__(
        self,
        model: Trainable,
        loss: str | Loss | LossFunction = "cross_entropy",
        estimator: Estimator | Mover | None = None,
        update: str | Update = "adam",
        *,
        seed: int = 0,
        augment: Augmentation | None = None,
        regularisation: L2 | None = None,
        retraction: Literal["polar", "qr"] | Retraction | None = None,
    ) -> None:
        inputs.check_model(model)
        self.model = model
        self.loss = get_loss(loss)
        self.estimator: Estimator | Mover = SPSA() if estimator is None else estimator
        self.update = get_update(update)
        self.seed = inputs.check_seed(seed)
        self.estimator.check(self.loss)
        self.augment = augment
        self.regularisation = regularisation
        self.retraction = get_retraction(retraction)
        if self.retraction is not None:
            self.retraction.check(model)
        inputs.check_extras(model, self.estimator, augment, regularisation)

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        steps: int = 1000,
        batch_size: int = 64,
        weights: Any = None,
        validation: tuple[Any, Any] | None = None,
        validate_every: int = 100,
        monitor: Monitor = "score",
        class_weight: ClassWeight = None,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        progress: bool | None = None,
        trainable: Selection | Schedule | None = None,
    ) -> TrainResult:
        """Train.

        Parameters
        ----------
        X : (S, F), optional
            Features; None for a model without, which counts as one sample.
        y : (S,) class indices, (S, K) numbers, or what a callable loss takes
        steps : int
            Steps in all, those of a resumed run included.
        batch_size : int
            Samples a step; an epoch's last minibatch may be smaller.
        weights : str, (W,) or mapping, optional
            Initial weights: "small" (default), "identity", "uniform", or values.
        validation : (X, y), optional
            Evaluated every ``validate_every`` steps and after the last one.
        monitor : "score" or "loss"
            The validation number that decides which weights are best.
        class_weight : "balanced", mapping, or one number a class, optional
        sample_weight : (S,), optional
            Class and sample weights multiply, and are scaled to mean 1 over the data set.
        callbacks : sequence of callables
            Called with a :class:`~tn_qnn.train.callbacks.Report` after every step; those with
            ``every_step = False`` only where the host looks anyway, so that they slow no GPU.
        checkpoint : folder, optional
            Holds checkpoint.json, an npz file and history.csv.
        checkpoint_every : int, optional
            Steps; None: when 30 s have passed. Also at the start, the end and on Ctrl-C.
        resume : bool
            Go on from the folder's checkpoint, to the same bits as without the break.
            ``weights`` is not used then. More ``steps`` make a finished run longer, with the
            gains of the first; a run that a callback ended stays ended.
        progress : bool, optional
            Show a progress bar; None: in notebooks and terminals.
        trainable : selection or schedule, optional
            Which weights are trained: names with patterns ("w.0.*"), ``layers(...)``,
            ``gates(...)``, ``qubits(...)``, a mask (W,), or a sequence of these; or a schedule of
            phases such as :class:`~tn_qnn.train.schedules.LayerByLayer`. None: all of them. The
            others keep their initial values, and what depends on them alone is worked out once.

        Raises
        ------
        InputError
            When an argument is not legal.
        CheckpointError
            When the folder cannot be written, holds a checkpoint and ``resume`` is False, or
            holds none, a damaged one or one of another model, data or setting and it is True.

        Warns
        -----
        UserWarning
            When a schedule never trains some weights, or no output depends on those in training.
        """
        data = inputs.checked_data(self.model, self.loss, X, y)
        if self.augment is not None:
            self.augment(data.X[:1], self.seed, 0)  # an error of its comes before any work
        inputs.check_classes(self.loss, data.y)
        weight = inputs.combined_weight(
            self.loss, data.y, self.model.num_outputs, class_weight, sample_weight
        )
        if monitor not in ("score", "loss"):
            raise InputError(f"monitor: got {monitor!r}, expected 'score' or 'loss'.")
        run = Run(
            data=replace(data, sample_weight=weight),
            validation=self._validation(validation),
            steps=inputs.positive("steps", steps),
            batch_size=inputs.positive("batch_size", batch_size),
            validate_every=inputs.positive("validate_every", validate_every),
            monitor=monitor,
            callbacks=tuple(callbacks),
            folder=None if checkpoint is None else Path(checkpoint),
            checkpoint_every=None
            if checkpoint_every is None
            else inputs.positive("checkpoint_every", checkpoint_every),
        )
        if run.folder:
            run = replace(run, identity=self._identity(run, trainable))
        elif resume:
            raise InputError("resume: got True without `checkpoint`; give the run's folder.")
        recipe = self._recipe(run)
        schedule = get_schedule(trainable)
        if schedule is not None:
            warn_of_untrained(schedule, recipe, run.steps)
        stepper = (
            make_stepper(recipe) if schedule is None else PhaseStepper(recipe, schedule, run.steps)
        )
        log.info("backend: %s", stepper.execution)
        run = replace(run, execution=stepper.execution)
        if resume:
            state, history = restore(run, self.model, self.update)
        else:
            state, history = self._started(run, recipe, stepper, weights)
        return self._loop(run, stepper, state, history, progress)

    def _recipe(self, run: Run) -> Recipe:
        parts = (self.model, self.loss, self.estimator, self.update, self.seed)
        extras = (self.augment, self.regularisation, self.retraction)
        return Recipe(*parts, run.data, run.batch_size, *extras)

    def evaluate(self, weights: Array, X: Any, y: Any) -> tuple[float, float]:
        """Return mean loss and score (accuracy, R^2, or minus the mean loss of a callable)."""
        weights = weights if array_module(weights) is np else to_numpy(weights)
        return self._evaluate(weights, inputs.checked_data(self.model, self.loss, X, y))

    def _evaluate(self, weights: Array, data: Data) -> tuple[float, float]:
        outputs = np.asarray(self.model(weights, data.X), dtype=np.float64)
        return float(self.loss.value(outputs, data.y).mean()), self.loss.score(outputs, data.y)

    def _validation(self, validation: tuple[Any, Any] | None) -> Data | None:
        if validation is None:
            return None
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise InputError(
                f"validation: got {type(validation).__name__}, expected a pair (X, y)."
            )
        return inputs.checked_data(self.model, self.loss, *validation, prefix="validation ")

    def _started(
        self, run: Run, recipe: Recipe, stepper: Stepper, weights: Any
    ) -> tuple[State, History]:
        if run.folder and has_checkpoint(run.folder):
            raise CheckpointError(
                f"checkpoint: {run.folder} holds a checkpoint already; pass resume=True to go on "
                f"from it, give another folder, or delete it."
            )
        first = inputs.starting_weights(self.model, weights, self.seed)
        phase, spent = None, 0
        if isinstance(stepper, PhaseStepper):
            phase, spent = stepper.first(first)
            recipe = stepper.part(phase, first)
        picked = first if phase is None else first[phase.mask]
        gains, calibrating = self._calibrated(run, recipe, picked)
        state = State(
            0, first, self.update.init(first), gains, evaluations=spent + calibrating, phase=phase
        )
        history = History()
        # A folder that cannot be written is found before any work is done.
        save(run, self.model, state, history)
        return state, history

    def _identity(self, run: Run, trainable: Any) -> dict[str, Any]:
        return identity(
            run,
            self.model,
            seed=self.seed,
            loss=self.loss.name,
            estimator=self.estimator,
            update=self.update,
            augment=self.augment,
            regularisation=self.regularisation,
            retraction=self.retraction,
            trainable=described(get_schedule(trainable)),
        )

    def _calibrated(self, run: Run, recipe: Recipe, weights: Array) -> tuple[Gains, int]:
        """The gain sequences, and the evaluations that it took to find them."""
        spent = 0
        seed = derived_seed(self.seed, Stream.CALIBRATION)

        def unit_change() -> float:
            nonlocal spent
            if self.update.scale_free:
                return 1.0
            repeats, total = getattr(self.estimator, "calibration", 10), 0.0
            for k in range(repeats):
                estimate = recipe.estimate(weights, seed, k)
                spent += estimate.evaluations
                total += float(abs(estimate.gradient).mean())
            return total / repeats

        return self.estimator.gains(run.steps, unit_change), spent

    def _loop(
        self, run: Run, stepper: Stepper, state: State, history: History, progress: bool | None
    ) -> TrainResult:
        bar = progress_bar(progress, state.step, run.steps)
        begin = time.perf_counter() - state.seconds
        saved_at = time.perf_counter()
        interrupted = False
        try:
            while state.step < run.steps and not state.stopped:
                steps = run.next_look(state.step, stepper.most) - state.step
                new, taken = stepper.advance(state, steps)
                new, rows = self._looked(run, state, new, taken, begin)
                history.extend(rows)
                stopped = self._stops(run, new, rows[-1], history)
                # One assignment, after the callbacks: Ctrl-C finds steps whole or not begun.
                state = replace(new, stopped=stopped)
                bar.show(rows[-1])
                if run.save_due(state.step, saved_at):
                    save(run, self.model, state, history)
                    saved_at = time.perf_counter()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            bar.close()
        history = history.until(state.step)
        save(run, self.model, state, history)
        take_best = any(getattr(callback, "restore_best", False) for callback in run.callbacks)
        return TrainResult(
            weights=state.best.weights if take_best and state.best else state.weights,
            step=state.step,
            history=history,
            best=state.best,
            gains=state.gains,
            update=state.update,
            evaluations=state.evaluations,
            seconds=state.seconds,
            reason="interrupted" if interrupted else "callback" if state.stopped else "steps",
            backend=run.execution,
        )

    def _looked(
        self, run: Run, old: State, new: State, taken: tuple[Taken, ...], begin: float
    ) -> tuple[State, tuple[Row, ...]]:
        """Validate, and return the state with what that changes, and a row for each step."""
        loss = score = float("nan")
        if run.validation and (new.step % run.validate_every == 0 or new.step == run.steps):
            loss, score = self._evaluate(new.weights, run.validation)
            inputs.check_finite_loss(loss, new.step)
        epoch = steps_per_epoch(len(run.data.X), run.batch_size)
        # The host sees when the last of the steps ended; the others share the time evenly.
        seconds = np.linspace(old.seconds, time.perf_counter() - begin, len(taken) + 1).tolist()
        rows = [
            Row(
                step=step,
                epoch=step / epoch,
                loss=one.loss,
                validation_loss=float("nan"),
                validation_score=float("nan"),
                evaluations=one.evaluations,
                seconds=seconds[step - old.step],
                a_k=new.gains.step_size(step - 1),
                c_k=new.gains.perturbation(step - 1),
            )
            for step, one in enumerate(taken, start=old.step + 1)
        ]
        rows[-1] = replace(rows[-1], validation_loss=loss, validation_score=score)
        best = better(new.best, rows[-1], new.weights, run.monitor)
        return replace(new, best=best, seconds=seconds[-1]), tuple(rows)

    def _stops(self, run: Run, state: State, row: Row, history: History) -> bool:
        if not run.callbacks:
            return False
        report = Report(
            row=row,
            steps=run.steps,
            weights=state.weights,
            history=history,
            monitor=run.monitor,
            has_validation=run.validation is not None,
        )
        answers = [bool(callback(report)) for callback in run.callbacks]  # all are called
        return any(answers)
