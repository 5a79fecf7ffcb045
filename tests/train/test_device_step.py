"""Steps on a device, on a stand-in for CuPy: they equal those of the host, whatever happens."""

import itertools
import json
import logging
import re
import sys

import numpy as np
import pytest
from cosine_model import CHAIN, CosineModel, samples
from device_model import DeviceCosine

from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import BackendError, InputError, MemoryBudgetError
from tn_qnn.rng import permutation, stream_key
from tn_qnn.train import (
    SPSA,
    Adam,
    EarlyStopping,
    Momentum,
    Trainer,
    buffers,
    cross_entropy,
    device_step,
    feeding,
)
from tn_qnn.train.batches import minibatch
from tn_qnn.train.checkpoint import load_checkpoint
from tn_qnn.train.execution import make_stepper
from tn_qnn.train.inputs import Data
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.state import State

X, Y = samples(41)
NUMBERS = np.random.default_rng(1).normal(size=(41, 3))
WEIGHT = np.arange(41) % 4
SPSA_FIXED = {"a": 0.05, "A": 3.0, "c": 0.2}  # the same gains for every number of steps
COLUMNS = "step epoch loss validation_loss validation_score evaluations a_k c_k".split()


@pytest.fixture
def device(cupy):
    return CudaRuntime(cupy)


@pytest.fixture
def lazy_device(lazy_cupy):
    return CudaRuntime(lazy_cupy)


def trainer(model, loss="cross_entropy", update="adam", **settings):
    return Trainer(model, loss, SPSA(**SPSA_FIXED | settings), update, seed=1)


def fit(trainer, X=X, y=Y, **options):
    return trainer.fit(X, y, **{"steps": 23, "batch_size": 16, "progress": False} | options)


def same_bits(one, two):
    assert one.weights.tobytes() == two.weights.tobytes()
    for name in COLUMNS:
        assert np.array_equal(one.history[name], two.history[name], equal_nan=True), name


def same_numbers(one, two, rtol=1e-9):
    np.testing.assert_allclose(one.weights, two.weights, rtol=rtol)
    for name in COLUMNS:
        np.testing.assert_allclose(one.history[name], two.history[name], rtol=rtol, err_msg=name)


@pytest.mark.parametrize("update", ["sgd", Momentum(0.7), "adam"])
@pytest.mark.parametrize(
    ("loss", "credit"),
    [(loss, c) for loss in ("cross_entropy", "hinge", "mse") for c in (True, False)]
    + [("zero_one", False)],
)
@pytest.mark.parametrize("cones", [CHAIN, [[1, 1, 1]]], ids=["chain", "one output"])
def test_steps_are_those_of_the_host(device, cones, loss, credit, update):
    y = Y % 2 if len(cones) == 1 else Y
    y = NUMBERS[:, : len(cones)] if loss == "mse" else y
    # Few numbers differ in the last place, but a difference near a kink would be a large one.
    options = {"y": y, "sample_weight": WEIGHT, "validation": (X, y), "validate_every": 5}
    settings = {"loss": loss, "update": update, "credit": credit, "directions": 5}
    host = fit(trainer(CosineModel(cones), **settings), **options)
    result = fit(trainer(DeviceCosine(cones, device), **settings), **options)
    same_numbers(result, host)
    assert (result.step, result.evaluations) == (host.step, host.evaluations)
    assert result.best.step == host.best.step
    assert result.backend == "cuda: Stand-in, one graph a step" and host.backend == "cpu"


@pytest.mark.parametrize("batch_size", [1, 16, 41, 100])
@pytest.mark.parametrize(("per_sample", "weighed"), [(True, False), (False, True)])
def test_batches_and_directions_of_samples(device, batch_size, per_sample, weighed):
    options = {"batch_size": batch_size, "sample_weight": WEIGHT if weighed else None}
    settings = {"per_sample": per_sample, "directions": 2}
    host = fit(trainer(CosineModel(CHAIN), **settings), **options)
    same_numbers(fit(trainer(DeviceCosine(CHAIN, device), **settings), **options), host)


def test_a_model_without_data(device):
    class Bare(DeviceCosine):
        num_features = 0

        def __init__(self, cones, device):
            super().__init__(cones, device)
            self._phases = device.to_device(np.zeros((0, self.num_weights)))

    class BareHost(CosineModel):
        num_features = 0

        def __init__(self, cones):
            super().__init__(cones)
            self.phases = np.zeros((0, self.num_weights))

    y = np.array([[-1.0]])
    results = [
        trainer(model, "mse").fit(None, y, steps=30, progress=False)
        for model in (Bare([[1, 1]], device), BareHost([[1, 1]]))
    ]
    same_numbers(*results)


def test_a_graph_for_each_size_of_minibatch(device, monkeypatch):
    captured, launched = [], []
    real = CudaRuntime.capture

    def capture(self, function):
        graph = real(self, function)
        captured.append(graph)
        return type("Counted", (), {"launch": lambda self: launched.append(1) or graph.launch()})()

    monkeypatch.setattr(CudaRuntime, "capture", capture)
    model = DeviceCosine(CHAIN, device)
    fit(trainer(model))
    assert len(captured) == 2 and len(launched) == 23  # minibatches of 16 and of 9
    assert len(model.calls) == 4  # an eager call before each capture, and nothing else


def test_the_host_looks_seldom(device, cupy, monkeypatch):
    monkeypatch.setattr(device_step, "CHUNK_SECONDS", 1e9)
    fit(trainer(DeviceCosine(CHAIN, device)), steps=1)
    counters = cupy._standin.machine.counters
    before = counters.to_host
    fit(trainer(DeviceCosine(CHAIN, device)), steps=101)
    # Losses, weights, count, mean, square: after the first step, and after a hundred more.
    assert counters.to_host - before == 10


def cut(monkeypatch, length):
    """Let the host look after every ``length`` steps."""
    monkeypatch.setattr(device_step, "CHUNK_STEPS", length)
    monkeypatch.setattr(device_step, "CHUNK_SECONDS", 1e9)


@pytest.mark.parametrize("length", [1, 2, 5, 128])
@pytest.mark.parametrize("update", ["sgd", "momentum", "adam"])
def test_chunks_change_no_bit(device, monkeypatch, length, update):
    with monkeypatch.context() as patch:
        cut(patch, 9)
        whole = fit(trainer(DeviceCosine(CHAIN, device), update=update))
    cut(monkeypatch, length)
    same_bits(fit(trainer(DeviceCosine(CHAIN, device), update=update)), whole)


def test_any_number_of_steps_may_be_asked_for(device, monkeypatch):
    data = Data(X, Y)
    recipe = Recipe(DeviceCosine(CHAIN, device), cross_entropy(), SPSA(), Adam(), 1, data, 16)
    weights = np.linspace(-1, 1, 5)
    begin = State(0, weights, Adam().init(weights), SPSA(a=0.1).gains(23, float))
    results = []
    for length in (5, 128):
        cut(monkeypatch, length)
        state, taken = make_stepper(recipe).advance(begin, 23)
        assert len(taken) == 23 and taken[-1].evaluations == state.evaluations
        results.append((state.step, state.weights.tolist(), state.update.count, taken))
    assert results[0] == results[1]


@pytest.mark.parametrize("at", [1, 11, 22])
@pytest.mark.parametrize("update", ["sgd", "momentum", "adam"])
def test_resuming_on_the_device_changes_no_bit(device, monkeypatch, tmp_path, at, update):
    options = {"validation": (X, Y), "validate_every": 4}
    whole = fit(trainer(DeviceCosine(CHAIN, device), update=update), **options)
    cut(monkeypatch, 3)
    first = trainer(DeviceCosine(CHAIN, device), update=update)
    fit(first, steps=at, checkpoint=tmp_path, checkpoint_every=2, **options | {"validate_every": 4})
    cut(monkeypatch, 7)
    second = trainer(DeviceCosine(CHAIN, device), update=update)
    rest = fit(second, checkpoint=tmp_path, resume=True, **options)
    assert rest.weights.tobytes() == whole.weights.tobytes()
    assert np.array_equal(rest.history["loss"], whole.history["loss"])
    arrays = load_checkpoint(tmp_path)[1]
    assert all(type(a) is np.ndarray for a in arrays.values())


def test_from_the_host_to_the_device_and_back(device, tmp_path):
    """A state goes from one to the other to the bit, and the run goes on in the same way."""

    def make(on_device):
        return trainer(DeviceCosine(CHAIN, device) if on_device else CosineModel(CHAIN))

    whole, seen = fit(make(False)), {}
    for steps, on_device in ((8, False), (16, True), (23, False)):
        options = {"checkpoint": tmp_path, "resume": steps > 8}
        if steps > 8:
            before = load_checkpoint(tmp_path)[1]
            with pytest.warns(UserWarning, match="another execution"):
                result = fit(make(on_device), steps=steps, **options)
            after = load_checkpoint(tmp_path)[1]
            assert np.array_equal(
                after["history"][: len(before["history"])], before["history"], equal_nan=True
            )
        else:
            result = fit(make(on_device), steps=steps, **options)
        seen[steps] = result.weights
    same_numbers(result, whole)
    assert not np.array_equal(seen[8], seen[16])


def test_a_resumed_state_is_of_the_same_bits(device, tmp_path):
    fit(trainer(CosineModel(CHAIN)), steps=8, checkpoint=tmp_path)
    saved, first = load_checkpoint(tmp_path)[1], {}
    real = buffers.Buffers.load

    def load(held, state, steps):
        real(held, state, steps)
        if not first:
            first["weights"] = device.to_host(held.weights)
            for name in ("mean", "square", "count"):
                first[f"update_{name}"] = device.to_host(getattr(held.update, name))

    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="execution"):
        patch.setattr(buffers.Buffers, "load", load)
        fit(trainer(DeviceCosine(CHAIN, device)), checkpoint=tmp_path, resume=True)
    for name, value in first.items():
        assert value.dtype == saved[name].dtype and value.tobytes() == saved[name].tobytes(), name
    assert first["update_count"] == 8 and first["update_mean"].any()


def test_a_callback_sees_every_step(device):
    seen = []

    def look(report):
        seen.append((report.row.step, report.weights.copy()))
        return report.row.step == 9

    result = fit(trainer(DeviceCosine(CHAIN, device)), callbacks=[look])
    assert [step for step, _ in seen] == list(range(1, 10)) and result.reason == "callback"
    same_bits(result, fit(trainer(DeviceCosine(CHAIN, device)), steps=9))
    for step, weights in seen[::4]:
        shorter = fit(trainer(DeviceCosine(CHAIN, device)), steps=step)
        assert shorter.weights.tobytes() == weights.tobytes()


def test_a_callback_may_look_seldom(device, monkeypatch):
    class Seldom:
        every_step = False

        def __init__(self):
            self.steps = []

        def __call__(self, report):
            self.steps.append(report.row.step)

    cut(monkeypatch, 6)
    seldom = Seldom()
    options = {"callbacks": [seldom], "validation": (X, Y), "validate_every": 5}
    fit(trainer(DeviceCosine(CHAIN, device)), steps=14, **options)
    assert seldom.steps == [1, 5, 10, 14]
    seldom = Seldom()
    fit(trainer(DeviceCosine(CHAIN, device)), steps=14, callbacks=[seldom])
    assert seldom.steps == [1, 7, 13, 14]


def test_early_stopping(device):
    options = {"steps": 300, "validation": (X, Y), "validate_every": 3}
    options["callbacks"] = [EarlyStopping(patience=4)]
    host = fit(trainer(CosineModel(CHAIN), a=0.3), **options)
    result = fit(trainer(DeviceCosine(CHAIN, device), a=0.3), **options)
    assert result.reason == host.reason == "callback" and result.step == host.step < 300
    same_numbers(result, host, rtol=1e-6)
    with pytest.raises(InputError, match="validation: got None"):
        fit(trainer(DeviceCosine(CHAIN, device)), callbacks=[EarlyStopping()])


def test_validation_is_that_of_the_weights(device):
    one = trainer(DeviceCosine(CHAIN, device))
    result = fit(one, validation=(X, Y), validate_every=10)
    assert [row.step for row in result.history.validations] == [10, 20, 23]
    last = result.history.rows[-1]
    found = one.evaluate(result.weights, X, Y)
    assert found == (last.validation_loss, last.validation_score)
    assert (np.diff(result.history["seconds"]) > 0).all()


@pytest.mark.parametrize("at", [0, 1, 7, 30])
def test_interrupted_between_launches(device, monkeypatch, tmp_path, at):
    """The chunk in which Ctrl-C comes is given up, the rest is kept."""
    cut(monkeypatch, 5)
    whole = fit(trainer(DeviceCosine(CHAIN, device)), steps=40)
    launches = itertools.count()

    def before(self, place):
        if next(launches) == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(feeding.Resident, "before", before)
        part = fit(trainer(DeviceCosine(CHAIN, device)), steps=40, checkpoint=tmp_path)
    assert part.interrupted and part.step == len(part.history) == max(0, 1 + (at - 1) // 5 * 5)
    rest = fit(trainer(DeviceCosine(CHAIN, device)), steps=40, checkpoint=tmp_path, resume=True)
    assert rest.reason == "steps" and rest.weights.tobytes() == whole.weights.tobytes()


def interrupt_at(line_number):
    """Return a trace function that raises at the n-th line that runs in tn_qnn/train."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if not re.search(r"tn_qnn.train\W", frame.f_code.co_filename):
            return None
        if event == "line":
            count += 1
            if count == line_number:
                raise KeyboardInterrupt
        return trace

    return trace


@pytest.mark.parametrize("line_number", [*range(700, 2100, 131), 10**9])
def test_interrupted_at_any_line(device, monkeypatch, tmp_path, line_number):
    cut(monkeypatch, 4)
    options = {"validation": (X, Y), "validate_every": 6, "checkpoint_every": 9, "steps": 30}
    for cached in (permutation, stream_key):
        cached.cache_clear()
    before, ended = sys.gettrace(), False
    sys.settrace(interrupt_at(line_number))
    try:
        one = trainer(DeviceCosine(CHAIN, device))
        ended = not fit(one, checkpoint=tmp_path, **options).interrupted
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    assert ended == (line_number == 10**9)
    begun = (tmp_path / "checkpoint.json").exists()
    one = trainer(DeviceCosine(CHAIN, device))
    rest = fit(one, checkpoint=tmp_path, resume=begun, **options)
    assert rest.step == len(rest.history) == 30
    same = fit(trainer(DeviceCosine(CHAIN, device)), **options)
    assert rest.weights.tobytes() == same.weights.tobytes()


@pytest.mark.parametrize("y", [Y, NUMBERS.astype(np.float32)], ids=["classes", "numbers"])
def test_streamed_data_give_the_same_bits(lazy_device, lazy_cupy, monkeypatch, caplog, y):
    """On a machine that does nothing until it must: what nothing orders would come too late."""
    options = {"y": y, "sample_weight": WEIGHT, "X": X.astype(np.float32)}
    loss = "cross_entropy" if y is Y else "mse"
    need = 8 * (X.size + y.size + WEIGHT.size)
    monkeypatch.setattr(lazy_device, "free_memory", lambda: 4 * need)
    with caplog.at_level(logging.INFO, "tn_qnn.train"):
        resident = fit(trainer(DeviceCosine(CHAIN, lazy_device), loss), **options)
        assert caplog.messages[-1] == f"data: {need:,} bytes on the device"
        monkeypatch.setattr(lazy_device, "free_memory", lambda: 4 * need - 1)
        cut(monkeypatch, 5)
        streamed = fit(trainer(DeviceCosine(CHAIN, lazy_device), loss), **options)
        assert "streamed from the host: more than 25% of the free memory" in caplog.messages[-1]
    same_bits(streamed, resident)


def test_streaming_waits_in_both_directions(lazy_device, monkeypatch):
    """Without its events the stream of copies comes too early or too late, and it shows."""
    monkeypatch.setattr(lazy_device, "free_memory", lambda: 0)
    cut(monkeypatch, 8)
    right = fit(trainer(DeviceCosine(CHAIN, lazy_device)))
    monkeypatch.setattr(
        lazy_device.cp.cuda.Stream, "wait_event", lambda self, event: None, raising=True
    )
    wrong = fit(trainer(DeviceCosine(CHAIN, lazy_device)))
    assert not np.array_equal(wrong.weights, right.weights)


class Unmarked(Adam):
    capturable = False


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"loss": lambda o, y: abs(o[:, 0] - y)},
            "the loss .*lambda.* is not marked as capturable",
        ),
        ({"update": Unmarked()}, "the update Unmarked is not marked as capturable"),
        ({"model": {"capturable": False}}, "the model is not marked as capturable"),
        ({"model": {"capturable": "it has two heads"}}, "it has two heads"),
    ],
)
def test_what_cannot_be_captured_runs_on_the_host(device, caplog, tmp_path, settings, reason):
    settings = dict(settings)
    model, host = DeviceCosine(CHAIN, device), CosineModel(CHAIN)
    for name, value in settings.pop("model", {}).items():
        setattr(model, name, value)
    with caplog.at_level(logging.INFO, "tn_qnn.train"):
        result = fit(trainer(model, **settings), checkpoint=tmp_path)
    words = rf"cuda: Stand-in, step by step on the host, because {reason}"
    assert re.match(words, result.backend)
    assert caplog.messages[0] == f"backend: {result.backend}" and len(caplog.messages) == 1
    assert len(model.calls) == 23
    same_numbers(result, fit(trainer(host, **settings)))


def test_where_a_run_says_how_it_was_made(device, caplog, tmp_path):
    with caplog.at_level(logging.INFO, "tn_qnn.train"):
        result = fit(trainer(DeviceCosine(CHAIN, device)), checkpoint=tmp_path)
    words = "cuda: Stand-in, one graph a step"
    assert caplog.messages == [f"backend: {words}", f"data: {41 * 24:,} bytes on the device"]
    assert result.backend == words
    facts = json.loads((tmp_path / "checkpoint.json").read_text())
    assert facts["environment"]["execution"] == words


def test_an_estimator_of_ones_own_runs_on_the_host(device):
    class Own:
        check, gains, estimate = SPSA.check, SPSA.gains, SPSA.estimate

        def __init__(self, spsa):
            self.__dict__.update(vars(spsa))

    own = Trainer(DeviceCosine(CHAIN, device), estimator=Own(SPSA(**SPSA_FIXED)), seed=1)
    result = fit(own)
    assert result.backend.endswith("the estimator Own is not marked as capturable")
    same_numbers(result, fit(trainer(CosineModel(CHAIN))))


@pytest.mark.parametrize("sin", ["get", "bool", "matmul"])
def test_what_a_graph_cannot_hold_is_an_error(device, tmp_path, sin):
    class Sinner(DeviceCosine):
        def __call__(self, weights, X):
            if not isinstance(weights, np.ndarray):
                {"get": weights.get, "bool": weights[:1, :1].__bool__,
                 "matmul": lambda: weights @ weights.T}[sin]()  # fmt: skip
            return super().__call__(weights, X)

    with pytest.raises(BackendError, match="could not be captured as a CUDA graph") as caught:
        fit(trainer(Sinner(CHAIN, device)), checkpoint=tmp_path)
    assert "captur" in str(caught.value.__cause__)
    assert load_checkpoint(tmp_path)[0]["state"]["step"] == 0
    # The device is none the worse for it.
    assert fit(trainer(DeviceCosine(CHAIN, device))).step == 23


@pytest.mark.parametrize("number", [1, 12, 40])
def test_no_memory_for_what_a_step_works_in(device, cupy, monkeypatch, number):
    """Buffers and the step before the capture: an error of ours, not one of CuPy's."""
    model = DeviceCosine(CHAIN, device)
    cupy._standin.fail_allocation(number)
    with pytest.raises(MemoryBudgetError, match="a training step needs more than"):
        fit(trainer(model), steps=2)


def test_no_memory_for_the_graph(device, cupy, monkeypatch):
    real = cupy.cuda.Stream.begin_capture

    def begin_capture(self, mode=None):
        real(self, mode)
        cupy._standin.fail_allocation()

    monkeypatch.setattr(cupy.cuda.Stream, "begin_capture", begin_capture)
    with pytest.raises(MemoryBudgetError, match="a training step needs more than"):
        fit(trainer(DeviceCosine(CHAIN, device)))


def test_a_loss_that_is_not_finite_is_named_with_its_step(device, monkeypatch, tmp_path):
    cut(monkeypatch, 6)

    class Poisoned(DeviceCosine):
        def __call__(self, weights, X):
            outputs = super().__call__(weights, X)
            cp = self.device.cp if not isinstance(outputs, np.ndarray) else np
            return cp.where((X[:, :1] > 1e3), cp.nan, outputs)

    numbers, k = X.copy(), 0
    numbers[next(iter(minibatch(1, 1, 41, 16)))] = 1e4  # in the second minibatch of the epoch
    while 1e4 not in numbers[minibatch(1, k, 41, 16)]:
        k += 1
    assert k > 0
    message = rf"loss: became nan at step {k + 1}, expected finite"
    with pytest.raises(InputError, match=message):
        fit(trainer(Poisoned(CHAIN, device)), X=numbers, checkpoint=tmp_path)
    facts, arrays = load_checkpoint(tmp_path)
    assert facts["state"]["step"] == 0 and np.isfinite(arrays["weights"]).all()


def test_arrays_on_the_device_are_taken(device, cupy):
    given = [cupy.asarray(a) for a in (X, Y, np.linspace(-1, 1, 5))]
    one = trainer(DeviceCosine(CHAIN, device))
    result = fit(one, X=given[0], y=given[1], weights=given[2])
    assert type(result.weights) is np.ndarray
    same_bits(result, fit(one, weights=np.linspace(-1, 1, 5)))
    assert one.evaluate(given[2], given[0], given[1]) == one.evaluate(given[2].get(), X, Y)


def test_calibration_on_a_device(device):
    host, result = (
        fit(trainer(model, update="sgd", a=None, first_step=0.03))
        for model in (CosineModel(CHAIN), DeviceCosine(CHAIN, device))
    )
    assert result.gains.a == pytest.approx(host.gains.a, rel=1e-12)
    same_numbers(result, host)


def test_two_threads_do_not_disturb_each_other(device):
    from concurrent.futures import ThreadPoolExecutor

    expected = fit(trainer(DeviceCosine(CHAIN, device)))
    model = DeviceCosine(CHAIN, device)
    other = DeviceCosine(CHAIN, CudaRuntime(device.cp))
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(fit, trainer(m)) for m in (model, model, other)]
        for job in jobs:
            same_bits(job.result(), expected)


def test_progress_bar(device, monkeypatch, capsys):
    cut(monkeypatch, 9)
    fit(trainer(DeviceCosine(CHAIN, device)), validation=(X, Y), progress=True)
    shown = capsys.readouterr().err
    assert "23/23" in shown and "loss " in shown and "score 0." in shown
