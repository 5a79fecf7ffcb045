"""Measuring a case on the GPU: first calls one by one, then rounds in turn, then our launches."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.cases import Case
from bench.goals import OURS
from bench.gpu.peers import GPU_PEERS
from bench.gpu.worker import ENVIRONMENT, serve
from bench.measure import Measurement, Settings, StoppedError, Worker, judged, steady_figures
from bench.peers import Peer
from bench.worker import Job

#: Short enough that a case with all peers ends within one call of ``make bench-gpu``.
SETTINGS = Settings(
    rounds=5, round_seconds=0.2, start_limit=40.0, first_limit=60.0, steady_limit=6.0
)
QUICK = Settings(
    rounds=3, round_seconds=0.05, start_limit=20.0, first_limit=15.0, steady_limit=2.0, quick=True
)
PROFILE_LIMIT = 20.0


class GpuWorker(Worker):
    """A process that holds one peer with one case."""

    def __init__(self, case: Case, peer: Peer, settings: Settings) -> None:
        self.folder = tempfile.mkdtemp(prefix="tn-qnn-bench-")
        os.environ |= ENVIRONMENT
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        job = Job(case.name, peer.name, settings.quick, settings.threads, self.folder)
        self.process = context.Process(target=serve, args=(job, theirs))
        self.process.start()
        theirs.close()


class GpuMeasurement(Measurement):
    """One case; ``entries`` fills up by peer.

    Parameters
    ----------
    case, settings, say
        As :class:`bench.measure.Measurement`.
    open_worker
        Starts a peer; for tests.
    """

    def __init__(
        self,
        case: Case,
        settings: Settings,
        say: Callable[[str], None],
        open_worker: Callable[[Case, Peer, Settings], Any] = GpuWorker,
    ) -> None:
        super().__init__(case, settings, say)
        self.open_worker = open_worker

    def run(self, peers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Measure ours and the peers."""
        try:
            for name in (OURS, *peers):
                self.start(GPU_PEERS[name])
            for turn in range(self.settings.rounds):
                for name in tuple(self.workers):
                    self.turn(name, turn)
            self.profile()
        finally:
            for name in tuple(self.workers):
                self.workers.pop(name).close()
        for name, found in self.rounds.items():
            self.entries[name] |= steady_figures(self.entries[name], found, self.case.evaluations)
        return self.entries

    def start(self, peer: Peer) -> None:
        """Import, warm up and make the first call."""
        if reason := peer.missing():
            self.entries[peer.name] = {"status": "absent", "reason": reason}
            self.say(f"  {peer.name}: {reason}")
            return
        worker = self.open_worker(self.case, peer, self.settings)
        entry: dict[str, Any] = {}
        try:
            entry |= worker.answer(self.settings.start_limit)
            found = worker.ask("first", self.settings.first_limit)
        except StoppedError as stop:
            worker.close()
            where = "first call" if entry else "imports and warm-up"
            entry |= {"status": stop.status, "reason": f"{where}: {stop.reason}"}
        else:
            self.workers[peer.name], self.rounds[peer.name] = worker, []
            entry |= {"status": "ok", "first_call": found["seconds"], "first": found["seconds"]}
            entry |= {"peak_bytes": found["peak"], "facts": found["facts"]}
            entry |= self.checked(peer.name, found["outputs"])
        self.entries[peer.name] = entry
        told = entry.get("reason") or f"first call {entry['first_call']:.3f} s"
        self.say(f"  {peer.name}: {told}")

    def turn(self, name: str, turn: int) -> None:
        """One round of one peer, if it has time left."""
        done = self.rounds[name]
        left = self.settings.steady_limit - sum(found["wall"] for found in done)
        if done and left < done[-1]["seconds"]:
            return
        start = time.perf_counter()
        try:
            found = self.workers[name].ask(self.settings.round_seconds, self.settings.steady_limit)
        except StoppedError as stop:
            self.workers.pop(name).close()
            self.entries[name] |= {"status": stop.status, "reason": f"round {turn + 1}: {stop}"}
            return
        done.append(found | {"wall": time.perf_counter() - start})

    def profile(self) -> None:
        """Time our launches one by one; a failure there takes nothing from the other figures."""
        if OURS not in self.workers:
            return
        try:
            self.entries[OURS] |= self.workers[OURS].ask("profile", PROFILE_LIMIT)
        except StoppedError as stop:
            self.entries[OURS]["profile_failed"] = stop.reason
            self.say(f"  launches could not be timed: {stop.reason}")


def longest(case: Case, settings: Settings) -> float:
    """Seconds that a case can take at most."""
    each = settings.start_limit + settings.first_limit + 2 * settings.steady_limit
    return (1 + len(case.peers)) * each + PROFILE_LIMIT


def measure(
    case: Case,
    settings: Settings,
    say: Callable[[str], None],
    open_worker: Callable[[Case, Peer, Settings], Any] = GpuWorker,
) -> dict[str, Any]:
    """Measure a case and judge its goals; a record for the result file."""
    entries = GpuMeasurement(case, settings, say, open_worker).run(case.peers)
    return judged(case, settings, entries)
