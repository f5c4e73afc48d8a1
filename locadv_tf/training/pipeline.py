"""From a data set to the batches of a training: read once, kept as bytes, all of it reshuffled, augmented.

A data set that does not fit in memory (`load_data` says what that means) is read anew in each epoch instead.
"""

import numpy as np
import tensorflow as tf

from locadv_tf.data import memory
from locadv_tf.data.batches import announced, labels_of, untuned

READ = 1000  # images at a time
STREAMED = 2**28  # bytes: of a data set that is not kept, so much is shuffled at a time


def flip_and_shift(image, mask, seed):
    """Mirrors half of the images and shifts each by up to an eighth of its sides, together with its mask.

    For photographs; a mirrored digit is another one. What comes in at an edge is the image's own reflection. An
    `augment` for `train_classifier`.

    Args:
        image: float32 `(N, H, W, C)`; `mask`: float32 `(N, H, W, 1)`.
        seed: two integers, `(2,)`: the same ones give the same result.

    Returns:
        `(image, mask)` of the same shapes.

    Example:
        >>> image, mask = flip_and_shift(tf.zeros((4, 32, 32, 3)), tf.ones((4, 32, 32, 1)), seed=(0, 1))
        >>> image.shape, float(tf.reduce_min(mask))
        (TensorShape([4, 32, 32, 3]), 1.0)
    """
    both = tf.concat([image, mask], axis=-1)
    n, height, width = tf.unstack(tf.shape(both)[:3])
    # Pixel (x, y) comes from (a x + b, y + c): a is -1 where the image is mirrored.
    mirrored = tf.random.stateless_uniform([n], seed) < 0.5
    most = tf.cast(tf.stack([width // 8, height // 8]), tf.float32)
    shift = tf.round(tf.random.stateless_uniform([n, 2], seed + tf.constant([0, 1], tf.int64), -1.0, 1.0) * most)
    a = tf.where(mirrored, -1.0, 1.0)
    b = shift[:, 0] + tf.where(mirrored, tf.cast(width - 1, tf.float32), 0.0)
    zero, one = tf.zeros_like(a), tf.ones_like(a)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=both, transforms=tf.stack([a, zero, b, zero, one, shift[:, 1], zero, zero], axis=1),
        output_shape=[height, width], fill_value=0.0, interpolation="NEAREST", fill_mode="REFLECT",
    )  # fmt: skip
    moved = tf.ensure_shape(moved, both.shape)
    return moved[..., :-1], moved[..., -1:]


def batched(data, batch_size, *, name, seed=None, augment=None):
    """The batches of an unbatched data set, for `fit`.

    Args:
        data: a `tf.data.Dataset` of `(inputs, label)` or `(inputs, label, weight)`.
        name: its name in messages.
        seed: integer that each epoch's order follows from; None: the data's own order.
        augment: a function `(image, mask, seed) → (image, mask)` of a batch, such as `flip_and_shift`, or None.

    Returns:
        `(batches, labels)`: a `tf.data.Dataset`, and the labels `(N,)`.

    Raises:
        ValueError: for data of unknown length that does not fit in memory.
    """
    if not memory.fits(data):
        labels = labels_of(data)
        if seed is not None:
            data = _shuffled(data, seed)
        batches = data.batch(batch_size)
    else:
        kept = _read(data, name)
        labels = kept[1].numpy()
        order = tf.data.Dataset.range(len(labels))
        if seed is not None:
            order = order.shuffle(len(labels), seed=seed)

        def pick(at):
            return tf.nest.map_structure(
                lambda part, spec: _restored(tf.gather(part, at), spec.dtype), kept, data.element_spec
            )

        batches = order.batch(batch_size).map(pick)
    if augment is not None:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        def augmented(element, draw):
            inputs, *rest = element
            image = inputs["image"] if isinstance(inputs, dict) else inputs
            mask = inputs.get("mask") if isinstance(inputs, dict) else None
            new_image, new_mask = augment(image, tf.ones_like(image[..., :1]) if mask is None else mask, draw)
            if isinstance(inputs, dict):
                new = {**inputs, "image": new_image} | ({} if mask is None else {"mask": new_mask})
            else:
                new = new_image
            return new, *rest

        batches = tf.data.Dataset.zip(batches, draws).map(augmented)
    return untuned(batches.prefetch(2).with_options(data.options())), labels


def _shuffled(data, seed):
    """A data set that is not kept, shuffled at least a thousand images at a time; grey levels wait as bytes."""
    some = max(READ, STREAMED // memory.size(data.take(1), values=None))
    specs = tf.nest.flatten(data.element_spec)

    def pack(part, spec):
        if spec.dtype != tf.float32 or spec.shape.rank != 3:
            return part
        levels = tf.cast(tf.round(part * 255.0), tf.uint8)
        grey = tf.reduce_all(tf.cast(levels, tf.float32) / 255.0 == part)
        return tf.cond(grey, lambda: tf.io.serialize_tensor(levels), lambda: tf.io.serialize_tensor(part)), grey

    def unpack(part, spec):
        if not isinstance(part, tuple):
            return part
        kept, grey = part
        as_levels = lambda: tf.cast(tf.io.parse_tensor(kept, tf.uint8), tf.float32) / 255.0  # noqa: E731
        return tf.ensure_shape(tf.cond(grey, as_levels, lambda: tf.io.parse_tensor(kept, tf.float32)), spec.shape)

    def packed(*element):
        return tuple(pack(part, spec) for part, spec in zip(tf.nest.flatten(element), specs, strict=True))

    def unpacked(*parts):
        flat = [unpack(part, spec) for part, spec in zip(parts, specs, strict=True)]
        return tf.nest.pack_sequence_as(data.element_spec, flat)

    return data.map(packed).shuffle(some, seed=seed).map(unpacked)


def _read(data, name):
    """All elements, stacked: a structure of tensors like the elements'. Images of grey levels are kept as such."""
    read, count, size, most = [], 0, 0, memory.limit(data)
    unknown = data.cardinality() == tf.data.UNKNOWN_CARDINALITY
    for element in announced(untuned(data.batch(READ))):
        read.append(tf.nest.map_structure(_small, element))
        count += len(element[1])
        size += sum(part.nbytes for part in tf.nest.flatten(read[-1]))
        if unknown and size > most:
            raise ValueError(
                f"{name} is of unknown length, and its first {count} images take more than the {most / 2**30:.3g} GB "
                "of memory that they may; expected a finite data set. Add take(n), or tell its length: "
                "tf.data.experimental.assert_cardinality."
            )
    with tf.device("/CPU:0"):
        return tf.nest.map_structure(lambda *parts: tf.constant(_joined(parts)), *read)


def _small(part):
    """Images and masks as grey levels, 0 to 255, if that is what they are (up to rounding); all else as it is."""
    if part.ndim != 4 or part.dtype != np.float32:
        return part
    levels = np.rint(np.nan_to_num(part).clip(0, 1) * np.float32(255)).astype(np.uint8)
    return levels if np.abs(_levels(levels) - part).max(initial=0) < 1e-6 else part


def _levels(part):
    return part.astype(np.float32) / np.float32(255)


def _joined(parts):
    dtypes = {part.dtype for part in parts}
    if len(dtypes) > 1:  # of some images grey levels are not enough
        parts = [_levels(part) if part.dtype == np.uint8 else part for part in parts]
    return np.concatenate(parts)


def _restored(part, dtype):
    return part if part.dtype == dtype else tf.cast(part, tf.float32) / 255.0
