"""The penalty on weights: part of the objective of a step, with its closed-form gradient."""

import numpy as np
import pytest
from cosine_model import BLOCKS, CosineModel, samples

from tn_qnn.errors import InputError
from tn_qnn.train import SGD, SPSA, Trainer
from tn_qnn.train.inputs import Data
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.regularisation import L2
from tn_qnn.train.rotosolve import Rotosolve


def recipe(regularisation, estimator=None):
    X, y = samples(8, classes=4)
    trainer = Trainer(CosineModel(BLOCKS), estimator=estimator, regularisation=regularisation)
    parts = trainer.model, trainer.loss, trainer.estimator, trainer.update, 0
    return Recipe(*parts, Data(X, y), 8, regularisation=regularisation)


@pytest.mark.parametrize(("prefix", "held"), [("", range(12)), ("w1", [1, 10, 11]), ("w3", [3])])
def test_value_and_gradient_are_those_of_the_penalty(prefix, held):
    weights = np.random.default_rng(0).normal(size=12)
    plain, bound = (recipe(one).estimate(weights, 4, 5) for one in (None, L2(0.3, prefix)))
    own = np.zeros(12)
    own[list(held)] = weights[list(held)]
    np.testing.assert_allclose(bound.gradient - plain.gradient, 0.3 * own, atol=1e-12)
    assert bound.loss - plain.loss == pytest.approx(0.15 * (own**2).sum())
    penalty = recipe(L2(0.3, prefix)).penalty
    steps = 1e-3 * np.eye(12)
    differences = [(penalty(weights + e) - penalty(weights - e)) / 2e-3 for e in steps]
    np.testing.assert_allclose(differences, 0.3 * own, atol=1e-9)


def test_weights_without_another_pull_shrink():
    X, y = samples(40, classes=4)
    norms = []
    for strength in (0.05, 5.0):
        trainer = Trainer(
            CosineModel(BLOCKS),
            estimator=SPSA(a=0.05, alpha=0.0, A=0.0),
            update=SGD(),
            seed=2,
            regularisation=L2(strength, "w"),
        )
        weights = trainer.fit(X, y, steps=100, weights="uniform", progress=False).weights
        norms.append(np.linalg.norm(weights))
    assert norms[1] < 0.3 * norms[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2(0.0), "strength 0.0"),
        (lambda: L2(np.inf), "strength inf"),
        (lambda: L2(True), "strength True"),
        (lambda: Trainer(CosineModel(BLOCKS), regularisation=L2(1.0)), "begins with 'head\\['"),
        (lambda: Trainer(CosineModel(BLOCKS), regularisation=0.5), "got 0.5, expected an L2"),
        (
            lambda: Trainer(CosineModel(BLOCKS), "mse", Rotosolve(), regularisation=L2(1.0, "w")),
            "Rotosolve takes whole steps",
        ),
    ],
)
def test_faults_are_named(make, message):
    with pytest.raises(InputError, match=f"regularisation: .*{message}"):
        make()
