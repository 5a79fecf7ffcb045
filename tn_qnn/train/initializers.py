"""Initial weights, each a pure function of the seed and the number of weights."""

from collections.abc import Callable, Sequence

import numpy as np

from tn_qnn.circuit.block_charts import block_matrices, entries_of
from tn_qnn.circuit.block_groups import BlockGroup
from tn_qnn.errors import InputError
from tn_qnn.rng import normal, uniform


def small(seed: int, num_weights: int, scale: float = 0.1) -> np.ndarray:
    """Normal numbers of standard deviation ``scale``.

    Examples
    --------
    >>> small(seed=1, num_weights=1000).std().round(1)
    np.float64(0.1)
    """
    return scale * normal(seed, num_weights)


def identity(seed: int, num_weights: int, noise: float = 0.01) -> np.ndarray:
    """Zeros with a little noise: rotation blocks start as the identity.

    Source: E. Grant, L. Wossnig, M. Ostaszewski, M. Benedetti, Quantum 3 (2019) 214.

    Examples
    --------
    >>> bool(abs(identity(seed=1, num_weights=100)).max() < 0.1)
    True
    """
    return small(seed, num_weights, noise)


def uniform_angles(seed: int, num_weights: int) -> np.ndarray:
    """Angles uniform in [-pi, pi).

    Examples
    --------
    >>> bool(abs(uniform_angles(seed=1, num_weights=100)).max() < np.pi)
    True
    """
    return np.pi * (2.0 * uniform(seed, num_weights) - 1.0)


INITIALIZERS: dict[str, Callable[[int, int], np.ndarray]] = {
    "small": small,
    "identity": identity,
    "uniform": uniform_angles,
}


def initial_weights(
    name: str, seed: int, num_weights: int, blocks: Sequence[BlockGroup] = ()
) -> np.ndarray:
    """Return initial weights (W,), float64, by the name of an initialiser.

    Tensor-valued weights in the chart "entries" start as unitary matrices: "small" and "identity"
    near the identity, at the polar factor of the identity plus as much noise as other weights
    get; "uniform" Haar-random, at the polar factor of normal numbers (F. Mezzadri, Notices AMS 54
    (2007) 592).

    Parameters
    ----------
    name : "small", "identity" or "uniform"
    seed, num_weights : int
    blocks : sequence of BlockGroup
        The model's tensor-valued weights.

    Raises
    ------
    InputError
        When the name is unknown.

    Examples
    --------
    >>> initial_weights("identity", seed=1, num_weights=2).shape
    (2,)
    """
    if name not in INITIALIZERS:
        raise InputError(
            f"weights: got {name!r}, expected one of {', '.join(INITIALIZERS)}, an array (W,) or "
            f"a mapping from weight names to numbers."
        )
    weights = INITIALIZERS[name](seed, num_weights)
    for group in blocks:
        if group.chart != "entries":
            continue
        start = normal(seed, num_weights) if name == "uniform" else weights
        first = group.coordinates(start)
        if name != "uniform":
            first = first + entries_of(np.eye(2**group.num_qubits, dtype=complex), group.real)
        matrices = block_matrices(first, group.num_qubits, group.real, group.chart)
        weights[group.columns] = entries_of(matrices, group.real)
    return weights
