"""A model on natural images: right or wrong, the loss, and whether it knows how sure it may be (calibration)."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from locadv_tf.data.batches import batches

BINS = 15  # of confidence, as in Guo et al. 2017


class Natural(NamedTuple):
    """A model's answers to images that nobody attacked: arrays `(N,)` with one entry per image, in their order.

    Attributes:
        natural_correct: bool; natural_loss: cross-entropy, float32: named as in `Measurement`.
        confidence: the probability that the model gives to its answer, float32 in [0, 1].
    """

    natural_correct: np.ndarray
    natural_loss: np.ndarray
    confidence: np.ndarray


def natural(model, data):
    """Asks a model about images without an attack.

    Args:
        model: a Keras model, float32 images in [0, 1] to logits.
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)` or of `(image, label)`, batched or not, or arrays.

    Returns:
        A `Natural`.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> found = natural(model, la.load_data("digits", "test[:20]"))
        >>> found.natural_loss.shape, bool((found.confidence >= 0.1).all())
        ((20,), True)
    """
    losses, right, sure = [], [], []
    for image, label, _ in batches(data, 500):
        logits = tf.cast(model.predict_on_batch(tf.cast(image, tf.float32)), tf.float32)
        losses.append(keras.losses.sparse_categorical_crossentropy(label, logits, from_logits=True).numpy())
        right.append(np.argmax(logits, axis=-1) == np.asarray(label))
        sure.append(tf.reduce_max(tf.nn.softmax(logits), axis=-1).numpy())
    return Natural(np.concatenate(right), np.concatenate(losses), np.concatenate(sure))


def calibration_error(found, bins=BINS):
    """The expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Args:
        found: a `Natural`.
        bins: of equal width in confidence.

    Returns:
        The mean, over the images, of |accuracy − confidence| of an image's bin: 0 for a model that is right in 80 of
        100 cases when it gives its answer 80 %.

    Example:
        >>> sure = np.full(100, 0.9, "float32")
        >>> print(f"{calibration_error(Natural(np.arange(100) < 70, sure, sure)):.2f}")
        0.20
    """
    places = np.minimum((found.confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(places, found.natural_correct - found.confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(places))
