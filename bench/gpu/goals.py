"""Goals on a GPU: against the best peer, against the ceilings, and the host's time a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.goals import KEYS, NAMES, OURS, Entries, Figure, Verdict

#: Seconds by the ceilings alone from which a stage counts as large, and below which it is not
#: judged, since the launch itself takes longer.
LARGE, JUDGED = 20e-6, 2e-6
Size = Literal["large", "small"]


@dataclass(frozen=True)
class FasterThanBest:
    """We are at least ``factor`` times as fast as the fastest of some peers."""

    figure: Figure
    peers: tuple[str, ...]
    factor: float

    def judge(self, entries: Entries, scale: float, unit: str) -> Verdict:
        """Compare with those that were measured; a peer that is stopped or wrong does not count."""
        goal = f"{NAMES[self.figure]} at least {self.factor:g} times the best peer"
        key = KEYS[self.figure]
        ours = entries.get(OURS, {}).get(key)
        found = {
            name: entries[name][key]
            for name in self.peers
            if entries.get(name, {}).get("status") == "ok" and key in entries[name]
        }
        if ours is None or not found:
            return Verdict(goal, "not measured", None)
        best = min(found, key=lambda name: found[name])
        ratio = found[best] / ours
        return Verdict(goal, f"{ratio:.3g} times {best}", ratio >= self.factor)


@dataclass(frozen=True)
class OfCeiling:
    """Every stage of a size reaches a share of the device's ceiling."""

    size: Size
    share: float

    def judge(self, entries: Entries, scale: float, unit: str) -> Verdict:
        """Look for the worst stage."""
        goal = f"{self.size} stages reach {self.share:.0%} of the ceiling"
        stages = entries.get(OURS, {}).get("stages")
        if stages is None:
            return Verdict(goal, "not measured", None)
        reached = [
            (stage["ceiling"] / stage["measured"], stage["stage"])
            for stage in stages
            if stage["ceiling"] >= JUDGED and (stage["ceiling"] >= LARGE) == (self.size == "large")
        ]
        if not reached:
            return Verdict(goal, f"no {self.size} stage", None)
        worst, name = min(reached)
        return Verdict(goal, f"{worst:.0%} ({name})", worst >= self.share)


@dataclass(frozen=True)
class HostTime:
    """The host needs at most ``limit`` seconds to start a replay."""

    limit: float

    def judge(self, entries: Entries, scale: float, unit: str) -> Verdict:
        """Compare."""
        goal = f"host at most {self.limit * 1e6:g} µs a replay"
        found = entries.get(OURS, {}).get("host")
        if found is None:
            return Verdict(goal, "not measured", None)
        return Verdict(goal, f"{found * 1e6:.3g} µs", found <= self.limit)
