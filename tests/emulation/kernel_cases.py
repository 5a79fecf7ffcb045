"""Small launches of every kernel, each held to NumPy, for runs that take long.

A case is a function of ``run``, which launches a kernel of a file as `Library.launch` does. All
are in float32, and complex: real operands run through the same code.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..kernels import (
    test_fill,
    test_gemm,
    test_pull,
    test_readout,
    test_spsa,
    test_stage,
    test_sums,
)
from ..kernels.reference import LOCAL, VECTOR, Batch, one_step
from .build import emulated, run_standalone
from .compiler import KERNELS
from .sources import squeeze

DTYPE = "float32"


def stage(run: Callable) -> None:
    test_stage.verify(run, test_stage.network(DTYPE, inner=40), groups=2)


def wide_stage(run: Callable) -> None:
    """Tiles of 4 x 4 outputs, and lanes that have nothing to do."""
    given = one_step((1, 4, 8, 5), Batch(1, 1, 33), DTYPE, (2, 2), (VECTOR, LOCAL, VECTOR))
    test_stage.verify(run, given, groups=3)


def large(run: Callable) -> None:
    """More than one tile of 64 x 64 outputs, more than one piece of 16 values of k."""
    test_gemm.verify(run, one_step((2, 66, 3, 18), Batch(1, 2, 1), DTYPE, (2, 2)))


def angles(run: Callable) -> None:
    test_fill.test_angles(run, (2, 3, 2, 20), False, DTYPE)


def outputs(run: Callable) -> None:
    test_readout.test_outputs(run, 3, 20, "KPS", DTYPE)


def sums(run: Callable) -> None:
    """By warps and by single threads, in one launch."""
    given = [test_sums.Sum(2, (2, 3, 37), "sks", 2), test_sums.Sum(3, (4, 1, 5), "skk")]
    test_sums.verify(run, given, DTYPE)


def gradients(run: Callable) -> None:
    test_pull.test_gradients(run, (4, 3, 2, 37), DTYPE)


def directions(run: Callable) -> None:
    test_spsa.test_directions_are_the_hosts_bits(run, 2, 3, 150)


def products(run: Callable) -> None:
    test_spsa.test_product(run, (16, 33, 5))


CASES = {
    "stage.cu": (stage, wide_stage),
    "gemm.cu": (large,),
    "fill.cu": (angles,),
    "readout.cu": (outputs,),
    "sums.cu": (sums,),
    "pull.cu": (gradients,),
    "spsa.cu": (directions, products),
}


@dataclass(frozen=True)
class Runner:
    """Launches kernels of a folder: ``how`` is ``fibers`` or a sanitizer."""

    folder: Path
    how: str
    launched: set[str] = field(default_factory=set)

    def __call__(self, source, expression, grid, block, args, shared=0) -> None:
        self.launched.add(squeeze(expression))
        path = self.folder / source
        if self.how == "fibers":
            emulated(path).launch(expression, grid, block, args, shared)
        else:
            run_standalone(path, expression, grid, block, args, shared, self.how)


def copy_kernels(folder: Path) -> None:
    """Copy the sources, with the instances alone that the cases need: they compile sooner."""

    def chosen(match: re.Match) -> str:
        return match[0] if squeeze(match[1]) in ("<float>", "<float,true>") else ""

    for path in KERNELS.glob("*.cu*"):
        shutil.copy(path, folder)
    for path in folder.glob("*.cu"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"template __global__ void \w+(<[^;()]*>)\([^;]*;", chosen, text)
        path.write_text(text, encoding="utf-8")
