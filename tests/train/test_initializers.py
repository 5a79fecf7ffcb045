"""Initial weights: keyed, with the stated distributions."""

import numpy as np
import pytest

from tn_qnn.errors import InputError
from tn_qnn.train.initializers import INITIALIZERS, identity, initial_weights, small


@pytest.mark.parametrize("name", INITIALIZERS)
def test_keyed_on_the_seed(name):
    weights = initial_weights(name, 1, 100)
    assert weights.shape == (100,) and weights.dtype == np.float64
    assert weights.tobytes() == initial_weights(name, 1, 100).tobytes()
    assert (weights != initial_weights(name, 2, 100)).all()


def test_sizes():
    angles = initial_weights("uniform", 1, 4000)
    assert -np.pi <= angles.min() < -3.1 and 3.1 < angles.max() < np.pi
    assert abs(small(1, 4000).std() - 0.1) < 0.005
    assert abs(small(1, 4000, scale=2.0).std() - 2.0) < 0.1
    assert 0 < abs(identity(1, 4000)).max() < 0.06


def test_unknown():
    with pytest.raises(InputError, match="weights: got 'xavier', expected one of small"):
        initial_weights("xavier", 0, 3)
