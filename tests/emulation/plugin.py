"""Fixtures with a stand-in for CuPy; tests/conftest.py makes them known."""

from types import ModuleType

import pytest

from .cupy_standin import install, make_cupy


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A machine with one emulated GPU: ``import cupy`` finds it."""
    module = make_cupy()
    install(module, monkeypatch.setitem)
    return module


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def either_cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An emulated GPU, and the real one where there is one: for tests that hold for both."""
    if request.param == "gpu":
        import cupy

        return cupy
    module = make_cupy()
    install(module, monkeypatch.setitem)
    return module


@pytest.fixture
def lazy_cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """One emulated GPU on which work is done only when something waits for it."""
    module = make_cupy(lazy=True)
    install(module, monkeypatch.setitem)
    return module
