"""Goals of a case, and whether what was measured reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from bench.goals import Verdict

#: Records of cases by name; see :mod:`bench.learning.results`.
Records = Mapping[str, Mapping[str, Any]]
CURVE_TOLERANCE = 0.02  # of a loss, relative to the first one: rounding grows along a run


@dataclass(frozen=True)
class Reaches:
    """The mean test accuracy is at least a number, or above that of another case."""

    bar: float | str

    def judge(self, name: str, records: Records) -> Verdict:
        """Compare; open until every split of both was measured."""
        other = records.get(self.bar) if isinstance(self.bar, str) else None
        goal = f"above {self.bar}" if isinstance(self.bar, str) else f"{100 * self.bar:g} %"
        found, bar = accuracies(records.get(name)), accuracies(other)
        if not found or (isinstance(self.bar, str) and len(bar) != len(found)):
            return Verdict(goal, "not measured", None)
        if isinstance(self.bar, str):
            measured = f"{100 * fmean(found):.2f} to {100 * fmean(bar):.2f} %"
            return Verdict(goal, measured, fmean(found) > fmean(bar))
        return Verdict(goal, f"{100 * fmean(found):.2f} %", fmean(found) >= self.bar)


@dataclass(frozen=True)
class SameCurve:
    """Every step's loss is that of another case, on every split whose curve was taken."""

    other: str

    def judge(self, name: str, records: Records) -> Verdict:
        """Compare the losses of the runs that were watched."""
        goal = f"the loss curve of {self.other}"
        pairs = paired(records, name, self.other)
        if not pairs:
            return Verdict(goal, "not measured", None)
        differences = []
        for ours, theirs in pairs:
            a, b = np.array(ours["losses"]), np.array(theirs["losses"])
            same = a.shape == b.shape
            differences.append(float(abs(a - b).max() / b[0]) if same else float("inf"))
        worst = max(differences)
        return Verdict(goal, f"apart by {worst:.2g} of the first loss", worst <= CURVE_TOLERANCE)


@dataclass(frozen=True)
class SoonerThan:
    """Reaches another case's last validation accuracy in a share of its time.

    Its time is when it reaches that accuracy itself for the first time. Medians over the splits.
    """

    other: str
    share: float

    def judge(self, name: str, records: Records) -> Verdict:
        """Compare the curves."""
        goal = f"{self.share:g} of the time of {self.other}"
        ratios, seconds = [], []
        for ours, theirs in paired(records, name, self.other):
            wanted = theirs["curve"][-1][3]
            mine, its = first_time(ours, wanted), first_time(theirs, wanted)
            ratios.append(mine / its)
            seconds.append((mine, its))
        if not ratios:
            return Verdict(goal, "not measured", None)
        mine, its = (median(column) for column in zip(*seconds, strict=True))
        ratio = median(ratios)
        return Verdict(goal, f"{ratio:.2f} ({mine:.1f} s to {its:.1f} s)", ratio <= self.share)


Goal = Reaches | SameCurve | SoonerThan


def accuracies(record: Mapping[str, Any] | None) -> list[float]:
    """Test accuracies of a case, a split each."""
    runs = [] if record is None else record["runs"]
    return [run["accuracy"] for run in runs if run["part"] == "test"]


def paired(records: Records, name: str, other: str) -> list[tuple[Any, Any]]:
    """Watched runs of two cases on the same split."""
    found = [
        {run["split"]: run for run in records[case]["runs"] if run["part"] == "validation"}
        if case in records
        else {}
        for case in (name, other)
    ]
    return [(found[0][split], found[1][split]) for split in sorted(found[0].keys() & found[1])]


def first_time(run: Mapping[str, Any], accuracy: float) -> float:
    """Seconds until a watched run first has an accuracy; infinite if it never has."""
    return min((s for _, _, s, found in run["curve"] if found >= accuracy), default=float("inf"))
