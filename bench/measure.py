"""Measuring a case: every peer in a process of its own, rounds in turn."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.cases import Case
from bench.goals import OURS
from bench.peers import PEERS, Peer
from bench.worker import Job, environment, serve

TOLERANCE = 1e-4  # of an output, against ours


@dataclass(frozen=True)
class Settings:
    """How long and how often.

    Attributes
    ----------
    rounds
        Times that every peer has its turn.
    round_seconds
        Length of a turn; at least one call.
    start_limit, first_limit, one_limit, steady_limit
        Seconds for imports and warm-up; for the first call of a peer that answers the whole batch,
        and of one that evaluates a part of it; and for all turns of one peer.
    threads
        Cores for everyone.
    quick
        Small batches, to try the benchmark itself.
    """

    rounds: int = 7
    round_seconds: float = 0.3
    start_limit: float = 120.0
    first_limit: float = 180.0
    one_limit: float = 60.0
    steady_limit: float = 15.0
    threads: int = 2
    quick: bool = False

    @classmethod
    def fast(cls) -> Settings:
        """For ``--quick``."""
        return cls(
            rounds=2,
            round_seconds=0.05,
            first_limit=20.0,
            one_limit=20.0,
            steady_limit=2.0,
            quick=True,
        )


class StoppedError(Exception):
    """A worker failed, or ran over a limit."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Worker:
    """A process that holds one peer with one case."""

    def __init__(self, case: Case, peer: Peer, settings: Settings) -> None:
        self.folder = tempfile.mkdtemp(prefix="tn-qnn-bench-")
        os.environ |= environment(settings.threads)
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        job = Job(case.name, peer.name, settings.quick, settings.threads, self.folder)
        self.process = context.Process(target=serve, args=(job, theirs))
        self.process.start()
        theirs.close()

    def answer(self, limit: float) -> dict[str, Any]:
        """Wait for the next answer.

        Raises
        ------
        StoppedError
            When the worker failed, died or took longer than ``limit`` seconds.
        """
        if not self.connection.poll(limit):
            raise StoppedError("over", f"over {limit:.0f} s")
        try:
            found: dict[str, Any] = self.connection.recv()
        except EOFError:
            self.process.join(5)
            raise StoppedError("failed", f"died, exit code {self.process.exitcode}") from None
        if "failed" in found:
            raise StoppedError("failed", found["failed"])
        return found

    def ask(self, request: str | float, limit: float) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        self.connection.send(request)
        return self.answer(limit)

    def close(self) -> None:
        """End the process, in the midst of what it does if need be."""
        with contextlib.suppress(ProcessLookupError):
            # The worker leads a group of its own: what it started (path searches) ends too.
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Measurement:
    """One case; ``entries`` fills up by peer."""

    def __init__(self, case: Case, settings: Settings, say: Callable[[str], None]) -> None:
        self.case = case.smaller() if settings.quick else case
        self.settings, self.say = settings, say
        self.entries: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, Worker] = {}
        self.rounds: dict[str, list[dict[str, Any]]] = {}
        self.ours: Any = None

    def run(self, peers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Measure ours and the peers, first calls one by one, then all in turns."""
        try:
            for name in (OURS, *peers):
                self.start(PEERS[name])
            for turn in range(self.settings.rounds):
                for name in tuple(self.workers):
                    self.turn(name, turn)
        finally:
            for name in tuple(self.workers):
                self.workers.pop(name).close()
        for name, found in self.rounds.items():
            self.entries[name] |= steady_figures(self.entries[name], found, self.case.evaluations)
        return self.entries

    def limit(self, peer: Peer) -> float:
        """Seconds for a call."""
        return self.settings.first_limit if peer.batch is None else self.settings.one_limit

    def start(self, peer: Peer) -> None:
        """Import, warm up and make the first call."""
        if reason := peer.missing():
            self.entries[peer.name] = {"status": "absent", "reason": reason}
            self.say(f"  {peer.name}: {reason}")
            return
        worker = Worker(self.case, peer, self.settings)
        limit = self.limit(peer)
        entry: dict[str, Any] = {}
        try:
            entry |= worker.answer(self.settings.start_limit)
            found = worker.ask("first", limit)
        except StoppedError as stop:
            worker.close()
            at_least = {"first": limit} if stop.status == "over" and entry else {}
            where = "first call" if entry else "imports and warm-up"
            entry |= {"status": stop.status, "reason": f"{where}: {stop.reason}"}
            entry |= {"at_least": at_least}
        else:
            self.workers[peer.name], self.rounds[peer.name] = worker, []
            entry |= {"status": "ok", "first_call": found["seconds"], "peak_bytes": found["peak"]}
            entry |= {"facts": found["facts"]} if found["facts"] else {}
            if entry["evaluations"] == self.case.evaluations:
                entry["first"] = found["seconds"]
            entry |= self.checked(peer.name, found["outputs"])
        self.entries[peer.name] = entry
        told = entry.get("reason") or f"first call {entry['first_call']:.3f} s"
        self.say(f"  {peer.name}: {told}")

    def checked(self, name: str, outputs: Any) -> dict[str, Any]:
        """Compare with our outputs, and with the known value."""
        if name == OURS:
            self.ours = outputs
        if not np.isfinite(outputs).all():
            return {"status": "wrong", "reason": "outputs are not finite"}
        references = [] if self.ours is None else [self.ours[: len(outputs), : outputs.shape[1]]]
        if self.case.value is not None:
            references.append(np.full(outputs.shape, self.case.value))
        errors = [float(np.max(np.abs(outputs - reference))) for reference in references]
        error = max(errors, default=None)
        if error is None or error <= TOLERANCE:
            return {"error": error, "largest": float(np.max(np.abs(outputs)))}
        return {"status": "wrong", "reason": f"outputs differ by {error:.3g}", "error": error}

    def turn(self, name: str, turn: int) -> None:
        """One round of one peer, if it has time left."""
        done = self.rounds[name]
        spent = sum(found["wall"] for found in done)
        left = self.settings.steady_limit - spent
        # What a round takes at least is known from the last one.
        if done and left < done[-1]["seconds"]:
            return
        start = time.perf_counter()
        try:
            found = self.workers[name].ask(self.settings.round_seconds, self.limit(PEERS[name]))
        except StoppedError as stop:
            self.workers.pop(name).close()
            self.entries[name] |= {"status": stop.status, "reason": f"round {turn + 1}: {stop}"}
            return
        done.append(found | {"wall": time.perf_counter() - start})


def steady_figures(
    entry: dict[str, Any], rounds: list[dict[str, Any]], evaluations: int
) -> dict[str, Any]:
    """Median, fastest and slowest round, for the whole batch; and the whole batch's first call.

    A peer that evaluates a part of the batch in a call is extrapolated in proportion.
    """
    if not rounds:
        return {}
    share = evaluations / entry["evaluations"]
    seconds = [found["seconds"] for found in rounds]
    middle = median(seconds)
    return {
        "first": entry["first_call"] + (share - 1) * middle,
        "median": share * middle,
        "min": share * min(seconds),
        "max": share * max(seconds),
        "rounds": len(rounds),
        "calls": sum(found["calls"] for found in rounds),
        "extrapolated": share > 1,
        "peak_bytes": max(entry["peak_bytes"], *(found["peak"] for found in rounds)),
    }


def measure(
    case: Case, peers: Sequence[str], settings: Settings, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure a case and judge its goals; a record for the result file."""
    entries = Measurement(case, settings, say).run(peers)
    return judged(case, settings, entries)


def judged(case: Case, settings: Any, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The record of a measured case, its goals judged; ``settings`` is a dataclass."""
    verdicts = [goal.judge(entries, case.scale, case.unit_name) for goal in case.goals]
    return {
        "name": case.name,
        "title": case.title,
        "unit": f"{case.unit_name} a{'n' if case.unit == 'evaluation' else ''} {case.unit}",
        "scale": case.scale,
        "sets": case.sets,
        "samples": case.samples,
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "settings": asdict(settings),
        "entries": entries,
        "goals": [asdict(verdict) for verdict in verdicts],
    }
