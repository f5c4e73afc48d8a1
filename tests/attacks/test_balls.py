"""The ball around an image: the way back into it, the step uphill, the random start, all in the mask's subspace."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.attacks import balls, loop

SEEDS, BUDGETS = st.integers(0, 2**32 - 1), st.sampled_from((0.0, 1e-6, 0.1, 1.0, 30.0)) | st.floats(0, 3)


def lengths(x):
    return np.sqrt(np.square(x, dtype=np.float64).sum(axis=(1, 2, 3)))


def draw(seed, n=4, height=5, width=6, channels=3):
    """Images, points far around them, masks of all sizes and no two alike; bool masks as wide as the images."""
    rng = np.random.default_rng(seed)
    shape = (n, height, width, channels)
    image, x = rng.random(shape, "float32"), rng.normal(0.5, 1.0, shape).astype("float32")
    mask = rng.random((n, height, width, 1)) < rng.choice([0.0, 0.1, 0.5, 1.0], (n, 1, 1, 1))
    return image, x, mask, np.broadcast_to(mask, shape)


@given(seed=SEEDS, eps=BUDGETS, norm=st.sampled_from(balls.NORMS))
def test_project_leads_into_the_ball_and_the_range_and_leaves_the_rest_as_it_is(seed, eps, norm):
    image, x, mask, free = draw(seed)
    there = balls.project(x, image, mask, eps, norm).numpy()
    np.testing.assert_array_equal(there[~free], image[~free])
    if norm == "linf":
        expected = np.clip(x.astype("float64"), image - np.float64(eps), image + np.float64(eps))
    else:  # the mask's part alone counts: what lies outside uses up no budget
        change = np.where(free, x.astype("float64") - image, 0)
        expected = image + change * np.minimum(1, eps / np.maximum(lengths(change), 1e-300))[:, None, None, None]
    expected = np.where(free, expected.clip(0, 1), image)
    np.testing.assert_allclose(there, expected, rtol=0, atol=1e-6)
    size = lengths(there - image) if norm == "l2" else np.abs(there - image).max(axis=(1, 2, 3))
    assert (size <= eps * (1 + 1e-6) + 1e-6).all() and there.min() >= 0 and there.max() <= 1
    np.testing.assert_allclose(balls.project(there, image, mask, eps, norm), there, rtol=0, atol=1e-6)


@given(seed=SEEDS, scale=st.sampled_from((1e-30, 1e-20, 1.0, 1e20, 1e30)))
def test_an_l2_direction_is_the_masks_part_of_the_gradient_at_length_1_however_small_or_large(seed, scale):
    _, gradient, _, free = draw(seed)
    step = balls.direction(np.where(free, gradient * np.float32(scale), np.float32(0)), "l2").numpy()
    inside = np.where(free, gradient.astype("float64"), 0)
    length = np.maximum(lengths(inside), 1e-300)[:, None, None, None]
    np.testing.assert_allclose(step, inside / length, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(lengths(step), free.any(axis=(1, 2, 3)), rtol=1e-5)


def test_a_step_of_the_l_infinity_norm_is_the_sign_and_no_gradient_is_no_step():
    gradient = tf.reshape([-1e-30, 0.0, 2e30], (1, 1, 3, 1))
    assert balls.direction(gradient).numpy().ravel().tolist() == [-1, 0, 1]
    for norm in balls.NORMS:
        assert not balls.direction(tf.zeros((1, 2, 2, 1)), norm).numpy().any()


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_l2_starts_fill_the_ball_of_the_masks_subspace(share):
    """As far as eps, however few pixels the mask has; on average half as far, in no direction more than in another."""
    n, eps = 400, 0.2
    mask = np.random.default_rng(0).random((n, 8, 8, 1)) < share
    mask[:, 3, 3] = True
    image = tf.fill((n, 8, 8, 1), 0.5)
    change = balls.random_point(image, mask, eps, loop.image_key(0, tf.range(n), 0), "l2").numpy() - 0.5
    assert (change[~mask] == 0).all()
    length = lengths(change)
    assert length.max() <= eps * (1 + 1e-6) and length.max() > 0.98 * eps and length.min() < 0.02 * eps
    np.testing.assert_allclose([length.mean(), length.std()], [eps / 2, eps / np.sqrt(12)], rtol=0.1)
    directions = (change / length[:, None, None, None])[mask]
    assert abs(directions.mean()) < 4 * directions.std() / np.sqrt(directions.size)


def test_a_point_of_the_ball_depends_on_the_key_alone():
    image, mask = tf.fill((3, 4, 4, 1), 0.5), tf.ones((3, 4, 4, 1), tf.bool)
    key = loop.image_key(0, tf.constant([5, 6, 5]), 0)
    for norm in balls.NORMS:
        x = balls.random_point(image, mask, 0.1, key, norm).numpy()
        np.testing.assert_array_equal(x[0], x[2])
        assert (x[0] != x[1]).all()
