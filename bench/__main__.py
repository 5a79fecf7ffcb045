"""``python -m bench``: run the cases, draw the growth, update the documents."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CASES, Case, find_cases
from bench.machine import commit, load, machine, versions
from bench.measure import Settings, measure
from bench.peers import PEERS
from bench.results import (
    DOCUMENT,
    FOLDER,
    OtherMachineError,
    add,
    figures,
    goals,
    latest,
    open_result,
    save,
    update_document,
)
from tn_qnn.files import read_json

EXAMPLES = """examples:
  python -m bench --list
  python -m bench --only line --only grid-4
  python -m bench --resume                  what today's file lacks
  python -m bench --quick --without-peers   a try, in seconds
  python -m bench --plots                   how time grows, as pictures in docs/img/
  python -m bench --update-docs             the newest result into docs/benchmarks.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    say = found.add_argument
    say("--list", action="store_true", help="list cases, peers and goals")
    say("--only", action="append", default=[], metavar="CASE", help="a case or a group of cases")
    say("--peers", action="append", metavar="PEER", help="only these peers")
    say("--without-peers", action="store_true", help="measure tn_qnn alone")
    say("--quick", action="store_true", help="small batches, two rounds: to try the benchmark")
    say("--resume", action="store_true", help="leave out cases that the result file has")
    say("--rounds", type=int, help="turns of every peer (default 7)")
    say("--limit", type=float, help="seconds for a first call of a whole batch (default 180)")
    say("--threads", type=int, default=2, help="cores for everyone (default 2)")
    say("--out", type=Path, help="result file (default bench/results/cpu-DATE.json)")
    say("--plots", action="store_true", help="measure and draw how time grows; nothing else")
    say("--update-docs", action="store_true", help="put the newest result into the documents")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 where all went well, whatever the figures are."""
    args = parser().parse_args(arguments)
    try:
        if args.list:
            return list_cases(find_cases(tuple(args.only)))
        if args.plots:
            return plots(args)
        if args.update_docs:
            path = args.out or latest()
            update_document(read_json(path))
            print(f"{DOCUMENT} has the result of {path}")
            return 0
        return run(args)
    except (ValueError, OSError, OtherMachineError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def list_cases(cases: tuple[Case, ...]) -> int:
    """Print cases and peers."""
    for case in cases:
        print(f"{case.name:<20} {case.title}")
        for goal in case.goals:
            print(f"{'':<20}   {goal.judge({}, case.scale, case.unit_name).goal}")
    print("\npeers:")
    for peer in PEERS.values():
        print(f"{peer.name:<20} {peer.how} [{peer.missing() or 'installed'}]")
    return 0


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings with what the command line changes."""
    base = Settings.fast() if args.quick else Settings()
    changes = {"threads": args.threads, "rounds": args.rounds, "first_limit": args.limit}
    return replace(base, **{name: value for name, value in changes.items() if value is not None})


def run(args: argparse.Namespace) -> int:
    """Measure cases one by one; the file is whole after each."""
    date = time.strftime("%Y-%m-%d")
    path = args.out or FOLDER / f"cpu-{date}{'-quick' if args.quick else ''}.json"
    unknown = sorted(set(args.peers or ()) - set(PEERS))
    if unknown:
        raise ValueError(f"no peer is named {unknown[0]!r}; known: {', '.join(PEERS)}")
    settings = settings_of(args)
    result = open_result(path, date, machine(), versions())
    done = {case["name"] for case in result["cases"]} if args.resume else set()
    if load() > 0.5:
        print(f"The machine is not quiet (load {load()}): figures will be too high.")
    for case in find_cases(tuple(args.only)):
        if case.name in done:
            continue
        start = time.monotonic()
        print(f"{case.name}: {case.title}", flush=True)
        wanted = [] if args.without_peers else [p for p in case.peers if p in (args.peers or PEERS)]
        busy = load()
        record = measure(case, wanted, settings, lambda text: print(text, flush=True))
        result = add(result, record | {"load": busy, "commit": commit()}, [c.name for c in CASES])
        save(result, path)
        print_case(record, time.monotonic() - start)
    print(path)
    print(path.with_suffix(".md"))
    return 0


def print_case(record: dict[str, Any], seconds: float) -> None:
    """A case's tables."""
    print("\n".join([*figures([record]), "", *goals([record])]))
    print(f"  took {seconds:.0f} s\n", flush=True)


def plots(args: argparse.Namespace) -> int:
    """Measure how time grows, and draw it."""
    from bench.growth import measure_growth
    from bench.plots import draw

    path = args.out or FOLDER / "growth.json"
    measure_growth(path, settings_of(args))
    for picture in draw(path):
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
