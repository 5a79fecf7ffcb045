"""The one function that finds a contraction plan."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from tn_qnn.errors import MemoryBudgetError, PlanError
from tn_qnn.machine import num_cores
from tn_qnn.plan.anneal import Annealer
from tn_qnn.plan.cache import FORMAT, Entry, PlanCache, default_cache
from tn_qnn.plan.order import order_for_peak
from tn_qnn.plan.plan import Path, Plan, check_path, cost_of
from tn_qnn.plan.slicing import fit_budget
from tn_qnn.plan.topology import Topology


@dataclass(frozen=True)
class Level:
    """How much a search does: all of it counted, so that a seed fixes the path."""

    greedy: int  # random greedy trials
    runs: int  # annealing runs, or of "long" those of one round
    sweeps: int  # of one run, ...
    work: float  # ... unless they touch more words of index masks than this
    sweeps_a_tensor: int = 10**6  # a small tree has settled long before


LEVELS = {
    "greedy": Level(greedy=64, runs=0, sweeps=0, work=0.0),
    "fast": Level(greedy=8, runs=4, sweeps=6000, work=3e7, sweeps_a_tensor=100),
    "auto": Level(greedy=32, runs=8, sweeps=20_000, work=1e8),
    "long": Level(greedy=32, runs=8, sweeps=4000, work=4e7),  # then twice as many each round
}
LONG_SECONDS = 60.0
DEAR = 3e9  # multiply-adds from which "fast" goes on as "auto": the contraction takes longer still
# Characters name the indices for cotengrust; a gap in Unicode holds no characters.
SURROGATES, NUM_SURROGATES, LAST_CHARACTER = 0xD800, 0x800, 0x10FFFF


def find_plan(
    topology: Topology,
    search: str = "fast",
    *,
    budget_elements: int | None = None,
    seconds: float | None = None,
    path: Iterable[Sequence[int]] | None = None,
    cache: PlanCache | str | None = "default",
    seed: int = 0,
) -> Plan:
    """Find how to contract a network, from its index structure alone.

    Parameters
    ----------
    topology
        What to contract.
    search
        ``"fast"``: random greedy trees of cotengrust, then a few short annealing runs from the
        best (tenths of a second up to some 500 tensors), and longer ones where the contraction
        itself is dear. ``"auto"``: longer runs, seconds.
        ``"long"``: ever longer runs for ``seconds``. ``"greedy"``: the greedy trees alone.
    budget_elements
        Most elements of intermediates alive at once (see :class:`Cost`). A plan over it is
        annealed towards smaller tensors and then sliced.
    seconds
        Time limit of ``"long"`` (60 by default); for other levels no limit unless given. It is
        looked at between runs. A search that it cuts short may differ from one time to the next.
    path
        A path of the user's, as SSA pairs (:func:`linear_to_ssa` converts opt_einsum's): nothing
        is searched, and neither read from nor kept in the cache. It is sliced if it must be.
    cache
        Where plans are kept; ``None`` for nowhere, ``"default"`` for the user's cache folder.
    seed
        Same topology, level and seed give the same path.

    Raises
    ------
    PlanError
        When ``search``, ``seconds``, ``budget_elements``, ``seed`` or ``path`` is not valid.
    MemoryBudgetError
        When no slicing fits in ``budget_elements``; the message has the figures.

    Examples
    --------
    >>> ring = Topology(((0, 1), (1, 2), (2, 3), (3, 0)), (), (8, 2, 8, 2))
    >>> plan = find_plan(ring, cache=None)
    >>> len(plan.path), plan.cost.multiply_adds, plan.sliced
    (3, 68, ())
    """
    start = time.perf_counter()
    _check(search, budget_elements, seconds, seed)
    if isinstance(cache, str):
        cache = default_cache()
    source: Literal["search", "cache", "user"] = "user"
    salt = (search, str(seed), str(seconds), *_versions())
    if path is not None:
        entry: Entry | None = Entry(check_path(path, topology.num_tensors), (), 0.0)
        search, cache = "user", None
    else:
        entry = cache.get(topology.key(*salt), topology) if cache else None
        source = "cache" if entry else "search"
    if entry is None:
        found = search_path(topology, search, seconds, seed)
        entry = Entry(found, (), time.perf_counter() - start)
        if cache:
            cache.put(topology.key(*salt), entry)
    cost = cost_of(topology, entry.path)
    if budget_elements is not None and cost.peak_elements > budget_elements:
        entry = _sliced(topology, entry, budget_elements, seed, source == "user", cache, salt)
        cost = cost_of(topology, entry.path, entry.sliced)
    return Plan(entry.path, entry.sliced, cost, search, entry.seconds, source)


def _check(search: str, budget_elements: int | None, seconds: float | None, seed: int) -> None:
    if search not in LEVELS:
        raise PlanError(f"search is {search!r}; expected one of {', '.join(map(repr, LEVELS))}")
    if seconds is not None and not (0 < seconds < math.inf):
        raise PlanError(f"seconds is {seconds!r}; expected a positive number")
    if budget_elements is not None and budget_elements < 1:
        raise PlanError(f"budget_elements is {budget_elements!r}; expected at least 1")
    if not 0 <= seed < 2**63:
        raise PlanError(f"seed is {seed!r}; expected an integer from 0 to 2**63 - 1")


@functools.cache
def _versions() -> tuple[str, ...]:
    return (f"format={FORMAT}", *(f"{name}={version(name)}" for name in ("cotengrust", "numba")))


def search_path(topology: Topology, search: str, seconds: float | None, seed: int) -> Path:
    """Search for the path of fewest multiply-adds; no cache, no budget."""
    level = LEVELS[search]
    limit = LONG_SECONDS if search == "long" and seconds is None else seconds
    deadline = math.inf if limit is None else time.monotonic() + limit
    if topology.num_tensors == 1:
        return ()
    path = _greedy(topology, level.greedy, seed)
    if level.runs and len(path) > 1:
        total, path = _anneal(topology, path, level, deadline, seed, endless=search == "long")
        if search == "fast" and total > DEAR:
            path = _anneal(topology, path, LEVELS["auto"], deadline, seed, endless=False)[1]
    return order_for_peak(topology, path)


def _greedy(topology: Topology, trials: int, seed: int) -> Path:
    """Return the best of some random greedy trees."""
    import cotengrust

    def name(index: int) -> str:
        code = 192 + index
        return chr(code if code < SURROGATES else code + NUM_SURROGATES)

    if len(topology.sizes) > LAST_CHARACTER - 192 - NUM_SURROGATES:
        raise PlanError(f"the network has {len(topology.sizes):,} indices; cotengrust takes 10**6")
    inputs = [[name(i) for i in dict.fromkeys(term)] for term in topology.inputs]
    path, _ = cotengrust.optimize_random_greedy_track_flops(
        inputs,
        [name(i) for i in topology.output],
        {name(i): float(topology.sizes[i]) for term in topology.inputs for i in term},
        trials,
        seed=seed,
        simplify=False,
        use_ssa=True,
    )
    return check_path(path, topology.num_tensors)


def _anneal(
    topology: Topology, path: Path, level: Level, deadline: float, seed: int, endless: bool
) -> tuple[float, Path]:
    """Return the best of several annealing runs, all of which start from ``path``."""
    annealer = Annealer(topology, path)
    few = level.sweeps_a_tensor * topology.num_tensors
    sweeps = max(50, min(level.sweeps, few, int(level.work / annealer.sweep_work)))
    best, first = (math.inf, path), 0

    def run(number: int) -> tuple[float, Path]:
        if time.monotonic() >= deadline:
            return math.inf, path
        return annealer.run(sweeps, seed * 1_000_003 + number)

    # The compiled loop lets go of the interpreter's lock, so the runs use every core.
    with ThreadPoolExecutor(min(level.runs, num_cores())) as pool:
        while True:
            start = time.monotonic()
            found = pool.map(run, range(first, first + level.runs))
            best = min([best, *found], key=lambda scored: scored[0])
            now = time.monotonic()
            if not endless or now >= deadline:
                return best
            # Twice the sweeps, or as many as the time left allows.
            growth = min(2.0, (deadline - now) / (now - start))
            first, sweeps = first + level.runs, max(50, int(sweeps * growth))


def _sliced(
    topology: Topology,
    entry: Entry,
    budget: int,
    seed: int,
    given: bool,
    cache: PlanCache | None,
    salt: tuple[str, ...],
) -> Entry:
    """Fit an entry into a budget; kept on disk by the budget's power of two.

    Memory at hand differs a little from one process to the next: rounding the budget down lets
    the next one find the plan. Only where that does not fit is the whole budget used.
    """
    start = time.perf_counter()
    rounded = 1 << (budget.bit_length() - 1)
    key = topology.key(*salt, f"budget={rounded}")
    if cache and (known := cache.get(key, topology)):
        cost = cost_of(topology, known.path, known.sliced)
        if cost.peak_elements <= budget:
            return known
    fitted = None
    with contextlib.suppress(MemoryBudgetError):
        fitted = fit_budget(topology, entry.path, rounded, seed, reshape=not given)
    path, sliced, _ = fitted or fit_budget(topology, entry.path, budget, seed, reshape=not given)
    result = Entry(path, sliced, entry.seconds + time.perf_counter() - start)
    if cache and fitted:
        cache.put(key, result)
    return result
