"""NVRTC, which compiles the sources where a GPU is: it knows no header of the host.

It compiles for any GPU without one; nvcc, which the other tests use, lets more pass.
"""

import ctypes
import functools
import importlib.util
from pathlib import Path

import pytest

from tn_qnn.backends.cuda.sources import ALL_EXPRESSIONS, options, read


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """Load NVRTC from the wheel nvidia-cuda-nvrtc."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    found = sorted(path for folder in folders for path in folder.glob("*/lib/libnvrtc*.so.*"))
    names = [path for path in found if ".alt." not in path.name]
    if not names:
        return None
    # the builtins first: NVRTC asks for them by name, wherever they lie
    return [ctypes.CDLL(str(path)) for path in names][-1]


needs_nvrtc = pytest.mark.skipif(nvrtc() is None, reason="no NVRTC; pip install nvidia-cuda-nvrtc")


def compiled(code: str, names: tuple[str, ...], flags: tuple[str, ...]) -> tuple[int, str, list]:
    """Compile as CuPy's RawModule does: status, log, and the names in the binary."""
    lib = nvrtc()
    assert lib is not None
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert not lib.nvrtcCreateProgram(
        ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None
    )
    for name in names:
        assert not lib.nvrtcAddNameExpression(program, name.encode())
    given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = lib.nvrtcCompileProgram(program, len(flags), given)
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    lowered = []
    for name in names if not status else ():
        text = ctypes.c_char_p()
        assert not lib.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(text))
        lowered.append((text.value or b"").decode())
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    return status, log.value.decode(), lowered


@needs_nvrtc
@pytest.mark.parametrize("file", ALL_EXPRESSIONS)
def test_the_sources_compile_and_every_kernel_is_found(file: str) -> None:
    flags = (*options(), "--gpu-architecture=sm_90", "-ftz=true")  # nvcc does the others
    status, log, lowered = compiled(read(file), ALL_EXPRESSIONS[file], flags)
    assert (status, log) == (0, "")
    assert len(set(lowered)) == len(ALL_EXPRESSIONS[file])


@needs_nvrtc
def test_a_header_of_the_host_is_not_found() -> None:
    status, log, _ = compiled("#include <cstdint>\n" + read("spsa.cu"), (), options())
    assert status and "cstdint" in log
