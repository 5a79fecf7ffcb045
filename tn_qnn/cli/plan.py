"""``tn-qnn plan``: what a contraction would cost; nothing is contracted."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from tn_qnn.cli.circuits import add_circuit, make_model, read_circuit, read_observables
from tn_qnn.cli.options import count

HELP = """what a circuit's expectation values would cost
Plans and forecasts, contracts nothing. Inputs of the program need no values.

examples:
  tn-qnn plan kicked.qasm Z62
  tn-qnn plan ansatz.qasm Z0 Z1 --samples 256 --sets 2 --dtype float32 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_circuit(parser)
    parser.add_argument("--samples", type=count, default=1, metavar="N", help="default: 1")
    parser.add_argument("--sets", type=count, default=1, metavar="N", help="weight sets; default 1")


def run(args: argparse.Namespace) -> int:
    """Print the model's explanation of its costs."""
    circuit = read_circuit(args.file)
    observables = tuple(read_observables(args.observables, circuit).values())
    model = make_model(circuit, observables, args, sets=args.sets, samples=args.samples)
    found = model.explain()
    if args.json:
        totals = {
            "multiply_adds": found.multiply_adds,
            "width": max((job.width for job in found.jobs), default=0.0),
            "peak_bytes": found.peak_bytes,
            "slices": max((job.slices for job in found.jobs), default=1),
        }
        print(json.dumps({**totals, **asdict(found)}))
    else:
        print(found)
    return 0
