"""Plans: valid, cheap, repeatable, and with the value that one einsum gives."""

import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tn_qnn.errors import MemoryBudgetError, PlanError
from tn_qnn.plan import anneal, slicing
from tn_qnn.plan.anneal import Annealer
from tn_qnn.plan.find import find_plan, search_path
from tn_qnn.plan.plan import check_path, cost_of, kept_indices
from tn_qnn.plan.topology import Topology

from . import networks


def contract(topology, path, sliced, arrays):
    """Contract along a path with np.einsum, slice by slice; trust only topology and path."""
    total = 0.0
    for values in itertools.product(*(range(topology.sizes[i]) for i in sliced)):
        fixed = dict(zip(sliced, values, strict=True))
        tensors = [
            (array[tuple(fixed.get(i, slice(None)) for i in term)], [*term])
            for array, term in zip(arrays, topology.inputs, strict=True)
        ]
        tensors = [(array, [i for i in term if i not in fixed]) for array, term in tensors]
        alive = dict(enumerate(tensors))
        for left, right in path:
            (a, ia), (b, ib) = alive.pop(left), alive.pop(right)
            rest = set(topology.output).union(*(indices for _, indices in alive.values()))
            made = sorted({*ia, *ib} & rest)
            alive[len(tensors)] = np.einsum(a, ia, b, ib, made), made
            tensors.append(alive[len(tensors)])
        ((array, indices),) = alive.values()
        total = total + np.einsum(array, indices, topology.output)
    return total


def random_arrays(topology, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=[topology.sizes[i] for i in term]) for term in topology.inputs]


def reference(topology, arrays):
    operands = [x for pair in zip(arrays, topology.inputs, strict=True) for x in pair]
    return np.einsum(*operands, topology.output)


@pytest.mark.parametrize("search", ["greedy", "fast"])
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_any_plan_gives_the_value_of_one_einsum(search, seed, num_tensors):
    topology = networks.random_topology(seed, num_tensors)
    plan = find_plan(topology, search, cache=None)
    arrays = random_arrays(topology)
    assert plan.path == check_path(plan.path, num_tensors)
    assert plan.cost == cost_of(topology, plan.path)
    value = contract(topology, plan.path, (), arrays)
    np.testing.assert_allclose(value, reference(topology, arrays), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(3, 8), st.floats(0.2, 0.9))
def test_any_slicing_gives_the_same_value(seed, num_tensors, share):
    topology = networks.random_topology(seed, num_tensors, num_indices=9)
    whole = find_plan(topology, cache=None)
    budget = max(1, int(share * whole.cost.peak_elements))
    assume(budget < whole.cost.peak_elements)
    try:
        plan = find_plan(topology, cache=None, budget_elements=budget)
    except MemoryBudgetError:
        # Then even with every summed index sliced the intermediates are too large.
        summed = {i for term in topology.inputs for i in term} - set(topology.output)
        assert cost_of(topology, whole.path, summed).peak_elements > budget
        return
    assert plan.cost.peak_elements <= budget
    assert not set(plan.sliced) & set(topology.output)
    assert plan.cost == cost_of(topology, plan.path, plan.sliced)
    arrays = random_arrays(topology)
    value = contract(topology, plan.path, plan.sliced, arrays)
    np.testing.assert_allclose(value, reference(topology, arrays), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_small_networks_are_planned_optimally(seed):
    import cotengrust

    topology = networks.line(4, samples=4)
    inputs = topology.inputs[seed : seed + 12]
    present = {i for term in inputs for i in term}
    part = Topology(inputs, tuple(i for i in (0, 1) if i in present), topology.sizes)
    names = [chr(192 + i) for i in range(len(part.sizes))]
    path = cotengrust.optimize_optimal(
        [[names[i] for i in term] for term in part.inputs],
        [names[i] for i in part.output],
        dict(zip(names, map(float, part.sizes), strict=True)),
        minimize="flops",
        simplify=False,
        search_outer=True,
        use_ssa=True,
    )
    best = cost_of(part, check_path(path, part.num_tensors)).multiply_adds
    assert find_plan(part, "auto", cache=None).cost.multiply_adds <= best


# cotengra's HyperOptimizer (greedy and KaHyPar, reconfigured) in 30 s: line 8 1.4e6, grid 8 3.0e7.
@pytest.mark.parametrize(
    ("topology", "most"),
    [
        (networks.line(2), 1.2e4),
        (networks.line(4), 9e4),
        (networks.line(6), 3e5),
        (networks.line(8), 1.2e6),
        (networks.grid(4), 1.1e5),
        (networks.grid(6), 6e5),
        (networks.grid(8), 1.4e7),
    ],
    ids=["line2", "line4", "line6", "line8", "grid4", "grid6", "grid8"],
)
def test_the_fast_search_finds_cheap_paths(topology, most):
    greedy = find_plan(topology, "greedy", cache=None).cost.multiply_adds
    fast = find_plan(topology, cache=None).cost.multiply_adds
    assert fast <= min(most, greedy)


@pytest.mark.parametrize("search", ["greedy", "fast", "auto"])
def test_same_seed_same_path(search):
    topology = networks.line(4)
    paths = {find_plan(topology, search, cache=None, seed=5).path for _ in range(3)}
    assert len(paths) == 1


def test_the_largest_seed_is_taken():
    assert len(find_plan(networks.line(4), cache=None, seed=2**63 - 1).path) == 50


def test_the_kernel_compiles_where_nothing_can_be_cached(monkeypatch):
    import numba

    compile_ = numba.njit

    def refuse(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(**options)

    monkeypatch.setattr(numba, "njit", refuse)
    assert callable(anneal._compiled.__wrapped__())


def test_another_seed_is_another_search():
    topology = networks.grid(6)
    assert len({search_path(topology, "fast", None, seed) for seed in range(3)}) > 1


def test_long_stops_in_time_and_is_hardly_worse_than_fast():
    topology = networks.line(4)
    plan = find_plan(topology, "long", seconds=0.5, cache=None)
    assert plan.seconds < 10
    # how far it gets in its time is the machine's affair
    assert plan.cost.multiply_adds <= 1.2 * find_plan(topology, cache=None).cost.multiply_adds


def test_annealed_totals_are_true_costs():
    topology = networks.line(6)
    path = search_path(topology, "greedy", None, 0)
    for seed in range(3):
        total, found = Annealer(topology, path).run(200, seed)
        assert total == cost_of(topology, check_path(found, topology.num_tensors)).multiply_adds
    sliced = (topology.inputs[0][0],)
    total, found = Annealer(topology, path, sliced).run(200, 0)
    assert 2 * total == cost_of(topology, found, sliced).multiply_adds


def test_a_size_limit_makes_annealed_tensors_smaller():
    free, limited = 0, 0
    for seed in range(100):
        topology = networks.random_topology(seed, num_tensors=9, num_indices=9)
        path = find_plan(topology, cache=None).path
        limit = max(1, cost_of(topology, path).largest_intermediate // 4)
        found = Annealer(topology, path, size_limit=limit).run(200, 0)[1]
        free += cost_of(topology, path).largest_intermediate
        limited += cost_of(topology, found).largest_intermediate
    assert limited < free


def test_costs_beyond_floating_point_are_searched_all_the_same():
    # A complete graph of 60 tensors with bonds of 2**20: a step costs up to 2**(20 * 900).
    bonds = {pair: k for k, pair in enumerate(itertools.combinations(range(60), 2))}
    inputs = tuple(tuple(k for pair, k in bonds.items() if t in pair) for t in range(60))
    topology = Topology(inputs, (), (2**20,) * len(bonds))
    plan = find_plan(topology, cache=None)
    assert math.log2(plan.cost.multiply_adds) > 1100


def test_a_users_path_is_taken_as_it_is():
    topology = Topology(((0, 1), (1, 2), (2, 3)), (0, 3), (4, 2, 2, 4))
    plan = find_plan(topology, path=[[1, 2], [0, 3]])
    assert (plan.path, plan.search, plan.source) == (((1, 2), (0, 3)), "user", "user")
    with pytest.raises(PlanError, match="step 1 uses tensor 1 a second time"):
        find_plan(topology, path=[(1, 2), (1, 3)])


def test_a_users_path_is_sliced_but_not_changed():
    topology = networks.line(6)
    path = find_plan(topology, cache=None).path
    budget = cost_of(topology, path).peak_elements // 2
    plan = find_plan(topology, path=path, budget_elements=budget)
    assert (plan.path, bool(plan.sliced)) == (path, True)
    assert plan.cost.peak_elements <= budget


def test_a_wide_network_is_sliced_into_its_budget():
    topology = networks.grid(8, samples=1, sets=1)
    whole = find_plan(topology, cache=None)
    plan = find_plan(topology, cache=None, budget_elements=whole.cost.peak_elements // 16)
    assert plan.cost.peak_elements <= whole.cost.peak_elements // 16
    assert plan.cost.multiply_adds < 64 * whole.cost.multiply_adds


def test_a_budget_below_the_batch_is_refused_with_the_figures():
    topology = networks.line(4)
    need = find_plan(topology, cache=None).cost.peak_elements
    with pytest.raises(MemoryBudgetError) as caught:
        find_plan(topology, cache=None, budget_elements=500)  # the output alone has 512
    message = str(caught.value)
    for part in ("budget_elements is 500", f"needs {need:,} elements", "slices", "fewer samples"):
        assert part in message


def test_slicing_stops_at_the_number_of_slices(monkeypatch):
    monkeypatch.setattr(slicing, "MAX_SLICES", 2)
    topology = networks.grid(8, samples=1, sets=1)
    with pytest.raises(MemoryBudgetError, match="2 slices"):
        find_plan(topology, cache=None, budget_elements=64)


def test_slicing_stops_at_the_overhead(monkeypatch):
    monkeypatch.setattr(slicing, "MAX_OVERHEAD", 1)
    topology = networks.line(6)
    path = search_path(topology, "greedy", None, 0)
    budget = cost_of(topology, path).peak_elements // 8
    with pytest.raises(MemoryBudgetError, match="1 times the multiply-adds"):
        find_plan(topology, path=path, budget_elements=budget)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"search": "best"}, "search is 'best'; expected one of 'greedy', 'fast', 'auto', 'long'"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": math.nan}, "seconds is nan"),
        ({"budget_elements": 0}, "budget_elements is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(PlanError, match=message):
        find_plan(networks.line(2), cache=None, **arguments)


@pytest.mark.parametrize(
    "topology",
    [
        Topology(((0, 1),), (0,), (2, 3)),
        Topology(((), ()), (), ()),
        Topology(((0,), (1,), (2,), (3,)), (), (2, 2, 2, 2)),
        Topology(((0,),) * 5, (0,), (7,), frozenset({0})),
        Topology(((0, 0), (0, 1), (1, 1, 1)), (), (1, 1)),
        Topology(((60_000,), (60_000, 54_000), (54_000,)), (), (2,) * 60_001),
    ],
    ids=["one", "scalars", "disconnected", "batch only", "size one", "past the surrogates"],
)
def test_odd_networks_are_planned(topology):
    plan = find_plan(topology, cache=None)
    assert len(plan.path) == topology.num_tensors - 1
    arrays = random_arrays(topology)
    if max(map(len, [topology.sizes])) < 30:
        np.testing.assert_allclose(
            contract(topology, plan.path, (), arrays), reference(topology, arrays)
        )


def test_batch_labels_stay_to_the_end():
    topology = networks.line(4)
    plan = find_plan(topology, cache=None)
    assert kept_indices(topology, plan.path)[-1] == 0b11


def test_threads_may_plan_at_once():
    topology, found = networks.line(4), []
    threads = [
        threading.Thread(target=lambda: found.append(find_plan(topology, cache=None).path))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
