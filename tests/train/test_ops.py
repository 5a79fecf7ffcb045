"""The operations of a step: the same on the host, by another array module, and by kernels."""

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples

from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.rng import rademacher
from tn_qnn.train import SPSA, cross_entropy
from tn_qnn.train.ops import HOST, ArrayOps, ops_of


def test_signs_of_the_host_are_those_of_the_generator():
    signs = HOST.rademacher(5, 7, directions=3, samples=4, num_weights=70)
    expected = rademacher(5, 7, np.arange(3)[:, None], np.arange(4), 70)
    assert signs.shape == (3, 4, 70) and np.array_equal(signs, expected)


@pytest.mark.parametrize("kind", ["arrays", "kernels"])
def test_other_operations_give_the_same(cupy, kind):
    ops = ArrayOps(cupy) if kind == "arrays" else CudaRuntime(cupy).ops
    assert ops.xp is cupy
    for step in (9, cupy.asarray(9)):
        signs = ops.rademacher(5, step, 3, 4, 70)
        assert np.array_equal(signs.get(), HOST.rademacher(5, 9, 3, 4, 70))
    a, b = np.random.default_rng(1).normal(size=(2, 6, 6))
    for left, right in ((a[:, :5], b[:5]), (a.T[:2], b), (a, b[:, 1:2])):
        product = ops.matmul(cupy.asarray(left), cupy.asarray(right))
        np.testing.assert_allclose(product.get(), left @ right, rtol=1e-13, atol=1e-15)


def test_whose_operations_are_taken(cupy):
    class Model:
        ops = CudaRuntime(cupy).ops

    assert ops_of(Model, np.zeros(3)) is HOST  # whatever the model computes on
    assert ops_of(Model, cupy.zeros(3)) is Model.ops
    Model.ops = None
    assert ops_of(Model, cupy.zeros(3)) == ops_of(object(), cupy.zeros(3)) == ArrayOps(cupy)


@pytest.mark.parametrize("credit", [True, False])
def test_an_estimate_from_arrays_on_a_device(cupy, credit):
    """Without a trainer, and with a step that lies on the device."""
    model, spsa = CosineModel(CHAIN), SPSA(directions=5, credit=credit)
    X, y = samples(12)
    weights = np.linspace(-1, 1, 5)
    expected = spsa.estimate(model, cross_entropy(), weights, X, y, None, 3, 4)

    class OnDevice(CosineModel):
        def __call__(self, weights, X):
            return cupy.asarray(model(weights.get(), X.get()))

    given = [cupy.asarray(a) for a in (weights, X, y)]
    for step in (4, cupy.asarray(4)):
        found = spsa.estimate(OnDevice(CHAIN), cross_entropy(), *given, None, 3, step)
        assert found.loss.shape == () and found.evaluations == expected.evaluations
        np.testing.assert_allclose(found.gradient.get(), expected.gradient, rtol=1e-12)
        np.testing.assert_allclose(float(found.loss), expected.loss, rtol=1e-12)
