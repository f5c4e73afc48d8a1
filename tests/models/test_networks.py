"""The small classifiers: logits in float32, the same weights for the same seed, normalization inside."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.models import pooled_cnn

MODELS = [
    pytest.param(la.small_cnn, (28, 28, 1), id="small_cnn, grey"),
    pytest.param(la.small_cnn, (9, 13, 3), id="small_cnn, odd sides"),
    pytest.param(pooled_cnn, (32, 32, 3), id="pooled_cnn"),
    pytest.param(la.colour_cnn, (32, 32, 3), id="colour_cnn"),
    pytest.param(la.residual_cnn, (17, 30, 3), id="residual_cnn"),
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
        assert np.ptp(a) == 0 or (a != c).any()  # biases start at 0, the scales of batch normalization at 1
    signs = [tuple(np.sign(weights.flat[:20])) for weights in first if weights.ndim > 1]
    assert len(set(signs)) == len(signs)  # a seed of its own for each layer


@pytest.mark.parametrize(("build", "shape"), MODELS)
def test_normalization_is_the_first_layer(build, shape):
    first = next(layer for layer in build(shape, 3).layers if not isinstance(layer, keras.layers.InputLayer))
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


@pytest.mark.parametrize("build", [la.small_cnn, pooled_cnn, la.colour_cnn, la.residual_cnn])
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


def test_an_input_shape_may_be_a_tensors():
    image = tf.zeros((2, 12, 12, 3))
    assert la.colour_cnn(image.shape[1:], 4).output_shape == (None, 4)


def test_residual_cnn_is_pre_activated_and_as_wide_and_deep_as_told():
    model = la.residual_cnn((16, 16, 3), 5, width=4, depth=2)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions if layer.kernel_size == (3, 3)] == 5 * [4] + 4 * [8] + 4 * [16]
    assert sum(layer.kernel_size == (1, 1) for layer in convolutions) == 2  # where width and size change
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 6
    for layer in model.layers:
        if isinstance(layer, keras.layers.Add):  # nothing between a block and the next: the identity stays one
            following = {type(node.operation).__name__ for node in layer._outbound_nodes}
            assert following <= {"Add", "BatchNormalization"}
    assert la.residual_cnn((16, 16, 3), 5, width=4).count_params() < model.count_params()
    assert la.residual_cnn((8, 8, 1), 2, width=1, depth=20).output_shape == (None, 2)  # more than a hundred layers


@pytest.mark.parametrize(("bad", "message"), [({"width": 0}, "width=0; expected"), ({"depth": 1.5}, "depth=1.5")])
def test_residual_cnn_refuses(bad, message):
    with pytest.raises(ValueError, match=message):
        la.residual_cnn((16, 16, 3), 5, **bad)


def test_the_residual_network_has_no_convolution_of_size_1_that_strides():
    """TensorFlow's oneDNN kernel for its weights' gradient corrupts memory: see the comment in `residual_cnn`."""
    layers = la.residual_cnn((64, 64, 3), 10, width=8, depth=2).layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.strides for layer in convolutions if layer.kernel_size == (1, 1)} == {(1, 1)}
    assert {layer.strides for layer in convolutions} == {(1, 1), (2, 2)}
