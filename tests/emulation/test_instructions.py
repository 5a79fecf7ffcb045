"""The instructions of the kernels' inner loops, as compiled, against a model of these loops.

A thread that works on a tile of R x C outputs loads R + C numbers for each value of k and uses
them for R * C fused multiply-adds; a complex operand has two planes, so that both loads and
products count twice. Beside that, a turn of the loop looks up where the operands' next elements
lie, and counts.
"""

import functools
import itertools

import pytest

from .compiler import KERNELS
from .disassembly import Loop, disassemble, inner_loops, instructions, mangled, operations, why_not

compiled_here = pytest.mark.skipif(bool(why_not()), reason=why_not())

LOOKUPS = 4  # loads of offsets and strides in a turn of the loop, at most
UNROLLED = (1, 2, 3, 4)  # values of k in a turn, as the compiler likes


LISTING = """\
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_2:
        /*0010*/                   IADD3 R0, R0, 0x1, RZ ;
.L_x_1:
        /*0020*/              @!P0 LDG.E R4, desc[UR4][R2.64] ;
        /*0030*/                   LDS.128 R8, [R6] ;
        /*0040*/                   FFMA R5, R4, R8, R5 ;
        /*0050*/               @P1 BRA `(.L_x_1) ;
        /*0060*/                   LDL R7, [R1] ;
        /*0070*/               @P2 BRA `(.L_x_2) ;
.L_x_3:
        /*0080*/                   BRA `(.L_x_3);
"""


def test_a_listing_is_read():
    lines = instructions(LISTING)
    assert inner_loops(lines) == [Loop(size=4, fma=1, loads=2)]
    assert operations(lines)["LDL"] == 1
    assert operations(lines).total() == 9
    assert mangled("run_stage<float, true>") == "_Z9run_stageIfLb1EE"
    assert mangled("product") == "_Z7product"


@functools.cache
def compiled(source: str) -> dict[str, list[str]]:
    return disassemble(KERNELS / source)


def code(source: str, expression: str) -> list[str]:
    (found,) = [x for name, x in compiled(source).items() if name.startswith(mangled(expression))]
    return found


def best(source: str, expression: str) -> Loop:
    """Return the inner loop with the largest share of multiply-adds."""
    return max(inner_loops(code(source, expression)), key=lambda loop: loop.fma / loop.size)


def model(rows: int, columns: int, left: int, right: int) -> tuple[int, int]:
    """Return multiply-adds and loads for one k, given the planes of both operands."""
    return rows * columns * left * right, rows * left + columns * right


@compiled_here
@pytest.mark.parametrize(
    "source", ["stage.cu", "gemm.cu", "spsa.cu", "readout.cu", "sums.cu", "pull.cu"]
)
def test_nothing_is_kept_in_local_memory(source):
    for name, lines in compiled(source).items():
        counts = operations(lines)
        assert counts["LDL"] == counts["STL"] == 0, name


@compiled_here
@pytest.mark.parametrize("kernel", ["run_stage", "run_large"])
@pytest.mark.parametrize("dtype", ["float", "double"])
@pytest.mark.parametrize("planes", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_each_tile_shape_has_a_loop_as_modelled(kernel, dtype, planes):
    source = "stage.cu" if kernel == "run_stage" else "gemm.cu"
    is_complex = 2 in planes
    loops = inner_loops(code(source, f"{kernel}<{dtype}, {'true' if is_complex else 'false'}>"))
    sizes = (1, 2) if is_complex and dtype == "double" else (1, 2, 4)
    for rows, columns in itertools.product(sizes, repeat=2):
        fma, loads = model(rows, columns, *planes)
        assert any(
            loop.fma == turns * fma and turns * loads <= loop.loads <= turns * loads + LOOKUPS
            for loop in loops
            for turns in UNROLLED
        ), f"no loop with {fma} multiply-adds and {loads} loads a k for {rows} x {columns}"


# The share of multiply-adds in the best loop. What is missing to 1 are loads, addresses of
# operands whose elements lie anywhere, and the loop itself.
SHARES = {
    ("run_stage", "float", "true"): 0.50,
    ("run_stage", "float", "false"): 0.35,
    ("run_stage", "double", "true"): 0.35,
    ("run_stage", "double", "false"): 0.35,
    ("run_large", "float", "true"): 0.50,
    ("run_large", "float", "false"): 0.33,
    ("run_large", "double", "true"): 0.33,
    ("run_large", "double", "false"): 0.33,
    ("run_gemm", "float", "true"): 0.85,
    ("run_gemm", "float", "false"): 0.75,
    ("run_gemm", "double", "true"): 0.80,
    ("run_gemm", "double", "false"): 0.70,
}


@compiled_here
@pytest.mark.parametrize(("variant", "share"), list(SHARES.items()), ids=str)
def test_share_of_multiply_adds(variant, share):
    kernel, *arguments = variant
    source = "stage.cu" if kernel == "run_stage" else "gemm.cu"
    loop = best(source, f"{kernel}<{', '.join(arguments)}>")
    assert loop.fma / loop.size >= share, loop


@compiled_here
@pytest.mark.parametrize(("dtype", "width"), [("float", 4), ("double", 2)])
@pytest.mark.parametrize("planes", [1, 2])
def test_the_tiled_product_loads_from_shared_memory_in_vectors(dtype, width, planes):
    """A thread's 4 x 4 outputs take 4 + 4 numbers a plane and k, 16 bytes at a time."""
    loop = best("gemm.cu", f"run_gemm<{dtype}, {'true' if planes == 2 else 'false'}>")
    fma, numbers = model(4, 4, planes, planes)
    turns = loop.fma // fma
    assert loop.fma == turns * fma
    assert loop.loads == turns * numbers // width
