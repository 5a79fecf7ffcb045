"""The trainer: it learns, repeats itself, reports, weighs samples and classes, and stops."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cosine_model import BLOCKS, CHAIN, CosineModel, samples

from tn_qnn.errors import InputError
from tn_qnn.rng import Stream, derived_seed
from tn_qnn.train import SPSA, EarlyStopping, Estimate, Gains, Trainer, mse
from tn_qnn.train.history import COLUMNS, History, Row
from tn_qnn.train.inputs import Data
from tn_qnn.train.run import Run
from tn_qnn.train.state import better

X, Y = samples(40)


def toy(**settings):
    settings.setdefault("model", CosineModel(CHAIN))
    settings.setdefault("seed", 1)
    return Trainer(**settings)


def fit(trainer, **options):
    return trainer.fit(X, Y, **{"steps": 20, "batch_size": 8, "progress": False} | options)


@pytest.mark.parametrize("update", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", lambda o, y: (o[:, 0] - (y == 0)) ** 2])
def test_it_learns(loss, update):
    trainer = toy(model=CosineModel(BLOCKS[:3, :9]), loss=loss, update=update)
    result = fit(trainer, steps=400, batch_size=20)
    before = trainer.evaluate(trainer.fit(X, Y, steps=1, progress=False).weights, X, Y)
    after = trainer.evaluate(result.weights, X, Y)
    assert after[0] < 0.75 * before[0] and after[1] > before[1]


def test_it_learns_numbers_and_without_data():
    model = CosineModel([[1, 1], [0, 1]])
    y = model(np.array([0.4, -1.0]), X)
    start = [0.1, -0.6]
    result = Trainer(model, "mse", seed=2).fit(X, y, steps=500, weights=start, progress=False)
    assert Trainer(model, "mse").evaluate(result.weights, X, y)[1] > 0.99

    class Bare(CosineModel):
        num_features = 0

        def __init__(self, cones):
            super().__init__(cones)
            self.phases = np.zeros((0, self.num_weights))

    energy = Trainer(Bare([[1, 1, 1]]), lambda outputs, y: outputs.sum(axis=1), seed=2)
    assert energy.fit(steps=400, progress=False, weights="uniform").history["loss"][-1] < -0.95


def test_plain_spsa_learns_from_zero_one():
    trainer = toy(
        model=CosineModel(BLOCKS[:3, :9]), loss="zero_one", estimator=SPSA(credit=False, c=0.6)
    )
    options = {"batch_size": 40, "weights": "uniform"}
    first, last = (fit(trainer, steps=n, **options).weights for n in (1, 400))
    assert trainer.evaluate(last, X, Y)[0] < trainer.evaluate(first, X, Y)[0] - 0.2


def test_same_seed_same_bits():
    one, two, other = (fit(toy(seed=seed)) for seed in (1, 1, 2))
    assert one.weights.tobytes() == two.weights.tobytes() != other.weights.tobytes()


def test_chunking_and_dtype_do_not_matter():
    class Chunked(CosineModel):
        def __call__(self, weights, X):
            call = super().__call__
            parts = [call(weights, X[i : i + 3]) for i in range(0, len(X), 3)]
            return np.concatenate(parts, axis=-2)

    assert fit(toy()).weights.tobytes() == fit(toy(model=Chunked(CHAIN))).weights.tobytes()
    single = fit(toy(model=CosineModel(CHAIN, dtype=np.float32)))
    assert single.weights.dtype == np.float64
    np.testing.assert_allclose(single.weights, fit(toy()).weights, atol=1e-3)


def test_one_model_call_a_step():
    model = CosineModel(CHAIN)
    result = fit(toy(model=model, estimator=SPSA(directions=3)))
    assert model.calls == [(6, 5)] * 20
    assert result.evaluations == result.history["evaluations"][-1] == 20 * 6 * 8


def test_steps_are_those_of_the_formulas():
    """Two SGD steps by hand, with given gains and minibatches."""
    trainer = toy(estimator=SPSA(a=0.5, A=3.0), update="sgd")
    seen = []
    result = fit(trainer, steps=2, weights=np.arange(5.0), callbacks=[lambda r: seen.append(r)])
    weights = np.arange(5.0)
    from tn_qnn.train.batches import minibatch

    for k in range(2):
        chosen = minibatch(1, k, 40, 8)
        step = SPSA().estimate(
            trainer.model, trainer.loss, weights, X[chosen], Y[chosen], None, 1, k
        )
        weights = weights - 0.5 / (k + 4) ** 0.602 * step.gradient
        np.testing.assert_allclose(seen[k].weights, weights, rtol=1e-14)
        assert seen[k].row.a_k == 0.5 / (k + 4) ** 0.602
        assert seen[k].row.c_k == 0.1 / (k + 1) ** 0.101
    assert np.array_equal(result.weights, seen[1].weights)


def test_calibration():
    model = CosineModel(CHAIN)
    spsa = SPSA(first_step=0.03, calibration=7)
    result = fit(toy(model=model, estimator=spsa, update="sgd"), steps=10)
    assert len(model.calls) == 17 and result.evaluations == 17 * 2 * 8
    trainer = toy(model=model, estimator=spsa)
    seed = derived_seed(1, Stream.CALIBRATION)
    from tn_qnn.train.batches import minibatch
    from tn_qnn.train.initializers import initial_weights

    sizes = []
    for k in range(7):
        chosen = minibatch(seed, k, 40, 8)
        batch = (initial_weights("small", 1, 5), X[chosen], Y[chosen], None)
        sizes.append(abs(spsa.estimate(model, trainer.loss, *batch, seed, k).gradient).mean())
    assert result.gains.step_size(0) * np.mean(sizes) == pytest.approx(0.03)
    adam = fit(toy(estimator=spsa))
    assert adam.evaluations == 20 * 16 and adam.gains.step_size(0) == pytest.approx(0.03)


def test_history_and_validation(tmp_path):
    result = fit(toy(), steps=12, validation=(X, Y), validate_every=5, checkpoint=tmp_path)
    history = result.history
    assert history["step"].tolist() == list(range(1, 13))
    assert history["epoch"].tolist() == [k / 5 for k in range(1, 13)]
    assert [row.step for row in history.validations] == [5, 10, 12]
    trainer = toy()
    loss, score = trainer.evaluate(result.weights, X, Y)
    assert (loss, score) == (history["validation_loss"][-1], history["validation_score"][-1])
    assert score == (trainer.model(result.weights, X).argmax(axis=1) == Y).mean()
    assert (np.diff(history["seconds"]) > 0).all()
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 12
    assert float(rows[3]["loss"]) == history["loss"][3] and rows[3]["validation_loss"] == ""
    assert float(rows[4]["validation_loss"]) == history["validation_loss"][4]


def test_history_goes_through_an_array():
    history = fit(toy(), steps=3).history
    back = History.from_array(history.to_array())
    assert type(back.rows[0].step) is int and len(back) == 3
    assert np.array_equal(back.to_array(), history.to_array(), equal_nan=True)
    assert History.from_array(History().to_array()).rows == ()


@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_best(monitor):
    seen = {}
    result = fit(
        toy(estimator=SPSA(first_step=0.8)),
        steps=60,
        validation=(X, Y),
        validate_every=2,
        monitor=monitor,
        callbacks=[lambda report: seen.update({report.row.step: report.weights})],
    )
    rows = result.history.validations
    if monitor == "score":
        best = max(rows, key=lambda row: (row.validation_score, -row.validation_loss, -row.step))
    else:
        best = min(rows, key=lambda row: (row.validation_loss, row.step))
    assert result.best.step == best.step < 60
    assert np.array_equal(result.best.weights, seen[best.step])
    assert np.array_equal(result.weights, seen[60])


def test_early_stopping():
    options = {"steps": 400, "validation": (X, Y), "validate_every": 2}
    stop = EarlyStopping(patience=4)
    trainer = toy(estimator=SPSA(first_step=0.8))
    result = fit(trainer, callbacks=[stop], **options)
    scores = [row.validation_score for row in result.history.validations]
    assert result.reason == "callback" and result.step < 400 and not result.interrupted
    assert stop.waited(result.history, "score") == 4
    assert np.argmax(scores) == len(scores) - 5  # the last improvement, and four more
    assert np.array_equal(result.weights, result.best.weights)
    last = fit(trainer, callbacks=[EarlyStopping(patience=4, restore_best=False)], **options)
    assert last.step == result.step and not np.array_equal(last.weights, result.weights)


def test_early_stopping_survives_a_break(tmp_path):
    options = {"validation": (X, Y), "validate_every": 2, "callbacks": [EarlyStopping(patience=4)]}
    trainer = toy(estimator=SPSA(first_step=0.8, A=40.0))
    whole = fit(trainer, steps=400, **options)
    cut = whole.step - 3
    fit(trainer, steps=cut - cut % 2, checkpoint=tmp_path, **options)
    for _ in range(2):  # a run that a callback ended stays ended
        rest = fit(trainer, steps=400, checkpoint=tmp_path, resume=True, **options)
        assert rest.reason == "callback" and rest.step == whole.step
        assert rest.weights.tobytes() == whole.weights.tobytes()


@pytest.mark.parametrize(
    ("scores", "min_delta", "waited"),
    [
        ([1], 0, 0),
        ([1, 2, 3], 0, 0),
        ([3, 2, 1], 0, 2),
        ([1, 1], 0, 1),
        ([1, 2, 2.5], 1, 0),
        ([1, 2, 2.5, 3.5], 1, 1),
    ],
)
def test_waiting(scores, min_delta, waited):
    nan = float("nan")
    rows = [[k + 1, 0, 0, -s, s, 0, 0, 0, 0] for k, s in enumerate(scores)]
    rows.append([9, 0, 0, nan, nan, 0, 0, 0, 0])
    history = History.from_array(np.array(rows, dtype=float))
    for monitor in ("score", "loss"):
        assert EarlyStopping(1, min_delta).waited(history, monitor) == waited


def test_early_stopping_needs_validation():
    with pytest.raises(InputError, match="validation: got None"):
        fit(toy(), callbacks=[EarlyStopping()])


@pytest.mark.parametrize(("name", "value"), [("patience", 0), ("min_delta", -1.0)])
def test_bad_early_stopping(name, value):
    with pytest.raises(InputError, match=name):
        EarlyStopping(**{name: value})


def test_callbacks_are_all_called_and_any_stops():
    first, second = [], []

    def stop(report):
        first.append(report.row.step)
        return report.row.step == 3

    result = fit(toy(), callbacks=[stop, lambda report: second.append(report.steps)])
    assert first == [1, 2, 3] and second == [20] * 3
    assert result.step == 3 and result.reason == "callback"


def test_a_failing_callback_is_not_hidden():
    def fail(report):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(toy(), callbacks=[fail])


def test_sample_weights_are_repeats():
    """Weights 0, 1, 2 train as a data set with these samples left out, once, and twice."""
    weight = np.arange(40) % 3
    repeated = np.repeat(np.arange(40), weight)
    options = {"steps": 15, "batch_size": 99, "progress": False}
    weighed = toy().fit(X, Y, sample_weight=weight, **options)
    copies = toy().fit(X[repeated], Y[repeated], **options)
    np.testing.assert_allclose(weighed.weights, copies.weights, atol=1e-10)
    np.testing.assert_allclose(weighed.history["loss"], copies.history["loss"])


@pytest.mark.parametrize(
    ("class_weight", "expected"),
    [
        ({0: 3.0}, [3, 1, 1]),
        ([1, 2, 5], [1, 2, 5]),
        ("balanced", 40 / 3 / np.bincount(Y)),
    ],
)
def test_class_weights_are_sample_weights(class_weight, expected):
    by_class = fit(toy(), class_weight=class_weight)
    by_sample = fit(toy(), sample_weight=np.asarray(expected)[Y])
    np.testing.assert_allclose(by_class.weights, by_sample.weights, rtol=1e-12)
    assert not np.allclose(by_class.weights, fit(toy()).weights, atol=1e-6)


def test_a_class_of_large_weight_is_learned_first():
    trainer = toy(model=CosineModel([[1, 1], [1, 1], [1, 1]]))
    for favoured in range(3):
        options = {"class_weight": {favoured: 50.0}, "steps": 200, "batch_size": 40}
        weights = fit(trainer, weights="uniform", **options).weights
        losses = trainer.loss.value(trainer.model(weights, X), Y)
        plain = fit(trainer, weights="uniform", steps=200, batch_size=40).weights
        before = trainer.loss.value(trainer.model(plain, X), Y)
        assert losses[favoured == Y].mean() <= before[favoured == Y].mean() + 1e-3


def test_initial_weights():
    names = toy().model.weight_names
    given = np.linspace(-1, 1, 5)
    by_name = dict(zip(reversed(names), reversed(given), strict=True))
    one, two = (fit(toy(), weights=w).weights for w in (given, by_name))
    assert one.tobytes() == two.tobytes()
    assert np.array_equal(given, np.linspace(-1, 1, 5))


def test_another_estimator_can_be_given():
    class Exact:
        def check(self, loss):
            pass

        def gains(self, total_steps, unit_change):
            return Gains(a=0.3, c=0.0, A=0.0, alpha=0.0, gamma=0.0)

        def estimate(self, model, loss, weights, X, y, sample_weight, seed, step):
            outputs = model(weights, X)
            slopes = loss.slope(outputs, y)
            gradient = np.einsum("sk,skw->w", slopes, model.gradient(weights, X)) / len(X)
            return Estimate(gradient, float(loss.value(outputs, y).mean()), len(X))

    model = CosineModel([[1, 1], [0, 1]])
    y = model(np.array([0.4, -1.0]), X)
    result = Trainer(model, mse(), Exact(), "sgd").fit(
        X, y, steps=400, weights=[0.1, -0.6], progress=False
    )
    assert result.history["loss"][-1] < 1e-6


def test_a_loss_that_is_not_finite_ends_the_training():
    def broken(outputs, y):
        return np.where(outputs[:, 0] > -2, np.nan, 0.0)

    with pytest.raises(InputError, match="loss: became nan at step 1"):
        fit(toy(loss=broken, estimator=SPSA(credit=False)))


def test_progress_bar(capsys):
    fit(toy(), steps=5, validation=(X, Y), progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "5/5" in shown.err and "loss " in shown.err
    assert "score 0." in shown.err
    fit(toy(), steps=5, progress=None)  # stderr is no terminal here
    assert capsys.readouterr().err == ""


def test_progress_bar_ends_when_a_callback_fails(capsys):
    with pytest.raises(ZeroDivisionError):
        fit(toy(), progress=True, callbacks=[lambda report: 1 // 0])
    assert "0/20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("monitor", "steps"), [("score", [1, 1, 3, 4, 4, 4]), ("loss", [1, 1, 3, 4, 5, 5])]
)
def test_what_is_better(monitor, steps):
    """Rows of (loss, score): equal, a tie in score, better in both, in loss alone, in neither."""
    numbers = [(0.5, 0.7), (0.5, 0.7), (0.4, 0.7), (0.3, 0.9), (0.2, 0.8), (0.6, 0.1)]
    best = None
    for k, (loss, score) in enumerate(numbers, start=1):
        row = Row(k, 0.0, 0.0, loss, score, 0, 0.0, 0.0, 0.0)
        best = better(best, row, np.array([k]), monitor)
        assert best.step == best.weights[0] == steps[k - 1]
    unseen = Row(9, 0.0, 0.0, float("nan"), float("nan"), 0, 0.0, 0.0, 0.0)
    assert better(best, unseen, np.array([9]), monitor) is best


def test_when_the_host_must_look():
    data = Data(X, Y)
    run = Run(data, data, steps=47, batch_size=8, validate_every=10, monitor="loss")
    assert [run.next_look(k, 128) for k in (0, 9, 10, 45)] == [10, 10, 20, 47]
    assert [run.next_look(k, 3) for k in (0, 8, 46)] == [3, 10, 47]
    saved = replace(run, validation=None, folder=Path("x"), checkpoint_every=6)
    assert [saved.next_look(k, 128) for k in (0, 6, 43)] == [6, 12, 47]
    assert replace(saved, folder=None).next_look(0, 128) == 47
    seldom = replace(run, callbacks=(EarlyStopping(),))
    assert seldom.next_look(3, 128) == 10
    assert replace(run, callbacks=(EarlyStopping(), print)).next_look(3, 128) == 4
