"""Tables of tensor-valued weights: their matrices, and derivatives against differences."""

import itertools
from typing import Any

import numpy as np
import pytest

from tn_qnn.circuit.blocks import block_matrices, orthogonal, unitary
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.observables import X, Z
from tn_qnn.circuit.slots import feature
from tn_qnn.program.compile import compile_program
from tn_qnn.program.program import BlockInput, Slot
from tn_qnn.program.tensor_weights import (
    BlockTable,
    block_groups,
    block_slot_cotangent,
    block_slot_values,
    block_tables,
    unsliced,
)

from ..circuits import batches, plan_for

KINDS = list(itertools.product((orthogonal, unitary), ("exponential", "entries"), (1, 2)))


def table_of(make: Any, chart: str, qubits: int, frozen: int = 0) -> tuple[BlockTable, int]:
    """Three elements in two cones: the first two share the weights of one cone."""
    block = make("B", chart)
    count = block.num_weights(qubits)
    own: list[Any] = list(range(2 * count))
    if count > 1:
        own[:frozen] = [0.3 + k for k in range(frozen)]
    columns = {
        0: [own[:count], own[count:]],
        3: [own[:count], own[:count]],
        5: [own[count:], [2 * count + k for k in range(count)]],
    }
    entries = [
        BlockInput(k, e, k % 2 == 1, (False,) * 2 * qubits) for k, e in enumerate((0, 0, 3, 5))
    ]
    (table,) = block_tables(entries, columns, dict.fromkeys(columns, (qubits, block)))
    assert table.elements == (0, 3, 5)
    return table, 3 * count


def random(rng: np.random.Generator, shape: tuple[int, ...], real: bool) -> np.ndarray:
    return rng.normal(size=shape) + (0 if real else 1j * rng.normal(size=shape))


@pytest.mark.parametrize(("make", "chart", "qubits"), KINDS)
def test_matrices_by_element_and_cone(make: Any, chart: str, qubits: int) -> None:
    table, width = table_of(make, chart, qubits, frozen=1)
    weights = np.random.default_rng(0).normal(size=(2, width))
    found = table.matrices(weights)
    d = 2**qubits
    assert found.shape == (3, 2, 2, 1, d, d)
    for e, cone, p in np.ndindex(3, 2, 2):
        at, held = table.columns[e, cone], table.values[e, cone]
        coordinates = np.where(at < 0, held, weights[p, at])
        want = block_matrices(coordinates, qubits, make is orthogonal, chart)  # type: ignore[arg-type]
        np.testing.assert_allclose(found[e, cone, p, 0], want, atol=1e-12)
    few = make("B", chart).num_weights(qubits) == 1
    assert (table.columns == -1).sum() == (0 if few else 3)  # one coordinate, in three places


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize(("make", "chart", "qubits"), KINDS)
def test_derivatives_against_differences(make: Any, chart: str, qubits: int, frozen: int) -> None:
    table, width = table_of(make, chart, qubits, frozen)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, width))
    d = 2**qubits
    cotangents = random(rng, (3, 2, 2, 1, d, d), make is orthogonal)
    before = rng.normal(size=(2, width))
    gradient = before.copy()
    table.pull_back(cotangents, weights, gradient)
    step = 1e-5
    for i in range(width):
        moved = step * (np.arange(width) == i)
        change = table.matrices(weights + moved) - table.matrices(weights - moved)
        want = (cotangents * change).real.sum(axis=(0, 1, 3, 4, 5)) / (2 * step)
        np.testing.assert_allclose(gradient[:, i] - before[:, i], want, rtol=1e-5, atol=1e-7)


def test_all_frozen() -> None:
    block = unitary("B")
    values = [[0.1, 0.2, 0.3, 0.4]]
    entry = BlockInput(0, 2, False, (False, False))
    (table,) = block_tables([entry], {2: values}, {2: (1, block)})
    assert table.frozen
    found = table.matrices(np.zeros((3, 7)))
    np.testing.assert_allclose(found[0, 0, 0, 0], block_matrices(np.array(values[0]), 1, False))


def test_kinds_charts_sizes_and_frozen_ones_are_apart() -> None:
    blocks = [(1, unitary("A")), (1, unitary("B", "entries")), (1, orthogonal("C")),
              (2, orthogonal("D")), (1, unitary("E")), (1, unitary("F"))]  # fmt: skip
    columns: dict[int, list[list[float]]] = {
        k: [list(range(block.num_weights(n)))] for k, (n, block) in enumerate(blocks)
    }
    columns[5] = [[0.5] * 4]
    entries = [BlockInput(k, k, False, (False,) * 2 * n) for k, (n, _) in enumerate(blocks)]
    tables = block_tables(entries, columns, dict(enumerate(blocks)))
    assert [t.elements for t in tables] == [(0, 4), (1,), (2,), (3,), (5,)]
    assert [t.frozen for t in tables] == [False] * 4 + [True]


FIXED = [
    f for k in (1, 2) for f in itertools.product((False, True), repeat=2 * k) if not any(f[::2])
]


@pytest.mark.parametrize("fixed", FIXED)
def test_cotangents_of_a_slot_are_the_adjoint_of_its_values(fixed: tuple[bool, ...]) -> None:
    rng, d = np.random.default_rng(0), 2 ** (len(fixed) // 2)
    entry = BlockInput(0, 0, False, fixed)
    matrices = random(rng, (2, 3, 1, d, d), False)
    values = block_slot_values(entry, matrices)
    environment = random(rng, values.shape, False)
    cotangent = block_slot_cotangent(entry, environment)
    assert cotangent.shape == matrices.shape
    np.testing.assert_allclose((cotangent * matrices).sum(), (environment * values).sum())


@pytest.mark.parametrize("fixed", [{}, {9: 1}, {7: 0}, {7: 1, 5: 0}])
def test_environments_of_slices_stand_where_the_slice_is(fixed: dict[int, int]) -> None:
    rng = np.random.default_rng(0)
    slot = Slot((5, 6, 7), (2, 2, 2), ("p",), True, True)
    where = tuple(fixed.get(i, slice(None)) for i in slot.indices)
    values = rng.normal(size=(2, 2, 2, 1, 3, 1))
    environment = rng.normal(size=values[where].shape)
    found = unsliced(slot, environment.reshape(-1, 1, 3, 1), fixed)
    assert found.shape == (8, 1, 3, 1)
    full = found.reshape(values.shape)
    np.testing.assert_array_equal(full[where], environment)
    np.testing.assert_allclose((full * values).sum(), (environment * values[where]).sum())


@pytest.mark.parametrize("sliced", [0, 1])
def test_groups_are_of_one_form(sliced: int) -> None:
    c = Circuit(4)
    for q in range(4):
        c.ry(feature(q), q)
    c.block(unitary("A"), [0, 1]).block(unitary("B"), [2, 3]).block(orthogonal("C"), [1, 2])
    c.block(orthogonal("D"), [1, 2])
    (batch,) = batches(c, [X(1) @ Z(2)])
    network = batch.network
    some = next(t for t in network.tensors if t.coefficients is None).indices[:sliced]
    program = compile_program(network, plan_for(network, sliced=some))
    groups = block_groups(program)
    entries = [entry for group in groups for entry in group.entries]
    assert sorted(e.slot for e in entries) == sorted(b.slot for b in program.blocks)
    forms = []
    for group in groups:
        (form,) = {
            (e.conj, e.fixed, program.slots[e.slot].labels, program.slots[e.slot].complex)
            for e in group.entries
        }
        forms.append(form)
        indices = [program.slots[e.slot].indices for e in group.entries]
        cut = {tuple((k, i) for k, i in enumerate(each) if i in some) for each in indices}
        assert len(cut) == 1
    assert len(groups) >= 4 and (sliced or len(set(forms)) == len(forms))
