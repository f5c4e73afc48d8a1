"""How good are guessed masks, and what do they cost? Held against masks that people drew."""

import time

import numpy as np

from locadv_tf import validation
from locadv_tf.data import masks
from locadv_tf.data.overlap import foreground, iou
from locadv_tf.evaluation.intervals import mean_interval, with_interval


def mask_quality(images, exact, sources, *, labels=None, seed=0):
    """Overlap of guessed masks with drawn ones, and the time of a guess.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        exact: their drawn masks `(N, H, W, 1)`, 1 on the background.
        sources: names of `masks.SOURCES`, or pairs of a name and the source's options: `("grabcut", {"upsample": 1})`.
        labels: the true classes `(N,)`, for `"saliency"`.
        seed: for `"random"`, which takes the areas of the drawn masks: the overlap that chance gives.

    Returns:
        A list of dicts, one per source: `source`, with its options if they are not models; `n`; `iou_object` and
        `iou_background`, the mean over images of the intersection over union with the drawn object and with the drawn
        background, each with `_low` and `_high` (95 %, Student's over images); `background_mean`, the mean area; and
        `ms_per_image`, wall-clock time of one run over all images.

    Raises:
        ValueError: for no images, masks that do not fit, or a source or option that `masks.background_mask` refuses.

    Example:
        >>> import locadv_tf as la
        >>> images, _, exact = la.to_arrays(la.load_data("composite", "test[:20]"))
        >>> border, full = mask_quality(images, exact, ["border", "full"])
        >>> border["iou_object"] > full["iou_object"], full["source"], full["n"]
        (True, 'full', 20)
    """
    truth = foreground(exact, validation.images(images, name="images"), name="exact")
    if not len(images):
        raise ValueError("images holds no images; expected at least one.")
    pairs = [(each, {}) if isinstance(each, str) else each for each in sources]
    for source, options in pairs:
        masks.check_options(source, options)
    rows = []
    for source, options in pairs:
        begun = time.perf_counter()
        guess = masks.background_mask(source, images, labels=labels, exact=exact, seed=seed, **options)
        seconds = time.perf_counter() - begun
        told = ", ".join(f"{name}={value}" for name, value in options.items() if name != "model")
        found = guess == 0
        rows.append(
            {"source": f"{source}, {told}" if told else source, "n": len(images)}
            | with_interval("iou_object", mean_interval(iou(found, truth)))
            | with_interval("iou_background", mean_interval(iou(~found, ~truth)))
            | {"background_mean": float(np.mean(guess)), "ms_per_image": 1000 * seconds / len(images)}
        )
    return rows
