"""Observables: the Pauli algebra against matrices, packing of density matrices, printing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.circuit.factors import PAULI
from tn_qnn.circuit.observables import (
    I,
    PauliSum,
    X,
    Y,
    Z,
    density_matrix,
    pack_density,
    parity,
    projector,
    unpack_density,
)
from tn_qnn.errors import CircuitError

N = 3


def matrix(observable: PauliSum) -> np.ndarray:
    total = np.zeros((2**N, 2**N), dtype=complex)
    for string, coefficient in observable.terms:
        product = np.eye(1)
        axes = dict(string)
        for q in range(N):
            product = np.kron(product, PAULI[axes.get(q, "I")])
        total += coefficient * product
    return total


@st.composite
def sums(draw: st.DrawFn) -> PauliSum:
    total = PauliSum(())
    for _ in range(draw(st.integers(0, 3))):
        term = draw(st.integers(-3, 3)) * I()
        for q in range(N):
            letter = draw(st.sampled_from("IXYZ"))
            term = term @ {"I": I(), "X": X(q), "Y": Y(q), "Z": Z(q)}[letter]
        total = total + term
    return total


@given(sums(), sums(), st.integers(-3, 3))
def test_algebra(a: PauliSum, b: PauliSum, x: int) -> None:
    for got, want in (
        (a + b, matrix(a) + matrix(b)),
        (a - b, matrix(a) - matrix(b)),
        (a @ b, matrix(a) @ matrix(b)),
        (a * b, matrix(a) @ matrix(b)),
        (x * a, x * matrix(a)),
        (a * (x + 0.5j), (x + 0.5j) * matrix(a)),
        (x + a, x * np.eye(2**N) + matrix(a)),
        (x - a, x * np.eye(2**N) - matrix(a)),
        (-a, -matrix(a)),
    ):
        np.testing.assert_allclose(matrix(got), want, atol=1e-12)
        assert got.hermitian == np.allclose(want, want.conj().T)
        assert all(c != 0 for _, c in got.terms)
        assert got.terms == tuple(sorted(got.terms))


def test_equal_sums_are_equal() -> None:
    assert Z(0) @ X(1) == X(1) @ Z(0)
    assert X(0) @ Y(0) == 1j * Z(0)
    assert X(0) @ X(0) == I()
    assert hash(Z(1) + X(0)) == hash(X(0) + Z(1))
    assert sum([Z(0), Z(1)]) == Z(0) + Z(1)
    assert 0 * Z(0) == PauliSum(())


def test_qubits_and_hermitian() -> None:
    assert (Z(4) @ X(1) + Y(2)).qubits == (1, 2, 4)
    assert I().qubits == ()
    assert (2.5 * Z(0)).hermitian
    assert not (1j * Z(0)).hermitian
    assert not (X(0) @ Y(0)).hermitian
    assert (X(0) @ Y(0) @ Z(0) * -1j).hermitian


@pytest.mark.parametrize("number", [np.float64(0.5), np.int32(2), np.float32(0.25), 3])
def test_numpy_numbers_on_both_sides(number: float) -> None:
    for got in (number * Z(0), Z(0) * number):
        assert got == PauliSum(((((0, "Z"),), complex(number)),))
    assert number + Z(0) == Z(0) + number


def test_printing() -> None:
    assert str(Z(0) @ X(3) - 0.5 * Y(1) + 2 * I()) == "2*I + Z0*X3 - 0.5*Y1"
    assert str(PauliSum(())) == "0"
    assert str(1j * Z(0)) == "(0+1j)*Z0"
    assert str(projector({3: 1, 0: 0})) == "P(0=0,3=1)"
    assert str(density_matrix([2, 0])) == "rho(2,0)"


def test_projectors_are_sorted() -> None:
    assert projector({3: 1, 0: 0}).bits == ((0, 0), (3, 1))
    assert projector({3: 1, 0: 0}).qubits == (0, 3)
    assert projector({np.int64(1): np.int64(1)}) == projector({1: 1})


@given(st.integers(1, 3), st.integers(0, 100))
def test_density_matrices_pack_into_real_numbers(k: int, seed: int) -> None:
    d = 2**k
    rng = np.random.default_rng(seed)
    m = rng.normal(size=(2, 3, d, d)) + 1j * rng.normal(size=(2, 3, d, d))
    rho = m @ m.conj().swapaxes(-1, -2)
    packed = pack_density(rho)
    assert packed.shape == (2, 3, d * d)
    assert not np.iscomplexobj(packed)
    np.testing.assert_allclose(unpack_density(packed), rho, atol=1e-12)


def test_packing_is_the_documented_one() -> None:
    rho = np.array([[0.6, 0.1 - 0.2j], [0.1 + 0.2j, 0.4]])
    np.testing.assert_array_equal(pack_density(rho), [0.6, 0.1, 0.2, 0.4])


def test_parity_is_minus_one_to_the_number_of_ones() -> None:
    for qubits in ([0], [2, 0], [0, 1, 2]):
        signs = [(-1) ** sum(i >> (N - 1 - q) & 1 for q in qubits) for i in range(2**N)]
        np.testing.assert_array_equal(matrix(parity(qubits)), np.diag(signs))
    assert parity(range(200)).terms[0][0][-1] == (199, "Z")


@pytest.mark.parametrize(
    ("qubits", "message"),
    [([], "list of qubits"), ("01", "list of qubits"), (3, "list of qubits"),
     ([1, 1], "different qubits"), ([-1], "integer >= 0")],
)  # fmt: skip
def test_a_parity_of_no_qubits_is_refused(qubits: object, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        parity(qubits)  # type: ignore[arg-type]
