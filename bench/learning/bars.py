"""What has to be beaten: models of scikit-learn, their hyper-parameters by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bench.learning.data import Part

FOLDS = 3


@dataclass(frozen=True)
class Bar:
    """A model of scikit-learn.

    Attributes
    ----------
    name, title
    make
        The model, not fitted; pixels from 0 to 1 are its features.
    grid
        What cross-validation chooses from.
    """

    name: str
    title: str
    make: Callable[[], Any]
    grid: Mapping[str, tuple[Any, ...]]


def fit(bar: Bar, part: Part, quick: bool = False) -> tuple[Any, dict[str, Any]]:
    """Fit with the parameters that cross-validation on the same samples finds.

    Parameters
    ----------
    bar
    part
        Training samples.
    quick
        Try the first value of each parameter only.

    Returns
    -------
    fitted model, chosen parameters
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    grid = {name: list(values[:1] if quick else values) for name, values in bar.grid.items()}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(bar.make(), grid, cv=folds)
    with warnings.catch_warnings():
        # A bar that stops at its last iteration counts as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(part.X, part.y)
    return search.best_estimator_, dict(search.best_params_)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000)


def _svm() -> Any:
    from sklearn.svm import SVC

    return SVC()


def _mlp() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((100,), max_iter=300, random_state=0)


_ALL = (
    Bar("logistic", "logistic regression", _logistic, {"C": (0.01, 0.1, 1.0, 10.0)}),
    Bar(
        "svm",
        "RBF-SVM",
        _svm,
        {"C": (3.0, 10.0, 30.0), "gamma": ("scale", 0.01, 0.03, 0.1, 0.3)},
    ),
    Bar("mlp", "MLP, 100 hidden units", _mlp, {"alpha": (1e-4, 1e-2, 1.0)}),
)
BARS: Mapping[str, Bar] = MappingProxyType({bar.name: bar for bar in _ALL})
