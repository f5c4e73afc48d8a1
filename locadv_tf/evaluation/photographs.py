"""Photographs with drawn masks whose backgrounds are exchanged, for the background challenge.

After Xiao, Engstrom, Ilyas and Madry (2021, "Noise or Signal: The Role of Image Backgrounds in Object Recognition",
arXiv:2006.09994). The object is cut out, its old place filled, and it is put before the filled background of another
photograph (data/cutouts.py). What the filled places still tell of the label is measured in photo_challenge.py.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf import validation
from locadv_tf.data import cutouts, drawn, prepared, sources

GREY = 128  # behind the object in Only-FG, as in challenge.py
LARGEST_HOLE = 0.6  # of the image: where more is filled, little is left of the background, and nobody gets it
VARIANTS = {
    "original": "the photograph as it is",
    "mixed_same": "object before the background of another photograph of its own class",
    "mixed_next": "object before a background of the next class",
    "mixed_rand": "object before a background of each class",
    "only_fg": "object on grey",
    "only_bg_b": "object's box black",
    "only_bg_t": "object's place filled",
    "no_fg": "object's shape black",
}
HOLES = {
    "own background, own hole": "the photograph with the object's place filled: Only-BG-T",
    "other background, own hole": "any photograph's filled background, with this object's place filled in it",
    "other background, other hole": "the same with any object's place: chance",
}


class Photographs(NamedTuple):
    """Photographs, taken apart.

    Attributes:
        images: uint8 `(N, H, W, 3)`; `labels`: int64 `(N,)`.
        share: the object's share of each pixel, float32 `(N, H, W, 1)` in [0, 1].
        objects: uint8 `(N, H, W, 3)`: the object's colours, carried on over its edge.
        backgrounds: uint8 `(N, H, W, 3)`: the object's place filled from around it.
        fill: how, one of `cutouts.FILLS`.
    """

    images: np.ndarray
    labels: np.ndarray
    share: np.ndarray
    objects: np.ndarray
    backgrounds: np.ndarray
    fill: str


def read_photographs(name, split="test", *, image_size=(64, 64), limit=None, seed=0, fill="inpaint", download=False):
    """Reads photographs with drawn masks and takes them apart.

    Args:
        name: a TFDS set of colour images with drawn masks, such as `"caltech10_outlines"`.
        split, limit, seed, image_size, download: as for `load_data`. A limit takes of each class its share.
        fill: how the object's place is filled: `"inpaint"` or `"tiles"`, as in `cutouts.filled`.

    Returns:
        A `Photographs`.

    Raises:
        ValueError: for a set without drawn masks or colours, or another argument that `load_data` refuses.
    """
    validation.choice(fill, cutouts.FILLS, name="fill")
    own = None
    if name not in prepared.EMBEDDED:
        own = drawn.mask_feature(prepared.features(prepared.builder_of(name)), name=name)
    if own is None:
        raise ValueError(f"{name!r} has no drawn masks; expected a TFDS set with some, as 'caltech10_outlines'.")
    images, labels, share, _ = sources.read_images(
        name, split, limit=limit, stratify=True, seed=seed, image_size=image_size, mask_feature=own, download=download
    )
    if images.shape[-1] != 3:
        raise ValueError(f"{name!r} has grey images; expected photographs in colour.")
    return take_apart(images, labels, 1 - share, fill=fill)


def take_apart(images, labels, share, *, fill="inpaint"):
    """The photographs' objects and backgrounds.

    Args:
        images: uint8 `(N, H, W, 3)`; labels: integers `(N,)`; share: the object's, float32 `(N, H, W, 1)` in [0, 1].
        fill: one of `cutouts.FILLS`.

    Returns:
        A `Photographs`.

    Example:
        >>> images, share = np.full((1, 8, 8, 3), 90, np.uint8), np.zeros((1, 8, 8, 1), "float32")
        >>> images[0, 3:5, 3:5], share[0, 3:5, 3:5] = 200, 1
        >>> int(take_apart(images, np.array([0]), share).backgrounds.max())
        90
    """
    pairs = list(zip(images, share, strict=True))
    objects = np.stack([cutouts.cut(image, part) for image, part in pairs])
    backgrounds = np.stack([cutouts.filled(image, part, how=fill) for image, part in pairs])
    return Photographs(images, np.asarray(labels), share, objects, backgrounds, fill)


def donors(shown, classes, *, seed):
    """For each photograph another one, of a given class, whose background it gets.

    Args:
        shown: a `Photographs`.
        classes: integers `(N,)`, or None: of any class.
        seed: non-negative integer, or a list of them.

    Returns:
        Their places, int64 `(N,)`: never a photograph's own, and none whose filled place is more than `LARGEST_HOLE` of
        the image, if its class has two others.

    Raises:
        ValueError: if a class has fewer than two photographs.
    """
    random = np.random.default_rng(seed)
    n, found = len(shown.labels), np.empty(len(shown.labels), np.int64)
    size = np.array([cutouts.hole(part).mean() for part in shown.share])
    for k in [None] if classes is None else np.unique(classes):
        pool = np.arange(n) if k is None else np.flatnonzero(shown.labels == k)
        if len(pool) < 2:
            raise ValueError(f"class {k} has {len(pool)} photograph; expected at least two. Raise the limit.")
        pool = pool[np.argsort(size[pool], kind="stable")]
        pool = np.sort(pool[: max(2, (size[pool] <= LARGEST_HOLE).sum())])
        for i in range(n) if k is None else np.flatnonzero(classes == k):
            others = pool[pool != i]
            found[i] = others[random.integers(len(others))]
    return found


def before_others(shown, classes, *, seed):
    """The objects before their `donors`' backgrounds, edges blended by the object's share: uint8 `(N, H, W, 3)`."""
    return cutouts.before(shown.objects, shown.share, shown.backgrounds[donors(shown, classes, seed=seed)])


def variants(shown):
    """The variants in which no background is exchanged, uint8 `(N, H, W, 3)` by their names in `VARIANTS`.

    They are the paper's ImageNet-9's but for two: Only-FG is on grey, where the paper's is on black, and Only-BG-T is
    inpainted, unless `fill="tiles"` was asked for. No-FG's black holds every pixel with a part of the object.
    """
    boxed = shown.images.copy()
    for image, part in zip(boxed, shown.share, strict=True):
        image[cutouts.box(cutouts.hole(part))] = 0
    return {
        "original": shown.images,
        "only_fg": cutouts.before(shown.objects, shown.share, np.uint8(GREY)),
        "only_bg_b": boxed,
        "only_bg_t": shown.backgrounds,
        "no_fg": np.where(shown.share > cutouts.LITTLE, np.uint8(0), shown.images),
    }


def hole_images(shown, kind, *, seed):
    """Images without any object that tell, or do not tell, where the object was: uint8 `(N, H, W, 3)`.

    On the background of a photograph that was drawn at random, of whatever class, only the filled place can tell the
    label.

    Args:
        shown: a `Photographs`; kind: a key of `HOLES`; seed: of the draws.
    """
    validation.choice(kind, HOLES, name="kind")
    if kind == "own background, own hole":
        return shown.backgrounds
    behind = shown.backgrounds[donors(shown, None, seed=[seed, 0])]
    share = shown.share if kind == "other background, own hole" else shown.share[donors(shown, None, seed=[seed, 1])]
    return np.stack([cutouts.filled(image, part, how=shown.fill) for image, part in zip(behind, share, strict=True)])
