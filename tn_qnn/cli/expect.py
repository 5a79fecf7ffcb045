"""``tn-qnn expect``: expectation values of a circuit in a file."""

from __future__ import annotations

import argparse
import json
import time

from tn_qnn.cli.circuits import (
    DTYPE,
    add_circuit,
    bound,
    make_model,
    read_circuit,
    read_observables,
    setting,
)
from tn_qnn.cli.options import computed_by

HELP = """expectation values of an OpenQASM circuit
examples:
  tn-qnn expect bell.qasm Z0 Z0*Z1
  tn-qnn expect kicked.qasm Z62 --json
  tn-qnn expect ansatz.qasm 0.5*X0+Z1*Z2 --set theta=0.3 --set 'features[0]=1'
  generate | tn-qnn expect - Z0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_circuit(parser)
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        dest="settings",
        help="value of an input of the program; repeat for more",
    )


def run(args: argparse.Namespace) -> int:
    """Print the values, one a line, or as JSON."""
    circuit = read_circuit(args.file)
    observables = read_observables(args.observables, circuit)
    circuit = bound(circuit, args.settings)
    start = time.perf_counter()
    model = make_model(circuit, tuple(observables.values()), args, sets=1, samples=1)
    outputs = model()[0].tolist()
    seconds = time.perf_counter() - start
    values = dict(zip(observables, outputs, strict=True))
    if args.json:
        facts = {"qubits": circuit.num_qubits, "gates": len(circuit), "seconds": seconds}
        how = {"dtype": getattr(args, "dtype", DTYPE), "backend": computed_by(model)}
        print(json.dumps({"values": values, **how, **facts}, allow_nan=False))
    else:
        for text, value in values.items():
            print(f"{text} = {value!r}")
    return 0
