"""The process in which one peer runs one case on the GPU."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import WARM_UP, Case, Problem, inputs
from bench.goals import OURS
from bench.gpu.cases import find_gpu_cases
from bench.gpu.memory import DeviceMemory
from bench.gpu.peers import GPU_PEERS
from bench.worker import BATCHES, MOST_CALLS, Job, _quiet

#: JAX otherwise takes most of the memory at once, which leaves none for the others.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cuda",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "NVIDIA_TF32_OVERRIDE": "0",  # float32 is IEEE float32, for everyone
}


def serve(job: Job, connection: Connection) -> None:
    """Answer requests until None comes; an exception is an answer too, and the last one."""
    os.setpgid(0, 0)
    _quiet(Path(job.folder, "log"))
    os.environ["TN_QNN_CACHE_DIR"] = str(Path(job.folder, "plans"))
    try:
        session = GpuSession(job.case, job.peer, job.quick)
        connection.send(session.ready())
        while (request := connection.recv()) is not None:
            connection.send(session.answer(request))
    except EOFError:
        return
    except BaseException as error:
        connection.send({"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        raise


class GpuSession:
    """One peer with one case."""

    def __init__(self, case: str, peer: str, quick: bool = False) -> None:
        (found,) = (c for c in find_gpu_cases((case,)) if c.name == case)
        self.case = found.smaller() if quick else found
        self.peer, self.problem = GPU_PEERS[peer], self.case.build()
        self.build: Callable[..., Any] = self.peer.builder()
        self.memory = DeviceMemory()
        self.warm_up()
        gc.collect()
        self.baseline = self.memory.used()
        self.call: Any = None
        self.batches: list[tuple[Any, Any]] = []

    def warm_up(self) -> None:
        """Run another, small circuit of the same precision: libraries load, kernels compile."""
        problem = replace(WARM_UP.build(), dtype=self.problem.dtype)
        call = self._built(WARM_UP, problem)
        for weights, X in inputs(WARM_UP, problem, 2):
            call.get(call.run(call.put(weights), call.put(X)))

    def ready(self) -> dict[str, Any]:
        """Say that imports are done."""
        return {"evaluations": self.case.evaluations}

    def answer(self, request: Any) -> dict[str, Any]:
        """Do what is asked for: "first", "profile", or a round of so many seconds."""
        if request == "first":
            return self.first()
        return self.call.profile() if request == "profile" else self.round(request)

    def first(self) -> dict[str, Any]:
        """Translate, plan, compile and answer: from arrays of the host to arrays of the host."""
        given = self._inputs()
        with self.memory:
            start = time.perf_counter()
            self.call = self._built(self.case, self.problem)
            self.batches = [(self.call.put(given[0][0]), self.call.put(given[0][1]))]
            outputs = self.call.get(self.call.run(*self.batches[0]))
            seconds = time.perf_counter() - start
        self.batches += [(self.call.put(w), self.call.put(X)) for w, X in given[1:]]
        self.call.run(*self.batches[0])  # what is captured, is captured now
        peak = max(0, self.memory.peak - self.baseline)
        facts = self.call.facts() if hasattr(self.call, "facts") else {}
        return {"seconds": seconds, "outputs": outputs, "peak": peak, "facts": facts}

    def round(self, seconds: float) -> dict[str, Any]:
        """Call for some time, at least once, on arrays of the device."""
        durations: list[float] = []
        end = time.perf_counter() + seconds
        while not durations or (time.perf_counter() < end and len(durations) < MOST_CALLS):
            weights, X = self.batches[len(durations) % len(self.batches)]
            start = time.perf_counter()
            self.call.run(weights, X)
            durations.append((time.perf_counter() - start) / getattr(self.call, "steps", 1))
        return {"seconds": median(durations), "calls": len(durations), "peak": 0}

    def _inputs(self) -> list[tuple[Any, Any]]:
        """Several batches on the host, taken in turn: nobody gains by keeping an answer."""
        given = inputs(self.case, self.problem, BATCHES)
        if self.case.task != "spsa":
            return given
        from bench.peers.ours import step_weights

        return [(step_weights(weights[0]), X) for weights, X in given]

    def _built(self, case: Case, problem: Problem) -> Any:
        if self.peer.name == OURS and self.case.task != "outputs":
            return self.build(problem, case.sets, case.samples, self.case.task)
        return self.build(problem, case.sets, case.samples)
