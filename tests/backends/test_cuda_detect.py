"""What is said where CUDA cannot be used: one clear sentence for each reason."""

import builtins
import importlib.metadata
import sys

import pytest

from tn_qnn.backends.cuda import detect
from tn_qnn.errors import BackendError

from ..emulation.cupy_standin import install, make_cupy


@pytest.fixture(autouse=True)
def one_wheel(monkeypatch):
    """Pretend that one wheel of CuPy is installed."""
    monkeypatch.setattr(detect, "wheels", lambda: ("cupy-cuda13x",))


def use(monkeypatch, **machine):
    cp = make_cupy(**machine)
    install(cp, monkeypatch.setitem)
    return cp


def test_a_usable_machine(monkeypatch):
    cp = use(monkeypatch)
    assert detect.why_not() == "" and detect.require() is cp


def test_two_wheels(monkeypatch):
    use(monkeypatch)
    monkeypatch.setattr(detect, "wheels", lambda: ("cupy-cuda12x", "cupy-cuda13x"))
    with pytest.raises(BackendError) as caught:
        detect.require()
    words = "cupy-cuda12x and cupy-cuda13x are installed together and overwrite each other: pip "
    assert words + "uninstall cupy-cuda12x cupy-cuda13x, then pip install" in str(caught.value)


def failing_import(monkeypatch, error):
    true_import = builtins.__import__

    def imports(name, *args, **kwargs):
        if name == "cupy":
            raise error
        return true_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", imports)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ModuleNotFoundError("", name="cupy"),
            'CuPy is not installed: pip install "tn-qnn[gpu13]"',
        ),
        (ModuleNotFoundError("", name="cupy_backends"), "CuPy is not installed"),
        (ModuleNotFoundError("", name="fastrlock"), "fastrlock is not installed"),
        (ImportError("libcudart\n not found"), "cannot be imported (libcudart not found): reinst"),
        (OSError("broken"), "cannot be imported (broken)"),
    ],
)
def test_cupy_missing_or_broken(monkeypatch, error, words):
    failing_import(monkeypatch, error)
    assert words in detect.why_not()
    with pytest.raises(BackendError, match="backend: CUDA cannot be used: "):
        detect.require()


@pytest.mark.parametrize(
    ("machine", "driver", "words"),
    [
        ({"devices": 0}, 13000, "finds no CUDA device: look at nvidia-smi"),
        ({"status": 100}, 13000, "CUDA_VISIBLE_DEVICES"),
        ({"status": 35}, 0, "there is no NVIDIA driver: install one, 580 or newer"),
        ({"status": 35}, 12040, "knows CUDA up to 12.4 and CuPy was built for 13.2: install a"),
        ({"status": 35}, 12040, 'or uninstall cupy-cuda13x and install "tn-qnn[gpu12]"'),
        ({"status": 3}, 13000, 'start processes by "spawn"'),
        ({"status": 999}, 13000, "CUDA does not start (CUDA error 999)"),
    ],
)
def test_no_device(monkeypatch, machine, driver, words):
    cp = use(monkeypatch, **machine)
    monkeypatch.setattr(cp.cuda.runtime, "driverGetVersion", lambda: driver)
    assert words in detect.why_not()
    with pytest.raises(BackendError):
        detect.require()


def test_a_count_of_zero_is_no_device(monkeypatch):
    cp = use(monkeypatch)
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", lambda: 0)
    assert "finds no CUDA device" in detect.why_not()


def test_cupy_for_other_gpus(monkeypatch):
    cp = use(monkeypatch)
    monkeypatch.setattr(cp.cuda.runtime, "is_hip", True)
    monkeypatch.setattr(detect, "wheels", lambda: ("cupy-rocm-7-0",))
    assert "made for AMD's GPUs: uninstall cupy-rocm-7-0" in detect.why_not()


def test_wheels_are_found_by_name(monkeypatch):
    class Found:
        def __init__(self, name):
            self.name = name

    names = ["numpy", "cupy_cuda13x", "cupyx-thing", None, "cupy", "CuPy-CUDA12x", "cupy-xarray"]
    monkeypatch.undo()  # the fixture's
    monkeypatch.setattr(detect, "distributions", lambda: map(Found, names))
    detect.wheels.cache_clear()
    assert detect.wheels() == ("cupy", "cupy-cuda12x", "cupy-cuda13x")
    detect.wheels.cache_clear()
    monkeypatch.undo()
    there = [n for n in ("cupy", "cupy-cuda12x", "cupy-cuda13x") if installed(n)]
    assert [n for n in detect.wheels() if n in there] == there


def installed(name):
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_the_real_cupy_without_a_driver(monkeypatch):
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        assert detect.why_not() == ""
        return
    assert any(words in detect.why_not() for words in ("NVIDIA driver", "no CUDA device", "knows"))


@pytest.mark.gpu
def test_a_gpu_is_usable():
    assert detect.why_not() == "" and detect.require().cuda.is_available()
