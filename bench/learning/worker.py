"""The process of one run: fresh, so that compiling counts and memory is its own."""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bench.learning import data
from bench.learning.bars import BARS, fit
from bench.learning.cases import Case, find_cases
from bench.worker import reset_peak, status
from tn_qnn.files import read_json, read_npz, write_json, write_npz

LOSSES_EVERY = 10  # of the losses, how many steps there are from one that is kept to the next
DIGITS = 7  # of a loss or a time in the result


@dataclass(frozen=True)
class Job:
    """What a worker is told, by ``job.json`` in its folder.

    Attributes
    ----------
    case, split
        What is run.
    part
        "validation": trained on the training part, watched by the validation part. "test": trained
        on both, judged by the test part at the end. "start": writes ``start.npz``.
    of
        For "start", the part of the run that is to start from it.
    quick
        Whether it is a case of ``--quick``.
    threads
        Cores.
    """

    case: str
    split: int
    part: Literal["validation", "test", "start"]
    of: Literal["validation", "test"] = "validation"
    quick: bool = False
    threads: int = 1

    def save(self, folder: Path) -> None:
        """Write it for :func:`serve`."""
        write_json(folder / "job.json", asdict(self))


def serve(folder: Path) -> None:
    """Do the job in a folder; ``result.json`` or ``start.npz`` is there afterwards."""
    warnings.simplefilter("ignore")
    job = Job(**read_json(folder / "job.json"))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-job.threads :])
    os.environ["TN_QNN_CACHE_DIR"] = str(folder / "plans")
    (case,) = find_cases((job.case,), job.quick)
    parts = data.split(case.data, job.split)
    if "test" in (job.part, job.of):
        part, held = parts.share, parts.test
    else:
        part, held = parts.training, parts.validation
    if job.part == "start":
        from bench.learning.start import shared_start

        write_npz(folder / "start.npz", **shared_start(case.classifier(job.split), part, held))
        return
    found = _run(case, job, part, held, folder)
    write_json(folder / "result.json", _shortened(found))


def _run(case: Case, job: Job, part: data.Part, held: data.Part, folder: Path) -> dict[str, Any]:
    """Run; imports and a warm-up are not timed, and their memory is not counted."""
    watched = job.part == "validation"
    if case.runner == "bar":
        baseline = _quiet_memory()
        begin = time.perf_counter()
        model, chosen = fit(BARS[case.bar], part, job.quick)
        seconds = time.perf_counter() - begin
        accuracy = float(model.score(held.X, held.y))
        found: dict[str, Any] = {"accuracy": accuracy, "seconds": seconds, "chosen": chosen}
    elif case.runner == "jax":
        from bench.learning import jax_bar

        start = read_npz(folder / "start.npz")
        jax_bar.warm_up()
        baseline = _quiet_memory()
        found = jax_bar.train(start, case.every).result(watched)
    else:
        from bench.learning import ours

        ours.warm_up(case.classifier(job.split))
        classifier = case.classifier(job.split, threads=job.threads)
        baseline = _quiet_memory()
        found = ours.train(classifier, part, held, case.every).result(watched)
    return found | {"peak_bytes": max(0, status("VmHWM") - baseline)}


def _shortened(found: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody reads."""
    if "losses" in found:
        found["losses_every"] = LOSSES_EVERY
        found["losses"] = [round(loss, DIGITS) for loss in found["losses"][::LOSSES_EVERY]]
        found["curve"] = [[round(x, DIGITS) for x in look] for look in found["curve"]]
    return found


def _quiet_memory() -> int:
    gc.collect()
    return reset_peak()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
