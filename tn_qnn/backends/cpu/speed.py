"""How fast this machine is, for predictions."""

from functools import cache

import numpy as np


@cache
def multiply_adds_per_second(dtype: str) -> float:
    """Multiply-adds a second that one thread of the interpreter reaches on middling steps.

    Measured once a process, in some ten milliseconds, on M = N = 4, K = 2 over 64 lanes: a
    prediction from it is good to a factor of two or three.
    """
    from time import perf_counter

    from tn_qnn.backends.cpu.kernel import new_arena, run_stages

    m, n, k, lanes, repeats = 4, 4, 2, 64, 200
    arena = new_arena((m * k + k * n + m * n) * lanes, dtype)
    arena.fill(1)
    operands = [[1, base * lanes, 0, lanes, 0, 0, 0, 0] for base in (0, m * k, m * k + k * n)]
    row = [1, m, n, k, 0, 0, 0, 0, *(x for operand in operands for x in operand)]
    steps = np.array([row] * repeats, dtype=np.int64)
    offsets = [[0], np.arange(m) * k, np.arange(k), [0], np.arange(k) * n, np.arange(n)]
    tables = np.concatenate([*offsets, [0], np.arange(m) * n, np.arange(n)]).astype(np.int64)
    stages = np.array([[0, repeats, 1, 1, lanes, lanes, 0, 0]], dtype=np.int64)
    seconds = []
    for _ in range(5):
        start = perf_counter()
        run_stages(arena, stages, steps, tables, 1)
        seconds.append(perf_counter() - start)
    return m * n * k * lanes * repeats / min(seconds)
