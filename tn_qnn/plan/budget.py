"""From a network to a plan that fits: the smallest tile of the batch must fit in memory."""

from tn_qnn.network.network import Network
from tn_qnn.plan.find import find_plan
from tn_qnn.plan.network import topology_of
from tn_qnn.plan.plan import Plan, cost_of

SMALLEST_TILE = 16  # samples that an executor handles at least at once


def plan_network(
    network: Network, sets: int, samples: int, search: str, budget_elements: int
) -> Plan:
    """A plan made for a batch, sliced only where even its smallest tile is over the budget.

    Raises
    ------
    MemoryBudgetError
        With the figures, when no slicing fits.
    """
    plan = find_plan(topology_of(network, sets, samples), search)
    tile = topology_of(network, 1, min(samples, SMALLEST_TILE))
    if cost_of(tile, plan.path).peak_elements <= budget_elements:
        return plan
    return find_plan(tile, search, budget_elements=budget_elements)
