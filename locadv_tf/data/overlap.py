"""How far masks agree: with each other, and with the exact ones."""

import numpy as np

from locadv_tf import validation


def quality(masks, *, exact=None):
    """How good are the masks? Compares sources with each other and with the exact masks.

    Overlap is the IoU of the *foreground*, averaged over images (1 where both have none). The background fills most of
    an image, so its IoU is high for any two masks. Chance does not give 0: two random foregrounds with a share p have
    an IoU of about p / (2 - p); add a `"random"` source to see it.

    Args:
        masks: dict from a source's name to its masks of the same images, `(N, H, W, 1)`.
        exact: the exact masks `(N, H, W, 1)`, or None.

    Returns:
        A list of dicts, one per source: `source`, `n` (images), `background_mean` and `background_median` (its share
        of the image's area), `degenerate` (share of masks with more than 95 % or less than 5 % background),
        `iou_exact` if there are exact masks, and `iou_<name>` for each source (1 with itself).

    Raises:
        ValueError: for no masks, masks of different shapes, or values other than 0 and 1.

    Example:
        >>> import locadv_tf as la
        >>> image = np.zeros((1, 8, 8, 1), "float32")
        >>> rows = quality({"center": la.masks.center(image, foreground=0.25), "full": la.masks.full(image)})
        >>> rows[0]["background_mean"], rows[0]["iou_full"], rows[1]["degenerate"]
        (0.75, 0.0, 1.0)
    """
    if not masks or not len(one := next(iter(masks.values()))):
        raise ValueError("masks holds no masks; expected a dict such as {'border': border(images)}.")
    foregrounds = {name: foreground(mask, one, name=f"masks[{name!r}]") for name, mask in masks.items()}
    others = foregrounds if exact is None else {"exact": foreground(exact, one, name="exact"), **foregrounds}
    rows = []
    for name, mine in foregrounds.items():
        area = 1 - mine.mean(axis=(1, 2, 3))
        row = {"source": name, "n": len(area), "background_mean": area.mean(), "background_median": np.median(area)}
        row["degenerate"] = ((area > 0.95) | (area < 0.05)).mean()
        row |= {f"iou_{other}": iou(mine, theirs).mean() for other, theirs in others.items()}
        rows.append({key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()})
    return rows


def foreground(masks, images, *, name="masks"):
    """The checked masks' foreground, bool `(N, H, W, 1)`; arguments and errors as for `validation.masks`."""
    return np.asarray(validation.masks(masks, images, name=name)) == 0


def iou(a, b):
    """Intersection over union per image of two boolean arrays `(N, H, W, 1)`; 1 where both are empty."""
    both, either = ((a & b).sum(axis=(1, 2, 3)), (a | b).sum(axis=(1, 2, 3)))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))
