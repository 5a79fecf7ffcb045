"""The trainer: a loop around one pure step, with validation, callbacks and checkpoints."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.train import inputs
from tn_qnn.train.arrays import Array, array_module
from tn_qnn.train.batches import minibatch, steps_per_epoch
from tn_qnn.train.callbacks import Callback, Report
from tn_qnn.train.checkpoint import has_checkpoint
from tn_qnn.train.gains import Gains
from tn_qnn.train.history import History, Row
from tn_qnn.train.inputs import ClassWeight, Data
from tn_qnn.train.losses import Loss, LossFunction, get_loss
from tn_qnn.train.progress import progress_bar
from tn_qnn.train.protocol import Estimate, Estimator, Trainable
from tn_qnn.train.rng import Stream, derived_seed
from tn_qnn.train.run import Run, identity, restore, save
from tn_qnn.train.spsa import SPSA
from tn_qnn.train.state import Best, Monitor, State, better
from tn_qnn.train.updates import Update, get_update


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
    evaluations : int
        Model evaluations spent on training.
    seconds : float
    reason : "steps", "callback" or "interrupted"
        Why the training ended.
    """

    weights: Array
    step: int
    history: History
    best: Best | None
    gains: Gains
    evaluations: int
    seconds: float
    reason: Literal["steps", "callback", "interrupted"]

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
    estimator : Estimator, optional
        Default ``SPSA()``.
    update : "adam", "momentum", "sgd" or an update rule
    seed : int
        Key of directions, minibatches and initial weights; same seed, same bits.

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
        estimator: Estimator | None = None,
        update: str | Update = "adam",
        *,
        seed: int = 0,
    ) -> None:
        inputs.check_model(model)
        self.model = model
        self.loss = get_loss(loss)
        self.estimator: Estimator = SPSA() if estimator is None else estimator
        self.update = get_update(update)
        self.seed = inputs.check_seed(seed)
        self.estimator.check(self.loss)

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
            Called with a :class:`~tn_qnn.train.callbacks.Report` after every step.
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

        Raises
        ------
        InputError
            When an argument is not legal.
        CheckpointError
            When the folder cannot be written, holds a checkpoint and ``resume`` is False, or
            holds none, a damaged one or one of another model, data or setting and it is True.
        """
        data = inputs.checked_data(self.model, self.loss, X, y)
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
            run = replace(run, identity=self._identity(run))
        elif resume:
            raise InputError("resume: got True without `checkpoint`; give the run's folder.")
        if resume:
            state, history = restore(run, self.model, self.update)
        else:
            state, history = self._started(run, weights)
        return self._loop(run, state, history, progress)

    def step(self, run: Run, state: State) -> tuple[State, Estimate]:
        """Take one step: minibatch, gradient estimate, update. A pure function."""
        k = state.step
        estimate = self._estimate(run, state.weights, self.seed, k)
        inputs.check_finite_loss(estimate.loss, k + 1)
        change, update = self.update.update(
            estimate.gradient, state.update, state.gains.step_size(k)
        )
        return replace(
            state,
            step=k + 1,
            weights=state.weights + change,
            update=update,
            evaluations=state.evaluations + estimate.evaluations,
        ), estimate

    def _estimate(self, run: Run, weights: Array, seed: int, k: int) -> Estimate:
        data = run.data.take(minibatch(seed, k, len(run.data.X), run.batch_size))
        weight = data.sample_weight
        return self.estimator.estimate(
            self.model, self.loss, weights, data.X, data.y, weight, seed, k
        )

    def evaluate(self, weights: Array, X: Any, y: Any) -> tuple[float, float]:
        """Return mean loss and score (accuracy, R^2, or minus the mean loss of a callable)."""
        return self._evaluate(weights, inputs.checked_data(self.model, self.loss, X, y))

    def _evaluate(self, weights: Array, data: Data) -> tuple[float, float]:
        xp = array_module(weights)
        outputs = xp.asarray(self.model(weights, data.X), dtype=xp.float64)
        y = xp.asarray(data.y)
        return float(self.loss.value(outputs, y).mean()), self.loss.score(outputs, y)

    def _validation(self, validation: tuple[Any, Any] | None) -> Data | None:
        if validation is None:
            return None
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise InputError(
                f"validation: got {type(validation).__name__}, expected a pair (X, y)."
            )
        return inputs.checked_data(self.model, self.loss, *validation, prefix="validation ")

    def _started(self, run: Run, weights: Any) -> tuple[State, History]:
        if run.folder and has_checkpoint(run.folder):
            raise CheckpointError(
                f"checkpoint: {run.folder} holds a checkpoint already; pass resume=True to go on "
                f"from it, give another folder, or delete it."
            )
        first = inputs.starting_weights(self.model, weights, self.seed)
        state, history = self._calibrated(run, first), History()
        # A folder that cannot be written is found before any work is done.
        save(run, self.model, state, history)
        return state, history

    def _identity(self, run: Run) -> dict[str, Any]:
        return identity(
            run,
            self.model,
            seed=self.seed,
            loss=self.loss.name,
            estimator=self.estimator,
            update=self.update,
        )

    def _calibrated(self, run: Run, weights: Array) -> State:
        spent = 0
        seed = derived_seed(self.seed, Stream.CALIBRATION)

        def unit_change() -> float:
            nonlocal spent
            if self.update.scale_free:
                return 1.0
            repeats, total = getattr(self.estimator, "calibration", 10), 0.0
            for k in range(repeats):
                estimate = self._estimate(run, weights, seed, k)
                spent += estimate.evaluations
                total += float(abs(estimate.gradient).mean())
            return total / repeats

        gains = self.estimator.gains(run.steps, unit_change)
        return State(0, weights, self.update.init(weights), gains, evaluations=spent)

    def _loop(self, run: Run, state: State, history: History, progress: bool | None) -> TrainResult:
        bar = progress_bar(progress, state.step, run.steps)
        begin = time.perf_counter() - state.seconds
        saved_at = time.perf_counter()
        interrupted = False
        try:
            while state.step < run.steps and not state.stopped:
                new, row = self._advanced(run, state, begin)
                history.append(row)
                stopped = self._stops(run, new, row, history)
                # One assignment, after the callbacks: Ctrl-C finds a step whole or not begun.
                state = replace(new, stopped=stopped)
                bar.show(row)
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
            evaluations=state.evaluations,
            seconds=state.seconds,
            reason="interrupted" if interrupted else "callback" if state.stopped else "steps",
        )

    def _advanced(self, run: Run, state: State, begin: float) -> tuple[State, Row]:
        new, estimate = self.step(run, state)
        loss = score = float("nan")
        if run.validation and (new.step % run.validate_every == 0 or new.step == run.steps):
            loss, score = self._evaluate(new.weights, run.validation)
            inputs.check_finite_loss(loss, new.step)
        row = Row(
            step=new.step,
            epoch=new.step / steps_per_epoch(len(run.data.X), run.batch_size),
            loss=estimate.loss,
            validation_loss=loss,
            validation_score=score,
            evaluations=new.evaluations,
            seconds=time.perf_counter() - begin,
            a_k=new.gains.step_size(state.step),
            c_k=new.gains.perturbation(state.step),
        )
        best = better(new.best, row, new.weights, run.monitor)
        return replace(new, best=best, seconds=row.seconds), row

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
