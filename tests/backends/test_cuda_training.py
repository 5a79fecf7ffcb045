"""Training on a GPU, emulated or real: the demo beside the CPU, checkpoints that change sides."""

import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork, tree
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.observables import Z
from tn_qnn.errors import BackendError
from tn_qnn.models.qnn import QNN
from tn_qnn.train import SPSA, Trainer

RELATIVE = 2e-5  # of a loss, float32: what some steps of training make of 2e-5 in the outputs


@pytest.fixture
def cupy(either_cupy: ModuleType) -> ModuleType:
    """All that holds for the stand-in must hold on a GPU."""
    return either_cupy


def problem(qubits: int = 4, samples: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(0, np.pi / 2, (samples, qubits)), rng.integers(0, 2, samples)


def trainer(backend: str) -> Trainer:
    """In float64: Adam makes whole steps of the rounding of what has no slope."""
    circuit = angle(4).compose(brickwork(4, 3))
    model = QNN(circuit, [Z(1), Z(2)], backend=backend, dtype="float64")
    return Trainer(model, "cross_entropy", SPSA(directions=3, A=1.0), seed=5)


def fit(backend: str, steps: int, folder: Path | None = None, **more: Any) -> Any:
    X, y = problem()
    return trainer(backend).fit(
        X, y, steps=steps, batch_size=16, checkpoint=folder, checkpoint_every=1000, **more
    )


def test_the_demos_first_steps_are_those_of_the_cpu_and_resume_to_the_bit(
    cupy: ModuleType, tmp_path: Path
) -> None:
    from sklearn.datasets import load_digits

    from tn_qnn.models.digits_model import digits_classifier

    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    demo = digits_classifier()
    # gains by the demo's rule for 20 steps, also where fewer are asked for
    spsa = SPSA(c=demo.perturbation, directions=demo.directions, A=2.0)

    def fitted(backend: str, steps: int = 20, resume: bool = False, **more: Any) -> Any:
        made = digits_classifier(backend=backend, steps=steps, estimator=spsa, **more)
        return made.fit(X, y, resume=resume)

    whole, cpu = fitted("cuda"), fitted("cpu")
    assert whole.result_.backend.endswith("one graph a step")
    np.testing.assert_allclose(
        whole.result_.history["loss"], cpu.result_.history["loss"], rtol=RELATIVE
    )
    np.testing.assert_allclose(whole.weights_, cpu.weights_, atol=1e-3)
    fitted("cuda", 12, checkpoint=tmp_path)
    resumed = fitted("cuda", resume=True, checkpoint=tmp_path)
    np.testing.assert_array_equal(resumed.weights_, whole.weights_)
    np.testing.assert_array_equal(resumed.result_.history["loss"], whole.result_.history["loss"])


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_checkpoint_changes_sides(
    cupy: ModuleType, tmp_path: Path, first: str, then: str
) -> None:
    begun = fit(first, 7, tmp_path)
    with pytest.warns(UserWarning, match="was written with another"):
        ended = fit(then, 15, tmp_path, resume=True)
    np.testing.assert_array_equal(ended.history["loss"][:7], begun.history["loss"])
    same = fit(first, 15)
    np.testing.assert_allclose(ended.history["loss"], same.history["loss"], rtol=1e-9)
    np.testing.assert_allclose(ended.weights, same.weights, atol=1e-9)


def test_a_model_with_blocks_trains_step_by_step_and_says_why(cupy: ModuleType) -> None:
    circuit = angle(4).block(orthogonal("O"), [0, 1]).block(orthogonal("V"), [1, 2])
    X, y = problem(4)
    found = {}
    for backend in ("cuda", "cpu"):
        model = QNN(circuit, [Z(1), Z(2)], backend=backend)
        found[backend] = Trainer(model, "cross_entropy", seed=2).fit(X, y, steps=6, batch_size=16)
    assert "because tensor-valued blocks are worked out by cuSOLVER" in found["cuda"].backend
    np.testing.assert_allclose(
        found["cuda"].history["loss"], found["cpu"].history["loss"], rtol=RELATIVE
    )


def test_training_goes_on_when_memory_runs_out(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the warm-up of the captured step: the graph is that of the smaller chunks."""
    from tn_qnn.backends.cuda import executor

    want = fit("cuda", 5)
    real = executor.make_arena

    def scarce(job: Any, runtime: Any, layout: Any, dtype: Any) -> Any:
        if layout.placement.sizes.samples > 5:
            raise cupy.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)
        return real(job, runtime, layout, dtype)

    monkeypatch.setattr(executor, "make_arena", scarce)
    got = fit("cuda", 5)
    assert "out of memory" in caplog.text
    assert got.backend == want.backend
    np.testing.assert_array_equal(got.weights, want.weights)


def test_two_models_in_two_threads_do_not_disturb_each_other(cupy: ModuleType) -> None:
    X, _ = problem(8, 40)
    circuits = [angle(8).compose(tree(8)), angle(8).compose(brickwork(8, 3))]
    models = [QNN(c, [Z(0), Z(4)], backend="cuda") for c in circuits]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(3, m.num_weights)) for m in models]
    want = [QNN(c, [Z(0), Z(4)], backend="cpu")(w, X)
            for c, w in zip(circuits, weights, strict=True)]  # fmt: skip
    wrong: list[Any] = []

    def work(k: int) -> None:
        for _ in range(5):
            got = models[k](weights[k], X)
            if not np.allclose(got, want[k], atol=2e-5):
                wrong.append((k, abs(got - want[k]).max()))

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_built_before_a_fork_is_refused_after_it(cupy: ModuleType) -> None:
    if sys.platform != "linux":
        pytest.skip("fork")
    model = QNN(angle(3).compose(brickwork(3, 2)), [Z(1)], backend="cuda")
    X, _ = problem(3, 4)
    weights = np.zeros(model.num_weights)
    model(weights, X)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # the child says what it gets, and ends without a word to pytest
        try:
            model(weights, X)
            said = "nothing"
        except BackendError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode()[:4000])
        os._exit(0)
    os.waitpid(pid, 0)
    said = os.read(read, 4000).decode()
    os.close(read)
    os.close(write)
    assert "forked" in said and "spawn" in said
