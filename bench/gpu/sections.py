"""Sections of the check: each a process with a time limit; what one does cannot hurt the next."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAIL = 15  # lines of output that are kept of a section that did not pass
#: Variable that names the file into which a section may put a JSON object of facts.
FACTS = "TN_QNN_CHECK_FACTS"


@dataclass(frozen=True)
class Section:
    """Something to be run.

    Attributes
    ----------
    name, command
        What it is called, and how it is started.
    limit
        Seconds.
    absent
        Why it cannot be run here, if it cannot.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    absent: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a section.

    Attributes
    ----------
    name, status
        The status is "passed", "failed", "over" (its limit) or "skipped".
    seconds
        How long it took.
    reason
        Why it did not pass.
    tail
        The last lines that it printed, where it did not pass.
    facts
        What it had to tell.
    """

    name: str
    status: str
    seconds: float = 0.0
    reason: str = ""
    tail: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_section(
    section: Section, folder: Path, left: float, environment: Mapping[str, str]
) -> Outcome:
    """Run a section in a process group of its own.

    Parameters
    ----------
    section, folder
        What to run, and where to keep what it prints.
    left
        Seconds that the whole check still has.
    environment
        Variables beside those of this process.

    Returns
    -------
    Outcome
        Also where the section hangs, crashes, or cannot be started.
    """
    if section.absent:
        return Outcome(section.name, "skipped", reason=section.absent)
    limit = min(section.limit, left)
    if limit < 1:
        return Outcome(section.name, "over", reason="the check had no time left")
    log, facts = folder / f"{section.name}.log", folder / f"{section.name}.json"
    variables = {**os.environ, **environment, FACTS: str(facts)}
    start = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                section.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(section.name, "failed", reason=f"not started: {error.strerror}")
        status, reason = _waited(process, limit)
    seconds = round(time.monotonic() - start, 1)
    tail = () if status == "passed" else _tail(log)
    return Outcome(section.name, status, seconds, reason, tail, _facts(facts))


def _waited(process: subprocess.Popen[bytes], limit: float) -> tuple[str, str]:
    """Wait for a process and what it started; status and reason."""
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return "over", f"over {limit:.0f} s"
    finally:
        # Even a section that ended may have left processes behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code == 0:
        return "passed", ""
    return "failed", f"exit code {code}" if code > 0 else f"died of {signal.Signals(-code).name}"


def _tail(log: Path) -> tuple[str, ...]:
    return tuple(log.read_text(errors="replace").splitlines()[-TAIL:])


def _facts(path: Path) -> dict[str, Any]:
    """A section's facts; a file cut short by a crash counts as none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def verdict(device: str, outcomes: Sequence[Outcome]) -> tuple[str, int]:
    """The last line, and the exit code: 0 where nothing failed and something passed."""
    passed = sum(o.status == "passed" for o in outcomes)
    bad = [f"{o.name} ({o.reason})" for o in outcomes if o.status in ("failed", "over")]
    skipped = [f"{o.name} ({o.reason})" for o in outcomes if o.status == "skipped"]
    parts = [f"gpu-check on {device}: {passed} of {len(outcomes)} sections passed"]
    parts += [f"not passed: {', '.join(bad)}"] if bad else []
    parts += [f"skipped: {', '.join(skipped)}"] if skipped else []
    return "; ".join(parts), 0 if passed and not bad else 1
