"""The helpers: threads that come when they can."""

from __future__ import annotations

import gc
import threading
import weakref
from queue import SimpleQueue

import pytest

from tn_qnn.backends.cpu import helpers as module
from tn_qnn.backends.cpu.helpers import Helpers

WAIT = 60  # seconds until a test has failed


@pytest.fixture
def helpers():
    helpers = Helpers()
    yield helpers
    helpers.stop()


def test_every_job_is_run_on_another_thread(helpers):
    came = SimpleQueue()
    for _ in range(20):
        helpers.ask(3, lambda number: came.put((number, threading.get_ident())))
    got = [came.get(timeout=WAIT) for _ in range(60)]
    assert sorted(number for number, _ in got) == sorted([1, 2, 3] * 20)
    assert threading.get_ident() not in {thread for _, thread in got}


def test_no_more_threads_than_asked_for_or_cores(helpers, monkeypatch):
    monkeypatch.setattr(module, "CORES", 3)
    for count, threads in ((0, 0), (1, 1), (1, 1), (2, 2), (9, 3)):
        helpers.ask(count, id)
        assert len(helpers.threads) == threads


def test_nothing_is_kept_alive_by_a_job_that_is_done(helpers):
    class Big:
        def __call__(self, number):
            pass

    big = Big()
    gone = threading.Event()
    weakref.finalize(big, gone.set)
    helpers.ask(2, big)
    del big
    gc.collect()
    assert gone.wait(WAIT)


def test_stopped_helpers_run_what_was_asked_before_and_nothing_after():
    helpers, came = Helpers(), SimpleQueue()
    helpers.ask(5, came.put)
    helpers.stop()
    assert not any(thread.is_alive() for thread in helpers.threads)
    assert came.qsize() == 5
    helpers.ask(5, came.put)
    helpers.stop()
    assert came.qsize() == 5


def test_without_threads_nothing_comes(helpers, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    helpers.ask(2, id)
    assert helpers.threads == []


def test_errors_are_reported_and_the_next_job_is_run(helpers, monkeypatch):
    reports, came = SimpleQueue(), SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reports.put)

    def fail(number):
        raise ValueError("wrong")

    helpers.ask(1, fail)
    assert str(reports.get(timeout=WAIT).exc_value) == "wrong"
    helpers.ask(1, came.put)
    assert came.get(timeout=WAIT) == 1


def test_a_forked_childs_threads_are_its_own(helpers):
    helpers.ask(1, id)
    old = helpers.threads
    helpers.stop()  # as gone as after a fork
    helpers.reset()
    came = SimpleQueue()
    helpers.ask(1, came.put)
    assert came.get(timeout=WAIT) == 1
    assert helpers.threads[0] not in old
