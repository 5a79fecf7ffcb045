"""The learning benchmark: splits, the trees that JAX differentiates, goals, test parts read once.

Nothing here looks at a time.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # bench/ is not installed

from bench.learning import results  # noqa: E402
from bench.learning.__main__ import main  # noqa: E402
from bench.learning.bars import BARS, fit  # noqa: E402
from bench.learning.cases import CASES, QUICK, find_cases  # noqa: E402
from bench.learning.data import SPLITS, TASKS, split  # noqa: E402
from bench.learning.goals import Reaches, SameCurve, SoonerThan  # noqa: E402
from bench.learning.start import shared_start  # noqa: E402
from bench.learning.tree_model import TreeModel  # noqa: E402
from tn_qnn.models.estimators import QNNClassifier  # noqa: E402
from tn_qnn.train.batches import minibatch  # noqa: E402
from tn_qnn.train.exact import ExactGradient  # noqa: E402

# --- data and bars --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(SPLITS))
def test_a_split_is_stratified_and_its_parts_are_apart(number):
    whole = np.concatenate([TASKS["digits"].load()[0]])
    parts = split(TASKS["digits"], number)
    assert (len(parts.share.y), len(parts.test.y)) == (1347, 450)
    assert len(parts.training.y) + len(parts.validation.y) == len(parts.share.y)

    def rows(*chosen):
        return sorted(map(tuple, np.concatenate([part.X for part in chosen]).tolist()))

    assert rows(parts.share, parts.test) == sorted(map(tuple, whole.tolist()))
    assert rows(parts.training, parts.validation) == rows(parts.share)
    for part in (parts.training, parts.validation, parts.test):
        counts = np.bincount(part.y, minlength=10) / len(part.y)
        assert np.ptp(counts) < 0.03


def test_splits_differ_and_repeat():
    first, again, other = (split(TASKS["tiny"], number).test.X for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    with pytest.raises(ValueError, match="a number from 0 to 4"):
        split(TASKS["tiny"], SPLITS)


def test_what_is_not_installed_is_said():
    absent = replace(TASKS["tiny"], needs=("no_such_module",))
    with pytest.raises(ValueError, match="no_such_module not installed; pip install"):
        split(absent, 0)


def test_cross_validation_chooses_and_the_bar_learns():
    parts = split(TASKS["tiny"], 0)
    model, chosen = fit(BARS["logistic"], parts.training)
    assert set(chosen) == {"C"}
    assert model.score(parts.validation.X, parts.validation.y) > 0.6


# --- the models of the bar of time ----------------------------------------------------------

EXACT = ExactGradient(first_step=0.05, warmup=2)
NARROW = {"steps": 6, "batch_size": 25, "estimator": EXACT, "logit_scale": 7.0}
WIDE = NARROW | {
    "bond_qubits": 2, "orders": ("row", "hilbert"), "head": "linear", "shifts": 1,
    "initial_weights": "uniform", "logit_scale": 3.0,
}  # fmt: skip
both_models = pytest.mark.parametrize("options", [NARROW, WIDE], ids=["narrow", "wide"])


def started(options):
    classifier = QNNClassifier(**options, dtype="float64", seed=4)
    parts = split(TASKS["tiny"], 0)
    return classifier, shared_start(classifier, parts.training, parts.validation), parts


@both_models
def test_the_trees_by_hand_are_those_of_the_classifier(options):
    classifier, start, parts = started(options)
    classifier.fit(parts.training.X, parts.training.y)
    outputs = classifier.model_(start["weights"], start["angles"])
    logits = TreeModel(start, np).logits(start["weights"], start["angles"])
    assert np.ptp(outputs) > 0.1
    np.testing.assert_allclose(logits.T, options["logit_scale"] * outputs, atol=1e-10)


@both_models
def test_the_shared_start_is_what_the_trainer_takes(options, monkeypatch):
    classifier, start, parts = started(options)
    seen = []
    estimate = ExactGradient.estimate

    def spied(self, model, loss, weights, X, y, *rest):
        seen.append((weights, X, y))
        return estimate(self, model, loss, weights, X, y, *rest)

    monkeypatch.setattr(ExactGradient, "estimate", spied)
    classifier.fit(parts.training.X, parts.training.y)
    np.testing.assert_array_equal(seen[0][0], start["weights"])
    empty = np.full((len(start["angles"]), 1), float(start["fill"]))
    angles = np.hstack([start["angles"], empty])
    for step, (_, X, y) in enumerate(seen):
        rows = start["batches"][step]
        rows = rows[rows >= 0]
        np.testing.assert_array_equal(
            rows, minibatch(4, step, len(parts.training.y), classifier.batch_size)
        )
        taken = angles[rows]
        if options is WIDE:
            taken = np.take_along_axis(taken, start["sources"][step, : len(rows)], axis=1)
        else:
            taken = taken[:, :-1]
        np.testing.assert_array_equal(X, taken)
        np.testing.assert_array_equal(y, start["y"][rows])
    assert len(seen) == len(start["gains"]) == 6
    np.testing.assert_allclose(start["gains"], classifier.result_.history["a_k"])


def test_a_step_back_onto_the_orthogonal_matrices():
    _, start, _ = started(WIDE)
    model, weights = TreeModel(start, np), start["weights"]
    moved = weights + 0.01 * np.cos(np.arange(len(weights)))
    u, v, w = (
        x[: model.in_blocks].reshape(-1, 16, 16) for x in (model.retracted(moved), weights, moved)
    )
    np.testing.assert_allclose(u @ u.swapaxes(1, 2), np.tile(np.eye(16), (len(u), 1, 1)), atol=1e-9)
    left, _, right = np.linalg.svd(w)
    np.testing.assert_allclose(u, left @ right, atol=1e-9)
    assert abs(u - v).max() > 1e-3
    np.testing.assert_array_equal(
        model.retracted(moved)[model.in_blocks :], moved[model.in_blocks :]
    )


def test_the_tangent_is_the_slope_along_polar_factors():
    _, start, _ = started(WIDE)
    model, weights = TreeModel(start, np), start["weights"]
    gradient = np.sin(np.arange(len(weights)))
    direction = np.cos(3.0 * np.arange(len(weights)))
    ends = [model.retracted(weights + step * direction) @ gradient for step in (1e-5, -1e-5)]
    expected = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(model.tangent(weights, gradient) @ direction, expected, rtol=1e-6)


def test_a_start_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="exact gradient and Adam"):
        started(NARROW | {"estimator": "spsa"})


# --- cases, goals, the ledger ---------------------------------------------------------------


def test_names_are_unique_and_goals_name_cases():
    for cases in (CASES, QUICK):
        names = [case.name for case in cases]
        assert len(set(names)) == len(names)
        assert len({case.digest for case in cases}) == len(cases)
        for case in cases:
            for goal in case.goals:
                other = goal.bar if isinstance(goal, Reaches) else goal.other
                assert not isinstance(other, str) or other in names
                assert goal.judge(case.name, {}).reached is None
    assert [case.name for case in find_cases(("tiny",), quick=True)] == [c.name for c in QUICK]
    with pytest.raises(ValueError, match="no case or data set is named 'digit'"):
        find_cases(("digit",))


def record(*runs):
    return {"runs": list(runs)}


def read(*accuracies):
    return record(*({"split": k, "part": "test", "accuracy": a} for k, a in enumerate(accuracies)))


def watched(losses, *looks, split=0):
    curve = [[k, k, seconds, accuracy] for k, (seconds, accuracy) in enumerate(looks)]
    return {"split": split, "part": "validation", "losses": losses, "curve": curve}


@pytest.mark.parametrize(
    ("goal", "records", "reached"),
    [
        (Reaches(0.9), {"a": read(0.88, 0.94)}, True),
        (Reaches(0.9), {"a": read(0.88, 0.91)}, False),
        (Reaches("b"), {"a": read(0.9, 0.9), "b": read(0.89, 0.9)}, True),
        (Reaches("b"), {"a": read(0.9, 0.9), "b": read(0.9, 0.9)}, False),
        (Reaches("b"), {"a": read(0.9), "b": read(0.9, 0.8)}, None),
        (SameCurve("b"), {"a": record(watched([2, 1])), "b": record(watched([2, 1.01]))}, True),
        (SameCurve("b"), {"a": record(watched([2, 1])), "b": record(watched([2, 1.1]))}, False),
        (SameCurve("b"), {"a": record(watched([2.0])), "b": record(watched([2.0, 1.1]))}, False),
        (SameCurve("b"), {"a": record(watched([2.0])), "b": record(watched([2], split=1))}, None),
        (
            SoonerThan("b", 0.5),
            {
                "a": record(watched([], (1.0, 0.8), (2.0, 0.9))),
                "b": record(watched([], (3.0, 0.5), (4.0, 0.9), (9.0, 0.9))),
            },
            True,
        ),
        (
            SoonerThan("b", 0.5),
            {
                "a": record(watched([], (1.0, 0.8), (2.0, 0.89))),
                "b": record(watched([], (3.0, 0.5), (4.0, 0.9))),
            },
            False,
        ),
    ],
)  # fmt: skip
def test_goals_are_judged(goal, records, reached):
    assert goal.judge("a", records).reached is reached


def test_a_test_part_is_read_once_and_a_name_stands_for_one_configuration():
    (case,) = find_cases(("tiny-spsa",), quick=True)
    empty = {"cases": [], "readings": []}
    looked = {"split": 0, "part": "validation", "accuracy": 0.5, "when": "then"}
    found = results.with_run(empty, case, looked, [case.name])
    changed = replace(case, parameters={**case.parameters, "steps": 21})
    results.check_reading(found, changed, 0)  # what read no test part may change
    assert results.with_run(found, changed, looked, [case.name])["cases"][0]["runs"] == [looked]

    found = results.with_run(found, case, looked | {"part": "test"}, [case.name])
    assert results.is_done(found, case, 0, "test")
    assert not results.is_done(found, case, 1, "test")
    results.check_reading(found, case, 1)
    with pytest.raises(results.AlreadyReadError, match=r"test part of split 0.*reads it once"):
        results.check_reading(found, case, 0)
    with pytest.raises(results.AlreadyReadError, match="give the new configuration another name"):
        results.check_reading(found, changed, 1)


def test_a_run_is_made_once_and_can_be_drawn(tmp_path, capsys):
    path = tmp_path / "quick.json"
    command = ["--quick", "--splits", "1", "--threads", "1", "--out", str(path)]
    assert main([*command, "--case", "tiny-logistic", "--validate"]) == 0
    first = json.loads(path.read_text())
    assert first["readings"] == []
    assert main([*command, "--case", "tiny-wide"]) == 0
    second = json.loads(path.read_text())
    assert [reading["case"] for reading in second["readings"]] == ["tiny-wide"]
    assert main([*command, "--case", "tiny-wide"]) == 0
    assert json.loads(path.read_text()) == second

    logistic, wide = second["cases"]
    assert [logistic] == first["cases"]
    (seen, final) = wide["runs"]
    assert [look[0] for look in seen["curve"]] == list(range(10, 61, 10))
    assert len(final["curve"]) == 1  # the test part is looked at once
    assert seen["losses"][-1] < 0.5 * seen["losses"][0]
    assert seen["evaluations"] == seen["curve"][-1][1] == 60 * 16 * 4
    text = path.with_suffix(".md").read_text()
    assert "Readings of test parts: 1" in text

    capsys.readouterr()
    from bench.learning.plots import draw

    (picture,) = draw(second, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_bad_commands_say_what_is_wrong(capsys, tmp_path):
    for arguments, message in (
        (["--case", "nothing"], "no case or data set is named 'nothing'"),
        (["--splits", "6"], "a number from 1 to 5"),
        (["--plots", "--out", str(tmp_path / "none.json")], "none.json"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert main(["--list", "--quick"]) == 0
    assert "tiny-wide" in capsys.readouterr().out
