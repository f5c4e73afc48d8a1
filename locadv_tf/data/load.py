"""Data sets as `tf.data` of `({"image", "mask"}, label)`: embedded real ones, and TFDS's image classification sets.

`"digits"` (scikit-learn's handwritten digits) and `"composite"` (digits on backgrounds, see composite.py) need no
download. Every other name goes to TensorFlow Datasets, which looks in the folder that `TFDS_DATA_DIR` names.
"""

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.data import masks
from locadv_tf.data.cache import CACHED, cache_file, cached
from locadv_tf.data.composite import composite
from locadv_tf.data.sources import EMBEDDED, builder_of, features, no_image_size, parse_split, read_images


def load_data(
    name,
    split="train",
    *,
    mask=None,
    mask_options=None,
    limit=None,
    seed=0,
    image_size=None,
    download=True,
    correlation=None,
    digits=None,
    backgrounds=None,
):
    """Loads one split of a data set, with a background mask for each image: unbatched, in a fixed order.

    Images are decoded into memory as uint8 (MNIST 47 MB, CIFAR-10 150 MB). A split that TFDS does not have is carved
    from the end of its train split, a tenth for each of test (the very end) and validation (before it); `"train"` is
    what is left. Masks that are slow to compute (border, grabcut, saliency) are kept in the folder `masks` of
    `$LOCADV_CACHE_DIR`, else of `$XDG_CACHE_HOME/locadv_tf`, else of `~/.cache/locadv_tf`; delete it when you like.

    Args:
        name: `"digits"`, `"composite"`, or a TFDS name such as `"mnist"`, `"cifar10"` or `"oxford_iiit_pet"`, of a set
            with features `"image"` (uint8, 1 or 3 channels) and `"label"` (an integer class).
        split: `"train"`, `"validation"` or `"test"`, or a slice: `"test[:100]"`, `"train[10%:20%]"`, `"train[-50:]"`.
        mask: a mask source (`masks.SOURCES`). None: `"ground_truth"` for composite and oxford_iiit_pet, else
            `"threshold"` for grey images and `"border"` for colour.
        mask_options: dict of that source's options, such as `{"value": 0.2}`, or `{"model": model}` for `"saliency"`.
        limit: at most that many images: a run of neighbours (TFDS stores its sets shuffled) from an offset that `seed`
            draws. A limit beyond the split's size gives the whole split.
        seed: non-negative integer; draws the offset, the random masks, and all that is random in composite.
        image_size: `(height, width)` to which images of a TFDS set are resized, whatever their proportions; needed
            where they vary in size. oxford_iiit_pet has (128, 128) if not told otherwise. Masks take the nearest pixel.
        download: False never tries the network.
        correlation, digits, backgrounds: for composite only, as in `composite.composite`; 0.9, "digits" and "textures".

    Returns:
        A `tf.data.Dataset` of `({"image": float32 (H, W, C) in [0, 1], "mask": float32 (H, W, 1), 1 on the background},
        label: int64 scalar)`, with known cardinality and static shapes.

    Raises:
        ValueError: for an unknown or unfit set, split, mask source or option; for data that is not on disk and cannot
            be downloaded (within 5 s if there is no network).

    Example:
        >>> test = load_data("digits", "test[:100]")
        >>> inputs, label = next(iter(test))
        >>> len(test), inputs["image"].shape, inputs["mask"].shape, label.dtype
        (100, TensorShape([28, 28, 1]), TensorShape([28, 28, 1]), tf.int64)
    """
    parse_split(split)
    validation.count(seed, name="seed", low=0)
    if limit is not None:
        validation.count(limit, name="limit")
    if mask is not None:
        validation.choice(mask, masks.SOURCES, name="mask")
    if mask == "ground_truth" and str(name).partition(":")[0] not in ("composite", "oxford_iiit_pet"):
        raise ValueError(
            f"mask='ground_truth', but {name!r} has no exact masks; expected 'composite' or 'oxford_iiit_pet'. "
            "Leave mask out for the set's default."
        )
    if not isinstance(mask_options, (dict, type(None))):
        raise ValueError(f"mask_options={mask_options!r}; expected a dict of options, {{'value': 0.2}} say.")
    if mask is not None:
        masks.check_options(mask, mask_options or {}, taken=("first",))
    knobs = {"correlation": correlation, "digits": digits, "backgrounds": backgrounds}
    knobs = {knob: value for knob, value in knobs.items() if value is not None}
    if name == "composite":
        no_image_size(name, image_size)
        x, y, exact, _ = composite(split, **knobs, limit=limit, seed=seed, download=download)
    elif knobs:
        raise ValueError(f"{', '.join(knobs)} passed for {name!r}; expected for 'composite' only. Leave it out.")
    else:
        x, y, exact = read_images(name, split, limit=limit, seed=seed, image_size=image_size, download=download)
    default = "ground_truth" if exact is not None else "threshold" if x.shape[-1] == 1 else "border"
    background = background_masks(name, mask or default, x, y, exact, default, seed, mask_options or {})

    def to_float(image, background, label):
        return {"image": tf.cast(image, tf.float32) / 255.0, "mask": tf.cast(background, tf.float32)}, label

    data = tf.data.Dataset.from_tensor_slices((x, background, y))
    data = data.map(to_float, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # tf.data's tuner sleeps for 10, 20, 40 … ms at a time, and now and then the end of an epoch waits until it wakes
    # (TensorFlow 2.21): up to twice the time of a short epoch. Nothing is tuned here, nor in what is made of this.
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def class_names(name):
    """The names of a data set's classes, in the order of their numbers.

    A TFDS set need not be on disk; some (CIFAR-10) learn their names only with the data and are numbered until then.

    Raises:
        ValueError: for a name that neither the kit nor TFDS knows, or a set without integer classes.

    Example:
        >>> class_names("digits")[:3]
        ['0', '1', '2']
    """
    return [str(digit) for digit in range(10)] if name in EMBEDDED else list(features(builder_of(name))["label"].names)


def background_masks(name, source, x, y, exact, default, seed, options):
    """The masks `(N, H, W, 1)` of uint8 images, from the cache if they are slow to compute."""
    masks.check_options(source, options, taken=("first",))  # here it is this function that counts
    if source == "random":  # its areas are those of the default source's masks, which may be in the cache
        if options.get("within") is not None:  # as a whole: its slices alone would fit images that it does not
            options = options | {"within": np.asarray(options["within"])}
            validation.masks(options["within"], x, name="within")
        exact, default = background_masks(name, default, x, y, exact, default, seed, {}), "ground_truth"

    def compute():
        done = []
        for first in range(0, len(y), 4096):  # in slices: as float32 a large set would take four times its memory
            at = slice(first, first + 4096)
            about = {"labels": y[at], "exact": None if exact is None else exact[at], "default": default, "seed": seed}
            mine = dict(options)
            if source == "random":  # the one source that goes by an image's place
                mine["first"] = first
                if mine.get("within") is not None:
                    mine["within"] = mine["within"][at]
            done.append(masks.background_mask(source, x[at] / np.float32(255), **about, **mine))
        return np.concatenate(done).astype(np.uint8)

    if source not in CACHED:
        return compute()
    try:
        path = cache_file(name, source, x, y, options)
    except NotImplementedError:  # a subclassed model without get_config: what it computes stands in no file name
        return compute()
    return cached(path, compute, (*x.shape[:3], 1))
