"""The benchmark as a program: frozen cases, goals that can be judged, a file that can be read.

Nothing here looks at a time.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # bench/ is not installed

from bench import circuits, results  # noqa: E402
from bench.cases import CASES, WARM_UP, Problem, find_cases, inputs  # noqa: E402
from bench.goals import OURS, AtMost, Faster  # noqa: E402
from bench.measure import steady_figures  # noqa: E402
from bench.peers import PEERS  # noqa: E402
from bench.peers.cotengra_numpy import build as cotengra_build  # noqa: E402
from bench.peers.cotengra_our_path import build as our_path_build  # noqa: E402
from bench.peers.ours import build as our_build  # noqa: E402
from bench.peers.ours import step_weights  # noqa: E402

CHEAP = [case for case in CASES if case.name != "wall-10000"]

# A case that changes must be given another name: old results are compared with new ones.
FROZEN = {
    "line-2": "b3269c84c3c1",
    "line-4": "c87b3596f51f",
    "line-6": "bfd359bd5c37",
    "line-8": "72a3754ad1db",
    "grid-4": "0aedbbc88893",
    "grid-6": "e74f82536eb5",
    "grid-8": "91ac15900719",
    "complex-u3": "6676802a62d8",
    "complex-entangling": "44e9f49eb97f",
    "small-line20": "d3b8edff778d",
    "step-demo": "5f4bf7be939d",
    "wall-eagle": "c054add2bab8",
    "wall-1000": "e7441f58e21c",
}


def fingerprint(case) -> str:
    """A digest of a case's circuits, readouts and batch."""
    problem = case.build()
    parts = [
        [
            [(op.gate, op.qubits, *map(str, op.params)) for op in c.operations]
            for c in problem.circuits
        ],
        problem.qubits,
        problem.dtype,
        (case.sets, case.samples, case.unit, case.task, case.spread),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@pytest.mark.parametrize("case", CHEAP, ids=lambda case: case.name)
def test_a_case_is_frozen(case):
    assert fingerprint(case) == FROZEN[case.name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_states_goals_and_names_peers_that_exist(case):
    assert case.goals
    assert set(case.peers) <= set(PEERS) - {OURS}
    compared = {goal.peer for goal in case.goals if isinstance(goal, Faster)}
    assert compared <= set(case.peers)
    for goal in case.goals:
        verdict = goal.judge({}, case.scale, case.unit_name)
        assert verdict.goal
        assert verdict.reached is None


def test_names_are_unique_and_groups_select():
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in find_cases(("line",))] == ["line-2", "line-4", "line-6", "line-8"]
    with pytest.raises(ValueError, match="no case or group is named 'lines'"):
        find_cases(("lines",))


STOPPED = {"status": "over", "at_least": {"first": 10}}


@pytest.mark.parametrize(
    ("goal", "entries", "reached"),
    [
        (AtMost("steady", 2.0), {OURS: {"median": 1.9}}, True),
        (AtMost("steady", 2.0), {OURS: {"median": 2.1}}, False),
        (AtMost("peak", 100.0), {OURS: {"peak_bytes": 101_000_000}}, False),
        (Faster("steady", "quimb", 3), {OURS: {"median": 1.0}, "quimb": {"median": 3.5}}, True),
        (Faster("steady", "quimb", 3), {OURS: {"median": 1.0}, "quimb": {"median": 2.5}}, False),
        (Faster("first", "quimb", 3), {OURS: {"first": 1.0}, "quimb": {"status": "absent"}}, None),
        # Stopped after 10 s: certainly 3 times slower than 1 s, perhaps 30 times.
        (Faster("first", "quimb", 3), {OURS: {"first": 1}, "quimb": STOPPED}, True),
        (Faster("first", "quimb", 30), {OURS: {"first": 1}, "quimb": STOPPED}, None),
        (
            Faster("steady", "quimb", 3),
            {OURS: {"median": 1.0}, "quimb": {"median": 3.5, "status": "wrong"}},
            None,
        ),
    ],
)  # fmt: skip
def test_goals_are_judged(goal, entries, reached):
    assert goal.judge(entries, 1.0, "s").reached is reached


def test_a_peer_that_evaluates_a_part_is_extrapolated():
    rounds = [{"seconds": s, "calls": 2, "peak": 5} for s in (0.1, 0.3, 0.2)]
    entry = {"evaluations": 16, "first_call": 1.0, "peak_bytes": 7}
    found = steady_figures(entry, rounds, evaluations=64)
    assert found["median"] == pytest.approx(0.8)
    assert found["first"] == pytest.approx(1.0 + 3 * 0.2)
    assert (found["calls"], found["peak_bytes"], found["extrapolated"]) == (6, 7, True)


@pytest.mark.parametrize("name", ["line-4", "complex-u3", "wall-eagle", "wall-1000"])
def test_cotengra_contracts_the_same_network(name):
    (case,) = find_cases((name,))
    case = replace(case, samples=min(case.samples, 3))
    if name == "wall-1000":  # fewer qubits, still cones that share a topology
        case = replace(case, build=lambda: Problem((circuits.line(2, 12),), tuple(range(12))))
    problem = case.build()
    ((weights, X),) = inputs(case, problem)
    ours = our_build(problem, case.sets, case.samples)(weights, X)
    theirs = cotengra_build(problem, case.sets, case.samples)(weights, X)
    assert ours.shape == theirs.shape == (case.sets, case.samples, problem.num_outputs)
    assert np.abs(ours).max() > 1e-2  # else any wrong answer would pass
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    ours_again = our_path_build(problem, case.sets, case.samples)(weights, X)
    np.testing.assert_allclose(ours, ours_again, atol=1e-5)
    if case.value is not None:
        np.testing.assert_allclose(ours, case.value, atol=1e-10)


def test_the_step_evaluates_the_pair_that_the_peers_get():
    problem = WARM_UP.build()
    ((weights, X),) = inputs(WARM_UP, problem)
    pair = step_weights(weights[0])
    step = our_build(problem, 2, len(X), "spsa")
    np.testing.assert_allclose(step(pair, X), our_build(problem, 2, len(X))(pair, X), atol=1e-6)


# --- as a program -----------------------------------------------------------------------------


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Path:
    """Return the file of a quick run."""
    path = tmp_path_factory.mktemp("bench") / "out.json"
    done = bench("--quick", "--without-peers", "--only", "line-2", "--out", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_a_quick_run_writes_a_valid_file(result):
    found = json.loads(result.read_text())
    assert found["machine"]["cpu"]
    assert found["versions"]["numpy"] == np.__version__
    (case,) = found["cases"]
    entry = case["entries"][OURS]
    assert entry["status"] == "ok", entry
    assert 0 < entry["min"] <= entry["median"] <= entry["max"]
    assert entry["first"] > 0
    assert entry["facts"]["plan_seconds"] > 0  # the plan cache was cold
    reached = {goal["goal"]: goal["reached"] for goal in case["goals"]}
    assert reached.pop("steady state at most 0.2 µs") in (True, False)
    assert set(reached.values()) == {None}


def test_the_tables_are_made_from_the_file(result, tmp_path):
    text = results.markdown(json.loads(result.read_text()))
    assert result.with_suffix(".md").read_text() == text
    assert "| line of 64, depth 2, µs an evaluation | **tn_qnn** |" in text
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.update_document(json.loads(result.read_text()), document)
    changed = document.read_text()
    assert changed.startswith("before\n")
    assert changed.endswith("\nafter\n")
    assert text in changed
    assert "old" not in changed
    document.write_text("no marks")
    with pytest.raises(ValueError, match="expected one"):
        results.update_document(json.loads(result.read_text()), document)


def test_a_run_resumes_and_refuses_another_machine(result):
    again = bench("--quick", "--resume", "--only", "line-2", "--out", result)
    assert again.returncode == 0, again.stderr
    assert "line of 64, depth 2" not in again.stdout
    found = json.loads(result.read_text())
    other = result.with_name("other.json")
    other.write_text(json.dumps({**found, "machine": {**found["machine"], "cpu": "another"}}))
    refused = bench("--quick", "--only", "line-2", "--out", other)
    assert refused.returncode == 2
    assert "machine differ" in refused.stderr
    assert json.loads(other.read_text())["cases"] == found["cases"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing"], "no case or group is named 'nothing'"),
        (["--peers", "nobody"], "no peer is named 'nobody'"),
    ],
)
def test_a_wrong_name_is_refused(arguments, message, tmp_path):
    done = bench(*arguments, "--out", tmp_path / "out.json")
    assert done.returncode == 2
    assert message in done.stderr
    assert not os.listdir(tmp_path)


def test_the_document_has_the_marks():
    text = results.DOCUMENT.read_text(encoding="utf-8")
    assert text.count(results.BEGIN) == text.count(results.END) == 1


def test_cases_and_peers_are_listed():
    done = bench("--list")
    assert done.returncode == 0
    for name in (*(case.name for case in CASES), *PEERS):
        assert name in done.stdout
