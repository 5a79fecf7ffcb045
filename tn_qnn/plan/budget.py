"""From a network to a plan, within a budget where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass

from tn_qnn.errors import PlanError
from tn_qnn.network.network import Network
from tn_qnn.plan.find import LEVELS, find_plan
from tn_qnn.plan.network import topology_of
from tn_qnn.plan.plan import Plan

SMALLEST_TILE = 16  # samples of a tile of the executor

#: A path of the user's, as SSA pairs.
UserPath = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Search:
    """How to look for a contraction path.

    Parameters
    ----------
    level
        "greedy", "fast", "auto" or "long"; or a path of the user's, as SSA pairs.
    seconds
        Time limit of the search, the default of the level if None.

    Raises
    ------
    PlanError
        For another level.
    """

    level: str | UserPath = "fast"
    seconds: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.level, str) and self.level not in LEVELS:
            raise PlanError(
                f"search: one of {tuple(LEVELS)} or a path expected, not {self.level!r}"
            )

    def plan(
        self, network: Network, sets: int, samples: int, budget_elements: int | None = None
    ) -> Plan:
        """A plan made for a batch; with a budget, sliced until a tile of the batch fits.

        Raises
        ------
        PlanError
            When the user's path does not fit the network.
        MemoryBudgetError
            With the figures, when no slicing fits.
        """
        level = self.level if isinstance(self.level, str) else "fast"
        path = None if isinstance(self.level, str) else self.level
        if budget_elements is not None:
            sets, samples = 1, min(samples, SMALLEST_TILE)
        return find_plan(
            topology_of(network, sets, samples),
            level,
            path=path,
            seconds=self.seconds,
            budget_elements=budget_elements,
        )
