"""Square: where its squares lie, how large they are, what it accepts, and a model that no gradient breaks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import locadv_tf as la
from locadv_tf.attacks.loop import image_key
from locadv_tf.attacks.square import places, square


def keys(n, seed=0):
    return image_key(seed, tf.range(n), 0)


def draw(mask, share, key):
    mask = tf.constant(mask)
    return square(mask, places(mask, share), key)


@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 5), height=st.integers(1, 9), width=st.integers(1, 9),
       share=st.floats(0, 1), inside=st.sampled_from((0.0, 0.2, 1.0)))  # fmt: skip
def test_a_square_is_one_whole_square_of_its_area_around_a_pixel_of_the_mask(seed, n, height, width, share, inside):
    mask = np.random.default_rng(seed).random((n, height, width, 1)) < inside
    windows = draw(mask, share, keys(n, seed)).numpy()[..., 0]
    for window, free in zip(windows, mask[..., 0], strict=True):
        rows, columns = (np.flatnonzero(window.any(axis=axis)) for axis in (1, 0))
        side, limit = len(rows), min(height, width)
        assert side == len(columns) == np.ptp(rows) + 1 == np.ptp(columns) + 1
        assert window.sum() == side**2  # in one piece, and inside the image
        wanted = np.sqrt(np.float32(share * free.sum()))
        assert abs(side - np.clip(wanted, 1, limit)) <= 0.5 + 1e-5
        assert (window & free).any() or not free.any()


def test_each_place_is_as_likely_as_its_square_holds_pixels_of_the_mask():
    n, mask = 6000, np.zeros((4, 5, 1), bool)
    mask[[0, 0, 2, 3, 3], [0, 4, 2, 0, 1]] = True
    for free, side in ((mask, 1), (mask, 2), (np.ones_like(mask), 2), (np.ones_like(mask), 3)):
        share = side**2 / free.sum()
        windows = draw(np.tile(free, (n, 1, 1, 1)), share, keys(n)).numpy()[..., 0]
        found, counts = np.unique(windows, axis=0, return_counts=True)
        assert (found.sum(axis=(1, 2)) == side**2).all()
        held = (found & free[..., 0]).sum(axis=(1, 2))
        everywhere = sliding_window_view(free[..., 0], (side, side)).sum(axis=(-1, -2))
        assert sorted(held) == sorted(everywhere[everywhere > 0])  # each place that holds any, once
        expected = n * held / held.sum()
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_area_follows_the_papers_table():
    """Appendix A: of 10,000 queries the area is halved after the 10th, 50th, …; other budgets are scaled to that."""
    table = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    attack = la.Square(eps=0.1, start_share=0.8)
    for queries in (10_000, 5_000):
        k = np.arange(queries)
        shares = attack._share(tf.constant(k), queries).numpy()
        expected = 0.8 / 2.0 ** (k[:, None] * (10_000 / queries) > table).sum(axis=1)
        np.testing.assert_allclose(shares, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def walk(spy_on, tiny_model):
    """A Square attack on grey images, and all that it asked: `(image, mask, label, margins, points, queries)`."""
    rng = np.random.default_rng(1)
    n, queries = 6, 60
    image, mask = np.full((n, 8, 9, 3), 0.5, "float32"), rng.random((n, 8, 9, 1)) < 0.6
    spy, label = spy_on(tiny_model(3)), np.arange(n) % 3
    la.Square(eps=0.2, queries=queries)(spy, image, label, mask=mask)
    logits = np.stack([logits for _, logits, _ in spy.points])
    wrong = np.where(np.eye(3, dtype=bool)[label], -np.inf, logits).max(axis=-1)
    margins = wrong - logits[:, np.arange(n), label]
    return image, mask, label, margins, np.stack([x for x, _, _ in spy.points]), queries


def test_it_asks_once_for_the_image_and_once_for_each_query(walk):
    image, _, _, _, points, queries = walk
    assert len(points) == queries + 1
    np.testing.assert_array_equal(points[0], image)


def test_it_starts_with_vertical_stripes_in_the_mask(walk):
    image, mask, _, _, points, _ = walk
    change = points[1] - image
    np.testing.assert_allclose(np.abs(change), np.where(mask, 0.2, 0) + 0 * image, atol=1e-7)
    up, down = ((np.sign(change) == sign).any(axis=1) for sign in (1, -1))  # per image, column and channel
    assert not (up & down).any() and 0.3 < up.mean() < 0.7
    assert (up[:, :, 0] != up[:, :, 1]).any() and (up[0] != up[1]).any()


def test_each_query_is_the_highest_point_so_far_with_one_square_of_it_set_anew(walk):
    image, mask, _, margins, points, queries = walk
    attack, rejected = la.Square(eps=0.2, queries=queries), 0
    for i in range(len(image)):
        top, area = 1, mask[i].sum()  # the stripes are taken whatever their margin
        for k in range(1, queries):
            if margins[k, i] > margins[top, i]:
                top = k
            rejected += top != k
            new = (points[k + 1, i] != points[top, i]).any(axis=-1)
            assert new.any()  # no query for what was seen
            side = max(1, round(float(np.sqrt(attack._share(tf.constant(k), queries) * area))))
            rows, columns = (np.flatnonzero(new.any(axis=axis)) for axis in (1, 0))
            assert np.ptp(rows) < side and np.ptp(columns) < side
            for channel in range(3):  # one sign for the whole square
                changed = points[k + 1, i, ..., channel] != points[top, i, ..., channel]
                assert len(np.unique(points[k + 1, i, ..., channel][changed])) <= 1
    assert rejected > 20
    best = points[:, 0][margins[:, 0].argmax()]
    assert (best != points[1, 0]).any()  # some squares were taken


def test_it_breaks_a_model_whose_gradient_is_zero_everywhere():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Lambda(lambda x: tf.sign(x - 0.5)),  # steps: flat, then a jump
            layers.Flatten(),
            layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(0)),
        ]
    )
    rng = np.random.default_rng(0)
    image = rng.uniform(0.3, 0.7, (40, 6, 6, 1)).astype("float32")
    label, mask = model(image, training=False).numpy().argmax(axis=-1), np.ones(image.shape)
    blind = [la.PGD(eps=0.15, steps=10, random_start=False), la.FGSM(eps=0.15)]
    for attack in blind:
        assert not la.run_attack(model, (image, label, mask), attack).fooled.any()
    by_square = la.run_attack(model, (image, label, mask), la.Square(eps=0.15, queries=100))
    by_noise = la.run_attack(model, (image, label, mask), la.RandomNoise(eps=0.15))
    assert by_square.fooled.all() and by_noise.fooled.mean() < 0.6
    assert by_square.gradient_evaluations == 0 and 0 < by_square.queries < 40 * 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries=0; expected a whole number, at least 1"),
        ({"restarts": 0}, "restarts=0"),
        ({"start_share": 1.5}, "start_share=1.5 is out of range"),
        ({"eps": 8}, "8/255 is what you mean"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        la.Square(**{"eps": 0.1} | options)
