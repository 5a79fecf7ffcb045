"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import tn_qnn
from bench.peers import PEERS


def machine() -> dict[str, str | int]:
    """Processor, cores, memory, system."""
    import psutil

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of all that is measured."""
    found = {name: v for peer in PEERS.values() for name, v in peer.versions().items()}
    return dict(sorted(found.items())) | {"tn-qnn": tn_qnn.__version__}


def commit() -> str:
    """The commit that is measured, "-dirty" where files differ from it; "" outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def load() -> float:
    """Processes that ran or waited in the last minute, on average; near 0 on a quiet machine."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
