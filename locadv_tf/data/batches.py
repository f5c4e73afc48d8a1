"""Reads data, a data set (batched or not) or arrays, as NumPy batches."""

import contextlib
import math
import time
import warnings

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.data.memory import check_fits

PATIENCE = 60  # seconds of reading data of unknown length, before a warning says so
_EXPECTED = 'expected a tf.data.Dataset of ({"image", "mask"}, label), as load_data gives, or (images, labels, masks)'


def batches(data, size):
    """Reads data as NumPy arrays, some images at a time. It checks structure and rank, not the values.

    Args:
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)` or of `(image, label)`, unbatched or batched once, or
            a tuple `(images, labels, masks)` or `(images, labels)` of arrays or tensors.
        size: images per batch, if the data is not batched.

    Yields:
        `(images, labels, masks)`; `masks` is None if the data has none. No batch if there are no images.

    Raises:
        ValueError: for any other structure, or an endless data set. If TensorFlow does not know the length, as of a
            generator, a warning after a minute says how many images came.

    Example:
        >>> data = np.zeros((5, 8, 8, 1), "float32"), np.zeros(5, int)
        >>> [len(images) for images, labels, masks in batches(data, 2)]
        [2, 2, 1]
    """
    _check_container(data)
    if not isinstance(data, tf.data.Dataset):
        return _slices([np.asarray(part) for part in data], size)
    specs = _parts(data.element_spec)
    ranks = [spec.shape.rank for spec in specs]
    if ranks[:2] in ([3, 1], [4, 2]) and (shape := specs[1].shape)[-1] not in (None, 1):
        raise ValueError(
            f"data has labels of shape {shape}, which looks one-hot; expected integer classes. "
            "Use tf.argmax(label, axis=-1) in data.map."
        )
    if ranks not in ([3, 0], [3, 0, 3], [4, 1], [4, 1, 4]):
        raise ValueError(f"data has image, label and mask of rank {ranks}; {_EXPECTED}, unbatched or batched once.")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("data repeats without end; expected a finite data set. Leave out repeat(), or add take(n).")
    return _elements(untuned(data.batch(size) if ranks[1] == 0 else data))


def to_arrays(data):
    """A data set as three NumPy arrays.

    Args:
        data: what `load_data` returns, batched or not; or a tuple `(images, labels, masks)` of arrays or tensors.

    Returns:
        images float32 `(N, H, W, C)`, labels int64 `(N,)`, masks float32 `(N, H, W, 1)`; N is 0 for an empty data set.

    Raises:
        ValueError: for any other structure, an endless data set, values that do not fit (images in 0-255, one-hot
            labels, masks of another shape), or a data set that is too large for the memory (see `load_data`).

    Example:
        >>> from locadv_tf import load_data
        >>> images, labels, masks = to_arrays(load_data("digits", "test[:5]").batch(2))
        >>> images.shape, labels.shape, masks.shape
        ((5, 28, 28, 1), (5,), (5, 28, 28, 1))
    """
    _check_container(data)
    check_fits(data, "to_arrays")
    arrays = first_images(data)
    if arrays is None:  # only their shapes are known
        specs = _parts(data.element_spec) if isinstance(data, tf.data.Dataset) else data
        rank = len(specs[0].shape)
        x, mask = (
            np.zeros((0, *[side or 0 for side in s.shape[rank - 3 :]]), np.float32) for s in (specs[0], specs[-1])
        )
        arrays = validation.images(x, name="images"), np.zeros(0, np.int64), validation.masks(mask, x, name="masks")
    x, y, mask = arrays
    if mask is None:
        raise ValueError(f"data has no masks; {_EXPECTED}.")
    return x, y, mask.astype(np.float32)


def first_images(data, n=None):
    """The first `n` images (None: all), labels (int64) and masks (None if there are none), checked; None if empty."""
    rows, seen = [], 0
    for row in batches(data, n or 512):
        rows.append(row)
        seen += len(row[1])
        if n is not None and seen >= n:
            break
    if not rows:
        return None
    x, y, mask = (None if column[0] is None else np.concatenate(column)[:n] for column in zip(*rows, strict=True))
    validation.images(x, name="images")
    validation.labels(y, x, name="labels")
    if mask is not None:
        validation.masks(mask, x, name="masks")
    return x, y.astype(np.int64), mask


def images_at(data, places):
    """The images at some places of an unbatched data set, ascending, as `first_images` gives them; it reads all."""
    marks = tf.data.Dataset.from_tensor_slices(np.isin(np.arange(length(data)), places))
    chosen = tf.data.Dataset.zip(data, marks).filter(lambda _, mark: mark).map(lambda element, _: element)
    return first_images(chosen.apply(tf.data.experimental.assert_cardinality(len(places))))


def labels_of(data):
    """The labels of an unbatched data set, `(N,)`; it reads all."""
    with readable():
        labels = untuned(data.map(lambda *element: element[1]).batch(1000))
        return np.concatenate(list(labels.as_numpy_iterator()))


def length(data):
    """The number of images, or None if it is unknown before reading; `ValueError` as from `batches`."""
    _check_container(data)
    if not isinstance(data, tf.data.Dataset):
        return len(data[1])
    n = int(data.cardinality())
    batched = _parts(data.element_spec)[1].shape.rank
    return None if batched or n < 0 else n


def image_values(data):
    """How many values an image holds, unknown sides counted as 1; `ValueError` as from `batches`."""
    _check_container(data)
    image = _parts(data.element_spec)[0] if isinstance(data, tf.data.Dataset) else data[0]
    return math.prod(side or 1 for side in tuple(image.shape)[-3:])


def _check_container(data):
    if isinstance(data, tf.data.Dataset):
        return
    if not isinstance(data, (tuple, list)):
        raise ValueError(f"data is {type(data).__name__}; {_EXPECTED}.")
    if len(data) not in (2, 3) or any(np.ndim(part) == 0 for part in data):
        kinds = ", ".join(type(part).__name__ for part in data)
        raise ValueError(f"data is {type(data).__name__} of ({kinds}); {_EXPECTED}.")


def _slices(parts, size):
    n = len(parts[0])
    if any(len(part) != n for part in parts):
        raise ValueError(f"the arrays hold {[len(part) for part in parts]} entries; expected one per image in each.")
    for first in range(0, n, size):
        image, label, *mask = (part[first : first + size] for part in parts)
        yield image, label, mask[0] if mask else None


def untuned(data):
    """A data set as the kit iterates it: without tf.data's tuner, unless the user switched it on.

    The tuner sleeps for 10, 20, 40 … ms at a time. Sometimes the end of an epoch waits for it (TensorFlow 2.21): a
    short epoch can take twice as long. The data sets that a user makes keep TensorFlow's own options.
    """
    if data.options().autotune.enabled is not None:
        return data
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def announced(dataset, *, seconds=None, clock=time.monotonic):
    """The batches as NumPy arrays. Of data of unknown length it says, once after some `seconds`, how many came."""
    seconds = PATIENCE if seconds is None else seconds
    start, count = clock(), 0
    if dataset.cardinality() != tf.data.UNKNOWN_CARDINALITY:
        seconds = math.inf
    with readable():
        for element in dataset.as_numpy_iterator():
            count += len(element[1])
            if (elapsed := clock() - start) >= seconds:
                warnings.warn(
                    f"{count} images came in the first {elapsed:.0f} s from data of unknown length, and there are "
                    "more. If it has no end, this goes on for ever: stop it and use data.take(n). If it has one, wait.",
                    stacklevel=3,
                )
                seconds = math.inf
            yield element


@contextlib.contextmanager
def readable():
    """Within it, a file that was damaged, shortened or deleted after `load_data` had looked at it is a `ValueError`."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        if "IteratorGetNext" not in str(error):  # a GPU's libraries raise them, too
            raise
        raise ValueError(
            f"the data cannot be read any more ({type(error).__name__}); expected their files as they were. "
            "Call load_data again: it names a damaged file."
        ) from error


def _elements(dataset):
    for element in announced(dataset):
        image, label, *mask = _parts(element)
        yield image, label, mask[0] if mask else None


def _parts(element):
    """`[image, label]` or `[image, label, mask]` from an element or an element's specification."""
    if isinstance(element, tuple) and len(element) == 2:
        inputs, label = element
        if isinstance(inputs, dict) and "image" in inputs:
            return [inputs["image"], label, *([inputs["mask"]] if "mask" in inputs else [])]
        if hasattr(inputs, "shape"):
            return [inputs, label]
    raise ValueError(f"data has elements {element}; {_EXPECTED}.")
