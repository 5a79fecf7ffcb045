"""Pictures: that they are drawn for any names and lengths, without a warning."""

import numpy as np
import pytest

from tn_qnn.cli.pictures import (
    confusion_picture,
    prediction_picture,
    smoothed,
    training_picture,
)
from tn_qnn.train.history import History, Row

NAN = float("nan")
PNG = b"\x89PNG\r\n\x1a\n"


def history(steps: int) -> History:
    rows = [
        Row(k, k / 5, 1 / k, 1 / k if k % 10 == 0 else NAN, 0.5 if k % 10 == 0 else NAN,
            k, k / 9, 0.1, 0.1)
        for k in range(1, steps + 1)
    ]  # fmt: skip
    return History(tuple(rows))


@pytest.mark.parametrize("steps", [1, 2, 10, 300])
def test_training_of_any_length(tmp_path, steps):
    levels = {"accuracy, test": 0.6, "logistic regression": 0.9, "majority class": 0.1}
    training_picture(tmp_path / "t.png", "a$b_{$ \u8cea", history(steps), "accuracy", levels)
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    "names", [["a", "b"], ["$x_{", "a very long name indeed", ""], [str(k) for k in range(60)]]
)
def test_confusion_of_any_classes(tmp_path, names):
    counts = np.arange(len(names) ** 2).reshape(len(names), -1) // 2
    confusion_picture(tmp_path / "c.png", "title", names, counts)
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)


def test_predictions(tmp_path):
    true = np.zeros(5)
    prediction_picture(tmp_path / "p.png", "title", "$", true, true)
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)


def test_the_running_mean_keeps_a_line_and_the_mean_s_range():
    values = np.random.default_rng(0).normal(size=500)
    mean = smoothed(values)
    assert mean.shape == values.shape and mean.std() < values.std() / 2
    assert smoothed(np.full(40, 2.0)) == pytest.approx(np.full(40, 2.0))
