"""The benchmark and the check of a GPU, as far as they go without one.

Cases are frozen, goals can be judged, sections cannot hurt each other, a file can be gone on
with, the peers give our outputs, and ours is run on the stand-in for CuPy. No time is looked at.
"""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # bench/ is not installed

from bench.cases import CASES, inputs  # noqa: E402
from bench.goals import OURS, AtMost  # noqa: E402
from bench.gpu import __main__ as gpu  # noqa: E402
from bench.gpu import predict, results, setup  # noqa: E402
from bench.gpu.cases import CHECKED, GPU_CASES, PEERS, find_gpu_cases  # noqa: E402
from bench.gpu.goals import FasterThanBest, HostTime, OfCeiling  # noqa: E402
from bench.gpu.measure import QUICK, SETTINGS, GpuMeasurement, longest, measure  # noqa: E402
from bench.gpu.memory import DeviceMemory  # noqa: E402
from bench.gpu.peers import GPU_PEERS  # noqa: E402
from bench.gpu.setup import Driver  # noqa: E402
from bench.measure import StoppedError  # noqa: E402
from bench.peers.gpu_network import Library, Networks, by_opt_einsum  # noqa: E402
from bench.peers.gpu_opt_einsum import CupyCall  # noqa: E402
from tn_qnn.backends.cuda.ceilings import ceilings  # noqa: E402
from tn_qnn.circuit.observables import Z  # noqa: E402
from tn_qnn.models.qnn import QNN  # noqa: E402

# Cases that the CPU's benchmark does not have; one that changes must be given another name.
FROZEN = {
    "grid-10": "bbbbb79304b5",
    "entangling-3": "6b7ab15acd40",
    "kicked-5": "eabb1bc9b1cf",
    "kicked-7": "6cecdf663101",
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


def only(name):
    (case,) = (c for c in GPU_CASES if c.name == name)
    return case


# --- cases and goals --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FROZEN)
def test_a_case_is_frozen(name):
    assert fingerprint(only(name)) == FROZEN[name]


def test_all_cases_of_the_cpu_are_among_them_unchanged():
    for case in CASES:
        ours = only(case.name)
        assert (ours.build, ours.sets, ours.samples, ours.task) == (
            case.build, case.sets, case.samples, case.task,
        )  # fmt: skip


def test_batches_span_what_they_should():
    plain = [case for case in GPU_CASES if case.task == "outputs" and case.peers]
    assert {case.sets for case in plain} >= {2, 16, 64}
    assert {case.samples for case in plain} >= {256, 1024, 4096, 16384}
    assert len({case.name for case in GPU_CASES}) == len(GPU_CASES)
    assert set(CHECKED) <= {case.name for case in GPU_CASES}


def test_cases_are_found_by_name_and_by_circuit():
    assert [c.name for c in find_gpu_cases(("grid-10@2x4096",))] == ["grid-10@2x4096"]
    assert len(find_gpu_cases(("grid-10",))) == 3
    with pytest.raises(ValueError, match="no case is named 'grid'"):
        find_gpu_cases(("grid",))


def test_every_case_can_end_within_one_call():
    assert max(longest(case, SETTINGS) for case in GPU_CASES) <= 60 * gpu.MINUTES


def test_small_and_large_cones_have_the_goals_of_the_issue():
    factors = {name: only(name).goals[0].factor for name in ("line-4", "grid-8", "grid-10")}
    assert factors == {"line-4": 10, "grid-8": 1.5, "grid-10": 1.5}
    shares = [(g.size, g.share) for g in only("line-4").goals if isinstance(g, OfCeiling)]
    assert shares == [("large", 0.5), ("small", 0.25)]
    assert HostTime(10e-6) in only("grid-10").goals
    assert {peer for case in GPU_CASES for peer in case.peers} == set(GPU_PEERS) - {OURS}


def stage(ceiling, measured, name="sets"):
    return {"stage": name, "ceiling": ceiling, "predicted": 2 * ceiling, "measured": measured}


OURS_1 = {"status": "ok", "median": 1.0}
STAGES = [stage(1e-6, 1.0), stage(4e-6, 10e-6), stage(100e-6, 120e-6, "samples")]


@pytest.mark.parametrize(
    ("goal", "entries", "reached"),
    [
        (FasterThanBest("steady", PEERS, 10), {}, None),
        (FasterThanBest("steady", PEERS, 10), {OURS: OURS_1}, None),
        (
            FasterThanBest("steady", PEERS, 10),
            {OURS: OURS_1, PEERS[0]: {"status": "ok", "median": 30.0},
             PEERS[1]: {"status": "ok", "median": 11.0}},
            True,
        ),
        (
            FasterThanBest("steady", PEERS, 10),
            {OURS: OURS_1, PEERS[0]: {"status": "ok", "median": 30.0},
             PEERS[1]: {"status": "ok", "median": 9.0}},
            False,
        ),
        # A wrong answer is no competitor.
        (
            FasterThanBest("steady", PEERS, 10),
            {OURS: OURS_1, PEERS[0]: {"status": "wrong", "median": 2.0},
             PEERS[1]: {"status": "ok", "median": 11.0}},
            True,
        ),
        (OfCeiling("large", 0.5), {OURS: {}}, None),
        (OfCeiling("large", 0.5), {OURS: {"stages": STAGES}}, True),
        (OfCeiling("small", 0.25), {OURS: {"stages": STAGES}}, True),
        (OfCeiling("small", 0.5), {OURS: {"stages": STAGES}}, False),
        (OfCeiling("large", 0.5), {OURS: {"stages": STAGES[:2]}}, None),
        (HostTime(10e-6), {OURS: {"host": 9e-6}}, True),
        (HostTime(10e-6), {OURS: {"host": 11e-6}}, False),
        (HostTime(10e-6), {}, None),
    ],
)  # fmt: skip
def test_goals_are_judged(goal, entries, reached):
    verdict = goal.judge(entries, 1.0, "s")
    assert verdict.reached is reached
    assert (verdict.measured == "not measured") == (not any(entries.values()) or entries == {
        OURS: OURS_1
    })  # fmt: skip


# --- peers ------------------------------------------------------------------------------------

NUMPY = Library(np, np.asarray, lambda array, kind: array.astype(kind))


@pytest.mark.parametrize("name", ["line-4", "complex-u3", "step-demo", "kicked-5", "wall-eagle"])
def test_the_peers_network_gives_our_outputs(name):
    case = only(name)
    case = replace(case, samples=min(case.samples, 3))
    problem = case.build()
    ((weights, X),) = inputs(case, problem)
    networks = Networks(problem, case.sets, case.samples, NUMPY, by_opt_einsum)
    theirs = networks(weights.astype(problem.dtype), X.astype(problem.dtype))
    observables = [Z(q) for q in problem.qubits]
    ours = QNN(problem.circuits, observables, dtype=problem.dtype, backend="cpu")(weights, X)
    assert theirs.dtype == problem.dtype
    assert np.abs(ours).max() > 1e-2  # else any wrong answer would pass
    np.testing.assert_allclose(np.moveaxis(theirs, 0, -1), ours, atol=1e-5)


def test_angles_that_are_products_are_refused():
    from bench.cases import Problem
    from tn_qnn.circuit.circuit import Circuit
    from tn_qnn.circuit.slots import feature, weight

    problem = Problem((Circuit(1).ry(weight("a") * feature(0), 0),), (0,))
    with pytest.raises(ValueError, match="products are not translated"):
        Networks(problem, 2, 3, NUMPY, by_opt_einsum)


def test_a_peer_on_cupy_keeps_its_arrays_on_the_device(cupy):
    case = only("line-2")
    problem = case.build()
    ((weights, X),) = inputs(case, problem)
    put = cupy.asarray(weights.astype("float32"))
    call = CupyCall(problem, lambda w, x: w[:1, :2, None] + x.sum(), cupy)
    outputs = call.run(call.put(weights), call.put(X))
    assert isinstance(outputs, cupy.ndarray)
    assert call.get(outputs).shape == (2, 1, 1)
    assert call.put(weights).dtype == put.dtype


def test_without_a_driver_no_memory_is_seen():
    with DeviceMemory(library="libno-such-driver.so") as memory:
        pass
    assert (memory.used(), memory.peak) == (0, 0)


# --- measuring --------------------------------------------------------------------------------


class FakeWorker:
    """Answers as a process would, or stops where it is told to."""

    closed: list[str]

    def __init__(self, case, peer, settings):
        self.case, self.name, self.rounds = case, peer.name, 0

    def answer(self, limit):
        if self.name == "torch-graphs":
            raise StoppedError("failed", "ImportError: no torch")
        return {"evaluations": self.case.evaluations}

    def ask(self, request, limit):
        if request == "first":
            wrong = self.name == "cutensornet"
            outputs = np.full((self.case.sets, self.case.samples, 1), 0.5 + wrong)
            return {"seconds": 2.0, "outputs": outputs, "peak": 10**6, "facts": {}}
        if request == "profile":
            return {"host": 5e-6, "launches": [], "stages": [stage(50e-6, 80e-6)]}
        self.rounds += 1
        if self.name == "opt-einsum-cupy" and self.rounds == 2:
            raise StoppedError("over", "over 6 s")
        seconds = 1e-5 if self.name == OURS else 3e-4
        return {"seconds": seconds * self.rounds, "calls": 9, "peak": 0}

    def close(self):
        self.closed.append(self.name)


@pytest.fixture
def all_there(monkeypatch):
    """Every peer counts as installed, and answers come from :class:`FakeWorker`."""
    from bench.peers import Peer

    monkeypatch.setattr(Peer, "missing", lambda self: None)
    FakeWorker.closed = []
    return FakeWorker


def test_a_case_is_measured_and_judged_though_peers_stop(all_there):
    said = []
    record = measure(only("line-4"), SETTINGS, said.append, all_there)
    entries = record["entries"]
    assert entries[OURS]["median"] == pytest.approx(3e-5)
    assert entries["tensorcircuit-ng-gpu"]["status"] == "ok"
    assert entries["torch-graphs"]["reason"] == "imports and warm-up: ImportError: no torch"
    assert entries["opt-einsum-cupy"]["reason"] == "round 2: over 6 s"
    assert entries["cutensornet"]["status"] == "wrong"
    assert [goal["reached"] for goal in record["goals"]] == [True, True, None, True]
    assert record["goals"][0]["measured"] == "30 times tensorcircuit-ng-gpu"
    assert sorted(all_there.closed) == sorted(entries)  # every process was ended
    assert len(said) == len(entries)


def test_a_profile_that_fails_takes_nothing_from_the_times(all_there, monkeypatch):
    def ask(self, request, limit):
        if request == "profile":
            raise StoppedError("failed", "no event")
        return FakeWorker.ask(self, request, limit)

    failing = type("Failing", (all_there,), {"ask": ask})
    measurement = GpuMeasurement(only("line-4"), SETTINGS, lambda text: None, failing)
    entries = measurement.run(())
    assert entries[OURS]["profile_failed"] == "no event"
    assert entries[OURS]["median"] > 0


def test_absent_peers_are_in_the_table_with_the_reason(all_there, monkeypatch):
    from bench.peers import Peer

    monkeypatch.setattr(Peer, "missing", lambda self: None if self.name == OURS else "not here")
    entries = GpuMeasurement(only("line-4"), QUICK, lambda text: None, all_there).run(PEERS)
    assert {entries[name]["status"] for name in PEERS} == {"absent"}


@pytest.fixture
def small_steps(monkeypatch):
    """The roofline of an H100 for the stand-in, and short training runs."""
    from bench.gpu import profile
    from bench.peers import gpu_ours

    monkeypatch.setattr(profile, "device_ceilings", lambda runtime: ceilings("h100"))
    monkeypatch.setattr(profile, "REPEATS", 2)
    monkeypatch.setattr(profile, "REPLAYS", 3)
    monkeypatch.setattr(gpu_ours, "STEPS", 2)


@pytest.mark.parametrize("name", ["line-2", "step-demo", "gradient-demo"])
def test_ours_runs_on_the_stand_in(name, cupy, small_steps):
    from bench.gpu.worker import GpuSession
    from bench.peers.ours import step_weights

    session = GpuSession(name, OURS, quick=True)
    assert session.ready() == {"evaluations": 16 * session.case.sets}
    found = session.answer("first")
    assert session.answer(0.001)["calls"] >= 1
    profile = session.answer("profile")
    ((weights, X),) = inputs(session.case, session.problem)
    if name == "step-demo":
        weights = step_weights(weights[0])
    observables = [Z(q) for q in session.problem.qubits]
    expected = QNN(session.problem.circuits, observables, backend="cpu")(weights, X)
    np.testing.assert_allclose(found["outputs"], expected, atol=2e-5)
    assert found["facts"]["topologies"] == 1
    assert {x["stage"] for x in profile["stages"]} == {x["stage"] for x in profile["launches"]}
    assert all(x["measured"] > 0 and x["predicted"] > 0 for x in profile["launches"])
    if name == "line-2":
        assert profile["host"] > 0
        batches = session.batches
        outputs = [session.call.get(session.call.run(*batch)) for batch in batches]
        for given, output in zip(inputs(session.case, session.problem, 3), outputs, strict=True):
            model = QNN(session.problem.circuits, observables, backend="cpu")
            np.testing.assert_allclose(output, model(*given), atol=2e-5)


# --- the driver and its files -----------------------------------------------------------------


@pytest.fixture
def driver():
    """A driver as a machine with an H100 has it."""
    found = Driver(library="libno-such-driver.so")
    found.version, found.devices, found.name, found.reason = 13000, 1, "NVIDIA H100 80GB HBM3", ""
    return found


def fake_record(case, settings, say):
    entry = {
        "status": "ok", "median": 1e-5, "min": 1e-5, "max": 2e-5, "first": 1.0, "peak_bytes": 10,
        "extrapolated": False, "host": 6e-6, "stages": [stage(50e-6, 80e-6)],
    }  # fmt: skip
    entries = {OURS: entry, PEERS[0]: {"status": "absent", "reason": "not installed"}}
    verdicts = [goal.judge(entries, case.scale, "µs") for goal in case.goals]
    return {
        "name": case.name, "title": case.title, "unit": "µs an evaluation", "scale": case.scale,
        "entries": entries, "goals": [vars(verdict) for verdict in verdicts],
    }  # fmt: skip


def arguments(*words):
    return gpu.parser().parse_args([str(word) for word in words])


def test_a_run_goes_on_where_the_last_one_stopped(driver, tmp_path, capsys, monkeypatch):
    path = tmp_path / "h100.json"
    measured = []

    def record(case, settings, say):
        measured.append(case.name)
        return fake_record(case, settings, say)

    # No time at all is enough for one case a call.
    for calls in (1, 2):
        assert gpu.run(arguments("--out", path, "--minutes", 0), driver, record) == 0
        assert measured == [case.name for case in GPU_CASES[:calls]]
        last = capsys.readouterr().out.splitlines()[-1]
        assert f"{calls} of {len(GPU_CASES)} cases measured" in last
        assert last.endswith("run it again for the rest")
    found = json.loads(path.read_text())
    assert [case["name"] for case in found["cases"]] == measured
    assert found["machine"]["gpu"] == driver.name
    text = path.with_suffix(".md").read_text()
    assert text == results.markdown(found)
    assert "| line of 64, depth 2 | sets | 50 µs | 100 µs | 80 µs | 62% |" in text
    assert "host at most 10 µs a replay" in text

    named = arguments("--out", path, "--only", "line-2")
    assert gpu.run(named, driver, record) == 0
    assert measured[-1] == "line-2"
    driver.name = "NVIDIA B200"
    with pytest.raises(ValueError, match="machine differ"):
        gpu.run(named, driver, record)


def test_the_file_is_named_for_the_device(driver):
    assert results.short_name(driver.name) == "h100"
    assert results.short_name("NVIDIA H100 PCIe") == "nvidia-h100-pcie"


def test_without_a_gpu_nothing_is_measured_or_written(capsys, monkeypatch):
    monkeypatch.setattr(setup, "Driver", no_driver)
    before = sorted((ROOT / "bench" / "results").iterdir())
    assert gpu.main([]) == gpu.NO_GPU
    assert capsys.readouterr().out == "bench-gpu: not run, not measured: no NVIDIA driver\n"
    assert sorted((ROOT / "bench" / "results").iterdir()) == before


def no_driver():
    found = Driver(library="libno-such-driver.so")
    found.reason = "no NVIDIA driver"
    return found


def test_what_was_not_measured_says_so(capsys):
    assert gpu.main(["--list", "--only", "line-2"]) == 0
    text = capsys.readouterr().out
    assert results.NOT_MEASURED in text
    assert text.count("not measured | open |") == 4
    assert all(name in text for name in GPU_PEERS)


def test_predictions_are_labelled(capsys):
    assert gpu.main(["--predict", "h100", "--only", "small-line20"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("PREDICTED for H100, not measured;")
    assert "| line of 20, depth 6 (a statevector fits) |" in text
    assert gpu.main(["--predict", "v100"]) == 2


def test_the_document_s_tables_can_be_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "GPU_CASES", (only("line-2"),))
    monkeypatch.setattr(predict, "latest", lambda: None)
    page = tmp_path / "gpu.md"
    page.write_text(
        "a\n<!-- devices --><!-- /devices --><!-- predicted -->old<!-- /predicted -->\n"
        "<!-- results -->\n<!-- /results -->\nz\n"
    )
    predict.update_document(page)
    text = page.read_text()
    assert text.startswith("a\n")
    assert text.endswith("z\n")
    assert "old" not in text
    assert results.NOT_MEASURED in text
    assert "| line of 64, depth 2 | 3 |" in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected one"):
        predict.update_document(page)


def test_the_training_run_of_the_sanitizers_works_on_the_stand_in(cupy):
    from bench.gpu.training import main

    assert np.isfinite(main(pooled=True))
    launched = {name.partition("<")[0] for name in cupy._standin.machine.counters.launches}
    swept = {"sum_batch", "pull_angles"}
    assert launched >= {"run_stage", "fill_angles", "read_out", "random_signs", "product"} | swept


def test_a_goal_of_the_cpu_still_works_on_our_entry():
    assert AtMost("steady", 20.0).judge({OURS: {"median": 1e-5}}, 1e6, "µs").reached
