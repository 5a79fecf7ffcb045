"""``python -m bench.gpu``: the benchmark on a GPU; each call goes on where the last one stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.gpu.setup import Driver, prepare

if TYPE_CHECKING:
    from bench.cases import Case
    from bench.measure import Settings
    from bench.results import Result

NO_GPU = 3
MINUTES = 10.0
EXAMPLES = """examples:
  python -m bench.gpu                       for at most ten minutes; again for what is left
  python -m bench.gpu --only grid-8         all batches of a circuit, measured again
  python -m bench.gpu --list                cases, goals, peers and whether they are installed
  python -m bench.gpu --predict h100        predicted times; needs no GPU
  python -m bench.gpu --update-docs         results and predictions into docs/gpu.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    say = found.add_argument
    say("--list", action="store_true", help="list cases, goals and peers")
    say("--only", action="append", default=[], metavar="CASE", help="a case or all of a circuit")
    say("--checked", action="store_true", help="the few cases of make gpu-check")
    say("--quick", action="store_true", help="short rounds and limits")
    say("--minutes", type=float, default=MINUTES, help="start no case that could take longer")
    say("--out", type=Path, help="result file (default bench/results/DEVICE-bench-DATE.json)")
    say("--predict", metavar="GPU", help="print predicted times; nothing is measured")
    say("--update-docs", action="store_true", help="put results and predictions into docs/gpu.md")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 where all went well, whatever the figures are; 3 without a GPU."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = parser().parse_args(words)
    try:
        if args.list or args.predict or args.update_docs:
            return told(args)
        if reason := prepare("bench.gpu", words):
            print(f"bench-gpu: not run, not measured: {reason}")
            return NO_GPU
        return run(args, Driver())
    except (ValueError, OSError) as error:
        print(f"bench-gpu: {error}", file=sys.stderr)
        return 2


def told(args: argparse.Namespace) -> int:
    """What needs no GPU."""
    from bench.gpu import predict
    from bench.gpu.cases import find_gpu_cases
    from bench.gpu.peers import GPU_PEERS
    from bench.gpu.results import DOCUMENT, not_measured, predictions
    from tn_qnn.backends.cuda.ceilings import ceilings

    cases = find_gpu_cases(tuple(args.only))
    if args.update_docs:
        predict.update_document()
        print(f"{DOCUMENT} has results and predictions")
    elif args.predict:
        device = ceilings(args.predict)
        print(f"PREDICTED for {device.name}, not measured; {device.source}\n")
        print("\n".join(predictions(predict.predict_cases(cases, device))))
    else:
        print("\n".join(f"{case.name:<24} {case.title}" for case in cases))
        print("\n".join(f"{p.name:<24} {p.missing() or p.how}" for p in GPU_PEERS.values()))
        print(not_measured(cases))
    return 0


def run(
    args: argparse.Namespace,
    driver: Driver,
    measured: Callable[[Case, Settings, Callable[[str], None]], dict[str, Any]] | None = None,
) -> int:
    """Measure cases one by one while there is time; the file is whole after each."""
    from bench.gpu.cases import CHECKED, GPU_CASES, find_gpu_cases
    from bench.gpu.measure import QUICK, SETTINGS, longest, measure
    from bench.gpu.results import about, save, short_name, versions
    from bench.machine import commit
    from bench.results import FOLDER, add, open_result

    date = time.strftime("%Y-%m-%d")
    path = args.out or FOLDER / f"{short_name(driver.name)}-bench-{date}.json"
    result = open_result(path, date, about(driver), versions())
    settings = QUICK if args.quick else SETTINGS
    cases = [c for c in GPU_CASES if c.name in CHECKED] if args.checked else None
    wanted = cases or find_gpu_cases(tuple(args.only))
    done = set() if args.only else {case["name"] for case in result["cases"]}
    end = time.monotonic() + 60 * args.minutes
    names, slowest = [case.name for case in GPU_CASES], 0.0
    for case in wanted:
        if case.name in done:
            continue
        # The first case always runs, or a short --minutes would never get anywhere.
        expected = slowest if args.checked else longest(case, settings)
        start = time.monotonic()
        if slowest and start + expected > end:
            break
        print(f"{case.name}: {case.title}", flush=True)
        record = (measured or measure)(case, settings, _say)
        result = add(result, record | {"commit": commit()}, names)
        save(result, path)
        done.add(case.name)
        slowest = max(slowest, time.monotonic() - start)
    return _ended(result, path, wanted, done)


def _say(text: str) -> None:
    print(text, flush=True)


def _ended(result: Result, path: Path, wanted: Sequence[Case], done: set[str]) -> int:
    """Print the tables and how far it got."""
    from bench.gpu.results import markdown

    left = [case.name for case in wanted if case.name not in done]
    verdicts = [goal["reached"] for case in result["cases"] for goal in case["goals"]]
    print(markdown(result))
    print(f"{path}\n{path.with_suffix('.md')}")
    print(
        f"bench-gpu: {len(wanted) - len(left)} of {len(wanted)} cases measured;"
        f" goals: {verdicts.count(True)} reached, {verdicts.count(False)} not reached,"
        f" {verdicts.count(None)} open" + ("; run it again for the rest" if left else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
