"""Pictures of a run. Figures are made without pyplot: no window, no state that is shared."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tn_qnn.files import write_atomic
from tn_qnn.train.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d9660f", "#707070"
MOST_NAMED = 25  # classes, above which a confusion matrix goes without numbers


def training_picture(
    path: Path, title: str, history: History, score: str, levels: dict[str, float]
) -> None:
    """Loss and validation score over the steps, with other scores as horizontal lines.

    Parameters
    ----------
    path
        PNG file.
    title
        Above the picture.
    history
        Of the run.
    score
        What the score is called.
    levels
        Scores to compare with, by name.
    """
    figure = _figure(7.5, 7.2)
    loss_axes, score_axes = figure.subplots(2, sharex=True)
    steps, loss = history["step"], history["loss"]
    checked = np.isfinite(history["validation_loss"])
    loss_axes.plot(steps, loss, color=BLUE, alpha=0.25, lw=0.7, label="minibatch")
    loss_axes.plot(steps, smoothed(loss), color=BLUE, lw=1.8, label="minibatch, running mean")
    loss_axes.plot(steps[checked], history["validation_loss"][checked], "o-", color=ORANGE,
                   ms=3.5, lw=1.2, label="validation")  # fmt: skip
    loss_axes.set_ylabel("loss")
    loss_axes.set_title(_plain(title), loc="left", fontweight="bold")
    loss_axes.legend(frameon=False)
    score_axes.plot(steps[checked], history["validation_score"][checked], "o-", color=ORANGE,
                    ms=3.5, lw=1.5, label=f"{score}, validation")  # fmt: skip
    for style, (name, value) in zip(("-", "--", ":", "-."), levels.items(), strict=False):
        color = BLUE if style == "-" else GREY
        score_axes.axhline(value, color=color, ls=style, lw=1.3, label=f"{name} ({value:.3f})")
    score_axes.set_ylabel(score)
    score_axes.set_xlabel("step")
    score_axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2)
    score_axes.set_xlim(0, steps[-1])
    _add_time(loss_axes, steps, history["seconds"])
    for axes in (loss_axes, score_axes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def confusion_picture(path: Path, title: str, names: list[str], counts: NDArray[np.int64]) -> None:
    """Confusion matrix: colour is the share of the true class, numbers are samples.

    Parameters
    ----------
    path
        PNG file.
    title
        Above the picture.
    names
        Of the classes, in the order of rows and columns.
    counts
        Shape (classes, classes), true class first.
    """
    size = min(max(4.6, 1.8 + 0.5 * len(names)), 14.0)
    figure = _figure(size + 0.9, size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(_plain(title), loc="left", fontweight="bold")
    if len(names) <= MOST_NAMED:
        short = [_plain(n if len(n) <= 14 else n[:13] + "…") for n in names]
        axes.set_xticks(range(len(names)), short)
        if max(map(len, short)) > 3:
            axes.tick_params(axis="x", rotation=30)
        axes.set_yticks(range(len(names)), short)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[i, j] > 0.55 else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=color, fontsize=9)
    _save(figure, path)


def prediction_picture(
    path: Path, title: str, target: str, true: NDArray[Any], predicted: NDArray[Any]
) -> None:
    """Predicted over true numbers, shapes (S,); the diagonal is what is wanted."""
    figure = _figure(5.6, 5.2)
    axes = figure.subplots()
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color=GREY, lw=1.2, ls="--", label="exact")
    axes.scatter(true, predicted, s=16, color=BLUE, alpha=0.6, linewidths=0, label="test rows")
    axes.set_xlabel(_plain(f"{target}, true"))
    axes.set_ylabel(_plain(f"{target}, predicted"))
    axes.set_title(_plain(title), loc="left", fontweight="bold")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path)


def smoothed(values: NDArray[np.float64], share: float = 0.03) -> NDArray[np.float64]:
    """Running mean over a share of the values, shorter windows at the ends.

    Examples
    --------
    >>> smoothed(np.array([1.0, 3.0, 5.0]), share=1.0)
    array([2., 3., 4.])
    """
    half = int(share * len(values)) // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    means: NDArray[np.float64] = (total[last] - total[first]) / (last - first)
    return means


def _add_time(axes: Axes, steps: NDArray[Any], seconds: NDArray[Any]) -> None:
    """Say above the steps when they were done; time does not run evenly, so it has no scale."""
    above = axes.secondary_xaxis("top")
    shown = [step for step in axes.get_xticks() if 0 <= step <= steps[-1]]
    times = np.interp(shown, [0, *steps], [0.0, *seconds])
    above.set_xticks(shown, [f"{time:.3g}" for time in times])
    above.set_xlabel("seconds")


def _plain(text: str) -> str:
    """A name as matplotlib draws it, dollar signs and all."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A name may hold letters that the font lacks: they are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(stream, format="png", dpi=130)
    write_atomic(path, stream.getvalue())
