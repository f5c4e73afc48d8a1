"""The page's JavaScript beside Keras: logits, gradients and attacks; the rules of attacks, in Node."""

import json
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.attacks import loop, losses
from locadv_tf.models import pooled_cnn
from locadv_tf.playground import network

HERE = Path(__file__).parent
SCRIPTS = Path(network.__file__).parent
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="the playground's JavaScript was left out: Node not installed")
layers = keras.layers


def everything(shape, classes):
    """All layers that the page knows, in unusual forms, one model within another."""
    inner = keras.Sequential(
        [
            layers.Conv2D(7, (3, 2), strides=(1, 2), padding="valid", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SpatialDropout2D(0.5),
            layers.MaxPooling2D((3, 2), strides=(2, 1), padding="same"),
            layers.GaussianNoise(0.5),
            layers.Conv2D(6, 4, strides=3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="valid"),
        ]
    )
    image = keras.Input(shape)
    x = layers.Normalization(mean=[0.2, 0.4, 0.6], variance=[0.3, 0.2, 0.1])(image)
    x = layers.GlobalAveragePooling2D()(inner(layers.Rescaling([1.0, 2.0, 0.5], offset=0.1)(x)))
    x = layers.Activation("relu")(layers.Dense(9)(layers.Dropout(0.5)(x)))
    x = layers.BatchNormalization(scale=False, center=False)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(classes, use_bias=False)(x))


MODELS = {
    "small_cnn": (la.small_cnn, (28, 28, 1)),
    "small_cnn, odd": (la.small_cnn, (9, 14, 3)),
    "colour_cnn": (la.colour_cnn, (32, 32, 3)),
    "pooled_cnn": (pooled_cnn, (32, 32, 3)),
    "everything": (everything, (17, 22, 3)),
}


def random_model(name):
    """The model with random weights, those that start at 0 or 1 too."""
    build, shape = MODELS[name]
    model, rng = build(shape, 5), np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path and len(weight.shape) == 1:  # biases, and what normalization remembers
            weight.assign(rng.uniform(0.2, 0.8, weight.shape))
    return model


def javascript(**task):
    """What check.js answers, each list as an array."""
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in task.items()}
    plain["layers"] = [
        {key: value.ravel().tolist() if isinstance(value, np.ndarray) else value for key, value in layer.items()}
        for layer in task["layers"]
    ]
    done = subprocess.run(
        [NODE, HERE / "check.js", SCRIPTS, "/dev/stdin"], input=json.dumps(plain), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {key: np.array(value) for key, value in json.loads(done.stdout).items()}


def flat(images):
    return np.asarray(images).reshape(len(images), -1)


@needs_node
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_input_gradients_are_those_of_keras(name):
    model, shape, rng = random_model(name), MODELS[name][1], np.random.default_rng(1)
    x, y = rng.random((100, *shape), np.float32), rng.integers(0, 5, 100)
    seen = losses.respond_with_gradient(model, tf.constant(x), tf.constant(y))
    found = javascript(layers=network.layers(model), shape=shape, images=flat(x), labels=y)
    np.testing.assert_allclose(found["logits"], model(x, training=False), atol=1e-4, rtol=1e-4)
    gradients = found["gradients"] / losses.GRADIENT_SCALE
    np.testing.assert_allclose(gradients, flat(seen.gradient) / losses.GRADIENT_SCALE, atol=1e-4)
    assert np.abs(gradients).max() > 1e-3  # there was something to compare


@needs_node
def test_a_packed_network_is_the_rounded_one(digits_test, natural_model):
    x, y, _ = la.to_arrays(digits_test.take(50))
    packed = network.packed(natural_model, images=x)
    assert packed["type"] == "float16" and 0 < packed["rounding"] < network.TOLERANCE
    found = javascript(**packed, shape=x.shape[1:], images=flat(x), labels=y)
    rounded = network.rounded(natural_model)(x, training=False)
    np.testing.assert_allclose(found["logits"], rounded, atol=1e-4, rtol=1e-4)
    assert np.abs(found["logits"] - natural_model(x, training=False)).max() < 2 * network.TOLERANCE


@needs_node
def test_weights_that_16_bits_spoil_keep_32(natural_model):
    model = keras.models.clone_model(natural_model)
    model.set_weights([100 * weight for weight in natural_model.get_weights()])
    x = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    packed = network.packed(model, images=x)
    assert packed["type"] == "float32" and packed["rounding"] == 0
    found = javascript(**packed, shape=x.shape[1:], images=flat(x), labels=np.zeros(20, int))
    expected = model(x, training=False).numpy()
    np.testing.assert_allclose(found["logits"], expected, atol=1e-6 * np.abs(expected).max())


@needs_node
@pytest.mark.parametrize("region", la.validation.REGIONS)
@pytest.mark.parametrize("random_start", [False, True], ids=["from the image", "from a random point"])
def test_the_attack_is_pgd_from_the_same_start(region, random_start, digits_test, natural_model):
    x, y, mask = la.to_arrays(digits_test.take(40))
    allowed = tf.cast(la.region_mask(mask, region), tf.float32)
    attack, seed = la.PGD(eps=0.1, steps=20, random_start=random_start), 3
    expected = attack(natural_model, x, y, mask=allowed, seed=seed).numpy()
    how = {"masks": flat(mask.astype(int)), "region": region, "eps": attack.eps, "steps": attack.steps}
    if random_start:
        key = loop.image_key(seed, tf.range(len(x)), 0)
        how["starts"] = flat(la.balls.random_point(tf.constant(x), allowed > 0, attack.eps, key))
    found = javascript(layers=network.layers(natural_model), shape=x.shape[1:], images=flat(x), labels=y, **how)

    seen = losses.respond(natural_model, tf.constant(expected), tf.constant(y))
    # Where a gradient is nearly 0 its sign depends on the order in which sums are added, and from there the two may go
    # different ways. That happens to few images.
    assert np.mean(np.isclose(found["losses"], seen.loss, rtol=1e-4, atol=1e-5)) >= 0.9
    assert np.mean(np.abs(found["attacked"] - flat(expected)) < 1e-5) > 0.99
    assert (found["fooled"] != seen.fooled.numpy()).sum() <= 1
    assert (found["fooled"] != (np.argmax(natural_model(x), -1) != y)).any()
    outside = np.broadcast_to(allowed == 0, x.shape)
    np.testing.assert_array_equal(found["attacked"].reshape(x.shape)[outside], x[outside])


@needs_node
def test_the_rules_of_attacks_and_links_hold_in_javascript():
    done = subprocess.run([NODE, "--test", HERE / "rules.test.js"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "# skipped 0" in done.stdout and "# tests 0" not in done.stdout


def test_the_scale_of_gradients_is_the_kits():
    assert f"const SCALE = {losses.GRADIENT_SCALE:g};" in (SCRIPTS / "network.js").read_text()


def refused(*middle):
    return keras.Sequential([keras.Input((8, 8, 3)), *middle, layers.Flatten(), layers.Dense(2)])


def reused():
    image, dense = keras.Input((2, 2, 1)), layers.Dense(4)
    return keras.Model(image, dense(dense(layers.Flatten()(image))))


def skipping():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same")(image)
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Add()([image, x]))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: refused(layers.DepthwiseConv2D(3, name="deep")),
            r"mine has DepthwiseConv2D \('deep'\); expected layers",
        ),
        (skipping, r"mine has Add \('add\w*'\)"),
        (reused, "mine is no chain of layers"),
        (lambda: refused(layers.Conv2D(2, 3, activation="tanh", name="c")), r"Conv2D \('c'\) has the activation tanh"),
        (lambda: refused(layers.Conv2D(3, 3, groups=3)), "groups=3"),
        (lambda: refused(layers.Conv2D(3, 3, dilation_rate=2)), r"dilation_rate=\(2, 2\)"),
        (lambda: refused(layers.ReLU(max_value=6)), "has a limit"),
        (
            lambda: refused(layers.Dense(4)),
            r"no chain of layers; .* Dense \('dense\w*'\) gets the shape \(2, 8, 8, 3\)",
        ),
        (lambda: refused(layers.BatchNormalization(axis=1)), "along axis 1"),
        (lambda: refused(layers.Normalization(invert=True, mean=0.0, variance=1.0)), "inverts"),
        (
            lambda: refused(layers.Normalization(axis=(1, 2), mean=np.zeros((8, 8)), variance=np.ones((8, 8)))),
            "per channel",
        ),
        (lambda: refused(layers.Flatten(), layers.Dense(20_000)), "expected at most 3,000,000"),
    ],
)
def test_what_the_page_cannot_run_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        network.layers(build(), name="mine")


def test_broken_weights_are_refused(natural_model):
    model = keras.models.clone_model(natural_model)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match=r"the model mine is broken: its weights .*logits/bias"):
        network.layers(model, name="mine")
