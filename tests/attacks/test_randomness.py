"""Random numbers as a hash: even, independent of the batch, the same eagerly and compiled."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.attacks.randomness import fold_in, uniform

SEEDS = st.integers(0, 2**31 - 1)


def keys(seed, n):
    return fold_in(fold_in(0, seed), tf.range(n))


@given(seed=SEEDS, n=st.integers(1, 6), height=st.integers(1, 9), width=st.integers(1, 9),
       channels=st.sampled_from((1, 3)))  # fmt: skip
def test_numbers_lie_in_the_unit_interval_and_repeat(seed, n, height, width, channels):
    shape = (n, height, width, channels)
    numbers = uniform(shape, keys(seed, n)).numpy()
    assert numbers.shape == shape and numbers.dtype == np.float32
    assert numbers.min() >= 0 and numbers.max() < 1
    np.testing.assert_array_equal(numbers, uniform(shape, keys(seed, n)))


@given(seed=SEEDS, order=st.permutations(range(5)), size=st.integers(1, 5))
def test_an_images_numbers_follow_from_its_key_alone(seed, order, size):
    whole = uniform((5, 4, 3, 1), keys(seed, 5)).numpy()
    part = tf.gather(keys(seed, 5), order[:size])
    np.testing.assert_array_equal(uniform((size, 4, 3, 1), part), whole[order[:size]])


@given(key=st.integers(0, 2**32 - 1), start=st.integers(0, 2**31 - 5000))
def test_different_numbers_give_different_keys(key, start):
    folded = fold_in(tf.constant(key, tf.uint32), tf.range(start, start + 4000)).numpy()
    assert folded.dtype == np.uint32 and len(np.unique(folded)) == 4000  # a bijection for each key
    assert fold_in(1, 2) != fold_in(2, 1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_same_eagerly_and_compiled(jit_compile):
    def numbers(seed):
        return uniform((4, 5, 6, 3), keys(seed, 4))

    compiled = tf.function(numbers, jit_compile=jit_compile)
    np.testing.assert_array_equal(compiled(tf.constant(7, tf.int64)), numbers(7))


@pytest.mark.parametrize("axis", ["pixels of one image", "images", "seeds", "restarts"])
def test_numbers_are_even_and_uncorrelated_along_every_axis(axis):
    """Of 40,000 even numbers the mean has a standard error of 0.0014, a correlation one of 0.005."""
    zero = fold_in(0, 0)
    shape, key = {
        "pixels of one image": ((1, 200, 200, 1), zero[None]),
        "images": ((40_000, 1, 1, 1), fold_in(zero, tf.range(40_000))),
        "seeds": ((40_000, 1, 1, 1), fold_in(fold_in(fold_in(0, tf.range(40_000)), 0), 0)),
        "restarts": ((40_000, 1, 1, 1), fold_in(fold_in(zero, 0), tf.range(40_000))),
    }[axis]
    numbers = uniform(shape, key).numpy().ravel()
    assert abs(numbers.mean() - 0.5) < 0.006
    assert abs(numbers.std() - np.sqrt(1 / 12)) < 0.003
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    assert 50 < ((counts - 400) ** 2 / 400).sum() < 160  # chi-square with 99 degrees of freedom: 99 +- 14
    for lag in (1, 2, 3, 16, 200):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 0.02


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40, np.int64(5), np.uint8(5)])
def test_any_integer_is_a_seed(seed):
    assert fold_in(0, seed).dtype == tf.uint32
    assert fold_in(0, seed) != fold_in(0, 6)
