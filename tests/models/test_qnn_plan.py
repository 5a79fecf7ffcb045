"""Width: plans made once, a handful of topologies, memory known beforehand, 10,000 qubits."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tn_qnn.circuit.ansatz import brickwork, tree
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import Graph, grid, line
from tn_qnn.circuit.observables import X, Z
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import MemoryBudgetError
from tn_qnn.models.qnn import QNN
from tn_qnn.plan import budget

from ..circuits import checked_model, dense_outputs, random_batch

Searches = list[tuple[int, ...]]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Searches]:
    """The batch sizes of every topology for which a plan is asked."""
    asked: Searches = []
    real = budget.find_plan

    def watched(topology, *arguments, **options):  # type: ignore[no-untyped-def]
        asked.append(tuple(topology.sizes[i] for i in sorted(topology.batch)))
        return real(topology, *arguments, **options)

    monkeypatch.setattr(budget, "find_plan", watched)
    yield asked


# --- planned once


@pytest.mark.parametrize("backend", ["cpu", "einsum"])
def test_no_other_size_is_planned_again(searches: Searches, backend: str) -> None:
    circuit = angle(5).compose(brickwork(5, 3))
    model = checked_model(circuit, [Z(q) for q in range(5)], backend=backend)
    first = len(searches)
    assert first == len(model.jobs) < 5
    for sets, samples in ((2, 256), (2, 256), (2, 7), (1, 1), (9, 300), (5, 1)):
        model(*random_batch(np.random.default_rng(0), model, sets, samples))
    assert len(searches) == first
    model.credit  # noqa: B018
    assert len(searches) == first


def test_weights_per_sample_are_planned_once_more(searches: Searches) -> None:
    model = checked_model(angle(4).compose(brickwork(4, 2)), [Z(1)])
    weights, data = random_batch(np.random.default_rng(0), model, 2, 3)
    model(weights, data)
    assert len(searches) == 1
    for samples in (3, 4):
        each = np.zeros((2, samples, model.num_weights))
        model(each, np.zeros((samples, 4)))
    assert len(searches) == 2


def test_a_second_model_finds_its_plan(searches: Searches) -> None:
    """In memory, on disk: both in the plan itself. Other angles are the same topology."""
    circuits = [angle(6, scale=s).compose(brickwork(6, 4, prefix=f"{s}")) for s in (1.0, 2.0)]
    plans = [QNN(c, [Z(3)], search="greedy").jobs[0].program.plan for c in circuits]
    assert len(searches) == 2
    assert plans[0].path == plans[1].path
    assert plans[1].source == "cache"


def test_a_plan_is_made_for_the_sizes_asked_for(searches: Searches) -> None:
    QNN(angle(3).compose(brickwork(3, 2)), [Z(1)], sets=6, samples=32).jobs  # noqa: B018
    assert searches == [(6, 32)]


# --- wide


def wide_line(n: int, depth: int) -> Circuit:
    return angle(n).compose(brickwork(line(n), depth))


def check_line(n: int, searches: Searches) -> None:
    model = QNN(
        wide_line(n, 4),
        [Z(q) for q in range(n)],
        dtype="float64",
        search="greedy",
        sets=1,
        samples=2,
    )
    weights, data = random_batch(np.random.default_rng(0), model, 1, 2)
    out = model(weights, data)[0]
    assert len(searches) == len(model.jobs) <= 5
    assert sum(job.cones for job in model.jobs) == n
    # cones of depth 4 span less than 12 qubits: windows of a line tell every value
    for middle in (0, 5, n // 2, n - 1):
        first = max(0, min(middle - 8, n - 16)) // 2 * 2  # the parity of bonds stays
        window = wide_line(16, 4)
        names = [name.split(".") for name in window.weights]
        moved = [".".join([w, layer, str(int(q) + first), k]) for w, layer, q, k in names]
        columns = [model.weight_names.index(name) for name in moved]
        local = Z(middle - first)
        want = dense_outputs(
            [window], [local], window.weights, weights[0, columns], data[:, first:]
        )
        np.testing.assert_allclose(out[:, middle], want[:, 0], atol=1e-12)


def test_line_of_a_thousand_qubits(searches: Searches) -> None:
    check_line(1000, searches)


@pytest.mark.slow
def test_line_of_ten_thousand_qubits(searches: Searches) -> None:
    check_line(10_000, searches)


def test_memory_of_a_line_is_linear_in_qubits() -> None:
    def forecast(n: int) -> int:
        model = QNN(wide_line(n, 3), [Z(q) for q in range(n)], search="greedy", sets=1, samples=16)
        return sum(e.forecast(1, 16) for e in model._prepared(False).executors)

    assert forecast(400) < 4.5 * forecast(100)


def grid_circuit(side: int, layers: int) -> Circuit:
    """RY on every qubit, then CZ along one colour: a horizontal, a vertical one, in turn."""
    colours = grid(side, side).layers
    turned = Graph(side * side, (colours[0], colours[2], colours[1], colours[3]))
    return angle(side * side).compose(brickwork(turned, layers))


def test_small_grid_against_the_dense_simulator() -> None:
    circuit = grid_circuit(3, 8)
    model = checked_model(circuit, [Z(4), X(0) @ Z(8)])
    weights, data = random_batch(np.random.default_rng(0), model, 2, 2)
    want = dense_outputs([circuit], model.observables, model.weight_names, weights, data)
    np.testing.assert_allclose(model(weights, data), want, atol=1e-12)


def test_grid_of_64_qubits_on_both_backends() -> None:
    circuit = grid_circuit(8, 6)
    rng = np.random.default_rng(0)
    models = [
        checked_model(circuit, [Z(27), Z(36)], search="fast", backend=b, sets=1, samples=1)
        for b in ("cpu", "einsum")
    ]
    weights, data = random_batch(rng, models[0], 1, 1)
    np.testing.assert_allclose(models[0](weights, data), models[1](weights, data), atol=1e-12)


@pytest.mark.parametrize(("layers", "wires"), [(8, 48), (10, 64)])
def test_deep_grids_are_exact_sliced_or_not(layers: int, wires: int) -> None:
    """By two plans and by the other backend; the cone of 10 layers is all 64 qubits."""
    circuit = grid_circuit(8, layers)
    free = checked_model(circuit, [Z(27)], search="fast", sets=1, samples=1, threads=1)
    (cone,) = free.readouts.batches[0].cones
    assert cone.num_wires == wires
    weights, data = random_batch(np.random.default_rng(0), free, 1, 1)
    value = free(weights, data)
    (executor,) = free._prepared(False).executors
    assert executor.job.program.network.real
    memory = executor.forecast(1, 1) // (2 if layers == 10 else 1)
    tight = checked_model(
        circuit, [Z(27)], search="fast", sets=1, samples=1, threads=1, memory=memory
    )
    assert all((job.program.slices > 1) == (layers == 10) for job in tight.jobs)
    np.testing.assert_allclose(tight(weights, data), value, atol=1e-11)
    slow = checked_model(circuit, [Z(27)], search="fast", sets=1, samples=1, backend="einsum")
    np.testing.assert_allclose(slow(weights, data), value, atol=1e-11)


def test_a_grid_too_large_is_refused_before_anything_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("an arena was allocated")

    monkeypatch.setattr("tn_qnn.backends.cpu.kernel.new_arena", never)
    model = QNN(grid_circuit(5, 6), [Z(12)], search="greedy", memory=20_000, sets=1, samples=1)
    weights, data = random_batch(np.random.default_rng(0), model, 1, 1)
    with pytest.raises(MemoryBudgetError, match=r"needs [\d,]+ (bytes|elements)"):
        model(weights, data)


def test_a_tree_of_64_qubits_is_exact() -> None:
    """By its own recursion: two-qubit density matrices from the leaves to the top."""
    n = 64
    model = checked_model(angle(n).compose(tree(n)), [Z(0)])
    assert model.num_weights == 63 * 6
    weights, data = random_batch(np.random.default_rng(0), model, 1, 2)
    out = model(weights, data)
    names = dict(zip(model.weight_names, weights[0], strict=True))
    for sample, value in zip(data, out[0, :, 0], strict=True):
        assert value == pytest.approx(tree_value(n, names, sample), abs=1e-11)


def tree_value(n: int, weights: dict[str, float], x: np.ndarray) -> float:
    states = []
    for q in range(n):
        c, s = np.cos(np.pi * x[q] / 2), np.sin(np.pi * x[q] / 2)
        states.append(np.outer([c, s], [c, s]))
    level = 0
    while len(states) > 1:
        merged = []
        for place in range(len(states) // 2):
            block = tree(2)
            local = {
                name: weights[f"w.{level}.{place}.{name.rsplit('.', 1)[1]}"]
                for name in block.weights
            }
            u = unitary_of(block, local)
            rho = u @ np.kron(states[2 * place], states[2 * place + 1]) @ u.conj().T
            merged.append(np.einsum("abcb->ac", rho.reshape(2, 2, 2, 2)))
        states, level = merged, level + 1
    return float((states[0][0, 0] - states[0][1, 1]).real)


def unitary_of(circuit: Circuit, weights: dict[str, float]) -> np.ndarray:
    from tn_qnn.circuit.gates import embed

    total = np.eye(2**circuit.num_qubits, dtype=complex)
    for op in circuit.operations:
        total = embed(op.matrix(weights, ()), op.qubits, circuit.num_qubits) @ total
    return total


# --- resident memory

RESIDENT = """
import numpy as np, psutil
from tn_qnn.circuit.ansatz import brickwork
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import Graph, grid
from tn_qnn.circuit.observables import Z
from tn_qnn.models.qnn import QNN

def model(side, layers):
    a, b, c, d = grid(side, side).layers
    circuit = angle(side * side).compose(brickwork(Graph(side * side, (a, c, b, d)), layers))
    return QNN(circuit, [Z(side * side // 2 - side // 2 - 1)], threads=1)

small = model(3, 4)  # whatever is loaded and compiled once
small(np.zeros(small.num_weights), np.zeros((64, 9)))
big = model(8, 10)
(executor,) = big._prepared(False).executors
forecast = executor.forecast(1, 64)
weights, data = np.zeros((1, big.num_weights)), np.zeros((64, 64))
before = psutil.Process().memory_info().rss
executor.run(weights, data)
print(forecast, psutil.Process().memory_info().rss - before)
"""


@pytest.mark.slow
def test_resident_memory_grows_as_forecast() -> None:
    out = subprocess.run(
        [sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True
    ).stdout
    forecast, grown = map(int, out.split())
    assert forecast > 30e6
    assert 0.8 * forecast < grown < 1.2 * forecast


def test_models_let_go_of_their_memory() -> None:
    import weakref

    model = checked_model(angle(4).compose(brickwork(4, 2)), [Z(1)])
    model(*random_batch(np.random.default_rng(0), model, 2, 64))
    (executor,) = model._prepared(False).executors
    (arena,) = executor.arenas.values()  # type: ignore[attr-defined]
    gone = weakref.ref(arena)
    del model, executor, arena
    gc.collect()
    assert gone() is None


def test_one_feature_on_every_qubit() -> None:
    """1,000 rotations by one number: a cone of one gate, once a qubit."""
    circuit = Circuit(1000)
    for q in range(1000):
        circuit.ry(feature(0) * (q + 1), q)
    model = checked_model(circuit, [Z(q) for q in range(1000)])
    assert len(model.jobs) == 1
    x = np.linspace(-1, 1, 5)[:, None]
    np.testing.assert_allclose(model(None, x), np.cos(x * np.arange(1, 1001)), atol=1e-11)


def test_explain_makes_nothing_for_weights_per_sample() -> None:
    """What a weight set a sample would cost is told without making anything for it."""
    model = QNN(Circuit(2).ry(feature(0), 0).cx(0, 1).ry(weight("a"), 1), [Z(1)])
    assert model.explain().per_sample_multiply_adds > 0
    assert list(model._evaluations) == [False]
