"""Images and labels of a split as arrays, from scikit-learn or from TFDS."""

import difflib
import functools
import os
import re

import cv2
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.data import drawn
from locadv_tf.network import answers as _network_answers

EMBEDDED = ("digits", "composite")
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
    if name == "digits":
        no_image_size(name, image_size)
        part, start, stop = resolve_split(split, split_sizes(name), limit=None if stratify else limit, seed=seed)
        x, y = _digits()[part]
        positions = np.arange(start, stop)
        if stratify and limit is not None:
            positions = positions[stratified(y[positions], limit, seed=seed)]
        return x[positions], y[positions], None, positions
    if image_size is not None:
        if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
            raise ValueError(f"image_size={image_size!r}; expected (height, width), for example (128, 128).")
        image_size = tuple(validation.count(side, name="image_size") for side in image_size)
    builder = _prepared(name, download)
    import tensorflow_datasets as tfds

    size = image_size or ((128, 128) if builder.name == "oxford_iiit_pet" else None)
    if size is None and None in builder.info.features["image"].shape:
        raise ValueError(f"the images of {name!r} vary in size; expected image_size=(height, width), like (128, 128).")
    layout = _layout(builder)
    sizes = {ours: end - begin for ours, (_, begin, end) in layout.items()}
    part, start, stop = resolve_split(split, sizes, limit=None if stratify else limit, seed=seed)
    theirs, begin, _ = layout[part]
    positions = np.arange(start, stop)

    @tf.autograph.experimental.do_not_convert
    def select(example):
        image = example["image"]
        if size is not None:
            image = tf.cast(tf.round(tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0, 255)), tf.uint8)
        if mask_feature is None:
            return image, example["label"]
        return image, example["label"], *drawn.background_share(example[mask_feature], size)

    # One file after the other (cycle length 1): a slice of a split equals the same slice of the whole.
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    piece = f"{theirs}[{begin + start}:{begin + stop}]"
    read = functools.partial(builder.as_dataset, split=piece, shuffle_files=False, read_config=order)
    wanted = {"image", mask_feature}
    pictures = {key: feature for key, feature in builder.info.features.items()
                if key in wanted and isinstance(feature, tfds.features.Image)}  # fmt: skip
    undecoded = {key: tfds.decode.SkipDecoding() for key in pictures}

    @tf.autograph.experimental.do_not_convert
    def decode(_, example):
        return example | {key: picture.decode_example(example[key]) for key, picture in pictures.items()}

    try:
        if stratify and limit is not None and limit < stop - start:  # only the chosen images are decoded
            labels = read(decoders=undecoded).map(lambda example: example["label"]).batch(10_000)
            labels = np.concatenate([np.zeros(0, np.int64), *labels.as_numpy_iterator()])
            chosen = stratified(labels, limit, seed=seed)
            positions = start + chosen
            marks = tf.data.Dataset.from_tensor_slices(np.isin(np.arange(len(labels)), chosen))
            pairs = tf.data.Dataset.zip(marks, read(decoders=undecoded))
            examples = pairs.filter(lambda chosen, _: chosen).map(decode)
        else:
            examples = read()
        rows = list(examples.map(select, num_parallel_calls=tf.data.AUTOTUNE).batch(500).as_numpy_iterator())
    except (tf.errors.OpError, OSError) as error:
        raise _damaged(builder, theirs) from error
    if sum(len(row[1]) for row in rows) != min(stop - start, limit or stop - start):
        raise _damaged(builder, theirs)
    x, y, *drawn_masks = (np.concatenate(column) for column in zip(*rows, strict=True))
    if drawn_masks:
        drawn.check_values(drawn_masks.pop().any(axis=0), name=name, feature=mask_feature)
    if y.min() < 0:
        raise ValueError(f"split={split!r} of {name!r} has hidden labels (-1); expected classes. Use another split.")
    if y.max() >= (classes := builder.info.features["label"].num_classes):
        raise ValueError(
            f"{name!r} in {builder.data_path} has the label {y.max()}; expected 0 to {classes - 1}, as its features "
            f"name {classes} classes. {_anew(builder)}"
        )
    return x, y.astype(np.int64), *(drawn_masks or [None]), positions


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
    if name == "digits":
        return {part: len(y) for part, (_, y) in _digits().items()}
    return {part: stop - start for part, (_, start, stop) in _layout(_prepared(name, download)).items()}


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


def _damaged(builder, part):
    """The error for files that cannot be read, or hold less than they should: it names the first such file."""
    info, found = builder.info.splits[part], f"the files in {builder.data_path} cannot be read"
    for path, records in zip(info.filepaths, info.shard_lengths, strict=True):
        try:
            there = int(tf.data.TFRecordDataset(str(path)).reduce(np.int64(0), lambda n, _: n + 1))
        except tf.errors.NotFoundError:
            found = f"{path} is gone"
        except tf.errors.OpError:
            found = f"{path} is damaged"
        else:
            if there >= records:
                continue
            found = f"{path} holds {there} images"
        found += f"; expected a file of {records} images"
        break
    return ValueError(f"{found}. {_anew(builder)}")


def _anew(builder):
    return f"Delete the folder {builder.data_path} and load the set again: it is then prepared anew."


def builder_of(name):
    import tensorflow_datasets as tfds  # here: the embedded sets do not need it, and its import is slow

    # No "huggingface:…" or community names: TFDS would use the network to look them up.
    if isinstance(name, str) and re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        try:
            return tfds.builder(name, data_dir=_data_dir())
        except tfds.core.DatasetNotFoundError:
            pass
        except Exception as error:  # an unknown configuration or version, a missing package, a damaged description
            folder = os.path.join(_data_dir(), re.split("[/:]", name)[0])
            anew = f" If it is right, delete the folder {folder} and load the set again." * os.path.isdir(folder)
            raise ValueError(
                f"TFDS cannot make data set {name!r} ({_first_line(error)}). Check the name.{anew}"
            ) from error
    known = [*EMBEDDED, *tfds.list_builders(with_community_datasets=False)]
    close = " or ".join(repr(match) for match in difflib.get_close_matches(str(name), known, n=3))
    raise ValueError(
        f"data set {name!r} is unknown; expected an embedded one ('digits', 'composite') or any TFDS name."
        + (f" Did you mean {close}?" if close else " See tfds.list_builders().")
    )


def _data_dir():
    # Read at each call: TFDS reads the variable only once, at its import.
    return os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def features(builder):
    import tensorflow_datasets as tfds

    features = builder.info.features
    image, label = (dict(features.items()).get(key) for key in ("image", "label"))
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise ValueError(
            f"{builder.name!r} is no image classification set: its features are {', '.join(features)}; expected an "
            "image called 'image' and a class called 'label'. Choose another set, for example 'mnist'."
        )
    if image.shape[-1] not in (1, 3) or image.np_dtype != np.uint8:
        raise ValueError(
            f"{builder.name!r} has images of shape {image.shape}, {np.dtype(image.np_dtype)}; expected uint8 with "
            "1 or 3 channels. Choose another set, for example 'mnist'."
        )
    return features


def _prepared(name, download):
    """TFDS's builder of a set on disk; it downloads the set if necessary."""
    builder = builder_of(name)
    features(builder)  # checked before any download
    if builder.data_path.exists() and builder.is_prepared():  # exists() first: else TFDS logs a line
        return builder

    def missing(why):
        return ValueError(
            f"data set {name!r} is not in {_data_dir()} and {why}. Set TFDS_DATA_DIR to a folder that has it, or use "
            "an embedded set: 'digits' or 'composite'."
        )

    if not download:
        raise missing("download=False")
    if not _network_answers():
        raise missing("there is no network to download it")
    try:
        builder.download_and_prepare()
    except Exception as error:  # any error of TFDS, its hosts or its parsers: the student needs one line
        raise missing(f"could not be downloaded ({_first_line(error)})") from error
    return builder


def _first_line(error):
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def no_image_size(name, image_size):
    if image_size is not None:
        raise ValueError(f"image_size={image_size!r} passed for {name!r}; its images have a fixed size. Leave it out.")
