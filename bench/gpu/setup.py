"""Before the check: is there a GPU at all, and which modules does this Python lack?

Needs the standard library alone, since it runs before anything else is known to be there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

#: What the check cannot do without, as module and requirement; CuPy's wheel goes by the driver.
NEEDED = {
    "numpy": "numpy>=2.2",
    "numba": "numba>=0.61.2",
    "llvmlite": "llvmlite>=0.44",
    "cotengrust": "cotengrust>=0.2",
    "opt_einsum": "opt_einsum>=3.4",
    "platformdirs": "platformdirs>=4",
    "psutil": "psutil>=6.0",
    "scipy": "scipy>=1.14",
    "sklearn": "scikit-learn>=1.6",
    "threadpoolctl": "threadpoolctl>=3.5",
    "tqdm": "tqdm>=4.66",
    "hypothesis": "hypothesis>=6.100",
    "pytest": "pytest>=8.4",
}
ROOT = Path(__file__).parents[2]
WHEELS, ENVIRONMENT = ROOT / "wheels", ROOT / ".venv-gpu"
OLDEST_DRIVER = 12000  # as cuDriverGetVersion gives it: CUDA 12.0


class Driver:
    """NVIDIA's driver, asked through its own library.

    Parameters
    ----------
    library
        File name of the library.

    Attributes
    ----------
    version
        Of CUDA that it knows: 13000 is 13.0.
    devices, name
        How many GPUs there are, and what the first is called.
    reason
        Why no GPU can be used; empty where one can.
    """

    def __init__(self, library: str = "libcuda.so.1") -> None:
        self.version, self.devices, self.name, self.reason = 0, 0, "", ""
        try:
            cuda = ctypes.CDLL(library)
        except OSError:
            self.reason = f"no NVIDIA driver ({library} was not found)"
            return
        if code := cuda.cuInit(0):
            self.reason = f"the NVIDIA driver finds no usable GPU (cuInit gives {code})"
            return
        self.version = _asked(cuda.cuDriverGetVersion)
        self.devices = _asked(cuda.cuDeviceGetCount)
        text = ctypes.create_string_buffer(100)
        if self.devices and not cuda.cuDeviceGetName(text, len(text), 0):
            self.name = text.value.decode(errors="replace")
        if not self.devices:
            self.reason = "the NVIDIA driver finds no GPU"
        elif self.version < OLDEST_DRIVER:
            self.reason = f"the NVIDIA driver is too old: CUDA {self.version // 1000}, 12 is needed"

    @property
    def wheel(self) -> str:
        """The CuPy wheel for this driver, with the compiler and the headers that it needs."""
        return f"cupy-cuda{'13x' if self.version >= 13000 else '12x'}[ctk]>=14"


def _asked(function: Callable[..., int]) -> int:
    value = ctypes.c_int()
    return value.value if function(ctypes.byref(value)) == 0 else 0


def missing(found: Callable[[str], object] = find_spec) -> list[str]:
    """Requirements of the modules that this Python lacks, but for CuPy."""
    return [requirement for module, requirement in NEEDED.items() if found(module) is None]


def pip_command(what: Sequence[str], wheels: Path, options: Sequence[str] = ()) -> list[str]:
    """How pip installs something; from ``wheels`` alone where that folder is."""
    source = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else []
    quiet = ["--quiet", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", "install", *quiet, *options, *source, *what]


def install(
    what: Sequence[str],
    wheels: Path = WHEELS,
    options: Sequence[str] = ("--no-deps",),
    limit: float = 300.0,
) -> str:
    """Install into this environment; why that failed, or nothing.

    Dependencies are named in :data:`NEEDED` and not followed: what is there already stays as it is.
    """
    command = pip_command(what, wheels, options)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"installing {', '.join(what)} took over {limit:.0f} s"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return f"{', '.join(what)} could not be installed: {last[0][:300]}"
    return ""


def prepare(module: str, arguments: Sequence[str]) -> str:
    """Make sure that there is a GPU, and then that this Python can use it.

    Outside of a virtual environment it makes one that sees all that the machine has, and goes on
    there with ``python -m module arguments``.

    Returns
    -------
    str
        Why it is hopeless, or nothing. Without a GPU nothing is made or installed.
    """
    driver = Driver()
    if driver.reason:
        return driver.reason
    if sys.prefix == sys.base_prefix:
        python = ENVIRONMENT / "bin" / "python"
        if not python.exists():
            make = [sys.executable, "-m", "venv", "--system-site-packages", str(ENVIRONMENT)]
            subprocess.run(make, check=True)
        os.execv(python, [str(python), "-m", module, *arguments])
    if (lacking := missing()) and (failed := install(lacking)):
        return failed
    if find_spec("cupy") is None and (failed := install([driver.wheel], options=(), limit=900)):
        return failed
    if _can_import("tn_qnn.kernels"):
        return ""
    # The package itself, as it lies here: kernels/ is a part of it by setup.cfg alone.
    if find_spec("setuptools") is None and (failed := install(["setuptools>=77"])):
        return failed
    return install(["-e", str(ROOT)], options=("--no-deps", "--no-build-isolation"))


def _can_import(name: str) -> bool:
    command = [sys.executable, "-c", f"import {name}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
