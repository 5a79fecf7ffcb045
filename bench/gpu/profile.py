"""Our launches one by one: seconds of each beside what the model of the ceilings says."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median
from typing import Any

from tn_qnn.backends.cuda.ceilings import Ceilings, matching, measured
from tn_qnn.backends.cuda.prediction import record
from tn_qnn.backends.cuda.roofline import predict

REPEATS, ROUNDS = 20, 5  # launches in a graph, and replays of it
REPLAYS = 100


def device_ceilings(runtime: Any) -> Ceilings:
    """The device's ceilings: from the table, else measured."""
    return matching(runtime.facts.name) or measured(runtime)


def launches_of(executors: Iterable[Any], dtype: str, runtime: Any) -> list[dict[str, Any]]:
    """Every launch of the last batch of a model's executors, as records for the result file."""
    device = device_ceilings(runtime)
    found = []
    for executor in executors:
        arena = list(executor.arenas.values())[-1]
        seconds = [launch_seconds(runtime, call) for call in arena.calls]
        layout = arena.layout
        lines = predict(layout.schedule, layout.placement.sizes, dtype, device, measured=seconds)
        found += [record(line) for line in lines]
    return found


def launch_seconds(runtime: Any, call: Any) -> float:
    """Seconds of one launch, as a node of a graph of nothing but such launches."""
    launch = call.launch

    def once() -> None:
        runtime.launch(
            launch.kernel, call.variant, launch.grid, launch.block, call.arguments(0), launch.shared
        )

    def many() -> None:
        for _ in range(REPEATS):
            once()

    with runtime.use():
        once()
        graph = runtime.capture(many)
        rounds = []
        for _ in range(ROUNDS):
            runtime.synchronize()
            start = time.perf_counter()
            graph.launch()
            runtime.synchronize()
            rounds.append((time.perf_counter() - start) / REPEATS)
    return float(median(rounds))


def host_seconds(graph: Any, runtime: Any) -> float:
    """Seconds of the host to start a replay: what Python and the driver take, not the device."""
    with runtime.use():
        runtime.synchronize()
        durations = []
        for _ in range(REPLAYS):
            start = time.perf_counter()
            graph.launch()
            durations.append(time.perf_counter() - start)
            runtime.synchronize()
    return float(median(durations))


def stages_of(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Launches added up by stage, in the order of the stages."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        stage = found.setdefault(
            line["stage"], {"stage": line["stage"], "ceiling": 0.0, "predicted": 0.0, "measured": 0}
        )
        for key in ("ceiling", "predicted", "measured"):
            stage[key] += line[key]
    return list(found.values())
