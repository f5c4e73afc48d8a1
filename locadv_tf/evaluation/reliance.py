"""Does a model rely on the background? Background against foreground: attacked, under noise, by gradient.

Three measures, each with 95 % intervals over images, and where they move if a model relies more on the background:

    attack     ASR on the background minus ASR on the foreground, at equal eps and at equal area     up
    noise      RFS, relative foreground sensitivity (Moayeri et al. 2022)                            down
    gradient   the background's share of the input gradient's energy over its share of the area      up

They ask what a *disturbed* background does to a model. The direct test of reliance is *another ordinary* background:
see challenge.py, for images whose background can be exchanged.

All three compare two regions, so they are only as good as the masks: `by_source` repeats them for each way to draw the
background. Its row "random" has masks that do not depend on the image: a value there is about areas, not backgrounds.
"""

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import losses
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.masks import SOURCES, background_mask, random
from locadv_tf.engine.stream import run_attack
from locadv_tf.evaluation.intervals import mean_interval, paired_interval, share_interval, with_interval

SIGMA = 60 / 255  # the second of the seven noise levels, 30/255 to 210/255, in the code of Moayeri et al.
QUICK_SOURCES = tuple(name for name in SOURCES if name not in ("grabcut", "full"))  # slow; no foreground


def background_reliance(model, data, attack, *, sigma=SIGMA, seed=0, batch_size=128):
    """All measures of one model as one row.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits.
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)`, batched or not, or `(images, labels, masks)`.
        attack: an attack object, used on each region in turn.
        sigma: the noise's standard deviation, in pixel units of [0, 1].
        seed: non-negative integer that decides all random numbers.
        batch_size: images at a time.

    Returns:
        A dictionary: `area`, the background's mean share of the image, and the entries of `asr_difference`,
        `foreground_sensitivity` and `gradient_energy`.

    Raises:
        ValueError: for bad input or no images.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> row = background_reliance(model, la.load_data("digits", "test[:32]"), la.FGSM(eps=0.1))
        >>> -1 <= row["asr_difference"] <= 1, -1 <= row["rfs"] <= 1, 0 <= row["energy_share"] <= 1
        (True, True, True)
    """
    data = _arrays(data)
    return {
        "area": float(data[2].mean()),
        **asr_difference(model, data, attack, seed=seed, batch_size=batch_size),
        **foreground_sensitivity(model, data, sigma=sigma, seed=seed, batch_size=batch_size),
        **gradient_energy(model, data, batch_size=batch_size),
    }


def by_source(model, images, labels, masks, attack, **settings):
    """The measures once for each way to draw the background.

    Args:
        model, attack, settings: as for `background_reliance`.
        images, labels: float32 `(N, H, W, C)` in [0, 1] and the true classes `(N,)`.
        masks: dictionary from a source's name to the masks `(N, H, W, 1)` of these images, as from `draw_masks`.

    Returns:
        A list of rows of `background_reliance`, one per source, with its name as `source`.

    Raises:
        ValueError: for bad input, or no masks.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> images, labels, own = la.to_arrays(la.load_data("digits", "test[:16]"))
        >>> sources = {"threshold": own, "center": la.masks.center(images)}
        >>> [row["source"] for row in by_source(model, images, labels, sources, la.FGSM(eps=0.1))]
        ['threshold', 'center']
    """
    if not masks:
        raise ValueError("masks holds no masks; expected a dict such as {'center': masks.center(images)}.")
    return [
        {"source": name} | background_reliance(model, (images, labels, mask), attack, **settings)
        for name, mask in masks.items()
    ]


def draw_masks(images, labels, *, own, model, sources=QUICK_SOURCES, seed=0):
    """The background masks of all sources that these images allow.

    Args:
        images, labels: float32 `(N, H, W, C)` in [0, 1] and the true classes `(N,)`.
        own: the masks `(N, H, W, 1)` that came with the data, exact or computed. They are the source "own", and
            "random" takes their areas.
        model: a Keras model that returns logits, for "saliency": background is what it reacts to least.
        sources: names of `masks.SOURCES`. Not in the default: "grabcut" (a hundred times slower than "border") and
            "full" (it has no foreground).
        seed: of the random masks.

    Returns:
        A dictionary from names to masks, "own" first. Left out are sources that do not fit these images ("otsu" needs
        grey ones, "border" colour) and sources that draw the same masks as "own".

    Raises:
        ValueError: for an unknown source or bad input.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> images, labels, own = la.to_arrays(la.load_data("digits", "test[:4]"))
        >>> list(draw_masks(images, labels, own=own, model=model))
        ['own', 'otsu', 'center', 'saliency', 'random']
    """
    for name in sources:
        validation.choice(name, SOURCES, name="sources")
    validation.masks(own, validation.images(images), name="own")
    unfit = "border" if images.shape[-1] == 1 else "otsu"
    found = {"own": own}
    for name in sources:
        if name not in (unfit, "ground_truth"):
            option = {"model": model} if name == "saliency" else {}
            found[name] = background_mask(name, images, labels=labels, exact=own, seed=seed, **option)
    return {name: mask for name, mask in found.items() if name == "own" or not np.array_equal(mask, own)}


# Attack.


def asr_difference(model, data, attack, *, seed=0, batch_size=128):
    """The attack success rate on the background minus that on the foreground: at equal eps, and at equal area, too.

    At equal eps the attack on the larger region has an advantage. So both regions are attacked again through the masks
    of `equal_areas`. Only images count that the model gets right without an attack and that have pixels in both
    regions. All attacks use the same images, so the differences are paired.

    Args and errors are those of `background_reliance`.

    Returns:
        A dictionary: `eps`; `asr_n`, the images that count; `area_equal`, the mean share of the image that the equal
        areas have; and `asr_background`, `asr_foreground`, `asr_difference`, `asr_background_equal`,
        `asr_foreground_equal`, `asr_difference_equal`, each with `_low` and `_high`. Shares have Wilson's interval,
        differences that of `evaluation.paired_interval`; all are None if no image counts.
    """
    images, labels, masks = _arrays(data)
    regions = {"background": masks, "foreground": 1 - masks}
    pieces = equal_areas(masks, seed=seed)
    regions |= {"background_equal": pieces[0], "foreground_equal": pieces[1]}
    fooled, done = {}, []
    for name, region in regions.items():
        found = next((result for earlier, result in done if np.array_equal(earlier, region)), None)
        if found is None:  # if the foreground is always the smaller region, its equal area is the whole foreground
            data = (images, labels, region)
            found = run_attack(model, data, attack, region=None, seed=seed, keep_images=False, batch_size=batch_size)
            done.append((region, found))
        fooled[name] = found.fooled
    counts = done[0][1].natural_correct & (pieces[0].sum(axis=(1, 2, 3)) > 0)
    row = {"eps": attack.eps, "asr_n": int(counts.sum()), "area_equal": float(pieces[0].mean())}
    for suffix in ("", "_equal"):
        background, foreground = (fooled[name + suffix][counts] for name in ("background", "foreground"))
        row |= with_interval(f"asr_background{suffix}", share_interval(int(background.sum()), len(background)))
        row |= with_interval(f"asr_foreground{suffix}", share_interval(int(foreground.sum()), len(foreground)))
        row |= with_interval(f"asr_difference{suffix}", paired_interval(background, foreground))
    return row


def equal_areas(masks, *, seed=0, smoothness=2.0):
    """A piece of the background and a piece of the foreground, of the same number of pixels in each image.

    The whole smaller region is taken (mostly the foreground), and a random piece of equal size from the other one. So
    the areas are as large as possible, and nobody has to choose a size. The piece is where a blurred field of noise is
    highest in the region: blobs, like the object. Scattered pixels would be a worse comparison: a convolution averages
    single pixels away.

    Args:
        masks: background masks `(N, H, W, 1)` with values 0 and 1.
        seed: non-negative integer; with the image's position it decides the piece.
        smoothness: sigma of the blur in pixels, 0 to 100; 0 scatters single pixels.

    Returns:
        Two masks, float32 `(N, H, W, 1)`, of the background's and of the foreground's piece, 1 on the piece; both empty
        if one of the regions is empty.

    Raises:
        ValueError: for masks of another shape or with other values, or options out of range.

    Example:
        >>> mask = np.ones((1, 8, 8, 1), "float32")
        >>> mask[:, 2:5, 2:5] = 0
        >>> background, foreground = equal_areas(mask)
        >>> int(background.sum()), int(foreground.sum()), bool((background * foreground).any())
        (9, 9, False)
    """
    background = np.asarray(validation.masks(masks, masks, name="masks"), np.float32)
    foreground = 1 - background
    smaller = np.where(background.mean(axis=(1, 2, 3), keepdims=True) > 0.5, foreground, background)
    return tuple(
        random(smaller, seed=seed, smoothness=smoothness, within=region) for region in (background, foreground)
    )


# Noise.


def foreground_sensitivity(model, data, *, sigma=SIGMA, seed=0, batch_size=128):
    """RFS, relative foreground sensitivity (Moayeri et al. 2022): is noise worse on the foreground or the background?

    Each image gets Gaussian noise N(0, sigma²), once only on its background and once only on its foreground, the same
    noise both times. It is clipped to [0, 1]. The two accuracies over all images, a_bg and a_fg, give `rfs`.

    Moayeri, Pope, Balaji and Feizi (CVPR 2022), "A Comprehensive Study of Image Classification Model Sensitivity to
    Foregrounds, Backgrounds, and Visual Attributes", arXiv:2201.10766. Their regions also differ in area.

    Args and errors are those of `background_reliance`.

    Returns:
        A dictionary: `sigma`; `noise_n`, the images; `accuracy_background_noise`, `accuracy_foreground_noise` (Wilson's
        intervals) and `rfs` (that of `evaluation.paired_interval`), each with `_low` and `_high`.
    """
    sigma, seed = validation.fraction(sigma, name="sigma"), validation.count(seed, name="seed", low=0)
    images, labels, masks = _arrays(data)
    noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    right = {}
    for region, mask in (("background", masks), ("foreground", 1 - masks)):
        noisy = np.clip(images + sigma * noise * mask, 0, 1)
        right[region] = right_without_attack(model, noisy, labels, batch_size=batch_size)
    row = {"sigma": sigma, "noise_n": len(labels)}
    for region, verdicts in right.items():
        row |= with_interval(f"accuracy_{region}_noise", share_interval(int(verdicts.sum()), len(verdicts)))
    return row | with_interval("rfs", paired_interval(right["background"], right["foreground"], rfs))


def rfs(background, foreground):
    """RFS = (a_bg − a_fg) / (2 min(ā, 1 − ā)) with ā = (a_bg + a_fg) / 2 (Moayeri et al. 2022).

    The difference of the accuracies, divided by the largest difference that their mean allows. So models of different
    robustness to noise become comparable.

    Args:
        background, foreground: a_bg and a_fg, accuracies under noise on the background and on the foreground, numbers
            or arrays in [0, 1].

    Returns:
        A float or an array: −1 if only noise on the background makes errors, 0 if both do equally, 1 if only noise on
        the foreground does. NaN if both accuracies are 0 or both are 1.

    Example:
        >>> round(float(rfs(0.9, 0.7)), 3), float(rfs(0.5, 1.0)), float(rfs(1.0, 1.0))
        (0.5, -1.0, nan)
    """
    background, foreground = np.asarray(background, float), np.asarray(foreground, float)
    room = np.minimum(background + foreground, (1 - background) + (1 - foreground))
    with np.errstate(invalid="ignore"):  # 0 / 0
        return (background - foreground) / room


# Gradient.


def gradient_energy(model, data, *, batch_size=128):
    """The background's share of the input gradient's energy, over its share of the area.

    With g = ∂L/∂x, L the cross-entropy of the true class, and B the background's pixels:

        s = Σ_B g² / Σ g²        ratio = mean(s) / mean(|B| / number of pixels)

    A gradient that is spread evenly over the image has 1; a model that uses only the background has 1 over the area.
    The gradient as a map of what matters: Simonyan et al. (2014, arXiv:1312.6034); its share inside a region: the
    "energy-based pointing game" of Wang et al. (2020, arXiv:1910.01279). There is no eps and no noise level to choose,
    but a gradient describes only very small changes of an image.

    Args and errors are those of `background_reliance`.

    Returns:
        A dictionary: `energy_n`, the images whose gradient is finite and not 0; `energy_share`, mean(s); and
        `energy_ratio` with `_low` and `_high`, the ratio estimator's large-sample interval (Cochran 1977, Sampling
        Techniques, section 6.4). None if no image or no background is left.
    """
    validation.count(batch_size, name="batch_size")
    images, labels, masks = _arrays(data)
    energy = []  # float64: squares of small gradients underflow in float32
    for at in (slice(first, first + batch_size) for first in range(0, len(images), batch_size)):
        x, y = tf.constant(images[at]), tf.constant(labels[at])
        gradient = losses.respond_with_gradient(model, x, y).gradient
        energy.append(np.square(np.asarray(gradient, np.float64)))
    energy = np.concatenate(energy)
    total, inside = (part.sum(axis=(1, 2, 3)) for part in (energy, energy * masks))
    usable = np.isfinite(total) & (total > 0)
    area = masks.mean(axis=(1, 2, 3), dtype=np.float64)[usable]
    row = {"energy_n": int(usable.sum())}
    if not area.any():
        return row | {"energy_share": None} | with_interval("energy_ratio", (None, None, None))
    share = inside[usable] / total[usable]
    ratio = share.mean() / area.mean()
    _, low, high = mean_interval((share - ratio * area) / area.mean())  # deviations from the line through the origin
    row |= {"energy_share": float(share.mean())}
    return row | with_interval(
        "energy_ratio", (float(ratio), *(None if v is None else float(ratio + v) for v in (low, high)))
    )


# What the measures share.


def right_without_attack(model, images, labels, *, batch_size=500):
    """Whether the model gets each image right, bool `(N,)`; arguments and errors as for `run_attack`."""
    validation.count(batch_size, name="batch_size")
    images = validation.images(images)
    classes = validation.model_logits(validation.model(model), model(images[:8], training=False))
    validation.labels(labels, images, num_classes=classes)
    starts = range(0, len(images), batch_size)
    logits = np.concatenate([model(images[first : first + batch_size], training=False) for first in starts])
    return (logits.argmax(axis=-1) == labels) & np.isfinite(logits).all(axis=-1)  # NaN is no right answer


def _arrays(data):
    images, labels, masks = to_arrays(data)
    if not len(images):
        raise ValueError("the data holds no images; expected at least one.")
    return images, labels, masks
