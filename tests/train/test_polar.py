"""Polar updates: descent, the guaranteed shift, whose turn it is, and resumed runs."""

import numpy as np
import pytest
from block_model import BlockModel, samples
from hypothesis import given
from hypothesis import strategies as st

import tn_qnn as tq
from tn_qnn.errors import InputError
from tn_qnn.train import Trainer
from tn_qnn.train.initializers import initial_weights
from tn_qnn.train.losses import Loss, get_loss
from tn_qnn.train.polar import PolarSweep

LINEAR = Loss(
    "linear",
    value=lambda outputs, y: (outputs * y).sum(axis=1),
    slope=lambda outputs, y: np.broadcast_to(y, outputs.shape),
    score=lambda outputs, y: 0.0,
    targets="any",
)


def start(model, seed):
    return initial_weights("uniform", seed, model.num_weights, model.blocks)


def mean_loss(model, loss, weights, X, y, sample_weight=None):
    values = loss.value(model(weights, X), y)
    return float((values if sample_weight is None else values * sample_weight).mean())


@given(st.integers(0, 10**6), st.booleans())
def test_the_guaranteed_shift_never_raises_a_linear_loss(seed, real):
    model = BlockModel(real=real, seed=seed)
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    data = (X, y, rng.uniform(0, 3, size=5))
    weights = start(model, seed)
    mover = PolarSweep("guaranteed", order="sweep")
    losses = [mean_loss(model, LINEAR, weights, *data)]
    for step in range(4):
        weights, before, spent = mover.move(model, LINEAR, weights, *data, seed, step)
        assert before == pytest.approx(losses[-1])
        assert spent == 4 * 5
        losses.append(mean_loss(model, LINEAR, weights, *data))
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] < losses[0] - 1e-6


def test_a_smaller_shift_can_raise_the_loss():
    """So that the test above could fail: a hundredth of the shift breaks it somewhere."""
    raised = 0
    for seed in range(20):
        model = BlockModel(seed=seed)
        X, y = np.random.default_rng(seed).normal(size=(5, 4)), np.ones((5, 3))
        weights = start(model, seed)
        before = mean_loss(model, LINEAR, weights, X, y)
        model.output_bounds = model.output_bounds / 100
        moved = PolarSweep("guaranteed").move(model, LINEAR, weights, X, y, None, seed, 0)[0]
        raised += mean_loss(model, LINEAR, moved, X, y) > before
    assert raised


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("blocks_per_step", [1, 2, 5])
@pytest.mark.parametrize("name", ["cross_entropy", "hinge", "callable"])
def test_a_search_never_raises_the_loss(name, blocks_per_step, real):
    loss = get_loss((lambda f, y: (f[:, 0] - y) ** 2) if name == "callable" else name)
    model = BlockModel(blocks=3, real=real)
    data = (*samples(6), np.linspace(0.5, 1.5, 6))
    weights = start(model, 1)
    mover = PolarSweep(candidates=5, blocks_per_step=blocks_per_step)
    losses = [mean_loss(model, loss, weights, *data)]
    for step in range(6):
        weights, before, spent = mover.move(model, loss, weights, *data, 1, step)
        assert before == pytest.approx(losses[-1])
        assert spent == ((4 + 6) * 6 if before else 4 * 6)  # nothing to search at loss 0
        losses.append(mean_loss(model, loss, weights, *data))
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] < 0.8 * losses[0]


def test_the_candidates_are_one_call_and_the_best_is_taken():
    model, loss = BlockModel(), get_loss("mse")
    X, y = samples(5)[0], np.ones((5, 3))
    weights = start(model, 2)
    found = []
    for count in range(1, 7):
        model.calls = 0
        moved, _, _ = PolarSweep(candidates=count).move(model, loss, weights, X, y, None, 2, 0)
        assert model.calls == 1
        found.append(mean_loss(model, loss, moved, X, y))
    assert (np.diff(found) <= 0).all()  # more candidates are a superset
    assert found[-1] < mean_loss(model, loss, weights, X, y)


def test_a_step_at_a_minimum_stays():
    model = BlockModel(blocks=1)
    weights = start(model, 3)
    flat = Loss("flat", lambda f, y: 0 * f[:, 0], lambda f, y: 0 * f, lambda f, y: 0.0, "any")
    X, y = samples(4)
    moved, before, spent = PolarSweep().move(model, flat, weights, X, y, None, 0, 0)
    np.testing.assert_allclose(moved, weights, atol=1e-14)
    assert (before, spent) == (0.0, 16)


def moved_blocks(mover, model, weights, steps, seed=5):
    X, y = samples(4)
    for step in range(steps):
        new = mover.move(model, get_loss("cross_entropy"), weights, X, y, None, seed, step)[0]
        differ = (new != weights)[model.blocks[0].columns].any(axis=1)
        yield np.flatnonzero(differ).tolist()
        assert new[0] == weights[0]
        weights = new


def test_order():
    model = BlockModel(blocks=3)
    weights = start(model, 4)
    sweep = list(moved_blocks(PolarSweep(order="sweep", candidates=20), model, weights, 7))
    assert sweep == [[0], [1], [2], [1], [0], [1], [2]]
    mixed = list(moved_blocks(PolarSweep(candidates=20), model, weights, 6))
    assert sorted(mixed[:3]) == sorted(mixed[3:]) == [[0], [1], [2]]
    pairs = PolarSweep(candidates=20, blocks_per_step=2, order="sweep")
    assert list(moved_blocks(pairs, model, weights, 2)) == [[0, 1], [1, 2]]
    alone = PolarSweep(candidates=20, blocks_per_step=9, order="sweep")
    assert list(moved_blocks(alone, BlockModel(blocks=1), weights[:17], 2)) == [[0], [0]]


def network(**options):
    circuit = tq.Circuit(4)
    for q in range(4):
        circuit.ry(tq.feature(q), q)
    for pair, make in (((0, 1), tq.orthogonal), ((2, 3), tq.unitary), ((1, 2), tq.orthogonal)):
        circuit.block(make(f"U{pair}", chart="entries"), pair)
    circuit.ry(tq.weight("a"), 1)
    return tq.QNN(circuit, [tq.Z(1), tq.X(2) - 0.5 * tq.Z(1)], backend="cpu", **options)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("float64", 1e-12)])
def test_a_network(dtype, atol):
    model = network(dtype=dtype)
    np.testing.assert_array_equal(model.output_bounds, [1.0, 1.5])
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    weights = start(model, 1)
    for mover, loss in ((PolarSweep("guaranteed"), LINEAR), (PolarSweep(), get_loss("mse"))):
        losses = [mean_loss(model, loss, weights, X, y)]
        for step in range(6):
            weights = mover.move(model, loss, weights, X, y, None, 1, step)[0]
            losses.append(mean_loss(model, loss, weights, X, y))
        assert (np.diff(losses) <= atol).all()
        assert losses[-1] < losses[0] - 0.02


def fit(steps, **options):
    X, y = samples(12, classes=2)
    trainer = Trainer(network(), "cross_entropy", PolarSweep(candidates=4), seed=3)
    return trainer.fit(
        X, y, steps=steps, batch_size=5, weights="uniform", progress=False, **options
    )


def test_a_resumed_run_has_the_same_bits(tmp_path):
    whole = fit(6)
    fit(3, checkpoint=tmp_path)
    again = fit(6, checkpoint=tmp_path, resume=True)
    assert again.weights.tobytes() == whole.weights.tobytes()
    assert again.evaluations == whole.evaluations > 0


def move(mover, loss="cross_entropy", model=None):
    model = model or BlockModel()
    X, y = samples(4)
    return mover.move(model, get_loss(loss), start(model, 0), X, y, None, 0, 0)


def without_bounds():
    model = BlockModel()
    del model.output_bounds
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolarSweep("none"), "shift: got 'none'"),
        (lambda: PolarSweep(order="back"), "order: got 'back'"),
        (lambda: PolarSweep(candidates=0), "candidates: got 0"),
        (lambda: PolarSweep(blocks_per_step=1.5), "blocks_per_step: got 1.5"),
        (lambda: PolarSweep("guaranteed", blocks_per_step=2), "blocks_per_step: got 2, expected 1"),
        (lambda: PolarSweep().check(get_loss("zero_one")), "loss: zero_one has no slope"),
        (lambda: move(PolarSweep("guaranteed")), "cross_entropy.* is not linear"),
        (lambda: move(PolarSweep("guaranteed"), model=without_bounds()), "needs output_bounds"),
        (
            lambda: PolarSweep().move(
                tq.QNN(tq.Circuit(1).ry(tq.weight("a"), 0), [tq.Z(0)]),
                LINEAR, np.zeros(1), np.zeros((1, 0)), np.ones((1, 1)), None, 0, 0,
            ),
            "model: PolarSweep turns tensor-valued weights in the chart 'entries'",
        ),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
