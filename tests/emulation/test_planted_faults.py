"""Tests of the tests: kernels pass the sanitizers, and with a fault planted they do not."""

import functools
import re
from dataclasses import dataclass

import pytest

from .build import SanitizerError
from .compiler import KERNELS
from .kernel_cases import CASES, Runner, copy_kernels
from .sources import LaunchError, expressions_of

pytestmark = pytest.mark.slow

# By what a fault is caught, and how that shows.
CAUGHT = {
    "race": ("thread", SanitizerError, "ThreadSanitizer: data race"),
    "race or wild": ("thread", SanitizerError, "ThreadSanitizer: (data race|SEGV)"),
    "bounds": ("address", SanitizerError, "AddressSanitizer: (heap-buffer-overflow|SEGV)"),
    "result": ("fibers", AssertionError, ""),
    "result or wild": ("fibers", (AssertionError, LaunchError), ""),
    "launch": ("fibers", LaunchError, "wrote beyond|memory that is not there"),
}


@dataclass(frozen=True)
class Fault:
    """A copy of ``source`` is compiled in which ``old``, once in ``file``, is ``new``."""

    name: str
    source: str
    file: str
    old: str
    new: str
    caught: str  # keys of CAUGHT, with commas


FAULTS = (
    # A barrier is removed.
    Fault("barrier between steps", "stage.cu", "stage.cu",
          "if (groups > 1) __syncthreads();", "", "race, result"),
    Fault("barrier behind the tables", "stage.cu", "stage.cu",
          "entries[i] = tables[i];\n  __syncthreads();", "entries[i] = tables[i];", "race or wild"),
    Fault("barrier before a piece is read", "gemm.cu", "gemm.cu",
          "pieces[1]);\n    __syncthreads();", "pieces[1]);", "race, result"),
    Fault("barrier before a piece is replaced", "gemm.cu", "gemm.cu",
          "__syncthreads();  // nobody reads", "//", "race"),
    # An index is off by one.
    Fault("one table entry too many", "stage.cu", "stage.cu",
          "i < part.entries;", "i <= part.entries;", "bounds, launch"),
    Fault("one lane too many", "stage.cu", "stage.cu",
          "if (batch.t0 + lane < inner) run_step", "if (batch.t0 + lane <= inner) run_step",
          "result"),
    Fault("one monomial too many", "fill.cu", "fill.cu",
          "j < starts[e + 1];", "j <= starts[e + 1];", "bounds"),
    Fault("one output too many", "spsa.cu", "spsa.cu",
          "place < m * n;", "place <= m * n;", "bounds"),
    Fault("one value too many", "sums.cu", "sums.cu",
          "k < summed[4];", "k <= summed[4];", "result"),
    Fault("one term too many", "pull.cu", "pull.cu",
          "i < starts[j + 1];", "i <= starts[j + 1];", "bounds, result or wild"),
    Fault("the row below", "gemm.cu", "gemm.cu",
          "const int m = m0 + EACH", "const int m = m0 + 1 + EACH", "result"),
    # Threads of a warp do not add up what they have.
    Fault("half a warp's sums", "sums.cu", "sums.cu",
          "int bits = 16;", "int bits = 8;", "result"),
    Fault("a warp's gradient", "pull.cu", "pull.cu",
          "if (lane == 0) gradient", "gradient", "race, result"),
    # Something is read that was never written.
    Fault("the last step's row", "stage.cu", "stage.cu",
          "i < part.steps; i += groups", "i < part.steps - 1; i += groups", "bounds"),
    Fault("imaginary parts", "stage.cu", "tensor.cuh",
          "if (COMPLEX) *reinterpret_cast<T*>(at + to.imag) = value.im;", "", "result"),
    Fault("the last row of a piece", "gemm.cu", "gemm.cu",
          "depth < K)", "depth < K - 1)", "result"),
    # A stride is wrong.
    Fault("stride of the scratch", "stage.cu", "step.cuh",
          "local ? width * size", "local ? (width + 1) * size",
          "result or wild"),
    Fault("stride of elements", "stage.cu", "tensor.cuh",
          "wide_product(element, stride)", "wide_product(element, stride + 4)", "result"),
    Fault("stride of the second batch label", "gemm.cu", "step.cuh",
          "batch.i1 * row[5]", "batch.i1 * row[4]", "result"),
    Fault("stride of samples", "readout.cu", "readout.cu",
          "arena + p * stride_p + s * stride_s", "arena + p * stride_s + s * stride_p",
          "bounds"),
    Fault("stride of the sums", "sums.cu", "sums.cu",
          "to += place * kept[3 * axis + 2]", "to += place * kept[3 * axis + 1]", "result or wild"),
    Fault("stride of sets", "pull.cu", "pull.cu",
          "p * stride_p;", "p * stride_c;", "result or wild"),
)  # fmt: skip
PAIRS = [(fault, how) for fault in FAULTS for how in fault.caught.split(", ")]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Run the cases of a healthy source, once; returns the kernels that were launched."""
    folder = tmp_path_factory.mktemp("kernels")
    copy_kernels(folder)

    @functools.cache
    def run(source, how):
        return run_cases(folder, source, how)

    return run


def run_cases(folder, source, how):
    run = Runner(folder, how)
    for case in CASES[source]:
        case(run)
    return run.launched


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("source", sorted(path.name for path in KERNELS.glob("*.cu")))
def test_every_kernel_passes(source, sanitizer, healthy):
    launched = {expression.split("<")[0] for expression in healthy(source, sanitizer)}
    assert launched == {kernel.split("<")[0] for kernel in expressions_of(KERNELS / source)}


@pytest.mark.parametrize(
    ("fault", "how"), PAIRS, ids=[f"{fault.name} - {how}" for fault, how in PAIRS]
)
def test_a_fault_is_caught(fault, how, healthy, tmp_path):
    runner, error, says = CAUGHT[how]
    healthy(fault.source, runner)

    copy_kernels(tmp_path)
    text = (tmp_path / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, f"{fault.old!r} is there {text.count(fault.old)} times"
    (tmp_path / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    with pytest.raises(error) as caught:
        run_cases(tmp_path, fault.source, runner)
    assert re.search(says, str(caught.value)), caught.value
