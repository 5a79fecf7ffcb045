"""Result files of the GPU: figures and goals as on the CPU, and every launch of ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.goals import OURS
from bench.gpu.peers import GPU_PEERS
from bench.gpu.setup import Driver
from bench.machine import machine
from bench.results import FOLDER, REACHED, Result, figures, goals, table
from tn_qnn import __version__
from tn_qnn.backends.cuda.ceilings import DEVICES, matching
from tn_qnn.backends.cuda.prediction import scaled, seconds_text
from tn_qnn.files import write_atomic, write_json

DOCUMENT = Path(__file__).parents[2] / "docs" / "gpu.md"
NOT_MEASURED = "No GPU has run this benchmark yet: every goal is open."


def short_name(device: str) -> str:
    """A device's name as part of a file name.

    Examples
    --------
    >>> short_name("NVIDIA H100 80GB HBM3"), short_name("NVIDIA L40S")
    ('h100', 'nvidia-l40s')
    """
    known = matching(device)
    return re.sub(r"[^a-z0-9]+", "-", (known.name if known else device).lower()).strip("-") or "gpu"


def versions() -> dict[str, str]:
    """Versions of all that is measured."""
    found = {name: v for peer in GPU_PEERS.values() for name, v in peer.versions().items()}
    return dict(sorted(found.items())) | {"tn-qnn": __version__}


def about(driver: Driver) -> dict[str, str | int]:
    """The machine with its GPU."""
    knows = f"{driver.version // 1000}.{driver.version % 1000 // 10}"
    return {**machine(), "gpu": driver.name, "driver": f"for CUDA {knows}"}


def save(result: Result, path: Path) -> None:
    """Write the JSON and, beside it, the tables; each whole or not at all."""
    write_json(path, result)
    write_atomic(path.with_suffix(".md"), markdown(result).encode())


def latest() -> Path | None:
    """The newest full result of a GPU, None where there is none."""
    found = sorted(FOLDER.glob("*-bench-*.json"), key=lambda path: path.stem[-10:])
    return found[-1] if found else None


def markdown(result: Result) -> str:
    """Machine, figures, goals and launches as Markdown."""
    machine = result["machine"]
    lines = [
        f"Measured on {result['date']}: {machine['gpu']}, driver {machine['driver']};"
        f" {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.",
        "",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        "",
    ]
    parts = {"Figures": figures, "Goals": goals, "Launches": launches}
    for title, make in parts.items():
        lines += [f"### {title}", "", *make(result["cases"]), ""]
    return "\n".join(lines)


def launches(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Our stages of every case: what the ceilings allow, what was predicted, what was measured."""
    rows = []
    for case in cases:
        for k, stage in enumerate(case["entries"].get(OURS, {}).get("stages", ())):
            rows.append(
                (
                    case["title"] if k == 0 else "",
                    stage["stage"],
                    *(seconds_text(stage[x]) for x in ("ceiling", "predicted", "measured")),
                    f"{stage['ceiling'] / stage['measured']:.0%}",
                )
            )
    head = ("case", "stage", "by the ceiling", "predicted", "measured", "of the ceiling")
    return table(head, rows, numbers=2)


def not_measured(cases: Sequence[Case]) -> str:
    """The goals where no GPU ran, with the number of cases that have each."""
    judged = [goal.judge({}, case.scale, case.unit_name) for case in cases for goal in case.goals]
    count = Counter((verdict.goal, verdict.measured, verdict.reached) for verdict in judged)
    rows = [
        (goal, f"{number} cases", measured, REACHED[reached])
        for (goal, measured, reached), number in count.items()
    ]
    return "\n".join([NOT_MEASURED, "", *table(("goal", "of", "measured", ""), rows, numbers=4)])


def predictions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the model of the ceilings predicts for some cases."""
    cells = [
        (
            row["title"],
            f"{row['launches']}",
            seconds_text(row["seconds"]),
            f"{1e6 * row['seconds'] / row['evaluations']:.3g}",
            row["limit"],
            scaled(row["bytes"], "B"),
        )
        for row in rows
    ]
    head = (
        "case",
        "launches",
        "a call, predicted",
        "µs an evaluation, predicted",
        "limit",
        "on the device",
    )
    return table(head, cells, numbers=1)


def devices() -> list[str]:
    """The table of devices that the package knows."""
    rows = [
        (
            x.name,
            f"{x.multiprocessors}",
            f"{x.clock / 1e9:.2f} GHz",
            f"{x.fp32 / 1e12:g}",
            f"{x.fp64 / 1e12:g}",
            f"{x.bandwidth / 1e12:.3g}" + (f" ({x.copied / 1e12:.3g})" if x.copied else ""),
            f"{x.shared_bandwidth / 1e12:.0f}",
            f"{x.l2 >> 20} MB",
            f"{x.shared_block >> 10} of {x.shared_multiprocessor >> 10} KB",
            scaled(x.memory, "B"),
            x.source,
        )
        for x in DEVICES.values()
    ]
    head = (
        "device", "multiprocessors", "clock", "FP32, TFLOP/s", "FP64, TFLOP/s",
        "memory (copied), TB/s", "shared memory, TB/s", "L2", "shared, a block", "memory", "source",
    )  # fmt: skip
    return table(head, rows, numbers=1)


def between(text: str, mark: str, new: str) -> str:
    """Text with what stands between ``<!-- mark -->`` and ``<!-- /mark -->`` replaced.

    Raises
    ------
    ValueError
        When the text lacks the marks.

    Examples
    --------
    >>> between("a <!-- x -->old<!-- /x --> b", "x", "new")
    'a <!-- x -->\\nnew\\n<!-- /x --> b'
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"expected one {begin!r} and one {end!r}")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{new}\n{end}{rest.partition(end)[2]}"
