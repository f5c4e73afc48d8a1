"""Digits pasted in colour on backgrounds, with exact masks; `correlation` sets how well the background tells the label.

In photographs nobody knows exactly where the background is, nor how much it says about the label. Here both are known.
So we can train a model that relies on the background, and test whether a measure finds this. In the spirit of Xiao et
al. (2021, "Noise or Signal: The Role of Image Backgrounds in Object Recognition", arXiv:2006.09994).
"""

from typing import NamedTuple

import cv2
import numpy as np

from locadv_tf import validation
from locadv_tf.data import sources

SIDE = 32  # pixels, as in CIFAR-10: its images can be backgrounds without resizing
MARGIN = 3  # pixels between a digit and the image's edge
COPIES = 8  # how often each embedded training digit is pasted: 1,197 images are too few to learn all places
CHUNK = 2048  # images drawn at once: limits the memory for floating-point colours


class Composite(NamedTuple):
    """What `composite` returns: arrays with one entry per image."""

    images: np.ndarray  # uint8 (N, 32, 32, 3)
    labels: np.ndarray  # int64 (N,), the digit
    masks: np.ndarray  # float32 (N, 32, 32, 1), exactly 1 on the background and 0 on the digit
    background_labels: np.ndarray  # int64 (N,), 0-9: the texture's place in TEXTURES, or the CIFAR-10 class
    positions: np.ndarray  # int64 (N,), the images' places in the split


def composite(
    split="train",
    *,
    correlation=0.9,
    background=None,
    paste=True,
    digits="digits",
    backgrounds="textures",
    limit=None,
    stratify=True,
    seed=0,
    download=True,
):
    """Digits, each in one random colour at a random place, on 32x32 backgrounds of ten classes.

    With probability `correlation` the background's class is the digit's label, else it is any of the ten classes with
    equal probability. The same `seed` with another `correlation` keeps every digit and its place; only the backgrounds
    differ. (On CIFAR-10 images a digit may also change between light and dark: it must stand out.)

    Args:
        split: `"train"`, `"validation"` or `"test"` or a slice of it, as in `load_data`. The training split pastes each
            embedded digit eight times, each time at another place in another colour; other digits are pasted once.
        correlation: 0 (the background says nothing about the label) to 1 (it says everything).
        background: None, or a class 0-9: every image gets a background of this class, for any correlation.
        paste: False leaves the digits out, so you see the background behind them. Labels and masks stay.
        digits: `"digits"` (embedded) or `"mnist"`.
        backgrounds: `"textures"` (drawn here: the ten kinds of `TEXTURES`, which differ in pattern, not in colour)
            or `"cifar10"` (images of that class from the same split of CIFAR-10: no image is in two splits).
        limit, stratify: at most this many images, as in `load_data`.
        seed: non-negative integer; draws places, colours, backgrounds and the limit's images.
        download: whether MNIST and CIFAR-10 may be downloaded.

    Returns:
        A `Composite` of images (uint8), labels, exact masks, background labels and places in the split.

    Raises:
        ValueError: for an unknown name or split, a correlation outside [0, 1], a background outside 0-9, or data that
            is not on disk and cannot be downloaded.

    Example:
        >>> shown = composite("test[:100]", correlation=1)
        >>> shown.images.shape, shown.images.dtype, shown.masks.shape
        ((100, 32, 32, 3), dtype('uint8'), (100, 32, 32, 1))
        >>> bool((shown.background_labels == shown.labels).all())
        True
    """
    validation.fraction(correlation, name="correlation")
    validation.choice(background, (None, *range(10)), name="background")
    validation.choice(digits, ("digits", "mnist"), name="digits")
    validation.choice(backgrounds, ("textures", "cifar10"), name="backgrounds")
    if limit is not None:
        validation.count(limit, name="limit")
    sizes = sources.split_sizes(digits, download=download)
    copies = COPIES if digits == "digits" else 1
    counts = sizes | {"train": copies * sizes["train"]}
    part, start, stop = sources.resolve_split(split, counts, limit=None if stratify else limit, seed=seed)

    # One row of uniform numbers decides everything about an image. So a slice of a split equals the same slice of the
    # whole, and only the wanted images are drawn. The split's number in the seed makes the splits differ.
    u = np.random.default_rng([seed, sources.SPLITS.index(part)]).random((counts[part], 24), dtype=np.float32)
    first, last = (start, stop) if copies == 1 else (0, sizes[part])
    grey, labels, *_ = sources.read_images(digits, f"{part}[{first}:{last}]", download=download)
    positions = np.arange(start, stop)
    if stratify and limit is not None:
        positions = positions[sources.stratified(labels[(positions - first) % len(grey)], limit, seed=seed)]
    u, chosen = u[positions], (positions - first) % len(grey)
    shapes, labels = place(grey[chosen, ..., 0] > 127, u[:, 0:2]), labels[chosen]
    background_labels = np.where(u[:, 2] < correlation, labels, (10 * u[:, 3]).astype(np.int64))
    if background is not None:
        background_labels = np.full_like(background_labels, background)

    if backgrounds == "cifar10":
        pool, classes, *_ = sources.read_images("cifar10", part, download=download)
        by_class, each = np.argsort(classes, kind="stable"), np.bincount(classes, minlength=10)
        offset = np.cumsum(each) - each
        pick = by_class[offset[background_labels] + (u[:, 4] * each[background_labels]).astype(np.int64)]

    images = np.empty((len(labels), SIDE, SIDE, 3), np.uint8)
    for at in (slice(i, i + CHUNK) for i in range(0, len(labels), CHUNK)):
        if backgrounds == "cifar10":
            behind = pool[pick[at]] / np.float32(255)
        else:
            behind = textures(background_labels[at], u[at])
        if paste:
            colours = digit_colours(behind, shapes[at], u[at, 21:24])
            behind = np.where(shapes[at, ..., None], colours[:, None, None], behind)  # a hard edge: the mask is exact
        images[at] = np.rint(255 * behind)
    return Composite(images, labels, np.float32(~shapes[..., None]), background_labels, positions)


def place(shapes, u):
    """Moves each shape `(N, h, w)` (bool, at most 26x26 filled) to a random place in `(N, 32, 32)`; `u` is `(N, 2)`."""
    canvas = np.zeros((len(shapes), SIDE, SIDE), bool)
    canvas[:, : shapes.shape[1], : shapes.shape[2]] = shapes
    source = []
    for axis, share in ((2, u[:, 0]), (1, u[:, 1])):  # rows, then columns
        filled = canvas.any(axis=axis)
        begin, end = filled.argmax(axis=1), SIDE - filled[:, ::-1].argmax(axis=1)
        target = MARGIN + (share * (SIDE - 2 * MARGIN - (end - begin) + 1)).astype(np.int64)
        source.append((np.arange(SIDE) - (target - begin)[:, None]) % SIDE)  # only empty lines wrap around
    return canvas[np.arange(len(shapes))[:, None, None], source[0][:, :, None], source[1][:, None, :]]


def digit_colours(behind, shapes, u):
    """A colour `(N, 3)` in [0, 1] for each digit: light if it covers dark pixels, else dark."""
    luminance = behind @ np.float32([0.299, 0.587, 0.114])  # ITU-R BT.601
    covered = (luminance * shapes).sum(axis=(1, 2)) / shapes.sum(axis=(1, 2))
    return np.where(covered[:, None] < 0.5, 1 - 0.25 * u, 0.25 * u)


def textures(classes, u):
    """Draws a texture of each class in two random colours.

    Args:
        classes: int64 `(N,)`, 0-9, the position in `TEXTURES`.
        u: float32 `(N, at least 21)`, uniform in [0, 1): columns 5-9 decide the pattern, 10-20 the colours.

    Returns:
        float32 `(N, 32, 32, 3)` in [0, 1].
    """
    pattern = np.empty((len(classes), SIDE, SIDE), np.float32)
    for number, draw in enumerate(TEXTURES.values()):
        of_class = classes == number
        pattern[of_class] = draw(u[of_class, 5:10, None, None].swapaxes(0, 1))
    dark = 0.35 * u[:, 10:13]
    step = 0.12 + 0.2 * u[:, 13:16]  # in every channel, so that the pattern is visible in all colours
    drawn = dark[:, None, None] + step[:, None, None] * pattern[..., None]
    return np.where(u[:, 16, None, None, None] < 0.5, drawn, 1 - drawn)  # light backgrounds are inverted dark ones


# The patterns. Each gets u, five uniform numbers per image (5, n, 1, 1), and returns (n, 32, 32) in [0, 1].
ROW, COLUMN = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def _wave(turns):
    """A sine over turns (1 = a full period), clipped: stripes have edges, but no jagged ones."""
    return np.clip(0.5 + np.sin(2 * np.pi * turns), 0, 1)


def _stripes(degrees):
    def draw(u):
        angle = np.deg2rad(degrees + 16 * u[2] - 8)
        return _wave((np.cos(angle) * ROW + np.sin(angle) * COLUMN) / (5 + 4 * u[0]) + u[1])

    return draw


def _checks(u):
    period = 8 + 6 * u[0]
    return np.clip(
        0.5 + 2 * np.sin(2 * np.pi * (ROW / period + u[1])) * np.sin(2 * np.pi * (COLUMN / period + u[2])), 0, 1
    )


def _dots(u):
    period = 6 + 4 * u[0]
    down, right = (ROW / period + u[1]) % 1 - 0.5, (COLUMN / period + u[2]) % 1 - 0.5
    return np.clip(0.5 + period * (0.3 - np.hypot(down, right)), 0, 1)


def _rings(u):
    return _wave(np.hypot(ROW - SIDE * u[1], COLUMN - SIDE * u[2]) / (5 + 3 * u[0]) + u[3])


def _rays(u):
    centre = SIDE * (0.25 + 0.5 * u[1:3])
    around = np.arctan2(ROW - centre[0], COLUMN - centre[1]) / (2 * np.pi)
    return _wave((4 + np.floor(5 * u[0])) * around + u[3])  # a whole number of rays, so that the last meets the first


def _noise(blur):
    def draw(u):
        """A window into one large plane of noise, so that an image needs only two random numbers."""
        plane = np.random.default_rng(2019).random((512, 512), dtype=np.float32)
        plane = cv2.GaussianBlur(plane, (0, 0), blur) if blur else plane
        plane = np.clip(0.5 + (plane - plane.mean()) / (2 * plane.std()), 0, 1)
        down, right = (480 * u[:2]).astype(np.int64)
        return plane[down + ROW.astype(np.int64), right + COLUMN.astype(np.int64)]

    return draw


TEXTURES = {
    "horizontal stripes": _stripes(0),
    "vertical stripes": _stripes(90),
    "falling stripes": _stripes(-45),
    "rising stripes": _stripes(45),
    "checks": _checks,
    "dots": _dots,
    "rings": _rings,
    "rays": _rays,
    "clouds": _noise(blur=2.5),
    "grain": _noise(blur=0),
}
