"""Goals of a case, and whether measured figures reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

OURS = "tn_qnn"
Figure = Literal["steady", "first", "peak"]
#: One peer's entry of a result, by the peer's name.
Entries = Mapping[str, Mapping[str, Any]]

NAMES = {"steady": "steady state", "first": "first call", "peak": "peak memory"}
KEYS = {"steady": "median", "first": "first", "peak": "peak_bytes"}


@dataclass(frozen=True)
class Verdict:
    """What became of a goal.

    Attributes
    ----------
    goal
        The goal in words.
    measured
        What was measured, in words.
    reached
        None where it could not be told.
    """

    goal: str
    measured: str
    reached: bool | None


@dataclass(frozen=True)
class AtMost:
    """A figure of ours is at most ``limit``: seconds a unit of the case, seconds, or bytes."""

    figure: Figure
    limit: float

    def judge(self, entries: Entries, scale: float, unit: str) -> Verdict:
        """Compare; ``scale`` turns seconds a call into the case's unit."""
        value = entries.get(OURS, {}).get(KEYS[self.figure])
        if self.figure == "first":
            scale, unit = 1.0, "s"
        elif self.figure == "peak":
            scale, unit = 1e-6, "MB"
        goal = f"{NAMES[self.figure]} at most {self.limit:g} {unit}"
        if value is None:
            return Verdict(goal, "not measured", None)
        value *= scale
        return Verdict(goal, f"{value:.3g} {unit}", value <= self.limit)


@dataclass(frozen=True)
class Faster:
    """We are at least ``factor`` times as fast as a peer."""

    figure: Figure
    peer: str
    factor: float

    def judge(self, entries: Entries, scale: float, unit: str) -> Verdict:
        """Compare; of a peer that was stopped only a lower bound is known."""
        goal = f"{NAMES[self.figure]} at least {self.factor:g} times {self.peer}"
        if self.factor == 1:
            goal = f"{NAMES[self.figure]} no slower than {self.peer}"
        ours = entries.get(OURS, {}).get(KEYS[self.figure])
        entry = entries.get(self.peer, {})
        theirs, bound = entry.get(KEYS[self.figure]), ""
        if theirs is None:
            theirs, bound = entry.get("at_least", {}).get(KEYS[self.figure]), "over "
        if ours is None or theirs is None or entry.get("status") == "wrong":
            return Verdict(goal, entry.get("reason", "not measured"), None)
        ratio = theirs / ours
        # A bound from below that does not suffice leaves the question open.
        reached = None if bound and ratio < self.factor else ratio >= self.factor
        return Verdict(goal, f"{bound}{ratio:.3g} times", reached)


Goal = AtMost | Faster
