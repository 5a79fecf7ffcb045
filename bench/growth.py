"""How our time grows: the sweeps behind the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import circuits
from bench.cases import Case, Problem
from bench.goals import OURS
from bench.machine import machine, versions
from bench.measure import Measurement, Settings
from tn_qnn.files import write_json


@dataclass(frozen=True)
class Sweep:
    """One variable against the time of a call.

    Attributes
    ----------
    name, axis
        For the file, and along the horizontal axis.
    note
        What stays the same.
    values
        Of the variable.
    case
        A value to its case.
    """

    name: str
    axis: str
    note: str
    values: tuple[int, ...]
    case: Callable[[int], Case]


def _line(depth: int, n: int) -> Problem:
    return Problem((circuits.line(depth, n),), (n // 2,))


def _all_qubits(n: int) -> Problem:
    return Problem((circuits.line(4, n),), tuple(range(n)))


def _case(value: int, name: str, build: Callable[[], Problem], sets: int, samples: int) -> Case:
    return Case(f"growth-{name}-{value}", f"{name} {value}", build, (), (), sets, samples)


SWEEPS = (
    Sweep(
        "depth",
        "depth",
        "line of 64 qubits, one readout, 2 x 256",
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
        lambda d: _case(d, "depth", partial(_line, d, 64), 2, 256),
    ),
    Sweep(
        "width",
        "qubits, each read out",
        "line, depth 4, 2 x 16",
        (16, 32, 64, 128, 256, 512, 1024, 2048),
        lambda n: _case(n, "width", partial(_all_qubits, n), 2, 16),
    ),
    Sweep(
        "samples",
        "samples",
        "line of 64, depth 6, one readout, 2 parameter sets",
        (1, 4, 16, 64, 256, 1024, 4096, 16384),
        lambda s: _case(s, "samples", partial(_line, 6, 64), 2, s),
    ),
    Sweep(
        "sets",
        "parameter sets",
        "line of 64, depth 6, one readout, 256 samples",
        (1, 2, 4, 8, 16, 32, 64, 128),
        lambda p: _case(p, "sets", partial(_line, 6, 64), p, 256),
    ),
)


def growth_case(name: str) -> Case:
    """The case of one point, by its name: workers look it up."""
    _, sweep, value = name.split("-")
    (found,) = (s for s in SWEEPS if s.name == sweep)
    return found.case(int(value))


def measure_growth(path: Path, settings: Settings, say: Callable[[str], None] = print) -> None:
    """Measure all sweeps; write one JSON file."""
    settings = replace(settings, rounds=min(settings.rounds, 3))
    points: dict[str, list[dict[str, Any]]] = {}
    for sweep in SWEEPS:
        values = sweep.values[:3] if settings.quick else sweep.values
        points[sweep.name] = []
        for value in values:
            case = sweep.case(value)
            say(f"{sweep.name} {value}")
            measurement = Measurement(case, settings, say)
            entry = measurement.run(())[OURS]
            points[sweep.name].append({"value": value, "evaluations": case.evaluations} | entry)
    write_json(path, {"machine": machine(), "versions": versions(), "points": points})
