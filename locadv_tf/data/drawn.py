"""Masks that people drew: which feature of a TFDS set holds them, and what its values mean."""

import numpy as np
import tensorflow as tf

KINDS = ((0, 1), (0, 255), (1, 2, 3))  # nothing and object, twice; a trimap: object, background, the object's outline
BACKGROUND = (0, 2)  # in all three kinds; every other value is the object or its outline
OTHER = 256  # stands for all values that no uint8 holds


def mask_feature(features, *, name, asked=None):
    """The feature of a TFDS set that holds drawn masks.

    Args:
        features: the set's `FeaturesDict`.
        name: the set's name, for messages.
        asked: a feature's name, or None: `"segmentation_mask"`, else the one feature that has "mask" or "segmentation"
            in its name and whole numbers for each pixel, `(H, W, 1)` or `(H, W)`.

    Returns:
        Its name, or None if nothing was asked and the set has none.

    Raises:
        ValueError: if the asked feature is not there or holds something else, or several could be meant.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> image, outline = (tfds.features.Image(shape=(None, None, channels)) for channels in (3, 1))
        >>> mask_feature(tfds.features.FeaturesDict({"image": image, "bird_mask": outline}), name="birds")
        'bird_mask'
    """
    found = [key for key, feature in features.items() if _holds_a_mask(feature)]
    fitting = [key for key in found if "mask" in key.lower() or "segmentation" in key.lower()]
    if asked is not None:
        if asked not in found:
            fits = f"{name!r} has {', '.join(found)}" if found else f"{name!r} has none"
            raise ValueError(
                f"mask_options={{'feature': {asked!r}}} names no masks of {name!r}; expected a feature with one whole "
                f"number for each pixel ({fits})."
            )
        return asked
    if "segmentation_mask" in fitting:
        return "segmentation_mask"
    if len(fitting) > 1:
        raise ValueError(
            f"{name!r} has masks in {', '.join(fitting)}; expected one feature. Choose: mask='ground_truth', "
            f"mask_options={{'feature': {fitting[0]!r}}}; or another mask source."
        )
    return fitting[0] if fitting else None


def _holds_a_mask(feature):
    import tensorflow_datasets as tfds  # here: its import is slow

    if not isinstance(feature, (tfds.features.Image, tfds.features.Tensor)):
        return False
    shape = feature.shape
    planar = (len(shape) == 3 and shape[-1] == 1) or (len(shape) == 2 and isinstance(feature, tfds.features.Tensor))
    return planar and np.dtype(feature.np_dtype).kind in "bui"


def background_share(values, size=None):
    """The background's share of each pixel, and the values that were seen; for use in a `tf.data` pipeline.

    A mask is resized as the mean over the area of each new pixel, as an image is, so the object's thin parts keep their
    share. (The nearest pixel would lose some of them, and keep others at more than their width.)

    Args:
        values: a mask as it is stored, integers or bool `(H, W)` or `(H, W, 1)`.
        size: `(height, width)` or None, as it is.

    Returns:
        float32 `(height, width, 1)` in [0, 1], and bool `(257,)`: true at the values that the mask holds.

    Example:
        >>> share, seen = background_share(np.array([[1, 1, 2, 2], [1, 3, 2, 2]], "uint8"), size=(1, 2))
        >>> share.numpy().ravel().tolist(), np.flatnonzero(seen).tolist()
        ([0.0, 1.0], [1, 2, 3])
    """
    values = tf.cast(values, tf.int32)
    values = values[..., None] if values.shape.rank == 2 else values
    values = tf.where((values < 0) | (values >= OTHER), OTHER, values)
    seen = tf.math.bincount(tf.reshape(values, [-1]), minlength=OTHER + 1, maxlength=OTHER + 1) > 0
    share = tf.cast(tf.reduce_any([values == value for value in BACKGROUND], axis=0), tf.float32)
    return share if size is None else tf.image.resize(share, size, method="area"), seen


def check_values(seen, *, name, feature):
    """Checks the values of a whole split's masks, bool `(257,)`.

    Raises:
        ValueError: unless they are of one of `KINDS`.
    """
    values = np.flatnonzero(seen).tolist()
    if not any(set(values) <= set(kind) for kind in KINDS):
        shown = ["values outside 0 to 255" if value == OTHER else str(value) for value in values]
        shown = shown if len(shown) <= 8 else [*shown[:7], f"… ({len(shown)} values)"]
        raise ValueError(
            f"the masks {feature!r} of {name!r} hold {', '.join(shown)}; expected 0 and 1 (the object), 0 and 255, or "
            "a trimap (1 the object, 2 the background, 3 the outline). Use another mask source, for example 'border'."
        )


def to_masks(share):
    """Masks from the background's share of each pixel, `(N, H, W, 1)`: 1 where more than half is background, else 0."""
    return (share > 0.5).astype(np.float32)
