"""What an attack passes on its way: seen where it can be, within the rules, and the model stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.attacks import losses
from locadv_tf.attacks.pgd import PGD
from locadv_tf.verdicts.way import Way, climb_on, within_rules

EPS = 0.1
IMAGE = np.random.default_rng(0).random((6, 5, 4, 1), "float32")
MASK = np.broadcast_to(np.arange(4)[:, None] < 2, IMAGE.shape)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((5, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


def answers(model, x):
    return np.argmax(model(x), axis=-1)


def way(model, **changes):
    given = {"image": IMAGE, "label": answers(model, IMAGE), "mask": MASK, "eps": EPS, "norm": "linf"} | changes
    return Way(given.pop("image"), given.pop("label"), given.pop("mask"), **given)


@given(st.integers(0, 2**16), st.sampled_from(["inside", "outside the mask", "too far", "below 0", "NaN"]))
def test_what_is_within_the_rules(seed, where):
    rng = np.random.default_rng(seed)
    x = np.clip(IMAGE + EPS * MASK * rng.uniform(-1, 1, IMAGE.shape), 0, 1).astype(np.float32)
    image, at = rng.integers(len(x)), (rng.integers(5), rng.integers(2))
    whole = IMAGE.copy()
    whole[image] = 0.04  # near the edge of the range
    x[image] = 0.04
    moved = {"inside": 0.05, "outside the mask": 1e-6, "too far": 0.11, "below 0": -0.05, "NaN": np.nan}[where]
    x[(image, *(at if where != "outside the mask" else (at[0], 3)))] += np.float32(moved)
    kept = within_rules(x, whole, MASK, eps=EPS, norm="linf")
    assert kept[image] == (where == "inside") and np.delete(kept, image).all()
    short = within_rules(whole + 0.01 * MASK, whole, MASK, eps=0.01 * np.sqrt(10) / 2, norm="l2")
    assert not short.any() and within_rules(whole, whole, MASK, eps=0.0, norm="l2").all()


def test_a_point_that_fools_is_remembered(model):
    seen = way(model)
    x = PGD(eps=1.0, steps=20)(model, IMAGE, seen.label, mask=MASK)
    seen.eps = 1.0
    with seen.watched(model):
        model(IMAGE)
        assert not seen.fooled.any()
        model(x, training=False)
        model(IMAGE)  # what comes later takes nothing back
    assert seen.looks == 3 and seen.fooled.any()
    np.testing.assert_array_equal(seen.fooled, answers(model, x) != seen.label)
    near = way(model)
    with near.watched(model):
        model(x)  # fools, but goes too far
    assert near.looks == 1 and not near.fooled.any()


def test_what_is_not_seen(model):
    seen = way(model)
    with seen.watched(model):
        model(IMAGE[:3])  # other images
        model(np.concatenate([IMAGE, IMAGE]))
        model(IMAGE, training=True)  # another network
        tf.function(lambda x: model(x))(IMAGE)  # in a graph
    assert seen.looks == 0


def test_the_model_stays_as_it_was(model):
    before, x = dict(vars(model)), model(IMAGE)
    with pytest.raises(RuntimeError), way(model).watched(model):
        np.testing.assert_array_equal(model(IMAGE), x)
        raise RuntimeError
    assert vars(model).keys() == before.keys() and model.call.__func__ is type(model).call
    np.testing.assert_array_equal(model(IMAGE), x)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_climb_goes_on_within_the_ball(model, norm):
    label = answers(model, IMAGE)
    settings = {"eps": EPS, "norm": norm, "climb": "cross-entropy", "steps": 10}
    end, best = climb_on(model, IMAGE, IMAGE, label, MASK, **settings)
    highest = losses.respond(model, PGD(eps=EPS, steps=40, norm=norm)(model, IMAGE, label, mask=MASK), label).loss
    np.testing.assert_allclose(end, losses.respond(model, tf.constant(IMAGE), label).loss, rtol=1e-5)
    np.testing.assert_allclose(best, highest, rtol=5e-3)  # a linear model: one way up
    assert (best > end + 1e-3).all()
    top = PGD(eps=EPS, steps=40, norm=norm)(model, IMAGE, label, mask=MASK)
    end, best = climb_on(model, top, IMAGE, label, MASK, **settings)
    np.testing.assert_allclose(best, end, rtol=5e-3)
    nowhere = climb_on(model, IMAGE, IMAGE, label, np.zeros_like(MASK), **settings)
    np.testing.assert_array_equal(*nowhere)
