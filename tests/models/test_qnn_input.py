"""Bad input to circuits, observables and models: each error names what was wrong and expected."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tn_qnn import dense
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import I, X, Y, Z, density_matrix, projector
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.errors import (
    BackendError,
    CircuitError,
    InputError,
    MemoryBudgetError,
    PlanError,
    TnQnnError,
)
from tn_qnn.models.expectation import expectation
from tn_qnn.models.qnn import QNN


def circuit() -> Circuit:
    return (
        Circuit(2)
        .ry(feature(0), 0)
        .ry(feature(1), 1)
        .cx(0, 1)
        .rx(weight("a"), 0)
        .ry(weight("b"), 1)
    )


def model(**options: Any) -> QNN:
    return QNN(circuit(), [Z(0), Z(1)], **{"search": "greedy", **options})


GOOD = ([0.1, 0.2], [[0.3, 0.4]])

# what is done, which error, and what its message must hold
Case = tuple[Callable[[], object], type[TnQnnError], str]

OBSERVABLES: dict[str, Case] = {
    "qubit out of range": (
        lambda: QNN(circuit(), [Z(2)]),
        CircuitError,
        "observable: qubit 2 of Z2 is out of range.* 0 to 1",
    ),
    "out of range in a second circuit": (
        lambda: QNN([Circuit(3), Circuit(2)], [Z(2)]),
        CircuitError,
        "qubit 2 .* out of range",
    ),
    "qubit negative": (
        lambda: Z(-1),
        CircuitError,
        "observable: a qubit must be an integer >= 0, not -1",
    ),
    "qubit a bool": (
        lambda: X(False),
        CircuitError,
        "observable: a qubit must be an integer >= 0, not False",
    ),
    "qubit a string": (
        lambda: Y("0"),
        CircuitError,
        "observable: a qubit must be an integer >= 0, not '0'",
    ),
    "not Hermitian": (lambda: QNN(circuit(), [X(0) @ Y(0)]), CircuitError, "is not Hermitian"),
    "complex coefficient": (
        lambda: QNN(circuit(), [1j * Z(0)]),
        CircuitError,
        r"\(0\+1j\)\*Z0 is not Hermitian",
    ),
    "coefficient NaN": (lambda: np.nan * Z(0), CircuitError, "the coefficient nan is not finite"),
    "coefficient a string": (
        lambda: Z(0) + "a",
        CircuitError,
        "combines with numbers and observables, not 'a'",
    ),
    "coefficient a bool": (
        lambda: Z(0) * True,
        CircuitError,
        "combines with numbers and observables, not True",
    ),
    "product with a number": (lambda: Z(0) @ 2, CircuitError, "@ combines observables"),
    "no observable": (
        lambda: QNN(circuit(), ["Z0"]),
        CircuitError,
        r"observable: X, Y, Z.* not 'Z0'",
    ),
    "a string": (lambda: QNN(circuit(), "Z0"), CircuitError, "observable: X, Y, Z.* not 'Z'"),
    "none": (lambda: QNN(circuit(), []), InputError, "observables: at least one is needed"),
    "bit": (
        lambda: projector({0: 2}),
        CircuitError,
        "projector: the bit of qubit 0 must be 0 or 1, not 2",
    ),
    "bits empty": (lambda: projector({}), CircuitError, "projector: at least one qubit"),
    "density of none": (
        lambda: density_matrix([]),
        CircuitError,
        r"density_matrix: 1 to 8 different qubits, not \(\)",
    ),
    "density repeated": (
        lambda: density_matrix([1, 1]),
        CircuitError,
        "density_matrix: 1 to 8 different qubits",
    ),
    "density of nine": (
        lambda: density_matrix(range(9)),
        CircuitError,
        "density_matrix: 1 to 8 different qubits",
    ),
    "dense not Hermitian": (
        lambda: dense.expectation(circuit(), 1j * I()),
        CircuitError,
        "not Hermitian",
    ),
}

MODELS: dict[str, Case] = {
    "no circuit": (lambda: QNN([], [Z(0)]), InputError, "circuits: a Circuit or a sequence"),
    "a string": (
        lambda: QNN("c", [Z(0)]),
        InputError,
        "circuits: a Circuit or a sequence .* not 'c'",
    ),
    "dtype": (
        lambda: model(dtype="float16"),
        InputError,
        r"dtype: one of \('float32', 'float64'\) expected, not 'float16'",
    ),
    "backend": (
        lambda: model(backend="gpu9"),
        BackendError,
        "backend: one of .* expected, not 'gpu9'",
    ),
    "search": (
        lambda: model(search="best"),
        PlanError,
        r"search: one of \(.*'fast'.*\) or a path expected, not 'best'",
    ),
    "memory zero": (lambda: model(memory=0), InputError, "memory: bytes .*, or a share .* not 0"),
    "memory negative": (
        lambda: model(memory=-1e9),
        InputError,
        "memory: bytes .*, or a share .* not -1000000000",
    ),
    "memory NaN": (
        lambda: model(memory=np.nan),
        InputError,
        "memory: bytes .*, or a share .* not nan",
    ),
    "memory infinite": (lambda: model(memory=np.inf), InputError, "memory: bytes .* not inf"),
    "memory a string": (lambda: model(memory="1GB"), InputError, "memory: bytes .* not '1GB'"),
    "memory a bool": (lambda: model(memory=True), InputError, "memory: bytes .* not True"),
    "memory of some bytes": (lambda: model(memory=100), InputError, "memory: bytes .* not 100"),
    "memory too small": (
        lambda: model(memory=1000)(*GOOD),
        MemoryBudgetError,
        "memory: the budget .* 1,000 bytes",
    ),
    "threads a bool": (lambda: model(threads=True), BackendError, "threads: .* not True"),
    "sets a bool": (lambda: model(sets=True), InputError, "sets: .* not True"),
    "observables a number": (lambda: QNN(circuit(), 5), InputError, "observables: .* not 5"),
    "circuits a number": (lambda: QNN(5, [Z(0)]), InputError, "circuits: .* not 5"),
    "weight text in a mapping": (
        lambda: model()({"a": "x", "b": 1}, GOOD[1]),
        InputError,
        "weights: an array of real numbers expected",
    ),
    "weights complex": (
        lambda: model()(np.array([1j, 0]), GOOD[1]),
        InputError,
        "weights: an array of real numbers expected, not of complex128",
    ),
    "X complex": (
        lambda: model()([0.1, 0.2], np.array([[1j, 0]])),
        InputError,
        "X: an array of real numbers expected, not of complex128",
    ),
    "threads": (lambda: model(threads=0), BackendError, "threads: an integer >= 1 expected, not 0"),
    "sets": (lambda: model(sets=0), InputError, "sets: an integer >= 1 expected, not 0"),
    "samples": (
        lambda: model(samples=1.5),
        InputError,
        r"samples: an integer >= 1 expected, not 1\.5",
    ),
    "X missing": (
        lambda: model()([0.1, 0.2]),
        InputError,
        r"X: the circuit uses 2 features; pass data .*\(samples, 2\)",
    ),
    "X of one axis": (
        lambda: model()([0.1, 0.2], [0.3, 0.4]),
        InputError,
        r"X: shape \(samples >= 1, 2\) expected, not \(2,\)",
    ),
    "X too narrow": (lambda: model()([0.1, 0.2], [[0.3]]), InputError, r"X: shape .* not \(1, 1\)"),
    "X empty": (
        lambda: model()([0.1, 0.2], np.zeros((0, 2))),
        InputError,
        r"X: shape .* not \(0, 2\)",
    ),
    "X NaN": (
        lambda: model()([0.1, 0.2], [[0.1, 0.2], [0.3, np.nan]]),
        InputError,
        r"X: NaN or infinite at position \(1, 1\)",
    ),
    "X infinite": (
        lambda: model()([0.1, 0.2], [[np.inf, 0.2]]),
        InputError,
        r"X: NaN or infinite at position \(0, 0\)",
    ),
    "X text": (
        lambda: model()([0.1, 0.2], [["a", "b"]]),
        InputError,
        "X: an array of .*numbers expected",
    ),
    "X ragged": (
        lambda: model()([0.1, 0.2], [[0.1, 0.2], [0.1]]),
        InputError,
        "X: an array of .*numbers expected",
    ),
    "weights missing": (lambda: model()(None, GOOD[1]), InputError, "weights: no value for 'a'"),
    "weight missing": (lambda: model()({"b": 1}, GOOD[1]), InputError, "weights: no value for 'a'"),
    "weight unknown": (
        lambda: model()({"a": 1, "b": 1, "c": 1}, GOOD[1]),
        InputError,
        "weights: the model has no weight named 'c'",
    ),
    "weights too few": (
        lambda: model()([0.1], GOOD[1]),
        InputError,
        r"weights: shape \(2,\), \(sets, 2\) or .* not \(1,\)",
    ),
    "weights a number": (lambda: model()(0.1, GOOD[1]), InputError, r"weights: shape .* not \(\)"),
    "weights of four axes": (
        lambda: model()(np.zeros((1, 1, 1, 2)), GOOD[1]),
        InputError,
        r"weights: shape .* not \(1, 1, 1, 2\)",
    ),
    "no weight sets": (
        lambda: model()(np.zeros((0, 2)), GOOD[1]),
        InputError,
        r"weights: shape .* not \(0, 2\)",
    ),
    "weights NaN": (
        lambda: model()([np.nan, 0.1], GOOD[1]),
        InputError,
        r"weights: NaN or infinite at position \(0,\)",
    ),
    "weights text": (
        lambda: model()(["x", "y"], GOOD[1]),
        InputError,
        "weights: an array of .*numbers expected",
    ),
    "weights of other samples": (
        lambda: model()(np.zeros((1, 3, 2)), GOOD[1]),
        InputError,
        "weights: 3 samples in the weights, 1 in X",
    ),
    "expectation unbound": (
        lambda: expectation(circuit(), Z(0), {"a": 1.0}, [0, 0]),
        InputError,
        "no value for 'b'",
    ),
}

#: Known gaps: what escapes as an error of Python or passes in silence.
SHAPES: dict[str, Case] = {
    "weights a NaN": (lambda: model()(np.nan, GOOD[1]), InputError, "weights"),
    "matrix ragged": (lambda: Circuit(2).unitary([[1, 0], [0]], [0]), CircuitError, "unitary"),
    "density of a number": (lambda: density_matrix(0), CircuitError, "density_matrix"),
    "projector of a list": (lambda: projector([0, 1]), CircuitError, "projector"),
}


def check(case: Case) -> None:
    action, kind, message = case
    with pytest.raises(kind, match=message) as caught:
        action()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OBSERVABLES)
def test_bad_observables(name: str) -> None:
    check(OBSERVABLES[name])


@pytest.mark.parametrize("name", MODELS)
def test_bad_arguments_of_models(name: str) -> None:
    check(MODELS[name])


@pytest.mark.parametrize("name", SHAPES)
def test_bad_shapes(name: str) -> None:
    check(SHAPES[name])


def test_every_error_of_a_value_is_a_value_error() -> None:
    """So that code which knows nothing of us can catch it."""
    with pytest.raises(ValueError, match="X: "):
        model()([0.1, 0.2])
    assert issubclass(CircuitError, InputError)


def test_a_refused_call_leaves_the_model_usable() -> None:
    used = model()
    first = used(*GOOD)
    for wrong in ([[np.nan, 0]], [[0.1]], None):
        with pytest.raises(InputError):
            used(GOOD[0], wrong)
    np.testing.assert_array_equal(used(*GOOD), first)


def test_a_refused_gate_leaves_the_circuit_as_it_was() -> None:
    c = circuit()
    with pytest.raises(CircuitError):
        c.cx(0, 5)
    with pytest.raises(CircuitError):
        c.rx(np.nan, 0)
    assert c == circuit()


def test_numpy_numbers_are_numbers() -> None:
    c = (
        Circuit(np.int64(2))
        .rx(np.float32(0.5), np.int8(1))
        .ry(np.int64(1) * feature(np.uint8(0)), 0)
    )
    assert all(type(q) is int for op in c.operations for q in op.qubits)
    values = QNN(c, [np.float64(2) * Z(np.int64(1))], sets=np.int64(1).item())(
        None, np.float32([[0.25]])
    )
    assert values[0, 0] == pytest.approx(2 * np.cos(0.5), abs=1e-6)
