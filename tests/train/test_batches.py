"""Minibatches: every sample once an epoch, whatever the sizes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tn_qnn.train.batches import batch_length, minibatch, steps_per_epoch


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_an_epoch_visits_every_sample_once(number, size, epoch, seed):
    steps = steps_per_epoch(number, size)
    parts = [minibatch(seed, epoch * steps + k, number, size) for k in range(steps)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(number))
    assert all(len(part) == min(size, number) for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= size


def test_epochs_and_seeds_differ_and_repeat():
    first = minibatch(1, 0, 100, 50).tolist()
    assert first == minibatch(1, 0, 100, 50).tolist()
    assert first != minibatch(1, 2, 100, 50).tolist()
    assert first != minibatch(2, 0, 100, 50).tolist()


def test_a_whole_batch_is_not_shuffled():
    assert minibatch(1, 5, 7, 7).tolist() == minibatch(1, 5, 7, 99).tolist() == list(range(7))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 200))
def test_lengths_are_those_of_the_minibatches(number, size, step):
    assert batch_length(step, number, size) == len(minibatch(2, step, number, size))
