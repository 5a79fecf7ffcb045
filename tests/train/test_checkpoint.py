"""Checkpoints: killed and interrupted runs go on to the same bits; wrong and damaged ones fail."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from train_toy import RULES, STEPS, train

from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.rng import permutation, stream_key
from tn_qnn.train import (
    SPSA,
    Adam,
    Blocking,
    Momentum,
    Trainer,
    TrustRegion,
    cross_entropy,
    get_update,
)
from tn_qnn.train import checkpoint as checkpoint_module
from tn_qnn.train.checkpoint import load_checkpoint, save_checkpoint
from tn_qnn.train.updates import UPDATES

SCRIPT = Path(__file__).with_name("train_toy.py")
SOURCE = Path(__file__).parents[2]
DETERMINISTIC = "step epoch loss validation_loss validation_score evaluations a_k c_k".split()


def start(folder, update, pause):
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), update, str(pause)],
        env=os.environ | {"PYTHONPATH": path},
    )


def same(folder, expected):
    facts, arrays = load_checkpoint(folder)
    assert facts["state"]["step"] == STEPS
    assert arrays["weights"].tobytes() == expected.weights.tobytes() != b""
    assert arrays["best_weights"].tobytes() == expected.best.weights.tobytes()
    columns = dict(zip(DETERMINISTIC, np.delete(arrays["history"], 6, axis=1).T, strict=True))
    for name, column in columns.items():
        assert np.array_equal(column, expected.history[name], equal_nan=True), name


def kill_and_resume(tmp_path, update, kills, seed):
    """Kill a run ``kills`` times at random moments, then let it end; return what steps it saw."""
    chance = random.Random(seed)
    folder, steps = tmp_path / "killed", []
    expected = train(None, update)
    for _ in range(kills):
        process = start(folder, update, 0.03)
        while process.poll() is None and not (folder / "checkpoint.json").exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:  # else it was done already
            steps.append(load_checkpoint(folder)[0]["state"]["step"])
    assert steps, "no run was killed"
    assert start(folder, update, 0.0).wait() == 0
    same(folder, expected)
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == 3 and left[0].startswith("arrays-")
    assert left[1:] == ["checkpoint.json", "history.csv"]
    return steps


@pytest.mark.parametrize("update", ["adam", "blocking", "exact"])
def test_killed_runs_end_in_the_same_bits(tmp_path, update):
    kill_and_resume(tmp_path, update, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("update", RULES)
def test_runs_killed_many_times_end_in_the_same_bits(tmp_path, update, seed):
    steps = kill_and_resume(tmp_path, update, kills=4, seed=seed)
    assert steps == sorted(steps)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("survived", range(9))
def test_killed_between_any_two_changes_of_the_disk(tmp_path, monkeypatch, survived):
    """Stop at each rename and each removal of two saves; the checkpoint is of one moment."""
    count = 0

    def dying(function):
        def call(*arguments, **keywords):
            nonlocal count
            count += 1
            if count > survived:
                raise Killed
            return function(*arguments, **keywords)

        return call

    first = {"weights": np.arange(3.0)}
    save_checkpoint(tmp_path, {"state": 0}, first)
    monkeypatch.setattr(os, "replace", dying(os.replace))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))
    died = False
    try:
        for step in (1, 2):
            save_checkpoint(tmp_path, {"state": step}, {"weights": np.arange(3.0) + step})
    except Killed:
        died = True
    monkeypatch.undo()
    assert died == (survived < 6)
    facts, arrays = load_checkpoint(tmp_path)
    assert np.array_equal(arrays["weights"], np.arange(3.0) + facts["state"])
    assert facts["state"] == [0, 0, 1, 1, 1, 2, 2, 2, 2][survived]
    save_checkpoint(tmp_path, {"state": 3}, first)
    assert len(list(tmp_path.iterdir())) == 2


X, Y = samples(20)


def toy(model=None, loss="cross_entropy", estimator=None, update="adam", seed=1):
    return Trainer(model or CosineModel(CHAIN), loss, estimator, update, seed=seed)


def fit(trainer, folder, X=X, y=Y, **options):
    settings = {"steps": 6, "batch_size": 8, "checkpoint": folder, "progress": False}
    return trainer.fit(X, y, **settings | options)


@pytest.mark.parametrize(
    "update",
    [*map(get_update, UPDATES), TrustRegion("momentum", 0.02, "l2"), Blocking(Momentum())],
    ids=repr,
)
@pytest.mark.parametrize("at", [0, 1, 17])
def test_interrupted_runs_end_in_the_same_bits(tmp_path, update, at):
    class Interrupted(CosineModel):
        def __call__(self, weights, X):
            if len(self.calls) == first + calls_a_step * at:
                self.calls.append("interrupted")
                raise KeyboardInterrupt
            return super().__call__(weights, X)

    first = 0 if update.scale_free else SPSA().calibration
    calls_a_step = 2 if isinstance(update, Blocking) else 1
    whole = fit(toy(update=update), None, steps=30)
    trainer = toy(Interrupted(CHAIN), update=update)
    part = fit(trainer, tmp_path, steps=30)
    assert part.interrupted and part.reason == "interrupted"
    assert part.step == len(part.history) == at
    rest = fit(trainer, tmp_path, steps=30, resume=True)
    assert rest.reason == "steps" and rest.weights.tobytes() == whole.weights.tobytes()
    assert rest.gains == whole.gains and rest.evaluations == whole.evaluations
    assert np.array_equal(rest.history["loss"], whole.history["loss"])


def interrupt_at(line_number):
    """Return a trace function that raises at the n-th line that runs in training."""
    count, places = 0, ("tn_qnn/train/", "tn_qnn/rng.py")

    def trace(frame, event, argument):
        nonlocal count
        file = frame.f_code.co_filename.replace(os.sep, "/")
        if not any(place in file for place in places):
            return None
        if event == "line":
            count += 1
            if count == line_number:
                raise KeyboardInterrupt
        return trace

    return trace


@pytest.mark.parametrize("line_number", [*range(750, 3200, 61), 10**9])
def test_interrupted_at_any_line(tmp_path, line_number):
    """Ctrl-C may come between any two lines: also in a callback, a save, or while it is handled."""
    options = {"validation": (X, Y), "validate_every": 2, "checkpoint_every": 3}
    options["callbacks"] = [lambda report: report.row.step == 7]
    for cached in (permutation, stream_key):  # the number of lines must not depend on other tests
        cached.cache_clear()
    before, ended = sys.gettrace(), False
    sys.settrace(interrupt_at(line_number))
    try:
        ended = not fit(toy(), tmp_path, steps=9, **options).interrupted
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    assert ended == (line_number == 10**9)
    begun = (tmp_path / "checkpoint.json").exists()
    rest = fit(toy(), tmp_path, steps=9, resume=begun, **options)
    assert rest.reason == "callback" and len(rest.history) == 7
    assert rest.weights.tobytes() == fit(toy(), None, steps=9, **options).weights.tobytes()


@pytest.fixture
def saved(tmp_path):
    fit(toy(), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "trainer", "options"),
    [
        ("model", lambda: toy(CosineModel([[1, 1, 0, 0, 1]] * 3)), {}),
        ("seed", lambda: toy(seed=2), {}),
        ("loss", lambda: toy(loss=cross_entropy(2.0)), {}),
        ("estimator", lambda: toy(estimator=SPSA(c=0.2)), {}),
        ("update", lambda: toy(update="sgd"), {}),
        ("update", lambda: toy(update=Adam(0.8)), {}),
        ("data", toy, {"X": X + 1e-9}),
        ("data", toy, {"y": Y[::-1]}),
        ("data", toy, {"class_weight": {0: 2.0}}),
        ("validation data", toy, {"validation": (X, Y)}),
        ("batch_size", toy, {"batch_size": 4}),
        ("validate_every", toy, {"validate_every": 3}),
        ("monitor", toy, {"monitor": "loss"}),
    ],
)
def test_a_checkpoint_of_another_run_is_told(saved, name, trainer, options):
    before = (saved / "checkpoint.json").read_bytes()
    with pytest.raises(CheckpointError, match=f"of another run: different {name} \\("):
        fit(trainer(), saved, resume=True, **options)
    assert (saved / "checkpoint.json").read_bytes() == before


def test_a_finished_run_can_be_made_longer(saved):
    longer = fit(toy(), saved, steps=9, resume=True)
    assert longer.step == 9 and longer.history["step"].tolist() == list(range(1, 10))
    assert longer.gains.A == 0.1 * 6  # that of the first run


def test_resuming_a_finished_run_returns_it(saved):
    before = load_checkpoint(saved)[1]["weights"]
    assert fit(toy(), saved, resume=True).weights.tobytes() == before.tobytes()


def test_a_checkpoint_is_not_overwritten(saved):
    with pytest.raises(CheckpointError, match="holds a checkpoint already; pass resume=True"):
        fit(toy(), saved)
    assert load_checkpoint(saved)[0]["state"]["step"] == 6


def test_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no readable checkpoint\.json"):
        fit(toy(), tmp_path, resume=True)
    with pytest.raises(InputError, match="resume: got True without `checkpoint`"):
        fit(toy(), None, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["checkpoint.json", "arrays"])
def test_truncated(saved, name, share):
    path = next(saved.glob(f"{name}*"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=path.name):
        fit(toy(), saved, resume=True)


def test_arrays_missing_or_of_another_checkpoint(saved):
    path = next(saved.glob("arrays*"))
    np.savez(path, weights=np.zeros(5))
    with pytest.raises(CheckpointError, match="damaged: its content is not what was saved"):
        fit(toy(), saved, resume=True)
    path.unlink()
    with pytest.raises(CheckpointError, match="missing or unreadable"):
        fit(toy(), saved, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.pop("format"), "damaged or not a tn_qnn checkpoint"),
        (lambda facts: facts.update(version=99), "has version 99, expected 1"),
        (lambda facts: facts.pop("identity"), "damaged"),
        (lambda facts: facts.pop("environment"), "damaged"),
        (lambda facts: facts.update(environment=[]), "damaged"),
        (lambda facts: facts["state"].update(gains={"a": 1.0}), "damaged"),
        (lambda facts: facts["state"].update(step="x"), "damaged"),
        (lambda facts: facts.update(arrays="../../secret.npz"), "missing or unreadable"),
        (lambda facts: facts.update(arrays=None), "missing or unreadable"),
    ],
)
def test_damaged_facts(saved, change, message):
    path = saved / "checkpoint.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=message):
        fit(toy(), saved, resume=True)


def test_another_environment_warns(saved, monkeypatch):
    monkeypatch.setattr(CosineModel, "environment", {"threads": (7,)}, raising=False)
    with pytest.warns(UserWarning, match="written with another model"):
        fit(toy(), saved, resume=True)
    fit(toy(), saved, resume=True)  # now written with this one: no warning, which is an error


def test_a_checkpoint_that_does_not_say_how_it_was_made(saved):
    path = saved / "checkpoint.json"
    facts = json.loads(path.read_text())
    assert facts["environment"].pop("execution") == "cpu"
    path.write_text(json.dumps(facts))
    assert fit(toy(), saved, steps=7, resume=True).step == 7  # no warning, which is an error


def test_a_folder_that_cannot_be_written_is_found_before_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    model = CosineModel(CHAIN)
    with pytest.raises(CheckpointError, match=r"checkpoint: .* cannot be written"):
        fit(toy(model), blocked / "run")
    assert not model.calls


def test_a_disk_that_fills_up_loses_nothing(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    def fill(report):
        if report.row.step == 4:
            monkeypatch.setattr("tn_qnn.files.write_atomic", full)

    with pytest.raises(CheckpointError, match="No space left on device"):
        fit(toy(), tmp_path, checkpoint_every=3, callbacks=[fill])
    monkeypatch.undo()
    resumed = fit(toy(), tmp_path, checkpoint_every=3, resume=True)
    assert resumed.weights.tobytes() == fit(toy(), None).weights.tobytes()


def test_saving_by_time(tmp_path, monkeypatch):
    steps = []
    real = checkpoint_module.save_checkpoint

    def spy(folder, facts, arrays):
        steps.append(facts["state"]["step"])
        real(folder, facts, arrays)

    monkeypatch.setattr(checkpoint_module, "save_checkpoint", spy)
    fit(toy(), tmp_path / "a")
    monkeypatch.setattr("tn_qnn.train.run.CHECKPOINT_SECONDS", 0.0)
    fit(toy(), tmp_path / "b", steps=3)
    fit(toy(), tmp_path / "c", steps=5, checkpoint_every=2)
    assert steps == [0, 6, *[0, 1, 2, 3, 3], *[0, 2, 4, 5]]
