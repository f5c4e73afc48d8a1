"""Classifiers from files: what is loaded, what is refused."""

import keras
import numpy as np
import pytest

import locadv_tf as la


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
        np.testing.assert_array_equal(
            loaded(np.random.default_rng(0).random((4, 28, 28, 1), np.float32)),
            model(np.random.default_rng(0).random((4, 28, 28, 1), np.float32)),
        )

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
