"""``train`` and ``predict``: files, figures, interruption, and what they refuse."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tn_qnn.cli import train
from tn_qnn.cli.config import TrainConfig, make_config, read_config
from tn_qnn.cli.main import main

ROOT = Path(__file__).parents[2]
FILES = {
    "config.toml", "data.json", "history.csv", "checkpoint.json", "model.json", "metrics.json",
    "training.png",
}  # fmt: skip
STEPS = 60


def write_table(path: Path, rows: int = 60, seed: int = 0) -> Path:
    """Three features, a column of text, a class that follows the first, and a number."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (rows, 3))
    lines = [
        [
            *map(repr, x.tolist()),
            f"row {k}",
            "high" if x[0] > 0 else "low",
            repr(2 * float(x[0]) + 1),
        ]
        for k, x in enumerate(X)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c", "name", "kind", "value"], *lines])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "points.csv")


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory) -> Path:
    """The folder of a finished classification."""
    folder = tmp_path_factory.mktemp("runs") / "points"
    words = ["train", table, "--target", "kind", "--ignore", "name", "--ignore", "value"]
    words += ["--steps", STEPS, "--batch-size", 16, "--out", folder]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """A copy of the finished run, to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))


# --- a run ----------------------------------------------------------------------------------


def test_a_run_leaves_all_its_files(finished):
    found = {path.name for path in finished.iterdir()}
    assert found >= FILES | {"confusion.png"}
    assert not [name for name in found if name.endswith(".part")]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == STEPS and metrics["rows"] == {
        "train": 40, "validation": 5, "test": 15,
    }  # fmt: skip
    assert set(metrics["baselines"]) == {"logistic regression", "majority class"}
    assert metrics["backend"].split(":")[0] in ("cpu", "cuda")
    assert metrics["plan"]["multiply_adds"] > 0 and metrics["evaluations_per_second"] > 0
    history = rows_of((finished / "history.csv").read_text())
    assert history[0][0] == "step" and len(history) == STEPS + 1


def test_predictions_are_those_that_were_scored(cli, finished, table):
    ended = cli("predict", finished, table, "--proba")
    header, *rows = rows_of(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert header == ["kind", "p(high)", "p(low)"] and len(rows) == 60
    assert all(float(p) + float(q) == pytest.approx(1, abs=1e-5) for _, p, q in rows)
    assert all((k == "high") == (float(p) >= float(q)) for k, p, q in rows)
    plain = rows_of(cli("predict", finished, table).out)
    assert plain == [["kind"], *([row[0]] for row in rows)]
    found = json.loads(cli("predict", finished, table, "--proba", "--json").out)
    assert list(found["columns"]) == header and found["backend"]
    columns = [list(map(str, column)) for column in found["columns"].values()]
    assert [list(row) for row in zip(*columns, strict=True)] == rows


def test_columns_of_a_table_may_come_in_any_order(cli, finished, table, tmp_path):
    header, *rows = rows_of(table.read_text())
    order = [header.index(name) for name in ("c", "value", "a", "b")]
    with (tmp_path / "other.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row[k] for k in order] for row in [header, *rows])
    assert cli("predict", finished, tmp_path / "other.csv").out == (
        cli("predict", finished, table).out
    )


def test_the_configuration_repeats_the_run(cli, finished, tmp_path):
    ended = cli("train", finished / "config.toml", "--out", tmp_path / "again")
    assert ended.code == 0
    columns = [0, 1, 2, 3, 4]  # all but the seconds
    first, second = (
        [[row[k] for k in columns] for row in rows_of((f / "history.csv").read_text())]
        for f in (finished, tmp_path / "again")
    )
    assert first == second


def test_a_regression(cli, table, tmp_path):
    words = ["--target", "value", "--ignore", "name", "--ignore", "kind", "--steps", 40]
    ended = cli("train", table, *words, "--out", tmp_path / "r")
    assert ended.code == 0
    assert "test R²" in ended.out and "linear regression  1.0000" in ended.out
    assert {p.name for p in (tmp_path / "r").iterdir()} >= FILES | {"predictions.png"}
    header, *rows = rows_of(cli("predict", tmp_path / "r", table).out)
    assert header == ["value"] and len(rows) == 60
    assert np.isfinite([float(row[0]) for row in rows]).all()


def test_progress_goes_to_stderr_and_the_summary_to_stdout(cli, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--target", "kind", "--ignore", "name", "--ignore", "value", "--steps", 5]
    first, second = (cli("train", table, *words) for _ in range(2))
    assert first.err.splitlines()[1].startswith("backend: c")
    assert "step 5 of 5: loss" in first.err and "loss" not in first.out.partition("\n\n")[0]
    assert first.out.startswith("test accuracy")
    for said in ("logistic regression", "majority class", "steps/s", "evaluations/s", "plan:"):
        assert said in first.out
    assert "in runs/points:" in first.out and "in runs/points-2:" in second.out
    for name in FILES | {"confusion.png"}:
        assert f"  {name} " in first.out


def test_digits_for_a_few_steps(cli, tmp_path):
    ended = cli("train", "digits", "--steps", 3, "--out", tmp_path / "d")
    assert ended.code == 0 and "(450 rows" in ended.out
    model = json.loads((tmp_path / "d" / "model.json").read_text())
    assert len(model["model"]["circuits"]["weights"]) == 3780


# --- interrupted and resumed ----------------------------------------------------------------


def pressed_at(step: int, monkeypatch) -> None:
    """Press Ctrl-C in a step, as a signal would."""
    original = train.Lines.__call__

    def call(self, report):
        if report.row.step == step:
            raise KeyboardInterrupt
        return original(self, report)

    monkeypatch.setattr(train.Lines, "__call__", call)


def test_ctrl_c_then_resume_gives_the_same_bits(cli, finished, tmp_path, monkeypatch, table):
    folder = tmp_path / "broken"
    with monkeypatch.context() as patch:
        pressed_at(23, patch)
        ended = cli("train", finished / "config.toml", "--out", folder)
    assert (ended.code, ended.out) == (130, "")
    assert f"tn-qnn train --resume {folder}" in ended.err.splitlines()[-1]
    assert len(rows_of(cli("predict", folder, table).out)) == 61
    assert cli("train", "--resume", folder).code == 0
    assert cli("predict", folder, table, "--proba").out == (
        cli("predict", finished, table, "--proba").out
    )


def test_a_finished_run_can_be_made_longer(cli, run_folder):
    ended = cli("train", "--resume", run_folder, "--steps", 3 * STEPS)
    assert ended.code == 0 and f"{3 * STEPS} steps in" in ended.out
    assert len(rows_of((run_folder / "history.csv").read_text())) == 3 * STEPS + 1
    # The configuration tells of the run as it now is.
    assert f"steps = {3 * STEPS}" in (run_folder / "config.toml").read_text().splitlines()


def test_a_signal_ends_a_process_with_a_checkpoint(tmp_path):
    folder = tmp_path / "run"
    words = ["train", "digits", "--steps", "1000000", "--out", str(folder)]
    child = subprocess.Popen(
        [sys.executable, "-m", "tn_qnn.cli", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.json").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)  # some steps
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, b"")
    assert b"Traceback" not in err and b"--resume" in err.splitlines()[-1]
    assert (folder / "checkpoint.json").exists() and (folder / "model.json").exists()


def test_a_terminal_gets_a_bar_with_loss_and_time_left(table, tmp_path):
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    words = ["train", table, "--target", "kind", "--ignore", "name", "--out", tmp_path / "r"]
    child = subprocess.Popen(
        [sys.executable, "-m", "tn_qnn.cli", *map(str, words), "--steps", "30"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end, as Linux tells it
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert child.wait() == 0
    bar = shown.decode().split("\r")
    assert re.search(r"100%.* 30/30 \[\d\d:\d\d<00:00, .*loss \d\.\d{4}", "\n".join(bar))
    assert b"step 30 of 30" not in shown


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("", [], "no rows"),
        ("a,kind\n1,x\n2,y\n", ["--target", "none"], "no column 'none'"),
        ("a,kind\n1,x\n2,x\n", [], "one class only"),
        ("a,kind\n1,x\n,x\n3,y\n4,y\n", [], "line 3, column 'a' is empty"),
        ("a,kind\n1,x\n2,y\n3,x\nred,y\n", [], "line 5, column 'a': 'red'"),
        ("a,kind\n1,x\n2,x\n3,y\n4,y\n", [], "share"),
    ],
)
def test_a_table_that_cannot_be_learnt(fails, tmp_path, text, words, said):
    (tmp_path / "t.csv").write_text(text)
    words = words or ["--target", "kind"]
    assert said in fails("train", tmp_path / "t.csv", *words, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists(), "a folder was made for nothing"


def test_data_that_are_not_there(fails, tmp_path, table):
    assert "No such file" in fails("train", tmp_path / "none.csv", "--target", "x")
    assert "No such file" in fails("train", tmp_path / "none.toml")
    assert "directory" in fails("train", tmp_path, "--target", "x")
    assert "--target" in fails("train", table)
    assert "--target" in fails("train", "digits", "--target", "x")


def test_a_folder_that_cannot_be_written(fails, table):
    message = fails("train", "digits", "--out", table / "below", "--steps", 3)
    assert "below" in message and "cannot be written" in message


def test_a_folder_that_is_not_empty_is_left_alone(fails, finished, tmp_path):
    before = {p: p.read_bytes() for p in finished.iterdir()}
    assert "--resume" in fails("train", "digits", "--out", finished)
    assert before == {p: p.read_bytes() for p in finished.iterdir()}
    (tmp_path / "note.txt").touch()
    assert "not empty" in fails("train", "digits", "--out", tmp_path)


@pytest.mark.parametrize("words", [["train", "--resume"], ["predict"]])
def test_a_folder_of_something_else(fails, tmp_path, table, words):
    rest = [table] if words == ["predict"] else []
    assert "not the folder of a run" in fails(*words, tmp_path, *rest)
    assert "not the folder of a run" in fails(*words, tmp_path / "none", *rest)
    (tmp_path / "config.toml").write_text('data = "digits"')
    (tmp_path / "data.json").write_text("[]")
    assert "damaged" in fails(*words, tmp_path, *rest)
    (tmp_path / "data.json").write_text('{"features": ["a"], "target": "b", "task": "')
    assert "damaged" in fails(*words, tmp_path, *rest)


@pytest.mark.parametrize("name", ["checkpoint.json", "arrays"])
def test_resuming_a_truncated_checkpoint(fails, run_folder, name):
    (path,) = run_folder.glob(f"{name}*")
    path.write_bytes(path.read_bytes()[:-50])
    words = ["train", "--resume", run_folder, "--steps", STEPS + 5]
    assert name in fails(*words, remarks=2)


@pytest.mark.parametrize("name", ["model.json", "model-"])
def test_predicting_by_a_truncated_model(fails, run_folder, table, name):
    (path,) = run_folder.glob(f"{name}*")
    path.write_bytes(path.read_bytes()[:-50])
    assert name in fails("predict", run_folder, table)


def test_resuming_with_other_data(fails, run_folder, tmp_path):
    other = write_table(tmp_path / "points.csv", seed=1)
    config = (run_folder / "config.toml").read_text().splitlines()
    config[0] = f'data = "{other}"'
    (run_folder / "config.toml").write_text("\n".join(config))
    assert "data" in fails("train", "--resume", run_folder, "--steps", STEPS + 5, remarks=2)


def test_tables_that_do_not_fit_the_model(fails, finished, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert "no column 'c'" in fails("predict", finished, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,x\n")
    assert "line 2, column 'c'" in fails("predict", finished, tmp_path / "t.csv")


def test_probabilities_of_a_regression(fails, run_folder, table):
    facts = json.loads((run_folder / "data.json").read_text())
    (run_folder / "data.json").write_text(json.dumps(facts | {"task": "regression"}))
    assert "--proba" in fails("predict", run_folder, table, "--proba")


def test_memory_that_is_too_small(fails, table, tmp_path):
    words = ["--target", "kind", "--ignore", "name", "--steps", 3, "--out", tmp_path / "r"]
    assert "memory" in fails("train", table, *words, "--memory", "10", remarks=1)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="no /proc here")
def test_the_working_folder_may_be_read_only(fails, monkeypatch, table):
    monkeypatch.chdir("/proc/self/fd")
    message = fails("train", table, "--target", "kind", "--ignore", "name", "--steps", 3)
    assert "cannot be written" in message


# --- backends -------------------------------------------------------------------------------


def test_a_backend_that_is_not_there_is_one_line_and_makes_no_folder(
    fails, gpus, finished, table, tmp_path
):
    gpus(0)
    words = ["--target", "kind", "--ignore", "name", "--out", tmp_path / "r", "--backend", "cuda"]
    assert "finds no CUDA device" in fails("train", table, *words)
    assert not (tmp_path / "r").exists()
    assert "finds no CUDA device" in fails("predict", finished, table, "--backend", "cuda")
    assert "finds no CUDA device" in fails("train", "--resume", finished, "--backend", "cuda")


def test_the_configuration_keeps_what_was_asked_for(cli, run_folder):
    words = ["--backend", "einsum", "--steps", STEPS + 1]
    assert 'backend = "auto"' in (run_folder / "config.toml").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ended = cli("train", "--resume", run_folder, *words)
    assert ended.code == 0 and "backend: einsum" in ended.err and "backend: einsum" in ended.out
    assert "warning: checkpoint" in ended.err and "was written with another model" in ended.err
    assert 'backend = "einsum"' in (run_folder / "config.toml").read_text()
    assert json.loads((run_folder / "metrics.json").read_text())["backend"] == "einsum"


def test_devices_go_through_a_configuration(tmp_path):
    config = TrainConfig("digits", backend="cuda", devices=(0, 2), threads=None)
    config.save(tmp_path / "c.toml")
    assert read_config(tmp_path / "c.toml") == config
    assert make_config(str(tmp_path / "c.toml"), {"backend": "cpu", "threads": 2}) == replace(
        config, backend="cpu", devices=None, threads=2
    )


def test_a_run_of_a_gpu_predicts_and_goes_on_where_there_is_none(cli, gpus, table, tmp_path):
    folder = tmp_path / "r"
    words = ["--target", "kind", "--ignore", "name", "--ignore", "value", "--batch-size", 8]
    gpus(1)
    ended = cli("train", table, *words, "--steps", 4, "--directions", 2, "--out", folder)
    assert ended.code == 0 and "backend: cuda: Stand-in" in ended.err
    assert json.loads((folder / "metrics.json").read_text())["backend"].startswith("cuda: Stand")
    there = json.loads(cli("predict", folder, table, "--proba", "--json").out)
    gpus(0)
    here = json.loads(cli("predict", folder, table, "--proba", "--json").out)
    assert (there["backend"], here["backend"]) == ("cuda: Stand-in", "cpu")
    np.testing.assert_allclose(there["columns"]["p(low)"], here["columns"]["p(low)"], atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ended = cli("train", "--resume", folder, "--steps", 6)
    assert ended.code == 0 and json.loads((folder / "metrics.json").read_text())["backend"] == "cpu"
