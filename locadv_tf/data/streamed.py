"""TFDS sets that do not fit in memory: read anew for each use, with masks computed on the way."""

import math

import numpy as np
import tensorflow as tf

from locadv_tf.data import memory
from locadv_tf.data.sources import check_labels, chosen_examples, damage_told

AT_ONCE = 2**22  # bytes of images whose masks are computed together; a file of slow masks is about so many images


def stream(opened, masks, *, most):
    """The images of an `Opened`, with masks, as a data set that reads them anew each time.

    All files are read once, without decoding the images: what is damaged or does not fit is told before any work.

    Args:
        opened: an `Opened`.
        masks: function from images uint8 `(N, H, W, C)`, labels `(N,)`, places in the split `(N,)` and the background's
            share of each pixel, float32 `(N, H, W, 1)`, or None, to masks uint8 `(N, H, W, 1)`. An image's mask depends
            on no other image.
        most: how many bytes of it may be kept; the data set remembers it (memory.py).

    Returns:
        A `tf.data.Dataset` of `(image uint8, mask uint8, label int64)`, in the split's order, of known cardinality.

    Raises:
        ValueError: for files that cannot be read, unknown labels, or drawn masks with other values.
    """
    with damage_told(opened):
        examples, positions = chosen_examples(opened)
        looks = examples.map(opened.look, num_parallel_calls=tf.data.AUTOTUNE).batch(1000)
        labels, seen = [np.zeros(0, np.int64)], []
        for label, *values in looks.as_numpy_iterator():
            labels.append(label)
            seen += [part.any(axis=0) for part in values]
    check_labels(opened, np.concatenate(labels), np.any(seen, axis=0) if seen else None)
    shape = opened.shape

    def compute(image, label, place, *share):
        return masks(image, label, place, share[0] if share else None)

    @tf.autograph.experimental.do_not_convert
    def with_masks(place, example):
        image, label, *drawn = example
        # Not stateful: else TensorFlow's determinism would make the whole way one thread.
        mask = tf.numpy_function(compute, [image, label, place, *drawn[:1]], tf.uint8, stateful=False)
        image, mask = tf.ensure_shape(image, (None, *shape)), tf.ensure_shape(mask, (None, *shape[:2], 1))
        return image, mask, tf.cast(label, tf.int64)

    decoded = examples.map(opened.decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    pairs = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(positions), decoded)
    chunks = pairs.batch(max(1, AT_ONCE // math.prod(shape)))
    data = chunks.map(with_masks, num_parallel_calls=2, deterministic=True).unbatch()
    # Fewer images, as a file was shortened meanwhile, are an error and not the end of an epoch.
    return memory.limited(data.apply(tf.data.experimental.assert_cardinality(len(positions))), most)
