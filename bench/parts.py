"""``python -m bench.parts``: the time of a training step against the share of weights trained.

Trees, a staircase, a brickwork: last layers, first layers, a region of qubits, one gate; by
the exact gradient and by SPSA. Parts of a circuit are timed in turns, so that what else the
machine does meets all of them; a figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import commit, machine
from bench.plots import FOLDER as PICTURES
from bench.plots import styled
from bench.results import FOLDER
from tn_qnn import QNN, Z, density_matrix
from tn_qnn.circuit.ansatz import brickwork, matrix_product, tree
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import line
from tn_qnn.files import read_json, write_json
from tn_qnn.train.exact import ExactGradient
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import get_loss
from tn_qnn.train.parts import Selection, layers, qubits, trainable_mask
from tn_qnn.train.phases import PhaseStepper
from tn_qnn.train.protocol import Estimator
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.schedules import Only
from tn_qnn.train.spsa import SPSA
from tn_qnn.train.state import State
from tn_qnn.train.stepping import HostStepper
from tn_qnn.train.updates import get_update

SAMPLES, BATCH, STEPS = 1024, 256, 5
ROUNDS = 15
ESTIMATORS: dict[str, Estimator] = {
    "exact gradient": ExactGradient(),
    "SPSA, 4 directions": SPSA(directions=4),
}
KINDS = {
    "last layers": "#0072B2",
    "first layers": "#D55E00",
    "a region": "#009E73",
    "one gate": "#CC79A7",
}


@dataclass(frozen=True)
class Family:
    """A model, and parts of it: pairs (kind, selection)."""

    model: Callable[[], QNN]
    parts: tuple[tuple[str, Selection], ...]


def _encoded(ansatz: Circuit) -> Circuit:
    return angle(ansatz.num_qubits, scale=1.0).compose(ansatz)


def _trees(n: int) -> QNN:
    return QNN([_encoded(tree(n, prefix=f"class{k}")) for k in range(10)], [Z(0)])


def _wide_trees(n: int) -> QNN:
    def block(circuit: Circuit, places: Sequence[int], name: str) -> None:
        circuit.block(orthogonal(name, chart="entries"), places)

    trees = [tree(n, block, bond_qubits=2, prefix=f"tree{k}") for k in range(4)]
    return QNN([_encoded(one) for one in trees], [density_matrix([0, 1])])


def _staircase(n: int) -> QNN:
    def block(circuit: Circuit, places: Sequence[int], name: str) -> None:
        circuit.block(orthogonal(name, chart="entries"), places)

    return QNN(_encoded(matrix_product(n, 1, block, bond_qubits=3)), [density_matrix([n - 1])])


def _bricks(n: int, depth: int) -> QNN:
    circuit = _encoded(brickwork(line(n), depth, ("ry",), "cz"))
    return QNN(circuit, [Z(q) for q in range(0, n, max(1, n // 10))])


def _ends(count: int) -> Iterator[tuple[str, Selection]]:
    for number in range(1, count):
        yield "last layers", layers(*range(-number, 0))
        yield "first layers", layers(*range(number))


def _along(count: int) -> Iterator[tuple[str, Selection]]:
    """Ends of a staircase, which is one layer of many blocks."""
    for number in (k for k in (1, 4, 16, 32, 48) if k < count):
        yield "last layers", [f"w.0.{k}[*" for k in range(count - number, count)]
        yield "first layers", [f"w.0.{k}[*" for k in range(number)]


def families(quick: bool) -> dict[str, Family]:
    """The models by name; smaller ones to try the benchmark."""
    n, depth, levels = (8, 2, 3) if quick else (64, 8, 6)
    regions = tuple(("a region", qubits(range(n // k))) for k in (2, 4, 8))
    return {
        "ten trees": Family(
            lambda: _trees(n), (*_ends(levels), *regions, ("one gate", "class*.1.0.2"))
        ),
        "four trees of bond 4": Family(
            lambda: _wide_trees(n), (*_ends(levels - 1), *regions, ("one gate", "tree*.1.0[*"))
        ),
        "staircase of bond 8": Family(
            lambda: _staircase(n), (*_along(n - 3), *regions, ("one gate", "w.0.2[*"))
        ),
        "brickwork": Family(
            lambda: _bricks(n, depth), (*_ends(depth), *regions, ("one gate", "w.0.2.0"))
        ),
    }


def measure(family: Family, estimator: Estimator, rounds: int, steps: int) -> list[dict[str, Any]]:
    """Milliseconds a step of the whole and of each part, and what a phase takes to begin."""
    model = family.model()
    rng = np.random.default_rng(0)
    X = rng.uniform(0, np.pi, (SAMPLES, model.num_features))
    y = rng.integers(0, model.num_outputs if model.num_outputs > 1 else 2, SAMPLES)
    loss, update, data = get_loss("cross_entropy"), get_update("adam"), Data(X, y)
    recipe = Recipe(model, loss, estimator, update, 0, data, BATCH)
    weights = rng.uniform(-np.pi, np.pi, model.num_weights)
    everything = np.ones(model.num_weights, dtype=bool)
    runs, records = [], []
    for kind, chosen in (("everything", everything), *family.parts):
        mask = trainable_mask(model, chosen)
        start = time.perf_counter()
        phases = PhaseStepper(recipe, Only(mask), 10**6)
        part = phases.part(phases.first(weights)[0], weights)
        picked = weights[mask]
        gains = estimator.gains(1000, lambda: 1.0)
        state = State(0, picked, update.init(picked), gains)
        stepper = HostStepper(part, "")
        stepper.advance(state, 1)
        seconds = time.perf_counter() - start
        runs.append((stepper, state))
        records.append({
            "part": kind,
            "chosen": "" if kind == "everything" else _words(chosen),
            "share": float(mask.mean()),
            "kept": part.data.X is not data.X,
            "begin_ms": 1e3 * seconds,
        })  # fmt: skip
    times = [[_time(*run, steps) for run in runs] for _ in range(rounds)]
    for record, found in zip(records, zip(*times, strict=True), strict=True):
        record["step_ms"] = statistics.median(found)
    return records


def _time(stepper: HostStepper, state: State, steps: int) -> float:
    start = time.perf_counter()
    stepper.advance(state, steps)
    return 1e3 * (time.perf_counter() - start) / steps


def _words(chosen: Selection) -> str:
    return ", ".join(map(str, chosen)) if isinstance(chosen, list) else str(chosen)


def markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    about = result["machine"]
    lines = [
        f"Milliseconds a training step, {about['cpu']}, {about['cores']} cores, "
        f"{BATCH} samples a step; {result['date']}.",
    ]
    for name, by_estimator in result["families"].items():
        for estimator, records in by_estimator.items():
            whole = records[0]["step_ms"]
            lines += ["", f"### {name}, {estimator}", ""]
            lines += ["| part | share of weights | ms | of the whole | kept by sample |"]
            lines += ["|---|---:|---:|---:|---|"]
            lines += [
                f"| {r['part']} | {r['share']:.1%} | {r['step_ms']:.2f} |"
                f" {r['step_ms'] / whole:.0%} | {'yes' if r['kept'] else ''} |"
                for r in records
            ]
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], path: Path) -> None:
    """Step time against the share trained."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(result["families"])
    size = 3.4 * len(names), 3.2 * len(ESTIMATORS)
    figure, grid = plt.subplots(
        len(ESTIMATORS), len(names), figsize=size, layout="constrained", squeeze=False
    )
    for row, estimator in zip(grid, ESTIMATORS, strict=True):
        for axes, name in zip(row, names, strict=True):
            whole, *parts = result["families"][name][estimator]
            for kind, colour in KINDS.items():
                points = sorted((r["share"], r["step_ms"]) for r in parts if r["part"] == kind)
                axes.plot(*zip(*points, strict=True), "o-", color=colour, label=kind, markersize=4)
            axes.plot([1.0], [whole["step_ms"]], "s", color="#000000", label="everything")
            axes.axhline(whole["step_ms"], color="#000000", linewidth=0.6, linestyle=":")
            axes.set_ylim(bottom=0)
            styled(axes, "share of weights trained", "ms a step", f"{name}, {estimator}")
    grid[0, 0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the tables, draw."""
    found = argparse.ArgumentParser(prog="python -m bench.parts", description=__doc__)
    found.add_argument("--quick", action="store_true", help="small models, to try the benchmark")
    found.add_argument(
        "--out", type=Path, help="result file (default bench/results/parts-DATE.json)"
    )
    found.add_argument("--plots", action="store_true", help="draw a result; measure nothing")
    args = found.parse_args(arguments)
    date = time.strftime("%Y-%m-%d")
    out = args.out or FOLDER / f"parts-{date}.json"
    if not args.plots:
        rounds, steps = (2, 2) if args.quick else (ROUNDS, STEPS)
        result: dict[str, Any] = {"date": date, "commit": commit(), "machine": machine()}
        result["families"] = {}
        for name, family in families(args.quick).items():
            result["families"][name] = {
                label: measure(family, estimator, rounds, steps)
                for label, estimator in ESTIMATORS.items()
            }
            print(name, "measured", flush=True)
        write_json(out, result)
        out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    draw(read_json(out), out.with_suffix(".png") if args.out else PICTURES / "parts.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
