"""Pictures of a result: losses over steps, accuracies over time and over evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.plots import FOLDER, styled

# Okabe and Ito's colours: told apart by everyone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Series = tuple[list[float], list[float]]


def draw(result: Mapping[str, Any], folder: Path = FOLDER) -> list[Path]:
    """A picture for each data set with watched runs; their files.

    Raises
    ------
    ValueError
        When no run was watched.
    """
    import matplotlib

    matplotlib.use("Agg")
    watched = [record for record in result["cases"] if _watched(record) is not None]
    tasks = dict.fromkeys(record["task"] for record in watched)
    if not tasks:
        raise ValueError("no run of this result was watched: there are no curves")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _picture([r for r in watched if r["task"] == task], folder / f"learning-{task}.png")
        for task in tasks
    ]


def _watched(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first watched run with a curve."""
    runs = [run for run in record["runs"] if run["part"] == "validation" and "curve" in run]
    return min(runs, key=lambda run: run["split"], default=None)


def _losses(run: Mapping[str, Any]) -> Series:
    """Means over as many losses as make some hundred points."""
    losses, apart = run["losses"], run["losses_every"]
    width = max(1, len(losses) // 50)
    rows = range(0, len(losses) - width + 1, width)
    means = [sum(losses[k : k + width]) / width for k in rows]
    return [apart * (k + width / 2) for k in rows], means


def _by_time(run: Mapping[str, Any]) -> Series:
    return [look[2] for look in run["curve"]], [100 * look[3] for look in run["curve"]]


def _by_evaluations(run: Mapping[str, Any]) -> Series:
    return [look[1] for look in run["curve"]], [100 * look[3] for look in run["curve"]]


def _picture(records: list[Mapping[str, Any]], path: Path) -> Path:
    import matplotlib.pyplot as plt

    panels: tuple[tuple[Callable[[Any], Series], str, str], ...] = (
        (_losses, "step", "loss of a minibatch"),
        (_by_time, "seconds, compiling included", "validation accuracy, %"),
        (_by_evaluations, "evaluations", "validation accuracy, %"),
    )
    figure, row = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    for axes, (series, x, y) in zip(row, panels, strict=True):
        for k, record in enumerate(records):
            jax = record["runner"] == "jax"
            axes.plot(
                *series(_watched(record)),
                "--" if jax else "-",
                color=COLOURS[k % len(COLOURS)],
                label=record["title"],
            )
        styled(axes, x, y, "first split")
    row[0].set_yscale("log")
    row[1].set_xscale("log")
    row[2].set_xscale("log")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  frameon=False, fontsize=8)  # fmt: skip
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
