"""Estimators: they learn, keep scikit-learn's rules, name faults, and come back from disk."""

import json
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import tn_qnn as tq
from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.models.digits_model import digits_classifier, digits_encoding
from tn_qnn.models.estimators import QNNClassifier, QNNRegressor, load_estimator
from tn_qnn.models.model_file import load_model, save_model
from tn_qnn.train import SGD, Adam, EarlyStopping

from ..emulation.cupy_standin import install, make_cupy

NOT_KEPT = {
    "check_sample_weight_equivalence_on_dense_data": "a minibatch of weighted samples is not one "
    "of repeated samples, nor are the random directions the same",
}
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.mark.parametrize(
    "estimator",
    [
        QNNClassifier(steps=100, directions=8, threads=1),
        QNNRegressor(steps=300, directions=8, threads=1),
        QNNClassifier(steps=50, head="linear", estimator="exact", threads=1),
    ],
    ids=["classifier", "regressor", "head"],
)
def test_scikit_learns_own_checks(estimator):
    results = check_estimator(
        estimator, expected_failed_checks=NOT_KEPT, on_skip=None, on_fail="raise"
    )
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(NOT_KEPT)
    assert len([r for r in results if r["status"] == "passed"]) > 50


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return train_test_split(X, NAMES[y], stratify=y, random_state=0)


@pytest.fixture(scope="module")
def line():
    """A linear function of four features, with a curve: X, y."""
    X = np.random.default_rng(0).uniform(-2, 3, size=(120, 4))
    return X, 10 + X @ [1.0, -2.0, 0.5, 0.0] + 0.3 * X[:, 0] ** 2


def quick(**parameters):
    return QNNClassifier(**{"steps": 12, "batch_size": 16, "directions": 2, **parameters})


@pytest.mark.parametrize(
    ("parameters", "least"),
    [
        ({}, 0.92),
        ({"ansatz": "matrix_product", "loss": "hinge", "logit_scale": 1.0}, 0.75),
        ({"ansatz": "brickwork", "layers": 3, "encoding": "iqp", "feature_range": (0, 1)}, 0.8),
        ({"ansatz": partial(tq.ansatz.mera, block=tq.ansatz.orthogonal_block)}, 0.9),
        ({"update": "momentum", "learning_rate": 0.1, "class_weight": "balanced"}, 0.9),
        ({"backend": "einsum", "dtype": "float64", "steps": 200}, 0.85),
    ],
    ids=["tree", "matrix product", "brickwork", "blocks", "momentum", "float64"],
)
def test_iris_is_learnt_with_labels_of_text(iris, parameters, least):
    X, Xt, y, yt = iris
    model = QNNClassifier(**{"steps": 400, "seed": 1, **parameters}).fit(X, y)
    assert model.classes_.tolist() == NAMES.tolist()
    assert model.score(Xt, yt) >= least
    assert model.model_.num_outputs == 3


def test_two_classes_take_one_circuit():
    X, y = load_wine(return_X_y=True)
    X, y = X[y < 2][:, :8], y[y < 2] == 1
    model = QNNClassifier(steps=500, seed=1).fit(X[::2], y[::2])
    assert model.model_.num_outputs == 1 and model.classes_.dtype == bool
    assert model.score(X[1::2], y[1::2]) > 0.9
    scores = model.decision_function(X)
    assert scores.shape == (len(X),) and ((scores > 0) == model.predict(X)).all()


def test_a_regressor_learns(line):
    X, y = line
    model = QNNRegressor(steps=1000, seed=1).fit(X[:80], y[:80])
    assert model.score(X[80:], y[80:]) > 0.8
    assert model.predict(X).shape == (120,)


def test_pictures_are_learnt_in_few_steps():
    X, y = load_digits(return_X_y=True)
    X, Xt, y, yt = train_test_split(X, y, stratify=y, random_state=0)
    model = digits_classifier(steps=200, directions=8, seed=0).fit(X, y)
    assert model.model_.num_weights == 3780 and len(model.model_.jobs) == 1
    assert model.score(Xt, yt) > 0.7


def test_the_pictures_encoding_keeps_neighbours_together():
    features = [next(iter(op.params[0].features)) for op in digits_encoding().operations]
    places = np.array([divmod(f, 8) for f in features])
    assert sorted(features) == list(range(64))
    for size, spread in [(4, (2, 2)), (16, (4, 4))]:
        groups = places.reshape(-1, size, 2)
        assert (np.ptp(groups, axis=1) + 1 == spread).all()


def test_probabilities_follow_the_scores(iris):
    X, Xt, y, _ = iris
    model = quick(logit_scale=3.0).fit(X, y)
    p, scores = model.predict_proba(Xt), model.decision_function(Xt)
    exponentials = np.exp(3.0 * scores)
    np.testing.assert_allclose(p, exponentials / exponentials.sum(axis=1, keepdims=True))
    assert (NAMES[p.argmax(axis=1)] == model.predict(Xt)).all()
    two = quick(logit_scale=3.0).fit(X[y != "setosa"], y[y != "setosa"])
    f = two.decision_function(Xt)
    np.testing.assert_allclose(two.predict_proba(Xt)[:, 1], 1 / (1 + np.exp(-6 * f)))


def test_features_are_scaled_by_the_training_data_and_clipped(iris):
    X, _, y, _ = iris
    model = quick(feature_range=(-1, 2)).fit(X, y)
    angles = model.scaling_.apply(X)
    np.testing.assert_allclose([angles.min(axis=0), angles.max(axis=0)], [[-1] * 4, [2] * 4])
    outside = model.scaling_.apply([X.max(axis=0) + 5])
    assert outside.tolist() == [[2.0] * 4]
    shifted = quick(feature_range=(-1, 2)).fit(1000 + 7 * X, y)
    np.testing.assert_allclose(
        shifted.predict_proba(1000 + 7 * X), model.predict_proba(X), atol=1e-4
    )


def test_weights_of_samples_and_classes_move_the_decision(iris):
    X, _, y, _ = iris
    kept = y != "setosa"
    X, y = X[kept][:, 1:2], y[kept]  # a feature that cannot tell them apart
    shares = []
    for heavy in ("versicolor", "virginica"):
        weight = np.where(y == heavy, 20.0, 1.0)
        a = quick(steps=60).fit(X, y, sample_weight=weight).predict(X)
        b = quick(steps=60, class_weight={heavy: 20.0}).fit(X, y).predict(X)
        assert (a == b).all()
        shares.append((a == "virginica").mean())
    assert shares[0] < 0.2 and shares[1] > 0.8


def test_the_same_seed_gives_the_same_bits_and_another_does_not(iris):
    X, Xt, y, _ = iris
    first, again, other = (quick(seed=s).fit(X, y).decision_function(Xt) for s in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_clone_and_parameters(iris):
    X, Xt, y, _ = iris
    circuit = tq.Circuit(4).ry(tq.weight("a"), 0)
    model = quick(ansatz=circuit, observables=[tq.Z(0)], update=Adam(beta1=0.5), seed=2)
    copy = clone(model)
    assert copy.get_params()["ansatz"] == circuit and copy.update == Adam(beta1=0.5)
    copy.set_params(ansatz="tree", observables=None)
    fitted = copy.fit(X, y)
    assert clone(fitted).fit(X, y).predict_proba(Xt).tolist() == fitted.predict_proba(Xt).tolist()


def test_pipelines_and_cross_validation(iris):
    X, _, y, _ = iris
    model = make_pipeline(StandardScaler(), QNNClassifier(steps=150, directions=4))
    assert cross_val_score(model, X, y, cv=2).mean() > 0.8


def test_one_circuit_with_an_observable_a_class(iris):
    X, Xt, y, yt = iris
    readouts = [tq.Z(0), tq.Z(1), tq.Z(2) @ tq.Z(3)]
    model = QNNClassifier("brickwork", layers=4, observables=readouts, steps=300, seed=1)
    model.fit(X, y)
    assert len(model.model_.circuits) == 1 and model.score(Xt, yt) > 0.8


def test_data_in_the_ansatz_itself(iris):
    X, Xt, y, yt = iris
    make = partial(tq.encodings.data_reuploading, layers=3)
    model = QNNClassifier(make, encoding=None, observables=tq.Z(0), steps=300, seed=1).fit(X, y)
    assert len(model.model_.circuits) == 3 and model.score(Xt, yt) > 0.8


def test_validation_and_early_stopping(iris):
    X, Xt, y, yt = iris
    stop = [EarlyStopping(patience=2)]
    options = {"steps": 400, "validate_every": 5, "callbacks": stop}
    model = quick(**options, validation_fraction=0.2).fit(X, y)
    assert model.n_iter_ < 400 and model.result_.best.weights is model.weights_
    given = quick(**options).fit(X, y, validation=(Xt, yt))
    assert given.result_.best.score == given.score(Xt, yt)
    regressor = QNNRegressor(steps=10, validation_fraction=0.2, validate_every=5)
    assert len(regressor.fit(X, X[:, 0]).result_.history.validations) == 2


CASES = [
    (lambda X, y: quick().fit(X, ["a"] * len(X)), "y: one class only"),
    (lambda X, y: quick().fit(X[:0], y[:0]), "0 sample"),
    (lambda X, y: quick().fit(np.where(X.max() == X, np.nan, X), y), "NaN"),
    (lambda X, y: quick().fit(X * np.where(X.max() == X, np.inf, 1), y), "infinity"),
    (lambda X, y: quick().fit(X[:, 0], y), "1D array"),
    (lambda X, y: quick().fit(X[:-1], y), "inconsistent numbers of samples"),
    (lambda X, y: quick().fit(X, y.reshape(-1, 2)), "y"),
    (lambda X, y: quick().fit(X, X[:, 0]), "(?i)label type|continuous"),
    (lambda X, y: quick().fit(X, y).predict(X[:, :3]), "3 features"),
    (lambda X, y: quick().fit(X, y).predict(X * np.nan), "NaN"),
    (lambda X, y: quick().fit(X, y, sample_weight=np.ones(3)), "sample_weight: shape"),
    (lambda X, y: quick().fit(X, y, sample_weight=-np.ones(len(X))), "sample_weight: negative"),
    (lambda X, y: quick().fit(X, y, sample_weight=["a"] * len(X)), "sample_weight"),
    (lambda X, y: quick().fit(X, y, validation=X), "validation: a pair"),
    (lambda X, y: quick().fit(X, y, validation=(X, ["cat"] * len(X))), "validation y.*cat"),
    (lambda X, y: quick().fit(X, y, validation=(X[:, :2], y)), "validation.*2 features"),
    (lambda X, y: quick(class_weight={"cat": 2}).fit(X, y), "class_weight.*cat"),
    (lambda X, y: quick(class_weight="fair").fit(X, y), "class_weight.*fair"),
    (lambda X, y: quick(ansatz="bush").fit(X, y), "ansatz: one of tree.*'bush'"),
    (lambda X, y: quick(ansatz=3).fit(X, y), "ansatz.*3"),
    (lambda X, y: quick(ansatz=lambda n: n).fit(X, y), "ansatz: the function returned"),
    (lambda X, y: quick(ansatz=tq.Circuit(4).h(0)).fit(X, y), "1 circuit.*3 are needed"),
    (lambda X, y: quick(ansatz=[tq.Circuit(4)] * 3).fit(X, y), "no weights"),
    (lambda X, y: quick(ansatz=tq.ansatz.tree(2)).fit(X, y), "encoding: 4 qubits"),
    (lambda X, y: quick(layers=2).fit(X, y), "layers: 2"),
    (lambda X, y: quick(encoding="phase").fit(X, y), "encoding: one of angle"),
    (lambda X, y: quick(encoding=tq.encodings.angle(5)).fit(X, y), "X: 4 features.*uses 5"),
    (lambda X, y: quick(observables=[tq.Z(9)] * 3).fit(X, y), "qubit 9"),
    (lambda X, y: quick(feature_range=(1, 0)).fit(X, y), "feature_range"),
    (lambda X, y: quick(feature_range="pi").fit(X, y), "feature_range"),
    (lambda X, y: quick(logit_scale=0).fit(X, y), "logit_scale"),
    (lambda X, y: quick(validation_fraction=1).fit(X, y), "validation_fraction"),
    (lambda X, y: quick(validation_fraction=0.01).fit(X, y), "validation_fraction"),
    (lambda X, y: quick(steps=0).fit(X, y), "steps"),
    (lambda X, y: quick(seed=-1).fit(X, y), "seed"),
    (lambda X, y: quick(loss="zero_one").fit(X, y), "loss"),
    (lambda X, y: quick(dtype="float16").fit(X, y), "dtype"),
    (lambda X, y: quick().fit(np.array([[1e308], [-1e308]]), ["a", "b"]), "X: column 0 spans"),
    (lambda X, y: QNNRegressor().fit(X, y), "(?i)y|string"),
    (lambda X, y: QNNRegressor().fit(X, np.full(len(X), np.nan)), "NaN"),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message for _, message in CASES])
def test_what_is_wrong_is_named(iris, call, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        call(iris[0], iris[2])


@pytest.mark.parametrize("estimator", [QNNClassifier(), QNNRegressor()])
def test_nothing_works_before_fit(iris, estimator, tmp_path):
    with pytest.raises(NotFittedError):
        estimator.predict(iris[0])
    with pytest.raises(NotFittedError):
        estimator.save(tmp_path)


def test_a_fit_that_fails_leaves_no_half_fitted_estimator(iris):
    X, _, y, _ = iris
    model = quick().fit(X, y)
    with pytest.raises(InputError):
        model.set_params(steps=-1).fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


# --- on disk ---------------------------------------------------------------------------------

LABELS = [
    NAMES,
    NAMES.astype(object),
    np.array([3, 7, -1], dtype=np.int16),
    np.array([0.5, 1.0, 2.0]) * 2,
    np.array([False, True, True]),
]


@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels.dtype.str)
def test_a_saved_classifier_predicts_the_same_bits(tmp_path, labels):
    X, y = load_iris(return_X_y=True)
    model = quick(class_weight={labels[0]: 2.0}, callbacks=[print_nothing], update=SGD())
    model.fit(X, labels[y]).save(tmp_path)
    again = load_estimator(tmp_path)
    assert again.classes_.dtype == model.classes_.dtype
    assert again.predict(X).tolist() == model.predict(X).tolist()
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert again.get_params() == {**model.get_params(), "callbacks": ()}
    assert clone(again).fit(X, labels[y]).weights_.tobytes() == model.weights_.tobytes()


def print_nothing(report):
    """Do nothing."""


def test_a_saved_regressor_predicts_the_same_bits(tmp_path, line):
    model = QNNRegressor("matrix_product", steps=10, dtype="float64").fit(*line)
    model.save(tmp_path)
    assert load_estimator(tmp_path).predict(line[0]).tobytes() == model.predict(line[0]).tobytes()
    network, weights = load_model(tmp_path)
    outputs = network(weights, model.scaling_.apply(line[0]))
    assert model.target_scaling_.undo(outputs)[:, 0].tolist() == model.predict(line[0]).tolist()


def test_functions_of_the_user_are_not_needed_to_predict(tmp_path, iris):
    X, _, y, _ = iris
    model = quick(
        ansatz=lambda n, prefix: tq.ansatz.tree(n, "rxx", prefix=prefix),
        encoding=lambda n: tq.encodings.angle(n, "x", scale=1.0),
        loss=lambda outputs, y: (outputs[:, 0] - y) ** 2,
    ).fit(X, y)
    model.save(tmp_path)
    again = load_estimator(tmp_path)
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert again.ansatz == model.model_.circuits
    assert (
        again.set_params(loss=model.loss).fit(X, y).weights_.tobytes() == model.weights_.tobytes()
    )


def test_names_of_features_are_kept(tmp_path, iris):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(iris[0], columns=list("abcd"))
    quick().fit(table, iris[2]).save(tmp_path)
    assert load_estimator(tmp_path).feature_names_in_.tolist() == list("abcd")


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(step):
    def callback(report):
        if report.row.step == step:
            raise Killed

    return callback


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_killed_run_predicts_and_goes_on_to_the_same_bits(tmp_path, iris, kind):
    X, Xt, y, _ = iris
    if kind == "regressor":
        y = X[:, 3] ** 2
    make = QNNClassifier if kind == "classifier" else QNNRegressor
    options = {"steps": 40, "batch_size": 16, "directions": 2, "seed": 5, "checkpoint_every": 7}
    straight = make(**options).fit(X, y)
    with pytest.raises(Killed):
        make(**options, checkpoint=tmp_path / "run", callbacks=[kill_at(30)]).fit(X, y)
    halfway = load_estimator(tmp_path / "run")
    assert halfway.n_iter_ == 28
    assert halfway.predict(Xt).shape == (len(Xt),)
    assert halfway.weights_.tobytes() != straight.weights_.tobytes()
    # A run may have been moved.
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed = load_estimator(tmp_path / "moved").fit(X, y, resume=True)
    assert resumed.n_iter_ == 40
    assert resumed.weights_.tobytes() == straight.weights_.tobytes()
    again = load_estimator(tmp_path / "moved")
    assert again.predict(Xt).tobytes() == straight.predict(Xt).tobytes()
    longer = again.set_params(steps=50).fit(X, y, resume=True)
    assert load_estimator(tmp_path / "moved").weights_.tobytes() == longer.weights_.tobytes()


def test_a_killed_run_with_early_stopping_gives_its_best_weights(tmp_path, iris):
    X, _, y, _ = iris
    model = quick(
        steps=40, checkpoint=tmp_path, checkpoint_every=7, validate_every=4, seed=5,
        validation_fraction=0.2, callbacks=[EarlyStopping(patience=99), kill_at(30)],
    )  # fmt: skip
    with pytest.raises(Killed):
        model.fit(X, y)
    loaded = load_estimator(tmp_path)
    assert loaded.callbacks == (EarlyStopping(patience=99),)
    resumed = loaded.set_params(steps=28).fit(X, y, resume=True)
    assert load_estimator(tmp_path).weights_.tobytes() == resumed.result_.best.weights.tobytes()


def test_a_trained_model_is_not_written_over(tmp_path, iris):
    X, _, y, _ = iris
    quick(checkpoint=tmp_path / "run").fit(X, y)
    quick().fit(X, y).save(tmp_path / "saved")
    for folder in ("run", "saved"):
        before = load_estimator(tmp_path / folder).weights_.tobytes()
        with pytest.raises(CheckpointError, match="holds a trained model already"):
            quick(checkpoint=tmp_path / folder, seed=8).fit(X, y)
        assert load_estimator(tmp_path / folder).weights_.tobytes() == before
    with pytest.raises(InputError, match="resume"):
        quick().fit(X, y, resume=True)
    with pytest.raises(CheckpointError, match="another run"):
        quick(checkpoint=tmp_path / "run", seed=8, steps=20).fit(X, y, resume=True)


def test_a_fit_that_was_refused_can_be_repeated_in_the_same_folder(tmp_path, iris):
    X, _, y, _ = iris
    with pytest.raises(InputError):
        quick(checkpoint=tmp_path, steps=-1).fit(X, y)
    assert quick(checkpoint=tmp_path).fit(X, y).n_iter_ == 12


@pytest.fixture(scope="module")
def saved(tmp_path_factory, iris):
    folder = tmp_path_factory.mktemp("saved")
    quick(update=Adam()).fit(iris[0], iris[2]).save(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["<U3", ["a", "b"]]}, "2 labels do not fit"),
        ({"classes": ["<U3", ["a", "b", 3]]}, "labels"),
        ({"classes": ["O", [["a"], "b", "c"]]}, "no label"),
        ({"classes": ["<M8[s]", ["a", "b", "c"]]}, "labels"),
        ({"classes": ["<i2", [1, 2, 10**9]]}, "labels"),
        ({"features": 5}, "scaling of features"),
        ({"features": 0}, "features: a whole number"),
        ({"feature_range": [1, 0]}, "scaling of features"),
        ({"feature_range": [0, "1"]}, "finite number"),
        ({"feature_names": ["a"]}, "4 entries"),
        ({"parameters": {"step": ["plain", 3]}}, "no parameter 'step'"),
        ({"parameters": {"logit_scale": ["plain", "x"]}}, "logit_scale"),
        ({"parameters": {"update": ["record", ["Popen", {}]]}}, "one of SPSA"),
        ({"parameters": {"update": ["record", ["Adam", {"beta1": 3}]]}}, "beta1"),
        ({"parameters": {"update": ["record", ["Adam", {"gamma": 3}]]}}, "gamma"),
        ({"parameters": {"update": ["pickle", "gASV"]}}, "array expected"),
        ({"parameters": []}, "object expected"),
    ],
    ids=str,
)
def test_a_spoiled_model_file_is_named(saved, tmp_path, change, message):
    head = json.loads((saved / "model.json").read_text())
    head["facts"].update(change)
    (tmp_path / "model.json").write_text(json.dumps(head))
    (tmp_path / head["file"]).write_bytes((saved / head["file"]).read_bytes())
    with pytest.raises(CheckpointError, match=message):
        load_estimator(tmp_path)


def test_the_backend_may_be_chosen_anew(tmp_path, iris):
    fitted = quick(backend="cpu", threads=1).fit(*iris[::2])
    fitted.save(tmp_path)
    assert load_estimator(tmp_path).threads == 1
    loaded = load_estimator(tmp_path, backend="einsum")
    assert (loaded.backend, loaded.threads, loaded.model_.backend.name) == (
        "einsum",
        None,
        "einsum",
    )
    X = iris[1][:5]
    np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), atol=1e-4)


def test_copies_keep_the_devices_and_files_do_not(tmp_path, iris, monkeypatch):
    fitted = quick().fit(*iris[::2])
    assert fitted.backend == "auto"
    install(make_cupy(devices=2), monkeypatch.setitem)
    fitted.devices = (1,)
    assert deepcopy(fitted).model_.backend.devices == (1,)
    fitted.save(tmp_path)
    loaded = load_estimator(tmp_path)
    assert (loaded.devices, loaded.model_.backend.devices) == (None, (0,))
    loaded = load_estimator(tmp_path, devices=[1])
    assert (loaded.devices, loaded.model_.backend.devices) == ([1], (1,))


def test_a_bare_network_is_no_estimator(tmp_path):
    save_model(tmp_path, tq.QNN(tq.Circuit(1).ry(tq.weight("a"), 0), [tq.Z(0)]), [0.5])
    with pytest.raises(CheckpointError, match="no estimator"):
        load_estimator(tmp_path)


def test_labels_that_no_file_can_hold_are_refused_before_training(tmp_path, iris):
    X, _, y, _ = iris
    days = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], dtype="datetime64[D]")
    labels = days[np.searchsorted(NAMES, y)]
    with pytest.raises(InputError, match="y: labels of type date cannot be saved"):
        quick(checkpoint=tmp_path).fit(X, labels)
    assert not list(tmp_path.iterdir())
