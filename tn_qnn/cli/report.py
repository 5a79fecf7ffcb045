"""What ``train`` says and writes when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tn_qnn.cli.baselines import baseline_scores
from tn_qnn.cli.data import REGRESSION, Dataset, Split
from tn_qnn.cli.pictures import confusion_picture, prediction_picture, training_picture
from tn_qnn.cli.runs import METRICS, as_numbers
from tn_qnn.files import write_json
from tn_qnn.models.explain import Explanation

if TYPE_CHECKING:
    from tn_qnn.train import TrainResult

TRAINING, CONFUSION, PREDICTIONS = "training.png", "confusion.png", "predictions.png"


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes
    ----------
    score
        "accuracy" or "R²".
    test
        Score on the test rows.
    baselines
        Scores of simple models on the same split.
    steps, seconds, evaluations, backend
        Of the training.
    plan
        What one call of the model in a step costs.
    """

    score: str
    test: float
    baselines: dict[str, float]
    steps: int
    seconds: float
    evaluations: int
    backend: str
    plan: Explanation

    @property
    def steps_per_second(self) -> float:
        """Training steps a second."""
        return self.steps / max(self.seconds, 1e-9)

    @property
    def evaluations_per_second(self) -> float:
        """Model evaluations a second: one is one sample with one set of weights."""
        return self.evaluations / max(self.seconds, 1e-9)


def make_outcome(
    dataset: Dataset, parts: Split, predicted: Any, result: TrainResult, plan: Explanation
) -> Outcome:
    """Score predictions for the test rows, and the baselines."""
    from sklearn.metrics import accuracy_score, r2_score

    regression = dataset.task == REGRESSION
    score = (r2_score if regression else accuracy_score)(parts.test.y, predicted)
    return Outcome(
        score="R²" if regression else "accuracy",
        test=float(score),
        baselines=baseline_scores(dataset.task, parts.train, parts.test),
        steps=result.step,
        seconds=result.seconds,
        evaluations=result.evaluations,
        backend=result.backend,
        plan=plan,
    )


def write_outcome(
    folder: Path, dataset: Dataset, parts: Split, predicted: Any, result: TrainResult, end: Outcome
) -> None:
    """Write metrics and pictures."""
    from sklearn.metrics import confusion_matrix

    metrics = {
        "score": "R2" if dataset.task == REGRESSION else end.score,
        "test": end.test,
        "baselines": end.baselines,
        "rows": {"train": len(parts.train), "validation": len(parts.validation),
                 "test": len(parts.test)},
        "steps": end.steps,
        "seconds": end.seconds,
        "evaluations": end.evaluations,
        "backend": end.backend,
        "steps_per_second": end.steps_per_second,
        "evaluations_per_second": end.evaluations_per_second,
        "plan": {
            "topologies": len(end.plan.jobs),
            "cones": sum(job.cones for job in end.plan.jobs),
            "multiply_adds": end.plan.multiply_adds,
            "width": max(job.width for job in end.plan.jobs),
            "peak_bytes": end.plan.peak_bytes,
        },
    }  # fmt: skip
    write_json(folder / METRICS, as_numbers(metrics))
    title = f"{dataset.name}: test {end.score} {end.test:.3f} after {end.steps} steps"
    levels = {f"{end.score}, test": end.test, **end.baselines}
    training_picture(folder / TRAINING, title, result.history, end.score, levels)
    if dataset.task == REGRESSION:
        prediction_picture(folder / PREDICTIONS, title, dataset.target, parts.test.y, predicted)
    else:
        names = sorted({*parts.test.y.tolist(), *parts.train.y.tolist()})
        counts = confusion_matrix(parts.test.y, predicted, labels=names)
        confusion_picture(folder / CONFUSION, title, list(map(str, names)), counts)


def summary(folder: Path, rows: int, end: Outcome, files: Sequence[tuple[str, str]]) -> str:
    """The page that is printed."""
    scores = {f"test {end.score}": end.test, **{f"  {n}": s for n, s in end.baselines.items()}}
    width = max(map(len, scores))
    lines = [f"{name:<{width}}  {value:.4f}" for name, value in scores.items()]
    lines[0] += f"  ({rows} rows that the training has not seen)"
    cones = sum(job.cones for job in end.plan.jobs)
    plans = len(end.plan.jobs)
    lines += [
        "",
        f"{end.steps} steps in {end.seconds:.1f} s: {end.steps_per_second:.1f} steps/s,"
        f" {end.evaluations_per_second:,.0f} evaluations/s; backend: {end.backend}",
        f"plan: {cones} cones in {plans} {'topology' if plans == 1 else 'topologies'},"
        f" {end.plan.multiply_adds:.3g} multiply-adds for the outputs of a step",
        "",
        f"in {folder}:",
    ]
    width = max(len(name) for name, _ in files)
    return "\n".join([*lines, *(f"  {name:<{width}}  {what}" for name, what in files)])
