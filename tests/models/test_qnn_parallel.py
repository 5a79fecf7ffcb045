"""Models under Python threads, in spawned and forked processes."""

import multiprocessing
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import X, Z, density_matrix
from tn_qnn.models.qnn import QNN


def make_model(prefix: str = "w", threads: int | None = 2, **options: object) -> QNN:
    circuit = angle(6).compose(brickwork(6, 4, ("ry", "rz"), prefix=prefix))
    readouts = [Z(2), X(3), density_matrix([0, 1])]
    return QNN(circuit, readouts, search="greedy", threads=threads, **options)  # type: ignore[arg-type]


def batch(seed: int, model: QNN, samples: int = 33) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, model.num_weights)), rng.normal(size=(samples, 6))


def run_at_once(works: list[Callable[[], object]]) -> None:
    """All at once, from a common start; an error in any of them is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], object]) -> None:
        try:
            start.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
def test_one_model_in_four_threads(backend: str) -> None:
    """Also the first call, which plans and compiles."""
    ready, shared = make_model(backend=backend), make_model(backend=backend)
    batches = [batch(seed, ready, 5 + 20 * seed) for seed in range(4)]
    want = [ready(*b) for b in batches]

    def work(k: int) -> None:
        for _ in range(5):
            np.testing.assert_array_equal(shared(*batches[k]), want[k])

    run_at_once([lambda k=k: work(k) for k in range(4)])  # type: ignore[misc]


def test_different_models_in_two_threads() -> None:
    models = [make_model("a"), make_model("b", threads=1)]
    batches = [batch(seed, model) for seed, model in enumerate(models)]
    want = [model(*b) for model, b in zip(models, batches, strict=True)]

    def work(k: int) -> None:
        for _ in range(20):
            np.testing.assert_array_equal(models[k](*batches[k]), want[k])

    run_at_once([lambda k=k: work(k) for k in range(2)])  # type: ignore[misc]


def values_in_process(seed: int) -> np.ndarray:
    model = make_model()
    return model(*batch(seed, model))


METHODS = ["spawn"]
if sys.platform == "linux" and sys.version_info < (3, 14):
    METHODS.append("fork")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_processes(method: str) -> None:
    """A forked child gets a model whose kernel's threads have run already."""
    want = [values_in_process(seed) for seed in range(2)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        got = pool.map(values_in_process, range(2))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)
