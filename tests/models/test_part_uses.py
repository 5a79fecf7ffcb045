"""Parts of models beside the rest of the library: estimators, heads, GPUs, training in phases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import tree
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import Z, density_matrix
from tn_qnn.circuit.slots import weight
from tn_qnn.errors import InputError
from tn_qnn.interop.quimb import to_quimb
from tn_qnn.models.head import LinearHead
from tn_qnn.models.qnn import QNN
from tn_qnn.train import (
    SPSA,
    ExactGradient,
    LocalSPSA,
    ParameterShift,
    PolarSweep,
    Report,
    Retraction,
    Rotosolve,
    Trainer,
    TrainResult,
)
from tn_qnn.train.checkpoint import load_checkpoint
from tn_qnn.train.parts import layers, part_of, trainable_mask
from tn_qnn.train.schedules import Sweeps

from .part_cases import CASES, case, encoded, kept, some_mask

# --- beside the rest of the library


def test_frequencies_are_those_of_what_is_free() -> None:
    circuit = Circuit(2).ry(2.0 * weight("a"), 0).block(orthogonal("U"), [0]).cx(0, 1)
    model = QNN(circuit.ry(weight("b") * weight("a"), 1), [Z(1)])
    assert model.weight_names == ("a", "U[0]", "b")
    part = model.part([False, False, True], [0.5, 0.0, 0.0])
    assert part.frequencies == ((0.5,),)
    with pytest.raises(InputError, match="'a' stands in the angle"):
        model.part([True, False, True], np.zeros(3)).frequencies  # noqa: B018
    with pytest.raises(InputError, match="tensor-valued"):
        model.part([False, True, True], np.zeros(3)).frequencies  # noqa: B018


@pytest.mark.parametrize("name", ["tree", "trees", "brickwork", "shared"])
def test_single_gates_turn_in_a_part_as_in_the_whole(name: str) -> None:
    model, weights, X = case(name)
    mask = some_mask(model, 4)
    others = weights + np.random.default_rng(0).normal(size=(2, len(weights)))
    others[:, ~mask] = weights[~mask]
    part = model.part(mask, weights)
    outputs, turned = model.local_outputs(weights, X, others)
    expected = sum_of_turns(outputs, turned, model.num_weights)[..., mask]
    for form, data in ((part, X), kept(part, X)):
        outputs, turned = form.local_outputs(weights[mask], data, others[:, mask])
        found = sum_of_turns(outputs, turned, part.num_weights)
        np.testing.assert_allclose(found, expected, atol=1e-10)


def sum_of_turns(outputs: np.ndarray, turned: Any, count: int) -> np.ndarray:
    """Changes (N, S, K, W) of outputs, those of all gates of a weight added up."""
    total = np.zeros((2, *outputs.shape, count))
    for lot in turned:
        changes = lot.outputs - outputs[lot.rows]
        for occurrence, column in zip(lot.occurrences, lot.weights, strict=True):
            total[:, lot.rows, :, column] += changes[occurrence]
    return total


@pytest.mark.parametrize("free", ["*", "t0*", "head*", "head.bias*", "t1.1.*"])
def test_parts_of_a_model_with_a_head(free: str) -> None:
    inner, _, X = case("wide blocks")
    model = LinearHead(inner, 3)
    weights = np.random.default_rng(0).normal(size=model.num_weights)
    mask = trainable_mask(model, free)
    part = part_of(model, mask, weights)
    slopes = np.random.default_rng(2).normal(size=(len(X), 3))
    expected = model.pull_back(weights, X, lambda out, rows: slopes[rows])
    forms = [(part, X)]
    if free not in ("*", "t0*"):
        forms.append(part.kept(X))
    for form, data in forms:
        found = form.pull_back(weights[mask], data, lambda out, rows: slopes[rows])
        np.testing.assert_allclose(found[0], expected[0], atol=1e-11)
        np.testing.assert_allclose(found[1], expected[1][mask], atol=1e-10)


def test_a_part_is_not_drawn() -> None:
    model, weights, _ = case("tree")
    assert to_quimb(model).num_tensors
    with pytest.raises(InputError, match="a part holds values without gates"):
        to_quimb(model.part(trainable_mask(model, layers(-1)), weights))


@pytest.mark.parametrize("name", ["trees", "blocks"])
def test_parts_on_a_gpu(name: str, either_cupy: ModuleType) -> None:
    model, weights, X = case(name)
    mask = some_mask(model, 2)
    part = model.part(mask, weights)
    moved = np.random.default_rng(1).normal(size=(3, mask.sum()))
    on_device = QNN(*CASES[name], dtype="float64", search="greedy", backend="cuda")
    there = on_device.part(mask, weights)
    for form, data in ((there, X), kept(there, X)):
        np.testing.assert_allclose(form(moved, data), part(moved, X), atol=1e-10)
        found = form.pull_back(moved[0], data, lambda out, rows: out)[1]
        wanted = part.pull_back(moved[0], X, lambda out, rows: out)[1]
        np.testing.assert_allclose(found, wanted, atol=1e-10)


# --- in training


def fit(model: Any, schedule: Any, X: np.ndarray, y: np.ndarray, **options: Any) -> TrainResult:
    trainer = Trainer(model, "cross_entropy", options.pop("estimator", None), seed=1)
    settings = {"steps": 24, "batch_size": 10, "weights": "uniform", "progress": False}
    return trainer.fit(X, y, trainable=schedule, **settings | options)


class Whole:
    """A model that is asked for no part: frozen weights are put in at every call."""

    def __init__(self, model: QNN) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name in ("part", "_model"):
            raise AttributeError(name)
        return getattr(self._model, name)

    def __call__(self, weights: np.ndarray, X: np.ndarray) -> np.ndarray:
        return self._model(weights, X)


@pytest.mark.parametrize(
    "estimator",
    [SPSA(directions=2), LocalSPSA(), ParameterShift(), ExactGradient(), Rotosolve()],
    ids=lambda record: type(record).__name__,
)
def test_training_folds_change_nothing_but_the_time(estimator: Any) -> None:
    model, _, _ = case("trees")
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.arange(40) % 3
    schedule = Sweeps(8, blocks=["*.0.*", layers(-1), "*.1.*"])
    folded = fit(model, schedule, X, y, estimator=estimator)
    plain = fit(Whole(model), schedule, X, y, estimator=estimator)
    # a minimum along a line is flat: Rotosolve finds its place to the root of the rounding
    atol = 1e-4 if isinstance(estimator, Rotosolve) else 1e-7
    np.testing.assert_allclose(folded.weights, plain.weights, atol=atol)
    np.testing.assert_allclose(folded.history["loss"], plain.history["loss"], atol=atol)


@pytest.mark.parametrize("estimator", [PolarSweep(), ExactGradient()], ids=["polar", "exact"])
def test_blocks_are_trained_in_parts(estimator: Any) -> None:
    """And brought back onto the orthogonal matrices, with a head beside that is frozen in part."""

    def block(circuit: Circuit, places: Sequence[int], name: str) -> None:
        circuit.block(orthogonal(name, chart="entries"), places)

    inner = QNN(encoded(tree(4, block)), [density_matrix([0])], dtype="float64", search="greedy")
    model = LinearHead(inner, 2)
    X = np.random.default_rng(0).normal(size=(20, 4))
    y = np.arange(20) % 2
    back = None if isinstance(estimator, PolarSweep) else Retraction()
    results = []
    for one in (model, Whole(model)):  # type: ignore[arg-type]
        trainer = Trainer(one, "cross_entropy", estimator, seed=1, retraction=back)
        chosen = ["w.1.0[*", "w.0.1[*", "head[0,*"] if back else "w.1.0[*"
        results.append(trainer.fit(X, y, steps=6, batch_size=20, trainable=chosen, progress=False))
    np.testing.assert_allclose(results[0].weights, results[1].weights, atol=1e-7)
    matrix = results[0].weights[trainable_mask(model, "w.1.0[*")].reshape(4, 4)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-10)


def test_kept_values_are_kept_in_a_resumed_run_too(tmp_path: Path) -> None:
    """To the bit, wherever it was broken off; phases differ in what is worth keeping."""
    model, _, _ = case("trees", dtype="float32")
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.arange(40) % 3
    schedule = Sweeps(7, blocks=["*.2.*", ["*.0.*", "*.1.*"]])
    kept_by_phase: dict[int, bool] = {}

    def note(report: Report) -> None:
        phase = load_checkpoint(tmp_path / "whole")[0]["state"]["phase"]
        kept_by_phase[phase["number"]] = phase["keeps"]

    options = {"checkpoint_every": 1}
    whole = fit(model, schedule, X, y, callbacks=[note], checkpoint=tmp_path / "whole", **options)
    assert kept_by_phase == {0: True, 1: False, 2: True, 3: False}

    for at in (3, 9, 17, 22):

        def stop(report: Report, at: int = at) -> None:
            if report.row.step == at:
                raise KeyboardInterrupt

        folder = tmp_path / str(at)
        broken = fit(model, schedule, X, y, callbacks=[stop], checkpoint=folder, **options)
        assert broken.step < 24
        fresh, _, _ = case("trees", dtype="float32")
        again = fit(fresh, schedule, X, y, checkpoint=folder, resume=True, **options)
        assert again.weights.tobytes() == whole.weights.tobytes()
        assert np.array_equal(again.history["loss"], whole.history["loss"])
        assert again.evaluations == whole.evaluations


def test_values_are_not_kept_of_samples_that_are_changed_in_every_step() -> None:
    class Noise:
        def __call__(self, X: np.ndarray, seed: int, step: int) -> np.ndarray:
            return X + 0.1 * np.random.default_rng([seed, step]).normal(size=X.shape)

    model, _, _ = case("trees")
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.arange(40) % 3
    results = []
    for one in (model, Whole(model)):
        trainer = Trainer(one, "cross_entropy", SPSA(), seed=1, augment=Noise())
        results.append(trainer.fit(X, y, steps=9, batch_size=20, progress=False,
                                   trainable=layers(-1)))  # fmt: skip
    np.testing.assert_allclose(results[0].weights, results[1].weights, atol=1e-9)
    assert results[0].evaluations == results[1].evaluations


def test_a_phase_is_one_graph_a_step_on_a_gpu(either_cupy: ModuleType) -> None:
    """Kept values lie on the device as the data do; Adam's counts may differ by weight."""
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = np.arange(40) % 3
    schedule = Sweeps(6, blocks=["*.2.*", ["*.2.*", "*.1.*", "*.0.*"]])
    results = [
        fit(case("trees", backend=backend)[0], schedule, X, y, steps=18, estimator=SPSA(A=1.0))
        for backend in ("cpu", "cuda")
    ]
    assert "one graph a step" in results[1].backend
    np.testing.assert_allclose(results[1].weights, results[0].weights, atol=1e-8)
