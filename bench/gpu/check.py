"""``python -m bench.gpu.check``: everything that needs a GPU, in eight minutes at most.

One command without arguments. Without a GPU it says so and writes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gpu.sections import FACTS, Outcome, Section, run_section, verdict
from bench.gpu.setup import ROOT, Driver, prepare

LIMIT = 480.0  # seconds for everything
NO_GPU = 3
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
MARK = "mark.gpu"


def sections(folder: Path) -> list[Section]:
    """What is run, in this order; the limits add up to less than :data:`LIMIT`."""
    python = (sys.executable, "-m")
    tests = marked_tests(ROOT / "tests")
    own = (*python, "bench.gpu.check")
    found = [
        Section("environment", (*own, "--environment"), 40),
        Section(
            "tests",
            (*own, "--tests", *tests),
            180,
            "" if tests else f"no test bears the mark {MARK!r}",
        ),
    ]
    tool = sanitizer()
    absent = "" if tool else "compute-sanitizer was not found"
    training = (*python, "bench.gpu.training")
    for name in TOOLS:
        options = ("--tool", name, "--error-exitcode", "9", "--print-limit", "10")
        found.append(Section(name, (tool or "", *options, *training), 30, absent))
    benchmark = ("bench.gpu", "--checked", "--quick", "--minutes", "2")
    out = ("--out", str(folder / "benchmark" / "result.json"))
    return [*found, Section("benchmark", (*python, *benchmark, *out), 140)]


def marked_tests(folder: Path) -> list[str]:
    """Files that bear the mark, and folders whose conftest.py gives it.

    The others are not even collected: they may import what is not installed here.
    """
    marked = [p for p in folder.rglob("*.py") if MARK in p.read_text(encoding="utf-8")]
    tests = {p.parent if p.name == "conftest.py" else p for p in marked
             if p.parent != folder or p.name != "conftest.py"}  # fmt: skip
    return sorted(str(p) for p in tests if not tests & set(p.parents))


def sanitizer() -> str:
    """Where compute-sanitizer is: on the path, in a CUDA toolkit, or in a wheel; "" if nowhere."""
    if found := shutil.which("compute-sanitizer"):
        return found
    wheels = Path(sysconfig.get_path("purelib"), "nvidia")
    places = [
        *sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"), reverse=True),
        *sorted(wheels.glob("**/compute-sanitizer")),
    ]
    return next((str(p) for p in places if p.is_file() and os.access(p, os.X_OK)), "")


def environment() -> int:
    """Section "environment": what the GPU is, what it copies, and that a kernel compiles."""
    from bench.gpu.profile import device_ceilings
    from bench.gpu.results import about, versions
    from tn_qnn.backends.cuda.ceilings import copy_rate
    from tn_qnn.backends.cuda.detect import require
    from tn_qnn.backends.cuda.runtime import CudaRuntime

    runtime = CudaRuntime(require())
    ceilings = device_ceilings(runtime)
    facts = {
        "machine": about(Driver()),
        "versions": versions(),
        "device": asdict(runtime.facts),
        "ceilings": asdict(ceilings),
        "copied": copy_rate(runtime),
    }
    print(json.dumps(facts, indent=1))
    if FACTS in os.environ:
        Path(os.environ[FACTS]).write_text(json.dumps(facts))
    return 0


class Passed:
    """A plugin of pytest that counts tests which passed: one that skips itself proves nothing."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """See pytest."""
        self.count += report.when == "call" and report.passed


def run_tests(files: Sequence[str]) -> int:
    """Section "tests": pytest's exit code; 5, its code for no tests, where none has passed."""
    import pytest

    passed = Passed()
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider"]
    code = int(pytest.main([*options, *files], plugins=[passed]))
    print(f"{passed.count} tests passed on the GPU")
    if FACTS in os.environ:
        Path(os.environ[FACTS]).write_text(json.dumps({"passed": passed.count}))
    return code or (0 if passed.count else 5)


def main(
    arguments: Sequence[str] | None = None,
    planned: Callable[[Path], list[Section]] = sections,
    results: Path = ROOT / "bench" / "results",
    driver: Driver | None = None,
) -> int:
    """Run all sections, write the result, print one line of verdict.

    Returns
    -------
    int
        0 where all sections passed that could be run, 1 where one did not, 3 without a GPU.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["--environment"]:
        return environment()
    if words[:1] == ["--tests"]:
        return run_tests(words[1:])
    if words:
        print("gpu-check takes no arguments", file=sys.stderr)
        return 2
    if driver is None:
        if reason := prepare("bench.gpu.check", words):
            print(f"gpu-check: not run: {reason}")
            return NO_GPU
        driver = Driver()
    with tempfile.TemporaryDirectory(prefix="tn-qnn-check-") as name:
        folder = Path(name)
        outcomes = run_all(planned(folder), folder)
        benchmark = _read(folder / "benchmark" / "result.json")
    line, code = verdict(driver.name, outcomes)
    write(results, driver, outcomes, benchmark, line)
    print(line)
    return code


def run_all(planned: Sequence[Section], folder: Path, limit: float = LIMIT) -> list[Outcome]:
    """Run sections one after the other, each in what time is left."""
    end, found = time.monotonic() + limit, []
    # What tests and the benchmark plan must not depend on plans of the user's.
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "TN_QNN_CACHE_DIR": str(folder / "plans"),
        "PYTHONPATH": os.pathsep.join(places),
    }
    for section in planned:
        print(f"{section.name} ...", flush=True)
        outcome = run_section(section, folder, end - time.monotonic(), variables)
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"  {outcome.status} after {outcome.seconds} s{reason}", flush=True)
        print("".join(f"    {text}\n" for text in outcome.tail), end="", flush=True)
        found.append(outcome)
    return found


def write(
    results: Path,
    driver: Driver,
    outcomes: Sequence[Outcome],
    benchmark: dict[str, Any],
    line: str,
) -> Path:
    """Write the JSON and the Markdown, each whole or not at all; the path of the JSON."""
    from bench.gpu.results import about, short_name, versions
    from bench.machine import commit
    from bench.results import FORMAT
    from tn_qnn.files import write_atomic, write_json

    date = time.strftime("%Y-%m-%d")
    result = {
        "format": FORMAT,
        "date": date,
        "machine": about(driver),
        "versions": versions(),
        "commit": commit(),
        "verdict": line,
        "sections": [asdict(outcome) for outcome in outcomes],
        "cases": benchmark.get("cases", []),
    }
    path = results / f"{short_name(driver.name)}-{date}.json"
    write_json(path, result)
    write_atomic(path.with_suffix(".md"), markdown(result).encode())
    return path


def markdown(result: dict[str, Any]) -> str:
    """The sections as a table, then the benchmark as its own file has it."""
    from bench.gpu import results as written
    from bench.results import table

    rows = [
        (s["name"], s["status"], f"{s['seconds']:.0f} s", s["reason"]) for s in result["sections"]
    ]
    lines = [
        f"# {result['verdict']}",
        "",
        *table(("section", "", "time", ""), rows, numbers=4),
        "",
        written.markdown(result),
    ]
    for section in result["sections"]:
        if section["tail"]:
            lines += [f"### {section['name']}", "", "```", *section["tail"], "```", ""]
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


if __name__ == "__main__":
    sys.exit(main())
