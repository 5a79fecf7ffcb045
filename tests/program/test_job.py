"""Jobs: where values go, and the matrices of tensor-valued weights."""

from typing import Any

import numpy as np
import pytest

from tn_qnn.circuit.blocks import block_matrices, orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Y, Z, density_matrix, unpack_density
from tn_qnn.circuit.slots import feature, weight
from tn_qnn.program.compile import compile_program
from tn_qnn.program.job import Job, Scatter, make_job
from tn_qnn.program.tensor_weights import block_slot_values

from ..circuits import batches, plan_for


def job_of(circuit: Circuit, observables: list) -> Job:  # type: ignore[type-arg]
    (batch,) = batches(circuit, observables)
    index = {name: k for k, name in enumerate(circuit.weights)}
    return make_job(compile_program(batch.network, plan_for(batch.network)), batch.cones, index)


def test_scatter_adds_coefficients_to_outputs() -> None:
    circuit = Circuit(2).ry(feature(0), 0).cx(0, 1).ry(weight("a"), 1).ry(0.1, 0).cx(0, 1)
    job = job_of(circuit, [X(0) @ Y(1), 2.0 * X(0) @ Y(1) - 3.0 * Y(0) @ X(1), Y(0) @ X(1)])
    values = np.array([[[[10.0, 20.0]]], [[[1.0, 2.0]]]])  # (terms, cones, P, S)
    out = np.zeros((3, 1, 2))
    job.scatter.add(values, out)
    np.testing.assert_array_equal(out[:, 0], [[10, 20], [17, 34], [1, 2]])


def test_scatter_puts_every_cone_in_its_place() -> None:
    circuit = Circuit(3).ry(feature(0), 0).ry(feature(1), 1).ry(feature(2), 2)
    job = job_of(circuit, [Z(2), Z(0) + Z(1), -1.0 * Z(1)])
    assert job.cones == 3
    values = np.array([[[[5.0]], [[7.0]], [[11.0]]]])
    order = [
        e.angle.features
        for c in batches(circuit, [Z(2), Z(0) + Z(1), -1.0 * Z(1)])[0].cones
        for e in c.elements
    ]
    of_qubit = {next(iter(f)): values[0, k, 0, 0] for k, f in enumerate(order)}
    out = np.zeros((3, 1, 1))
    job.scatter.add(values, out)
    want = [of_qubit[2], of_qubit[0] + of_qubit[1], -of_qubit[1]]
    np.testing.assert_array_equal(out[:, 0, 0], want)


def test_scatter_packs_density_matrices() -> None:
    circuit = Circuit(3).rx(feature(0), 0).rx(feature(1), 2)
    job = job_of(circuit, [density_matrix([0]), density_matrix([2])])
    rho = np.array([[0.75, 0.1 - 0.2j], [0.1 + 0.2j, 0.25]])
    values = np.stack([rho, rho.T], axis=-1).reshape(4, 2, 1, 1)
    out = np.zeros((8, 1, 1))
    job.scatter.add(values, out)
    np.testing.assert_array_equal(unpack_density(out[:4, 0, 0]), rho)
    np.testing.assert_array_equal(unpack_density(out[4:, 0, 0]), rho.T)


@pytest.mark.parametrize("per_sample", [False, True])
def test_matrices_of_blocks(per_sample: bool) -> None:
    circuit = Circuit(4).rx(weight("first"), 0)
    circuit.block(unitary("A"), [0, 1]).block(unitary("B"), [2, 3])
    job = job_of(circuit.rx(weight("last"), 2), [X(1), X(3)][:1])
    (table,) = job.blocks
    rng = np.random.default_rng(0)
    weights = rng.normal(
        size=(2, 3, len(circuit.weights)) if per_sample else (2, len(circuit.weights))
    )
    found = table.matrices(weights)
    assert found.shape == (1, 1, 2, 3 if per_sample else 1, 4, 4)
    columns = [circuit.weights.index(f"A[{i}]") for i in range(16)]
    want = block_matrices(weights[..., columns], 2, False)
    np.testing.assert_array_equal(found[0, 0], want if per_sample else want[:, None])


def test_slots_of_blocks_interleave_outputs_and_inputs() -> None:
    job = job_of(Circuit(2).h(0).h(1).block(orthogonal("U"), [0, 1]), [X(1)])
    entries = sorted(job.program.blocks, key=lambda b: b.conj)
    u = np.arange(16.0).reshape(1, 1, 1, 4, 4)
    flat = block_slot_values(entries[0], u)
    want = u.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(-1)
    np.testing.assert_array_equal(flat[:, 0, 0, 0], want)
    complex_u = u * (1 + 2j)
    np.testing.assert_array_equal(
        block_slot_values(entries[1], complex_u), block_slot_values(entries[0], complex_u).conj()
    )


def test_blocks_on_zeros_keep_a_column() -> None:
    job = job_of(Circuit(2).block(orthogonal("U"), [0, 1]), [X(1)])
    u = np.arange(16.0).reshape(1, 1, 1, 4, 4)
    flat = block_slot_values(job.program.blocks[0], u)
    np.testing.assert_array_equal(flat[:, 0, 0, 0], u[0, 0, 0, :, 0])


def test_addends_of_one_output_come_in_their_order() -> None:
    """As ``np.add.at`` adds them, to the bit, in either precision."""
    rng = np.random.default_rng(2)
    outputs, values = rng.integers(0, 7, 40), rng.integers(0, 12, 40)
    scatter = Scatter(outputs, values, rng.normal(size=40), ())
    for dtype in ("float32", "float64"):
        found = rng.normal(size=(4, 3, 2, 5)).astype(dtype)
        out, want = np.ones((7, 2, 5), dtype), np.ones((7, 2, 5), dtype)
        scatter.add(found, out)
        scale = scatter.coefficients.astype(dtype)[:, None, None]
        np.add.at(want, outputs, found.reshape(12, 2, 5)[values] * scale)
        np.testing.assert_array_equal(out, want)


# --- back: derivatives by the values


def test_scatter_back_is_the_adjoint_of_the_sums() -> None:
    rng = np.random.default_rng(4)
    outputs, values = rng.integers(0, 7, 40), rng.integers(0, 12, 40)
    scatter = Scatter(outputs, values, rng.normal(size=40), ())
    slopes, found = rng.normal(size=(7, 2, 5)), rng.normal(size=(4, 3, 2, 5))
    out = np.zeros((7, 2, 5))
    scatter.add(found, out)
    back = scatter.pull_back(slopes, 4, 3)
    assert back.shape == found.shape and back.dtype == float
    np.testing.assert_allclose((back * found).sum(), (slopes * out).sum())


@pytest.mark.parametrize("qubits", [1, 2])
def test_scatter_back_of_density_matrices(qubits: int) -> None:
    """``Re sum(derivative * change)`` for a change that is Hermitian, and itself so."""
    rng = np.random.default_rng(qubits)
    d, cones = 2**qubits, 2
    scatter = Scatter(np.zeros(0, int), np.zeros(0, int), np.zeros(0), (d * d, 0))
    raw = rng.normal(size=(d, d, cones, 3, 4)) + 1j * rng.normal(size=(d, d, cones, 3, 4))
    change = (raw + raw.swapaxes(0, 1).conj()).reshape(d * d, cones, 3, 4)
    out = np.zeros((2 * d * d, 3, 4))
    scatter.add(change, out)
    slopes = rng.normal(size=out.shape)
    back = scatter.pull_back(slopes, d * d, cones)
    np.testing.assert_allclose((back * change).real.sum(), (slopes * out).sum())
    matrix = back.reshape(d, d, cones, 3, 4)
    np.testing.assert_allclose(matrix, matrix.swapaxes(0, 1).conj())


def test_seeds_are_summed_over_labels_that_the_output_lacks() -> None:
    slopes = np.random.default_rng(0).normal(size=(2, 1, 5))
    wide = Circuit(4).ry(weight("a"), 0).cx(0, 1).ry(weight("b"), 2).cx(2, 3)
    no_data = job_of(wide, [Z(1), 2.0 * Z(3)])
    assert no_data.program.slots[no_data.program.output].labels == ("c", "p")
    np.testing.assert_allclose(
        no_data.seed(slopes)[0, :, 0, 0], [1.0, 2.0] * slopes[:, 0].sum(axis=-1)
    )
    alike = Circuit(4).ry(weight("a"), 0).rx(feature(0), 0).ry(weight("a"), 2).rx(feature(0), 2)
    same = job_of(alike, [Z(0), 2.0 * Z(2)])
    assert (same.cones, same.program.slots[same.program.output].labels) == (2, ("p", "s"))
    np.testing.assert_allclose(same.seed(slopes)[0, 0, 0], slopes[0, 0] + 2.0 * slopes[1, 0])


# --- on a device ----------------------------------------------------------------------------


def test_scatter_on_a_device(cupy: Any) -> None:
    rng = np.random.default_rng(3)
    circuit = Circuit(3).ry(feature(0), 0).cx(0, 1).ry(weight("a"), 1).ry(0.1, 0).cx(1, 2)
    sums = job_of(circuit, [X(0) @ Y(1), 2.0 * X(0) @ Y(1) - 3.0 * Y(0) @ X(1), Y(0) @ X(1)])
    pair = Circuit(3).rx(feature(0), 0).rx(feature(1), 2)
    states = job_of(pair, [density_matrix([0]), density_matrix([2])])
    for job, terms, outputs in ((sums, 2, 3), (states, 4, 8)):
        values = rng.normal(size=(terms, job.cones, 2, 3)) + 1j
        want = np.ones((outputs, 2, 3))
        job.scatter.add(values, want)
        sent = []
        for _ in range(2):
            out = cupy.ones((outputs, 2, 3))
            there = cupy.asarray(values)
            before = cupy._standin.machine.counters.to_device
            job.scatter.add(there, out)
            sent.append(cupy._standin.machine.counters.to_device - before)
            np.testing.assert_array_equal(out.get(), want)
        assert sent[1] == 0, "tables were sent twice"


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("make", [orthogonal, unitary])
def test_blocks_on_a_device(cupy: Any, make: Any, per_sample: bool) -> None:
    circuit = Circuit(4).h(0).h(1).block(make("A"), [0, 1]).rx(0.3, 1)
    job = job_of(circuit, [X(1)])
    (table,) = job.blocks
    weights = np.random.default_rng(0).normal(
        size=(2, 3, len(circuit.weights)) if per_sample else (2, len(circuit.weights))
    )
    there = cupy.asarray(weights)
    table.matrices(there)
    sent = cupy._standin.machine.counters.to_device
    for entry in job.program.blocks:
        found = block_slot_values(entry, table.matrices(there))
        assert isinstance(found, cupy.ndarray)
        np.testing.assert_allclose(
            found.get(), block_slot_values(entry, table.matrices(weights)), atol=1e-14
        )
    assert cupy._standin.machine.counters.to_device == sent, "tables were sent twice"
