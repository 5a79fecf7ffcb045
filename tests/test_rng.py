"""Random numbers: known answers, independence of chunking, the right distributions."""

import numpy as np
import pytest

from tn_qnn.rng import (
    Stream,
    derived_seed,
    normal,
    permutation,
    philox,
    rademacher,
    random_words,
    uniform,
)

# Random123's tests/kat_vectors, lines "philox4x32 10": counter, key, answer.
KNOWN = """
00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8
ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd
243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1
"""
KNOWN = [[int(word, 16) for word in line.split()] for line in KNOWN.split("\n") if line]


@pytest.mark.parametrize("words", KNOWN)
def test_known_answers(words):
    assert philox(words[:4], tuple(words[4:6])).tolist() == words[6:]


def test_known_answers_vectorised():
    counters = np.array([words[:4] for words in KNOWN for _ in range(2)]).reshape(3, 2, 4)
    for row, words in enumerate(KNOWN):
        answers = philox([counters[..., j] for j in range(4)], tuple(words[4:6]))
        assert answers.dtype == np.uint32 and answers.shape == (3, 2, 4)
        assert answers[row].tolist() == [words[6:]] * 2


def test_blocks_of_words_are_philox_of_their_number():
    from tn_qnn.rng import stream_key

    words = random_words(5, Stream.DIRECTIONS, (7, 8, 9), 11)
    key = stream_key(5, Stream.DIRECTIONS)
    expected = np.concatenate([philox((block, 7, 8, 9), key) for block in range(3)])[:11]
    assert words.tolist() == expected.tolist()


def test_signs_do_not_depend_on_chunking():
    whole = rademacher(1, 2, np.arange(6)[:, None], np.arange(9), 70)
    assert whole.shape == (6, 9, 70) and set(np.unique(whole)) == {-1.0, 1.0}
    for d in range(6):
        for part in (slice(0, 4), slice(4, 9)):
            chunk = rademacher(1, 2, d, np.arange(9)[part], 70)
            assert np.array_equal(chunk, whole[d, part])
    assert np.array_equal(rademacher(1, 2, 3, 4, 33), whole[3, 4, :33])


def test_every_part_of_the_key_counts():
    base = {"seed": 1, "step": 2, "direction": 3, "sample": 4}
    signs = {
        tuple(rademacher(**(base | change), num_weights=64))
        for change in [{}, *({name: 9} for name in base), {"seed": 1 + 2**40}]
    }
    assert len(signs) == 6


def test_signs_are_balanced_and_uncorrelated():
    signs = rademacher(3, 0, 0, np.arange(4000), 40)
    correlation = signs.T @ signs / len(signs) - np.eye(40)
    assert abs(signs.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert abs(correlation).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_permutation(size):
    orders = [permutation(1, epoch, size) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(size)) for order in orders)
    assert np.array_equal(permutation(1, 0, size), orders[0])
    if size > 100:
        assert not np.array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0], permutation(2, 0, size))


def test_permutations_are_uniform():
    counts = np.zeros(6)
    names = {(0, 1, 2): 0, (0, 2, 1): 1, (1, 0, 2): 2, (1, 2, 0): 3, (2, 0, 1): 4, (2, 1, 0): 5}
    for epoch in range(1200):
        counts[names[tuple(permutation(0, epoch, 3).tolist())]] += 1
    assert ((counts - 200) ** 2 / 200).sum() < 20.5  # chi squared, 5 degrees, 0.1 %


def test_uniform_and_normal():
    from scipy import stats

    numbers = uniform(1, 20000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert stats.kstest(normal(2, 20000), "norm").pvalue > 1e-3


def test_streams_are_apart():
    seeds = {derived_seed(seed, stream) for seed in (0, 1, 2**63) for stream in Stream}
    assert len(seeds) == 3 * len(Stream)
