"""Classifiers to train from scratch: plain Keras models that return logits.

Normalization is their first layer: an attack's eps is always in pixel units of [0, 1].
"""

import itertools
import numbers
from collections.abc import Iterable

import keras

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
    layers, init = layers_and_initializer(input_shape, num_classes, seed)
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


def pooled_cnn(input_shape, num_classes, *, seed=0):
    """A classifier of colour images with a third of `small_cnn`'s weights: small enough for a page, or to be kept.

    Args, returns and errors are those of `small_cnn`.

    Example:
        >>> pooled_cnn((32, 32, 3), 10).count_params()
        48586
    """
    layers, init = layers_and_initializer(input_shape, num_classes, seed)
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape), name="image"),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Conv2D(16, 5, strides=2, activation="relu", padding="same", kernel_initializer=init()),
            layers.Conv2D(32, 3, activation="relu", padding="same", kernel_initializer=init()),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu", padding="same", kernel_initializer=init()),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_initializer=init()),
            layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=init()),
        ],
        name="pooled_cnn",
    )


def colour_cnn(input_shape, num_classes, *, seed=0):
    """A deeper classifier for colour images: three convolutions with pooling, over ten times the work of `small_cnn`.

    Args, returns and errors are those of `small_cnn`.

    Example:
        >>> colour_cnn(input_shape=(32, 32, 3), num_classes=10).output_shape
        (None, 10)
    """
    layers, init = layers_and_initializer(input_shape, num_classes, seed)
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


def residual_cnn(input_shape, num_classes, *, width=32, depth=1, seed=0):
    """A residual network with pre-activation and batch normalization: a classifier for photographs that can see.

    He et al. (2016, arXiv:1603.05027, fig. 1b), as for CIFAR-10: three stages of residual blocks, of `width`, 2 `width`
    and 4 `width` channels. Its first convolution halves the image, which makes it several times faster on a CPU. It
    wants more training than `colour_cnn`: `train_classifier(..., optimizer="adamw", augment=flip_and_shift)`.

    Args:
        input_shape, num_classes, seed: as for `small_cnn`.
        width: channels of the first stage, at least 1.
        depth: residual blocks per stage, at least 1.

    Returns:
        An uncompiled `keras.Model`: float32 images in [0, 1], `(N, H, W, C)`, to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: also for a width or depth that is not a whole number, or below 1.

    Example:
        >>> model = residual_cnn(input_shape=(32, 32, 3), num_classes=10)
        >>> model.output_shape, model.count_params()
        ((None, 10), 309226)
    """
    layers, init = layers_and_initializer(input_shape, num_classes, seed)
    width, depth = validation.count(width, name="width"), validation.count(depth, name="depth")

    def convolution(x, filters, size=3, strides=1):
        return layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer=init())(
            x
        )

    def activated(x):
        # Statistics of the last ten batches: after a few short epochs those of a hundred would still be the first ones.
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    image = keras.Input(tuple(input_shape), name="image")
    x = convolution(layers.Rescaling(2.0, offset=-1.0)(image), width, strides=2)
    for stage in range(3):
        filters = width * 2**stage
        for block in range(depth):
            strides = 2 if stage and not block else 1
            before = activated(x)
            if x.shape[-1] != filters or strides > 1:
                # A convolution of size 1 and stride 2, in two layers: as one, oneDNN's gradient of its weights writes
                # past the end of its memory on CPUs (TensorFlow 2.21; 8 channels, batches of odd size, two threads).
                thinned = layers.AveragePooling2D(1, strides=strides)(before) if strides > 1 else before
                x = convolution(thinned, filters, size=1)
            x = layers.Add()([x, convolution(activated(convolution(before, filters, strides=strides)), filters)])
    x = layers.GlobalAveragePooling2D()(activated(x))
    logits = layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=init())(x)
    return keras.Model(image, logits, name="residual_cnn")


def layers_and_initializer(input_shape, num_classes, seed):
    sides = tuple(input_shape) if isinstance(input_shape, Iterable) else ()  # a tf.TensorShape, too
    if len(sides) != 3 or any(
        isinstance(side, bool) or not isinstance(side, numbers.Integral) or side < 1 for side in sides
    ):
        raise ValueError(f"input_shape={input_shape!r}; expected (height, width, channels), three positive integers.")
    validation.count(num_classes, name="num_classes", low=2)
    seed = validation.count(seed, name="seed", low=0)
    seeds = itertools.count(100 * seed)  # a different seed for each layer
    return keras.layers, lambda: keras.initializers.HeNormal(seed=next(seeds))
