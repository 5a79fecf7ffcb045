"""Simple models that a trained network has to be compared with."""

from __future__ import annotations

import warnings

from tn_qnn.cli.data import REGRESSION, Samples


def baseline_scores(task: str, train: Samples, test: Samples) -> dict[str, float]:
    """Test accuracy, or R^2, of a linear model of the features and of a constant.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Samples(np.arange(8.0)[:, None], np.array([0, 0, 0, 0, 0, 1, 1, 1]))
    >>> baseline_scores("classification", rows, rows)
    {'logistic regression': 1.0, 'majority class': 0.625}
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if task == REGRESSION:
        models = {"linear regression": LinearRegression(), "mean": DummyRegressor()}
    else:
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        models = {"logistic regression": linear, "majority class": DummyClassifier()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return {
            name: float(model.fit(train.X, train.y).score(test.X, test.y))
            for name, model in models.items()
        }
