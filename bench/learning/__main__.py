"""``python -m bench.learning``: train, judge, draw the curves."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.learning import results
from bench.learning.cases import Case, find_cases
from bench.learning.data import SPLITS
from bench.learning.worker import Job
from bench.machine import commit, load, machine
from bench.results import FOLDER, OtherMachineError, Result, open_result
from bench.worker import environment
from tn_qnn.files import read_json

ROOT = Path(__file__).parents[2]
EXAMPLES = """examples:
  python -m bench.learning --list
  python -m bench.learning --case digits --splits 1   a data set, one split
  python -m bench.learning --case digits-wide         a case
  python -m bench.learning --validate                 test parts stay closed: to choose by
  python -m bench.learning --quick --out FILE         a try, in seconds
  python -m bench.learning --plots --update-docs      the newest result into docs/

A run that the result file has is not made again.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench.learning",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    say = found.add_argument
    say("--list", action="store_true", help="list cases and goals")
    say("--case", action="append", default=[], metavar="NAME", help="a case or a data set")
    say("--splits", type=int, default=SPLITS, help=f"how many of the {SPLITS} splits")
    say("--validate", action="store_true", help="train and watch; read no test part")
    say("--quick", action="store_true", help="tiny cases, to try the benchmark")
    say("--threads", type=int, default=2, help="cores for everyone (default 2)")
    say("--out", type=Path, help="result file (default bench/results/learning-DATE.json)")
    say("--plots", action="store_true", help="draw the result; measure nothing")
    say("--update-docs", action="store_true", help="put the newest result into docs/learning.md")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 where all went well, whatever the figures are."""
    args = parser().parse_args(arguments)
    try:
        cases = find_cases(tuple(args.case), args.quick)
        if args.list:
            return list_cases(cases)
        if args.plots or args.update_docs:
            return show(args)
        return run(args, cases)
    except (ValueError, OSError, OtherMachineError) as error:
        print(f"bench.learning: {error}", file=sys.stderr)
        return 2


def list_cases(cases: tuple[Case, ...]) -> int:
    """Print cases and goals."""
    for case in cases:
        print(f"{case.name:<24} {case.title} [{case.missing() or 'installed'}]")
        for goal in case.goals:
            print(f"{'':<24}   {goal.judge(case.name, {}).goal}")
    return 0


def show(args: argparse.Namespace) -> int:
    """Put a result into pictures, or into the document."""
    path = args.out or latest()
    result = read_json(path)
    if args.plots:
        from bench.learning.plots import draw

        for picture in draw(result):
            print(picture)
    if args.update_docs:
        results.update_document(result, find_cases())
        print(f"{results.DOCUMENT} has the result of {path}")
    return 0


def latest() -> Path:
    """The newest result.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    found = sorted(FOLDER.glob("learning-????-??-??.json"))
    if not found:
        raise FileNotFoundError(f"no result in {FOLDER}; run python -m bench.learning first")
    return found[-1]


def run(args: argparse.Namespace, cases: tuple[Case, ...]) -> int:
    """Make the runs that the file lacks, split by split, so that cases take turns."""
    if not 1 <= args.splits <= SPLITS:
        raise ValueError(f"--splits: a number from 1 to {SPLITS} expected, not {args.splits}")
    date = time.strftime("%Y-%m-%d")
    path = args.out or FOLDER / f"learning-{date}{'-quick' if args.quick else ''}.json"
    result = open_result(path, date, machine(), results.versions())
    result.setdefault("readings", [])
    everyone = find_cases((), args.quick)
    for split in range(args.splits):
        for part in ("validation",) if args.validate else ("validation", "test"):
            for case in cases:
                unwatched = part == "validation" and split >= case.curves
                if unwatched or results.is_done(result, case, split, part):
                    continue
                found = _made(case, split, part, result, args)
                if found is not None:
                    order = [c.name for c in everyone]
                    result = results.with_run(result, case, found, order)
                    results.save(result, everyone, path)
    print(path)
    print(path.with_suffix(".md"))
    return 0


def _made(
    case: Case, split: int, part: str, result: Result, args: argparse.Namespace
) -> dict[str, Any] | None:
    """One run, or None where something is not installed."""
    label = f"{case.name}, split {split}, {part}"
    if reason := case.missing():
        print(f"{label}: {reason}", flush=True)
        return None
    if part == "test":
        results.check_reading(result, case, split)
    about = {"split": split, "part": part, "load": load(), "commit": commit()}
    job = Job(case.name, split, part, part, args.quick, args.threads)  # type: ignore[arg-type]
    found: dict[str, Any] = {**about, **worked(job, case)} | {
        "when": time.strftime("%Y-%m-%d %H:%M:%S")
    }
    print(f"{label}: {100 * found['accuracy']:.2f} %, {found['seconds']:.1f} s", flush=True)
    return found


def worked(job: Job, case: Case) -> dict[str, Any]:
    """The result of a job, in a process of its own.

    Raises
    ------
    OSError
        When the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="tn-qnn-bench-") as name:
        folder = Path(name)
        if case.runner == "jax":
            _process(Job(job.case, job.split, "start", job.of, job.quick, job.threads), folder)
        _process(job, folder)
        found: dict[str, Any] = read_json(folder / "result.json")
        return found


def _process(job: Job, folder: Path) -> None:
    job.save(folder)
    command = [sys.executable, "-m", "bench.learning.worker", str(folder)]
    variables = os.environ | environment(job.threads)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{job.case}, split {job.split}, {job.part}:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
