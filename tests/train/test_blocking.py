"""Blocking: steps that worsen the minibatch's loss are refused, shrunk, counted, and resumed."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from device_model import DeviceCosine
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import CheckpointError
from tn_qnn.train import SGD, SPSA, Blocking, Estimate, Momentum, Trainer, TrustRegion
from tn_qnn.train.batches import minibatch
from tn_qnn.train.checkpoint import load_checkpoint
from tn_qnn.train.gains import make_gains
from tn_qnn.train.inputs import Data
from tn_qnn.train.losses import cross_entropy
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State
from tn_qnn.train.updates import UPDATES

X, Y = samples(40)
WEIGHT = np.arange(40) % 3 + 0.5


@dataclass(frozen=True)
class Exact:
    """The exact gradient of the toy model, at a constant gain."""

    first_step: float = 0.1

    def check(self, loss):
        pass

    def gains(self, total_steps, unit_change):
        return make_gains("constant", self.first_step, self.first_step, total_steps, unit_change)

    def estimate(self, model, loss, weights, X, y, sample_weight, seed, step):
        outputs = model(weights, X)
        slopes = loss.slope(outputs, y) * (1.0 if sample_weight is None else sample_weight[:, None])
        values = loss.value(outputs, y) * (1.0 if sample_weight is None else sample_weight)
        gradient = np.einsum("sk,skw->w", slopes, model.gradient(weights, X)) / len(X)
        return Estimate(gradient, float(values.mean()), len(X))


def recipe(update, estimator=None, batch_size=16, sample_weight=None, model=None):
    parts = (model or CosineModel(CHAIN), cross_entropy(), estimator or Exact(), update, 1)
    return Recipe(*parts, Data(X, Y, sample_weight), batch_size)


def begun(recipe, gain, weights=None):
    weights = np.linspace(-1.0, 1.0, 5) if weights is None else weights
    gains = make_gains("constant", gain, gain, 1, float, c=0.1)
    return State(0, weights, recipe.update.init(weights), gains)


def loss_of(recipe, weights, step):
    """The minibatch's weighted loss, by a call of its own."""
    chosen = minibatch(1, step, 40, recipe.batch_size)
    values = recipe.loss.value(recipe.model(weights, X[chosen]), Y[chosen])
    if recipe.data.sample_weight is not None:
        values = values * recipe.data.sample_weight[chosen]
    return values.mean()


@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["even", "weighted"])
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
@pytest.mark.parametrize("estimator", [Exact(), SPSA(), SPSA(credit=False)], ids=repr)
@pytest.mark.parametrize("rule", [SGD(), Momentum()], ids=repr)
def test_every_step_is_taken_or_refused_by_its_losses(rule, estimator, tolerance, sample_weight):
    blocked = recipe(Blocking(rule, tolerance), estimator, 16, sample_weight)
    plain = replace(blocked, update=rule)
    state, refused = begun(blocked, 4.0), 0
    for k in range(30):
        new, loss = blocked.step(state)
        free, free_loss = plain.step(replace(state, update=state.update.rule))
        assert loss == free_loss
        proposed = state.weights + state.update.factor * (free.weights - state.weights)
        before, after = (loss_of(blocked, w, k) for w in (state.weights, proposed))
        assert abs(after - before - tolerance) > 1e-12
        taken = after <= before + tolerance
        refused += not taken
        np.testing.assert_allclose(new.weights, proposed if taken else state.weights, rtol=1e-12)
        factor = min(1.0, 2 * state.update.factor) if taken else 0.5 * state.update.factor
        assert new.update.factor == factor and new.update.refused == refused
        # The rule has seen the gradient, whatever became of its step.
        for name, value in vars(free.update).items():
            assert np.array_equal(getattr(new.update.rule, name), value)
        state = new
    assert 2 < refused < 28


@pytest.mark.parametrize("name", UPDATES)
def test_the_loss_of_all_samples_never_grows(name):
    blocked = recipe(Blocking(name), Exact(), batch_size=40)
    state = begun(blocked, 1.5)
    losses = [loss_of(blocked, state.weights, 0)]
    for k in range(60):
        state = blocked.step(state)[0]
        losses.append(loss_of(blocked, state.weights, k))
    assert (np.diff(losses) < 1e-12).all() and losses[-1] < 0.6 * losses[0]
    assert state.update.refused > 0


def test_without_backoff_the_same_step_is_proposed_for_ever():
    stuck, moving = (recipe(Blocking("sgd", backoff=b), Exact(), batch_size=40) for b in (1.0, 0.5))
    ends = {}
    for one in (stuck, moving):
        state = begun(one, 40.0)
        for _ in range(25):
            state = one.step(state)[0]
        ends[one.update.backoff] = state
    first = begun(stuck, 40.0).weights
    assert ends[1.0].update.refused == 25 and np.array_equal(ends[1.0].weights, first)
    assert ends[0.5].update.refused < 20
    assert loss_of(moving, ends[0.5].weights, 0) < loss_of(moving, first, 0) - 0.3


def test_large_steps_do_less_harm_when_blocked():
    model = CosineModel(np.kron(np.eye(3, dtype=int), np.ones((1, 12), dtype=int)))
    spsa, after = SPSA(first_step=0.5, schedule="constant"), []
    for update in ("sgd", Blocking("sgd")):
        trainer = Trainer(model, "cross_entropy", spsa, update, seed=1)
        result = trainer.fit(X, Y, steps=150, batch_size=20, progress=False)
        after.append(trainer.evaluate(result.weights, X, Y)[0])
    assert after[1] < 0.5 * after[0]


def test_a_loss_that_is_no_number_is_refused():
    class Fragile(CosineModel):
        def __call__(self, weights, X):
            wild = abs(weights).max(axis=-1) > 5.0
            return np.where(wild[..., None, None], np.nan, super().__call__(weights, X))

    blocked = recipe(Blocking("sgd"), Exact(), model=Fragile(CHAIN))
    first = begun(blocked, 1e4)
    state = blocked.step(first)[0]
    assert state.update.refused == 1 and np.array_equal(state.weights, first.weights)


def test_evaluations_and_model_calls():
    model = CosineModel(CHAIN)
    trainer = Trainer(model, "cross_entropy", SPSA(directions=3), Blocking(), seed=1)
    result = trainer.fit(X, Y, steps=10, batch_size=16, progress=False)
    assert model.calls == [(6, 5), (2, 5)] * 10
    sizes = [16, 16, 8] * 3 + [16]  # an epoch's last minibatch is smaller
    assert result.history["evaluations"].tolist() == np.cumsum(8 * np.array(sizes)).tolist()


@given(
    before=st.floats(-10, 10),
    after=st.floats(-10, 10),
    tolerance=st.floats(0, 3),
    backoff=st.floats(0.1, 1),
)
def test_judging(before, after, tolerance, backoff):
    rule = Blocking("sgd", tolerance, backoff)
    state = replace(rule.init(np.zeros(1)), factor=0.3, refused=4)
    taken, new = rule.judge(state, before, after)
    assert taken == (after <= before + tolerance) and new.refused == 5 - taken
    assert new.factor == (min(1.0, 0.3 / backoff) if taken else 0.3 * backoff)
    assert rule.judge(state, before, before)[0]
    assert not rule.judge(state, before, float("nan"))[0]


def test_a_checkpoint_tells_how_many_were_refused(tmp_path):
    update = Blocking(TrustRegion("momentum", 0.4))
    trainer = Trainer(CosineModel(CHAIN), "cross_entropy", SPSA(first_step=0.5), update, seed=1)
    result = trainer.fit(X, Y, steps=40, checkpoint=tmp_path, progress=False)
    arrays = load_checkpoint(tmp_path)[1]
    assert 0 < arrays["update_refused"] == result.update.refused < 40
    assert 0 < arrays["update_factor"] <= 1
    assert arrays["update_rule.count"] == 40 and arrays["update_rule.mean"].shape == (5,)


def test_the_rule_within_a_guard_is_part_of_the_run(tmp_path):
    def fit(rule, steps, **options):
        trainer = Trainer(CosineModel(CHAIN), update=Blocking(TrustRegion(rule, 0.4)), seed=1)
        return trainer.fit(X, Y, steps=steps, checkpoint=tmp_path, progress=False, **options)

    fit("adam", 4)
    with pytest.raises(CheckpointError, match="of another run: different update"):
        fit("amsgrad", 8, resume=True)  # its settings have the same names and values
    assert fit("adam", 8, resume=True).step == 8


def test_on_a_gpu_the_host_takes_the_steps_and_says_why(cupy):
    results = [
        Trainer(model, "cross_entropy", SPSA(first_step=0.4), Blocking("adam"), seed=1).fit(
            X, Y, steps=20, batch_size=16, progress=False
        )
        for model in (CosineModel(CHAIN), DeviceCosine(CHAIN, CudaRuntime(cupy)))
    ]
    words = "step by step on the host, because the update Blocking is not marked as capturable"
    assert results[1].backend == f"cuda: Stand-in, {words}"
    np.testing.assert_allclose(results[1].weights, results[0].weights, rtol=1e-9)
