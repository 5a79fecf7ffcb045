"""``tn-qnn predict``: what a trained network says to the rows of a table."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Any

from tn_qnn.cli.data import REGRESSION
from tn_qnn.cli.options import add_machine, computed_by, given_options
from tn_qnn.cli.runs import read_run
from tn_qnn.cli.tables import read_table
from tn_qnn.errors import InputError

HELP = """predictions of a trained network, as CSV
The columns that the network was trained on are found by name; others are ignored. A run that was
interrupted predicts by its last checkpoint.

examples:
  tn-qnn predict runs/wine new.csv > predictions.csv
  tn-qnn predict runs/wine new.csv --proba
  tn-qnn predict runs/wine new.csv --json --backend cpu
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="folder that 'tn-qnn train' has made")
    parser.add_argument("file", metavar="FILE.csv", help="rows to predict for, with a header")
    parser.add_argument("--proba", action="store_true", help="add the probability of each class")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no CSV")
    add_machine(parser.add_argument_group("engine"))


def run(args: argparse.Namespace) -> int:
    """Print a header and one line a row, or the columns as JSON."""
    from tn_qnn.models.estimators import load_estimator

    folder, _, facts = read_run(args.run_folder)
    if args.proba and facts.task == REGRESSION:
        raise InputError(f"--proba: {folder} is a regression, which has no classes; leave it out")
    X = read_table(args.file).numbers(facts.features)
    estimator = load_estimator(folder, **given_options(args))
    header, columns = [facts.target], [estimator.predict(X).tolist()]
    if args.proba:
        header += [f"p({label})" for label in estimator.classes_.tolist()]
        columns += estimator.predict_proba(X).T.tolist()
    if args.json:
        found = dict(zip(header, columns, strict=True))
        print(json.dumps({"columns": found, "backend": computed_by(estimator.model_)}))
    else:
        write_csv(header, columns)
    return 0


def write_csv(header: list[str], columns: list[list[Any]]) -> None:
    """Print columns below their names."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
