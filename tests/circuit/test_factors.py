"""Factors: hyper-edges, Pauli axes and symmetries, each against matrices."""

import numpy as np
import pytest

from tn_qnn.circuit import factors as fa
from tn_qnn.circuit.factors import PAULI, Factor
from tn_qnn.circuit.gates import GATES, embed

from ..circuits import random_unitary

FACTORS = {
    f"{name}.{k}": factor
    for name, gate in sorted(GATES.items())
    for k, factor in enumerate(gate.factors)
}


def some_matrix(factor: Factor) -> np.ndarray:
    return factor.matrix([0.73, -1.21, 2.37, 0.57])


@pytest.mark.parametrize("name", FACTORS)
def test_axes_are_those_it_commutes_with(name: str) -> None:
    factor = FACTORS[name]
    n, u = len(factor.qubits), some_matrix(factor)
    for k in range(n):
        commuting = []
        for axis in "XYZ":
            pauli = embed(PAULI[axis], (k,), n)
            if np.allclose(pauli @ u, u @ pauli, atol=1e-12):
                commuting.append(axis)
        assert factor.diagonal[k] == ("Z" in commuting)
        assert (factor.axes[k] in commuting) if commuting else (factor.axes[k] is None)


@pytest.mark.parametrize("name", FACTORS)
def test_tensor_holds_the_matrix(name: str) -> None:
    """One index for a hyper-edge, else out and in."""
    factor = FACTORS[name]
    n = len(factor.qubits)
    f = factor.frequency
    angle = f * [0.73, -1.21, 2.37, 0.57][factor.parameter or 0]
    trig = [1.0] if factor.parameter is None else [1.0, np.cos(angle), np.sin(angle)]
    assert len(trig) == len(factor.basis) == len(factor.tensor)
    values = np.tensordot(trig, factor.tensor, axes=1)
    assert values.ndim == sum(1 if d else 2 for d in factor.diagonal)
    labels: list[int] = []
    for k, d in enumerate(factor.diagonal):
        labels += [k] if d else [k, n + k]
    ins = [k if d else n + k for k, d in enumerate(factor.diagonal)]
    identity = [np.eye(2) for d in factor.diagonal if d]
    arguments: list[object] = [values, labels]
    outs = list(range(n))
    for k, d in enumerate(factor.diagonal):
        if d:
            arguments += [identity.pop(), [k, 2 * n + k]]
            ins[k] = 2 * n + k
    dense = np.einsum(*arguments, [*outs, *ins]).reshape(2**n, 2**n)
    np.testing.assert_allclose(dense, some_matrix(factor), atol=1e-14)


@pytest.mark.parametrize("name", FACTORS)
def test_symmetric_and_real(name: str) -> None:
    factor = FACTORS[name]
    u = some_matrix(factor)
    if len(factor.qubits) == 2:
        swap = GATES["swap"].matrix()
        assert factor.symmetric == np.allclose(swap @ u @ swap, u)
    else:
        assert not factor.symmetric
    assert factor.real == (not np.any(factor.coefficients.imag))


@pytest.mark.parametrize("name", ["h", "s", "sdg", "sx", "x", "y", "z", "t", "id"])
def test_axis_maps(name: str) -> None:
    (factor,) = GATES[name].factors
    u = GATES[name].matrix()
    for axis in "XYZ":
        image = u.conj().T @ PAULI[axis] @ u
        same = [b for b in "XYZ" if np.allclose(image, PAULI[b]) or np.allclose(image, -PAULI[b])]
        assert [factor.axis_map[axis]] * bool(same) == same if same else axis not in factor.axis_map


def test_axis_maps_of_anything_else_are_empty() -> None:
    assert GATES["rx"].factors[0].axis_map == {}
    assert GATES["cx"].factors[0].axis_map == {}
    generic = fa.constant(random_unitary(np.random.default_rng(0), 2), [0])
    assert generic.axis_map == {}
    assert generic.axes == (None,)


def test_keys_tell_tensors_apart() -> None:
    keys = {name: factor.key for name, factor in FACTORS.items()}
    assert keys["cx.0"] == keys["cx.0"] != keys["cy.0"]
    assert keys["rz.0"] != keys["p.0"]
    assert fa.rotation(PAULI["X"], [0]).key == GATES["rx"].factors[0].key
    assert (
        fa.rotation(PAULI["X"], [0], 2).key == GATES["rx"].factors[0].key
    )  # which angle is no part


def test_control_moves_qubits_up() -> None:
    factor = fa.control(fa.phase(2, [0, 1], 3))
    assert factor.qubits == (0, 1, 2)
    assert factor.diagonal == (True, True, True)
    np.testing.assert_allclose(
        factor.matrix([0, 0, 0, 0.4]), np.diag([1] * 7 + [np.exp(0.4j)]), atol=1e-15
    )
    assert not factor.derivative([0, 0, 0, 0.4])[:7, :7].any()


def test_a_constant_does_not_turn() -> None:
    factor = fa.constant(PAULI["X"], [0])
    assert factor.frequencies == ()
    assert not factor.derivative([]).any()
