"""Where the coordinates of tensor-valued weights stand among a model's weights."""

import numpy as np
import pytest

import tn_qnn as tq
from tn_qnn.circuit.block_groups import groups_within


def model():
    one = tq.Circuit(4).ry(tq.weight("a"), 0).block(tq.orthogonal("U", chart="entries"), [0, 1])
    one.block(tq.unitary("V"), [1, 2]).ry(tq.weight("b"), 3)
    two = tq.Circuit(4).block(tq.orthogonal("W", chart="entries"), [2, 0])
    two.block(tq.orthogonal("U", chart="entries"), [0, 1]).block(tq.orthogonal("T"), [3])
    two.block(tq.orthogonal("S", chart="entries"), [3])
    return tq.QNN([one, two], [tq.Z(1)], backend="einsum")


def test_groups():
    found = model()
    kinds = [(g.names, g.num_qubits, g.real, g.chart) for g in found.blocks]
    assert kinds == [
        (("U", "W"), 2, True, "entries"),
        (("V",), 2, False, "exponential"),
        (("T",), 1, True, "exponential"),
        (("S",), 1, True, "entries"),
    ]
    for group in found.blocks:
        for name, columns in zip(group.names, group.columns, strict=True):
            names = [found.weight_names[k] for k in columns]
            assert names == [f"{name}[{i}]" for i in range(len(columns))]
    weights = np.random.default_rng(0).normal(size=(3, found.num_weights))
    group = found.blocks[0]
    bound = dict(zip(found.weight_names, weights[2], strict=True))
    want = found.circuits[1].operations[0].matrix(bound, ())
    np.testing.assert_allclose(group.matrices(weights)[2, 1], want, atol=1e-14)


def test_a_weight_that_is_named_as_a_coordinate_is_one():
    circuit = tq.Circuit(1).ry(tq.weight("U[3]"), 0).block(tq.orthogonal("U", "entries"), [0])
    group = tq.QNN(circuit, [tq.Z(0)], backend="einsum").blocks[0]
    assert group.columns.tolist() == [[1, 2, 3, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_groups_within_some_columns(seed):
    found = model()
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(found.num_weights) < 0.98)
    rng.shuffle(kept)
    parts = groups_within(found.blocks, kept)
    got = {}
    for group in parts:
        for name, columns in zip(group.names, group.columns, strict=True):
            got[name] = [found.weight_names[k] for k in kept[columns]]
    want = {}
    for group in found.blocks:
        for name, columns in zip(group.names, group.columns, strict=True):
            if set(columns.tolist()) <= set(kept.tolist()):
                want[name] = [found.weight_names[k] for k in columns]
    assert got == want


def test_nothing_is_within_nothing():
    assert groups_within(model().blocks, np.zeros(0, dtype=np.intp)) == ()
    assert groups_within((), np.arange(3)) == ()
