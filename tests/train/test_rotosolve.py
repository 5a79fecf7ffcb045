"""Exact moves of single weights: the search along a line, the step, sweeps, and the trainer."""

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.errors import InputError
from tn_qnn.train import Trainer, cross_entropy, get_loss, mse, zero_one
from tn_qnn.train.guards import Blocking
from tn_qnn.train.inputs import Data
from tn_qnn.train.line_search import lowest
from tn_qnn.train.losses import from_callable
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.retraction import Retraction
from tn_qnn.train.rotosolve import Rotosolve, mean_losses
from tn_qnn.train.updates import get_update

WEIGHTS = np.array([0.3, -0.8, 1.1, 0.5, -0.4])


# --- along a line


@given(st.floats(-3, 3), st.floats(0.01, 5), st.sampled_from([0.5, 1.0, 3.7]))
def test_a_sinusoid_is_solved_in_closed_form(phase, height, frequency):
    calls = []

    def line(shifts):
        calls.append(len(shifts))
        return 0.3 - height * np.cos(frequency * shifts - phase)

    found = lowest(line, (frequency,), 32, 1e-14)
    distance = (frequency * found - phase + np.pi) % (2 * np.pi) - np.pi
    assert abs(distance) < 1e-10
    assert len(calls) == 1


@given(st.integers(0, 10**6), st.sampled_from([(1.0,), (0.5, 1.0), (1.0, 2.5), (1.0, 2.0, 3.0)]))
def test_no_point_of_the_line_is_lower(seed, frequencies):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 3, len(frequencies)))

    def line(shifts):
        angles = np.multiply.outer(shifts, frequencies)
        outputs = np.cos(angles) @ a.T + np.sin(angles) @ b.T
        return np.log(np.exp(outputs - outputs[:, :1]).sum(axis=1))

    found = line(np.array([lowest(line, frequencies, 64, 1e-15)]))[0]
    window = np.pi / min(np.diff([0.0, *frequencies]))
    assert found <= line(np.linspace(-window, window, 5000)).min() + 1e-9


def test_a_kink_is_found():
    found = lowest(lambda d: np.abs(np.sin(d - 0.7)) + 0.2 * np.cos(d), (1.0,), 32, 1e-15)
    assert abs(found - 0.7) < 1e-7 or abs(found - 0.7 + np.pi) < 1e-7


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_a_flat_line_moves_nothing(noise):
    random = np.random.default_rng(0)
    assert lowest(lambda d: 1.0 + noise * random.normal(size=len(d)), (1.0,), 32, 1e-15) == 0.0


def test_what_is_not_a_number_is_not_the_lowest():
    found = lowest(lambda d: np.where(np.abs(d) < 2, np.cos(d - 0.1), np.nan), (1.0,), 32, 1e-15)
    assert -2 < found < -1.99


# --- a step


def loss_and_targets(name):
    y = samples(12)[1]
    if name == "callable":
        return from_callable(lambda outputs, y: outputs[:, 0] * outputs[:, 1] - y), y
    return get_loss(name), np.eye(3)[y] if name == "mse" else y


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["mse", "cross_entropy", "hinge", "callable"])
def test_each_weight_goes_to_the_lowest_point_of_its_line(name, weighted):
    model, (loss, y) = CosineModel(CHAIN), loss_and_targets(name)
    X = samples(12)[0]
    sample_weight = np.linspace(0.0, 2.0, 12) if weighted else None

    def value(sets):
        return mean_losses(loss, model(sets, X), y, sample_weight)

    weights = WEIGHTS
    for step in range(5):
        moved, first, spent = Rotosolve(weights_per_step=1).move(
            model, loss, weights, X, y, sample_weight, 0, step
        )
        assert spent == 3 * 12
        assert first == pytest.approx(value(weights[None])[0], rel=1e-14)
        everywhere = np.tile(weights, (2000, 1))
        everywhere[:, step] = np.linspace(-np.pi, np.pi, 2000)
        assert value(moved[None])[0] <= value(everywhere).min() + 1e-12
        assert (np.delete(moved, step) == np.delete(weights, step)).all()
        weights = moved


def test_one_step_of_many_weights_is_many_steps_of_one():
    model, loss = CosineModel(CHAIN), cross_entropy()
    X, y = samples(12)
    model.calls.clear()
    together, first, spent = Rotosolve(weights_per_step=5).move(
        model, loss, WEIGHTS, X, y, None, 0, 0
    )
    assert model.calls == [(5,)] + 5 * [(2, 5)]
    assert spent == 12 * 11
    weights, losses = WEIGHTS, []
    for step in range(5):
        weights, value, _ = Rotosolve(weights_per_step=1).move(
            model, loss, weights, X, y, None, 0, step
        )
        losses.append(value)
    np.testing.assert_allclose(together, weights, atol=1e-6)
    assert first == losses[0] and losses == sorted(losses, reverse=True)


def test_a_linear_loss_takes_the_closed_form_of_the_source():
    """Ostaszewski et al.: -pi/2 - atan2(2M(0) - M(pi/2) - M(-pi/2), M(pi/2) - M(-pi/2))."""
    model, X = CosineModel(CHAIN), samples(4)[0]
    loss = from_callable(lambda outputs, y: outputs @ np.array([1.0, -2.0, 0.5]))
    moved, _, _ = Rotosolve(weights_per_step=1).move(
        model, loss, WEIGHTS, X, np.zeros(4), None, 0, 3
    )

    def energy(shift):
        shifted = WEIGHTS + shift * np.eye(5)[3]
        return loss.value(model(shifted, X), np.zeros(4)).mean()

    middle, plus, minus = energy(0.0), energy(np.pi / 2), energy(-np.pi / 2)
    want = -np.pi / 2 - np.arctan2(2 * middle - plus - minus, plus - minus)
    assert abs(np.exp(1j * (moved[3] - WEIGHTS[3] - want)) - 1) < 1e-12


def test_large_batches_are_searched_in_parts(monkeypatch):
    model, loss, X = CosineModel(CHAIN), mse(), samples(12)[0]
    y = np.eye(3)[samples(12)[1]]
    whole = Rotosolve().move(model, loss, WEIGHTS, X, y, None, 0, 0)[0]
    monkeypatch.setattr("tn_qnn.train.rotosolve.MAX_NUMBERS", 80)
    in_parts = Rotosolve().move(model, loss, WEIGHTS, X, y, None, 0, 0)[0]
    np.testing.assert_allclose(in_parts, whole, atol=1e-7)


def test_float32_outputs_and_the_argument_is_not_changed():
    X, y = samples(12)
    weights = WEIGHTS.copy()
    found = [
        Rotosolve().move(CosineModel(CHAIN, dtype=t), cross_entropy(), weights, X, y, None, 0, 0)
        for t in (np.float32, np.float64)
    ]
    assert (weights == WEIGHTS).all()
    np.testing.assert_allclose(found[0][0], found[1][0], atol=2e-3)
    assert found[0][0].dtype == np.float64


# --- whose turn it is


def turns(mover, count, steps, seed=0):
    frequencies = ((1.0,),) * count + ((),)
    return [column for k in range(steps) for column in mover._turns(frequencies, seed, k)]


@pytest.mark.parametrize("per_step", [1, 3, 7, 99])
@pytest.mark.parametrize("order", ["cyclic", "random"])
def test_every_sweep_moves_each_weight_once(order, per_step):
    mover = Rotosolve(weights_per_step=per_step, order=order)
    found = turns(mover, 7, 21)
    assert len(found) == 21 * min(per_step, 7)
    sweeps = [found[k : k + 7] for k in range(0, len(found), 7)]
    assert all(sorted(sweep) == list(range(7)) for sweep in sweeps)
    assert (sweeps[0] == sweeps[1]) == (order == "cyclic")
    assert (found == turns(mover, 7, 21, seed=1)) == (order == "cyclic")


# --- with the trainer

X, Y = samples(40)


def fit(steps=20, loss="cross_entropy", order="random", update="adam", seed=3, **options):
    mover = Rotosolve(weights_per_step=4, order=order)
    trainer = Trainer(CosineModel(BLOCKS[:3, :9]), loss, mover, update, seed=seed)
    options = {"batch_size": 20, "weights": "uniform", "progress": False} | options
    return trainer, trainer.fit(X, Y, steps=steps, **options)


@pytest.mark.parametrize("loss", ["cross_entropy", "zero_one", "hinge"])
def test_it_learns_from_any_loss(loss):
    trainer, result = fit(40, loss, batch_size=40)
    losses = result.history["loss"]
    assert (np.diff(losses) <= 1e-12).all() and losses[-1] < 0.6 * losses[0]
    assert trainer.evaluate(result.weights, X, Y)[1] > 0.85
    assert result.evaluations == 40 * 40 * (1 + 4 * 2)
    assert set(result.history["a_k"]) == {1.0} and set(result.history["c_k"]) == {0.0}


def test_no_update_rule_has_a_part_in_it():
    assert fit()[1].weights.tobytes() == fit(update="sgd")[1].weights.tobytes()
    assert fit()[1].weights.tobytes() != fit(seed=4)[1].weights.tobytes()


@pytest.mark.parametrize("order", ["cyclic", "random"])
def test_a_resumed_run_has_the_same_bits(order, tmp_path):
    class Cut(Exception):
        pass

    def cut(report):
        if report.row.step == 13:
            raise Cut

    folder = {"checkpoint": tmp_path, "checkpoint_every": 5}
    with pytest.raises(Cut):
        fit(order=order, callbacks=[cut], **folder)
    resumed = fit(order=order, resume=True, **folder)[1]
    assert resumed.weights.tobytes() == fit(order=order)[1].weights.tobytes()


# --- bad input


def test_a_loss_that_is_no_number_names_the_step():
    def spoilt(outputs, y):
        return np.full(len(outputs), np.nan)

    with pytest.raises(InputError, match="step 1"):
        fit(loss=spoilt)


@pytest.mark.parametrize(
    ("name", "value"), [("retraction", Retraction()), ("update", Blocking(get_update("adam")))]
)
def test_what_a_mover_would_not_use_is_refused(name, value):
    parts = {"loss": get_loss("mse"), "update": get_update("adam"), "seed": 0, "batch_size": 4}
    parts |= {"model": CosineModel(CHAIN), "estimator": Rotosolve(), "data": Data(X, Y)}
    Recipe(**parts)
    with pytest.raises(InputError, match=f"^{name}: got .* but Rotosolve takes whole steps"):
        Recipe(**parts | {name: value})


def test_a_model_without_frequencies_or_cones_is_refused():
    model = CosineModel(CHAIN)
    del model.frequencies
    with pytest.raises(InputError, match=r"^model: CosineModel has no `frequencies`, which Roto"):
        Rotosolve().move(model, zero_one(), WEIGHTS, *samples(3), None, 0, 0)
    model = CosineModel([[0, 0]])
    with pytest.raises(InputError, match=r"^model: no output depends on any weight"):
        Rotosolve().move(model, zero_one(), WEIGHTS[:2], *samples(3), None, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights_per_step", 0),
        ("weights_per_step", 1.5),
        ("grid", 3),
        ("grid", True),
        ("order", "backwards"),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises(InputError, match=f"^{name}: got {value!r}, expected"):
        Rotosolve(**{name: value})
