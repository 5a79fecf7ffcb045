"""Retractions: unitary after every step, and what they leave alone."""

from dataclasses import dataclass

import numpy as np
import pytest
from block_model import BlockModel, samples
from scipy.linalg import polar, qr

from tn_qnn.circuit.block_groups import BlockGroup
from tn_qnn.errors import InputError
from tn_qnn.train import SPSA, Trainer
from tn_qnn.train.execution import why_on_host
from tn_qnn.train.gains import Gains
from tn_qnn.train.initializers import INITIALIZERS, initial_weights
from tn_qnn.train.protocol import Estimate
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.retraction import Retraction, get_retraction, q_factor
from tn_qnn.train.updates import SGD


def group(columns, real, chart="entries", qubits=1):
    names = tuple(f"U{k}" for k in range(len(columns)))
    return BlockGroup(names, np.asarray(columns), qubits, real, chart)


each_method = pytest.mark.parametrize("method", ["polar", "qr"])
each_kind = pytest.mark.parametrize("real", [True, False])


@each_method
@each_kind
def test_against_scipy(method, real):
    columns = np.random.default_rng(0).permutation(70)[:64].reshape(2 if not real else 4, -1)
    weights = np.random.default_rng(1).normal(size=70)
    found = Retraction(method)(weights, [group(columns, real, qubits=2)])
    for row in columns:
        planes = weights[row].reshape(-1, 4, 4)
        matrix = planes[0] if real else planes[0] + 1j * planes[1]
        if method == "polar":
            want = polar(matrix)[0]
        else:
            q, r = qr(matrix)
            want = q * (np.diag(r) / abs(np.diag(r)))
        got = found[row].reshape(-1, 4, 4)
        np.testing.assert_allclose(got[0], want.real, atol=1e-13)
        np.testing.assert_allclose(got[-1], want.real if real else want.imag, atol=1e-13)
    rest = np.setdiff1d(np.arange(70), columns)
    np.testing.assert_array_equal(found[rest], weights[rest])


@each_kind
def test_qr_and_polar_agree_to_second_order(real):
    rng = np.random.default_rng(2)
    u = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    skew = rng.normal(size=(4, 4)) + (0 if real else 1j * rng.normal(size=(4, 4)))
    skew = skew - skew.conj().T  # along the unitary matrices
    gaps = []
    for step in (0.02, 0.01):
        moved = u + step * u @ skew
        gaps.append(np.linalg.norm(q_factor(moved) - polar(moved)[0]))
    assert 3.5 < gaps[0] / gaps[1] < 4.5


def test_q_factor_of_a_singular_matrix_is_unitary():
    q = q_factor(np.array([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(q @ q.swapaxes(-1, -2), np.stack([np.eye(2)] * 2), atol=1e-15)


def test_blocks_of_the_other_chart_stay():
    weights = np.arange(5.0)
    found = Retraction()(weights, [group([[0], [3]], True, "exponential")])
    np.testing.assert_array_equal(found, weights)


@dataclass(frozen=True)
class Straight:
    """An estimator whose gradient is always the same."""

    def check(self, loss):
        pass

    def gains(self, total_steps, unit_change):
        return Gains(0.3, 0.0, 0.0, 0.0, 0.0)

    def estimate(self, model, loss, weights, X, y, sample_weight, seed, step):
        return Estimate(np.random.default_rng(3).normal(size=model.num_weights), 1.0, 1)


def fit(model, retraction, steps=3, **options):
    X, y = samples(8)
    trainer = Trainer(model, "cross_entropy", Straight(), SGD(), retraction=retraction)
    return trainer.fit(X, y, steps=steps, progress=False, **options)


@each_method
@each_kind
def test_every_step_ends_on_unitary_matrices(method, real):
    model = BlockModel(real=real)
    result = fit(model, method)
    for row in result.weights[model.blocks[0].columns]:
        planes = row.reshape(-1, 4, 4)
        matrix = planes[0] if real else planes[0] + 1j * planes[1]
        np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(4), atol=1e-13)
    plain = fit(model, None)
    assert abs(result.weights - plain.weights).max() > 0.1
    assert result.weights[0] == plain.weights[0]  # the angle


def test_one_step_is_the_update_and_then_the_polar_factor():
    model = BlockModel(blocks=1)
    start = initial_weights("uniform", 1, model.num_weights, model.blocks)
    got = fit(model, "polar", steps=1, weights=start).weights
    step = start - 0.3 * np.random.default_rng(3).normal(size=model.num_weights)
    np.testing.assert_allclose(got[1:].reshape(4, 4), polar(step[1:].reshape(4, 4))[0], atol=1e-13)


@each_method
def test_a_resumed_run_has_the_same_bits(method, tmp_path):
    model = BlockModel()
    whole = fit(model, method, steps=6)
    fit(model, method, steps=3, checkpoint=tmp_path)
    again = fit(model, method, steps=6, checkpoint=tmp_path, resume=True)
    assert again.weights.tobytes() == whole.weights.tobytes()


def test_another_retraction_is_another_run(tmp_path):
    from tn_qnn.errors import CheckpointError

    fit(BlockModel(), "polar", checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="retraction"):
        fit(BlockModel(), None, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("name", INITIALIZERS)
@each_kind
def test_initial_blocks(name, real):
    model = BlockModel(blocks=40, real=real)
    weights = initial_weights(name, 7, model.num_weights, model.blocks)
    assert weights[0] == initial_weights(name, 7, model.num_weights)[0]
    found = model.blocks[0].matrices(weights)
    planes = weights[1:].reshape(40, -1, 4, 4)
    entries = planes[:, 0] if real else planes[:, 0] + 1j * planes[:, 1]
    np.testing.assert_allclose(entries, found, atol=1e-13)  # they are unitary as they stand
    off = abs(found - np.eye(4)).max()
    if name != "uniform":
        assert off < {"identity": 0.05, "small": 0.5}[name]
        return
    # Haar: traces have mean 0, and mean square 1 in the absolute value.
    traces = np.trace(found, axis1=1, axis2=2)
    assert abs(traces.mean()) < 0.5
    assert 0.5 < (abs(traces) ** 2).mean() < 1.6


def test_the_trainer_starts_there():
    model = BlockModel()
    X, y = samples(8)
    one = Trainer(model, "cross_entropy", SPSA(a=1e-9), SGD(), seed=4)
    result = one.fit(X, y, steps=1, weights="identity", progress=False)
    want = initial_weights("identity", 4, model.num_weights, model.blocks)
    np.testing.assert_allclose(result.weights, want, atol=1e-6)


def test_the_host_takes_the_steps():
    model = BlockModel()
    model.device, model.capturable = object(), True
    trainer = Trainer(model, "cross_entropy", SPSA(), "adam")
    recipe = Recipe(
        model, trainer.loss, trainer.estimator, trainer.update, 0, None, 8, None, None,
        Retraction("qr"),
    )  # fmt: skip
    assert "retraction" in why_on_host(recipe)


class NoBlocks:
    weight_names, num_weights, num_outputs = ("a",), 1, 1
    credit, signature = np.ones((1, 1), dtype=bool), ""

    def __call__(self, weights, X):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_retraction("cayley"), "retraction: got 'cayley', expected 'polar' or 'qr'"),
        (lambda: Retraction(3), "retraction: got 3"),
        (lambda: Trainer(NoBlocks(), retraction="qr"), "retraction: the model has no block"),
    ],
)
def test_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
