"""Frequencies of outputs in each weight, and what is built on them, against the dense simulator."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from tn_qnn import dense
from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.observables import Observable, X, Y, Z, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import InputError
from tn_qnn.models.frequencies import MAX_FREQUENCIES
from tn_qnn.models.qnn import QNN
from tn_qnn.train.losses import get_loss
from tn_qnn.train.parameter_shift import ParameterShift
from tn_qnn.train.rotosolve import Rotosolve, mean_losses

from ..circuits import dense_outputs

A, B, C = (weight(name) for name in "abc")
TURNING = [(name, k) for name in sorted(GATES) for k in range(len(GATES[name].parameters))]
TURNING = [pair for pair in TURNING if pair[0] != "u0"]


def model_of(circuit: Circuit, observables: list[Observable], **options: str) -> QNN:
    options = {"dtype": "float64", "search": "greedy", "backend": "cpu", **options}
    return QNN(circuit, observables, **options)  # type: ignore[arg-type]


def mixed(rng: np.random.Generator, num_qubits: int) -> Circuit:
    """A circuit after which, and before whose inverse, nothing is special any more."""
    circuit = Circuit(num_qubits)
    for _ in range(2):
        for q in range(num_qubits):
            circuit.u3(*rng.normal(size=3).tolist(), q)
        for q in range(num_qubits - 1):
            circuit.cx(q, q + 1)
    return circuit


def between(rng: np.random.Generator, middle: Circuit) -> Circuit:
    mix = mixed(rng, middle.num_qubits)
    return mix.compose(middle).compose(mixed(rng, middle.num_qubits))


def found_by_fourier(circuit: Circuit, name: str, observable: Observable) -> tuple[float, ...]:
    """Frequencies in steps of a quarter, up to 16, that the dense simulator shows."""
    count, turns = 128, 8 * np.pi
    rng = np.random.default_rng(5)
    others = {n: float(rng.normal()) for n in circuit.weights}
    values = [
        dense.expectation(circuit, observable, others | {name: turns * k / count})
        for k in range(count)
    ]
    strengths = np.abs(np.fft.rfft(np.real(values))) / count
    return tuple(k / 4 for k in range(1, count // 2) if strengths[k] > 1e-9)


SHARED = {
    "twice": Circuit(2).rx(A, 0).ry(A, 1),
    "with coefficients": Circuit(2).rx(A, 0).ry(-0.5 * A + 0.3, 1),
    "beside another": Circuit(2).rx(A + 2 * B, 0).crz(A, 0, 1).ry(B, 1),
    "in one gate": Circuit(2).u3(A, A, 0.5 * B, 0).cry(B, 0, 1),
    "controlled and not": Circuit(2).crx(A, 0, 1).fsim(A, B, 0, 1),
    "with a feature's angle": Circuit(2).rx(A + 0.4, 0).rzz(1.5 * A, 0, 1),
}


@pytest.mark.parametrize("case", SHARED)
def test_frequencies_of_shared_weights_are_those_of_the_dense_simulator(case: str) -> None:
    circuit = between(np.random.default_rng(3), SHARED[case])
    readout = X(0) @ Y(1) + 0.5 * Z(0)
    model = model_of(circuit, [readout])
    for name, frequencies in zip(model.weight_names, model.frequencies, strict=True):
        assert np.allclose(frequencies, found_by_fourier(circuit, name, readout)), name


@pytest.mark.parametrize(("name", "index"), TURNING)
def test_frequencies_of_every_gate(name: str, index: int) -> None:
    gate = GATES[name]
    rng = np.random.default_rng(2)
    angles = [A if k == index else float(rng.normal()) for k in range(len(gate.parameters))]
    n = max(2, gate.num_qubits)
    circuit = between(rng, Circuit(n).append(name, range(gate.num_qubits), angles))
    model = model_of(circuit, [X(0) @ Z(1)])
    assert model.frequencies == (gate.frequencies(index),)


def test_only_gates_in_the_cone_count() -> None:
    circuit = Circuit(4).ry(A, 0).ry(A, 1).ry(A, 2).ry(B, 3).rz(C, 1)
    assert model_of(circuit, [Z(0), Z(1)]).frequencies == ((1.0,), (), ())
    assert model_of(circuit, [Z(0) @ Z(1)]).frequencies == ((1.0, 2.0), (), ())
    assert model_of(circuit, [X(1)]).frequencies == ((1.0,), (), (1.0,))


def test_rounding_makes_no_new_frequencies() -> None:
    circuit = Circuit(3).ry(0.1 * A, 0).ry(0.2 * A, 1).ry(0.3 * A, 2)
    found = model_of(circuit, [Z(0) @ Z(1) @ Z(2)]).frequencies[0]
    assert np.allclose(found, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (
            Circuit(1).ry(A * feature(0), 0),
            r"'a' stands in the angle 0\.5·a·x0 in a pro.*Exact",
        ),
        (Circuit(1).ry(A * B, 0), "'a' stands in the angle .* in a product"),
        (Circuit(1).ry(A + A * A, 0), "'a' stands in the angle .* in a product"),
        (Circuit(2).block(orthogonal("U"), [0, 1]), r"'U\[0\]' is an entry of the tensor-valued"),
    ],
)
def test_weights_without_a_spectrum_are_named(circuit: Circuit, message: str) -> None:
    model = model_of(circuit, [X(0) + Z(0)])
    with pytest.raises(InputError, match=message):
        _ = model.frequencies


def test_too_many_frequencies_are_refused() -> None:
    circuit = Circuit(8)
    for q in range(8):
        circuit.ry(A * 2.0**q, q)
    everything = projector(dict.fromkeys(range(8), 0))
    assert len(model_of(circuit, [projector(dict.fromkeys(range(6), 0))]).frequencies[0]) == 63
    with pytest.raises(InputError, match=f"'a' by more than {MAX_FREQUENCIES} frequencies"):
        _ = model_of(circuit, [everything]).frequencies


# --- the gradient


def differences(
    model: QNN, weights: NDArray[np.float64], data: NDArray[np.float64], y: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The gradient of the mean cross-entropy by finite differences of the dense simulator."""
    loss, step = get_loss("cross_entropy"), 1e-5

    def value(point: NDArray[np.float64]) -> float:
        outputs = dense_outputs(model.circuits, model.observables, model.weight_names, point, data)
        return float(loss.value(outputs, y).mean())

    moves = step * np.eye(len(weights))
    return np.array([(value(weights + e) - value(weights - e)) / (2 * step) for e in moves])


@pytest.mark.parametrize("name", sorted({name for name, _ in TURNING}))
def test_gradient_of_every_gate(name: str) -> None:
    gate = GATES[name]
    rng = np.random.default_rng(7)
    angles = [weight(p) * (1 + k) + feature(0) for k, p in enumerate(gate.parameters)]
    circuit = between(rng, Circuit(max(2, gate.num_qubits)).append(
        name, range(gate.num_qubits), angles
    ))  # fmt: skip
    model = model_of(circuit, [X(0) @ Z(1), Y(1)])
    weights, data = rng.normal(size=model.num_weights), rng.normal(size=(3, 1))
    y = np.array([0, 1, 1])
    loss = get_loss("cross_entropy")
    got = ParameterShift(max_sets=5).estimate(model, loss, weights, data, y, None, 0, 0)
    np.testing.assert_allclose(got.gradient, differences(model, weights, data, y), atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SHARED)
def test_gradient_with_shared_weights(case: str, dtype: str) -> None:
    rng = np.random.default_rng(8)
    encoded = Circuit(2).ry(feature(0), 0).ry(feature(1), 1)
    circuit = encoded.compose(between(rng, SHARED[case]))
    model = model_of(circuit, [X(0) @ Z(1), Y(1)], dtype=dtype)
    weights, data = rng.normal(size=model.num_weights), rng.normal(size=(4, 2))
    y = np.array([0, 1, 1, 0])
    loss = get_loss("cross_entropy")
    got = ParameterShift().estimate(model, loss, weights, data, y, None, 0, 0)
    turns = sum(len(some) for some in model.frequencies)
    assert got.evaluations <= (1 + 2 * turns) * 4
    bound = 1e-8 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(got.gradient, differences(model, weights, data, y), atol=bound)


# --- exact moves of one weight


@pytest.mark.parametrize("case", SHARED)
@pytest.mark.parametrize("name", ["mse", "cross_entropy", "hinge"])
def test_a_move_finds_the_lowest_point_of_the_dense_simulator(case: str, name: str) -> None:
    rng = np.random.default_rng(9)
    circuit = Circuit(2).ry(feature(0), 0).compose(between(rng, SHARED[case]))
    model, loss = model_of(circuit, [X(0) @ Z(1), Y(1)]), get_loss(name)
    weights, data = rng.normal(size=model.num_weights), rng.normal(size=(3, 1))
    y = np.eye(2)[[0, 1, 1]] if name == "mse" else np.array([0, 1, 1])
    for column in range(model.num_weights):
        moved, _, spent = Rotosolve(weights_per_step=1, grid=64).move(
            model, loss, weights, data, y, None, 0, step=column
        )
        others = np.arange(model.num_weights) != column
        assert (moved[others] == weights[others]).all()
        assert spent == 3 * (1 + 2 * len(model.frequencies[column]))
        everywhere = np.tile(weights, (40, 1))
        everywhere[:, column] = np.linspace(-4 * np.pi, 4 * np.pi, 40)
        sets = np.concatenate([moved[None], everywhere])
        outputs = dense_outputs(model.circuits, model.observables, model.weight_names, sets, data)
        losses = mean_losses(loss, outputs, y, None)
        assert losses[0] <= losses.min() + 1e-12


def test_sweeps_reach_the_ground_state() -> None:
    """The transverse-field Ising chain of three spins; the loss is linear in the output."""
    n, circuit, number = 3, Circuit(3), itertools.count()
    for _ in range(2):
        for q in range(n):
            circuit.ry(weight(f"w{next(number)}"), q)
        circuit.cx(0, 1).cx(1, 2)
    for q in range(n):
        circuit.ry(weight(f"w{next(number)}"), q)
    energy = -1.0 * Z(0) - Z(1) - Z(2) - X(0) @ X(1) - X(1) @ X(2)
    model = model_of(circuit, [energy])
    ground = np.linalg.eigvalsh(ising(n))[0]
    weights, least = np.random.default_rng(1).normal(size=model.num_weights), np.inf
    loss = get_loss(lambda outputs, y: outputs[:, 0])
    mover = Rotosolve(weights_per_step=model.num_weights)
    for step in range(20):
        weights, value, _ = mover.move(
            model, loss, weights, np.zeros((1, 0)), np.zeros(1), None, 0, step
        )
        assert value <= least + 1e-12
        least = value
    assert abs(least - ground) < 1e-3 * abs(ground)


def ising(n: int) -> NDArray[np.float64]:
    """-sum Z - sum XX, shape (2**n, 2**n)."""
    z, x = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    total = np.zeros((2**n, 2**n))
    for q in range(n):
        total -= np.kron(np.kron(np.eye(2**q), z), np.eye(2 ** (n - q - 1)))
    for q in range(n - 1):
        total -= np.kron(np.kron(np.eye(2**q), np.kron(x, x)), np.eye(2 ** (n - q - 2)))
    return total
