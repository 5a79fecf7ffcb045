"""One call of ``Trainer.fit``: its checked settings, and how it goes to disk and back."""

import json
import time
import warnings
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from tn_qnn.errors import CheckpointError
from tn_qnn.train import checkpoint as files
from tn_qnn.train.callbacks import Callback
from tn_qnn.train.history import History
from tn_qnn.train.inputs import Data
from tn_qnn.train.protocol import Trainable
from tn_qnn.train.state import Monitor, State, state_from_arrays, state_to_arrays
from tn_qnn.train.updates import Update

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """The checked settings of one training run.

    ``identity`` is what a resumed run must have in common with the saved one; it is empty where
    nothing is saved. ``execution`` says in words where and how the steps are taken.
    """

    data: Data
    validation: Data | None
    steps: int
    batch_size: int
    validate_every: int
    monitor: Monitor
    callbacks: tuple[Callback, ...] = ()
    folder: Path | None = None
    checkpoint_every: int | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    execution: str = ""

    def next_look(self, step: int, most: int) -> int:
        """Return the next step after which the host must look at the state.

        It is the end, a validation, a checkpoint or a callback's turn after ``step``, but not more
        than ``most`` steps on.
        """
        every = [
            self.validate_every if self.validation else self.steps,
            self.checkpoint_every if self.folder and self.checkpoint_every else self.steps,
            1 if any(getattr(c, "every_step", True) for c in self.callbacks) else self.steps,
        ]
        return min(self.steps, step + most, *(step - step % n + n for n in every))

    def save_due(self, step: int, saved_at: float) -> bool:
        """Return whether to save after ``step``; ``saved_at`` is a ``time.perf_counter()``."""
        if self.folder is None:
            return False
        if self.checkpoint_every is not None:
            return step % self.checkpoint_every == 0
        return time.perf_counter() - saved_at >= CHECKPOINT_SECONDS


def identity(run: Run, model: Trainable, **settings: Any) -> dict[str, Any]:
    """Return what defines a run but its length and its callbacks, as JSON-able values."""
    held_out = run.validation
    result = {
        "model": model.signature,
        "data": files.digest(vars(run.data)),
        "validation data": files.digest(vars(held_out)) if held_out else None,
        **{name: _described(value) for name, value in settings.items()},
        "batch_size": run.batch_size,
        "validate_every": run.validate_every,
        "monitor": run.monitor,
    }
    return _as_json(result)


def environment(run: Run, model: Trainable) -> dict[str, Any]:
    """Return versions, machine, execution and what the model adds, as JSON-able values."""
    return _as_json({**files.environment(model), "execution": run.execution})


def save(run: Run, model: Trainable, state: State, history: History) -> None:
    """Write a checkpoint and the history to the run's folder, if it has one.

    Raises
    ------
    CheckpointError
        When the folder cannot be written.
    """
    if run.folder is None:
        return
    facts, arrays = state_to_arrays(state, history)
    head = {"identity": run.identity, "environment": environment(run, model), "state": facts}
    files.save_checkpoint(run.folder, head, arrays)
    files.save_csv(run.folder, history)


def restore(run: Run, model: Trainable, update: Update) -> tuple[State, History]:
    """Read the state and history of the run's folder.

    Raises
    ------
    CheckpointError
        When there is no checkpoint, or it is damaged or of another run.

    Warns
    -----
    UserWarning
        When versions or the model's environment differ: the last bits may then differ too.
    """
    assert run.folder is not None
    facts, arrays = files.load_checkpoint(run.folder)
    try:
        files.check_identity(run.folder, facts["identity"], run.identity)
        state, history = state_from_arrays(facts["state"], arrays, update.init(arrays["weights"]))
        saved = facts["environment"]
        now = environment(run, model)
        different = [name for name in now if saved.get(name, now[name]) != now[name]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint: {run.folder} is damaged ({error!r}).") from error
    if different:
        warnings.warn(
            f"checkpoint {run.folder} was written with another {', '.join(different)}: the last "
            f"bits may differ from those of a run without a break.",
            stacklevel=4,
        )
    return state, history


def _described(value: Any) -> Any:
    if value is None or isinstance(value, (int, str, dict)):
        return value
    record = is_dataclass(value) and not isinstance(value, type)
    # A record in a record, such as a guarded update rule, needs its name too.
    held = {field.name: getattr(value, field.name) for field in fields(value)} if record else {}
    parts = {name: _described(v) if is_dataclass(v) else v for name, v in held.items()}
    return {"name": type(value).__name__, **parts}


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(value))
    return result
