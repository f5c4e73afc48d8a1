"""What may be kept in memory, and what is read anew for each use (streamed).

The limit travels with a data set: `load_data` writes it into tf.data's own option for it, `autotune.ram_budget`, and
whatever is made of the data set (`take`, `map`, `shard`) inherits it.
"""

import math
import os

import tensorflow as tf


def machine():
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit(data=None):
    """How many bytes of a data set may be kept: what `load_data` was told, else a quarter of the machine's memory."""
    return (data.options().autotune.ram_budget if data is not None else 0) or machine() // 4


def limited(data, most):
    """The same data set, of which at most so many bytes may be kept."""
    options = tf.data.Options()
    options.autotune.ram_budget = most
    return data.with_options(options)


def size(data, *, values=1):
    """The bytes of an unbatched data set; what is unknown of its shapes counts as 1.

    Args:
        data: a `tf.data.Dataset`.
        values: bytes for a value of an image or a mask: 1, as a grey level; None: as it is.
    """

    def of(spec):
        one = values if values and spec.shape.rank == 3 else spec.dtype.size
        return one * math.prod(side or 1 for side in spec.shape)

    return max(0, int(data.cardinality())) * sum(of(spec) for spec in _specs(data))


def fits(data):
    """Whether a data set may be kept in memory, a byte for each value of its images and masks. Arrays are kept already.

    Example:
        >>> data = tf.data.Dataset.from_tensor_slices(tf.zeros((10, 8, 8, 1)))
        >>> fits(data), fits(limited(data, 640)), fits(limited(data, 639)), fits(limited(data, 639).take(9))
        (True, True, False, True)
    """
    if not isinstance(data, tf.data.Dataset):
        return True
    batched = any(spec.shape.rank == 4 for spec in _specs(data))
    if batched and data.options().autotune.ram_budget:
        return False  # it was too large before it was batched, and how much is left of it nobody knows
    return size(data) <= limit(data)


def check_fits(data, what):
    """Raises a `ValueError` for a data set that does not fit; `what`, in words, keeps it in memory."""
    if not fits(data):
        raise ValueError(
            f"{what} keeps data in memory, and these take more than the {limit(data) / 2**30:.3g} GB that they may; "
            "expected fewer images, unbatched. Take some, data.take(1000), or load them with limit=… or a larger "
            "memory=…."
        )


def _specs(data):
    """Of the parts of an element, those whose rank is known."""
    specs = tf.nest.flatten(data.element_spec)
    return [spec for spec in specs if isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None]
