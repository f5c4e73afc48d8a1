"""Data sets as `tf.data` of `({"image", "mask"}, label)`: embedded real ones, and TFDS's image classification sets.

`"digits"` (scikit-learn's handwritten digits) and `"composite"` (digits on backgrounds, see composite.py) need no
download. Every other name goes to TensorFlow Datasets, which looks in the folder that `TFDS_DATA_DIR` names.
"""

import contextlib
import difflib
import hashlib
import json
import math
import os
import pathlib
import re
import tempfile
import threading
import urllib.error
import urllib.request
import warnings

import cv2
import numpy as np
import tensorflow as tf

from locadv_tf import checks, masks

EMBEDDED = ("digits", "composite")
SPLITS = ("train", "validation", "test")
CACHED = ("border", "grabcut", "saliency")  # the other masks take less time than reading a file
CACHE_VERSION = 1  # of the cache files' format
PROBE = "https://storage.googleapis.com"  # where TFDS keeps its own copies


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
    _parse_split(split)
    checks.count(seed, name="seed", low=0)
    if limit is not None:
        checks.count(limit, name="limit")
    if mask is not None:
        checks.choice(mask, masks.SOURCES, name="mask")
    if mask == "ground_truth" and str(name).partition(":")[0] not in ("composite", "oxford_iiit_pet"):
        raise ValueError(
            f"mask='ground_truth', but {name!r} has no exact masks; expected 'composite' or 'oxford_iiit_pet'. "
            "Leave mask out for the set's default."
        )
    if not isinstance(mask_options, (dict, type(None))):
        raise ValueError(f"mask_options={mask_options!r}; expected a dict of options, {{'value': 0.2}} say.")
    knobs = {"correlation": correlation, "digits": digits, "backgrounds": backgrounds}
    knobs = {knob: value for knob, value in knobs.items() if value is not None}
    if name == "composite":
        from locadv_tf.composite import composite  # here: it is built on this module's read_images

        _no_image_size(name, image_size)
        x, y, exact, _ = composite(split, **knobs, limit=limit, seed=seed, download=download)
    elif knobs:
        raise ValueError(f"{', '.join(knobs)} passed for {name!r}; expected for 'composite' only. Leave it out.")
    else:
        x, y, exact = read_images(name, split, limit=limit, seed=seed, image_size=image_size, download=download)
    default = "ground_truth" if exact is not None else "threshold" if x.shape[-1] == 1 else "border"
    background = _background(name, mask or default, x, y, exact, default, seed, mask_options or {})

    def to_float(image, background, label):
        return {"image": tf.cast(image, tf.float32) / 255.0, "mask": tf.cast(background, tf.float32)}, label

    data = tf.data.Dataset.from_tensor_slices((x, background, y))
    return data.map(to_float, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def class_names(name):
    """The names of a data set's classes, in the order of their numbers.

    A TFDS set need not be on disk; some (CIFAR-10) learn their names only with the data and are numbered until then.

    Raises:
        ValueError: for a name that neither the kit nor TFDS knows, or a set without integer classes.

    Example:
        >>> class_names("digits")[:3]
        ['0', '1', '2']
    """
    return [str(digit) for digit in range(10)] if name in EMBEDDED else list(_features(_builder(name))["label"].names)


# Masks: computed once for each set of images, source and options, then read from disk.


def _background(name, source, x, y, exact, default, seed, options):
    """The masks `(N, H, W, 1)` of uint8 images, from the cache if they are slow to compute."""
    if source == "random":  # its areas are those of the default source's masks, which may be in the cache
        exact, default = _background(name, default, x, y, exact, default, seed, {}), "ground_truth"

    def compute():
        done = []
        for first in range(0, len(y), 4096):  # in slices: as float32 a large set would take four times its memory
            at = slice(first, first + 4096)
            about = {"labels": y[at], "exact": None if exact is None else exact[at], "default": default, "seed": seed}
            position = {"first": first} if source == "random" else {}  # the one source that goes by an image's place
            done.append(masks.background_mask(source, x[at] / np.float32(255), **about, **position, **options))
        return np.concatenate(done).astype(np.uint8)

    if source not in CACHED:
        return compute()
    try:
        path = _cache_file(name, source, x, y, options)
    except NotImplementedError:  # a subclassed model without get_config: what it computes stands in no file name
        return compute()
    return _cached(path, compute, (*x.shape[:3], 1))


def _cache_file(name, source, x, y, options):
    """Where the masks are kept. The name is a digest of all that decides about them (no seed: `CACHED` have none)."""
    options = dict(options)
    model = options.pop("model", None)
    try:
        about = json.dumps([CACHE_VERSION, name, source, options, x.shape], sort_keys=True)
    except TypeError as error:
        raise ValueError(f"mask_options={options!r} cannot be told apart on disk; expected plain numbers.") from error
    # masks.py itself belongs to the key: who changes a line of it must not look at yesterday's masks.
    parts = [about.encode(), pathlib.Path(masks.__file__).read_bytes(), x.tobytes(), y.tobytes()]
    if model is not None:
        # Keras numbers layers as a session builds them (dense, dense_1): the same layers built again are the same.
        config = json.dumps(model.get_config(), sort_keys=True, default=str)
        parts.append(re.sub(r'("name": "[^"]*?)_\d+"', r'\1"', config).encode())
        parts.extend(weight.tobytes() for weight in model.get_weights())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    root = os.environ.get("LOCADV_CACHE_DIR")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "locadv_tf")
    readable = re.sub(r"[^\w.-]", "_", name)  # "set/config" and "set:1.0.0" are names, too
    return pathlib.Path(root, "masks", f"{readable}-{source}-{digest.hexdigest()[:32]}.npz")


def _cached(path, compute, shape):
    """Masks from the file, or computed and written there: aside, then renamed, so that no reader meets half a file."""
    # Not there, cut short, of another format: computing anew mends them all. (np.load leaves a broken path open.)
    with contextlib.suppress(Exception), open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        bits, count = arrays["bits"], math.prod(shape)
        if bits.size == math.ceil(count / 8):  # else they are the masks of other images
            return np.unpackbits(bits, count=count).reshape(shape)
    background = compute()
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as aside:
            np.savez_compressed(aside, bits=np.packbits(background))
        os.replace(aside.name, path)
    except OSError as error:  # a full or read-only disk costs time, not the lesson
        warnings.warn(f"masks are not kept ({error}); set LOCADV_CACHE_DIR to a folder to write to.", stacklevel=4)
    finally:
        if aside is not None:
            pathlib.Path(aside.name).unlink(missing_ok=True)  # there only if it was not renamed
    return background


# Reading: images and labels of a split, from scikit-learn or from TFDS.


def read_images(name, split, *, limit=None, seed=0, image_size=None, download=True):
    """The images of one split as arrays; arguments and errors are those of `load_data`, composite excepted.

    Returns:
        images uint8 `(N, H, W, C)`, labels int64 `(N,)`, exact background masks float32 `(N, H, W, 1)` or None.
    """
    if name == "digits":
        _no_image_size(name, image_size)
        part, start, stop = resolve_split(split, split_sizes(name), limit=limit, seed=seed)
        x, y = _digits()[part]
        return x[start:stop], y[start:stop], None
    if image_size is not None:
        if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
            raise ValueError(f"image_size={image_size!r}; expected (height, width), (128, 128) say.")
        image_size = tuple(checks.count(side, name="image_size") for side in image_size)
    builder = _prepared(name, download)
    import tensorflow_datasets as tfds

    is_pet = builder.name == "oxford_iiit_pet"
    size = image_size or ((128, 128) if is_pet else None)
    if size is None and None in builder.info.features["image"].shape:
        raise ValueError(f"the images of {name!r} vary in size; expected image_size=(height, width), (128, 128) say.")
    layout = _layout(builder)
    part, start, stop = resolve_split(
        split, {ours: end - begin for ours, (_, begin, end) in layout.items()}, limit=limit, seed=seed
    )
    theirs, begin, _ = layout[part]

    @tf.autograph.experimental.do_not_convert
    def select(example):
        image = example["image"]
        if size is not None:
            image = tf.cast(tf.round(tf.clip_by_value(tf.image.resize(image, size, antialias=True), 0, 255)), tf.uint8)
        if not is_pet:
            return image, example["label"]
        background = tf.cast(example["segmentation_mask"] == 2, tf.float32)  # 1 is the pet, 3 its outline
        return image, example["label"], tf.image.resize(background, size, method="nearest")

    # One file after the other (cycle length 1), so that a slice of a split equals the same slice of the whole.
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    piece = f"{theirs}[{begin + start}:{begin + stop}]"
    examples = builder.as_dataset(split=piece, shuffle_files=False, read_config=order)
    rows = list(examples.map(select, num_parallel_calls=tf.data.AUTOTUNE).batch(500).as_numpy_iterator())
    x, y, *exact = (np.concatenate(column) for column in zip(*rows, strict=True))
    if y.min() < 0:
        raise ValueError(f"split={split!r} of {name!r} has hidden labels (-1); expected classes. Use another split.")
    return x, y.astype(np.int64), exact[0] if exact else None


def split_sizes(name, *, download=True):
    """How many images `"train"`, `"validation"` and `"test"` of a set have (not of composite), as a dict."""
    if name == "digits":
        return {part: len(y) for part, (_, y) in _digits().items()}
    return {part: stop - start for part, (_, start, stop) in _layout(_prepared(name, download)).items()}


def resolve_split(split, sizes, *, limit=None, seed=0):
    """A split, or a slice of one, as absolute bounds.

    Args:
        split: `"test"`, `"test[:100]"`, `"train[10%:20%]"`, `"train[-50:]"`: as in TFDS; percentages are rounded to the
            closest image.
        sizes: dict of the number of images of each split.
        limit: at most that many images, from an offset that `seed` draws.
        seed: non-negative integer.

    Returns:
        `(name of the split, start, stop)`.

    Raises:
        ValueError: for an unknown split, bounds beyond its size, or a slice with no image in it.

    Example:
        >>> resolve_split("test[10%:-50]", {"train": 1000, "validation": 100, "test": 200})
        ('test', 20, 150)
    """
    checks.count(seed, name="seed", low=0)
    part, *bounds = _parse_split(split)
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
    if limit is not None and checks.count(limit, name="limit") < stop - start:
        start += int(np.random.default_rng(seed).integers(stop - start - limit + 1))
        stop = start + limit
    return part, start, stop


def _parse_split(split):
    bound = r"(-?\d+%?)?"
    match = re.fullmatch(rf"({'|'.join(SPLITS)})(?:\[{bound}:{bound}\])?", split if isinstance(split, str) else "")
    if not match:
        raise ValueError(
            f"split={split!r} is unknown; expected 'train', 'validation' or 'test', or a slice such as 'test[:100]' or "
            "'train[10%:20%]'."
        )
    return match.groups()


def _digits():
    """scikit-learn's 1,797 digits, `{split: (uint8 (N, 28, 28, 1), int64 (N,))}`: 1,197, 200 and 400, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = np.pad(x.reshape(-1, 8, 8) * (255 / 16), ((0, 0), (1, 1), (1, 1)))  # a margin: the strokes touch the edge
    x = np.stack([cv2.resize(image, (28, 28), interpolation=cv2.INTER_CUBIC) for image in x])
    x = np.rint(x.clip(0, 255)).astype(np.uint8)[..., None]
    x, x_test, y, y_test = train_test_split(x, y.astype(np.int64), test_size=400, stratify=y, random_state=0)
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=200, stratify=y, random_state=0)
    return {"train": (x, y), "validation": (x_validation, y_validation), "test": (x_test, y_test)}


def _layout(builder):
    """Where our splits lie in TFDS's: `{our split: (TFDS's split, start, stop)}`."""
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


def _builder(name):
    import tensorflow_datasets as tfds  # here: the embedded sets do not need it, and its import takes a while

    # No "huggingface:…" or community names: TFDS would go to the network for those just to look them up.
    if isinstance(name, str) and re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        try:
            return tfds.builder(name, data_dir=_data_dir())
        except tfds.core.DatasetNotFoundError:
            pass
        except Exception as error:  # an unknown configuration or version, or a package that this set's code needs
            raise ValueError(f"TFDS cannot make data set {name!r} ({_first_line(error)}). Mend the name.") from error
    known = [*EMBEDDED, *tfds.list_builders(with_community_datasets=False)]
    close = " or ".join(repr(match) for match in difflib.get_close_matches(str(name), known, n=3))
    raise ValueError(
        f"data set {name!r} is unknown; expected an embedded one ('digits', 'composite') or any TFDS name."
        + (f" Did you mean {close}?" if close else " See tfds.list_builders().")
    )


def _data_dir():
    # Read when asked: TFDS itself reads the variable only once, when it is imported.
    return os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def _features(builder):
    import tensorflow_datasets as tfds

    features = builder.info.features
    image, label = (dict(features.items()).get(key) for key in ("image", "label"))
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise ValueError(
            f"{builder.name!r} is no image classification set: its features are {', '.join(features)}; expected an "
            "image called 'image' and a class called 'label'. Choose another set, 'mnist' say."
        )
    if image.shape[-1] not in (1, 3) or image.np_dtype != np.uint8:
        raise ValueError(
            f"{builder.name!r} has images of shape {image.shape}, {np.dtype(image.np_dtype)}; expected uint8 with "
            "1 or 3 channels. Choose another set, 'mnist' say."
        )
    return features


def _prepared(name, download):
    """TFDS's builder of a set that is on disk, if need be after a download."""
    builder = _builder(name)
    _features(builder)  # checked before anything is downloaded
    if builder.data_path.exists() and builder.is_prepared():  # asked for a folder that is not there, TFDS logs a line
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
    except Exception as error:  # whatever TFDS, its hosts or its parsers raise: the student needs the one line
        raise missing(f"could not be downloaded ({_first_line(error)})") from error
    return builder


def _network_answers(seconds=3.0):
    """Asks once, for at most that long: without a network TFDS retries for minutes."""
    answers = []

    def ask():
        try:
            # An opener of its own honours the proxy variables as they are now; urlopen keeps its first ones.
            urllib.request.build_opener().open(PROBE, timeout=seconds).close()
            answers.append(True)
        except urllib.error.HTTPError as error:  # an error page is an answer, too
            error.close()
            answers.append(True)
        except Exception:  # no route, no name, a refusing or misspelt proxy: no network
            pass

    thread = threading.Thread(target=ask, daemon=True)  # the timeout above does not cover the look-up of the name
    thread.start()
    thread.join(seconds)
    return bool(answers)


def _first_line(error):
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def _no_image_size(name, image_size):
    if image_size is not None:
        raise ValueError(f"image_size={image_size!r} passed for {name!r}; its images have a fixed size. Leave it out.")
