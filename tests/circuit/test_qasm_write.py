"""Circuits to OpenQASM and back."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import unitary_group

from tn_qnn.circuit.blocks import orthogonal
from tn_qnn.circuit.blocks import unitary as unitary_block
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.gates import GATES
from tn_qnn.circuit.qasm import from_qasm, to_qasm
from tn_qnn.circuit.qasm.library import BUILT_IN, LIBRARIES
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.dense import state
from tn_qnn.errors import QasmError

from .qasm_reference import same_up_to_phase, unitary

both = pytest.mark.parametrize("version", [2, 3])


@both
@pytest.mark.parametrize("gate", sorted(GATES))
def test_every_gate_comes_back_as_itself(gate: str, version: int) -> None:
    record = GATES[gate]
    params = np.random.default_rng(1).normal(size=len(record.parameters)).tolist()
    circuit = Circuit(6).append(gate, [5, 0, 3, 1, 2][: record.num_qubits], params)
    assert from_qasm(to_qasm(circuit, version)) == circuit


@both
@pytest.mark.parametrize("gate", sorted(GATES))
def test_the_definition_of_every_gate_is_its_matrix(gate: str, version: int) -> None:
    """Under another name, so that the reader does not recognise it."""
    record = GATES[gate]
    params = np.random.default_rng(1).normal(size=len(record.parameters)).tolist()
    text = to_qasm(
        Circuit(record.num_qubits).append(gate, range(record.num_qubits), params), version
    )
    if f"gate {gate}" not in text:
        assert gate in LIBRARIES["qelib1.inc" if version == 2 else "stdgates.inc"]
        return
    found = from_qasm(re.sub(rf"\b{gate}\b", f"my_{gate}", text))
    assert same_up_to_phase(unitary(found), record.matrix(params))


@both
@pytest.mark.parametrize("n", range(1, 9))
def test_multi_controlled_phases(n: int, version: int) -> None:
    circuit = Circuit(n).mcphase(0.3, *range(n))
    text = to_qasm(circuit, version)
    found = from_qasm(text)
    assert found == circuit if n > 2 else len(found) == 1
    decomposed = from_qasm(re.sub(r"mcphase", "my_phase", text)) if n < 6 else found
    if n < 7:
        assert same_up_to_phase(unitary(decomposed), unitary(circuit))


@both
def test_matrices_and_bound_blocks(version: int) -> None:
    rng = np.random.default_rng(2)
    circuit = Circuit(5).unitary(unitary_group.rvs(2, random_state=rng), [3])
    circuit.unitary(unitary_group.rvs(4, random_state=rng), [4, 1])
    circuit.block(orthogonal("O"), [0, 1, 2]).block(unitary_block("U"), [3, 1, 4, 0])
    bound = circuit.bind({name: float(rng.normal()) for name in circuit.weights})
    found = from_qasm(to_qasm(bound, version))
    assert same_up_to_phase(unitary(found), unitary(bound))


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    n = draw(st.integers(1, 5))
    circuit = Circuit(n)
    angle = st.floats(-10, 10) | st.floats(allow_nan=False, allow_infinity=False)
    for name in draw(st.lists(st.sampled_from(sorted(GATES)), max_size=12)):
        record = GATES[name]
        if record.num_qubits <= n:
            qubits = draw(st.permutations(range(n)))[: record.num_qubits]
            circuit.append(name, qubits, [draw(angle) for _ in record.parameters])
    return circuit


@both
@given(circuit=circuits())
def test_random_circuits_come_back_equal(version: int, circuit: Circuit) -> None:
    assert from_qasm(to_qasm(circuit, version)) == circuit


@given(
    coefficients=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
    name=st.text(min_size=1, max_size=40)
    | st.sampled_from(["a", "q", "x", "h", "pi", "sin", "input", "features", "U", "U[3]", "rzz"]),
)
def test_free_slots_come_back_equal(coefficients: list[float], name: str) -> None:
    p, q, r, s = coefficients
    circuit = Circuit(2).rx(p * weight(name) * feature(3) + q, 0)
    circuit.rzz(r * weight(name) * weight("a") - s * feature(0), 0, 1).h(1).rx(weight("w_x"), 0)
    assert from_qasm(to_qasm(circuit)) == circuit


def test_a_free_circuit_has_the_same_state() -> None:
    circuit = Circuit(2).rx(weight("a") * feature(1), 0).iswap(0, 1).fsim(weight("b"), 0.3, 1, 0)
    values, sample = {"a": 0.3, "b": -0.8}, [0.1, 0.7]
    found = state(from_qasm(to_qasm(circuit)), values, sample)
    np.testing.assert_allclose(found, state(circuit, values, sample), atol=1e-14)


@both
def test_names_that_are_written_are_those_of_the_library_or_defined(version: int) -> None:
    circuit = Circuit(5)
    for name, record in GATES.items():
        circuit.append(name, range(record.num_qubits), [0.1] * len(record.parameters))
    text = to_qasm(circuit, version)
    library = LIBRARIES["qelib1.inc" if version == 2 else "stdgates.inc"]
    known = set(library) | set(BUILT_IN[version]) | {"inv", "ctrl"}
    for line in text.splitlines()[2:]:
        match = re.fullmatch(r"gate (\w+).*?\{ (.*) \}", line)
        statements = match[2].split(";")[:-1] if match else [line.rstrip(";")]
        for statement in statements:
            word = re.match(r"\s*(\w+)", statement)
            assert word is not None
            assert word[1] in known | {"qreg", "qubit"}, line
        if match:
            known.add(match[1])


def test_large_and_small_numbers_follow_the_grammar_of_version_2() -> None:
    text = to_qasm(Circuit(1).rx(1e-30, 0).rx(1e22, 0).rx(-5e-324, 0), version=2)
    assert re.findall(r"\((.*?)\)", text) == ["1.0e-30", "1.0e+22", "-5.0e-324"]


def test_what_cannot_be_written() -> None:
    free = Circuit(1).rx(weight("a"), 0)
    with pytest.raises(QasmError, match=r"rx has no value.*bind\(\)"):
        to_qasm(free, version=2)
    with pytest.raises(QasmError, match=r"block 'B'.*bind\(\)"):
        to_qasm(Circuit(1).block(orthogonal("B"), [0]))
    with pytest.raises(QasmError, match="version: 2 or 3"):
        to_qasm(free, version=1)
    with pytest.raises(QasmError, match="circuit: a Circuit"):
        to_qasm("h q[0];")  # type: ignore[arg-type]


def test_a_wide_circuit() -> None:
    n = 2_000
    circuit = Circuit(n)
    for q in range(n - 1):
        circuit.ry(weight(f"w{q}"), q).cz(q, q + 1)
    assert from_qasm(to_qasm(circuit)) == circuit
