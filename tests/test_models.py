"""The small classifiers: logits in float32, the same weights for the same seed, normalization inside."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la

MODELS = [
    pytest.param(la.small_cnn, (28, 28, 1), id="small_cnn, grey"),
    pytest.param(la.small_cnn, (9, 13, 3), id="small_cnn, odd sides"),
    pytest.param(la.colour_cnn, (32, 32, 3), id="colour_cnn"),
]


def images(shape, n=4):
    return np.random.default_rng(0).random((n, *shape), dtype=np.float32)


@pytest.mark.parametrize(("build", "shape"), MODELS)
def test_logits(build, shape):
    model = build(shape, 7)
    logits = model(images(shape)).numpy()
    assert logits.shape == (4, 7) and logits.dtype == np.float32
    assert model.built and model.layers[-1].activation is keras.activations.linear
    assert (logits < 0).any() and not np.allclose(logits.sum(axis=-1), 1)
    assert logits.std(axis=0).max() > 1e-3  # different images, different logits


@pytest.mark.parametrize(("build", "shape"), MODELS)
def test_the_seed_decides_the_weights(build, shape):
    first, again, other = (build(shape, 3, seed=seed).get_weights() for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not a.any() or (a != c).any()  # biases start at 0
    signs = [tuple(np.sign(weights.flat[:20])) for weights in first if weights.ndim > 1]
    assert len(set(signs)) == len(signs)  # a seed of its own for each layer


@pytest.mark.parametrize(("build", "shape"), MODELS)
def test_normalization_is_the_first_layer(build, shape):
    first = build(shape, 3).layers[0]
    np.testing.assert_allclose(first(np.float32([0, 0.5, 1])), [-1, 0, 1])


def test_logits_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = la.small_cnn((28, 28, 1), 10)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.layers[1].compute_dtype == "float16"
    assert model(images((28, 28, 1))).dtype == "float32"


def test_small_cnn_learns_the_digits(natural_model, digits_test):
    image, label, _ = la.to_arrays(digits_test)
    assert (natural_model(image).numpy().argmax(axis=-1) == label).mean() > 0.93


def test_it_is_saved_as_an_ordinary_keras_model(natural_model, tmp_path):
    natural_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images((28, 28, 1))), natural_model(images((28, 28, 1))))


@pytest.mark.parametrize("build", [la.small_cnn, la.colour_cnn])
@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((28, 28), 10, r"input_shape=\(28, 28\); expected \(height, width, channels\)"),
        ((28, 28, 0), 10, "three positive integers"),
        ((None, None, 1), 10, "three positive integers"),
        ((28, 28, 1), 1, "num_classes=1; expected a whole number, at least 2"),
    ],
)
def test_bad_input(build, shape, classes, message):
    with pytest.raises(ValueError, match=message):
        build(shape, classes)


class Own(keras.layers.Layer):
    """Somebody's layer, which nobody registered."""

    def call(self, x):
        return x


def sequential(*last, shape=(28, 28, 1)):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3), *last])


def two_inputs():
    both = [keras.Input((28, 28, 1)), keras.Input((28, 28, 1))]
    return keras.Model(both, keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Add()(both))))


class TestLoadClassifier:
    def test_it_is_the_model_that_was_saved(self, tmp_path):
        model = la.small_cnn((28, 28, 1), 10)
        model.save(tmp_path / "model.keras")
        loaded = la.models.load_classifier(tmp_path / "model.keras", input_shape=(28, 28, 1))
        np.testing.assert_array_equal(loaded(images((28, 28, 1))), model(images((28, 28, 1))))

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: sequential(shape=(32, 32, 3)), r"takes images \(32, 32, 3\), the data set has \(28, 28, 1\)"),
            (two_inputs, "expected one input, a batch of images"),
            (lambda: sequential(Own()), "cannot be rebuilt: .*'Own'.*; expected Keras's own layers"),
            (lambda: sequential(keras.layers.Lambda(lambda x: x)), "Lambda layers hold code, which is not run"),
            (lambda: sequential(keras.layers.Softmax()), "ends in softmax"),
        ],
    )
    def test_what_is_refused(self, build, message, tmp_path):
        build().save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=message):
            la.models.load_classifier(tmp_path / "model.keras", input_shape=(28, 28, 1))

    def test_other_files(self, tmp_path):
        with pytest.raises(ValueError, match="is no file; expected a classifier"):
            la.models.load_classifier(tmp_path / "model.keras", input_shape=(28, 28, 1))
        (tmp_path / "model.keras").write_bytes(b"\x80\x04pickle")
        with pytest.raises(ValueError, match="not in Keras's own format"):
            la.models.load_classifier(tmp_path / "model.keras", input_shape=(28, 28, 1))


def test_an_input_shape_may_be_a_tensors():
    image = tf.zeros((2, 12, 12, 3))
    assert la.colour_cnn(image.shape[1:], 4).output_shape == (None, 4)
