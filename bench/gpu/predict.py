"""Predicted times of the cases on a GPU that need not be here, and the document's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.gpu.cases import GPU_CASES
from bench.gpu.results import (
    DOCUMENT,
    between,
    devices,
    latest,
    markdown,
    not_measured,
    predictions,
)
from tn_qnn.backends.cuda.ceilings import Ceilings, ceilings
from tn_qnn.backends.cuda.prediction import predict_job
from tn_qnn.circuit.observables import Z
from tn_qnn.files import read_json, write_atomic
from tn_qnn.models.qnn import QNN

SHARE = 0.5  # of the device's memory that a call may hold, as a model has it by default


def predict_case(case: Case, device: Ceilings) -> dict[str, Any]:
    """A case's prediction: all topologies together, and what takes longest."""
    problem, budget = case.build(), int(SHARE * device.memory)
    model = QNN(
        problem.circuits,
        [Z(q) for q in problem.qubits],
        backend="cpu",
        dtype=problem.dtype,
        memory=budget,
        sets=case.sets,
        samples=case.samples,
    )
    swept = case.task == "gradient"
    executors = (model._gradients if swept else model._prepared(False)).executors
    jobs = [
        predict_job(x.job, case.sets, case.samples, problem.dtype, device, budget)
        for x in executors
    ]
    lines = [
        (job.chunks * x.runs * x.seconds, x.limit) for job in jobs for x in job.lines if x.labels
    ]
    return {
        "title": case.title,
        "evaluations": case.evaluations,
        "launches": sum(job.chunks * sum(x.runs for x in job.lines if x.labels) for job in jobs),
        "seconds": sum(job.seconds for job in jobs),
        "limit": _longest(lines),
        "bytes": sum(job.bytes for job in jobs),
    }


def _longest(lines: Sequence[tuple[float, str]]) -> str:
    """The limit under which most of the time is spent."""
    total: dict[str, float] = {}
    for seconds, limit in lines:
        total[limit] = total.get(limit, 0.0) + seconds
    return max(total, key=lambda limit: total[limit]) if total else "nothing"


def predict_cases(cases: Sequence[Case], device: Ceilings) -> Iterator[dict[str, Any]]:
    """Predictions, but for cases in which everything was worked out before."""
    for case in cases:
        if not case.name.startswith("wall"):
            yield predict_case(case, device)


def update_document(path: Path = DOCUMENT) -> None:
    """Put the newest result, or that there is none, and the predicted table into docs/gpu.md."""
    newest = latest()
    results = not_measured(GPU_CASES) if newest is None else markdown(read_json(newest))
    predicted = "\n".join(predictions(predict_cases(GPU_CASES, ceilings("h100"))))
    text = between(path.read_text(encoding="utf-8"), "results", results)
    text = between(text, "devices", "\n".join(devices()))
    write_atomic(path, between(text, "predicted", predicted).encode())
