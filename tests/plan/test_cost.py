"""Costs against cotengra's figures and a brute-force count; rules that every path must keep."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.errors import PlanError
from tn_qnn.plan.order import order_for_peak
from tn_qnn.plan.plan import check_path, cost_of, kept_indices, linear_to_ssa
from tn_qnn.plan.topology import Topology

from . import networks


def brute_force(topology, path, sliced):
    """Return (multiply-adds, peak, largest, width) from sets of indices, by definition."""
    sizes = [1 if i in sliced else s for i, s in enumerate(topology.sizes)]
    alive = {k: set(term) for k, term in enumerate(topology.inputs)}
    work, peak, largest, width = 0, 0, 0, 0.0

    def elements(indices):
        return math.prod(sizes[i] for i in indices)

    for step, (left, right) in enumerate(path):
        made, n = topology.num_tensors + step, topology.num_tensors
        union = alive[left] | alive[right]
        rest = set(topology.output).union(*(v for k, v in alive.items() if k not in (left, right)))
        work += elements(union)
        alive[made] = union & rest
        peak = max(peak, sum(elements(v) for k, v in alive.items() if k >= n))
        largest = max(largest, elements(alive[made]))
        width = max(width, math.log2(elements(alive[made] - topology.batch)))
        del alive[left], alive[right]
    return work * math.prod(topology.sizes[i] for i in sliced), peak, largest, width


def random_path(num_tensors, rng):
    """Return any tree at all, outer products included."""
    alive, path = list(range(num_tensors)), []
    while len(alive) > 1:
        rng.shuffle(alive)
        path.append((alive.pop(), alive.pop()))
        alive.append(num_tensors + len(path) - 1)
    return tuple(path)


@given(st.integers(0, 10**6), st.integers(2, 9))
def test_cost_agrees_with_the_definition(seed, num_tensors):
    topology = networks.random_topology(seed, num_tensors)
    path = random_path(num_tensors, np.random.default_rng(seed))
    summed = sorted({i for term in topology.inputs for i in term} - set(topology.output))
    for sliced in ((), tuple(summed[:1]), tuple(summed[:3])):
        cost = cost_of(topology, path, sliced)
        work, peak, largest, width = brute_force(topology, path, sliced)
        assert (cost.multiply_adds, cost.peak_elements, cost.largest_intermediate) == (
            work,
            peak,
            largest,
        )
        assert cost.width == pytest.approx(width)


@pytest.mark.parametrize("topology", [networks.line(4), networks.grid(4), networks.line(6)])
def test_cost_agrees_with_cotengra(topology):
    import cotengra

    names = [chr(192 + i) for i in range(len(topology.sizes))]
    path = random_path(topology.num_tensors, np.random.default_rng(0))
    tree = cotengra.ContractionTree.from_path(
        [[names[i] for i in term] for term in topology.inputs],
        [names[i] for i in topology.output],
        dict(zip(names, topology.sizes, strict=True)),
        ssa_path=path,
    )
    cost = cost_of(topology, path)
    assert cost.multiply_adds == int(tree.contraction_cost())
    assert cost.largest_intermediate == int(tree.max_size())


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_reordering_keeps_the_tree_and_never_raises_the_depth_first_peak(seed, num_tensors):
    topology = networks.random_topology(seed, num_tensors)
    path = random_path(num_tensors, np.random.default_rng(seed))
    ordered = check_path(order_for_peak(topology, path), num_tensors)
    assert sorted(kept_indices(topology, ordered)) == sorted(kept_indices(topology, path))
    before, after = cost_of(topology, path), cost_of(topology, ordered)
    assert after.multiply_adds == before.multiply_adds
    assert cost_of(topology, order_for_peak(topology, ordered)).peak_elements <= after.peak_elements


def test_reordering_runs_the_hungry_branch_first():
    # Branch (2, 3, 4) passes through 64 elements and leaves 2; branch (0, 1) leaves 8.
    inputs = ((0,), (0, 1), (2,), (2, 3), (3, 4), (1, 4))
    topology = Topology(inputs, (), (2, 8, 2, 64, 2))
    small_first = ((0, 1), (2, 3), (7, 4), (6, 8), (9, 5))
    assert cost_of(topology, small_first).peak_elements == 8 + 64 + 2
    assert cost_of(topology, order_for_peak(topology, small_first)).peak_elements == 64 + 2


def test_one_tensor_that_is_summed_costs_its_elements():
    cost = cost_of(Topology(((0, 1),), (0,), (3, 5)), ())
    assert (cost.multiply_adds, cost.peak_elements) == (15, 3)
    assert cost_of(Topology(((0, 1),), (1, 0), (3, 5)), ()).multiply_adds == 0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([(0, 1)], "1 steps; 3 tensors need 2"),
        ([(0, 1), (2, 3), (4, 4)], "step 2 uses tensor 4 a second"),
        ([(0, 3), (1, 2)], "step 0 uses tensor 3, which is not there"),
        ([(0, 1), (0, 2)], "step 1 uses tensor 0 a second time"),
        ([(0, 0), (1, 2)], "step 0 uses tensor 0 a second time"),
        ([(0, 1, 2)], r"step 0 is \(0, 1, 2\): not two integers"),
        ([(0, -1), (1, 2)], "tensor -1"),
        ([(0, 1.0), (3, 2)], "not two integers"),
        ([(True, 0), (3, 2)], "not two integers"),
        ([7, 8], "step 0 is 7"),
        (["01", "32"], "step 0 is '01'"),
    ],
)
def test_a_wrong_path_is_refused_with_its_step(path, message):
    with pytest.raises(PlanError, match=message):
        check_path(path, 3)


def test_linear_paths_are_read_as_opt_einsum_reads_them():
    import opt_einsum

    topology = networks.line(4)
    operands = [x for term in topology.inputs for x in (np.empty([2] * len(term)), term)]
    path, info = opt_einsum.contract_path(*operands, topology.output, optimize="greedy")
    flat = Topology(topology.inputs, topology.output, (2,) * len(topology.sizes))
    cost = cost_of(flat, linear_to_ssa(path, flat.num_tensors))
    assert cost.largest_intermediate == info.largest_intermediate
    with pytest.raises(PlanError, match=r"step 1 is \(0, 2\): expected two positions below 2"):
        linear_to_ssa([(0, 1), (0, 2)], 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), ()), "at least one tensor"),
        ((((0, 5),), (), (2,)), "index 5, but sizes has 1"),
        ((((-1,),), (), (2,)), "index -1"),
        ((((0,),), (), (0,)), r"sizes\[0\] is 0"),
        ((((0,),), (0, 0), (2,)), "index 0 more than once"),
        ((((0,),), (1,), (2, 2)), "index 1, which no tensor has"),
        ((((0, 1),), (1,), (2, 2), frozenset({0})), "batch label 0 is not in output"),
    ],
)
def test_a_wrong_topology_is_refused(arguments, message):
    with pytest.raises(PlanError, match=message):
        Topology(*arguments)


def test_keys_tell_topologies_and_salts_apart():
    first = Topology(((0, 1), (1,)), (0,), (2, 2))
    others = [
        Topology(((1, 0), (1,)), (0,), (2, 2)),
        Topology(((0, 1), (1,)), (0,), (2, 3)),
        Topology(((0, 1), (1,)), (), (2, 2)),
        Topology(((0, 1), (1,)), (0,), (2, 2), frozenset({0})),
    ]
    keys = {first.key(), first.key("a"), first.key("a", "b"), *(other.key() for other in others)}
    assert len(keys) == 7
    assert first.key() == Topology(((0, 1), (1,)), (0,), (2, 2)).key()
