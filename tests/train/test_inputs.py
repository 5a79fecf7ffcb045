"""Bad input: each error names the argument, what was given and what was expected."""

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples

from tn_qnn.errors import InputError
from tn_qnn.train import SPSA, Trainer

X, Y = samples(12)
ONE_HOT = np.eye(3)[Y]


def holed(value, array=X):
    array = array.astype(float)
    array[(3,) + (1,) * (array.ndim - 1)] = value
    return array


def fit(loss="cross_entropy", model=None, X=X, y=Y, **options):
    trainer = Trainer(model or CosineModel(CHAIN), loss)
    return trainer.fit(X, y, **{"steps": 2, "progress": False} | options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (r"^X: got nan at index \(3, 1\), expected finite", {"X": holed(np.nan)}),
        (r"^X: got -inf at index \(3, 1\)", {"X": holed(-np.inf)}),
        (r"^X: got shape \(12,\), expected \(samples, features\)", {"X": X[:, 0]}),
        (r"^X: got shape \(1, 12, 2\)", {"X": X[None]}),
        (r"^X: got 3 features, expected 2", {"X": np.zeros((12, 3))}),
        (r"^X: got no samples", {"X": X[:0], "y": Y[:0]}),
        (r"^X: got <U\d+ entries, expected real numbers", {"X": [["a", "b"]] * 12}),
        (r"^X: got object entries", {"X": [[None, 1.0]] * 12}),
        (r"^X: got complex128 entries", {"X": X * 1j}),
        (r"^X: not an array", {"X": [[1.0], [1.0, 2.0]]}),
        (r"^y: got shape \(11,\), expected 12 entries", {"y": Y[1:]}),
        (r"^y: got shape \(\), expected 12 entries", {"y": 3}),
        (r"^y: got shape \(12, 3\), .*argmax", {"y": ONE_HOT}),
        (r"^y: got labels from 0 to 3, expected 0 to 2", {"y": Y + (Y == 2)}),
        (r"^y: got labels from -1 to 1", {"y": Y - 1}),
        (r"^y: got numbers that are not whole", {"y": Y + 0.5}),
        (r"^y: got nan at index \(3,\)", {"y": holed(np.nan, Y)}),
        (r"^y: got <U\d+ entries", {"y": Y.astype(str)}),
        (r"^y: got one class only \(1\)", {"y": np.ones(12)}),
        (r"^y: got None", {"y": None}),
        (r"^y: got shape \(12, 2\), expected \(12, 3\)", {"loss": "mse", "y": ONE_HOT[:, :2]}),
        (r"^y: got shape \(12,\), expected \(12, 3\)", {"loss": "mse"}),
        (r"^y: got inf at index \(3, 1\)", {"loss": "mse", "y": holed(np.inf, ONE_HOT)}),
        (r"^y: got nan", {"loss": lambda o, y: o[:, 0], "y": holed(np.nan, Y)}),
        (r"^weights: got shape \(4,\), expected \(5,\)", {"weights": np.zeros(4)}),
        (r"^weights: got nan at index \(2,\)", {"weights": [0, 0, np.nan, 0, 0]}),
        (r"^weights: got 'ones', expected one of small", {"weights": "ones"}),
        (r"^weights: .*unknown names w3, w4, z", {"weights": {"w0": 0, "w1": 0, "w2": 0, "z": 0}}),
        (r"^steps: got 0", {"steps": 0}),
        (r"^steps: got 2\.5", {"steps": 2.5}),
        (r"^steps: got 4294967296", {"steps": 2**32}),
        (r"^batch_size: got -1", {"batch_size": -1}),
        (r"^batch_size: got True", {"batch_size": True}),
        (r"^validate_every: got 0", {"validate_every": 0}),
        (r"^checkpoint_every: got 0", {"checkpoint_every": 0}),
        (r"^monitor: got 'accuracy'", {"monitor": "accuracy"}),
        (r"^validation: got ndarray, expected a pair", {"validation": X}),
        (r"^validation X: got nan", {"validation": (holed(np.nan), Y)}),
        (r"^validation y: got labels", {"validation": (X, Y + 1)}),
        (r"^sample_weight: got shape \(3,\), expected \(12,\)", {"sample_weight": np.ones(3)}),
        (r"^sample_weight, class_weight: got negative", {"sample_weight": -np.ones(12)}),
        (r"^sample_weight, class_weight: .*none above 0", {"sample_weight": np.zeros(12)}),
        (r"^sample_weight: got nan", {"sample_weight": np.full(12, np.nan)}),
        (r"^class_weight: got 'even'", {"class_weight": "even"}),
        (r"^class_weight: got classes 7, a, expected 0 to 2", {"class_weight": {7: 1, "a": 2}}),
        (r"^class_weight: got shape \(2,\), expected \(3,\)", {"class_weight": [1, 2]}),
        (r"^class_weight: .* no classes", {"loss": "mse", "y": ONE_HOT, "class_weight": [1, 2]}),
    ],
)
def test_bad_arguments_of_fit(message, options):
    model = CosineModel(CHAIN)
    with pytest.raises(InputError, match=message):
        fit(model=model, **options)
    assert not model.calls


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, None, True])
def test_bad_seed(seed):
    with pytest.raises(InputError, match=r"^seed: got"):
        Trainer(CosineModel(CHAIN), seed=seed)


def test_a_loss_without_slope_is_refused_at_once():
    with pytest.raises(InputError, match=r"zero_one has no slope.*SPSA\(credit=False\)"):
        Trainer(CosineModel(CHAIN), "zero_one")
    Trainer(CosineModel(CHAIN), "zero_one", SPSA(credit=False))


@pytest.mark.parametrize(
    ("message", "attribute", "value"),
    [
        ("without credit", "credit", None),
        ("credit is float64", "credit", np.ones((3, 5))),
        (r"credit is bool \(5, 3\), expected bool \(3, 5\)", "credit", np.ones((5, 3), bool)),
        (r"got \(3, 0\) outputs and weights", "num_weights", 0),
    ],
)
def test_bad_model(message, attribute, value):
    model = CosineModel(CHAIN)
    setattr(model, attribute, value)
    if value is None:
        del model.credit
    with pytest.raises(InputError, match=f"^model: .*{message}"):
        Trainer(model)


def test_not_a_model():
    with pytest.raises(InputError, match="model: got int without weight_names"):
        Trainer(3)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (X.tolist(), Y.tolist()),
        (X, Y.astype(float)),
        (X, Y.astype(np.uint8)),
        (X.astype(np.float32).astype(float), Y),
        (np.asfortranarray(X), Y),
    ],
)
def test_equal_data_in_another_form_trains_to_the_same(X, y):
    expected = fit(X=np.array(X), y=np.array(y, dtype=int)).weights
    assert fit(X=X, y=y).weights.tobytes() == expected.tobytes()


def test_two_classes_with_one_output():
    model = CosineModel([[1, 1]])
    y = (Y > 0).astype(bool)
    result = Trainer(model, seed=1).fit(X, y, steps=200, weights="uniform", progress=False)
    assert Trainer(model).evaluate(result.weights, X, y)[1] > 0.8
