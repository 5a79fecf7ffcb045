"""Steps on a real GPU: captured, replayed, streamed and resumed; twins of test_device_step.py."""

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from device_model import DeviceCosine

from tn_qnn.backends.cuda.detect import require
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import BackendError, InputError
from tn_qnn.train import SPSA, Momentum, Trainer, device_step

pytestmark = pytest.mark.gpu
X, Y = samples(41)
NUMBERS = np.random.default_rng(1).normal(size=(41, 3))
WEIGHT = np.arange(41) % 4


@pytest.fixture(scope="module")
def device():
    return CudaRuntime(require())


def fit(model, loss="cross_entropy", update="adam", estimator=None, **options):
    spsa = estimator or SPSA(a=0.05, A=3.0, c=0.2, directions=5)
    settings = {"steps": 150, "batch_size": 16, "progress": False, "sample_weight": WEIGHT}
    y = NUMBERS if loss == "mse" else Y
    return Trainer(model, loss, spsa, update, seed=1).fit(X, y, **settings | options)


@pytest.mark.parametrize("update", ["sgd", Momentum(0.7), "adam"])
@pytest.mark.parametrize("credit", [True, False])
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", "mse"])
def test_steps_are_those_of_the_host(device, loss, credit, update):
    spsa = SPSA(a=0.05, A=3.0, c=0.2, directions=5, credit=credit, per_sample=not credit)
    options = {"loss": loss, "update": update, "estimator": spsa, "validation": (X, Y)}
    if loss == "mse":
        options["validation"] = (X, NUMBERS)
    host, result = (fit(m, **options) for m in (CosineModel(CHAIN), DeviceCosine(CHAIN, device)))
    assert result.backend == f"cuda: {device.facts.name}, one graph a step"
    np.testing.assert_allclose(result.weights, host.weights, rtol=1e-7)
    for name in ("loss", "validation_loss", "validation_score", "evaluations"):
        np.testing.assert_allclose(result.history[name], host.history[name], rtol=1e-7)


def test_chunks_streaming_and_resuming_change_no_bit(device, monkeypatch, tmp_path):
    whole = fit(DeviceCosine(CHAIN, device))
    monkeypatch.setattr(device_step, "CHUNK_STEPS", 7)
    fit(DeviceCosine(CHAIN, device), steps=61, checkpoint=tmp_path)
    monkeypatch.setattr(device, "free_memory", lambda: 0)  # now data are streamed
    rest = fit(DeviceCosine(CHAIN, device), checkpoint=tmp_path, resume=True)
    assert rest.weights.tobytes() == whole.weights.tobytes()
    assert np.array_equal(rest.history["loss"], whole.history["loss"])


def test_from_the_host_to_the_device(device, tmp_path):
    host = fit(CosineModel(CHAIN))
    fit(CosineModel(CHAIN), steps=70, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="another execution"):
        result = fit(DeviceCosine(CHAIN, device), checkpoint=tmp_path, resume=True)
    np.testing.assert_allclose(result.weights, host.weights, rtol=1e-7)


@pytest.mark.parametrize("sin", ["get", "bool", "matmul"])
def test_what_a_graph_cannot_hold_is_an_error(device, sin):
    class Sinner(DeviceCosine):
        def __call__(self, weights, X):
            if not isinstance(weights, np.ndarray):
                {"get": weights.get, "bool": weights[:1, :1].__bool__,
                 "matmul": lambda: weights @ weights.T}[sin]()  # fmt: skip
            return super().__call__(weights, X)

    with pytest.raises(BackendError, match="could not be captured as a CUDA graph"):
        fit(Sinner(CHAIN, device))
    assert fit(DeviceCosine(CHAIN, device)).step == 150  # the device is none the worse for it


def test_a_loss_that_is_not_finite(device):
    class Poisoned(DeviceCosine):
        def __call__(self, weights, X):
            return super().__call__(weights, X) * np.nan

    with pytest.raises(InputError, match="loss: became nan at step 1, expected finite"):
        fit(Poisoned(CHAIN, device))
