"""The plan cache: hits, spoiled files, folders that cannot be written, processes at once."""

import json
import logging
import os
import subprocess
import sys

import pytest

from tn_qnn.plan import cache as cache_module
from tn_qnn.plan.cache import Entry, PlanCache, default_cache, default_folder
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.plan import cost_of

from . import networks

TOPOLOGY = networks.line(4)


@pytest.fixture
def spoiled(tmp_path):
    """A folder with one good entry: (folder, its file, the plan)."""
    plan = find_plan(TOPOLOGY, cache=PlanCache(tmp_path))
    (file,) = tmp_path.glob("*.json")
    return tmp_path, file, plan


def test_a_second_call_and_a_second_process_find_the_plan(spoiled):
    folder, _, plan = spoiled
    assert plan.source == "search"
    cache = PlanCache(folder)
    for _ in range(2):  # from disk, then from memory
        again = find_plan(TOPOLOGY, cache=cache)
        assert again.source == "cache"
        assert (again.path, again.cost, again.seconds) == (plan.path, plan.cost, plan.seconds)


@pytest.mark.parametrize(
    "change", [{"search": "greedy"}, {"seed": 1}, {"seconds": 100.0}], ids=lambda c: next(iter(c))
)
def test_another_search_is_another_entry(spoiled, change):
    assert find_plan(TOPOLOGY, cache=PlanCache(spoiled[0]), **change).source == "search"


def test_another_size_or_version_is_another_entry(spoiled, monkeypatch):
    cache = PlanCache(spoiled[0])
    assert find_plan(networks.line(4, samples=255), cache=cache).source == "search"
    monkeypatch.setattr("tn_qnn.plan.find._versions", lambda: ("format=2",))
    assert find_plan(TOPOLOGY, cache=cache).source == "search"


def rewritten(**changes):
    """Return a function that changes fields of the stored JSON."""
    return lambda text: json.dumps(json.loads(text) | changes)


def steps(change):
    """Return a function that changes the stored path, a list of pairs."""

    def rewrite(text):
        value = json.loads(text)
        value["path"] = json.dumps(change(json.loads(value["path"])))
        return json.dumps(value)

    return rewrite


SPOILERS = {
    "empty": lambda text: "",
    "truncated": lambda text: text[: len(text) // 2],
    "garbage": lambda text: "\x00\x01garbage",
    "not utf-8": lambda text: b"\xff\xfe\xfa",
    "no object": lambda text: "[1, 2]",
    "null": lambda text: "null",
    "wrong version": rewritten(format=0),
    "other key": rewritten(key="0" * 64),
    "path is a number": rewritten(path=3),
    "path is nested text": rewritten(path='"[[0, 1]]"'),
    "path is code": rewritten(path="__import__('os').abort()"),
    "no path": rewritten(path="[]"),
    "huge number in path": rewritten(path="[[0, 1" + "0" * 5000 + "]]"),
    "large number in path": steps(lambda path: [[0, 10**18], *path[1:]]),
    "tensor used twice": steps(lambda path: [path[0]] * len(path)),
    "step too few": steps(lambda path: path[:-1]),
    "step of three": steps(lambda path: [[*path[0], 1], *path[1:]]),
    "step of floats": steps(lambda path: [[0.0, 1.0], *path[1:]]),
    "step of booleans": steps(lambda path: [[False, True], *path[1:]]),
    "sliced batch label": rewritten(sliced=[0]),
    "sliced unknown": rewritten(sliced=[10**9]),
    "sliced twice": rewritten(sliced=[2, 2]),
    "sliced text": rewritten(sliced="12"),
    "seconds is NaN": rewritten(seconds=float("nan")),
    "seconds is text": rewritten(seconds="1"),
    "deep nesting": lambda text: "[" * 3500,
    "deep nesting in path": rewritten(path="[" * 3500),
    "too large": lambda text: text + " " * 10**6,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_a_spoiled_file_is_planned_anew_and_replaced(spoiled, spoil, caplog):
    folder, file, plan = spoiled
    changed = spoil(file.read_text())
    file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with caplog.at_level(logging.WARNING, logger="tn_qnn"):
        again = find_plan(TOPOLOGY, cache=PlanCache(folder))
    assert (again.source, again.path) == ("search", plan.path)
    assert "planning anew" in caplog.text
    assert find_plan(TOPOLOGY, cache=PlanCache(folder)).source == "cache"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_read(spoiled, make, caplog):
    folder, file, plan = spoiled
    file.unlink()
    make(file)
    assert find_plan(TOPOLOGY, cache=PlanCache(folder)).path == plan.path
    assert "no regular file" in caplog.text


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path, caplog):
    blocker = tmp_path / "file"
    blocker.write_text("")
    cache = PlanCache(blocker / "plans")  # even root cannot make a folder below a file
    with caplog.at_level(logging.WARNING, logger="tn_qnn"):
        first = find_plan(TOPOLOGY, cache=cache)
        find_plan(networks.line(2), cache=cache)
    assert first.source == "search"
    assert find_plan(TOPOLOGY, cache=cache).source == "cache"  # kept in memory
    assert [record.levelname for record in caplog.records if "not kept" in record.message] == [
        "WARNING"
    ]


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "write_json", full)
    assert find_plan(TOPOLOGY, cache=PlanCache(tmp_path)).source == "search"
    assert "No space left" in caplog.text


WRITER = """
import sys
from tn_qnn.plan.cache import Entry, PlanCache
from tn_qnn.plan.topology import Topology
folder, number = sys.argv[1], int(sys.argv[2])
topology = Topology(tuple((i,) for i in range(200)), (), (2,) * 200)
path = tuple((i if i == 0 else 199 + i, i + 1) for i in range(199))
for turn in range(150):
    PlanCache(folder).put("f" * 64, Entry(path, (number,), float(turn)))
    found = PlanCache(folder).get("f" * 64, topology)
    assert found is not None and found.path == path, found
"""


def test_processes_may_share_a_folder(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number)], stderr=subprocess.PIPE
        )
        for number in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
        assert errors == b""  # no warning of a damaged file
    assert [file.name for file in tmp_path.iterdir()] == ["f" * 64 + ".json"]


def test_a_sliced_plan_is_kept_apart_for_budgets_of_one_class(spoiled):
    folder, _, plan = spoiled
    peak = plan.cost.peak_elements
    first = find_plan(TOPOLOGY, cache=PlanCache(folder), budget_elements=peak - 1)
    assert first.cost.peak_elements < peak
    second = find_plan(TOPOLOGY, cache=PlanCache(folder), budget_elements=peak - 2)
    assert (second.path, second.sliced) == (first.path, first.sliced)
    assert len(list(folder.glob("*.json"))) == 2
    assert find_plan(TOPOLOGY, cache=PlanCache(folder)).path == plan.path


def test_a_stored_slicing_that_does_not_fit_is_not_used(spoiled):
    folder, _, plan = spoiled
    budget = plan.cost.peak_elements - 1
    first = find_plan(TOPOLOGY, cache=PlanCache(folder), budget_elements=budget)
    for file in folder.glob("*.json"):
        value = json.loads(file.read_text())
        if file != spoiled[1]:
            file.write_text(json.dumps(value | {"path": json.dumps(plan.path), "sliced": []}))
    again = find_plan(TOPOLOGY, cache=PlanCache(folder), budget_elements=budget)
    assert again.cost == first.cost
    assert cost_of(TOPOLOGY, again.path, again.sliced).peak_elements <= budget


def test_a_users_path_is_not_cached(tmp_path):
    path = find_plan(TOPOLOGY, cache=None).path
    find_plan(TOPOLOGY, path=path, cache=PlanCache(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_oldest_entry_in_memory_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "IN_MEMORY", 2)
    cache = PlanCache(tmp_path)
    for name in "abc":
        cache.put(name * 64, Entry((), (), 0.0))
    assert set(cache._memory) == {"b" * 64, "c" * 64}


def test_clear_leaves_foreign_files(tmp_path):
    cache = PlanCache(tmp_path)
    find_plan(TOPOLOGY, cache=cache)
    (tmp_path / "notes.json").write_text("{}")
    cache.clear()
    assert [file.name for file in tmp_path.iterdir()] == ["notes.json"]
    assert find_plan(TOPOLOGY, cache=cache).source == "search"


def test_the_environment_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TN_QNN_CACHE_DIR", str(tmp_path))
    assert default_folder() == tmp_path / "plans"
    assert default_cache() is default_cache()
    find_plan(TOPOLOGY)
    assert len(list((tmp_path / "plans").iterdir())) == 1
    monkeypatch.delenv("TN_QNN_CACHE_DIR")
    assert "tn_qnn" in str(default_folder())
