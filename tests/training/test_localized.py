"""Localized adversarial training: what is trained on, what is logged, how Keras drives it, what is refused.

Most tests use a linear classifier of 6×6 images: it traces and compiles in no time, and everything about it can be
worked out by hand.
"""

import json
import math
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import locadv_tf as la

SIDE, CLASSES, EPS, RATE = 6, 3, 0.1, 0.1
FGSM = la.FGSM(eps=EPS)
PGD = la.PGD(eps=EPS, steps=2, keep="last")  # its random start needs the seed and the step counter
NOISE = la.RandomNoise(eps=EPS)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def linear(*first_layers, seed=0):
    init = keras.initializers.RandomNormal(stddev=0.5, seed=seed)
    head = [keras.layers.Flatten(), keras.layers.Dense(CLASSES, kernel_initializer=init, dtype="float32")]
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *first_layers, *head])


def samples(n, seed=0):
    """Images of greys that eps does not lead out of [0, 1], masks of coin tosses, labels."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.2, 0.8, (n, SIDE, SIDE, 1)).astype("float32")
    mask = rng.integers(0, 2, (n, SIDE, SIDE, 1)).astype("float32")
    return image, mask, rng.integers(0, CLASSES, n)


def defend(model, *, optimizer=None, attack=FGSM, region="background", share=0.5, seed=0, **compiled):
    defended = la.LocalizedAdversarialTraining(model, attack=attack, region=region, share=share, seed=seed)
    defended.compile(optimizer or keras.optimizers.SGD(RATE), loss=LOSS, **compiled)
    return defended


def batches(image, mask, *label_and_weight, size=4):
    return tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, *label_and_weight)).batch(size)


def fit(defended, data, **options):
    return defended.fit(data, shuffle=False, verbose=0, **options).history


def assert_same_weights(first, second, *, atol=0.0):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# The method, written down once more without the module.


def cross_entropy(label, logits):
    return keras.losses.sparse_categorical_crossentropy(label, logits, from_logits=True)


def fgsm_by_hand(model, image, mask, label):
    x = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = keras.ops.sum(cross_entropy(label, model(x, training=False)))
    return np.clip(image + mask * EPS * np.sign(tape.gradient(loss, x)), 0, 1).astype("float32")


def mixed_by_hand(model, image, mask, label, attacked):
    adversarial = fgsm_by_hand(model, image[:attacked], mask[:attacked], label[:attacked])
    return np.concatenate([adversarial, image[attacked:]])


def train_by_hand(model, image, mask, label, *, share, size=4):
    """An epoch of localized adversarial training with FGSM and SGD."""
    for at in range(0, len(image), size):
        part = slice(at, at + size)
        attacked = math.floor(share * len(image[part]) + 0.5)
        mixed = mixed_by_hand(model, image[part], mask[part], label[part], attacked)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(cross_entropy(label[part], model(mixed, training=True)))
        for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
            weight.assign_sub(RATE * gradient)


class Spy(keras.layers.Layer):
    """Lets images through and notes them with the mode they came in; sees eager runs only."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x, training=False):
        if tf.executing_eagerly():
            self.seen.append((training, x.numpy()))
        return x


def spied_step(image, mask, label, **options):
    """One training step; returns the images that the classifier was trained on, and the modes of all its calls."""
    spy = Spy()
    defended = defend(linear(spy), run_eagerly=True, **options)
    spy.seen.clear()  # the constructor looks at the logits once
    fit(defended, batches(image, mask, label, size=len(image)))
    modes = [training for training, _ in spy.seen]
    (trained_on,) = (x for training, x in spy.seen if training)
    return trained_on, modes


# What is trained on.


@pytest.mark.parametrize("region", ["background", "foreground", "full"])
@pytest.mark.parametrize("attack", [FGSM, PGD, NOISE], ids=str)
def test_only_the_region_of_the_attacked_part_is_perturbed(attack, region):
    image, mask, label = samples(8)
    trained_on, _ = spied_step(image, mask, label, attack=attack, region=region)
    change = trained_on - image
    allowed = {"background": mask == 1, "foreground": mask == 0, "full": np.ones_like(mask, bool)}[region].copy()
    allowed[4:] = False  # share is 0.5: the second half stays natural
    assert (change[~allowed] == 0).all()
    assert np.abs(change[allowed]).max() <= EPS + 1e-6
    assert (change[allowed] != 0).mean() > 0.95
    if attack is not PGD:
        np.testing.assert_allclose(np.abs(change[allowed]), EPS, atol=1e-6)


def test_attacked_images_are_those_of_the_equation():
    image, mask, label = samples(8)
    expected = mixed_by_hand(linear(), image, mask, label, attacked=4)
    trained_on, _ = spied_step(image, mask, label)
    np.testing.assert_allclose(trained_on, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("share", "n", "attacked"),
    [(0, 8, 0), (1, 8, 8), (0.5, 8, 4), (0.5, 7, 4), (0.25, 8, 2), (0.01, 8, 1), (0.99, 8, 7), (0.01, 1, 1), (0, 1, 0)],
)
def test_share_of_a_batch_is_attacked_from_its_start(share, n, attacked):
    image, mask, label = samples(n)
    trained_on, _ = spied_step(image, mask, label, share=share, region="full")
    changed = (trained_on != image).any(axis=(1, 2, 3))
    assert changed.tolist() == [True] * attacked + [False] * (n - attacked)


@pytest.mark.parametrize("attack", [FGSM, PGD, NOISE], ids=str)
def test_a_tiny_share_of_a_tiny_last_batch_trains(attack):
    # A convolution on an empty batch is an error in TensorFlow: no part may come out empty.
    image, mask, label = samples(5)
    model = linear(*(keras.layers.Conv2D(4, 3, padding="same") for _ in range(2)))
    history = fit(defend(model, attack=attack, share=0.05), batches(image, mask, label))
    assert history["adversarial_loss"][0] > 0 and history["natural_loss"][0] > 0


def test_the_attack_is_the_only_one_to_see_the_model_out_of_training():
    modes = spied_step(*samples(4), attack=PGD)[1]
    assert modes[-1] is True and not any(modes[:-1]) and len(modes) > PGD.steps
    assert spied_step(*samples(4), share=0)[1] == [True]


def test_statistics_move_in_the_training_pass_alone():
    image, mask, label = samples(8)
    model = linear(keras.layers.BatchNormalization(scale=False, center=False), keras.layers.Dropout(0.5))
    mixed = mixed_by_hand(model, image, mask, label, attacked=4)
    defended = defend(model)
    fit(defended, batches(image, mask, label, size=8))
    norm = model.layers[0]
    np.testing.assert_allclose(norm.moving_mean, 0.01 * mixed.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, 0.99 + 0.01 * mixed.var(axis=(0, 1, 2)), rtol=1e-5)
    before = model.get_weights()
    defended.evaluate(batches(image, mask, label), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# One implementation, however Keras runs it.


@pytest.mark.parametrize(
    "compiled",
    [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 3}],
    ids=["graph", "eager", "XLA", "several steps at once"],
)
def test_an_epoch_equals_the_one_by_hand(compiled):
    # 11 images in batches of 4: the last one is ragged. The odd share rounds up and down.
    image, mask, label = samples(11)
    by_hand = linear()
    train_by_hand(by_hand, image, mask, label, share=0.4)
    model = linear()
    fit(defend(model, share=0.4, **compiled), batches(image, mask, label))
    assert np.abs(model.get_weights()[0] - linear().get_weights()[0]).max() > 1e-2
    assert_same_weights(model, by_hand, atol=1e-6)


@pytest.mark.parametrize("attack", [PGD, la.APGD(eps=EPS, steps=3)], ids=lambda attack: attack.name)
def test_a_convolution_trains_under_xla_as_in_a_graph(attack):
    weights = []
    for compiled in ({}, {"jit_compile": True}):
        model = convolutional()
        fit(defend(model, attack=attack, **compiled), batches(*samples(8)))
        weights.append(model.get_weights())
    assert np.abs(weights[0][0] - convolutional().get_weights()[0]).max() > 1e-3
    for graph, xla in zip(*weights, strict=True):
        np.testing.assert_allclose(xla, graph, rtol=0, atol=1e-5)


def test_xla_is_off_unless_asked_for(monkeypatch):
    """Keras's own default takes it on a GPU, where XLA failed on this step (benchmarks/RESULTS_GPU.md)."""
    asked = []
    monkeypatch.setattr(
        keras.Model, "compile", lambda self, *args, jit_compile="auto", **kwargs: asked.append(jit_compile)
    )
    defend(linear())
    defend(linear(), jit_compile=True)
    assert asked == [False, True]


def test_the_share_is_the_same_for_batches_of_known_and_of_unknown_size():
    n = 50  # 0.29 · 50 is 14.5; on which side of it depends on the precision
    model = {known: linear() for known in (True, False)}
    for known, one in model.items():
        image, mask, label = samples(n)
        data = tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))
        data = data.batch(n, drop_remainder=known)
        assert (data.element_spec[1].shape[0] is not None) == known
        fit(defend(one, share=0.29), data)
    assert_same_weights(model[True], model[False], atol=1e-6)


def test_natural_training_equals_plain_keras():
    image, mask, label = samples(10)
    plain, model = linear(), linear()
    plain.compile(keras.optimizers.Adam(0.1), loss=LOSS)
    plain.fit(tf.data.Dataset.from_tensor_slices((image, label)).batch(4), epochs=2, shuffle=False, verbose=0)
    fit(defend(model, share=0, optimizer=keras.optimizers.Adam(0.1)), batches(image, mask, label), epochs=2)
    assert_same_weights(model, plain, atol=1e-6)


def test_full_region_needs_no_masks():
    image, mask, label = samples(8)
    with_ones, without = linear(), linear()
    fit(defend(with_ones), batches(image, np.ones_like(mask), label))
    fit(defend(without, region="full"), tf.data.Dataset.from_tensor_slices((image, label)).batch(4))
    assert_same_weights(with_ones, without)


def test_predict_gives_the_logits_of_the_classifier():
    image, mask, label = samples(6)
    model = linear()
    defended = defend(model)
    logits = np.asarray(model(image))
    for inputs in (image, {"image": image, "mask": mask}, batches(image, mask, label)):
        np.testing.assert_allclose(defended.predict(inputs, verbose=0), logits, atol=1e-6)


def test_passes_per_image_count_the_attack():
    options = {"attack": la.PGD(eps=EPS, steps=5, restarts=2), "share": 0.5}
    assert la.LocalizedAdversarialTraining(linear(), **options).passes_per_image == 6
    assert la.LocalizedAdversarialTraining(linear(), attack=PGD, share=0).passes_per_image == 1


# Weights of images and of classes.


def test_an_image_of_zero_weight_has_no_influence():
    image, mask, label = samples(8)
    weight = np.array([0, 1, 2, 1, 0, 3, 1, 1], "float32")  # one zero in the attacked part, one in the natural part
    histories, models = [], [linear(), linear()]
    for model in models:
        data = batches(image, mask, label, weight, size=8)
        histories.append(fit(defend(model), data, validation_data=data))
        image, label = image.copy(), label.copy()
        image[weight == 0], label[weight == 0] = 0.5, (label[weight == 0] + 1) % CLASSES
    assert_same_weights(*models)
    assert histories[0] == histories[1]


def test_class_weights_are_the_weights_of_the_images():
    image, mask, label = samples(8)
    first, second = linear(), linear()
    fit(defend(first), batches(image, mask, label), class_weight={0: 1.0, 1: 0.0, 2: 5.0})
    weight = np.array([1, 0, 5], "float32")[label]
    fit(defend(second), batches(image, mask, label, weight))
    assert_same_weights(first, second, atol=1e-7)


# What is logged.


@pytest.mark.parametrize("weighted", [False, True])
def test_the_logs_are_right(weighted):
    share, model = 0.25, linear()
    train, validation = samples(8, seed=1), samples(7, seed=2)
    weights = [np.random.default_rng(3).uniform(0.5, 2, n).astype("float32") for n in (8, 7)]
    data = [(*part, weight) if weighted else part for part, weight in zip((train, validation), weights, strict=True)]
    if not weighted:
        weights = [np.ones(8), np.ones(7)]

    metrics = {
        "metrics": ["accuracy"],
        "weighted_metrics": [keras.metrics.SparseCategoricalAccuracy(name="weighted_accuracy")],
    }
    optimizer = keras.optimizers.SGD(0.0)  # the weights stay, so that everything can be worked out afterwards
    defended = defend(model, share=share, optimizer=optimizer, **metrics)
    logs = fit(defended, batches(*data[0], size=8), validation_data=batches(*data[1], size=7))

    def numbers(x, label):
        logits = np.asarray(model(x))
        return np.asarray(cross_entropy(label, logits)), logits.argmax(axis=-1) == label

    image, mask, label = train
    loss, right = numbers(mixed_by_hand(model, image, mask, label, attacked=2), label)
    expected = {"loss": (weights[0] * loss).mean(), "accuracy": right.mean()}
    expected["weighted_accuracy"] = np.average(right, weights=weights[0])
    for kind, part in (("adversarial", slice(0, 2)), ("natural", slice(2, 8))):
        expected[f"{kind}_loss"] = np.average(loss[part], weights=weights[0][part])
        expected[f"{kind}_accuracy"] = np.average(right[part], weights=weights[0][part])

    image, mask, label = validation
    objective = {}
    for kind, x in (("natural", image), ("adversarial", fgsm_by_hand(model, image, mask, label))):
        loss, right = numbers(x, label)
        objective[kind] = (weights[1] * loss).mean()
        expected[f"val_{kind}_loss"] = np.average(loss, weights=weights[1])
        expected[f"val_{kind}_accuracy"] = np.average(right, weights=weights[1])
        if kind == "natural":
            expected["val_accuracy"] = right.mean()
            expected["val_weighted_accuracy"] = expected["val_natural_accuracy"]
    expected["val_loss"] = (1 - share) * objective["natural"] + share * objective["adversarial"]

    assert {name: values[0] for name, values in logs.items()} == pytest.approx(expected, rel=1e-5)
    assert expected["val_natural_loss"] < expected["val_adversarial_loss"]


@pytest.mark.parametrize(("share", "absent"), [(0, "adversarial"), (1, "natural")])
def test_a_part_that_is_always_empty_is_not_logged_in_training(share, absent):
    data = batches(*samples(4))
    logs = fit(defend(linear(), share=share), data, validation_data=data)
    kinds = {"natural", "adversarial"}
    assert {name for name in logs if not name.startswith("val_")} == {"loss"} | {
        f"{kind}_{what}" for kind in kinds - {absent} for what in ("loss", "accuracy")
    }
    assert {f"val_{kind}_{what}" for kind in kinds for what in ("loss", "accuracy")} <= set(logs)


def test_logs_are_means_over_all_batches():
    image, mask, label = samples(11)
    whole, parts = (defend(linear(), share=1).evaluate(batches(image, mask, label, size=n), verbose=0, return_dict=True)
                    for n in (11, 4))  # fmt: skip
    assert whole == pytest.approx(parts, rel=1e-5)


class Adds(keras.layers.Layer):
    """Adds the images' mean square to the loss."""

    def call(self, x):
        self.add_loss(keras.ops.mean(x**2))
        return x


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_what_layers_add_to_the_loss_is_that_of_the_images_it_belongs_to(share, compiled):
    image, mask, label = samples(8)
    penalty = keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.3), activity_regularizer="l1")
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), Adds(), keras.layers.Flatten(), penalty])
    adversarial = fgsm_by_hand(model, image, mask, label)

    def objective(x):
        loss = keras.ops.mean(cross_entropy(label, model(x)))
        assert len(model.losses) == 3
        return float(loss + sum(model.losses))  # of the call right before

    natural, attacked = objective(image), objective(adversarial)
    mixed = objective(mixed_by_hand(model, image, mask, label, attacked=int(8 * share)) if share else image)
    defended = defend(model, share=share, optimizer=keras.optimizers.SGD(0.0), **compiled)
    found = defended.evaluate(batches(image, mask, label, size=8), verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx((1 - share) * natural + share * attacked, rel=1e-5)
    assert abs(natural - attacked) > 1e-3
    assert fit(defended, batches(image, mask, label, size=8))["loss"] == [pytest.approx(mixed, rel=1e-5)]


def test_what_layers_add_to_the_loss_trains_the_weights():
    image, mask, label = samples(8)
    penalty = keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.5))
    models = [linear(), keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), penalty])]
    models[1].set_weights(models[0].get_weights())
    before = models[0].get_weights()[0]
    for model in models:
        fit(defend(model, attack=NOISE, share=1, region="full"), batches(image, mask, label, size=8))
    plain, regularized = (model.get_weights()[0] for model in models)
    np.testing.assert_allclose(regularized, plain - RATE * 2 * 0.5 * before, atol=1e-5)


# Randomness.


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    def weights(seed):
        model = linear()
        fit(defend(model, attack=PGD, seed=seed), batches(*samples(12)), epochs=2)
        return model

    first, again, other = weights(1), weights(1), weights(2)
    assert_same_weights(first, again)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_each_step_draws_anew_and_each_validation_the_same():
    spy, data = Spy(), batches(*samples(2))
    rate = keras.optimizers.SGD(0.0)  # nothing but the random numbers may change
    defended = defend(linear(spy), optimizer=rate, attack=NOISE, share=1, region="full", run_eagerly=True)
    before = defended.evaluate(data, verbose=0)
    fit(defended, data.repeat(2))
    first, second = (x for training, x in spy.seen if training)
    assert (first != second).any() and int(defended.step_count) == 2
    assert defended.evaluate(data, verbose=0) == before and int(defended.step_count) == 2


# Mixed precision.


@pytest.fixture
def mixed_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def convolutional():
    conv = keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed=1))
    return linear(conv)


def test_mixed_precision_trains_like_float32(request, tmp_path):
    image, mask, label = samples(8)
    start, exact = convolutional().get_weights(), convolutional()
    fit(defend(exact), batches(image, mask, label))

    request.getfixturevalue("mixed_float16")
    model = convolutional()
    defended = defend(model)
    assert isinstance(defended.optimizer, keras.optimizers.LossScaleOptimizer)
    assert model(image).dtype == "float32" and model.layers[0].compute_dtype == "float16"
    logs = fit(defended, batches(image, mask, label), validation_data=batches(image, mask, label))
    assert np.isfinite([values[0] for values in logs.values()]).all()
    # Without `scale_loss` the weights would move by 2**-15 of this.
    for old, new, float32 in zip(start, model.get_weights(), exact.get_weights(), strict=True):
        assert np.abs(new - float32).max() < 0.05 * np.abs(float32 - old).max()

    defended.save(tmp_path / "half.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "half.keras")  # warns where the loss scale is lost
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert loaded.classifier.layers[0].compute_dtype == "float16"


def test_bfloat16_trains_like_float32():
    image, mask, label = samples(8)
    start, exact = convolutional().get_weights(), convolutional()
    fit(defend(exact), batches(image, mask, label))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = convolutional()
        defended = defend(model)
        assert model.layers[0].compute_dtype == "bfloat16"
        assert not isinstance(defended.optimizer, keras.optimizers.LossScaleOptimizer)  # its exponents are float32's
        logs = fit(defended, batches(image, mask, label))
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite([values[0] for values in logs.values()]).all()
    for old, new, float32 in zip(start, model.get_weights(), exact.get_weights(), strict=True):
        assert np.abs(new - float32).max() < 0.2 * np.abs(float32 - old).max()


# Saving and loading.


def test_the_wrapper_is_saved_and_trains_on(tmp_path):
    data = batches(*samples(12))
    attack = la.PGD(eps=EPS, steps=2, step_size=0.07, keep="last")
    defended = defend(linear(), optimizer="adam", attack=attack, region="foreground", share=0.25, seed=7)
    fit(defended, data)
    defended.save(tmp_path / "defended.keras")
    loaded = keras.saving.load_model(tmp_path / "defended.keras")
    assert (loaded.attack, loaded.region, loaded.share, loaded.seed) == (attack, "foreground", 0.25, 7)
    assert loaded.name == defended.name and int(loaded.step_count) == 3
    assert_same_weights(loaded, defended)
    # The optimizer's moments and the random numbers continue where they were.
    assert fit(loaded, data, validation_data=data) == fit(defended, data, validation_data=data)
    assert_same_weights(loaded, defended)


def test_the_classifier_goes_out_as_an_ordinary_keras_model(tmp_path):
    image, mask, label = samples(8)
    defended = defend(linear())
    fit(defended, batches(image, mask, label))
    defended.classifier.save(tmp_path / "classifier.keras")
    with zipfile.ZipFile(tmp_path / "classifier.keras") as archive:
        config = archive.read("config.json").decode()
    assert json.loads(config)["class_name"] == "Sequential" and "locadv" not in config
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded(image), defended.classifier(image))


# Callbacks.


class PowerCut(keras.callbacks.Callback):
    """In the middle of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise RuntimeError("the power is gone")


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    data = batches(*samples(12))

    def trained(model, *callbacks, into):
        defended = defend(model, optimizer=keras.optimizers.Adam(0.01), attack=PGD)
        into.append(defended)
        return fit(defended, data, epochs=4, callbacks=list(callbacks))

    runs = []
    whole = trained(linear(), into=runs)
    with pytest.raises(RuntimeError, match="power"):
        trained(linear(), keras.callbacks.BackupAndRestore(tmp_path / "backup"), PowerCut(), into=runs)
    # A new process would build everything anew; other initial weights show that none of them are left.
    rest = trained(linear(seed=9), keras.callbacks.BackupAndRestore(tmp_path / "backup"), into=runs)
    assert rest == {name: values[2:] for name, values in whole.items()}
    assert_same_weights(runs[2], runs[0])
    assert int(runs[2].step_count) == 12


def test_early_stopping_and_checkpoints_follow_the_adversarial_accuracy(tmp_path):
    data = batches(*samples(12))
    defended = defend(linear(), optimizer=keras.optimizers.SGD(0.0))  # never improves on its first epoch
    watched = {"monitor": "val_adversarial_accuracy", "mode": "max"}
    stop = keras.callbacks.EarlyStopping(**watched, patience=1)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", **watched, save_best_only=True)
    logs = fit(defended, data, validation_data=data, epochs=5, callbacks=[stop, best])
    assert len(logs["loss"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["1.keras"]
    assert int(keras.saving.load_model(tmp_path / "1.keras").step_count) == 3


def test_tensorboard_gets_the_logs(tmp_path):
    data = batches(*samples(4))
    board = keras.callbacks.TensorBoard(tmp_path)
    logs = fit(defend(linear()), data, validation_data=data, callbacks=[board])
    for part, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(tmp_path / part), size_guidance={"tensors": 0}).Reload()
        for name in ("natural_loss", "natural_accuracy", "adversarial_loss", "adversarial_accuracy"):
            (event,) = events.Tensors(f"epoch_{name}")
            assert tf.make_ndarray(event.tensor_proto) == pytest.approx(logs[prefix + name][0])


# Bad input.


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classifier": keras.Sequential([keras.layers.Flatten()])}, "not built.*call it once"),
        ({"classifier": keras.Sequential([keras.Input((6,)), keras.layers.Softmax()])}, "ends in softmax.*Remove"),
        ({"classifier": keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])}, "at least two classes"),
        ({"region": "backgruond"}, "region='backgruond'.*'background', 'foreground', 'full'"),
        ({"share": 50}, "share=50.*from 0 to 1"),
        ({"share": -0.1}, "share=-0.1.*from 0 to 1"),
    ],
)
def test_bad_arguments(bad, message):
    arguments = {"classifier": linear(), "attack": FGSM} | bad
    with pytest.raises(ValueError, match=message):
        la.LocalizedAdversarialTraining(**arguments)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=False),
    ],
    ids=["name", "default", "from_logits=False"],
)
def test_a_loss_that_expects_probabilities_is_refused(loss):
    defended = la.LocalizedAdversarialTraining(linear(), attack=FGSM)
    with pytest.raises(ValueError, match=r"expects probabilities.*from_logits=True"):
        defended.compile("adam", loss=loss)


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image, mask, label: (image, label), "needs masks"),
        (lambda image, mask, label: ({"image": image}, label), "needs masks"),
        (lambda image, mask, label: ({"image": image, "mask": mask},), "true labels are needed"),
        (lambda image, mask, label: ({"image": image, "mask": mask}, np.eye(CLASSES)[label]), "one-hot"),
        (lambda image, mask, label: ({"image": image, "mask": mask}, label.astype("float32")), "integer classes"),
        (lambda image, mask, label: ({"image": image, "mask": mask[:, :3]}, label), "mask has shape"),
        (lambda image, mask, label: ({"image": np.uint8(255 * image), "mask": mask}, label), "dtype uint8"),
    ],
    ids=["no mask", "no mask in the dictionary", "no labels", "one-hot", "float labels", "mask's shape", "uint8"],
)
def test_bad_data(change, message, compiled):
    data = tf.data.Dataset.from_tensor_slices(change(*samples(4))).batch(4)
    with pytest.raises(ValueError, match=message):
        fit(defend(linear(), **compiled), data)
    with pytest.raises(ValueError, match=message):
        defend(linear(), **compiled).evaluate(data, verbose=0)


@pytest.mark.parametrize("side", [SIDE, None])
def test_a_softmax_that_no_layer_tells_of_is_refused(side):
    x = keras.Input((side, side, 1))
    logits = keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(x))
    with pytest.raises(ValueError, match=r"ends in softmax.*Remove"):
        la.LocalizedAdversarialTraining(keras.Model(x, keras.ops.softmax(logits)), attack=FGSM)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_nested_softmax_is_refused(policy):
    end = keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES, activation="softmax", dtype=policy)])
    first = keras.layers.Dense(5, dtype=policy)
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), first, end])
    with pytest.raises(ValueError, match=r"ends in softmax.*Remove"):
        la.LocalizedAdversarialTraining(model, attack=FGSM)


def test_the_look_at_the_logits_leaves_the_classifier_alone():
    model = linear(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=0))
    before = [variable.numpy().copy() for variable in model.variables]
    la.LocalizedAdversarialTraining(model, attack=FGSM)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_a_subclassed_classifier_is_refused_and_the_way_out_named():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def call(self, x, training=False):
            return self.inner(x, training=training)

    model, x = Own(), keras.Input((SIDE, SIDE, 1))
    model(np.zeros((1, SIDE, SIDE, 1), "float32"))
    with pytest.raises(ValueError, match=r"Own.*expected a Sequential or functional model"):
        la.LocalizedAdversarialTraining(model, attack=FGSM)
    assert la.LocalizedAdversarialTraining(keras.Model(x, model(x)), attack=FGSM).built


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_batch_of_one_image_has_no_two_parts(share):
    data = batches(*samples(4), size=1)  # of unknown size, as a last batch of one image is no error
    static = data.unbatch().batch(1, drop_remainder=True).apply(tf.data.experimental.assert_cardinality(4))
    if 0 < share < 1:
        with pytest.raises(ValueError, match=r"share=0.5 of a batch of one image.*Raise batch_size"):
            fit(defend(linear(), share=share), static)
    else:
        fit(defend(linear(), share=share), static)
    fit(defend(linear(), share=share), data)
    fit(defend(linear(), share=share, run_eagerly=True), batches(*samples(5)))


# train_classifier


def test_train_classifier_repeats_itself_and_learns(digits_train, digits_validation):
    def train(seed):
        model = la.small_cnn((28, 28, 1), 10)
        options = {"attack": PGD, "epochs": 2, "batch_size": 64, "seed": seed, "validation": digits_validation}
        return model, la.train_classifier(model, digits_train.take(400), **options)

    (first, history), (second, again) = train(seed=0), train(seed=0)
    assert_same_weights(first, second)
    assert history == again
    kinds = [f"{kind}_{what}" for kind in ("natural", "adversarial") for what in ("loss", "accuracy")]
    assert set(history) == {"loss", "val_loss", *kinds, *(f"val_{name}" for name in kinds)}
    assert all(len(values) == 2 for values in history.values())
    assert history["val_natural_loss"][1] < history["val_natural_loss"][0]


def test_train_classifier_shuffles_by_its_seed(digits_train):
    def train(seed):  # naturally: nothing but the order of the images is left to the seed
        model = la.small_cnn((28, 28, 1), 10)
        la.train_classifier(model, digits_train.take(64), attack=PGD, share=0, epochs=1, batch_size=16, seed=seed)
        return model.get_weights()[0]

    assert not np.array_equal(train(0), train(1))


def test_train_classifier_shuffles_all_images_and_looks_at_all_labels(digits_train, monkeypatch):
    """Also those of data whose number nobody knows; a label that a GPU would make a NaN of is named before training."""
    seen, shuffle = [], tf.data.Dataset.shuffle
    monkeypatch.setattr(tf.data.Dataset, "shuffle", lambda data, n, **how: seen.append(n) or shuffle(data, n, **how))
    some = digits_train.take(40).filter(lambda inputs, label: label < 9)
    n = sum(1 for _ in some)
    la.train_classifier(la.small_cnn((28, 28, 1), 9), some, attack=PGD, share=0, epochs=1)
    assert seen == [n] and 0 < n < 40
    with pytest.raises(
        ValueError, match="train's label has classes from 0 to 9, out of range for the model's 9 classes"
    ):
        la.train_classifier(la.small_cnn((28, 28, 1), 9), digits_train.take(40), attack=PGD, share=0, epochs=1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0.5}, "batch_size=0.5"),
        ({"batch_size": 1}, "share=0.5 of a batch of one image"),
        ({"share": 2}, "share=2"),
    ],
)
def test_train_classifier_refuses(bad, message, digits_train):
    with pytest.raises(ValueError, match=message):
        la.train_classifier(la.small_cnn((28, 28, 1), 10), digits_train, **{"attack": PGD, **bad})


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda data: samples(4), "is tuple; expected an unbatched, finite tf.data.Dataset of .*from_tensor_slices"),
        (lambda data: data.batch(4), r"has labels of shape \(None,\); expected an unbatched.*unbatch\(\)"),
        (lambda data: data.repeat(), r"repeats without end; expected .*leave out repeat\(\), or add take"),
        (lambda data: data.map(lambda inputs, label: inputs), "has elements .*; expected an unbatched"),
    ],
    ids=["arrays", "batched", "endless", "no labels"],
)
def test_train_classifier_says_what_data_it_takes(name, bad, message, digits_train):
    data = {"train": digits_train, "validation": digits_train.take(8)}
    data[name] = bad(data[name])
    with pytest.raises(ValueError, match=f"(?i){name} {message}"):
        la.train_classifier(la.small_cnn((28, 28, 1), 10), attack=PGD, **data)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
def test_a_gpu_trains_what_the_cpu_trains():
    weights = []
    for device in ("/CPU:0", "/GPU:0"):
        with tf.device(device):
            model = convolutional()
            fit(defend(model, attack=la.PGD(eps=EPS, steps=2, random_start=False, keep="last")), batches(*samples(12)))
            weights.append(model.get_weights())
    for cpu, gpu in zip(*weights, strict=True):
        np.testing.assert_allclose(gpu, cpu, atol=1e-2)


@pytest.mark.parametrize(
    "loss", ["SparseCategoricalCrossentropy", keras.losses.sparse_categorical_crossentropy, "categorical_crossentropy"]
)
def test_a_loss_with_probabilities_by_default_is_refused_however_it_is_named(loss, tiny_model):
    defended = la.LocalizedAdversarialTraining(tiny_model(), attack=la.FGSM(eps=0.1))
    with pytest.raises(ValueError, match="expects probabilities"):
        defended.compile("adam", loss=loss)


def test_the_attack_is_an_object(tiny_model):
    with pytest.raises(ValueError, match="attack='PGD'; expected an attack object"):
        la.LocalizedAdversarialTraining(tiny_model(), attack="PGD")
