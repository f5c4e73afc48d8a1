"""The table of trainings: what each is, and that random masks have the background's area and nothing else of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.plotting.style import STYLES

ATTACK = la.PGD(eps=0.1, steps=5, restarts=2)


@pytest.fixture(scope="module")
def data():
    return la.load_data("digits", "train[:40]"), la.load_data("digits", "validation[:20]")


def recipe(name, data, **changes):
    return la.recipe(name, data[0], **({"attack": ATTACK, "validation": data[1]} | changes))


def test_the_table_is_complete_and_every_training_has_a_colour():
    assert list(la.TRAININGS) == ["natural", "natural, equal compute", "noise", "random mask", "LAT", "AT"]
    assert set(la.TRAININGS) <= set(STYLES)
    assert len(set(la.TRAININGS.values())) == len({STYLES[name] for name in la.TRAININGS}) == 6


@pytest.mark.parametrize(
    ("name", "attack", "region", "share", "epochs"),
    [
        ("natural", ATTACK, "background", 0, 4),
        ("natural, equal compute", ATTACK, "background", 0, 14),  # 4 · (1 + 0.25 · 5 · 2)
        ("noise", la.RandomNoise(eps=0.1), "background", 0.25, 4),
        ("random mask", ATTACK, "background", 0.25, 4),
        ("LAT", ATTACK, "background", 0.25, 4),
        ("AT", ATTACK, "full", 0.25, 4),
    ],
)
def test_what_each_training_is(name, attack, region, share, epochs, data):
    how = recipe(name, data, share=0.25, epochs=4, seed=7)
    own = (how.pop("train"), how.pop("validation"))
    assert how == {"attack": attack, "region": region, "share": share, "epochs": epochs, "seed": 7}
    assert (own == data) == (name != "random mask")  # the very data sets that were passed
    assert recipe(name, data, validation=None)["validation"] is None


def test_equal_compute_takes_as_many_passes_as_lat(data):
    passes = {}
    for name in ("natural, equal compute", "LAT"):
        how = recipe(name, data, epochs=20)
        passes[name] = how["epochs"] * la.passes_per_image(how["attack"], how["share"])
    assert passes["natural, equal compute"] == passes["LAT"] == 120


def test_random_masks_have_the_areas_of_the_background_and_are_blind_to_it(data):
    for split, own in zip(("train", "validation"), map(la.to_arrays, data), strict=True):
        drawn = recipe("random mask", data)[split]
        assert drawn.element_spec == data[0].element_spec and len(drawn) == len(own[1])
        images, labels, masks = la.to_arrays(drawn)
        np.testing.assert_array_equal(images, own[0])
        np.testing.assert_array_equal(labels, own[1])
        np.testing.assert_array_equal(masks.sum(axis=(1, 2, 3)), own[2].sum(axis=(1, 2, 3)))
        by_chance = own[2].mean(axis=(1, 2, 3))
        hits = (own[2] * masks).sum(axis=(1, 2, 3)) / own[2].sum(axis=(1, 2, 3))
        assert abs((hits - by_chance).mean()) < 0.05 and (masks != own[2]).any(axis=(1, 2, 3)).all()
        again, other = (la.to_arrays(recipe("random mask", data, seed=seed)[split])[2] for seed in (0, 1))
        np.testing.assert_array_equal(again, masks)
        assert (other != masks).any(axis=(1, 2, 3)).all()


def test_each_image_has_a_random_mask_of_its_own():
    same = la.masks.center(np.zeros((1, 8, 8, 1), "float32"))[0]
    inputs = {"image": np.zeros((6, 8, 8, 1), "float32"), "mask": np.stack([same] * 6)}
    split = tf.data.Dataset.from_tensor_slices((inputs, np.zeros(6, np.int64)))
    how = recipe("random mask", (split, split))
    masks = np.concatenate([la.to_arrays(how[name])[2] for name in ("train", "validation")])
    assert len({mask.tobytes() for mask in masks}) == 12  # validation does not repeat the training's
    few = la.to_arrays(recipe("random mask", (split.take(2), split))["train"])[2]
    np.testing.assert_array_equal(few, masks[:2])  # it is the position that counts, not how many there are


def test_a_model_trained_on_random_masks_is_another_one(data):
    def trained(name):
        dense = keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(seed=0))
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), dense])
        how = recipe(name, data, attack=la.FGSM(eps=0.1), epochs=1, validation=None)
        la.train_classifier(model, **how, batch_size=20)
        return model.get_weights()

    assert not np.array_equal(trained("LAT")[0], trained("random mask")[0])


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("lat", {}, "training='lat' is unknown; expected one of 'natural', .*, 'random mask', 'LAT', 'AT'"),
        ("LAT", {"attack": "PGD"}, "PGD"),
        ("LAT", {"share": 2}, "share=2"),
        ("natural", {"epochs": 0}, "epochs=0"),
        ("random mask", {"seed": -1}, "seed=-1"),
    ],
)
def test_bad_input_is_refused(name, bad, message, data):
    with pytest.raises(ValueError, match=message):
        recipe(name, data, **bad)


def test_data_must_be_unbatched(data):
    train, validation = data
    with pytest.raises(ValueError, match=r"train has labels of shape .*unbatch"):
        recipe("random mask", (train.batch(4), None))
    with pytest.raises(ValueError, match=r"validation has labels of shape .*unbatch"):
        recipe("random mask", (train, validation.batch(4)))
