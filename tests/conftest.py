"""What holds for every test: no window, no chance, a plan cache of its own, no GPU presumed."""

import functools
import os
import shutil
import sys
import tempfile

import hypothesis
import pytest

from .emulation.plugin import cupy, either_cupy, lazy_cupy

__all__ = ["cupy", "either_cupy", "lazy_cupy", "no_gpu_presumed", "plan_cache"]
CACHE_VARIABLE = "TN_QNN_CACHE_DIR"
_KEY = pytest.StashKey[tuple[pytest.MonkeyPatch, str]]()

hypothesis.settings.register_profile("tn_qnn", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("tn_qnn")


def pytest_configure(config: pytest.Config) -> None:
    """Point plans at an empty folder; a hook, as doctests lie beyond this folder's fixtures."""
    cache = tempfile.mkdtemp(prefix="tn-qnn-tests-")
    patch = pytest.MonkeyPatch()
    patch.setenv(CACHE_VARIABLE, cache)
    patch.setenv("MPLBACKEND", "Agg")
    config.stash[_KEY] = patch, cache


def pytest_unconfigure(config: pytest.Config) -> None:
    patch, cache = config.stash[_KEY]
    patch.undo()
    shutil.rmtree(cache, ignore_errors=True)


@functools.cache
def why_no_gpu() -> str:
    """Say what keeps this machine from running GPU tests; empty where nothing does."""
    try:
        import cupy

        return "" if cupy.cuda.is_available() else "no CUDA device"
    except Exception as error:  # a broken driver may raise anything at all
        return f"CuPy cannot be used ({error})"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := why_no_gpu()):
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_gpu_presumed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a GPU from tests without the mark: they mean the CPU where they say "auto"."""
    if request.node.get_closest_marker("gpu") is None and not why_no_gpu():
        monkeypatch.setitem(sys.modules, "cupy", None)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def plan_cache() -> str:
    """Return the folder in which this session keeps its plans."""
    return os.environ[CACHE_VARIABLE]
