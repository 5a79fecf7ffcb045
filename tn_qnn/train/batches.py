"""Minibatches by a keyed shuffle of each epoch."""

import numpy as np

from tn_qnn.rng import permutation


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Return the number of minibatches an epoch, the last of which may be smaller."""
    return -(-num_samples // batch_size)


def minibatch(seed: int, step: int, num_samples: int, batch_size: int) -> np.ndarray:
    """Return the sample indices of a step, a pure function of its arguments.

    Every epoch visits every sample once, in an order of its own; its last minibatch is smaller
    where ``batch_size`` does not divide ``num_samples``. A batch of all samples is not shuffled.

    Examples
    --------
    >>> parts = [minibatch(seed=1, step=k, num_samples=5, batch_size=2) for k in range(3)]
    >>> [len(part) for part in parts], sorted(np.concatenate(parts).tolist())
    ([2, 2, 1], [0, 1, 2, 3, 4])
    """
    if batch_size >= num_samples:
        return np.arange(num_samples)
    epoch, place = divmod(step, steps_per_epoch(num_samples, batch_size))
    order = permutation(seed, epoch, num_samples)
    return order[place * batch_size : (place + 1) * batch_size]


def batch_length(step: int, num_samples: int, batch_size: int) -> int:
    """Return how many samples :func:`minibatch` gives for a step.

    Examples
    --------
    >>> [batch_length(step=k, num_samples=5, batch_size=2) for k in range(4)]
    [2, 2, 1, 2]
    """
    place = step % steps_per_epoch(num_samples, batch_size)
    return min(batch_size, num_samples - place * batch_size)
