"""The table of trainings: what each is, and that random masks have the background's area and nothing else of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.plotting.style import STYLES
from locadv_tf.training import optimizers

ATTACK = la.PGD(eps=0.1, steps=5, restarts=2)


@pytest.fixture(scope="module")
def data():
    return la.load_data("digits", "train[:40]"), la.load_data("digits", "validation[:20]")


def recipe(name, data, **changes):
    return la.recipe(name, data[0], **({"attack": ATTACK, "validation": data[1]} | changes))


def test_the_table_is_complete_and_every_training_has_a_colour():
    assert list(la.TRAININGS) == ["natural", "natural, equal compute", "noise", "random mask", "LAT", "AT"]
    assert set(la.TRAININGS) <= set(STYLES)
    assert len(set(la.TRAININGS.values())) == len({STYLES[name] for name in la.TRAININGS}) == len(la.TRAININGS)


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


# What train_classifier takes beside a recipe


SIDE, CLASSES = 8, 3


def small_model(*first, seed=0):
    dense = keras.layers.Dense(CLASSES, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=seed))
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *first, keras.layers.Flatten(), dense])


def some(n, seed=0, classes=CLASSES):
    """Grey levels as floats, masks, labels."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (n, SIDE, SIDE, 1)).astype("float32") / np.float32(255)
    inputs = {"image": image, "mask": rng.integers(0, 2, (n, SIDE, SIDE, 1)).astype("float32")}
    return tf.data.Dataset.from_tensor_slices((inputs, rng.integers(0, classes, n)))


class Watch(keras.callbacks.Callback):
    """Notes the classifier's weights after each epoch, after those of the callbacks before it."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.seen, self.stop_after = [], stop_after

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append([weight.numpy().copy() for weight in self.model.classifier.weights])
        if epoch + 1 == self.stop_after:
            self.model.stop_training = True


def train(model, data, **options):
    return la.train_classifier(model, data, **({"attack": la.FGSM(eps=0.1), "batch_size": 8, "epochs": 3} | options))


def assert_weights(model, expected, **tolerance):
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, other, **({"rtol": 0, "atol": 1e-6} | tolerance))


def averaged_by_hand(epochs, momentum=0.5, rate=0.5):
    """Plain Keras: full batches by SGD, an exponential average, after each epoch (weights, averages)."""
    model = small_model()
    data = some(8).batch(8)
    (inputs, label), averages, found = next(iter(data)), None, []
    for _ in range(epochs):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(label, model(inputs["image"]), from_logits=True)
            loss = tf.reduce_mean(losses)
        for weight, gradient in zip(model.weights, tape.gradient(loss, model.trainable_weights), strict=True):
            weight.assign(weight - rate * gradient)
        now = model.get_weights()
        averages = now if averages is None else [
            momentum * old + (1 - momentum) * new for old, new in zip(averages, now, strict=True)
        ]  # fmt: skip
        found.append((now, averages))
    return found


def averaging():
    return keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)


@pytest.mark.parametrize("stop_after", [None, 2])
def test_averaged_weights_are_what_is_validated_seen_and_returned(stop_after):
    expected = averaged_by_hand(stop_after or 4)
    model, watch = small_model(), Watch(stop_after)
    options = {"optimizer": averaging(), "share": 0, "epochs": 4, "callbacks": [watch], "validation": some(16, seed=1)}
    history = train(model, some(8), **options)
    for seen, (_, averages) in zip(watch.seen, expected, strict=True):
        for weight, other in zip(seen, averages, strict=True):
            np.testing.assert_allclose(weight, other, rtol=0, atol=1e-6)
    assert_weights(model, expected[-1][1])
    assert np.abs(expected[-1][0][0] - expected[-1][1][0]).max() > 1e-3
    inputs, label = next(iter(some(16, seed=1).batch(16)))
    losses = keras.losses.sparse_categorical_crossentropy(label, model(inputs["image"]), from_logits=True)
    assert history["val_natural_loss"][-1] == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "averaging"])
def test_early_stopping_keeps_the_best_epochs_weights(optimizer):
    optimizer = averaging() if optimizer == "averaging" else optimizer
    model, watch = small_model(), Watch()
    options = {"epochs": 30, "early_stopping": 2, "callbacks": [watch], "optimizer": optimizer}
    history = train(model, some(16), validation=some(30, seed=1), **options)["val_adversarial_accuracy"]
    assert len(history) < 30 and int(np.argmax(history)) == len(history) - 3
    assert_weights(model, watch.seen[int(np.argmax(history))])


def test_early_stopping_of_natural_training_follows_natural_accuracy():
    history = train(small_model(), some(16), validation=some(30, seed=1), share=0, epochs=30, early_stopping=1)
    assert len(history["loss"]) < 30
    assert int(np.argmax(history["val_natural_accuracy"])) == len(history["loss"]) - 2


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_adamw_warms_up_follows_a_cosine_and_averages(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rates, model = [], small_model(keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization())
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: rates.append(float(optimizer(note.model).learning_rate))
        )
        history = train(model, some(80), optimizer="adamw", epochs=10, callbacks=[note])
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(history["loss"]).all()
    assert len(rates) == 100 and np.argmax(rates) == 4 and max(rates) == pytest.approx(optimizers.RATE)
    assert rates[0] < rates[2] < rates[4] > rates[50] > rates[90] > rates[99] and rates[99] < 1e-3 * optimizers.RATE
    decayed = {v.name for v in model.trainable_variables if optimizer(note.model)._use_weight_decay(v)}
    assert decayed == {"kernel"}


def optimizer(model):
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def test_class_weights_balance_the_classes():
    inputs = next(iter(some(40).batch(40)))[0]
    label = np.array([0] * 30 + [1] * 8 + [2] * 2)
    data = tf.data.Dataset.from_tensor_slices((inputs, label))
    models = [small_model() for _ in range(3)]
    for model, weight in zip(models, ("balanced", {0: 40 / 90, 1: 40 / 24, 2: 40 / 6}, None), strict=True):
        train(model, data, class_weight=weight)
    assert_weights(models[0], models[1].get_weights())
    assert np.abs(models[0].get_weights()[0] - models[2].get_weights()[0]).max() > 1e-4


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer='sgd' is unknown; expected one of 'adam', 'adamw'"),
        ({"optimizer": 0.1}, "optimizer=0.1; expected 'adam', 'adamw' or a Keras optimizer"),
        ({"augment": "flips"}, "augment='flips'; expected a function .*la.flip_and_shift"),
        ({"class_weight": "even"}, "class_weight='even'; expected 'balanced'"),
        ({"class_weight": [1, 2]}, "class_weight=.*; expected 'balanced'"),
        ({"early_stopping": 0}, "early_stopping=0"),
        ({"early_stopping": 3}, "early_stopping=3 needs images to judge by; expected validation"),
    ],
)
def test_train_classifier_says_what_it_takes(bad, message):
    with pytest.raises(ValueError, match=message):
        train(small_model(), some(8), **bad)
