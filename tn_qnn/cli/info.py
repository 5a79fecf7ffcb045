"""``tn-qnn info``: what a report of a bug should tell."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata, resources, util
from typing import Any

from tn_qnn import __version__
from tn_qnn.plan.cache import default_folder

HELP = """versions, cores, memory, backends and folders
example:
  tn-qnn info --json
"""
PACKAGES = (
    "numpy scipy numba llvmlite cotengra cotengrust opt_einsum quimb scikit-learn matplotlib tqdm"
).split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    facts = gathered()
    if args.json:
        print(json.dumps(facts, indent=1))
        return 0
    memory, cache = facts["memory"], facts["plan_cache"]
    lines = {
        "tn_qnn": facts["tn_qnn"],
        "python": f"{facts['python']} on {facts['platform']}",
        "packages": ", ".join(f"{n} {v or 'missing'}" for n, v in facts["packages"].items()),
        "cores": f"{facts['cores']} for this process, {facts['threads']} threads by default",
        "memory": f"{in_bytes(memory['available'])} free of {in_bytes(memory['total'])}",
        "backends": "; ".join(f"{n}: {v}" for n, v in facts["backends"].items()),
        "gpu": gpu_line(facts["gpu"]),
        "plan cache": f"{cache['folder']} ({cache['plans']} plans, {in_bytes(cache['bytes'])})",
        "kernels": ", ".join(facts["kernels"]) or "none",
    }
    for name, value in lines.items():
        print(f"{name:<10}  {value}")
    return 0


def gathered() -> dict[str, Any]:
    """All facts, as JSON-able values; of what is heavy it imports CuPy alone."""
    import psutil

    from tn_qnn.backends.cuda.detect import why_not

    reason = why_not()
    cores = len(os.sched_getaffinity(0))
    free = psutil.virtual_memory()
    return {
        "tn_qnn": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": cores,
        "threads": cores,
        "memory": {"total": free.total, "available": free.available},
        "backends": _backends(reason),
        "gpu": _gpu(reason),
        "plan_cache": _plan_cache(),
        "kernels": _kernels(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _backends(why_not_cuda: str) -> dict[str, str]:
    """What can be given to --backend, and whether it can be used."""
    needs = {"cpu": "numba", "einsum": "opt_einsum"}
    found = {b: "yes" if util.find_spec(p) else f"{p} is missing" for b, p in needs.items()}
    auto = "cpu" if why_not_cuda else "cuda"
    return {"auto": f"takes {auto}", **found, "cuda": why_not_cuda or "yes"}


def _gpu(why_not_cuda: str) -> dict[str, Any]:
    """CuPy's packages, and what CuPy sees where it can be used."""
    from tn_qnn.backends.cuda.detect import require, wheels

    facts: dict[str, Any] = {
        "packages": {name: _version(name) for name in wheels()},
        "driver": None,
        "devices": [],
    }
    if why_not_cuda:
        return facts
    from tn_qnn.backends.cuda.runtime import CudaRuntime

    cupy = require()
    number = cupy.cuda.runtime.driverGetVersion()  # 12040 is 12.4
    found = [CudaRuntime(cupy, k).facts for k in range(cupy.cuda.runtime.getDeviceCount())]
    devices = [
        {"name": d.name, "capability": ".".join(map(str, d.capability)), "memory": d.memory}
        for d in found
    ]
    return {**facts, "driver": f"{number // 1000}.{number % 1000 // 10}", "devices": devices}


def gpu_line(facts: dict[str, Any]) -> str:
    """Packages, the CUDA version of the driver, and devices by number.

    Examples
    --------
    >>> gpu_line({"packages": {"cupy-cuda13x": "14.2.0"}, "driver": None, "devices": []})
    'cupy-cuda13x 14.2.0'
    """
    parts = [f"{name} {version}" for name, version in facts["packages"].items()] or ["no CuPy"]
    if facts["driver"]:
        parts.append(f"driver for CUDA {facts['driver']}")
    for number, device in enumerate(facts["devices"]):
        parts.append(f"device {number}: {device['name']}, {in_bytes(device['memory'])}")
    return "; ".join(parts)


def _plan_cache() -> dict[str, Any]:
    folder = default_folder()
    try:
        sizes = [file.stat().st_size for file in folder.glob("*.json")]
    except OSError:  # not readable, or another process cleared it just now
        sizes = []
    return {"folder": str(folder), "plans": len(sizes), "bytes": sum(sizes)}


def _kernels() -> list[str]:
    try:
        files = resources.files("tn_qnn.kernels").iterdir()
    except ModuleNotFoundError:  # a clone that is not installed
        return []
    return sorted(f.name for f in files if f.name.endswith((".cu", ".cuh")))


def in_bytes(count: float) -> str:
    """A number of bytes to read.

    Examples
    --------
    >>> in_bytes(1234567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
