"""Every instance of every kernel, launched by the runtime, against NumPy; and what is built on it.

On the stand-in it runs the emulated sources, on a GPU (tests marked ``gpu``) what NVRTC makes of
them: the same arguments, the same expectation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tn_qnn.backends.cuda import sources
from tn_qnn.backends.cuda.runtime import CudaRuntime
from tn_qnn.errors import BackendError, InputError
from tn_qnn.rng import Stream, rademacher, stream_key

from ..emulation.cupy_standin import make_cupy
from ..emulation.sources import expressions_of, squeeze
from ..kernels.reference import LOCAL, VECTOR, Batch, one_step

INSTANCES = [(k, v) for k, kernel in sources.KERNELS.items() for v in kernel.variants]


@dataclass(frozen=True)
class Launch:
    """A launch; ``check`` gets what its ``result``-th argument holds afterwards."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[Any, ...]
    check: Callable[[np.ndarray], bool]
    result: int = 0
    shared: int = 0


def angles(dtype: type) -> Launch:
    """angle(e, p, s) = c_e + 2 w_1 x_0 - 3 w_0 for one row, two cones, three sets, 50 samples."""
    rng = np.random.default_rng(2)
    weights, features = rng.normal(size=(3, 2)), rng.normal(size=(50, 1))
    constants = np.array([0.25, 1e4])  # large angles are reduced in double precision
    arena = np.full(2 * 2 * 150, np.nan, dtype=dtype)
    columns = np.array([[1, -2, -1, -1], [0, -1, -1, -1]] * 2, dtype=np.int32)
    coefficients = np.array([2.0, -3.0, 2.0, -3.0])
    counts = [np.int32(n) for n in (1, 2, 3, 50)]
    strides = [np.int64(n) for n in (300, 150, 50, 1, 2, 0, 1)]
    angle = constants[:, None, None] + (
        2 * weights[:, 1, None] * features[:, 0] - 3 * weights[:, :1]
    )
    want = np.array([np.cos(angle), np.sin(angle)]).ravel()
    starts = np.array([0, 2, 4], dtype=np.int32)
    args = (arena, weights, features, constants, starts, coefficients, columns, np.int64(0))
    close = 1e-6 if dtype is np.float32 else 1e-11
    return Launch(
        (3,), (128,), (*args, *counts, *strides), lambda a: np.allclose(a, want, rtol=0, atol=close)
    )


def readout(dtype: type) -> Launch:
    """Outputs 2 and 0 of three, as sums of two terms and of one; added to what is there."""
    arena = np.random.default_rng(3).normal(size=(4, 2, 70)).astype(dtype)
    before = np.arange(3.0 * 2 * 70).reshape(3, 2, 70)
    want = before.copy()
    want[2] += 0.5 * arena[1].astype(float) - 2.0 * arena[3].astype(float)
    want[0] += arena[0].astype(float)
    args = (
        arena.ravel(),
        before.copy(),
        np.array([2, 0], dtype=np.int32),
        np.array([0, 2, 3], dtype=np.int32),
        np.array([140, 420, 0]),
        np.array([0.5, -2.0, 1.0]),
        *(np.int32(n) for n in (2, 2, 70)),
        *(np.int64(n) for n in (70, 1, 140, 70, 1)),
    )
    return Launch((2,), (128,), args, lambda out: np.allclose(out, want, rtol=1e-15), result=1)


def sums(dtype: type) -> Launch:
    """Four values of two cones, three sets and 50 samples: over samples, then over cones alone."""
    values = np.random.default_rng(6).normal(size=(4, 2, 3, 50)).astype(dtype)
    arena = np.concatenate([values.ravel(), np.full(24 + 600, np.nan, dtype=dtype)])
    wide = values.astype(float)
    found = [wide.sum(3), wide.sum(1)]
    want = np.concatenate([values.ravel(), *(part.ravel() for part in found)])
    kept = (1, 0, 0, 4, 300, 6, 2, 150, 3, 3, 50, 1), (1, 0, 0, 4, 300, 150, 3, 50, 50, 50, 1, 1)
    over = (1, 0, 1, 0, 50, 1), (1, 0, 1, 0, 2, 150)
    heads = (0, 1200, 32), (0, 1224, 1)
    rows = np.array([[*h, *k, *o, 0, 0, 0] for h, k, o in zip(heads, kept, over, strict=True)])
    close = 1e-6 if dtype is np.float32 else 1e-13
    return Launch((3, 2), (128,), (arena, rows), lambda a: np.allclose(a, want, rtol=0, atol=close))


def pulled(dtype: type) -> Launch:
    """dL/dw_1 of the angle 2 w_1 x_0 with dL/dcos and dL/dsin, one row, 50 samples."""
    rng = np.random.default_rng(7)
    features, angle = rng.normal(size=(50, 1)), rng.normal(size=50)
    by = rng.normal(size=(2, 50))
    arena = np.concatenate([np.cos(angle), np.sin(angle), *by]).astype(dtype)
    cos, sin, by_cos, by_sin = arena.reshape(4, 50).astype(float)
    want = 2 * np.sum(2 * features[:, 0] * (by_sin * cos - by_cos * sin))
    tables = (np.array([1], dtype=np.int32), np.array([0, 1], dtype=np.int32),
              np.array([0], dtype=np.int32), np.array([2.0]),
              np.array([-2, -1, -1], dtype=np.int32))  # fmt: skip
    numbers = (np.int32(1), np.int64(0), np.int64(100), *(np.int32(n) for n in (1, 1, 1, 50)),
               *(np.int64(n) for n in (50, 50, 50, 1, 2, 1, 2)))  # fmt: skip
    args = (arena, np.zeros(2), np.zeros((1, 2)), features, *tables, *numbers)
    return Launch((1,), (128,), args, lambda g: np.allclose(g, [0, want], rtol=1e-13), result=1)


def signs(dtype: type) -> Launch:
    want = rademacher(5, 9, np.arange(3)[:, None], np.arange(4), 200)
    key = [np.uint32(word) for word in stream_key(5, Stream.DIRECTIONS)]
    sizes = [np.int32(n) for n in want.shape]
    args = (np.zeros(want.shape), *key, np.array([9]), *sizes)
    return Launch((1,), (128,), args, lambda out: np.array_equal(out, want))


def product(dtype: type) -> Launch:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 20)), rng.normal(size=(20, 11))
    sizes = [np.int64(n) for n in (30, 11, 20, 20, 1, 11, 1)]
    args = (np.zeros((30, 11)), a, b, *sizes)
    return Launch((2,), (128,), args, lambda out: np.allclose(out, a @ b, rtol=0, atol=1e-13))


LAUNCHES = {
    "fill_angles": angles,
    "read_out": readout,
    "sum_batch": sums,
    "pull_angles": pulled,
    "random_signs": signs,
    "product": product,
}


def run_steps(kernel: str, variant: str, run: Callable[..., None]) -> None:
    """Run a small step by one of the kernels that run steps, and check the arena."""
    dtype, planes = ("float32" if "float" in variant else "float64"), (1 + ("true" in variant), 1)
    if kernel.startswith("run_stage"):
        stage = one_step((2, 3, 4, 2), Batch(2, 2, 40), dtype, planes, (VECTOR, LOCAL, LOCAL))
        arena = stage.run_stage(run, lanes=32, groups=2, kernel=kernel)
    else:
        stage = one_step((2, 3, 4, 2), Batch(2, 2, 40), dtype, planes)
        more = {} if kernel == "run_gemm" else {"kernel": kernel}
        arena = (stage.run_gemm if kernel == "run_gemm" else stage.run_large)(run, **more)
    stage.check(arena)


@pytest.fixture(params=["eager", "lazy", pytest.param("gpu", marks=pytest.mark.gpu)])
def runtime(request):
    if request.param == "gpu":
        import cupy

        return CudaRuntime(cupy)
    return CudaRuntime(make_cupy(lazy=request.param == "lazy"))


@pytest.mark.parametrize(("kernel", "variant"), INSTANCES, ids=lambda part: part or "plain")
@pytest.mark.parametrize("how", ["now", "in a graph"])
def test_an_instance_of_a_kernel(runtime, kernel, variant, how):
    launched = []

    def run(source, expression, grid, block, args, shared=0):
        assert (source, expression) == (sources.KERNELS[kernel].file, kernel + variant)
        there = tuple(runtime.to_device(a) if isinstance(a, np.ndarray) else a for a in args)

        def start():
            runtime.launch(kernel, variant, grid, block, there, shared)

        start()
        if how == "in a graph":
            graph = runtime.capture(start)
            for array, before in zip(there, args, strict=True):
                if isinstance(before, np.ndarray):
                    array.set(before)  # as it was before the first time
            graph.launch()
        for array, host in zip(there, args, strict=True):
            if isinstance(host, np.ndarray):
                host[...] = runtime.to_host(array)
        launched.append(expression)

    if kernel.startswith("run_"):
        run_steps(kernel, variant, run)
    else:
        case = LAUNCHES[kernel](np.float32 if "float" in variant else np.float64)
        assert not case.check(case.args[case.result])
        file = sources.KERNELS[kernel].file
        run(file, kernel + variant, case.grid, case.block, case.args, case.shared)
        assert case.check(case.args[case.result])
    assert launched == [kernel + variant]


# Operations of a training step


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 128), (1, 3, 129), (3, 5, 1000)])
def test_signs_are_those_of_the_host(runtime, sizes):
    directions, samples, weights = sizes
    seed, step = 2**63 + 12345, 2**31 + 7
    found = runtime.ops.rademacher(seed, step, directions, samples, weights)
    rows = np.arange(directions)[:, None]
    expected = rademacher(seed, step, rows, np.arange(samples), weights)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(runtime.to_host(found), expected)


def test_signs_in_a_graph_follow_the_step_on_the_device(runtime):
    step = runtime.to_device(np.array(4, dtype=np.int64))

    def work():
        signs = runtime.ops.rademacher(3, step, 2, 1, 40)
        step[...] += 1
        return signs

    work()
    graph = runtime.capture(work)
    for k in (5, 6, 7):
        graph.launch()
        expected = rademacher(3, k, np.arange(2)[:, None], np.arange(1), 40)
        np.testing.assert_array_equal(runtime.to_host(graph.values), expected)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 4, 5), (4, 1000, 30), (70, 5, 129), (2, 0, 3)])
@pytest.mark.parametrize("views", ["plain", "transposed", "strided"])
def test_matrix_products(runtime, sizes, views):
    cp, (m, k, n) = runtime.cp, sizes
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    left, right = cp.asarray(a), cp.asarray(b)
    if views == "transposed":
        left, right = cp.asarray(a.T.copy()).T, cp.asarray(b.T.copy()).T
    if views == "strided":
        left = cp.stack([left, -left], axis=1)[:, 0]
        right = cp.stack([right, -right], axis=-1)[..., 0]
    found = runtime.to_host(runtime.ops.matmul(left, right))
    np.testing.assert_allclose(found, a @ b, rtol=0, atol=1e-13 * max(k, 1))


def test_matrix_products_can_be_captured(runtime):
    a, b = runtime.to_device(np.arange(6.0).reshape(2, 3)), runtime.to_device(np.ones((3, 2)))
    runtime.ops.matmul(a, b)
    graph = runtime.capture(lambda: runtime.ops.matmul(a, b))
    graph.launch()
    assert runtime.to_host(graph.values).tolist() == [[3, 3], [12, 12]]


def test_matrices_that_do_not_fit(runtime):
    cp = runtime.cp
    a = cp.zeros((2, 3))
    for wrong in (cp.zeros((2, 3)), cp.zeros(3), cp.zeros((3, 2), dtype=np.float32)):
        with pytest.raises(InputError, match="a, b: got float64"):
            runtime.ops.matmul(a, wrong)


# Sources


def test_every_expression_has_its_file():
    files = {path.name for path in sources.folder().glob("*.cu")}
    assert set(sources.ALL_EXPRESSIONS) == files
    names = [n for expressions in sources.ALL_EXPRESSIONS.values() for n in expressions]
    assert len(names) == len(set(names)) == sum(len(k.variants) for k in sources.KERNELS.values())


@pytest.mark.parametrize("file", sources.ALL_EXPRESSIONS)
def test_expressions_are_those_of_the_source(file):
    there = {squeeze(name) for name in expressions_of(sources.folder() / file)}
    assert there == {squeeze(name) for name in sources.ALL_EXPRESSIONS[file]}


def test_options_change_with_the_sources(tmp_path, monkeypatch):
    options = sources.options()
    assert options[0] == "-std=c++17" and options[1] == f"-I{sources.folder()}"
    (tmp_path / "a.cuh").write_text("// another source")
    monkeypatch.setattr(sources, "folder", lambda: tmp_path)
    changed = sources.options()
    assert changed[2] != options[2] and changed[2].startswith("-DTN_QNN_SOURCES=0x")


def test_wrong_names_and_dtypes():
    with pytest.raises(BackendError, match="dtype: got float16, expected float32 or float64"):
        sources.variant("run_stage", np.float16)
    with pytest.raises(BackendError, match="kernel: got 'nothing', expected one of run_stage"):
        sources.expression("nothing")
