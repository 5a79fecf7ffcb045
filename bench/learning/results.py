"""The result file: runs of each case, and a record of every reading of a test part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import tn_qnn
from bench.learning.cases import Case
from bench.results import REACHED, Result, put_between_marks, table
from tn_qnn.files import write_atomic, write_json

DOCUMENT = Path(__file__).parents[2] / "docs" / "learning.md"
PACKAGES = ("numpy", "numba", "scikit-learn", "scipy", "jax", "jaxlib", "mlxtend")


class AlreadyReadError(ValueError):
    """A configuration would read a test part again, or under a name that has read it."""


def versions() -> dict[str, str]:
    """Versions of all that takes part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"tn-qnn": tn_qnn.__version__}


def runs_of(result: Result, case: Case) -> list[dict[str, Any]]:
    """The runs of a case as it is configured now."""
    return [
        run
        for record in result["cases"]
        if record["name"] == case.name and record["digest"] == case.digest
        for run in record["runs"]
    ]


def is_done(result: Result, case: Case, split: int, part: str) -> bool:
    """Whether a run is in the file."""
    return any((run["split"], run["part"]) == (split, part) for run in runs_of(result, case))


def check_reading(result: Result, case: Case, split: int) -> None:
    """Refuse a second reading of a test part.

    Raises
    ------
    AlreadyReadError
        When the configuration has read this split's test part, or another one of the same name.
    """
    for reading in result["readings"]:
        if (reading["digest"], reading["split"]) == (case.digest, split):
            raise AlreadyReadError(
                f"{case.name}: has read the test part of split {split} on {reading['when']};"
                " a configuration reads it once"
            )
        if reading["case"] == case.name and reading["digest"] != case.digest:
            raise AlreadyReadError(
                f"{case.name}: was configured otherwise when it read a test part on"
                f" {reading['when']}; give the new configuration another name"
            )


def with_run(result: Result, case: Case, run: Mapping[str, Any], order: Sequence[str]) -> Result:
    """The result with one more run, and where it read a test part, with that reading.

    Runs of another configuration of that name, which read no test part, are left out.
    """
    record = case.facts() | {"runs": [*runs_of(result, case), dict(run)]}
    kept = [found for found in result["cases"] if found["name"] != case.name]
    cases = sorted([*kept, record], key=lambda found: order.index(found["name"]))
    readings = list(result["readings"])
    if run["part"] == "test":
        about = {"case": case.name, "digest": case.digest}
        readings.append(about | {key: run[key] for key in ("split", "when", "accuracy")})
    return {**result, "cases": cases, "readings": readings}


def update_document(result: Result, cases: Sequence[Case], path: Path = DOCUMENT) -> None:
    """Put the tables into the document."""
    put_between_marks(path, markdown(result, cases))


def save(result: Result, cases: Sequence[Case], path: Path) -> None:
    """Write the JSON and, beside it, the tables."""
    write_json(path, result)
    write_atomic(path.with_suffix(".md"), markdown(result, cases).encode())


def markdown(result: Result, cases: Sequence[Case]) -> str:
    """Machine, figures and goals as Markdown."""
    about = result["machine"]
    lines = [
        f"Measured on {result['date']}: {about['cpu']}, {about['cores']} cores,"
        f" {about['memory_gb']} GB, Python {about['python']}.",
        "",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        "",
        "### Figures",
        "",
        *figures(result["cases"]),
        "",
        "### Goals",
        "",
        *goals(result, cases),
        "",
        f"Readings of test parts: {len(result['readings'])}, one by each configuration and split.",
        "",
    ]
    return "\n".join(lines)


def figures(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Accuracy, time, steps, evaluations and memory by case."""
    head = ("data", "case", "test, %", "validation, %", "splits", "s", "steps", "evaluations",
            "peak, MB")  # fmt: skip
    return table(head, [_row(record) for record in records], numbers=2)


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    tests, watched = ([run for run in record["runs"] if run["part"] == part]
                      for part in ("test", "validation"))  # fmt: skip
    runs = tests or watched
    return (
        record["task"],
        record["title"],
        _spread([100 * run["accuracy"] for run in tests]),
        _spread([100 * run["accuracy"] for run in watched]),
        str(len(tests)),
        f"{median(run['seconds'] for run in runs):.1f}",
        f"{runs[0]['steps']:,}" if "steps" in runs[0] else "",
        f"{median(run['evaluations'] for run in runs):,.0f}" if "evaluations" in runs[0] else "",
        f"{median(run['peak_bytes'] for run in runs) / 1e6:.0f}",
    )


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    if not values:
        return ""
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def goals(result: Result, cases: Sequence[Case]) -> list[str]:
    """Every goal with what was measured."""
    records = {record["name"]: record for record in result["cases"]}
    rows = []
    for case in cases:
        for k, goal in enumerate(case.goals):
            verdict = goal.judge(case.name, records)
            name = f"{case.task}: {case.title}" if k == 0 else ""
            rows.append((name, verdict.goal, verdict.measured, REACHED[verdict.reached]))
    return table(("case", "goal", "measured", ""), rows, numbers=4)
