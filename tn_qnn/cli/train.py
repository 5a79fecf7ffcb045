"""``tn-qnn train``: train a network on the digits or on a table."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tn_qnn.backends import get_backend
from tn_qnn.cli import report
from tn_qnn.cli.config import CIRCUIT, TrainConfig, add_options, changed, make_config
from tn_qnn.cli.data import CLASSIFICATION, REGRESSION, Dataset, Split, load_dataset, split
from tn_qnn.cli.options import MACHINE, given_options
from tn_qnn.cli.runs import CONFIG, DATA, METRICS, new_folder, read_run, save_config, save_start
from tn_qnn.errors import InputError
from tn_qnn.train.checkpoint import has_checkpoint

if TYPE_CHECKING:
    from tn_qnn.train.callbacks import Report

HELP = """train a network on the digits or a table
DATA is digits (scikit-learn's 1,797 images of 8x8 pixels), a CSV file with a header, or a TOML
file that holds the same options, such as the config.toml of another run.

examples:
  tn-qnn train digits
  tn-qnn train digits --model wide
  tn-qnn train wine.csv --target quality --steps 500 --out runs/wine
  tn-qnn train runs/digits/config.toml --seed 1
  tn-qnn train --resume runs/digits
"""
#: Options that a run may be resumed with: its length, and where and how it computes.
RESUMABLE = ("steps", *MACHINE)
#: Fields of a configuration that are about the data, not the estimator.
NO_PARAMETERS = ("data", "target", "task", "ignore", "test_share", "validation_share", "model")
INTERRUPTED = 130
FILES = (
    (CONFIG, "configuration; train takes it"),
    (DATA, "what is known of the data"),
    ("history.csv", "loss and validation, step by step"),
    ("checkpoint.json", "where --resume goes on"),
    ("model.json", "the model, for predict"),
    (METRICS, "all figures"),
    (report.TRAINING, "loss and score over time"),
)
LAST_FILE = {
    CLASSIFICATION: (report.CONFUSION, "test rows by true and predicted class"),
    REGRESSION: (report.PREDICTIONS, "predicted over true numbers of the test rows"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="digits, FILE.csv or FILE.toml")
    parser.add_argument(
        "--out", metavar="FOLDER", help="default: runs/NAME, or the next that is free"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    add_options(parser)
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """Train, then print the summary."""
    folder, config, dataset, parts = _resumed(args) if args.resume else _begun(args)
    print(
        f"{dataset.name}: {dataset.task} by {len(dataset.features)} features; rows:"
        f" {len(parts.train)} to train on, {len(parts.validation)} to validate,"
        f" {len(parts.test)} to test; by {described(config)}; in {folder}",
        file=sys.stderr,
    )
    estimator = make_estimator(config, dataset, folder)
    try:
        with told():
            estimator.fit(
                parts.train.X,
                parts.train.y,
                validation=(parts.validation.X, parts.validation.y),
                resume=bool(args.resume),
            )
    except BaseException:
        # The folder was empty, and nothing is lost that could be resumed.
        if not args.resume and not has_checkpoint(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    result = estimator.result_
    if result.interrupted:
        print(
            f"tn-qnn: interrupted after step {result.step} of {config.steps}; go on by"
            f" 'tn-qnn train --resume {folder}'",
            file=sys.stderr,
        )
        return INTERRUPTED
    predicted = estimator.predict(parts.test.X)
    sets = 2 * config.directions if config.estimator == "spsa" else 1
    plan = estimator.model_.explain(sets=sets, samples=config.batch_size)
    end = report.make_outcome(dataset, parts, predicted, result, plan)
    report.write_outcome(folder, dataset, parts, predicted, result, end)
    print(report.summary(folder, len(parts.test), end, (*FILES, LAST_FILE[dataset.task])))
    return 0


def make_estimator(config: TrainConfig, dataset: Dataset, folder: Path) -> Any:
    """The estimator of a configuration, not fitted, which keeps its checkpoint in the folder."""
    from tn_qnn.models.digits_model import digits_classifier, wide_digits_classifier
    from tn_qnn.models.estimators import QNNClassifier, QNNRegressor

    chosen = {n: value for n, value in asdict(config).items() if n not in NO_PARAMETERS}
    kind: Callable[..., Any] = QNNRegressor if dataset.task == REGRESSION else QNNClassifier
    if config.model == "wide":
        kind = wide_digits_classifier
        for name in CIRCUIT:
            del chosen[name]
    elif config.data == "digits":
        kind = digits_classifier
        if config.encoding == "angle":
            del chosen["encoding"]  # the digits' own: angles, with the pixels in Z-order
    return kind(
        **chosen,
        callbacks=[] if sys.stderr.isatty() else [Lines()],
        checkpoint=folder,
        progress=None,
    )


def described(config: TrainConfig) -> str:
    """The estimator of gradients in words: what is a perturbation, and what is not."""
    if config.estimator == "spsa":
        return f"SPSA with light-cone credit, {config.directions} directions a step"
    if config.estimator == "exact":
        return "the exact gradient, by a sweep of environments (an adjoint, not a perturbation)"
    return config.estimator.replace("_", " ")


def _begun(args: argparse.Namespace) -> tuple[Path, TrainConfig, Dataset, Split]:
    if args.data is None:
        args.parser.error("DATA is missing: digits, FILE.csv or FILE.toml")
    config = make_config(args.data, vars(args))
    check_backend(config)
    dataset = load_dataset(config)
    parts = split(dataset, config)
    folder = new_folder(dataset.name, args.out)
    save_start(folder, config, dataset, parts)
    return folder, config, dataset, parts


def _resumed(args: argparse.Namespace) -> tuple[Path, TrainConfig, Dataset, Split]:
    given = vars(args)
    fixed = [n for n in TrainConfig.__dataclass_fields__ if n not in RESUMABLE and given.get(n)]
    if fixed or args.out:
        args.parser.error(f"--resume: {(fixed or ['out'])[0]} is that of the run; leave it out")
    folder, config, facts = read_run(args.resume)
    config = changed(config, given_options(args, RESUMABLE))
    check_backend(config)
    dataset = load_dataset(config)
    if (dataset.features, dataset.task) != (facts.features, facts.task):
        raise InputError(f"--resume: {config.data} is not what it was when the run began")
    save_config(folder, config)
    return folder, config, dataset, split(dataset, config)


def check_backend(config: TrainConfig) -> None:
    """Raise BackendError where the backend cannot be used: before data are read, a folder made."""
    get_backend(config.backend, config.threads, config.devices)


@contextmanager
def told() -> Iterator[None]:
    """Print on stderr what the trainer logs: where and how the steps are taken."""
    log = logging.getLogger("tn_qnn.train")
    handler, level = _Told(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


@dataclass
class Lines:
    """Tells how the training goes in a few lines, where stderr is no terminal for a bar."""

    every_step: ClassVar[bool] = False  # it does not hold up a GPU

    said: float = 0.0
    seconds: float = 10.0

    def __call__(self, report: Report) -> None:
        """Print a line when the last one is some seconds old, and at the end."""
        row = report.row
        if row.seconds - self.said < self.seconds and row.step < report.steps:
            return
        self.said = row.seconds
        left = row.seconds / row.step * (report.steps - row.step)
        checked = report.history.validations
        score = f", validation score {checked[-1].validation_score:.4f}" if checked else ""
        print(f"step {row.step} of {report.steps}: loss {row.loss:.4f}{score}, {left:.0f} s left",
              file=sys.stderr, flush=True)  # fmt: skip
