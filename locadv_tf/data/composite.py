"""Digits pasted in colour on backgrounds: exact masks, and a knob for how strongly the background predicts the label.

No natural data set says exactly where its background is, nor how much its background gives away. Here both are known,
so a model that leans on the background can be made on purpose, and be caught at it. In the spirit of Xiao et al. (2021,
"Noise or Signal: The Role of Image Backgrounds in Object Recognition", arXiv:2006.09994).
"""

from typing import NamedTuple

import cv2
import numpy as np

from locadv_tf import validation
from locadv_tf.data import sources

SIDE = 32  # pixels; CIFAR-10's size, so that its images serve as backgrounds as they are
MARGIN = 3  # pixels between a digit and the image's edge
COPIES = 8  # how often each embedded training digit is pasted: 1,197 shapes alone are too few to learn places from
CHUNK = 2048  # images drawn at once: bounds the memory that the floating-point colours take


class Composite(NamedTuple):
    """What `composite` returns; the four arrays belong together, image by image."""

    images: np.ndarray  # uint8 (N, 32, 32, 3)
    labels: np.ndarray  # int64 (N,), the digit
    masks: np.ndarray  # float32 (N, 32, 32, 1), exactly 1 on the background and 0 on the digit
    background_labels: np.ndarray  # int64 (N,), 0-9: the texture's place in TEXTURES, or the CIFAR-10 class


def composite(
    split="train",
    *,
    correlation=0.9,
    background=None,
    paste=True,
    digits="digits",
    backgrounds="textures",
    limit=None,
    seed=0,
    download=True,
):
    """Digits of one random colour each, at a random place, on 32x32 backgrounds of ten classes.

    The background's class is the digit's label with probability `correlation`, else any of the ten, all alike. The same
    `seed` with another `correlation` keeps every digit and its place: two such sets differ in their backgrounds alone
    (and, on CIFAR-10 images, in whether a digit is light or dark: it stands out from what is behind it).

    Args:
        split: `"train"`, `"validation"` or `"test"` or a slice of it, as in `load_data`. The training split pastes each
            embedded digit eight times, in places and colours of their own; all else is pasted once.
        correlation: 0 (the background says nothing about the label) to 1 (it says everything).
        background: None, or the class that every image's background has, 0-9, whatever the correlation.
        paste: False leaves the digits out: what is behind them is seen instead. Labels and masks stay.
        digits: `"digits"` (embedded) or `"mnist"`.
        backgrounds: `"textures"` (drawn here: the ten families of `TEXTURES`, told apart by pattern and not by colour)
            or `"cifar10"` (images of that class, from the same split of CIFAR-10: no image serves two splits).
        limit: at most that many consecutive images, from an offset that `seed` draws.
        seed: non-negative integer; draws places, colours, backgrounds and the offset.
        download: whether MNIST and CIFAR-10 may be downloaded.

    Returns:
        A `Composite` of images (uint8), labels, exact masks and background labels.

    Raises:
        ValueError: for an unknown name or split, a correlation outside [0, 1], a background outside 0-9, or data that
            cannot be had.

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
    sizes = sources.split_sizes(digits, download=download)
    copies = COPIES if digits == "digits" else 1
    counts = sizes | {"train": copies * sizes["train"]}
    part, start, stop = sources.resolve_split(split, counts, limit=limit, seed=seed)

    # A row of uniform numbers per image decides everything about it, so a slice of a split equals the same slice of the
    # whole, and only the images that are asked for are drawn. The part's name keeps splits from repeating each other.
    u = np.random.default_rng([seed, sources.SPLITS.index(part)]).random((counts[part], 24), dtype=np.float32)
    u = u[start:stop]
    first, last = (start, stop) if copies == 1 else (0, sizes[part])
    grey, labels, _ = sources.read_images(digits, f"{part}[{first}:{last}]", download=download)
    chosen = (np.arange(start, stop) - first) % len(grey)
    shapes, labels = place(grey[chosen, ..., 0] > 127, u[:, 0:2]), labels[chosen]
    background_labels = np.where(u[:, 2] < correlation, labels, (10 * u[:, 3]).astype(np.int64))
    if background is not None:
        background_labels = np.full_like(background_labels, background)

    if backgrounds == "cifar10":
        pool, classes, _ = sources.read_images("cifar10", part, download=download)
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
            behind = np.where(shapes[at, ..., None], colours[:, None, None], behind)  # no blended edge: an exact mask
        images[at] = np.rint(255 * behind)
    return Composite(images, labels, np.float32(~shapes[..., None]), background_labels)


def place(shapes, u):
    """Moves each shape `(N, h, w)` (bool, filled at most 26x26) to a random place in `(N, 32, 32)`; `u` is `(N, 2)`."""
    canvas = np.zeros((len(shapes), SIDE, SIDE), bool)
    canvas[:, : shapes.shape[1], : shapes.shape[2]] = shapes
    source = []
    for axis, share in ((2, u[:, 0]), (1, u[:, 1])):  # rows, then columns
        filled = canvas.any(axis=axis)
        begin, end = filled.argmax(axis=1), SIDE - filled[:, ::-1].argmax(axis=1)
        target = MARGIN + (share * (SIDE - 2 * MARGIN - (end - begin) + 1)).astype(np.int64)
        source.append((np.arange(SIDE) - (target - begin)[:, None]) % SIDE)  # wraps around, but only empty lines do
    return canvas[np.arange(len(shapes))[:, None, None], source[0][:, :, None], source[1][:, None, :]]


def digit_colours(behind, shapes, u):
    """A colour `(N, 3)` in [0, 1] for each digit: light if the pixels that it covers are dark, else dark."""
    luminance = behind @ np.float32([0.299, 0.587, 0.114])  # ITU-R BT.601
    covered = (luminance * shapes).sum(axis=(1, 2)) / shapes.sum(axis=(1, 2))
    return np.where(covered[:, None] < 0.5, 1 - 0.25 * u, 0.25 * u)


def textures(classes, u):
    """Draws a texture of each class in two random colours.

    Args:
        classes: int64 `(N,)`, 0-9, the place in `TEXTURES`.
        u: float32 `(N, at least 21)`, uniform in [0, 1): the shares that decide pattern (5-9) and colours (10-20).

    Returns:
        float32 `(N, 32, 32, 3)` in [0, 1].
    """
    pattern = np.empty((len(classes), SIDE, SIDE), np.float32)
    for number, draw in enumerate(TEXTURES.values()):
        of_class = classes == number
        pattern[of_class] = draw(u[of_class, 5:10, None, None].swapaxes(0, 1))
    dark = 0.35 * u[:, 10:13]
    step = 0.12 + 0.2 * u[:, 13:16]  # in every channel, so that the pattern shows whatever the colours
    drawn = dark[:, None, None] + step[:, None, None] * pattern[..., None]
    return np.where(u[:, 16, None, None, None] < 0.5, drawn, 1 - drawn)  # light backgrounds: dark ones, inverted


# The patterns. Each takes u, five uniform numbers per image (5, n, 1, 1), and returns (n, 32, 32) in [0, 1].
ROW, COLUMN = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def _wave(turns):
    """A sine over turns (1 = a full period), steep enough that stripes have edges, soft enough not to flicker."""
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
    return _wave((4 + np.floor(5 * u[0])) * around + u[3])  # a whole number of rays: no seam


def _noise(blur):
    def draw(u):
        """A window into one wide plane of noise: no random numbers of its own for each pixel of each image."""
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
