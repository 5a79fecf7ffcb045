"""``make gpu-check`` without a GPU: sections cannot hurt each other, and the verdict is a line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # bench/ is not installed

from bench.gpu import check, setup  # noqa: E402
from bench.gpu.sections import Outcome, Section, run_section, verdict  # noqa: E402
from bench.gpu.setup import Driver  # noqa: E402


@pytest.fixture
def driver():
    """A driver as a machine with an H100 has it."""
    found = Driver(library="libno-such-driver.so")
    found.version, found.devices, found.name, found.reason = 13000, 1, "NVIDIA H100 80GB HBM3", ""
    return found


def no_driver():
    found = Driver(library="libno-such-driver.so")
    found.reason = "no NVIDIA driver"
    return found


# --- sections ---------------------------------------------------------------------------------


def python(name, code, limit=20.0):
    return Section(name, (sys.executable, "-c", code), limit)


def run(section, folder, left=60.0):
    return run_section(section, folder, left, {"GIVEN": "1"})


def test_a_section_that_passes_may_tell_facts(tmp_path):
    code = (
        "import json, os\nprint('noise')\n"
        "json.dump({'x': os.environ['GIVEN']}, open(os.environ['TN_QNN_CHECK_FACTS'], 'w'))"
    )
    found = run(python("good", code), tmp_path)
    assert (found.status, found.facts, found.tail) == ("passed", {"x": "1"}, ())


def test_a_section_that_fails_shows_its_last_lines(tmp_path):
    found = run(
        python("bad", "print('\\n'.join(map(str, range(99)))); raise SystemExit(7)"), tmp_path
    )
    assert (found.status, found.reason) == ("failed", "exit code 7")
    assert found.tail[-1] == "98"
    assert len(found.tail) == 15


def test_a_section_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    found = run(python("hangs", code, limit=3.0), tmp_path)
    assert time.monotonic() - start < 20
    assert (found.status, found.reason) == ("over", "over 3 s")
    assert gone(int(child.read_text()))


def gone(process: int) -> bool:
    """Whether a process ended, though nobody may have waited for it yet."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_section_that_crashes_is_told_by_its_signal(tmp_path):
    code = (
        "import os, signal\nopen(os.environ['TN_QNN_CHECK_FACTS'], 'w').write('{\"x\": ')\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    found = run(python("crashes", code), tmp_path)
    assert (found.status, found.reason, found.facts) == ("failed", "died of SIGSEGV", {})


def test_a_section_that_cannot_start_or_has_no_time(tmp_path):
    none = run(Section("none", ("/no/such/program",), 5), tmp_path)
    assert (none.status, none.reason) == ("failed", "not started: No such file or directory")
    late = run(python("late", "print(1)"), tmp_path, left=0.5)
    assert (late.status, late.reason) == ("over", "the check had no time left")
    absent = run(Section("absent", (), 5, "no tool"), tmp_path)
    assert (absent.status, absent.reason) == ("skipped", "no tool")


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["passed", "passed"], 0),
        (["passed", "skipped"], 0),
        (["passed", "failed"], 1),
        (["passed", "over"], 1),
        (["skipped"], 1),
        ([], 1),
    ],
)
def test_the_verdict_is_one_line(states, code):
    outcomes = [Outcome(f"s{k}", state, reason="why") for k, state in enumerate(states)]
    line, found = verdict("H100", outcomes)
    assert found == code
    assert "\n" not in line
    assert line.startswith(f"gpu-check on H100: {states.count('passed')} of {len(states)}")


def test_a_failing_section_does_not_stop_the_next_and_the_result_is_written(
    driver, tmp_path, capsys
):
    plan = [
        python("first", "raise SystemExit(2)"),
        python("second", "import os; os.abort()"),
        python("third", "print('fine')"),
        Section("fourth", (), 1, "compute-sanitizer was not found"),
    ]
    code = check.main([], lambda folder: plan, tmp_path, driver)
    assert code == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "gpu-check on NVIDIA H100 80GB HBM3: 1 of 4 sections passed; not passed: first (exit code"
        " 2), second (died of SIGABRT); skipped: fourth (compute-sanitizer was not found)"
    )
    path, text = sorted(tmp_path.iterdir())
    assert path.name.startswith("h100-20") and path.suffix == ".json"
    found = json.loads(path.read_text())
    assert [s["status"] for s in found["sections"]] == ["failed", "failed", "passed", "skipped"]
    assert found["verdict"] == last
    assert text.read_text().startswith(f"# {last}\n")


def test_without_a_gpu_the_check_says_so_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "Driver", no_driver)
    monkeypatch.setattr(setup.subprocess, "run", None)  # nothing may be installed
    assert check.main([], results=tmp_path) == check.NO_GPU == 3
    assert capsys.readouterr().out == "gpu-check: not run: no NVIDIA driver\n"
    assert not os.listdir(tmp_path)
    assert check.main(["--fast"]) == 2


def test_the_sections_fit_in_eight_minutes(tmp_path):
    planned = check.sections(tmp_path)
    assert [s.name for s in planned] == [
        "environment", "tests", "memcheck", "racecheck", "initcheck", "synccheck", "benchmark",
    ]  # fmt: skip
    assert sum(section.limit for section in planned) <= check.LIMIT


@pytest.mark.parametrize(
    ("body", "code"),
    [("assert True", 0), ("assert False", 1), ("pytest.skip('no GPU')", 5)],
)
def test_tests_that_skip_themselves_are_no_pass(body, code, tmp_path):
    path = tmp_path / "test_it.py"
    marked = "@pytest.mark" + ".gpu\n"  # in two: this file bears no such mark itself
    path.write_text(f"import pytest\n{marked}def test_it():\n    {body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: x\n")
    command = [sys.executable, "-m", "bench.gpu.check", "--tests", str(path)]
    facts = tmp_path / "facts.json"
    environment = {**os.environ, "TN_QNN_CHECK_FACTS": str(facts)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == code, done.stdout
    assert json.loads(facts.read_text()) == {"passed": int(code == 0)}


# --- before the check -------------------------------------------------------------------------


def test_a_machine_without_a_driver_is_told_apart():
    assert Driver("libno-such-driver.so").reason == (
        "no NVIDIA driver (libno-such-driver.so was not found)"
    )


def test_cupy_s_wheel_goes_by_the_driver(driver):
    assert driver.wheel == "cupy-cuda13x[ctk]>=14"
    driver.version = 12040
    assert driver.wheel == "cupy-cuda12x[ctk]>=14"


def test_only_what_is_missing_is_installed_and_from_the_wheels_where_they_are(tmp_path):
    lacking = setup.missing({"numpy": 1, "pytest": 1}.get)
    assert "cotengrust>=0.2" in lacking
    assert not {"numpy>=2.2", "pytest>=8.4"} & set(lacking)
    assert setup.missing(lambda name: 1) == []
    command = setup.pip_command(["a"], tmp_path, ["--no-deps"])
    assert command[-5:] == ["--no-deps", "--no-index", "--find-links", str(tmp_path), "a"]
    assert "--no-index" not in setup.pip_command(["a"], tmp_path / "none")


class Installed(Exception):
    """Raised in place of going on in another Python."""


def test_outside_of_an_environment_one_is_made_that_sees_the_machine(driver, monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(setup, "Driver", lambda: driver)
    monkeypatch.setattr(setup, "ENVIRONMENT", tmp_path / "env")
    monkeypatch.setattr(setup.sys, "prefix", setup.sys.base_prefix)
    monkeypatch.setattr(setup.subprocess, "run", lambda command, check: commands.append(command))

    def go_on(python, words):
        raise Installed(words)

    monkeypatch.setattr(setup.os, "execv", go_on)
    with pytest.raises(Installed) as found:
        setup.prepare("bench.gpu.check", ["x"])
    assert found.value.args[0][1:] == ["-m", "bench.gpu.check", "x"]
    assert "--system-site-packages" in commands[0]


def test_only_what_is_needed_is_installed(driver, monkeypatch):
    installed = []
    monkeypatch.setattr(setup, "Driver", lambda: driver)
    monkeypatch.setattr(setup.sys, "prefix", "an environment")
    monkeypatch.setattr(
        setup, "install", lambda what, **options: installed.append(tuple(what)) or ""
    )
    monkeypatch.setattr(setup, "_can_import", lambda name: True)
    monkeypatch.setattr(setup, "missing", list)
    assert setup.prepare("bench.gpu.check", []) == ""
    assert installed == []
    monkeypatch.setattr(setup, "_can_import", lambda name: False)
    monkeypatch.setattr(setup, "missing", lambda: ["cotengrust>=0.2"])
    monkeypatch.setattr(setup, "find_spec", lambda name: None)
    assert setup.prepare("bench.gpu.check", []) == ""
    assert [what[0] for what in installed] == [
        "cotengrust>=0.2", driver.wheel, "setuptools>=77", "-e",
    ]  # fmt: skip


def test_a_failed_installation_is_told_in_a_line(tmp_path):
    (tmp_path / "wheels").mkdir()
    reason = setup.install(["no-such-package-of-tn-qnn"], tmp_path / "wheels")
    assert reason.startswith("no-such-package-of-tn-qnn could not be installed: ")
    assert "\n" not in reason


def test_the_programs_start_with_the_standard_library_alone():
    code = "import sys; from bench.gpu import __main__, check; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_files_and_folders_with_the_mark_are_found(tmp_path):
    mark = "pytest.mark" + ".gpu"  # in two: this file bears no such mark itself
    for name, text in {
        "conftest.py": mark,
        "test_plain.py": "",
        "test_marked.py": mark,
        "kernels/conftest.py": mark,
        "kernels/test_one.py": mark,
        "train/helper.py": "",
        "train/test_two.py": mark,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [os.path.relpath(path, tmp_path) for path in check.marked_tests(tmp_path)]
    assert found == ["kernels", "test_marked.py", "train/test_two.py"]
    assert check.marked_tests(ROOT / "tests")
