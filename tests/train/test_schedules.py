"""Schedules: what their phases train, what stays, and runs that are broken off in any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from cosine_model import BLOCKS, CosineModel, samples
from hypothesis import given
from hypothesis import strategies as st
from train_phases import SCHEDULES, STEPS, train

from tn_qnn import QNN, Z
from tn_qnn.circuit.ansatz import tree
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.train import SGD, SPSA, Estimate, Trainer, TrustRegion
from tn_qnn.train.checkpoint import load_checkpoint
from tn_qnn.train.parts import layers
from tn_qnn.train.schedules import (
    ExpectedGain,
    Growing,
    LayerByLayer,
    Phase,
    RandomBlocks,
    Sweeps,
    View,
    block_masks,
    described,
)

TREE = QNN([tree(8, prefix=p) for p in ("a", "b")], [Z(0)])
ORDER = ["0.0", "0.1", "0.2", "0.3", "1.0", "1.1", "2.0"]  # places of the tree


def view(model=TREE, seed=0, gradients=None):
    return View(model, seed, gradients or (lambda count: np.zeros((count, model.num_weights))))


def places(schedule, count, model=TREE, **options):
    """For each phase the places that it trains, in every circuit alike."""
    found = []
    for number in range(count):
        mask = schedule.phase(number, view(model, **options)).mask
        by_prefix = {p: [] for p in "ab"}
        for name in np.array(model.weight_names)[mask]:
            by_prefix[name[0]] += [name[2:-2]] * name.endswith(".0")
        assert by_prefix["a"] == by_prefix["b"]
        found.append(by_prefix["a"])
    return found


def test_layer_by_layer():
    first, second, third = ORDER[:4], ORDER[4:6], ORDER[6:]
    assert places(LayerByLayer(5), 4) == [first, second, third, first]
    assert places(LayerByLayer(5, reverse=True), 4) == [third, second, first, third]
    assert places(LayerByLayer(5, always="*.2.*"), 1) == [first + third]


def test_growing():
    assert places(Growing(5), 4) == [ORDER[:4], ORDER[:6], ORDER, ORDER]
    assert places(Growing(5, reverse=True), 3) == [ORDER[6:], ORDER[4:], ORDER]
    assert [Growing(5).phase(n, view()).steps for n in range(3)] == [5, 5, None]


def test_sweeps():
    there = [[place] for place in ORDER]
    assert places(Sweeps(5), 15) == there + there[-2::-1] + there[1:3]
    assert places(Sweeps(5, width=3), 4) == [ORDER[:3], ORDER[3:6], ORDER[6:], ORDER[3:6]]
    assert places(Sweeps(5, width=99), 2) == [ORDER, ORDER]
    assert places(Sweeps(5, blocks=[layers(2), "*.0.1.*"]), 3) == [["2.0"], ["0.1"], ["2.0"]]


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_random_blocks_take_turns(seed, width):
    a_round = -(-7 // width)
    found = places(RandomBlocks(5, width=width), 2 * a_round, seed=seed)
    assert found == places(RandomBlocks(5, width=width), 2 * a_round, seed=seed)
    for phases in (found[:a_round], found[a_round:]):
        assert sorted(place for phase in phases for place in phase) == ORDER
        assert all(len(phase) == width for phase in phases[:-1])


def test_random_blocks_depend_on_the_seed():
    orders = {str(places(RandomBlocks(5), 7, seed=seed)) for seed in range(20)}
    assert len(orders) == 20


def test_expected_gain_takes_the_longest_gradient():
    gradient = np.zeros(TREE.num_weights)
    chosen = np.array(["1.1" in name for name in TREE.weight_names])
    gradient[chosen] = 1.0
    options = {"gradients": lambda count: np.repeat(gradient[None], count, axis=0)}
    assert places(ExpectedGain(5), 1, **options) == [["1.1"]]


def test_noise_adds_nothing_to_the_expected_gain():
    """Blocks of noise alone win no more often than by chance against one with a gradient."""
    gradient = np.where([n.startswith("a.0.2") for n in TREE.weight_names], 0.5, 0.0)
    noise = np.where([n[2:] == "2.0.0" for n in TREE.weight_names], 3.0, 0.3)
    rng = np.random.default_rng(0)

    def estimates(count):
        return gradient + noise * rng.normal(size=(count, TREE.num_weights))

    schedule = ExpectedGain(5, estimates=256)
    assert places(schedule, 20, gradients=estimates) == [["0.2"]] * 20
    squares = [(estimates(64) ** 2).mean(axis=0) @ block_masks(TREE, "places").T for _ in range(5)]
    assert all(np.argmax(one) == 6 for one in squares)  # what plain squares would take


def test_blocks_of_a_model_with_a_head():
    model = CosineModel(np.ones((1, 4)))
    model.weight_names = ("w.0.0", "w.1.0", "head[0]", "head.bias[0]")
    assert block_masks(model, "layers").astype(int).tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]
    ]  # fmt: skip
    assert len(block_masks(model, "places")) == 4


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LayerByLayer(0), "steps: got 0"),
        (lambda: Growing(2.5), "steps: got 2.5"),
        (lambda: RandomBlocks(5, width=0), "width: got 0"),
        (lambda: Sweeps(5, blocks="gates"), "blocks: got 'gates'"),
        (lambda: Sweeps(5, blocks=[]), "blocks: got \\[\\]"),
        (lambda: ExpectedGain(5, estimates=1), "estimates: got 1"),
        (lambda: LayerByLayer(5).phase(0, view(CosineModel(BLOCKS))), "no weight has one in its"),
        (lambda: Sweeps(5, blocks=["x.*"]).phase(0, view()), "blocks: got 'x.\\*', which is"),
        (lambda: Sweeps(5, always="x.*").phase(0, view()), "always: got 'x.\\*', which is"),
    ],
)
def test_schedules_that_are_not_legal(make, match):
    with pytest.raises(InputError, match=match):
        make()


# --- training


def fit(trainable, *, model=None, steps=30, update="adam", estimator=None, **options):
    X, y = samples(16, classes=4)
    trainer = Trainer(model or CosineModel(BLOCKS), "cross_entropy", estimator, update, seed=3)
    settings = {"batch_size": 8, "weights": "uniform", "progress": False}
    return trainer.fit(X, y, steps=steps, trainable=trainable, **settings | options)


THIRDS = [np.arange(12) % 3 == k for k in range(3)]


def test_a_run_is_its_phases_one_after_the_other():
    weights = []
    options = {"update": SGD(), "estimator": SPSA(a=0.1, A=0)}
    schedule = Sweeps(10, blocks=THIRDS)
    whole = fit(schedule, callbacks=[lambda report: weights.append(report.weights)], **options)
    for step, change in enumerate(np.diff(weights, axis=0), start=1):
        free = THIRDS[step // 10]
        assert not change[~free].any() and change[free].all()
    alone = fit(THIRDS[0], steps=10, **options)
    assert np.array_equal(whole.history["loss"][:10], alone.history["loss"])
    assert np.array_equal(weights[9], alone.weights)


class Pull:
    """A gradient by the weights alone, so that steps tell what the update rule remembers."""

    def check(self, loss):
        pass

    def gains(self, total_steps, unit_change):
        return SPSA(a=0.1, A=0, alpha=0).gains(total_steps, unit_change)

    def estimate(self, model, loss, weights, X, y, sample_weight, seed, step):
        return Estimate(np.cos(weights) + 2.0, 0.0, 1)


class Joining:
    """A schedule of the user's own: one block, then all of them."""

    adaptive = False

    def phase(self, number, view):
        return Phase(THIRDS[0] if number == 0 else np.ones(12, dtype=bool), 4)


@pytest.mark.parametrize("update", ["momentum", "adam", "amsgrad", "rprop", TrustRegion("adam", 1)])
def test_each_weight_is_updated_as_if_nothing_else_were_trained(update):
    """Moments and counts are a weight's own: a rest changes nothing of them."""
    options = {"estimator": Pull(), "update": update}

    def after(updates, mask):
        return fit(None, steps=updates, **options).weights[mask]

    # turns: 0 1 2 1 0 1 2 1 0, so three, four and two of four steps
    apart = fit(Sweeps(4, blocks=THIRDS), steps=36, **options)
    for mask, turns in zip(THIRDS, (3, 4, 2), strict=True):
        np.testing.assert_allclose(apart.weights[mask], after(4 * turns, mask), rtol=1e-12)
    # a phase of weights that have had different numbers of updates
    joined = fit(Joining(), steps=8, **options)
    for mask, turns in zip(THIRDS, (2, 1, 1), strict=True):
        np.testing.assert_allclose(joined.weights[mask], after(4 * turns, mask), rtol=1e-12)


def test_evaluations_of_a_choice_by_gain_count():
    plain = fit(Sweeps(10, blocks=THIRDS), update=SGD(), estimator=SPSA(a=0.1))
    chosen = fit(ExpectedGain(10, blocks=THIRDS, estimates=3), estimator=SPSA(a=0.1), update=SGD())
    assert plain.evaluations == 30 * 2 * 8
    assert chosen.evaluations == 30 * 2 * 8 + 3 * 3 * 2 * 8
    assert (np.diff(chosen.history["evaluations"])[[9, 19]] == 2 * 8 + 3 * 2 * 8).all()


def test_a_schedule_that_never_trains_a_weight_is_warned_of():
    with pytest.warns(UserWarning, match="Sweeps never trains w2, w5, w8, w11 in 20 steps"):
        fit(Sweeps(10, blocks=THIRDS), steps=20)
    with pytest.warns(UserWarning, match="never trains w1, w2, w4, w5, w7 and 3 more"):
        fit(ExpectedGain(10, blocks=THIRDS[:1]))
    with warnings.catch_warnings():
        fit(Sweeps(10, blocks=THIRDS), steps=30)
        fit(THIRDS[0])  # asked for by name: nothing to warn of


def test_a_phase_of_no_steps_or_of_nothing():
    class Empty:
        adaptive = False

        def __init__(self, mask, steps):
            self.mask, self.steps = mask, steps

        def phase(self, number, view):
            return Phase(self.mask, self.steps)

    with pytest.raises(InputError, match="empty set"):
        fit(Empty(np.zeros(12, dtype=bool), 5))
    with pytest.raises(InputError, match="a phase of 0 steps"):
        fit(Empty(THIRDS[0], 0))


# --- broken off


SCRIPT = Path(__file__).with_name("train_phases.py")


@pytest.mark.parametrize("name", SCHEDULES)
def test_killed_runs_end_in_the_same_bits(name, tmp_path):
    expected, folder = train(None, name), tmp_path / "run"
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), str(folder), name, "0.01"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    # Wherever the phases are: the folder is looked at until the run is well under way.
    while process.poll() is None and not _step(folder) > STEPS // 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < _step(folder) < STEPS
    result = train(folder, name, resume=True)
    assert result.weights.tobytes() == expected.weights.tobytes()
    assert result.best.weights.tobytes() == expected.best.weights.tobytes()
    for column in ("loss", "validation_loss", "evaluations"):
        assert np.array_equal(result.history[column], expected.history[column], equal_nan=True)


def _step(folder):
    try:
        return load_checkpoint(folder)[0]["state"]["step"]
    except (CheckpointError, OSError):
        return -1


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", range(1, 22, 4))
def test_interrupted_anywhere_in_a_phase(name, at, tmp_path):
    expected, folder = train(None, name), tmp_path / "run"
    broken = train(folder, name, interrupt=at)
    assert broken.interrupted and broken.step < STEPS
    result = train(folder, name, resume=True)
    assert result.weights.tobytes() == expected.weights.tobytes()
    assert np.array_equal(result.history["loss"], expected.history["loss"])
    assert result.evaluations == expected.evaluations


def test_a_run_is_not_resumed_with_another_schedule(tmp_path):
    options = {"checkpoint": tmp_path, "steps": 10}
    fit(THIRDS[0], **options)
    for other in (None, THIRDS[1], Sweeps(5, blocks=THIRDS)):
        with pytest.raises(CheckpointError, match="different trainable"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(other, resume=True, **options)
    longer = fit(THIRDS[0], resume=True, checkpoint=tmp_path, steps=15)
    assert longer.step == 15


def test_what_is_kept_of_a_schedule_is_json():
    schedule = Sweeps(5, blocks=[layers(0), "w.1.*", THIRDS[0]], always="head*")
    found = described(schedule)
    assert found["blocks"][:2] == ["layers(0)", "w.1.*"] and len(found["blocks"][2]) == 64
    assert described(Joining()) == {"name": "Joining"}
