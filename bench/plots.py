"""Pictures of how time grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.goals import OURS
from bench.growth import SWEEPS, Sweep
from bench.results import latest
from tn_qnn.files import read_json

FOLDER = Path(__file__).parents[1] / "docs" / "img"
# Okabe and Ito's colours: told apart by everyone.
COLOURS = {
    OURS: "#0072B2",
    "cotengra-numpy": "#009E73",
    "cotengra-our-path": "#000000",
    "tensorcircuit-ng": "#D55E00",
    "qiskit-aer": "#CC79A7",
    "quimb": "#E69F00",
    "pennylane-tn": "#56B4E9",
}
STEADY, FIRST = "#0072B2", "#999999"


def draw(path: Path, folder: Path = FOLDER) -> list[Path]:
    """One picture of all sweeps, and one of the line's depth beside the peers; their files."""
    import matplotlib

    matplotlib.use("Agg")
    points = read_json(path)["points"]
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [_growth(points, folder / "growth.png")]
    try:
        result = read_json(latest())
    except FileNotFoundError:
        return pictures
    if not any(case["name"].startswith("line-") for case in result["cases"]):
        return pictures
    return [*pictures, _peers(result, folder / "depth-peers.png")]


def styled(axes: Any, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=10, color="#444444")
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _growth(points: dict[str, list[dict[str, Any]]], path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(10, 7.2), layout="constrained")
    for axes, sweep in zip(grid.flat, SWEEPS, strict=True):
        _sweep(axes, sweep, _measured(sweep, points[sweep.name]))
    grid[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _measured(sweep: Sweep, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [p for p in points if "median" in p]
    if not found:
        raise ValueError(f"{sweep.name}: no point was measured ({points[0].get('reason')})")
    return found


def _sweep(axes: Any, sweep: Sweep, points: list[dict[str, Any]]) -> None:
    x = [p["value"] for p in points]
    axes.plot(x, [1e3 * p["first"] for p in points], "s--", color=FIRST, ms=4, label="first call")
    axes.plot(
        x, [1e3 * p["median"] for p in points], "o-", color=STEADY, ms=5, label="steady state"
    )
    axes.fill_between(
        x,
        [1e3 * p["min"] for p in points],
        [1e3 * p["max"] for p in points],
        color=STEADY,
        alpha=0.15,
        linewidth=0,
    )
    axes.set_yscale("log")
    if sweep.name != "depth":
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8)
    else:
        axes.set_xticks(x)
    styled(axes, sweep.axis, "ms a call", sweep.note)


def _peers(result: dict[str, Any], path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, pair = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    lines = [case for case in result["cases"] if case["name"].startswith("line-")]
    for axes, key, label in zip(
        pair, ("median", "first"), ("µs an evaluation", "first call, s"), strict=True
    ):
        for name, colour in COLOURS.items():
            shown = [
                (int(case["name"][5:]), case["entries"][name][key] * _scale(case, key))
                for case in lines
                if key in case["entries"].get(name, {})
            ]
            axes.plot(*zip(*shown, strict=True), "o-", color=colour, label=name) if shown else None
        axes.set_yscale("log")
        axes.set_xticks([int(case["name"][5:]) for case in lines])
        styled(axes, "depth", label, "line of 64, 2 x 256, one readout")
    pair[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _scale(case: dict[str, Any], key: str) -> float:
    return float(case["scale"]) if key == "median" else 1.0
