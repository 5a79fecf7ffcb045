"""Models against the dense simulator: random circuits, ansätze, shapes, dtypes, backends."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn.circuit import ansatz
from tn_qnn.circuit.ansatz import orthogonal_block, su4_block, unitary_block
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.graphs import grid, heavy_hex, ring
from tn_qnn.circuit.observables import (
    I,
    Observable,
    PauliSum,
    X,
    Y,
    Z,
    density_matrix,
    projector,
    unpack_density,
)
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import BackendError
from tn_qnn.models.expectation import expectation
from tn_qnn.models.qnn import QNN

from ..circuits import (
    REAL_GATES,
    TOLERANCE,
    checked_model,
    dense_outputs,
    random_batch,
    random_circuit,
    some_observables,
)

BACKENDS = ("cpu", "einsum")
DTYPES = ("float32", "float64")


def compare(model: QNN, weights: np.ndarray, X: np.ndarray) -> None:
    """Against the dense simulator; the tolerance scales with the outputs."""
    names, circuits, observables = model.weight_names, model.circuits, model.observables
    want = dense_outputs(circuits, observables, names, weights, X)
    got = model(weights, X)
    assert got.dtype == model.dtype
    assert got.shape == want.shape
    bound = TOLERANCE[model.dtype] * np.maximum(1, np.abs(want).max(axis=(-2, -1), keepdims=True))
    assert np.all(np.abs(got - want) <= bound), np.abs(got - want).max()


# --- random circuits


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 25))
def test_random_circuits(seed: int, num_qubits: int, num_gates: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, num_qubits, num_gates)
    model = checked_model(circuit, some_observables(num_qubits))
    compare(model, *random_batch(rng, model, 2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(6))
def test_random_circuits_on_every_backend(seed: int, backend: str, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    n = 2 + seed % 4
    circuit = random_circuit(rng, n, 12)
    model = checked_model(circuit, some_observables(n), backend=backend, dtype=dtype)
    weights, data = random_batch(rng, model, 2, 3)
    compare(model, weights[0], data)
    compare(model, weights, data)
    compare(model, rng.normal(size=(2, 3, model.num_weights)), data)


@pytest.mark.parametrize("seed", range(4))
def test_random_real_circuits_run_in_real_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [name for name in REAL_GATES if name != "u0"]
    circuit = random_circuit(rng, 5, 20, names, specials=0)
    model = checked_model(circuit, [Z(0) @ X(2), density_matrix([1, 3]), projector({0: 1, 4: 0})])
    assert all(job.program.network.real for job in model.jobs)
    compare(model, *random_batch(rng, model, 2, 3))


@pytest.mark.parametrize("seed", range(3))
def test_random_circuits_of_twelve_qubits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 12, 45, reach=4)
    model = checked_model(circuit, [Z(6), X(5) @ Y(7), density_matrix([0, 11]), projector({3: 1})])
    compare(model, *random_batch(rng, model, 1, 2))


@pytest.mark.parametrize("name", sorted(GATES))
def test_every_gate_in_a_small_circuit(name: str) -> None:
    gate = GATES[name]
    n = max(2, gate.num_qubits)
    rng = np.random.default_rng(1)
    circuit = Circuit(n)
    for q in range(n):
        circuit.u3(*rng.normal(size=3).tolist(), q)
    qubits = rng.permutation(n)[: gate.num_qubits].tolist()
    angles = [weight(p) * feature(0) + 0.2 for p in gate.parameters]
    circuit.append(name, qubits, angles)
    for q in range(n):
        circuit.u3(*rng.normal(size=3).tolist(), q)
    readouts: list[Observable] = [Z(0) @ X(n - 1), density_matrix(range(n)[:3])]
    for backend in BACKENDS:
        model = checked_model(circuit, readouts, backend=backend)
        compare(model, *random_batch(rng, model, 2, 2))


@pytest.mark.parametrize("name", sorted(GATES))
def test_every_gate_on_zeros(name: str) -> None:
    """Wires that are still |0> are fixed, not summed."""
    gate = GATES[name]
    rng = np.random.default_rng(2)
    circuit = Circuit(gate.num_qubits).append(
        name, range(gate.num_qubits), rng.normal(size=len(gate.parameters)).tolist()
    )
    readouts: list[Observable] = [
        density_matrix(range(gate.num_qubits)[-3:]),
        Z(0) @ Z(gate.num_qubits - 1),
    ]
    model = checked_model(circuit, readouts)
    compare(model, np.zeros((1, 0)), np.zeros((1, 0)))


# --- ansätze

ANSATZE: dict[str, Callable[[], Circuit]] = {
    "brickwork line": lambda: ansatz.brickwork(6, 3),
    "brickwork ring, su4": lambda: ansatz.brickwork(ring(5), 3, (), su4_block),
    "brickwork grid": lambda: ansatz.brickwork(grid(2, 3), 4, ("ry", "rz"), "cz"),
    "brickwork heavy-hex": lambda: ansatz.brickwork(heavy_hex(3, 3), 3),
    "hardware-efficient": lambda: ansatz.hardware_efficient(5, 2),
    "strongly entangling": lambda: ansatz.strongly_entangling(5, 2),
    "tree": lambda: ansatz.tree(7),
    "tree of bond two": lambda: ansatz.tree(8, orthogonal_block, bond_qubits=2),
    "tree of unitaries": lambda: ansatz.tree(4, unitary_block),
    "staircase": lambda: ansatz.matrix_product(6, 2),
    "mera": lambda: ansatz.mera(8),
    "qcnn": lambda: ansatz.qcnn(8),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ANSATZE)
def test_ansatze(name: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    core = ANSATZE[name]()
    n = core.num_qubits
    circuit = angle(n, "y").compose(core)
    readouts: list[Observable] = [Z(0), Z(n - 1) @ X(0), density_matrix([n // 2])]
    model = checked_model(circuit, readouts, backend=backend)
    compare(model, *random_batch(rng, model, 2, 2))


@pytest.mark.parametrize("num_qubits", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [orthogonal, unitary])
def test_blocks(kind: Callable[..., object], num_qubits: int) -> None:
    """Also a block used twice, on overlapping qubits and in another order."""
    rng = np.random.default_rng(num_qubits)
    n = num_qubits + 1
    circuit = Circuit(n)
    for q in range(n):
        circuit.ry(feature(q), q)
    qubits = list(range(num_qubits))
    circuit.block(kind("U"), qubits)  # type: ignore[arg-type]
    circuit.block(kind("U"), [q + 1 for q in reversed(qubits)])  # type: ignore[arg-type]
    for backend in BACKENDS:
        model = checked_model(circuit, [Z(0), X(n - 1), density_matrix([1])], backend=backend)
        weights, data = random_batch(rng, model, 2, 2)
        compare(model, weights, data)
        compare(model, rng.normal(size=(2, 2, model.num_weights)), data)


# --- several circuits, shared weights, readouts


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_circuits_share_weights_of_one_name(backend: str) -> None:
    rng = np.random.default_rng(3)
    shared = random_circuit(rng, 3, 10)
    other = ansatz.brickwork(4, 2, prefix="own").compose(Circuit(4).rx(weight("w0"), 1))
    circuits = [shared, other, shared, ansatz.brickwork(4, 2, prefix="own2")]
    model = checked_model(circuits, [Z(0), Y(1) - I(), density_matrix([2])], backend=backend)
    names = [name for c in circuits for name in c.weights]
    assert model.weight_names == tuple(dict.fromkeys(names))
    assert model.num_outputs == 4 * 6
    weights, data = random_batch(rng, model, 2, 3)
    compare(model, weights, data)
    out = model(weights, data)
    np.testing.assert_array_equal(out[..., :6], out[..., 12:18])


def test_equal_cones_of_several_circuits_are_one_job() -> None:
    circuits = [ansatz.tree(8, prefix=f"class{k}") for k in range(5)]
    encoded = [angle(8).compose(c) for c in circuits]
    model = checked_model(encoded, [Z(0)])
    assert [job.cones for job in model.jobs] == [5]
    compare(model, *random_batch(np.random.default_rng(0), model, 2, 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_readouts_without_a_cone(backend: str) -> None:
    """Identity, nothing at all, qubits on which no gate acts or nothing but phases."""
    circuit = Circuit(5).ry(feature(0), 0).rz(weight("a"), 1).cz(1, 2).swap(0, 3)
    readouts: list[Observable] = [
        I(), 3.0 * I() - 0.5, 0 * Z(0), Z(1), X(2), Z(1) @ Z(4), Z(4) - Z(3),
        projector({1: 0}), projector({1: 1, 2: 0}), density_matrix([2, 4]),
        density_matrix([4, 3]), Z(0), Z(3),
    ]  # fmt: skip
    model = checked_model(circuit, readouts, backend=backend)
    compare(model, *random_batch(np.random.default_rng(0), model, 2, 3))
    np.testing.assert_array_equal(model([[0.3]], [[0.1]])[0, 0, :5], [1, 2.5, 0, 1, 0])


def test_only_identities() -> None:
    model = checked_model(Circuit(3), [I(), 2.5 * I()])
    np.testing.assert_array_equal(model(), [[1, 2.5]])
    assert model.jobs == ()


def test_terms_of_every_kind_at_once() -> None:
    """300 terms in one cone: more than one network carries along an index."""
    rng = np.random.default_rng(5)
    circuit = random_circuit(rng, 5, 25, features=0, weights=0)
    strings = rng.integers(4, size=(300, 5))
    total = PauliSum(())
    for string in strings:
        term = float(rng.normal()) * I()
        for q, axis in enumerate(string):
            term = term @ (I(), X(q), Y(q), Z(q))[axis]
        total = total + term
    some = [total, *(PauliSum((term,)) for term in total.terms[:20]), 2.0 * total]
    model = checked_model(circuit, some)
    compare(model, np.zeros((1, 0)), np.zeros((1, 0)))


@settings(max_examples=12)
@given(st.integers(0, 10**6))
def test_random_observables(seed: int) -> None:
    """Sums of random strings, so that families of terms share wires and cones in any way."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 4, 10, weights=2, features=1)
    observables: list[Observable] = []
    for _ in range(6):
        total = PauliSum(())
        for _ in range(rng.integers(1, 5)):
            term = float(rng.normal()) * I()
            for q in rng.permutation(4)[: rng.integers(1, 4)]:
                term = term @ (X, Y, Z)[rng.integers(3)](int(q))
            total = total + term
        bits = {int(q): int(rng.integers(2)) for q in rng.permutation(4)[: rng.integers(1, 4)]}
        observables += [total, projector(bits)]
    model = checked_model(circuit, observables)
    compare(model, *random_batch(rng, model, 1, 2))


def test_swaps_move_wires_and_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    circuit = random_circuit(rng, 5, 15, ("ry", "cx", "swap", "iswap", "rz"), specials=0)
    circuit.swap(0, 4).swap(1, 3).cx(4, 1).swap(4, 2)
    model = checked_model(circuit, [Z(q) for q in range(5)] + [density_matrix([4, 2, 0])])
    compare(model, *random_batch(rng, model, 2, 2))
    only = checked_model(Circuit(2).ry(0.3, 0).swap(0, 1), [Z(0), Z(1)])
    np.testing.assert_allclose(only()[0], [1, np.cos(0.3)])


# --- shapes


def model_of(backend: str = "cpu") -> QNN:
    circuit = Circuit(3).ry(feature(1), 0).cx(0, 1).rx(weight("a"), 1).cx(1, 2).ry(weight("b"), 2)
    return QNN(circuit, [Z(2), X(1)], backend=backend, dtype="float64", search="greedy")


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_of_weights_and_outputs(backend: str) -> None:
    model, rng = model_of(backend), np.random.default_rng(0)
    data = rng.normal(size=(4, 2))
    stack = rng.normal(size=(3, 2))
    one = model(stack[0], data)
    assert one.shape == (4, 2)
    assert one.flags.c_contiguous
    np.testing.assert_allclose(model({"b": stack[0, 1], "a": stack[0, 0]}, data), one, atol=1e-14)
    np.testing.assert_allclose(model(stack, data), [model(w, data) for w in stack], atol=1e-14)
    each = np.repeat(stack[:, None], 4, axis=1)
    np.testing.assert_allclose(model(each, data), model(stack, data), atol=1e-14)
    wide = np.hstack([data, rng.normal(size=(4, 3))])
    np.testing.assert_allclose(model(stack, wide), model(stack, data), atol=1e-14)
    np.testing.assert_allclose(model(stack.tolist(), data.tolist()), model(stack, data))
    float32 = model(stack.astype(np.float32), data.astype(np.float32))
    np.testing.assert_allclose(float32, model(stack, data), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_without_data_weights_or_gates(backend: str) -> None:
    def run(circuit: Circuit, *arguments: object) -> np.ndarray:
        model = checked_model(circuit, [Z(0), X(0)], backend=backend)
        return model(*arguments)  # type: ignore[arg-type]

    np.testing.assert_array_equal(run(Circuit(1)), [[1, 0]])
    np.testing.assert_array_equal(
        run(Circuit(1), np.zeros((2, 3, 0)), np.zeros((3, 0))), [[[1, 0]] * 3] * 2
    )
    np.testing.assert_allclose(run(Circuit(1).h(0)), [[0, 1]], atol=1e-15)
    np.testing.assert_allclose(run(Circuit(1).h(0), [], np.zeros((3, 2))), [[0, 1]] * 3, atol=1e-15)
    by_weight = Circuit(1).ry(weight("a"), 0)
    np.testing.assert_allclose(run(by_weight, {"a": 0.2}), [[np.cos(0.2), np.sin(0.2)]])
    np.testing.assert_allclose(
        run(by_weight, [[0.2], [0.3]], np.zeros((5, 0)))[1, 4], [np.cos(0.3), np.sin(0.3)]
    )
    by_data = Circuit(1).ry(feature(0), 0)
    np.testing.assert_allclose(run(by_data, None, [[0.2], [0.3]])[1], [np.cos(0.3), np.sin(0.3)])
    np.testing.assert_allclose(
        run(by_data, np.zeros((4, 0)), [[0.2], [0.3]])[3, 1], [np.cos(0.3), np.sin(0.3)]
    )


def test_arguments_are_not_changed() -> None:
    model = model_of()
    weights, data = np.ones((2, 2)), np.ones((3, 2))
    model(weights, data)
    assert np.all(weights == 1) and np.all(data == 1)


def test_results_are_the_callers_own() -> None:
    model = model_of()
    first = model([0.1, 0.2], [[0, 0.3]])
    kept = first.copy()
    second = model([0.5, 0.7], [[0, 0.9]])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = 7
    np.testing.assert_array_equal(model([0.5, 0.7], [[0, 0.9]]), second)


def test_results_do_not_depend_on_what_ran_before() -> None:
    model, rng = model_of(), np.random.default_rng(0)
    weights, data = rng.normal(size=(2, 2)), rng.normal(size=(5, 2))
    first = model(weights, data)
    for sets, samples in ((1, 1), (3, 17), (2, 5), (7, 64), (1, 300)):
        model(rng.normal(size=(sets, 2)) * 50, rng.normal(size=(samples, 2)) * 50)
    np.testing.assert_array_equal(model(weights, data), first)


# --- credit and the function for one value


def test_credit_marks_weights_in_the_cone_of_an_output() -> None:
    circuit = ansatz.brickwork(6, 2)
    model = checked_model(circuit, [Z(0), Z(5), I(), density_matrix([2])])
    assert model.credit.shape == (7, model.num_weights)
    assert not model.credit[2].any()
    rng = np.random.default_rng(0)
    base = rng.normal(size=model.num_weights)
    moved = model(base + np.eye(model.num_weights) * 0.7, None)[:, 0] - model(base)[0]
    changes = np.abs(moved.T) > 1e-9
    assert np.all(model.credit[changes])
    assert np.array_equal(model.credit[:2], changes[:2])
    assert np.array_equal(model.credit[3:].any(axis=0), changes[3:].any(axis=0))


def test_credit_of_several_circuits() -> None:
    circuits = [ansatz.tree(4, prefix="a"), ansatz.tree(4, prefix="b")]
    model = checked_model(circuits, [Z(0)])
    first = np.array([name.startswith("a") for name in model.weight_names])
    half = model.credit[0, first]
    assert half[:-1].any()
    np.testing.assert_array_equal(model.credit[1, ~first], half)
    assert not model.credit[0, ~first].any() and not model.credit[1, first].any()


def test_expectation() -> None:
    circuit = Circuit(3).h(0).cx(0, 1).rx(weight("a") * feature(0), 2)
    value = expectation(circuit, Z(0) @ Z(1) + 0.5 * Z(2), {"a": 2.0}, [0.3], verify=True)
    assert isinstance(value, float)
    assert value == pytest.approx(1 + 0.5 * np.cos(0.6), abs=1e-13)
    rho = expectation(circuit, density_matrix([1, 0]), {"a": 2.0}, [0.3], verify=True)
    bell = np.zeros((4, 4))
    bell[0, 0] = bell[0, 3] = bell[3, 0] = bell[3, 3] = 0.5
    np.testing.assert_allclose(rho, bell, atol=1e-13)


def test_expectation_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tn_qnn.dense.expectation", lambda *arguments: 0.5)
    with pytest.raises(BackendError, match=r"verify: the dense simulator differs by 0\.5"):
        expectation(Circuit(1), Z(0), verify=True)


def test_density_matrices_of_a_model_are_states() -> None:
    rng = np.random.default_rng(0)
    circuit = random_circuit(rng, 4, 30, features=0, weights=0)
    rho = unpack_density(checked_model(circuit, [density_matrix([2, 0, 3])])()[0])
    np.testing.assert_allclose(rho, rho.conj().T, atol=1e-14)
    assert np.trace(rho).real == pytest.approx(1)
    assert np.linalg.eigvalsh(rho).min() > -1e-12
