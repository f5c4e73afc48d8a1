"""The small classifiers that the notebooks train: plain Keras models that return logits.

Normalization is their first layer: an attack's eps is always in pixel units of [0, 1].
"""

import json
import numbers
import os
import zipfile
from collections.abc import Iterable

import keras
import numpy as np

from locadv_tf import validation


def small_cnn(input_shape, num_classes, *, seed=0):
    """Two strided convolutions and a dense layer: seconds per epoch on a laptop's CPU.

    Args:
        input_shape: `(height, width, channels)` of one image.
        num_classes: number of classes, at least 2.
        seed: integer, at least 0; the same seed gives the same initial weights.

    Returns:
        An uncompiled `keras.Model`: float32 images in [0, 1], `(N, H, W, C)`, to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: if the shape is not `(height, width, channels)`, there are fewer than two classes, or the seed is
            not a whole number.

    Example:
        >>> model = small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> model.output_shape
        (None, 10)
    """
    layers, init = _parts(input_shape, num_classes, seed)
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape), name="image"),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Conv2D(16, 5, strides=2, activation="relu", padding="same", kernel_initializer=init()),
            layers.Conv2D(32, 3, strides=2, activation="relu", padding="same", kernel_initializer=init()),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_initializer=init()),
            layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=init()),
        ],
        name="small_cnn",
    )


def colour_cnn(input_shape, num_classes, *, seed=0):
    """A deeper classifier for colour images: three convolutions with pooling, over ten times the work of `small_cnn`.

    Args, returns and errors are those of `small_cnn`.

    Example:
        >>> colour_cnn(input_shape=(32, 32, 3), num_classes=10).output_shape
        (None, 10)
    """
    layers, init = _parts(input_shape, num_classes, seed)
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape), name="image"),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Conv2D(32, 3, strides=2, activation="relu", padding="same", kernel_initializer=init()),
            layers.Conv2D(64, 3, activation="relu", padding="same", kernel_initializer=init()),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu", padding="same", kernel_initializer=init()),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu", kernel_initializer=init()),
            layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=init()),
        ],
        name="colour_cnn",
    )


def load_classifier(path, *, input_shape):
    """Loads a saved classifier of any origin: no code in the file is run, nothing is unpickled.

    Args:
        path: a file that `model.save("name.keras")` wrote.
        input_shape: `(height, width, channels)` of the images for the model.

    Returns:
        The Keras model, uncompiled.

    Raises:
        ValueError: if there is no such file; if it has another format, needs its own code, takes other images or
            returns no logits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     small_cnn((28, 28, 1), 10).save(f"{folder}/model.keras")
        ...     load_classifier(f"{folder}/model.keras", input_shape=(28, 28, 1)).output_shape
        (None, 10)
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise ValueError(f"{name!r} is no file; expected a classifier that model.save('name.keras') wrote.")
    if not (name.endswith(".keras") and zipfile.is_zipfile(name)):
        raise ValueError(
            f"{name!r} is not in Keras's own format; expected a .keras file. Load the model where it was "
            "made, and call model.save('name.keras')."
        )
    try:
        model = keras.saving.load_model(name, compile=False, safe_mode=True)
    except Exception as problem:  # any error is possible with an unknown file
        reason = str(problem).rpartition("Exception encountered: ")[2].partition(". ")[0]
        raise ValueError(
            f"{name!r} cannot be rebuilt: {reason}; expected Keras's own layers. Lambda layers hold code, "
            "which is not run. For your own layers, use la.verdicts.check in Python."
        ) from problem
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == len(input_shape) + 1):
        raise ValueError(f"{name!r} takes {shape}; expected one input, a batch of images {(None, *input_shape)}.")
    if any(own not in (None, side) for own, side in zip(shape[1:], input_shape, strict=True)):
        raise ValueError(
            f"{name!r} takes images {shape[1:]}, the data set has {tuple(input_shape)}; expected equal shapes."
        )
    validation.model_logits(model, model(np.zeros((1, *input_shape), np.float32), training=False))
    return model


def layer_count(path):
    """The number of layers of a saved classifier, nested ones too, without loading it; 0 if the file does not tell."""
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return 0
    return _layers(config)


def _layers(config):
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else None
    return sum(1 + _layers(layer) for layer in found) if isinstance(found, list) else 0


def _parts(input_shape, num_classes, seed):
    sides = tuple(input_shape) if isinstance(input_shape, Iterable) else ()  # a tf.TensorShape, too
    if len(sides) != 3 or any(
        isinstance(side, bool) or not isinstance(side, numbers.Integral) or side < 1 for side in sides
    ):
        raise ValueError(f"input_shape={input_shape!r}; expected (height, width, channels), three positive integers.")
    validation.count(num_classes, name="num_classes", low=2)
    seed = validation.count(seed, name="seed", low=0)
    seeds = iter(range(100 * seed, 100 * seed + 100))  # a different seed for each layer
    return keras.layers, lambda: keras.initializers.HeNormal(seed=next(seeds))
