"""The bar of time: the exact gradient of the same model by JAX, compiled for the same cores.

Steps run on the device, some at a time (``lax.scan``), so that Python is not in their way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learning.trained import Mark, Trained
from bench.learning.tree_model import TreeModel

Array = NDArray[Any]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SWEEP_EVALUATIONS = 4  # a sample counts as many as with ExactGradient


def train(start: Mapping[str, Array], every: int) -> Trained:
    """Train from a shared start, ``every`` steps a call; tracing and compiling are timed.

    Parameters
    ----------
    start
        What :func:`bench.learning.start.shared_start` gives.
    every
        Steps from one mark to the next.
    """
    import jax
    import jax.numpy as jnp

    begin = time.perf_counter()
    model = TreeModel(start, jnp)
    angles = jnp.asarray(_with_empty(start), jnp.float32)
    advance = _compiled(model, angles, jnp.asarray(start["y"], jnp.int32))
    weights = jnp.asarray(start["weights"], jnp.float32)
    state = (jnp.asarray(0), weights, jnp.zeros_like(weights), jnp.zeros_like(weights))
    losses: list[float] = []
    marks: list[Mark] = []
    kept: list[Array] = []
    batches, evaluations = start["batches"], 0
    for first in range(0, len(batches), every):
        rows = slice(first, min(first + every, len(batches)))
        gains = jnp.asarray(start["gains"][rows], jnp.float32)
        feed = (jnp.asarray(batches[rows]), jnp.asarray(start["sources"][rows]), gains)
        state, found = advance(state, feed)
        losses += np.asarray(found).tolist()  # waits
        evaluations += SWEEP_EVALUATIONS * int((batches[rows] >= 0).sum())
        marks.append((rows.stop, evaluations, time.perf_counter() - begin))
        kept.append(np.asarray(state[1]))
    logits = jax.jit(model.logits)

    def score(weights: Array) -> float:
        found = np.asarray(logits(weights, start["held_angles"].astype(np.float32)))
        return float((found.argmax(axis=0) == start["held_y"]).mean())

    return Trained(losses, marks, kept, score, {"weights": weights.size})


def warm_up() -> None:
    """Compile something small: the library is ready then."""
    import jax
    import jax.numpy as jnp

    jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones(8)).block_until_ready()


def _compiled(model: TreeModel, all_angles: Any, all_y: Any) -> Callable[[Any, Any], Any]:
    """Steps of Adam; takes the state, and minibatches, shifts and gains of all steps."""
    import jax
    import jax.numpy as jnp

    def loss_of(weights: Any, angles: Any, y: Any, share: Any) -> Any:
        logits = model.logits(weights, angles)
        right = jnp.take_along_axis(logits, y[None], axis=0)[0]
        return share @ (jax.nn.logsumexp(logits, axis=0) - right)

    def step(state: Any, now: Any) -> tuple[Any, Any]:
        rows, sources, gain = now
        present = (rows >= 0).astype(jnp.float32)
        angles = all_angles[rows]
        if sources.size:
            angles = jnp.take_along_axis(angles, sources.astype(jnp.int32), axis=1)
        count, weights, mean, square = state
        loss, gradient = jax.value_and_grad(loss_of)(
            weights, angles, all_y[rows], present / present.sum()
        )
        gradient = model.tangent(weights, gradient)
        count = count + 1
        mean = BETA1 * mean + (1 - BETA1) * gradient
        square = BETA2 * square + (1 - BETA2) * gradient**2
        root = jnp.sqrt(square / (1 - BETA2**count))
        change = -gain / (1 - BETA1**count) * mean / (root + EPSILON)
        return (count, model.retracted(weights + change), mean, square), loss

    compiled: Callable[[Any, Any], Any] = jax.jit(
        lambda state, feed: jax.lax.scan(step, state, feed)
    )
    return compiled


def _with_empty(start: Mapping[str, Array]) -> Array:
    """The angles, and as a last column that of an empty pixel: what shifts move in."""
    angles = start["angles"]
    return np.hstack([angles, np.full((len(angles), 1), float(start["fill"]))])
