"""Runs of tn_qnn: a classifier is fitted, and its weights are kept on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learning.data import TASKS, Part, split
from bench.learning.trained import Mark, Trained
from tn_qnn.models.estimators import QNNClassifier
from tn_qnn.train.callbacks import Report

Array = NDArray[Any]


@dataclass
class Watch:
    """A callback that keeps time and weights every so many steps, and after the last one.

    Attributes
    ----------
    every
        Steps.
    begin
        When the run began, by ``time.perf_counter``.
    """

    every: int
    begin: float
    marks: list[Mark] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)

    def __call__(self, report: Report) -> None:
        """Keep what is asked for."""
        row = report.row
        if row.step % self.every == 0 or row.step == report.steps:
            self.marks.append((row.step, row.evaluations, time.perf_counter() - self.begin))
            self.weights.append(np.array(report.weights))


def train(classifier: QNNClassifier, part: Part, held: Part, every: int) -> Trained:
    """Fit a classifier; making the model, planning and compiling are timed."""
    watch = Watch(every, time.perf_counter())
    classifier.set_params(callbacks=(watch,)).fit(part.X, part.y)

    def score(weights: Array) -> float:
        classifier.weights_ = weights
        return float(classifier.score(held.X, held.y))

    result = classifier.result_
    facts = {"weights": classifier.model_.num_weights, "backend": result.backend}
    return Trained(result.history["loss"].tolist(), watch.marks, watch.weights, score, facts)


def warm_up(classifier: QNNClassifier) -> None:
    """Fit to pictures of another size for two steps: compiled kernels are loaded then."""
    part = split(TASKS["tiny"], 0).training
    X = part.X[:16].reshape(-1, 4, 4)[:, :3, :3].reshape(-1, 9)
    classifier.set_params(steps=2, encoding="angle").fit(X, part.y[:16])
