"""Images and labels of a split as arrays, from scikit-learn or from TFDS."""

import contextlib
import functools
import math
import re
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.data import drawn
from locadv_tf.data.prepared import anew, damaged, prepared

SPLITS = ("train", "validation", "test")


def read_images(name, split, *, limit=None, stratify=True, seed=0, image_size=None, mask_feature=None, download=True):
    """The images of one split as arrays; arguments and errors are those of `load_data` (but not for composite).

    Args:
        mask_feature: the feature of a TFDS set that holds its masks, as from `drawn.mask_feature`; None: no masks.

    Returns:
        images uint8 `(N, H, W, C)`, labels int64 `(N,)`, the background's share of each pixel, float32 `(N, H, W, 1)`
        in [0, 1], or None, and the images' places in the split, int64 `(N,)`.
    """
    if limit is not None:
        validation.count(limit, name="limit")
    validation.count(seed, name="seed", low=0)
    chosen = {"limit": limit, "stratify": stratify, "seed": seed}
    if name not in _ARRAYS:
        read = {"image_size": image_size, "mask_feature": mask_feature, "download": download}
        return read_opened(open_split(name, split, **chosen, **read))
    no_image_size(name, image_size)
    part, start, stop = resolve_split(split, split_sizes(name), limit=None if stratify else limit, seed=seed)
    x, y, *share = _ARRAYS[name]()[part]
    positions = np.arange(start, stop)
    if stratify and limit is not None:
        positions = positions[stratified(y[positions], limit, seed=seed)]
    return x[positions], y[positions], share[0][positions] if share else None, positions


class Opened(NamedTuple):
    """A split (or slice) of a TFDS set, ready to be read.

    Attributes:
        name, split: as asked for; builder: TFDS's; part: the name of its split.
        start, stop: which images of our split these are.
        shape: `(H, W, C)` of the images.
        mask_feature: the feature with the masks, or None.
        limit, seed: of a choice by class; None: all of them.
        examples: a `tf.data.Dataset` of TFDS's examples, whose images and masks are not decoded yet.
        decode: function from an example to `(image, label)`, and with masks to `(image, label, share, seen)`.
        look: function from an example to `(label,)` or `(label, seen)`; it does not decode the image.
    """

    name: str
    split: str
    builder: object
    part: str
    start: int
    stop: int
    shape: tuple
    mask_feature: str | None
    limit: int | None
    seed: int
    examples: tf.data.Dataset
    decode: object
    look: object

    @property
    def size(self):
        """How many images a limit leaves."""
        return self.stop - self.start if self.limit is None else self.limit

    @property
    def bytes(self):
        """What their images and masks take, a byte a value."""
        return self.size * math.prod(self.shape[:2]) * (self.shape[-1] + 1)


def open_split(name, split, *, limit=None, stratify=True, seed=0, image_size=None, mask_feature=None, download=True):
    """A split of a TFDS set as an `Opened`; arguments and errors are those of `read_images`."""
    if image_size is not None:
        if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
            raise ValueError(f"image_size={image_size!r}; expected (height, width), for example (128, 128).")
        image_size = tuple(validation.count(side, name="image_size") for side in image_size)
    builder = prepared(name, download)
    import tensorflow_datasets as tfds

    size = image_size or ((128, 128) if builder.name == "oxford_iiit_pet" else None)
    shape = builder.info.features["image"].shape
    if size is None and None in shape:
        raise ValueError(f"the images of {name!r} vary in size; expected image_size=(height, width), like (128, 128).")
    layout = _layout(builder)
    sizes = {ours: end - begin for ours, (_, begin, end) in layout.items()}
    part, start, stop = resolve_split(split, sizes, limit=None if stratify else limit, seed=seed)
    theirs, begin, _ = layout[part]
    wanted = {"image", mask_feature}
    pictures = {key: feature for key, feature in builder.info.features.items()
                if key in wanted and isinstance(feature, tfds.features.Image)}  # fmt: skip

    def value(example, key):
        return pictures[key].decode_example(example[key]) if key in pictures else example[key]

    @tf.autograph.experimental.do_not_convert
    def decode(example):
        image = value(example, "image")
        if size is not None:
            image = tf.cast(tf.round(tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0, 255)), tf.uint8)
        if mask_feature is None:
            return image, example["label"]
        return image, example["label"], *drawn.background_share(value(example, mask_feature), size)

    @tf.autograph.experimental.do_not_convert
    def look(example):
        if mask_feature is None:
            return (example["label"],)
        return example["label"], drawn.background_share(value(example, mask_feature))[1]

    # One file after the other (cycle length 1): a slice of a split equals the same slice of the whole.
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    examples = builder.as_dataset(
        split=f"{theirs}[{begin + start}:{begin + stop}]",
        shuffle_files=False,
        read_config=order,
        decoders={key: tfds.decode.SkipDecoding() for key in pictures},
    )
    by_class = limit if stratify and limit is not None and limit < stop - start else None
    where = builder, theirs, start, stop, (*(size or shape[:2]), shape[-1]), mask_feature
    return Opened(name, split, *where, by_class, seed, examples, decode, look)


def read_opened(opened):
    """The images of an `Opened`; what it returns and raises is that of `read_images`."""
    with damage_told(opened):
        examples, positions = chosen_examples(opened)
        decoded = examples.map(opened.decode, num_parallel_calls=tf.data.AUTOTUNE)
        rows = list(decoded.batch(500).as_numpy_iterator())
    x, y, *drawn_masks = (np.concatenate(column) for column in zip(*rows, strict=True)) if rows else ((), ())
    check_labels(opened, y, drawn_masks.pop().any(axis=0) if drawn_masks else None)
    return x, y.astype(np.int64), *(drawn_masks or [None]), positions


def chosen_examples(opened):
    """The examples that a limit leaves, and their places in the split, int64 `(N,)`."""
    positions = np.arange(opened.start, opened.stop)
    if opened.limit is None:
        return opened.examples, positions
    labels = opened.examples.map(lambda example: example["label"]).batch(10_000)
    labels = np.concatenate([np.zeros(0, np.int64), *labels.as_numpy_iterator()])
    chosen = stratified(labels, opened.limit, seed=opened.seed)
    marks = tf.data.Dataset.from_tensor_slices(np.isin(np.arange(len(labels)), chosen))
    pairs = tf.data.Dataset.zip(marks, opened.examples)
    return pairs.filter(lambda mark, _: mark).map(lambda _, example: example), positions[chosen]


def check_labels(opened, y, seen):
    """Checks what was read: how much, the labels `(N,)`, and the values that the masks hold, as in `drawn`, or None.

    Raises:
        ValueError: for fewer images than there should be, hidden or unknown classes, masks with other values.
    """
    if len(y) != opened.size:
        raise damaged(opened.builder, opened.part)
    if seen is not None:
        drawn.check_values(seen, name=opened.name, feature=opened.mask_feature)
    if y.min() < 0:
        raise ValueError(
            f"split={opened.split!r} of {opened.name!r} has hidden labels (-1); expected classes. Use another split."
        )
    if y.max() >= (classes := opened.builder.info.features["label"].num_classes):
        raise ValueError(
            f"{opened.name!r} in {opened.builder.data_path} has the label {y.max()}; expected 0 to {classes - 1}, as "
            f"its features name {classes} classes. {anew(opened.builder)}"
        )


@contextlib.contextmanager
def damage_told(opened):
    """Within it, a file that cannot be read is a `ValueError` that names it."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise damaged(opened.builder, opened.part) from error


def stratified(labels, limit, *, seed=0):
    """Chooses images by class: of each class its share, in random order of `seed`.

    An image's rank in its class, over the size of the class: the lowest ones are taken, so each class gets its first
    image before any gets its second (Adams's method of apportionment).

    Args:
        labels: integers `(N,)`; `limit`: how many to choose, at most.

    Returns:
        The places of the chosen, in ascending order.

    Example:
        >>> labels = np.array([0] * 90 + [1] * 10)
        >>> np.bincount(labels[stratified(labels, 20)]).tolist(), np.bincount(labels[stratified(labels, 2)]).tolist()
        ([18, 2], [1, 1])
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, at random within it
    _, first, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    rank = (np.arange(len(labels)) - np.repeat(first, sizes)) / np.repeat(sizes, sizes)
    return np.sort(order[np.lexsort((random.random(len(labels)), rank))[:limit]])


def split_sizes(name, *, download=True):
    """The numbers of images in `"train"`, `"validation"` and `"test"` of a set (not composite), as a dict."""
    if name in _ARRAYS:
        return {part: len(y) for part, (_, y, *_) in _ARRAYS[name]().items()}
    return {part: stop - start for part, (_, start, stop) in _layout(prepared(name, download)).items()}


def resolve_split(split, sizes, *, limit=None, seed=0):
    """A split, or a slice of one, as absolute bounds.

    Args:
        split: `"test"`, `"test[:100]"`, `"train[10%:20%]"`, `"train[-50:]"`: as in TFDS; percentages are rounded to the
            nearest image.
        sizes: dict of the number of images of each split.
        limit: at most this many consecutive images, from an offset that `seed` draws.
        seed: non-negative integer.

    Returns:
        `(name of the split, start, stop)`.

    Raises:
        ValueError: for an unknown split, bounds beyond its size, or a slice without images.

    Example:
        >>> resolve_split("test[10%:-50]", {"train": 1000, "validation": 100, "test": 200})
        ('test', 20, 150)
    """
    validation.count(seed, name="seed", low=0)
    part, *bounds = parse_split(split)
    size = sizes[part]
    start, stop = (
        default if bound is None else round(int(bound[:-1]) * size / 100) if bound[-1] == "%" else int(bound)
        for bound, default in zip(bounds, (0, size), strict=True)
    )
    if max(abs(start), abs(stop)) > size:
        raise ValueError(f"split={split!r} reaches beyond the {size} images of {part!r}; expected bounds within them.")
    start, stop = start % size if start < 0 else start, stop % size if stop < 0 else stop
    if start >= stop:
        raise ValueError(f"split={split!r} holds none of the {size} images of {part!r}; expected at least one.")
    if limit is not None and validation.count(limit, name="limit") < stop - start:
        start += int(np.random.default_rng(seed).integers(stop - start - limit + 1))
        stop = start + limit
    return part, start, stop


def parse_split(split):
    bound = r"(-?\d+%?)?"
    match = re.fullmatch(rf"({'|'.join(SPLITS)})(?:\[{bound}:{bound}\])?", split if isinstance(split, str) else "")
    if not match:
        raise ValueError(
            f"split={split!r} is unknown; expected 'train', 'validation' or 'test', or a slice such as 'test[:100]' or "
            "'train[10%:20%]'."
        )
    return match.groups()


@functools.cache  # it takes a tenth of a second, and composite calls it three times
def _digits():
    """scikit-learn's 1,797 digits, `{split: (uint8 (N, 28, 28, 1), int64 (N,))}`: 1,197, 200 and 400, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = np.pad(x.reshape(-1, 8, 8) * (255 / 16), ((0, 0), (1, 1), (1, 1)))  # a margin: strokes touch the edge
    x = np.stack([cv2.resize(image, (28, 28), interpolation=cv2.INTER_CUBIC) for image in x])
    x = np.rint(x.clip(0, 255)).astype(np.uint8)[..., None]
    x, x_test, y, y_test = train_test_split(x, y.astype(np.int64), test_size=400, stratify=y, random_state=0)
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=200, stratify=y, random_state=0)
    for array in (x, y, x_validation, y_validation, x_test, y_test):
        array.setflags(write=False)  # all callers share them
    return {"train": (x, y), "validation": (x_validation, y_validation), "test": (x_test, y_test)}


# The embedded sets but composite: functions that return `{split: (images, labels)}`, with exact masks
# `{split: (images, labels, the background's share of each pixel)}`.
_ARRAYS = {"digits": _digits}


def _layout(builder):
    """Our splits as parts of TFDS's: `{our split: (TFDS's split, start, stop)}`."""
    sizes = {part: info.num_examples for part, info in builder.info.splits.items()}
    if "train" not in sizes:
        raise ValueError(f"{builder.name!r} has only the splits {', '.join(sizes)}; expected one called 'train'.")
    layout, end, tenth = {}, sizes["train"], sizes["train"] // 10
    for part in ("test", "validation"):
        if part in sizes:
            layout[part] = (part, 0, sizes[part])
        else:
            layout[part] = ("train", end - tenth, end)
            end -= tenth
    return {"train": ("train", 0, end), **layout}


def no_image_size(name, image_size):
    if image_size is not None:
        raise ValueError(f"image_size={image_size!r} passed for {name!r}; its images have a fixed size. Leave it out.")
