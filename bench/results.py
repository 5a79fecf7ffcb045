"""Result files: one JSON a day, and the tables made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import OURS
from tn_qnn.files import read_json, write_atomic, write_json

FORMAT = 1
FOLDER = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
REACHED = {True: "reached", False: "**not reached**", None: "open"}

Result = dict[str, Any]


class OtherMachineError(ValueError):
    """A result file is of another machine or of other versions."""


def open_result(
    path: Path, date: str, machine: Mapping[str, Any], versions: Mapping[str, Any]
) -> Result:
    """The result in a file, to be added to; a new one where there is no file.

    Raises
    ------
    OtherMachineError
        When the file is of another machine or other versions: figures would not compare.
    """
    here: Result = {
        "format": FORMAT,
        "date": date,
        "machine": machine,
        "versions": versions,
        "cases": [],
    }
    if not path.exists():
        return here
    found: Result = read_json(path)
    for key in ("format", "machine", "versions"):
        if found.get(key) != here[key]:
            raise OtherMachineError(f"{path}: {key} differ from those here; choose another --out")
    return found


def add(result: Result, record: Mapping[str, Any], order: Sequence[str]) -> Result:
    """A result with a case's record added or replaced, in the order of the cases."""
    kept = [case for case in result["cases"] if case["name"] != record["name"]]
    cases = sorted([*kept, record], key=lambda case: order.index(case["name"]))
    return {**result, "cases": cases}


def save(result: Result, path: Path) -> None:
    """Write the JSON and, beside it, the tables."""
    write_json(path, result)
    write_atomic(path.with_suffix(".md"), markdown(result).encode())


def latest() -> Path:
    """The newest full result.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    found = sorted(p for p in FOLDER.glob("cpu-*.json") if not p.stem.endswith("-quick"))
    if not found:
        raise FileNotFoundError(f"no result in {FOLDER}; run python -m bench first")
    return found[-1]


def markdown(result: Result) -> str:
    """Machine, figures and goals as Markdown."""
    about = result["machine"]
    lines = [
        f"Measured on {result['date']}: {about['cpu']}, {about['cores']} cores,"
        f" {about['memory_gb']} GB, Python {about['python']}.",
        "",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        "",
    ]
    for title, table in (("Figures", figures(result["cases"])), ("Goals", goals(result["cases"]))):
        lines += [f"### {title}", "", *table, ""]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> list[str]:
    """A Markdown table; all columns from ``numbers`` on are aligned right."""
    rule = ["---" if k < numbers else "--:" for k in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def figures(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Steady state, first call and memory by case and peer."""
    rows = []
    for case in cases:
        ours = case["entries"].get(OURS, {})
        for name, entry in case["entries"].items():
            first = name == OURS
            rows.append(
                (
                    f"{case['title']}, {case['unit']}" if first else "",
                    f"**{name}**" if first else name,
                    *_figures(entry, ours, case["scale"]),
                )
            )
    head = ("case", "", "steady", "min to max", "ratio", "first call, s", "ratio", "peak, MB")
    return table(head, rows, numbers=2)


def _figures(entry: Mapping[str, Any], ours: Mapping[str, Any], scale: float) -> tuple[str, ...]:
    if "median" not in entry and "first" not in entry:
        return (entry.get("reason", "?"), "", "", "", "", "")
    steady, spread = entry.get("reason", ""), ""
    if "median" in entry:
        steady = _number(scale * entry["median"]) + ("*" if entry["extrapolated"] else "")
        steady += " (wrong)" if entry["status"] == "wrong" else ""
        spread = f"{_number(scale * entry['min'])} to {_number(scale * entry['max'])}"
    first = _number(entry["first"]) if "first" in entry else ""
    peak = _number(entry["peak_bytes"] / 1e6)
    return (
        steady,
        spread,
        _ratio(entry, ours, "median"),
        first,
        _ratio(entry, ours, "first"),
        peak,
    )


def _ratio(entry: Mapping[str, Any], ours: Mapping[str, Any], key: str) -> str:
    if entry is ours or key not in entry or key not in ours:
        return ""
    return f"{_number(entry[key] / ours[key])}x"


def _number(value: float) -> str:
    """Three digits, thousands by commas."""
    if value == 0 or not abs(value) < 1e15:
        return f"{value:g}"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}" if abs(value) >= 0.1 else f"{value:.3g}"


def goals(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every goal with what was measured."""
    rows = []
    for case in cases:
        for k, verdict in enumerate(case["goals"]):
            title = case["title"] if k == 0 else ""
            rows.append((title, verdict["goal"], verdict["measured"], REACHED[verdict["reached"]]))
    return table(("case", "goal", "measured", ""), rows, numbers=4)


def update_document(result: Result, path: Path = DOCUMENT) -> None:
    """Put the tables into the document."""
    put_between_marks(path, markdown(result))


def put_between_marks(path: Path, tables: str) -> None:
    """Put tables between the marks of a document.

    Raises
    ------
    ValueError
        When the document lacks the marks.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path}: expected one {BEGIN!r} and one {END!r}")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    new = f"{head}{BEGIN}\n{tables}\n{END}{tail}"
    write_atomic(path, new.encode())
