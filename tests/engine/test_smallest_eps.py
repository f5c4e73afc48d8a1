"""The smallest eps, on a model for which it is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

import locadv_tf as la
from locadv_tf.engine import stream


@pytest.fixture(scope="module")
def threshold_model():
    """Class 1 where the mean of all pixels exceeds 0.5."""
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([np.tile([[0.0, 1.0]], (16, 1)).astype("float32"), np.float32([8, 0])])
    return model


@settings(max_examples=examples(20))
@given(means=st.lists(st.floats(0.05, 0.95), min_size=1, max_size=12), share=st.sampled_from((0.25, 0.5, 1.0)),
       precision=st.sampled_from((0.1, 0.01, 0.001)))  # fmt: skip
def test_it_is_the_distance_to_the_decision(means, share, precision, threshold_model):
    means = np.float32(means)
    image = np.broadcast_to(means[:, None, None, None], (len(means), 4, 4, 1)).copy()
    mask = (np.arange(16) < 16 * share).reshape(1, 4, 4, 1) & np.ones((len(means), 1, 1, 1), bool)
    label = np.zeros(len(means), int)
    attack = la.FGSM(eps=0.4)
    found = la.smallest_eps(threshold_model, (image, label, mask), attack, precision=precision)
    wrong = threshold_model(image).numpy().argmax(axis=-1) == 1
    needed = (0.5 - np.float64(means)) / share  # the masked pixels rise, none of them beyond 1
    near = np.abs(needed - 0.4) < 1e-5
    for eps, distance, error, edge in zip(found, needed, wrong, near, strict=True):
        if error:
            assert eps == 0
        elif distance > 0.4 and not edge:
            assert eps == np.inf
        elif not edge:
            assert distance - 1e-5 <= eps <= distance + precision + 1e-5


def test_only_images_between_two_bounds_cost_anything(threshold_model, monkeypatch):
    image = np.full((6, 4, 4, 1), 0.4, "float32")
    image[:2], image[2:4] = 0.9, 0.01  # wrong by nature, out of reach
    label, mask = np.zeros(6, int), np.ones(image.shape)
    budgets = []

    def watched(*args, **options):
        budgets.append(options["eps"])
        return stream.attack_stream(*args, **options)

    monkeypatch.setattr("locadv_tf.engine.smallest_eps.attack_stream", watched)
    found = la.smallest_eps(threshold_model, (image, label, mask), la.FGSM(eps=0.2), precision=0.05)
    np.testing.assert_allclose(found, [0, 0, np.inf, np.inf, 0.1, 0.1], atol=0.05)
    assert len(budgets) == 2 and all((budget > 0).tolist() == 4 * [False] + 2 * [True] for budget in budgets)


def test_a_stronger_attack_needs_no_more(natural_model, digits_test):
    some, precision = digits_test.take(48), 2 / 255
    weak, strong = (
        la.smallest_eps(natural_model, some, attack, region="full", precision=precision)
        for attack in (la.RandomNoise(eps=0.3), la.PGD(eps=0.3, steps=10))
    )
    assert (strong <= weak + precision).all() and strong[np.isfinite(strong)].mean() < 0.3


def test_a_data_set_may_shuffle_anew_each_time(threshold_model):
    means = np.linspace(0.1, 0.45, 40, dtype="float32")
    image = np.broadcast_to(means[:, None, None, None], (40, 4, 4, 1)).copy()
    data = tf.data.Dataset.from_tensor_slices(({"image": image, "mask": np.ones_like(image)}, np.zeros(40, int)))
    attack, options = la.FGSM(eps=0.45), {"precision": 0.001}
    fixed = la.smallest_eps(threshold_model, data, attack, **options)
    shuffled = la.smallest_eps(threshold_model, data.shuffle(40, seed=0), attack, **options)
    np.testing.assert_allclose(fixed, 0.5 - means, atol=0.0011)
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(fixed))


@pytest.mark.parametrize("attack", ["PGD", la.PGD, None])
def test_the_attack_is_an_object(attack, threshold_model):
    data = np.zeros((1, 4, 4, 1), "float32"), np.zeros(1, int), np.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match=r"expected an attack object, PGD\(eps=0.1\) say"):
        la.smallest_eps(threshold_model, data, attack)


@pytest.mark.parametrize("precision", [0, -1, 2.0, "fine"])
def test_a_precision_that_makes_no_sense(precision, threshold_model):
    data = np.zeros((1, 4, 4, 1), "float32"), np.zeros(1, int), np.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match="precision"):
        la.smallest_eps(threshold_model, data, la.FGSM(eps=0.1), precision=precision)
