"""Shifts of pictures: where every pixel goes, keyed, and no trace of them in validation."""

from dataclasses import asdict

import numpy as np
import pytest
from cosine_model import BLOCKS, CosineModel
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.errors import CheckpointError, InputError
from tn_qnn.train import SPSA, Trainer
from tn_qnn.train.augment import Shifts
from tn_qnn.train.execution import why_on_host
from tn_qnn.train.inputs import Data
from tn_qnn.train.recipe import Recipe


def moved(picture, down, right, fill):
    """A picture pixel by pixel."""
    rows, columns = picture.shape
    out = np.full_like(picture, fill)
    for r in range(rows):
        for c in range(columns):
            if 0 <= r - down < rows and 0 <= c - right < columns:
                out[r, c] = picture[r - down, c - right]
    return out


@given(st.integers(2, 6), st.integers(2, 6), st.data())
def test_each_picture_is_one_of_the_shifted(rows, columns, data):
    most = data.draw(st.integers(1, min(rows, columns) - 1))
    seed, step = data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(0, 2**32 - 1))
    pictures = np.random.default_rng(1).uniform(1, 2, size=(7, rows, columns))
    found = Shifts((rows, columns), most, fill=0.5)(pictures.reshape(7, -1), seed, step)
    distances = range(-most, most + 1)
    for before, after in zip(pictures, found.reshape(pictures.shape), strict=True):
        legal = [moved(before, d, r, 0.5) for d in distances for r in distances]
        assert any((after == one).all() for one in legal)


def test_all_shifts_are_equally_likely_and_apart():
    picture = np.arange(25.0)
    found = Shifts((5, 5), fill=-1.0)(np.tile(picture, (9000, 1)), seed=2, step=3)
    centre = found.reshape(-1, 5, 5)[:, 2, 2].astype(int)
    counts = np.bincount(centre, minlength=25).reshape(5, 5)[1:4, 1:4]
    assert counts.sum() == 9000 and abs(counts - 1000).max() < 150


def test_a_shift_is_a_function_of_seed_step_and_place():
    shifts, X = Shifts((4, 4)), np.random.default_rng(0).normal(size=(50, 16))
    first = shifts(X, 1, 2)
    assert (first == shifts(X, 1, 2)).all() and (first[:20] == shifts(X[:20], 1, 2)).all()
    assert (first != shifts(X, 1, 3)).any() and (first != shifts(X, 2, 2)).any()
    assert shifts(X.astype(np.float32), 1, 2).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shifts((4,)), "shape: got"),
        (lambda: Shifts((4, 0)), "shape: got"),
        (lambda: Shifts((4, 4), most=0), "most: got 0"),
        (lambda: Shifts((4, 4), most=4), "most: got 4, expected .* from 1 to 3"),
        (lambda: Shifts((4, 4), most=True), "most: got True"),
        (lambda: Shifts((4, 4), fill=np.inf), "fill: got inf"),
        (lambda: Shifts((4, 4))(np.zeros((2, 15)), 0, 0), "4x4 pixels expected.*15"),
    ],
)
def test_faults_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


class Pictures(CosineModel):
    """Takes the sums of a 2x2 picture's rows as its features."""

    num_features = 4

    def __call__(self, weights, X):
        return super().__call__(weights, np.asarray(X).reshape(-1, 2, 2).sum(axis=2))


def trainer(**options):
    estimator = SPSA(a=0.1, A=1.0)  # gains that do not depend on the length of the run
    return Trainer(Pictures(BLOCKS), estimator=estimator, seed=4, augment=Shifts((2, 2)), **options)


@pytest.fixture(scope="module")
def data():
    X = np.random.default_rng(2).uniform(size=(24, 4))
    return X, np.arange(24) % 4


def test_steps_see_shifted_samples_and_validation_does_not(data):
    X, y = data
    seen = trainer(loss="cross_entropy")
    result = seen.fit(X, y, steps=4, batch_size=8, validation=(X, y), validate_every=2)
    plain = Trainer(Pictures(BLOCKS), seed=4)
    other = plain.fit(X, y, steps=4, batch_size=8, validation=(X, y), validate_every=2)
    assert (result.weights != other.weights).any()
    last = plain.evaluate(result.weights, X, y)
    assert result.history.validations[-1].validation_loss == pytest.approx(last[0])


def test_a_minibatch_is_shifted_by_its_step(data):
    X, y = data
    parts = Pictures(BLOCKS), None, None, None, 9, Data(X, y), 24
    recipe = Recipe(*parts, augment=Shifts((2, 2)))
    assert (Shifts((2, 2))(X, 9, 3) == recipe.batch(9, 3).X).all()
    assert (recipe.batch(9, 3).y == y).all()


def test_a_run_goes_on_to_the_same_bits_with_its_shifts_alone(tmp_path, data):
    X, y = data
    straight = trainer().fit(X, y, steps=9, batch_size=8).weights
    trainer().fit(X, y, steps=5, batch_size=8, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="augment"):
        Trainer(Pictures(BLOCKS), estimator=SPSA(a=0.1, A=1.0), seed=4).fit(
            X, y, steps=9, batch_size=8, checkpoint=tmp_path, resume=True
        )
    resumed = trainer().fit(X, y, steps=9, batch_size=8, checkpoint=tmp_path, resume=True)
    assert resumed.weights.tobytes() == straight.tobytes()


def test_a_picture_of_another_size_is_found_before_any_work(tmp_path, data):
    X, y = data
    wrong = Trainer(Pictures(BLOCKS), augment=Shifts((3, 3)))
    with pytest.raises(InputError, match="3x3 pixels"):
        wrong.fit(X, y, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="augment: got 3"):
        Trainer(Pictures(BLOCKS), augment=3)


def test_the_host_takes_the_steps_and_says_why():
    made = trainer()
    recipe = Recipe(
        made.model, made.loss, made.estimator, made.update, 0, Data(np.zeros((1, 4)), 0), 1,
        made.augment,
    )  # fmt: skip
    assert "changed on the host" in why_on_host(recipe)
    assert asdict(made.augment) == {"shape": (2, 2), "most": 1, "fill": 0.0}
