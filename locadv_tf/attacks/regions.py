"""Where an attack may change an image: what a mask and a region give."""

import tensorflow as tf

from locadv_tf import validation


def allowed(mask, image, region):
    """Where an attack on a region may change these images, bool `(N, H, W, 1)`.

    Args:
        mask: the background masks `(N, H, W, 1)`, bool or numeric, a tensor or an array; None where the data has none.
        image: the images `(N, H, W, C)`.
        region: `"background"`, `"foreground"` or `"full"`, which needs no masks; None: `mask` says already where a
            change is allowed, whatever region that is.

    Raises:
        ValueError: for another region, or one that needs masks where there are none.

    Example:
        >>> image, mask = tf.zeros((1, 2, 2, 3)), tf.constant([[[[1.0], [1.0]], [[1.0], [0.0]]]])
        >>> [int(tf.math.count_nonzero(allowed(mask, image, region))) for region in validation.REGIONS]
        [3, 1, 4]
    """
    if region is not None:
        validation.choice(region, validation.REGIONS, name="region")
    if mask is None and region != "full":
        raise ValueError(
            f"region={region!r} needs masks, and the data has none; expected a tf.data.Dataset of "
            '({"image", "mask"}, label), as load_data gives, or (images, labels, masks).'
        )
    if mask is None:
        return tf.ones_like(image[..., :1], tf.bool)
    return tf.cast(mask, tf.bool) if region is None else region_mask(mask, region)


def region_mask(mask, region):
    """A region's pixels, bool `(N, H, W, 1)`.

    Args:
        mask: the background mask, bool or numeric, a tensor or an array.
        region: `"background"` (the mask itself), `"foreground"` (its complement) or `"full"` (everywhere).

    Raises:
        ValueError: for another region.

    Example:
        >>> int(tf.reduce_sum(tf.cast(region_mask(tf.zeros((1, 2, 2, 1)), "foreground"), tf.int32)))
        4
    """
    validation.choice(region, validation.REGIONS, name="region")
    mask = tf.cast(mask, tf.bool)
    return {"background": mask, "foreground": ~mask, "full": tf.ones_like(mask)}[region]
