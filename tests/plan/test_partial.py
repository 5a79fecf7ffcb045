"""Paths and cuts for a network of which a part varies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.circuit.ansatz import brickwork, matrix_product, tree
from tn_qnn.circuit.circuit import Circuit
from tn_qnn.circuit.encodings import angle
from tn_qnn.circuit.graphs import line
from tn_qnn.circuit.observables import Z
from tn_qnn.network.batch import ConeBatch, cone_batch, read_out
from tn_qnn.network.labels import SAMPLES, SETS
from tn_qnn.plan import partial
from tn_qnn.plan.cut import cut
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.network import topology_of
from tn_qnn.plan.partial import part_path, rerooted, tree_work, work_of
from tn_qnn.plan.plan import Path, check_path, cost_of

from ..circuits import random_circuit, random_path

CIRCUITS = {
    "tree": (angle(16, scale=1.0).compose(tree(16)), Z(0)),
    "staircase": (angle(10, scale=1.0).compose(matrix_product(10)), Z(9)),
    "brickwork": (angle(10, scale=1.0).compose(brickwork(line(10), 4)), Z(5)),
}


def part(circuit: Circuit, observable: object, free: frozenset[str]) -> tuple[ConeBatch, Path]:
    """The network of a cone with only some weights free, and the whole's path."""
    (whole,) = read_out([circuit], [observable]).batches  # type: ignore[list-item]
    path = find_plan(topology_of(whole.network, 2, 64), "greedy", cache=None).path
    return cone_batch(whole.cones, free), path


def some(circuit: Circuit, seed: int, share: float) -> frozenset[str]:
    rng = np.random.default_rng(seed)
    names = circuit.weights
    return frozenset(n for n in names if rng.random() < share) | {names[seed % len(names)]}


def holding(path: Path, marked: set[int]) -> int:
    """Steps that hold a marked leaf."""
    leaves = len(path) + 1
    holds = [leaf in marked for leaf in range(leaves)]
    for left, right in path:
        holds.append(holds[left] or holds[right])
    return sum(holds[leaves:])


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_a_new_root_leaves_fewer_steps_that_hold_a_marked_leaf(seed: int, leaves: int) -> None:
    rng = np.random.default_rng(seed)
    path = random_path(rng, leaves)
    marked = {int(k) for k in rng.permutation(leaves)[: rng.integers(1, leaves + 1)]}
    moved = rerooted(path, marked)
    assert check_path(moved, leaves) == moved
    assert holding(moved, marked) <= holding(path, marked)
    # the smallest subtree that holds them all, in an unrooted tree, has this many inner nodes
    if len(marked) == 1:
        assert holding(moved, marked) == 1
    if len(marked) == leaves:
        assert moved == path
    assert rerooted(path, []) == path


@pytest.mark.parametrize("name", CIRCUITS)
def test_work_is_that_of_the_plan_by_what_steps_depend_on(name: str) -> None:
    circuit, observable = CIRCUITS[name]
    batch, path = part(circuit, observable, some(circuit, 3, 0.2))
    work = work_of(batch.network, path, 2, 64)
    cost = cost_of(topology_of(batch.network, 2, 64), path)
    assert work.varying + work.data + work.constant == cost.multiply_adds
    assert work.varying > 0
    assert work_of(batch.network, path, 4, 64).data == work.data
    nothing, _ = part(circuit, observable, frozenset())
    assert work_of(nothing.network, path, 2, 64).varying == 0


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", CIRCUITS)
def test_the_path_of_a_part_is_never_dearer(
    name: str, share: float, searched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if searched:
        monkeypatch.setattr(partial, "WORTH_A_SEARCH", 0)
    circuit, observable = CIRCUITS[name]
    for seed in range(5):
        batch, path = part(circuit, observable, some(circuit, seed, share))
        found = part_path(batch.network, path, 2, 64)
        assert check_path(found, len(batch.network.tensors)) == found
        best = work_of(batch.network, found, 2, 64)
        assert best <= tree_work(batch.network, path, 2, 64)
        assert best.varying <= work_of(batch.network, path, 2, 64).varying


@given(st.integers(0, 10**6), st.booleans())
def test_a_cut_leaves_every_tensor_in_one_place(seed: int, keep_samples: bool) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 4, 12).ry(0.0, 0)
    free = frozenset(name for name in circuit.weights if rng.random() < 0.5)
    for whole in read_out([circuit], [Z(0), Z(3)]).batches:
        batch = cone_batch(whole.cones, free)
        network = batch.network
        if len(network.tensors) < 2:
            continue
        path = random_path(rng, len(network.tensors))
        found = cut(network, path, keep_samples)
        branches = [found.rest, *found.pieces]
        here = [t for b in branches for t in b.network.tensors if t.given is None]
        given_numbers = [t.given for t in found.rest.network.tensors if t.given is not None]
        assert given_numbers == list(range(len(found.pieces)))
        assert {id(t) for t in network.tensors} <= {id(t) for t in here}
        ones = [t for t in here if t.element < 0 and not t.indices]
        assert len(here) - len(ones) <= len(network.tensors)
        for branch in branches:
            assert check_path(branch.path, len(branch.network.tensors)) == branch.path
        fixed = {SETS} if keep_samples else {SETS, SAMPLES}
        for piece in found.pieces:
            assert all(t.labels.isdisjoint(fixed) for t in piece.network.tensors)
            assert piece.network.real == all(t.real for t in piece.network.tensors)
        assert found.rest.network.output == network.output
