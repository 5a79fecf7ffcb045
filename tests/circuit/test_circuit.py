"""Circuits: building, composing, inverting, binding, comparing; and what they refuse."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tn_qnn import dense
from tn_qnn.circuit.blocks import orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import ALIASES, GATES, embed
from tn_qnn.circuit.slots import as_expr, feature, weight
from tn_qnn.errors import CircuitError, InputError, TnQnnError

from ..circuits import random_circuit, random_unitary

VALUES = {f"w{k}": 0.3 * k - 0.5 for k in range(4)}
FEATURES = (0.4, -1.1, 0.7)


def random_values(circuit: Circuit, seed: int = 0) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return {name: float(rng.normal()) for name in circuit.weights}


def matrix_of(circuit: Circuit, weights: dict[str, float]) -> np.ndarray:
    total = np.eye(2**circuit.num_qubits, dtype=complex)
    for op in circuit.operations:
        total = embed(op.matrix(weights, FEATURES), op.qubits, circuit.num_qubits) @ total
    return total


def test_every_gate_has_a_method_of_its_name() -> None:
    rng = np.random.default_rng(0)
    for name in [*GATES, *ALIASES]:
        gate = GATES[ALIASES.get(name, name)]
        angles = rng.normal(size=len(gate.parameters)).tolist()
        qubits = rng.permutation(5)[: gate.num_qubits].tolist()
        by_method = getattr(Circuit(5), name)(*angles, *qubits)
        by_name = Circuit(5).append(name, qubits, angles)
        assert by_method == by_name
        (op,) = by_method.operations
        assert (op.gate, op.qubits) == (gate.name, tuple(qubits))
        assert [p.constant_value for p in op.params] == angles
        assert name in dir(by_method)


def test_unknown_methods_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no gate or attribute 'foo'"):
        Circuit(1).foo(0)
    assert not hasattr(Circuit(1), "__array__")


def test_length_depth_counts() -> None:
    c = Circuit(4).h(0).h(1).cx(0, 1).rz(0.1, 3).cx(1, 2).rz(0.2, 3)
    assert (len(c), c.depth()) == (6, 3)
    assert c.counts() == {"h": 2, "cx": 2, "rz": 2}
    assert (len(Circuit(2)), Circuit(2).depth(), Circuit(2).counts()) == (0, 0, {})
    assert "4 qubits, 6 gates, depth 3, 0 weights, 0 features" in repr(c)


def test_weights_in_the_order_of_their_first_use() -> None:
    c = Circuit(2).rx(weight("b") * weight("a"), 0).rx(weight("c") + weight("b"), 0)
    c.block(orthogonal("U"), [0, 1]).rx(feature(6), 1)
    assert set(c.weights[:2]) == {"a", "b"}
    assert c.weights[2:] == ("c", *(f"U[{i}]" for i in range(6)))
    assert (c.num_features, Circuit(1).num_features) == (7, 0)


def test_equality() -> None:
    def make() -> Circuit:
        return Circuit(2).rx(weight("a") + 0.5, 0).unitary(np.eye(2), [1]).block(unitary("V"), [1])

    assert make() == make()
    assert make() != make().h(0)
    assert Circuit(2) != Circuit(3)
    assert Circuit(1).rx(0.1, 0) != Circuit(1).rx(0.2, 0)
    assert Circuit(1).rx(weight("a"), 0) != Circuit(1).rx(weight("b"), 0)
    assert Circuit(1) != "Circuit(1)"
    with pytest.raises(TypeError):
        hash(make())


def test_compose_places_qubits() -> None:
    inner = Circuit(2).cx(0, 1).rx(0.3, 0)
    outer = Circuit(4).h(3)
    both = outer.compose(inner, [3, 1])
    assert both == Circuit(4).h(3).cx(3, 1).rx(0.3, 3)
    assert outer == Circuit(4).h(3)
    assert Circuit(2).compose(inner) == inner
    assert outer.compose(inner) == Circuit(4).h(3).cx(0, 1).rx(0.3, 0)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_inverse_undoes_any_circuit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 4, 12, specials=0)
    circuit.mcphase(weight("w1"), 0, 2, 3).unitary(random_unitary(rng, 4), [3, 1])
    u = matrix_of(circuit.compose(circuit.inverse()), VALUES)
    np.testing.assert_allclose(u, np.eye(16) * u[0, 0], atol=1e-12)
    assert abs(u[0, 0]) == pytest.approx(1)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_bound_circuits_do_the_same(seed: int) -> None:
    """At once, in parts and in any order."""
    circuit = random_circuit(np.random.default_rng(seed), 4, 12)
    values = random_values(circuit)
    want = matrix_of(circuit, values)
    whole = circuit.bind(values, FEATURES)
    assert whole.weights == () and whole.num_features == 0
    np.testing.assert_allclose(matrix_of(whole, {}), want, atol=1e-12)
    parts = circuit.bind(features={1: FEATURES[1]}).bind(values).bind(features=FEATURES)
    assert parts.weights == () and parts.num_features == 0
    np.testing.assert_allclose(matrix_of(parts, {}), want, atol=1e-12)


def test_binding_leaves_the_rest_free() -> None:
    c = Circuit(1).rx(weight("a") * feature(0) + weight("b"), 0)
    half = c.bind({"a": 2.0})
    assert half == Circuit(1).rx(2.0 * feature(0) + weight("b"), 0)
    assert c.weights == ("a", "b") or c.weights == ("b", "a")


def test_features_to_bind_may_be_an_array() -> None:
    c = Circuit(1).rx(feature(0) + feature(1), 0)
    assert c.bind(features=np.array([0.25, 0.5])) == Circuit(1).rx(0.75, 0)


def test_bound_blocks_can_be_inverted() -> None:
    c = Circuit(4).block(unitary("V"), [2, 0, 1]).block(orthogonal("U"), [3])
    bound = c.bind(random_values(c))
    u = matrix_of(bound.compose(bound.inverse()), {})
    np.testing.assert_allclose(u, np.eye(16), atol=1e-12)


def test_unitaries_are_kept_to_the_bit() -> None:
    u = random_unitary(np.random.default_rng(0), 4)
    (op,) = Circuit(3).unitary(u, [2, 0]).operations
    np.testing.assert_array_equal(op.array, u)
    assert Circuit(3).unitary(u.tolist(), [2, 0]).operations == (op,)


def test_unitaries_of_three_and_four_qubits() -> None:
    for k in (3, 4):
        u = random_unitary(np.random.default_rng(k), 2**k)
        circuit = Circuit(k).unitary(u, range(k))
        np.testing.assert_allclose(matrix_of(circuit, {}), u, atol=1e-14)
        np.testing.assert_allclose(matrix_of(circuit.inverse(), {}), u.conj().T, atol=1e-14)


def test_a_circuit_may_be_drawn_from_its_method() -> None:
    assert "h" in Circuit(1).h(0).draw().lower()


# --- what is refused


def circuit() -> Circuit:
    c = Circuit(2).ry(feature(0), 0).ry(feature(1), 1).cx(0, 1)
    return c.rx(weight("a"), 0).ry(weight("b"), 1)


Case = tuple[Callable[[], object], type[TnQnnError], str]

CIRCUITS: dict[str, Case] = {
    "no qubits": (lambda: Circuit(0), CircuitError, r"num_qubits: 1 to \d+ were expected, not 0"),
    "half a qubit": (lambda: Circuit(1.5), CircuitError, r"num_qubits: an integer .* not 1\.5"),
    "True qubits": (lambda: Circuit(True), CircuitError, r"num_qubits: an integer .* not True"),
    "too many qubits": (lambda: Circuit(10**9), CircuitError, r"num_qubits: .* not 1000000000"),
    "qubit out of range": (
        lambda: Circuit(2).h(2),
        CircuitError,
        r"h: qubit 2 is out of range.* 0 to 1",
    ),
    "qubit negative": (lambda: Circuit(2).h(-1), CircuitError, r"h: qubit -1 is out of range"),
    "qubit repeated": (
        lambda: Circuit(2).cx(1, 1),
        CircuitError,
        r"cx: a qubit is repeated in \(1, 1\)",
    ),
    "qubit a bool": (
        lambda: Circuit(2).h(True),
        CircuitError,
        r"h: a qubit must be an integer, not True",
    ),
    "qubit a string": (
        lambda: Circuit(2).h("0"),
        CircuitError,
        r"h: a qubit must be an integer, not '0'",
    ),
    "qubit a float": (
        lambda: Circuit(2).h(0.0),
        CircuitError,
        r"h: a qubit must be an integer, not 0\.0",
    ),
    "unknown gate": (
        lambda: Circuit(2).append("foo", [0]),
        CircuitError,
        r"unknown gate 'foo'; known: .*cx",
    ),
    "too few qubits": (
        lambda: Circuit(2).cx(0),
        CircuitError,
        r"cx: expected 0 angles .* 2 qubits, got 0 and 1",
    ),
    "too many angles": (
        lambda: Circuit(2).append("rx", [0], [1, 2]),
        CircuitError,
        r"rx: expected 1 angles",
    ),
    "angle missing": (
        lambda: Circuit(2).rx(0),
        CircuitError,
        r"rx: expected 1 angles .* got 1 and 0",
    ),
    "angle NaN": (
        lambda: Circuit(2).rx(np.nan, 0),
        CircuitError,
        "an angle must be finite, not nan",
    ),
    "angle infinite": (
        lambda: Circuit(2).rx(-np.inf, 0),
        CircuitError,
        "an angle must be finite, not -inf",
    ),
    "angle a string": (
        lambda: Circuit(2).rx("a", 0),
        CircuitError,
        "an angle must be a number or .* not 'a'",
    ),
    "angle a bool": (
        lambda: Circuit(2).rx(True, 0),
        CircuitError,
        "an angle must be a number or .* not True",
    ),
    "angle complex": (
        lambda: Circuit(2).rx(1j, 0),
        CircuitError,
        "an angle must be a number or .* not 1j",
    ),
    "angle an array": (
        lambda: Circuit(2).rx(np.ones(2), 0),
        CircuitError,
        "an angle must be a number or",
    ),
    "matrix not unitary": (
        lambda: Circuit(2).unitary(np.ones((2, 2)), [0]),
        CircuitError,
        "unitary: the matrix is not unitary",
    ),
    "matrix NaN": (
        lambda: Circuit(2).unitary(np.full((2, 2), np.nan), [0]),
        CircuitError,
        "not unitary",
    ),
    "matrix shape": (
        lambda: Circuit(2).unitary(np.eye(4), [0]),
        CircuitError,
        r"unitary: .* not \(4, 4\) on 1",
    ),
    "matrix on seven": (
        lambda: Circuit(7).unitary(np.eye(128), range(7)),
        CircuitError,
        "unitary: a .* on 7",
    ),
    "block no block": (
        lambda: Circuit(2).block("U", [0]),
        CircuitError,
        r"block: orthogonal\(name\) .* not 'U'",
    ),
    "block on seven": (
        lambda: Circuit(7).block(unitary("U"), range(7)),
        CircuitError,
        "block: 1 to 6 qubits, not 7",
    ),
    "block unnamed": (lambda: orthogonal(""), CircuitError, "block name: a non-empty string"),
    "block with index": (lambda: unitary("U[0]"), CircuitError, r"block name: .* not 'U\[0\]'"),
    "mcphase on nine": (
        lambda: Circuit(9).mcphase(0.1, *range(9)),
        CircuitError,
        "mcphase: 1 to 8 qubits, not 9",
    ),
    "mcphase on none": (
        lambda: Circuit(9).mcphase(0.1),
        CircuitError,
        "mcphase: 1 to 8 qubits, not 0",
    ),
    "feature negative": (lambda: feature(-1), CircuitError, r"feature\(index\): .* not -1"),
    "feature a bool": (lambda: feature(True), CircuitError, r"feature\(index\): .* not True"),
    "weight empty": (lambda: weight(""), CircuitError, r"weight\(name\): .* not ''"),
    "weight a number": (lambda: weight(3), CircuitError, r"weight\(name\): .* not 3"),
    "degree": (
        lambda: feature(0) * feature(0) * feature(0) * feature(0) * feature(0),
        CircuitError,
        "degree 4 at most",
    ),
    "division": (lambda: 1.0 * feature(0) / feature(1), CircuitError, "divided by a number only"),
    "division by zero": (lambda: feature(0) / 0, CircuitError, "cannot be divided by zero"),
    "places": (
        lambda: Circuit(3).compose(Circuit(2), [0]),
        CircuitError,
        "compose: 2 qubits to place, 1 places given",
    ),
    "place repeated": (
        lambda: Circuit(3).compose(Circuit(2), [1, 1]),
        CircuitError,
        "compose: a qubit is repeated",
    ),
    "composed too wide": (
        lambda: Circuit(1).compose(Circuit(2)),
        CircuitError,
        "compose: qubit 1 is out of range",
    ),
    "bind an unknown weight": (
        lambda: circuit().bind({"c": 1}),
        CircuitError,
        "bind: the circuit has no weight named 'c'",
    ),
    "bind NaN": (lambda: circuit().bind({"a": np.nan}), CircuitError, "must be finite"),
    "inverse of a free block": (
        lambda: Circuit(1).block(unitary("U"), [0]).inverse(),
        CircuitError,
        r"'U' cannot be inverted .* bind\(\)",
    ),
    "weight without a value": (
        lambda: dense.state(circuit(), {"a": 1}, [1, 2]),
        CircuitError,
        "weights: no value for 'b'",
    ),
    "too few features": (
        lambda: dense.state(circuit(), {"a": 1, "b": 1}, [1]),
        CircuitError,
        r"features: 1 given, .* feature\(1\)",
    ),
    "dense too wide": (
        lambda: dense.state(Circuit(21)),
        InputError,
        "dense state of 21 qubits is over 20",
    ),
    "too many terms": (
        lambda: sum((feature(i) for i in range(65)), as_expr(0)),
        CircuitError,
        "64 terms at most, not 65",
    ),
    "qubits a number": (lambda: Circuit(2).append("h", 0), CircuitError, "h: "),
    "compose no circuit": (lambda: Circuit(2).compose("h"), CircuitError, "compose"),
    "overflow of an angle": (lambda: feature(0) * 1e200 * 1e200, CircuitError, "finite|exceeds"),
    "part of a block bound": (
        lambda: Circuit(1).block(unitary("U"), [0]).bind({"U[0]": 1.0}),
        CircuitError,
        "U",
    ),
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_bad_circuits(name: str) -> None:
    action, kind, message = CIRCUITS[name]
    with pytest.raises(kind, match=message) as caught:
        action()
    assert "\n" not in str(caught.value)


def test_a_refused_gate_leaves_the_circuit_as_it_was() -> None:
    c = circuit()
    with pytest.raises(CircuitError):
        c.cx(0, 5)
    with pytest.raises(CircuitError):
        c.rx(np.nan, 0)
    assert c == circuit()
