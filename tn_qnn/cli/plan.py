"""``tn-qnn plan``: what a contraction would cost; nothing is contracted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tn_qnn.cli.circuits import add_circuit, make_model, read_circuit, read_observables
from tn_qnn.cli.options import count

if TYPE_CHECKING:
    from tn_qnn.backends.cuda.ceilings import Ceilings
    from tn_qnn.backends.cuda.prediction import JobPrediction
    from tn_qnn.models.qnn import QNN

HELP = """what a circuit's expectation values would cost
Plans and forecasts, contracts nothing. Inputs of the program need no values. With --device also
the kernel launches on a GPU that need not be here, and what the model of its ceilings predicts.

examples:
  tn-qnn plan kicked.qasm Z62
  tn-qnn plan ansatz.qasm Z0 Z1 --samples 256 --sets 2 --dtype float32 --json
  tn-qnn plan ansatz.qasm Z0 --samples 256 --sets 2 --dtype float32 --device h100
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_circuit(parser)
    parser.add_argument("--samples", type=count, default=1, metavar="N", help="default: 1")
    parser.add_argument("--sets", type=count, default=1, metavar="N", help="weight sets; default 1")
    parser.add_argument(
        "--device", metavar="GPU", help="predict times on an a100, h100, h200, b200 or rtx4090"
    )


def run(args: argparse.Namespace) -> int:
    """Print the model's explanation of its costs, or a prediction for a device."""
    if args.device is not None:
        return predicted(args)
    model = planned(args)
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


def planned(args: argparse.Namespace) -> QNN:
    """The model that the arguments ask for."""
    circuit = read_circuit(args.file)
    observables = tuple(read_observables(args.observables, circuit).values())
    return make_model(circuit, observables, args, sets=args.sets, samples=args.samples)


def predicted(args: argparse.Namespace) -> int:
    """Print what a device should take, by arithmetic alone: no GPU is looked for."""
    from tn_qnn.backends.cuda.ceilings import ceilings
    from tn_qnn.backends.cuda.prediction import predict_job
    from tn_qnn.backends.memory import Budget

    device = ceilings(args.device)
    share = getattr(args, "memory", Budget().memory)
    args.memory = budget = int(share if share >= 1 else share * device.memory)
    args.backend = getattr(args, "backend", "cpu")
    model = planned(args)
    found = [
        predict_job(job, args.sets, args.samples, model.dtype, device, budget) for job in model.jobs
    ]
    print(_as_json(found, model, device) if args.json else _as_text(found, model, device))
    return 0


def _as_json(found: Sequence[JobPrediction], model: QNN, device: Ceilings) -> str:
    from tn_qnn.backends.cuda.prediction import STEP_NODES, record

    jobs = [
        {
            "cones": job.cones,
            "chunks": job.chunks,
            "bytes": job.bytes,
            "small_nodes": job.nodes,
            "seconds": job.seconds,
            "launches": [record(x) for x in job.lines],
        }
        for job in found
    ]
    facts: dict[str, Any] = {
        "predicted": True,
        "measured": False,
        "device": asdict(device),
        "dtype": model.dtype,
        "sets": model.sets,
        "samples": model.samples,
        "seconds": sum(job.seconds for job in found),
        "step_nodes": STEP_NODES,
        "jobs": jobs,
    }
    return json.dumps(facts)


def _as_text(found: Sequence[JobPrediction], model: QNN, device: Ceilings) -> str:
    from tn_qnn.backends.cuda.prediction import HEAD, STEP_NODES, rows, scaled, seconds_text
    from tn_qnn.backends.cuda.roofline import NODE_SECONDS

    lines = [
        f"PREDICTED, not measured: {device.name}, {model.dtype}, {model.sets} weight sets x"
        f" {model.samples} samples, launches in one CUDA graph"
    ]
    for job in found:
        chunks = f", in {job.chunks} chunks" if job.chunks > 1 else ""
        lines += [
            "",
            f"{job.cones} cones of one topology: {seconds_text(job.seconds)} predicted,"
            f" {scaled(job.bytes, 'B')} on the device{chunks}",
            *aligned([HEAD, *rows(job.lines)]),
        ]
    total = sum(job.seconds for job in found)
    steps = seconds_text(STEP_NODES * NODE_SECONDS)
    lines += [
        "",
        f"a call: {seconds_text(total)} predicted; a training step about {steps} more, for some"
        f" {STEP_NODES} small nodes (perturb, loss, credit, update)",
        f"ceilings: {device.source}; docs/gpu.md tells what the model leaves out",
    ]
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, columns of words to the left and columns of numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
