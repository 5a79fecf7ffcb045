"""``expect``, ``plan``, ``info`` and ``bench``: values, JSON, and what they refuse."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tn_qnn.cli import bench

KICKED_Z62 = 0.63870894551914
BOMB = "gate g0 a { U(0,0,0) a; } " + " ".join(
    f"gate g{k} a {{ {f'g{k - 1} a; ' * 9}}}" for k in range(1, 12)
)


# --- values ---------------------------------------------------------------------------------


def test_kicked_ising_on_127_qubits(cli, kicked):
    ended = cli("expect", kicked, "Z62", "--json")
    found = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert list(found["values"]) == ["Z62"]
    assert found["values"]["Z62"] == pytest.approx(KICKED_Z62, abs=1e-12)
    assert (found["qubits"], found["dtype"]) == (127, "complex128")
    assert found["backend"].split(":")[0] in ("cpu", "cuda")


def test_keys_are_what_the_user_wrote(cli, plus):
    words = ["Z0", "-Z2", " 0.5*X0 + Z1*Z2 ", "X0@Z1", "I", "P(2=1,0=0)", "Z0"]
    found = json.loads(cli("expect", plus, *words, "--json").out)["values"]
    expected = [0.0, 1.0, -0.5, 1.0, 1.0, 0.5]
    assert list(found) == words[:-1]
    assert list(found.values()) == pytest.approx(expected, abs=1e-14)


def test_text_shows_every_digit(cli, tmp_path):
    path = tmp_path / "ry.qasm"
    path.write_text("OPENQASM 3; qubit q; U(1.0/3, 0, 0) q;")
    name, _, value = cli("expect", path, "Z0").out.partition(" = ")
    assert name == "Z0"
    assert float(value) == pytest.approx(math.cos(1 / 3), abs=1e-15)


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("complex128", 1e-14), ("float64", 1e-14), ("complex64", 1e-6), ("float32", 1e-6)],
)
def test_every_precision_on_every_backend(cli, bell, dtype, tolerance, backend):
    settings = ["--set", "a=0.3", "--set", "features[1]=-1.1"]
    options = ["--dtype", dtype, "--backend", backend, "--threads", 1, "--json"]
    found = json.loads(cli("expect", bell, "Z1", *settings, *options).out)
    assert found["values"]["Z1"] == pytest.approx(math.cos(0.3 - 1.1), abs=tolerance)
    assert found["backend"] == backend


def test_the_program_may_come_from_stdin(cli, plus):
    ended = cli("expect", "-", "Z2", stdin=b"\xef\xbb\xbf" + plus.read_bytes())
    assert (ended.code, ended.out) == (0, "Z2 = -1.0\n")


# --- GPUs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [[], ["--backend", "cuda"], ["--backend", "cuda", "--devices", 0]]
)
def test_a_gpu_is_taken_where_there_is_one(cli, gpus, bell, words):
    gpus(1)
    settings = ["--set", "a=0.3", "--set", "features[1]=-1.1", "--dtype", "float32"]
    found = json.loads(cli("expect", bell, "Z1", *settings, *words, "--json").out)
    assert found["values"]["Z1"] == pytest.approx(math.cos(0.3 - 1.1), abs=1e-6)
    assert found["backend"] == "cuda: Stand-in"


@pytest.mark.parametrize(
    ("devices", "words", "said"),
    [
        (0, ["--backend", "cuda"], "CUDA cannot be used: the driver finds no CUDA device"),
        (0, ["--devices", 0], "CUDA cannot be used"),
        (1, ["--backend", "cuda", "--threads", 2], "threads: for the CPU backend only"),
        (1, ["--backend", "cpu", "--devices", 0], "devices: for the CUDA backend only"),
        (2, ["--devices", "0,2"], "numbers from 0 to 1 expected, not 2"),
    ],
)
@pytest.mark.parametrize("command", ["expect", "plan"])
def test_a_gpu_that_is_not_there_is_one_line(fails, gpus, plus, command, devices, words, said):
    gpus(devices)
    assert said in fails(command, plus, "Z0", *words)


def test_without_cupy_it_is_said_what_to_install(fails, monkeypatch, plus):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert 'pip install "tn-qnn[gpu13]"' in fails("expect", plus, "Z0", "--backend", "cuda")


# --- plan -----------------------------------------------------------------------------------


def test_plan_says_what_it_costs(cli, kicked):
    text = cli("plan", kicked, "Z62").out
    assert "width" in text and "multiply-adds" in text
    found = json.loads(cli("plan", kicked, "Z62", "--json").out)
    assert found["multiply_adds"] > 0 and found["peak_bytes"] > 0
    assert 0 < found["width"] < 30 and found["slices"] == 1 and found["seconds"] > 0


def test_plan_needs_no_values_and_takes_batch_sizes(cli, bell):
    one, many = (
        json.loads(cli("plan", bell, "Z1", "--samples", n, "--sets", 2, "--json").out)
        for n in (1, 64)
    )
    assert (many["samples"], many["sets"]) == (64, 2)
    assert many["multiply_adds"] > one["multiply_adds"]


def test_a_constant_needs_no_plan(cli, plus):
    assert json.loads(cli("plan", plus, "I", "--json").out)["multiply_adds"] == 0


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["expect", "plan"])
@pytest.mark.parametrize(
    ("observable", "said"),
    [
        ("Z9", "qubits 0 to 2"),
        ("Q0", "not understood"),
        ("Z0*", "not complete"),
        ("X0*Y0", "not Hermitian"),
        ("P(7=1)", "out of range"),
    ],
)
def test_a_wrong_observable(fails, plus, command, observable, said):
    assert said in fails(command, plus, "Z0", observable)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no qubits"),
        ("OPENQASM 3; qubit[1000000000] q;", "100000"),
        ("OPENQASM 2.0; qreg q[99999999999999999999];", "line 1"),
        ("OPENQASM 3; qubit q; U(" + "(" * 100_000 + "0" + ")" * 100_000 + ",0,0) q;", "line 1"),
        ("OPENQASM 3; gate g a { g a; } qubit q; g q;", "g"),
        ('OPENQASM 3; include "/etc/passwd"; qubit q;', "include"),
        ('OPENQASM 3; include "../../x.inc"; qubit q;', "include"),
        ("OPENQASM 3; qubit q; U(9**9**9**9, 0, 0) q;", "line 1"),
        ("OPENQASM 3; qubit q; U(1/0, 0, 0) q;", "line 1"),
        ("OPENQASM 3; qubit q; bit c; c = measure q;", "meas"),
        ("OPENQASM 3; qubit q; nosuchgate q;", "nosuchgate"),
        ('OPENQASM 3; include "stdgates.inc"; qubit[2] q; cx q[0], q[0];', "same qubit"),
        ("OPENQASM 3; qubit q; while (true) { U(0,0,0) q; }", "while"),
        ("OPENQASM 3; " + BOMB + " qubit q; g11 q;", "line 1"),
        ("\x00\x01\x02", "line 1"),
        ("qubit q; \x1b[2J", "line 1"),
    ],
    ids=lambda text: text[:30],
)
def test_hostile_programs(fails, tmp_path, text, said):
    path = tmp_path / "hostile.qasm"
    path.write_text(text)
    message = fails("expect", path, "Z0")
    assert "hostile.qasm" in message and said in message
    assert len(message) < 600


def test_files_that_are_none(fails, tmp_path):
    assert "No such file" in fails("expect", tmp_path / "none.qasm", "Z0")
    assert "directory" in fails("expect", tmp_path, "Z0")
    assert "Not a directory" in fails("expect", __file__ + "/x.qasm", "Z0")
    binary = tmp_path / "binary.qasm"
    binary.write_bytes(bytes(range(256)))
    assert "UTF-8" in fails("expect", binary, "Z0")
    assert "UTF-8" in fails("expect", "-", "Z0", stdin=b"\xff\xfe")
    assert "qubits" in fails("expect", "-", "Z0")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(fails, plus):
    plus.chmod(0)
    assert "Permission denied" in fails("expect", plus, "Z0")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "a, features[1] have no value"),
        (["a=1"], "features[1]"),
        (["a=1", "a=2"], "twice"),
        (["b=1"], "no input 'b'"),
        (["features[0]=1"], "no input 'features[0]'"),
        (["features[1]=1", "features[1]=1"], "twice"),
    ],
)
def test_inputs_that_are_not_set_or_not_there(fails, bell, settings, said):
    words = [word for setting in settings for word in ("--set", setting)]
    assert said in fails("expect", bell, "Z0", *words)


@pytest.mark.parametrize("command", ["expect", "plan"])
def test_memory_that_is_too_small(fails, kicked, command):
    assert "memory" in fails(command, kicked, "Z62", "--memory", "100")


# --- info and bench -------------------------------------------------------------------------


def test_info_tells_versions_cores_and_folders(cli, plan_cache):
    found = json.loads(cli("info", "--json").out)
    assert found["python"] == sys.version.split()[0]
    assert found["cores"] >= 1 and found["packages"]["numpy"]
    assert found["backends"]["cpu"] == found["backends"]["einsum"] == "yes"
    assert found["plan_cache"]["folder"].startswith(plan_cache)
    text = cli("info").out
    assert all(name in text for name in ("numpy", "cores", "backends", plan_cache))


def test_info_tells_which_gpus_there_are(cli, gpus):
    gpus(2)
    found = json.loads(cli("info", "--json").out)
    assert found["backends"]["auto"] == "takes cuda" and found["backends"]["cuda"] == "yes"
    facts = {"name": "Stand-in", "capability": "9.0", "memory": 8 << 30}
    assert found["gpu"]["devices"] == [facts, facts] and found["gpu"]["driver"] == "13.0"
    text = cli("info").out
    assert "auto: takes cuda" in text
    assert "driver for CUDA 13.0; device 0: Stand-in, 8.59 GB; device 1" in text


def test_info_tells_why_there_is_no_gpu(cli, gpus):
    gpus(0)
    found = json.loads(cli("info", "--json").out)
    assert found["backends"]["auto"] == "takes cpu"
    assert "no CUDA device" in found["backends"]["cuda"] and not found["gpu"]["devices"]
    assert "cuda: the driver finds no CUDA device" in cli("info").out


def test_bench_runs_the_clone_s_and_passes_arguments_on(cli, monkeypatch, tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__main__.py").touch()
    (tmp_path / "setup.cfg").touch()
    monkeypatch.setattr(bench.tn_qnn, "__file__", str(tmp_path / "tn_qnn" / "__init__.py"))
    called = []

    def run(command, cwd):
        called.append((command[1:], cwd))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(bench.subprocess, "run", run)
    assert cli("bench", "--only", "line", "--quick").code == 3
    assert cli("bench", "--backend", "cuda", "--list").code == 3
    assert called == [
        (["-m", "bench", "--only", "line", "--quick"], tmp_path),
        (["-m", "bench.gpu", "--list"], tmp_path),
    ]


def test_bench_without_a_clone_says_so(fails, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.tn_qnn, "__file__", str(tmp_path / "tn_qnn" / "__init__.py"))
    assert "clone" in fails("bench")


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys; from tn_qnn.cli.main import main; main(['--help']);"
        "print(sorted(m for m in sys.modules if m in sys.argv[1:]))"
    )
    heavy = "numba cotengra quimb opt_einsum scipy sklearn matplotlib tqdm".split()
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n[]\n")
