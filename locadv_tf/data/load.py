"""Data sets as `tf.data` of `({"image", "mask"}, label)`: two embedded ones, and TFDS's image classification sets.

`"digits"` (scikit-learn's handwritten digits) and `"composite"` (digits on backgrounds, see composite.py) need no
download. Every other name goes to TensorFlow Datasets, which looks in the folder that `TFDS_DATA_DIR` names.
"""

import math

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.data import drawn, masks
from locadv_tf.data.cache import CACHED, cache_file, cached
from locadv_tf.data.composite import composite
from locadv_tf.data.memory import limit as memory_limit
from locadv_tf.data.memory import limited
from locadv_tf.data.prepared import EMBEDDED, builder_of, features
from locadv_tf.data.sources import no_image_size, open_split, parse_split, read_images, read_opened
from locadv_tf.data.streamed import stream


def load_data(
    name,
    split="train",
    *,
    mask=None,
    mask_options=None,
    limit=None,
    stratify=True,
    seed=0,
    image_size=None,
    download=True,
    memory=None,
    correlation=None,
    digits=None,
    backgrounds=None,
):
    """Loads one split of a data set, with a background mask for each image: unbatched, in a fixed order.

    Images are in memory as uint8 (MNIST 47 MB, CIFAR-10 150 MB), unless they take more than `memory`: then they are
    streamed, read from TFDS's files anew for each use, in the same order and with the same masks.

    If TFDS has no test or validation split, each missing one takes a tenth of the train split: test the very end,
    validation the part before it. `"train"` is the rest. Slow masks (border, grabcut, saliency) are kept in the folder
    `masks` of `$LOCADV_CACHE_DIR`, else of `$XDG_CACHE_HOME/locadv_tf`, else of `~/.cache/locadv_tf`. You may delete it
    at any time.

    Args:
        name: `"digits"`, `"composite"`, or a TFDS name such as `"mnist"`, `"cifar10"` or `"oxford_iiit_pet"`. The set
            needs the features `"image"` (uint8, 1 or 3 channels) and `"label"` (an integer class). A feature with masks
            that people drew is found by its name: `"segmentation_mask"`, else the one with "mask" or "segmentation" in
            it. It holds 0 and 1 (the object), 0 and 255, or a trimap: 1 the object, 2 the background, 3 the outline,
            which counts as foreground.
        split: `"train"`, `"validation"` or `"test"`, or a slice: `"test[:100]"`, `"train[10%:20%]"`, `"train[-50:]"`.
        mask: a mask source (`masks.SOURCES`). None: `"ground_truth"` for composite and TFDS sets with drawn masks, else
            `"threshold"` for grey images and `"border"` for colour.
        mask_options: dict of the source's options, such as `{"value": 0.2}`, `{"model": model}` for `"saliency"`, or
            `{"feature": "bird_mask"}` for `"ground_truth"`: where the set's masks are.
        limit: at most this many images of the split (or slice), drawn by `seed`, in the split's order. A limit above
            the split's size gives the whole split.
        stratify: True: a limit takes of each class its share, and at least one image if the limit allows. The labels
            of the whole split are read for it. False: a limit takes consecutive images from an offset that `seed`
            draws (the rule before version 0.2; TFDS stores most sets shuffled); a class may be missing.
        seed: non-negative integer; decides the limit's images, the random masks, and everything random in composite.
        image_size: `(height, width)`: images of a TFDS set are resized to it, also if their proportions change. Needed
            if the images vary in size; the default for oxford_iiit_pet is (128, 128). Drawn masks are resized, too:
            a pixel is background if more than half of its area is.
        download: False never uses the network.
        memory: how many GB (of 2**30 bytes) the images and masks of a TFDS set may take, a byte a value. A set that
            takes more is streamed, at 0 every one and every part of it. None: a quarter of the machine's memory.
            `train_classifier`, `evaluate`, `run_attack` and the report stream it, too; what would keep all of it
            refuses it (`to_arrays`). A part that fits, such as `take(1000)`, is kept as ever. Not for `"saliency"`
            masks, whose model may change between two readings.
        correlation, digits, backgrounds: for composite only, see `composite.composite`. Their defaults are 0.9,
            "digits" and "textures".

    Returns:
        A `tf.data.Dataset` of `({"image": float32 (H, W, C) in [0, 1], "mask": float32 (H, W, 1), 1 on the background},
        label: int64 scalar)`, with known cardinality and static shapes.

    Raises:
        ValueError: for an unknown or unsuitable set, split, mask source or option; for drawn masks with other values;
            for data that is not on disk and cannot be downloaded (within 5 s if there is no network); for damaged
            files; for masks that cannot be streamed.

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
    most = _most(name, memory)
    if mask is not None:
        validation.choice(mask, masks.SOURCES, name="mask")
    if not isinstance(mask_options, (dict, type(None))):
        raise ValueError(f"mask_options={mask_options!r}; expected a dict of options, for example {{'value': 0.2}}.")
    if mask is not None:
        masks.check_options(mask, mask_options or {}, taken=("positions",))
    feature = _mask_feature(name, mask, mask_options or {})
    of_composite = {"correlation": correlation, "digits": digits, "backgrounds": backgrounds}
    of_composite = {option: value for option, value in of_composite.items() if value is not None}
    if name == "composite":
        no_image_size(name, image_size)
        x, y, exact, _, positions = composite(
            split, **of_composite, limit=limit, stratify=stratify, seed=seed, download=download
        )
    elif of_composite:
        raise ValueError(f"{', '.join(of_composite)} passed for {name!r}; expected for 'composite' only. Leave it out.")
    else:
        read = {"limit": limit, "stratify": stratify, "seed": seed, "image_size": image_size}
        read |= {"mask_feature": feature, "download": download}
        opened = None if name in EMBEDDED else open_split(name, split, **read)
        if opened is not None and opened.bytes > most:
            return _streamed(opened, mask, mask_options or {}, seed, most).map(_to_float, **_IN_ORDER)
        x, y, share, positions = read_images(name, split, **read) if opened is None else read_opened(opened)
        exact = None if share is None else drawn.to_masks(share)
    default = _default(exact, x)
    background = background_masks(name, mask or default, x, y, exact, default, seed, mask_options or {}, positions)
    data = tf.data.Dataset.from_tensor_slices((x, background, y)).map(_to_float, **_IN_ORDER)
    return limited(data, most) if most > memory_limit() else data  # more was asked for than any set may take


_IN_ORDER = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


def _to_float(image, background, label):
    return {"image": tf.cast(image, tf.float32) / 255.0, "mask": tf.cast(background, tf.float32)}, label


def _default(exact, x):
    """The mask source of a set, by its own masks or None, and its images."""
    return "ground_truth" if exact is not None else "threshold" if x.shape[-1] == 1 else "border"


def _most(name, memory):
    """How many bytes of a set may be kept."""
    if memory is None:
        return memory_limit()
    if name in EMBEDDED:
        raise ValueError(f"memory={memory!r} passed for {name!r}; expected for TFDS sets only. Leave it out.")
    return max(1, int(validation.fraction(memory, name="memory", high=math.inf) * 2**30))


def _streamed(opened, mask, options, seed, most):
    """A set that does not fit: `(image, mask, label)`, its masks those that it would have in memory."""
    x = np.random.default_rng(0).random((1, *opened.shape), np.float32)  # any image: bad options are told at once
    exact = None if opened.mask_feature is None else np.ones((*x.shape[:3], 1), np.float32)
    default = _default(exact, x)
    source = mask or default
    if source == "saliency" or "within" in options:
        what = "mask='saliency'" if source == "saliency" else "the option 'within'"
        raise ValueError(
            f"{what} cannot be streamed, and {opened.split!r} of {opened.name!r} takes {opened.bytes / 2**30:.3g} GB, "
            f"more than the {most / 2**30:.3g} GB that it may; expected another mask, or data that fit. Use limit=… or "
            "a larger memory=…."
        )
    about = {"labels": np.zeros(1, np.int64), "exact": exact, "default": default, "seed": seed}
    masks.background_mask(source, x, **about, **options)

    def compute(image, label, place, share):
        own = None if share is None else drawn.to_masks(share)
        return background_masks(opened.name, source, image, label, own, default, seed, options, place)

    return stream(opened, compute, most=most)


def _mask_feature(name, mask, options):
    """The feature with a TFDS set's masks, or None: the set has none, or a source that needs none was asked for."""
    feature = None
    if name in EMBEDDED and mask in (None, "ground_truth") and "feature" in options:
        raise ValueError(f"mask_options={options!r} for {name!r}; expected 'feature' for TFDS sets only. Leave it out.")
    if name not in EMBEDDED and mask in (None, "ground_truth", "random"):
        asked = None if mask == "random" else options.get("feature")
        feature = drawn.mask_feature(features(builder_of(name)), name=name, asked=asked)
    if mask == "ground_truth" and feature is None and name != "composite":
        raise ValueError(
            f"mask='ground_truth', but {name!r} has no exact masks; expected 'composite', or a TFDS set with drawn "
            "masks (as 'oxford_iiit_pet'). Leave mask out for the set's default."
        )
    return feature


def class_names(name):
    """The names of a data set's classes, in the order of their numbers.

    A TFDS set need not be on disk. Some sets (CIFAR-10) have names only with the data; before, they have numbers.

    Raises:
        ValueError: for an unknown name, or a set without integer classes.

    Example:
        >>> class_names("digits")[:3]
        ['0', '1', '2']
    """
    return [str(digit) for digit in range(10)] if name in EMBEDDED else list(features(builder_of(name))["label"].names)


def background_masks(name, source, x, y, exact, default, seed, options, positions=None):
    """The masks `(N, H, W, 1)` of uint8 images, from the cache if they are slow to compute.

    `positions` are the images' places in the split, `(N,)`, for random masks; None: 0, 1, 2, …
    """
    masks.check_options(source, options, taken=("positions",))  # this function passes them itself
    positions = np.arange(len(y)) if positions is None else positions
    if source == "random":  # it takes the areas of the default source's masks, which may be in the cache
        if options.get("within") is not None:  # checked as a whole: its slices may fit where the whole does not
            options = options | {"within": np.asarray(options["within"])}
            validation.masks(options["within"], x, name="within")
        exact, default = background_masks(name, default, x, y, exact, default, seed, {}), "ground_truth"

    def compute():
        done = []
        for first in range(0, len(y), 4096):  # in slices: float32 takes four times the memory of uint8
            at = slice(first, first + 4096)
            about = {"labels": y[at], "exact": None if exact is None else exact[at], "default": default, "seed": seed}
            mine = dict(options)
            if source == "random":  # the one source that depends on an image's position
                mine["positions"] = positions[at]
                if mine.get("within") is not None:
                    mine["within"] = mine["within"][at]
            done.append(masks.background_mask(source, x[at] / np.float32(255), **about, **mine))
        return np.concatenate(done).astype(np.uint8)

    if source not in CACHED:
        return compute()
    try:
        path = cache_file(name, source, x, y, options)
    except NotImplementedError:  # a subclassed model without get_config: no file name can describe it
        return compute()
    return cached(path, compute, (*x.shape[:3], 1))
