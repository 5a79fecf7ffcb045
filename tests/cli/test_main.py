"""Help, usage, exit codes and streams, for every command alike."""

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import tn_qnn
from tn_qnn.cli import expect
from tn_qnn.cli.main import COMMANDS, main, one_line, parse
from tn_qnn.cli.options import given_options

NAMES = [command.__name__.rpartition(".")[2] for command in COMMANDS]
ROOT = Path(__file__).parents[2]


def process(*words: object, **options: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tn_qnn.cli", *map(str, words)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_and_shows_an_example(cli, name):
    ended = cli(name, "--help")
    assert ended.code == 0 and ended.err == ""
    assert f"  tn-qnn {name}" in ended.out, "no example"
    assert max(map(len, ended.out.splitlines())) <= 100


def test_help_lists_every_command(cli):
    ended = cli("--help")
    assert ended.code == 0
    assert all(f"\n    {name} " in ended.out for name in NAMES)
    assert cli("--version").out == f"tn-qnn {tn_qnn.__version__}\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("example", range(9))
def test_the_examples_of_the_help_are_legal(name, example):
    text = importlib.import_module(f"tn_qnn.cli.{name}").HELP
    lines = [line for line in text.splitlines() if line.startswith("  tn-qnn")]
    assert lines
    if example < len(lines):
        words = lines[example].partition(">")[0].replace("'", "").split()[1:]
        assert parse(words).run


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["expect"],
        ["expect", "a.qasm"],
        ["expect", "a.qasm", "Z0", "--nosuch"],
        ["expect", "a.qasm", "Z0", "--dtype", "int8"],
        ["expect", "a.qasm", "Z0", "--memory", "much"],
        ["expect", "a.qasm", "Z0", "--memory", "0"],
        ["expect", "a.qasm", "Z0", "--memory", "-1"],
        ["expect", "a.qasm", "Z0", "--threads", "0"],
        ["expect", "a.qasm", "Z0", "--set", "a"],
        ["expect", "a.qasm", "Z0", "--set", "a=nan"],
        ["expect", "a.qasm", "Z0", "--set", "=1"],
        ["expect", "a.qasm", "Z0", "--backend", "gpu"],
        ["expect", "a.qasm", "Z0", "--devices", "0,x"],
        ["expect", "a.qasm", "Z0", "--devices", "1,1"],
        ["expect", "a.qasm", "Z0", "--devices", ""],
        ["predict", "runs/x", "a.csv", "--backend", "gpu"],
        ["plan", "a.qasm", "Z0", "--samples", "1.5"],
        ["train"],
        ["train", "digits", "--steps", "0"],
        ["train", "digits", "--steps", "-5"],
        ["train", "digits", "--steps", "1e99"],
        ["train", "digits", "--dtype", "int8"],
        ["train", "digits", "--test-share", "1"],
        ["train", "digits", "--seed", "x"],
        ["train", "digits", "--seed", "9" * 5000],
        ["train", "digits", "--resume", "runs/x"],
        ["train", "--resume", "runs/x", "--seed", "2"],
        ["train", "--resume", "runs/x", "--out", "runs/y"],
        ["predict", "runs/x"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_wrong_usage_is_one_line_and_exit_code_2(fails, words):
    message = fails(*words, code=2)
    assert "--help" in message


TAKING = [["expect", "a", "Z0"], ["plan", "a", "Z0"], ["predict", "r", "a"], ["train", "digits"]]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], {}),
        (["--backend", "cuda", "--devices", "0,2"], {"backend": "cuda", "devices": [0, 2]}),
        (["--devices=1", "--devices=0"], {"devices": [1, 0]}),
        (["--threads", "2", "--memory", "4GB"], {"threads": 2, "memory": 4e9}),
    ],
)
@pytest.mark.parametrize("command", TAKING, ids=lambda command: command[0])
def test_every_command_that_computes_takes_the_options_of_the_machine(command, words, chosen):
    assert given_options(parse([*command, *words])) == chosen


def test_ctrl_c_is_exit_code_130(fails, monkeypatch, plus):
    def pressed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(expect, "read_circuit", pressed)
    assert "interrupted" in fails("expect", plus, "Z0", code=130)


def test_no_memory_is_one_line(fails, monkeypatch, plus):
    def greedy(_):
        raise MemoryError

    monkeypatch.setattr(expect, "read_circuit", greedy)
    assert "out of memory" in fails("expect", plus, "Z0")


def test_a_fault_of_ours_is_not_hidden(monkeypatch, plus):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr(expect, "read_circuit", broken)
    with pytest.raises(ZeroDivisionError):
        main(["expect", str(plus), "Z0"])


def test_debug_raises_the_error_itself(tmp_path):
    with pytest.raises(tn_qnn.TnQnnError):
        main(["expect", str(tmp_path / "none.qasm"), "Z0", "--debug"])


def test_a_warning_is_one_line_on_stderr(cli, monkeypatch, plus):
    def warned(file):
        warnings.warn("look\nhere", UserWarning, stacklevel=1)
        return tn_qnn.qasm.load_qasm(file)

    monkeypatch.setattr(expect, "read_circuit", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ended = cli("expect", plus, "Z2")
    assert (ended.code, ended.out) == (0, "Z2 = -1.0\n")
    assert ended.err == "tn-qnn: warning: look here\n"


def test_a_message_cannot_steer_the_terminal():
    assert one_line("a\x1b[2J\r\n b\u202e") == "a\\x1b[2J b\\u202e"


# --- real processes -------------------------------------------------------------------------


def test_a_process_prints_results_alone_on_stdout(plus):
    child = process("expect", plus, "Z0", "Z2", stdout=subprocess.PIPE)
    out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    assert out.startswith(b"Z0 = ") and out.endswith(b"Z2 = -1.0\n")


def test_a_process_that_fails_prints_one_line_on_stderr(tmp_path):
    child = process("expect", tmp_path / "none.qasm", "Z0", stdout=subprocess.PIPE)
    out, err = child.communicate()
    assert (child.returncode, out, err.count(b"\n")) == (1, b"", 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_at_stdout_is_one_line():
    with open("/dev/full", "wb") as full:
        child = process("info", stdout=full)
        _, err = child.communicate()
    assert child.returncode == 1
    assert err.count(b"\n") == 1 and b"No space left" in err


def test_a_closed_pipe_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    child = process("info", stdout=writer)
    os.close(writer)
    _, err = child.communicate()
    assert (child.returncode, err) == (141, b"")
