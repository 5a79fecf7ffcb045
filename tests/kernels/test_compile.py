"""Every source compiles for every architecture, silently and without spills."""

from __future__ import annotations

import re

import pytest

from tn_qnn.backends.cuda.sources import ALL_EXPRESSIONS

from . import resources
from .resources import ARCHITECTURES, ROOT, in_page, markdown, parsed, readable, release, uses

needs_nvcc = pytest.mark.skipif(not release(), reason="there is no nvcc on this machine")
PAGE = ROOT / "docs" / "gpu.md"

SAID = """\
ptxas info    : Overriding maximum register limit
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z11fill_anglesIdEvPT_PKdS3_' for 'sm_90'
ptxas info    : Function properties for __internal_trig_reduction_slowpathd
    24 bytes stack frame, 1 bytes spill stores, 1 bytes spill loads
ptxas info    : Function properties for _Z11fill_anglesIdEvPT_PKdS3_
    40 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 33 registers, used 1 barriers, 40 bytes cumulative stack size, 64 bytes smem
ptxas info    : Compile time = 12.000 ms
ptxas info    : Compiling entry function '_Z7productPdPKd' for 'sm_90'
ptxas info    : Function properties for _Z7productPdPKd
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 20 registers, used 0 barriers
"""


@needs_nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", sorted(ALL_EXPRESSIONS))
def test_all_instances_compile_without_a_warning(source, architecture):
    found = parsed(resources.jobs()[source, architecture].result())
    assert {use.architecture for use in found} == {architecture}
    assert sorted(use.kernel for use in found) == sorted(ALL_EXPRESSIONS[source])


def test_every_source_is_compiled():
    assert [path.name for path in resources.sources()] == sorted(ALL_EXPRESSIONS)


@needs_nvcc
def test_nothing_spills_and_the_step_kernels_need_no_stack():
    assert not [use for use in uses() if use.spills]
    assert {use.kernel.partition("<")[0] for use in uses() if use.stack} <= {"fill_angles"}


@needs_nvcc
def test_a_block_of_the_largest_size_fits():
    """65,536 registers, given to warps of 32 in units of 8 a thread; 48 KiB of shared memory."""
    for use in uses():
        threads = {"run_gemm": 256, "run_large": 512, "run_stage": 512}.get(
            use.kernel.partition("<")[0], 128
        )
        assert -(-use.registers // 8) * 8 * threads <= 65536, use
        assert use.shared <= 48 << 10, use


@needs_nvcc
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__global__ void f(int* x) { int unused; *x = 1; }", "never referenced"),
        ("__global__ void __launch_bounds__(1024, 2) f(float* x) { float a[64];"
         " for (int i = 0; i < 64; ++i) a[i] = x[i * 1024 + threadIdx.x]; __syncthreads();"
         " for (int i = 0; i < 64; ++i) x[i * 1024 + threadIdx.x] = a[i] * a[63 - i]; }", "spill"),
        ("__global__ void f(int* x) { *x = nothing; }", "undefined"),
    ],
)  # fmt: skip
def test_warnings_and_spills_are_errors(text, message, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "KERNELS", tmp_path)
    monkeypatch.setattr(resources, "CACHE", tmp_path / "cache")
    source = tmp_path / "planted.cu"
    source.write_text(text)
    with pytest.raises(RuntimeError, match=rf"planted\.cu for sm_90(.|\n)*{message}"):
        resources.compiled(source, "sm_90")


def test_the_assemblers_messages_are_read():
    fill, product = parsed(SAID)
    assert fill == resources.Use("fill_angles<double>", "sm_90", 33, 64, 40, 20)
    assert product == resources.Use("product", "sm_90", 20, 0, 0, 0)
    assert readable("_Z9run_stageIfLb0EEvPT_PKx") == "run_stage<float, false>"


@needs_nvcc
def test_the_page_shows_the_table():
    shown = in_page(PAGE.read_text(encoding="utf-8"))
    assert shown is not None, f"{PAGE} lacks the marks of the table"
    by = re.search(r"nvcc ([\d.]+)", shown)
    assert by, f"the table in {PAGE} names no nvcc; run tests/kernels/resources.py {PAGE}"
    if by[1] != release():
        pytest.skip(f"the page's table is by nvcc {by[1]}, here is {release()}")
    assert shown == markdown(uses())
