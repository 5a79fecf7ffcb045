"""Exact gradients of models, against central differences of dense simulations and of the model."""

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit import ansatz
from tn_qnn.circuit.ansatz.blocks import orthogonal_entries, unitary_entries
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.observables import I, Observable, X, Y, Z, density_matrix, parity, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError, MemoryBudgetError
from tn_qnn.models import gradients
from tn_qnn.models.qnn import QNN
from tn_qnn.program.check import check_program
from tn_qnn.train.losses import cross_entropy, hinge

from ..circuits import dense_outputs, random_batch, random_circuit, some_observables, swept_model

STEP = 1e-5
Function = Callable[[np.ndarray], float]


def differences(function: Function, weights: np.ndarray) -> np.ndarray:
    """Central differences: to about 1e-9 for functions of order one."""
    moves = STEP * np.eye(len(weights))
    ends = [(function(weights + m), function(weights - m)) for m in moves]
    return np.array([(plus - minus) / (2 * STEP) for plus, minus in ends])


def random_slopes(model: QNN, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, model.num_outputs))


def pulled(
    model: QNN, weights: np.ndarray, X: np.ndarray | None, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return model.pull_back(weights, X, lambda outputs, rows: slopes[rows])


def check_dense(model: QNN, samples: int = 3, seed: int = 0, bound: float = 1e-7) -> np.ndarray:
    """Outputs and gradient against the dense simulator; returns the gradient."""
    weights, data = random_batch(np.random.default_rng(seed), model, 1, samples)
    slopes = random_slopes(model, samples, seed)

    def outputs(w: np.ndarray) -> np.ndarray:
        return dense_outputs(model.circuits, model.observables, model.weight_names, w, data)

    found, gradient = pulled(model, weights[0], data, slopes)
    np.testing.assert_allclose(found, outputs(weights[0]), atol=1e-11)
    want = differences(lambda w: float((outputs(w) * slopes).sum()), weights[0])
    assert gradient.shape == (model.num_weights,) and gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, want, atol=bound, rtol=bound)
    return gradient


# --- every gate, ansatz, readout


@pytest.mark.parametrize("name", sorted(GATES))
def test_every_gate(name: str) -> None:
    """Weights in each of its angles, before it and behind it; other readouts see other phases."""
    gate = GATES[name]
    n = max(2, gate.num_qubits)
    c = Circuit(n)
    for q in range(n):
        c.ry(weight(f"before{q}"), q).rz(feature(0) + 0.3 * q, q)
    angles = [1.3 * weight(f"w{k}") + 0.2 for k in range(len(gate.parameters))]
    c.append(name, list(range(n))[: gate.num_qubits][::-1], angles)
    for q in range(n):
        c.rx(0.7 * weight(f"behind{q}"), q)
    c.cx(0, n - 1)
    gradient = check_dense(swept_model(c, [Z(0) @ X(n - 1), Y(0), Z(n - 1)]), samples=2)
    names = swept_model(c, [Z(0)]).weight_names
    own = [g for w, g in zip(names, gradient, strict=True) if w.startswith("w")]
    assert len(own) == len(gate.parameters)
    assert np.all(np.abs(own) > 1e-4) or name == "u0"  # that turns nothing


@pytest.mark.parametrize("controls", [1, 2, 3])
def test_phases_with_controls(controls: int) -> None:
    c = Circuit(controls + 1)
    for q in range(controls + 1):
        c.h(q).ry(weight(f"a{q}"), q)
    c.mcphase(weight("b"), *range(controls + 1)).rx(0.4, controls).h(0)
    check_dense(swept_model(c, [X(0) @ Z(controls), Y(controls)]), samples=1)


BLOCKS = (ansatz.so4_block, ansatz.su4_block, ansatz.cry_pool, ansatz.orthogonal_block,
          ansatz.unitary_block, orthogonal_entries, unitary_entries)  # fmt: skip
ANSATZE: dict[str, Circuit] = {
    "brickwork": ansatz.brickwork(5, 3, ("ry", "rz")),
    "hardware_efficient": ansatz.hardware_efficient(5, 2),
    "strongly_entangling": ansatz.strongly_entangling(4, 2),
    "matrix_product": ansatz.matrix_product(5),
    "mera": ansatz.mera(8),
    "qcnn": ansatz.qcnn(8),
    **{f"tree {block.__name__}": ansatz.tree(4, block) for block in BLOCKS},
}


def test_all_ansatze_are_here() -> None:
    blocks = {"BlockFunction", *(block.__name__ for block in BLOCKS)}
    assert set(ansatz.__all__) - blocks == {name.split()[0] for name in ANSATZE}


@pytest.mark.parametrize("name", ANSATZE)
def test_every_ansatz(name: str) -> None:
    """Against differences of the model's outputs, which other tests compare with the dense ones."""
    body = ANSATZE[name]
    n = body.num_qubits
    model = swept_model(angle(n).compose(body), [Z(0), X(n - 1) @ Y(n // 2)])
    weights, data = random_batch(np.random.default_rng(0), model, 1, 3)
    slopes = random_slopes(model, 3)
    moves = STEP * np.eye(model.num_weights)
    ends = [model(weights + move, data) for move in (moves, -moves)]
    want = ((ends[0] - ends[1]) * slopes).sum(axis=(1, 2)) / (2 * STEP)
    _, gradient = pulled(model, weights[0], data, slopes)
    np.testing.assert_allclose(gradient, want, atol=1e-7)
    assert np.abs(gradient).max() > 1e-3


READOUTS: dict[str, list[Observable]] = {
    "pauli sums": [Z(0), 0.5 * X(1) + Y(0) - 2.0, X(0) @ Y(1) + 0.25 * Z(0) @ Z(2) - 1.5 * Z(2)],
    "one string, three outputs": [Z(0), 2.0 * Z(0), Z(0) - Z(1)],
    "parity": [parity([0, 1, 2])],
    "projectors": [projector({0: 1}), projector({0: 0, 2: 1, 1: 1})],
    "density matrix": [density_matrix([1])],
    "density matrices": [density_matrix([2, 0]), density_matrix([0, 1, 2])],
    "identity": [I(), 3.0 * I() + Z(1)],
}


@pytest.mark.parametrize("name", READOUTS)
def test_every_readout(name: str) -> None:
    c = Circuit(3)
    for q in range(3):
        c.ry(weight(f"a{q}"), q).rz(feature(0) * weight(f"b{q}"), q)
    c.cx(0, 1).crx(weight("c"), 1, 2).rx(weight("d"), 0).ryy(0.4, 2, 0)
    check_dense(swept_model(c, READOUTS[name]))


def test_density_matrices_of_a_real_circuit() -> None:
    c = Circuit(2).ry(weight("a"), 0).cx(0, 1).ry(weight("b") + feature(0), 1)
    model = swept_model(c, [density_matrix([0, 1])])
    assert all(e.job.program.network.real for e in model._gradients.executors)  # type: ignore[attr-defined]
    check_dense(model)


# --- what weights do


def test_weights_shared_between_gates_angles_and_circuits() -> None:
    a, b = weight("a"), weight("b")
    first = Circuit(2).ry(a, 0).cx(0, 1).rx(a, 1).u(a, 2.0 * b, a - b, 0).cx(1, 0)
    second = Circuit(3).ry(b, 2).cx(2, 0).ry(0.5 * a, 0)
    check_dense(swept_model([first, second], [Z(0), X(1)]))


def test_polynomial_slots() -> None:
    a, b, x, y = weight("a"), weight("b"), feature(0), feature(1)
    c = Circuit(2).ry(a * x + b * y + 0.3, 0).cx(0, 1).rx(a * a - 2.0 * b * b * x + a * b * y, 1)
    c.rz(x * y, 0).ry(a * a * b + x, 0).cx(0, 1).rx(1.7, 1)
    check_dense(swept_model(c, [Z(0) @ Z(1), X(0)]), samples=5)


@pytest.mark.parametrize("chart", ["exponential", "entries"])
@pytest.mark.parametrize("make", [orthogonal, unitary])
def test_tensor_valued_blocks(make: Any, chart: str) -> None:
    """On one to three qubits, on |0> and behind others, one of them in two places."""
    c = Circuit(4).block(make("A", chart), [2]).ry(feature(0), 1).ry(weight("a"), 0)
    c.block(make("B", chart), [1, 0]).block(make("C", chart), [3, 2, 1]).rx(0.3, 1)
    c.block(make("B", chart), [0, 2]).rx(weight("b"), 0)
    check_dense(swept_model(c, [X(0) @ Z(1), Y(2), density_matrix([3])]), samples=2)


def test_charts_side_by_side_in_equal_places() -> None:
    c = Circuit(4).block(orthogonal("A"), [0, 1]).block(orthogonal("B", "entries"), [2, 3])
    check_dense(swept_model(c, [Z(0), Z(2)]), samples=1)


@pytest.mark.parametrize("shared", [False, True])
def test_equal_cones(shared: bool) -> None:
    """One program with label "c": over cones, gradients by shared weights are sums."""
    c = Circuit(6)
    for k in range(3):
        name = "" if shared else str(k)
        c.ry(weight(f"a{name}"), 2 * k).ry(feature(k) + weight("all"), 2 * k + 1).cx(
            2 * k, 2 * k + 1
        )
        c.block(unitary(f"B{name}", "entries"), [2 * k, 2 * k + 1]).rx(weight(f"b{name}"), 2 * k)
    model = swept_model(c, [X(0), -2.0 * X(2), 0.5 * X(4)])
    assert len(model._gradients.executors) == 1
    check_dense(model)


def test_without_data() -> None:
    c = Circuit(2).ry(weight("a"), 0).cx(0, 1).rx(weight("b"), 1)
    model = swept_model(c, [Z(1), Y(1)])
    _, gradient = pulled(model, np.array([0.3, 0.4]), None, np.array([[1.0, 2.0]]))
    check_dense(model, samples=1)
    stacked = pulled(model, np.array([0.3, 0.4]), np.zeros((5, 0)), np.tile([[1.0, 2.0]], (5, 1)))
    np.testing.assert_allclose(stacked[1], 5 * gradient)
    assert stacked[0].shape == (5, 2)


def test_without_weights() -> None:
    model = swept_model(Circuit(2).ry(feature(0), 0).cx(0, 1), [Z(1)])
    outputs, gradient = pulled(model, np.zeros(0), np.array([[0.3]]), np.ones((1, 1)))
    assert gradient.shape == (0,)
    np.testing.assert_allclose(outputs, [[np.cos(0.3)]])
    assert model.value_and_grad({}, [[0.3]], [[0.0]], "mse")[1].shape == (0,)


def test_outputs_that_depend_on_no_weight_and_weights_that_move_no_output() -> None:
    c = Circuit(3).ry(weight("a"), 0).rx(weight("unused"), 1).ry(feature(0), 2).rz(weight("b"), 0)
    gradient = check_dense(swept_model(c, [Z(0), Z(2), 2.0 * I()]))
    assert gradient[0] != 0 and gradient[1] == gradient[2] == 0
    constant = QNN(c, [I()], dtype="float64")
    outputs, gradient = pulled(constant, np.ones(3), np.ones((2, 1)), np.ones((2, 1)))
    assert np.all(outputs == 1) and np.all(gradient == 0)


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_random_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    circuit = random_circuit(rng, n, int(rng.integers(1, 12)), specials=0.2)
    check_dense(swept_model(circuit, some_observables(n)), seed=seed, bound=2e-6)


def test_a_part_with_frozen_weights() -> None:
    """Frozen weights, coordinates of a block, whole blocks: the free entries of the gradient."""
    c = Circuit(4).h(0).h(1).h(2).block(orthogonal("A"), [0, 1]).block(unitary("B"), [1, 2])
    c.block(unitary("C", "entries"), [2, 3]).ry(weight("z"), 2).cx(2, 1)
    whole = swept_model(c, [X(1) @ Z(2), Y(3)])
    rng = np.random.default_rng(0)
    weights = rng.normal(size=whole.num_weights)
    slopes = random_slopes(whole, 1)
    want = pulled(whole, weights, None, slopes)[1]
    names = np.array([name.split("[")[0] for name in whole.weight_names])
    some = rng.random(len(names)) < 0.5
    for mask in (some, names == "A", names != "A", names == "z", names != "z", names == "none"):
        part = whole.part(mask, weights)
        np.testing.assert_allclose(
            pulled(part, weights[mask], None, slopes)[1], want[mask], atol=1e-11
        )


# --- losses


def classifier(dtype: str = "float64", outputs: int = 3, **options: Any) -> QNN:
    c = angle(3).compose(ansatz.brickwork(3, 2, ("ry", "rz"))).cx(0, 2)
    return swept_model(c, [Z(q) for q in range(outputs)], dtype=dtype, **options)


def crooked(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.tanh(outputs @ np.arange(1.0, 1 + outputs.shape[1]) - y) ** 2


LOSSES: dict[str, tuple[Any, int, bool]] = {  # loss, outputs, whether it takes classes
    "mse": ("mse", 3, False),
    "mse, one output": ("mse", 1, False),
    "cross_entropy": ("cross_entropy", 3, True),
    "cross_entropy, one output": (cross_entropy(2.0), 1, True),
    "hinge": ("hinge", 3, True),
    "hinge, one output": (hinge(1.5), 1, True),
    "callable": (crooked, 3, True),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str, weighted: bool) -> None:
    loss, outputs, classes = LOSSES[name]
    model, rng, samples = classifier(outputs=outputs), np.random.default_rng(0), 7
    weights, data = random_batch(rng, model, 1, samples)
    count = max(2, outputs)
    y = rng.integers(count, size=samples) if classes else rng.normal(size=(samples, outputs))
    share = rng.random(samples) if weighted else None

    def value(w: np.ndarray) -> float:
        return model.value_and_grad(w, data, y, loss, share)[0]

    found, gradient = model.value_and_grad(weights[0], data, y, loss, share)
    assert isinstance(found, float)
    np.testing.assert_allclose(gradient, differences(value, weights[0]), atol=1e-7)
    np.testing.assert_allclose(found, by_hand(name, model(weights[0], data), y, share), atol=1e-11)


def by_hand(name: str, outputs: np.ndarray, y: np.ndarray, share: np.ndarray | None) -> float:
    """The mean of weighted losses, from their definitions."""
    pair = outputs if outputs.shape[1] > 1 else np.concatenate([-outputs, outputs], axis=1)
    values = []
    for full, both, target in zip(outputs, pair, y, strict=True):
        if name.startswith("mse"):
            values.append(np.mean((full - target) ** 2))
        elif name.startswith("cross"):
            p = np.exp((5.0 if len(full) > 1 else 2.0) * both)
            values.append(-np.log(p[target] / p.sum()))
        elif name == "hinge":
            values.append(max(0.0, 1.0 + np.delete(full, target).max() - full[target]))
        elif name.startswith("hinge"):
            values.append(max(0.0, 1.5 - (2 * target - 1) * full[0]))
        else:
            values.append(float(crooked(full[None], np.array([target]))[0]))
    return float(np.mean(np.array(values) * (1.0 if share is None else share)))


def test_weights_by_name() -> None:
    model = classifier()
    (weights,), data = random_batch(np.random.default_rng(0), model, 1, 4)
    named = dict(zip(model.weight_names, weights.tolist(), strict=True))
    one, two = (model.value_and_grad(w, data, [0, 1, 2, 0]) for w in (weights, named))
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])


# --- precision, chunks, slices, threads, backends


def test_single_precision() -> None:
    double, single = classifier(), classifier("float32")
    (weights,), data = random_batch(np.random.default_rng(0), double, 1, 50)
    slopes = random_slopes(double, 50)
    (out, want), (got_out, got) = (pulled(m, weights, data, slopes) for m in (double, single))
    assert got.dtype == got_out.dtype == np.float64
    scale = np.abs(slopes).sum()  # of a sum of so many terms, each rounded by itself
    np.testing.assert_allclose(got_out, out, atol=2e-6)
    np.testing.assert_allclose(got, want, atol=2e-6 * scale)
    assert not np.array_equal(got, want)


def test_einsum_gives_the_same() -> None:
    model, slow = classifier(), classifier(backend="einsum")
    (weights,), data = random_batch(np.random.default_rng(0), model, 1, 5)
    slopes = random_slopes(model, 5)
    for got, want in zip(*(pulled(m, weights, data, slopes) for m in (model, slow)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.parametrize("room", [1, 7, 16, 40])
def test_chunks_of_samples(room: int) -> None:
    """As few as there is room for; the slopes are asked for by the rows of each chunk."""
    free = classifier()
    (weights,), data = random_batch(np.random.default_rng(0), free, 1, 100)
    slopes = random_slopes(free, 100)
    want = pulled(free, weights, data, slopes)
    model = classifier(memory=free._gradients.forecast(1, room))
    asked: list[slice] = []

    def by_rows(outputs: np.ndarray, rows: slice) -> np.ndarray:
        np.testing.assert_allclose(outputs, want[0][rows], atol=1e-11)
        asked.append(rows)
        return slopes[rows]

    got = model.pull_back(weights, data, by_rows)
    np.testing.assert_allclose(got[0], want[0], atol=1e-11)
    np.testing.assert_allclose(got[1], want[1], atol=1e-10)
    sizes = [rows.stop - rows.start for rows in asked]
    assert [i for rows in asked for i in range(100)[rows]] == list(range(100))
    assert len(asked) > 1 and len(set(sizes[:-1])) == 1
    assert model._gradients.forecast(1, max(sizes)) <= model.budget.memory
    values = [m.value_and_grad(weights, data, np.arange(100) % 3)[1] for m in (free, model)]
    np.testing.assert_allclose(values[1], values[0], atol=1e-12)


def deep() -> Circuit:
    return angle(8).compose(ansatz.brickwork(8, 10, ("ry", "rz")))


def test_slices_and_recomputation_under_a_budget() -> None:
    """First less is kept, then the plan is sliced: the same gradient."""
    free = QNN(deep(), [Z(4)], dtype="float64", search="greedy")
    (weights,), data = random_batch(np.random.default_rng(0), free, 1, 3)
    slopes = random_slopes(free, 3)
    want = pulled(free, weights, data, slopes)
    whole, sliced = free._gradients.forecast(1, 1), []
    for share in (2, 32):
        options = {"dtype": "float64", "search": "greedy", "threads": 1}
        tight = QNN(deep(), [Z(4)], memory=whole // share, **options)  # type: ignore[arg-type]
        (executor,) = tight._gradients.executors
        program = executor.job.program  # type: ignore[attr-defined]
        check_program(program)
        sliced.append(program.slices > 1)
        assert executor.forecast(1, 1) <= whole // share
        got = pulled(tight, weights, data, slopes)
        np.testing.assert_allclose(got[0], want[0], atol=1e-11)
        np.testing.assert_allclose(got[1], want[1], atol=1e-10)
    assert sliced == [False, True]


def test_a_sample_too_many_for_the_budget_is_refused_with_figures() -> None:
    model = QNN(deep(), [Z(0)], dtype="float64", search="greedy", memory=1000)
    with pytest.raises(MemoryBudgetError, match=r"the budget is 1,000 bytes"):
        pulled(model, np.zeros(model.num_weights), np.zeros((1, 8)), np.ones((1, 1)))
    apart = QNN(deep(), [Z(0)], dtype="float64", search="greedy")
    need = apart._gradients.forecast(1, 1)
    tight = gradients.Gradients(
        apart._gradients.executors, np.zeros(1), None, QNN(deep(), [Z(0)], memory=need - 1).budget,
        apart.backend.free_memory,
    )  # fmt: skip
    with pytest.raises(MemoryBudgetError, match=f"one sample needs {need:,} bytes.*or use SPSA"):
        tight.chunk(1, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(dtype: str) -> None:
    found = []
    for threads in (1, 2):
        model = QNN(deep(), [Z(3), X(5)], dtype=dtype, search="greedy", threads=threads)
        (weights,), data = random_batch(np.random.default_rng(0), model, 1, 40)
        found.append(pulled(model, weights, data, random_slopes(model, 40)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_calls_from_several_threads() -> None:
    model = classifier()
    sets, data = random_batch(np.random.default_rng(0), model, 4, 30)
    slopes = random_slopes(model, 30)
    want = [pulled(model, w, data, slopes) for w in sets]
    outputs = model(sets, data)
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            found = pulled(model, sets[i], data, slopes)
            same = all(np.array_equal(a, b) for a, b in zip(found, want[i], strict=True))
            if not same or not np.array_equal(model(sets, data), outputs):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_forecast_is_what_a_sweep_allocates() -> None:
    """To 20 % and the records of the programs; numpy reports its arrays to tracemalloc."""
    for _ in range(2):  # the first time, more is loaded and compiled
        model = QNN(deep(), [Z(4)], search="greedy", threads=1)
        (weights,), data = random_batch(np.random.default_rng(0), model, 1, 64)
        forecast = model._gradients.forecast(1, 64)  # makes the executors
        tracemalloc.start()
        pulled(model, weights, data, np.ones((64, 1)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert forecast > 1e7
    assert 0.8 * forecast < peak < 1.2 * forecast + 3e6


# --- input

GOOD: dict[str, Any] = {
    "weights": np.zeros(12), "X": np.zeros((4, 3)), "y": [0, 1, 2, 0], "loss": "cross_entropy",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(11)}, "weights: shape"),
        ({"weights": np.zeros((2, 12))}, r"weights: shape \(12,\) expected, not \(2, 12\)"),
        ({"weights": np.full(12, np.nan)}, "weights: NaN or infinite"),
        ({"weights": {"w": 1.0}}, "weights: no value for"),
        ({"X": np.zeros((4, 2))}, "X: shape"),
        ({"X": np.zeros((0, 3)), "y": []}, "X: got no samples"),
        ({"X": np.full((4, 3), np.inf)}, "X: got inf"),
        ({"X": [["a"] * 3] * 4}, "X: got <U1 entries"),
        ({"X": None, "y": [0]}, "X: the circuit uses 3 features"),
        ({"X": 5.0, "y": [0]}, "X: shape"),
        ({"y": [0, 1]}, "y: got shape"),
        ({"y": None}, "y: got None"),
        ({"y": [0, 1, 2, 3]}, "y: got labels from 0 to 3"),
        ({"y": [0, -1, 2, 0]}, "y: got labels from -1"),
        ({"y": [0.5, 1, 2, 0]}, "y: got numbers that are not whole"),
        ({"y": np.zeros((4, 1)), "loss": "mse"}, r"y: got shape \(4, 1\), expected \(4, 3\)"),
        ({"y": np.full((4, 3), np.nan), "loss": "mse"}, "y: got nan"),
        ({"sample_weight": np.ones(3)}, "sample_weight: got shape"),
        ({"sample_weight": np.ones((4, 1))}, "sample_weight: got shape"),
        ({"sample_weight": [1, np.nan, 1, 1]}, "sample_weight: got nan"),
        ({"loss": "absolute"}, "loss: got 'absolute', expected one of"),
        ({"loss": "zero_one"}, "loss: zero_one has no slope"),
        ({"loss": lambda outputs, y: 1.0}, "one number a sample"),
    ],
)
def test_bad_input_is_told(change: dict[str, Any], message: str) -> None:
    model = MODELS.setdefault("classifier", classifier())
    assert model.num_weights == 12
    model.value_and_grad(**GOOD)
    with pytest.raises(InputError, match=message):
        model.value_and_grad(**GOOD | change)


MODELS: dict[str, QNN] = {}


@pytest.mark.parametrize("returned", [None, 1.0, np.ones(4), np.ones((4, 2)), np.ones((3, 4))])
def test_slopes_of_another_shape_are_told(returned: Any) -> None:
    model = MODELS.setdefault("classifier", classifier())
    with pytest.raises(InputError, match=r"slopes: shape .* expected \(4, 3\)"):
        model.pull_back(np.zeros(12), np.zeros((4, 3)), lambda outputs, rows: returned)


def test_a_call_that_failed_leaves_no_trace() -> None:
    model = classifier()
    (weights,), data = random_batch(np.random.default_rng(0), model, 1, 5)
    slopes = random_slopes(model, 5)
    want = pulled(model, weights, data, slopes)[1]

    def fails(outputs: np.ndarray, rows: slice) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.pull_back(weights + 1, data, fails)
    np.testing.assert_array_equal(pulled(model, weights, data, slopes)[1], want)
