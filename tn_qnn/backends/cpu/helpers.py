"""Threads that may join a caller's work, and that nobody waits for."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["HELPERS", "Helpers"]

Job = Callable[[int], object]
CORES = os.cpu_count() or 1


class Helpers:
    """Daemon threads that take jobs from a queue; they start when first asked for.

    Examples
    --------
    >>> helpers, came = Helpers(), SimpleQueue()
    >>> helpers.ask(2, came.put)
    >>> sorted([came.get(), came.get()])
    [1, 2]
    >>> helpers.stop()
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all threads and jobs: a forked child has none of them."""
        self.threads: list[threading.Thread] = []
        self.jobs: SimpleQueue[tuple[Job, int] | None] = SimpleQueue()

    def ask(self, count: int, job: Job) -> None:
        """Ask for ``job(1)`` ... ``job(count)`` on other threads; return at once.

        They may be run late, when it no longer matters, and by fewer threads than that. What a job
        raises is reported by ``threading.excepthook``.
        """
        try:
            while len(self.threads) < min(count, CORES):
                thread = threading.Thread(target=_help, args=[self.jobs], name="tn_qnn helper")
                thread.daemon = True
                thread.start()
                self.threads.append(thread)
        except RuntimeError:
            pass  # no more threads can be had: those that there are will do
        for number in range(1, count + 1):
            self.jobs.put((job, number))

    def stop(self) -> None:
        """End all threads, once the queue's jobs are done; later jobs are not run."""
        self.jobs.put(None)
        for thread in self.threads:
            thread.join()


def _help(jobs: SimpleQueue[tuple[Job, int] | None]) -> None:
    """Run jobs until there comes a None, and leave that to the next thread."""
    while item := jobs.get():
        try:
            item[0](item[1])
        except Exception:
            report = [*sys.exc_info(), threading.current_thread()]
            threading.excepthook(threading.ExceptHookArgs(report))
            del report
        del item  # while this thread waits, it must not keep anything alive
    jobs.put(None)


HELPERS = Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=HELPERS.reset)
atexit.register(HELPERS.stop)
