"""How the tests here launch kernels: emulated, and where there is one on a GPU."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from tn_qnn.backends.cuda import sources

from ..emulation.build import emulated
from ..emulation.sources import expressions_of


def run_emulated(source: str, expression: str, grid: Any, block: Any, args: Any, shared: int = 0):
    """Launch a kernel of a file in kernels/, or of a path, by the emulator."""
    emulated(source).launch(expression, grid, block, args, shared)


@functools.cache
def module(cp: Any, source: str) -> Any:
    """A source as a module of CuPy."""
    path = sources.folder() / source  # an absolute path stays what it is
    return cp.RawModule(
        code=path.read_text(encoding="utf-8"),
        options=(*sources.options(), f"-I{path.parent}"),
        name_expressions=tuple(expressions_of(path)),
    )


def run_on_device(
    cp: Any, source: str, expression: str, grid: Any, block: Any, args: Any, shared: int = 0
) -> None:
    """The same by CuPy: arrays go to the device and come back."""
    kernel = module(cp, source).get_function(expression)
    if shared > 48 * 1024:
        kernel.max_dynamic_shared_size_bytes = shared
    there = [cp.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    kernel(grid, block, tuple(there), shared_mem=shared)
    for arg, copy in zip(args, there, strict=True):
        if isinstance(arg, np.ndarray):
            arg[...] = copy.get()


@pytest.fixture(scope="session", params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def run(request):
    """``run(source, expression, grid, block, args, shared)`` launches on arrays of NumPy."""
    if request.param == "emulated":
        return run_emulated
    import cupy

    return functools.partial(run_on_device, cupy)


@pytest.fixture
def run_standin(cupy):
    """The code that launches on a GPU, with the stand-in for CuPy."""
    yield functools.partial(run_on_device, cupy)
    module.cache_clear()
