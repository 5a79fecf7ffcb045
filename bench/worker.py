"""The process in which one peer runs one case: fresh, so that its first call is one."""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from numpy.typing import NDArray

from bench.cases import WARM_UP, Case, Problem, find_cases, inputs
from bench.goals import OURS
from bench.peers import PEERS

MOST_CALLS = 1000  # a round
BATCHES = 3
Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """What a worker is told.

    Attributes
    ----------
    case, peer
        Names.
    quick
        Whether the case is run with a small batch.
    threads
        Cores that the process may use.
    folder
        An empty folder for its plan cache and what it prints.
    """

    case: str
    peer: str
    quick: bool
    threads: int
    folder: str


def environment(threads: int) -> dict[str, str]:
    """Variables that libraries read when they are imported; a worker inherits them."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    # Without a display, and without JAX's search for accelerators.
    return {f"{name}_NUM_THREADS": str(threads) for name in names} | {"JAX_PLATFORMS": "cpu"}


def serve(job: Job, connection: Connection) -> None:
    """Answer requests until None comes; an exception is an answer too, and the last one."""
    os.setpgid(0, 0)
    _quiet(Path(job.folder, "log"))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    os.environ["TN_QNN_CACHE_DIR"] = str(Path(job.folder, "plans"))
    try:
        session = Session(job)
        connection.send(session.ready())
        while (request := connection.recv()) is not None:
            connection.send(session.first() if request == "first" else session.round(request))
    except EOFError:
        return
    except BaseException as error:
        connection.send({"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        raise


def _quiet(log: Path) -> None:
    """Send what libraries print to a file."""
    warnings.simplefilter("ignore")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)


class Session:
    """One peer with one case."""

    def __init__(self, job: Job) -> None:
        case = _case(job.case)
        self.case = case.smaller() if job.quick else case
        self.peer = PEERS[job.peer]
        self.problem = self.case.build()
        self.build = self.peer.builder()
        self.warm_up()
        self.batches = self._inputs(self.case, self.problem)
        gc.collect()
        self.baseline = reset_peak()
        self.call: Any = None

    def warm_up(self) -> None:
        """Run another, small circuit of the same precision twice."""
        problem = replace(WARM_UP.build(), dtype=self.problem.dtype)
        if self.peer.name.startswith("pennylane") or self.peer.batch:
            problem = replace(problem, qubits=problem.qubits[:1])
        call = self._built(WARM_UP, problem)
        for weights, X in self._inputs(WARM_UP, problem)[:2]:
            call(weights, X)

    def ready(self) -> dict[str, Any]:
        """Say that imports are done."""
        weights, X = self.batches[0]
        return {"evaluations": len(weights) * len(X)}

    def first(self) -> dict[str, Any]:
        """Translate, plan, compile and answer."""
        start = time.perf_counter()
        self.call = self._built(self.case, self.problem)
        outputs = self.call(*self.batches[0])
        seconds = time.perf_counter() - start
        facts = self.call.facts() if hasattr(self.call, "facts") else {}
        return {"seconds": seconds, "outputs": outputs, "peak": self._peak(), "facts": facts}

    def round(self, seconds: float) -> dict[str, Any]:
        """Call for some time, at least once."""
        durations: list[float] = []
        end = time.perf_counter() + seconds
        while not durations or (time.perf_counter() < end and len(durations) < MOST_CALLS):
            weights, X = self.batches[len(durations) % len(self.batches)]
            start = time.perf_counter()
            self.call(weights, X)
            durations.append(time.perf_counter() - start)
        return {"seconds": median(durations), "calls": len(durations), "peak": self._peak()}

    def _built(self, case: Case, problem: Problem) -> Any:
        if self.peer.name == OURS:
            return self.build(problem, case.sets, case.samples, self.case.task)
        return self.build(problem, case.sets, case.samples)

    def _inputs(self, case: Case, problem: Problem) -> list[tuple[Array, Array]]:
        """Several batches, taken in turn: nobody gains by keeping an answer."""
        found = []
        for weights, X in inputs(case, problem, BATCHES):
            if self.case.task == "spsa":
                from bench.peers.ours import step_weights

                weights = step_weights(weights[0])
            part = self.peer.batch
            found.append((weights, X) if part is None else (weights[:1], X[:part]))
        return found

    def _peak(self) -> int:
        return max(0, status("VmHWM") - self.baseline)


def _case(name: str) -> Case:
    if name.startswith("growth-"):
        from bench.growth import growth_case

        return growth_case(name)
    (case,) = find_cases((name,))
    return case


def status(field: str) -> int:
    """A size of this process, in bytes.

    Not ``ru_maxrss``: that one lives through exec and may be the parent's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def reset_peak() -> int:
    """Forget the peak so far; return what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")
