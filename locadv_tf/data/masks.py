"""Where is the background? One function per answer; a new one gets its place in `_FUNCTIONS`, too.

All functions take images, float32 `(N, H, W, C)` in [0, 1] with C = 1 (grey) or 3 (RGB), as an array or an eager
tensor. They return the background mask, a float32 array `(N, H, W, 1)`: 1 on the background, where the attack may
change the pixel, and 0 on the foreground. All are deterministic. An image's mask does not depend on the other images.
Bad images or options raise `ValueError` before any work.
"""

import inspect
import math

import cv2
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import losses
from locadv_tf.data.overlap import quality as quality  # la.masks.quality


def threshold(images, *, value=0.1):
    """Bright on dark: a pixel is foreground if one of its channels is brighter than `value`.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        value: the threshold, 0 to 1, or `"otsu"`: a threshold for each image that splits its grey levels into two
            groups of least variance (Otsu 1979); grey images only. An image of one grey level is all background.

    Returns:
        The background mask, float32 `(N, H, W, 1)`.

    Raises:
        ValueError: for bad images, a value out of range, or `"otsu"` on colour images.

    Example:
        >>> image = np.array([0.0, 0.2, 0.9], "float32").reshape(1, 1, 3, 1)
        >>> threshold(image).ravel().tolist(), threshold(image, value="otsu").ravel().tolist()
        ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0])
    """
    if isinstance(value, str):
        validation.choice(value, ("otsu",), name="value (unless it is a number from 0 to 1)")
        images = _array(images, channels=(1,), who="Otsu's threshold", instead="a number as value, or 'border'")
        return _background(images, (_otsu(np.rint(image[..., 0] * 255)) for image in images))
    value, images = validation.fraction(value, name="value"), _array(images)
    # The brightest channel, not the grey level: pure blue is a bright object, but its grey level is 0.11.
    return _background(images, images.max(axis=-1) > value)


def otsu(images):
    """Short for `threshold(images, value="otsu")`: grey images, a threshold for each image."""
    return threshold(images, value="otsu")


def border(images, *, clusters=3, prior=0.35):
    """Background is what has the colours of the image's border: about 1 ms for an image of 32x32.

    The colours of the border ring are grouped into a few clusters. A pixel's score is the Mahalanobis distance of its
    colour to the nearest cluster, times a centre prior. The scores are blurred, split by Otsu's threshold and closed;
    high scores are foreground. In the spirit of boundary-prior saliency (Zhu et al., CVPR 2014, "Saliency Optimization
    from Robust Background Detection").

    Args:
        images: float32 `(N, H, W, 3)` in [0, 1].
        clusters: number of the border's colour clusters, at least 1.
        prior: sigma of the Gaussian centre prior as a share of the image's sides, 0.05 to 10 (10: almost no prior).

    Returns:
        The background mask, float32 `(N, H, W, 1)`. In an image of one colour only the prior decides: a centred disc.

    Raises:
        ValueError: for bad images, grey images, or options out of range.

    Example:
        >>> image = np.full((1, 32, 32, 3), (0.2, 0.6, 0.2), "float32")
        >>> image[:, 8:24, 10:20] = (0.9, 0.3, 0.1)  # a red box on green: 160 pixels
        >>> foreground = border(image) == 0
        >>> bool(150 < foreground.sum() == foreground[:, 8:24, 10:20].sum())  # all but its corners
        True
    """
    images = _array(images, channels=(3,), who="the border-colour model", instead="'threshold', 'otsu' or 'grabcut'")
    clusters = validation.count(clusters, name="clusters")
    prior = validation.fraction(prior, name="prior", low=0.05, high=10)
    height, width = images.shape[1:3]
    side = min(height, width)
    thickness = max(1, round(side / 16))
    ring = np.ones((height, width), bool)
    ring[thickness:-thickness, thickness:-thickness] = False
    centre_prior = np.exp(-(_distance_to_centre(height, width) ** 2) / (2 * prior**2))

    def foreground(image):
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        colours = lab[ring]
        # k-means starts from equal groups by lightness, not from random numbers: equal images get equal masks.
        k = min(clusters, len(colours))
        rank = np.argsort(np.argsort(colours[:, 0], kind="stable"))
        start = (rank * k // len(colours)).astype(np.int32)[:, None]
        stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 0.1)
        group = cv2.kmeans(colours[:, None], k, start, stop, 1, cv2.KMEANS_USE_INITIAL_LABELS)[1].ravel()
        nearest = np.full((height, width), np.inf)  # squared distance
        for members in (colours[group == j] for j in range(k)):
            if len(members) < 0.45 / k * len(colours):
                continue  # a small part of the border (k = 3: 15 %) is probably an object at the edge
            spread = np.cov(members, rowvar=False, bias=True) + 10 * np.eye(3)  # a floor of about 3 Lab units, squared
            offset = lab - members.mean(axis=0)
            nearest = np.minimum(nearest, np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(spread), offset))
        # 1 +: if no colour stands out, the prior decides, not rounding errors of distances near zero.
        score = cv2.GaussianBlur((1 + np.sqrt(nearest)) * centre_prior, (0, 0), side / 32)
        levels = cv2.normalize(score, None, 0, 255, cv2.NORM_MINMAX)
        return cv2.morphologyEx(_otsu(levels), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))

    return _background(images, map(foreground, images))


def grabcut(images, *, upsample=4, iterations=5):
    """GrabCut (Rother, Kolmogorov and Blake 2004) from OpenCV: a classic, slow, and weak on tiny images.

    A frame of 1/16 of the image's sides counts as background; inside it the algorithm decides. Without upsampling most
    masks of 32x32 images are degenerate. With upsampling a mask takes about a hundred times as long as with `border`.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1]; grey becomes RGB.
        upsample: factor by which the images are enlarged first, at least 1.
        iterations: GrabCut's iterations, at least 1.

    Returns:
        The background mask, float32 `(N, H, W, 1)`. It sets OpenCV's random seed, which cannot be restored.

    Raises:
        ValueError: for bad images, options out of range, or less than 3 pixels a side after upsampling.

    Example:
        >>> image = np.full((1, 16, 16, 3), (0.2, 0.6, 0.2), "float32")
        >>> image[:, 4:12, 5:10] = (0.9, 0.3, 0.1)  # all foreground, also some pixels around it
        >>> float(grabcut(image)[:, 4:12, 5:10].max())
        0.0
    """
    images, upsample = _array(images), validation.count(upsample, name="upsample")
    iterations = validation.count(iterations, name="iterations")
    height, width = images.shape[1:3]
    big = (width * upsample, height * upsample)
    if min(big) < 3:
        raise ValueError(
            f"images of {height}x{width} with upsample={upsample} are too small for a frame; "
            "expected at least 3 pixels a side. Use a larger upsample."
        )
    frame = [max(1, round(side / 16)) for side in big]
    inside = (*frame, big[0] - 2 * frame[0], big[1] - 2 * frame[1])  # x, y, width, height

    def foreground(image):
        levels = np.rint(np.broadcast_to(image, (height, width, 3)) * 255).astype(np.uint8)
        levels = cv2.resize(levels, big, interpolation=cv2.INTER_LINEAR)
        cv2.setRNGSeed(0)  # again for each image: its mask must not depend on earlier images
        label = cv2.grabCut(levels, None, inside, None, None, iterations, cv2.GC_INIT_WITH_RECT)[0]
        share = np.isin(label, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
        return cv2.resize(share, (width, height), interpolation=cv2.INTER_AREA) > 0.5

    return _background(images, map(foreground, images))


def center(images, *, foreground=0.3):
    """The foreground is an ellipse in the middle, the same in all images: a baseline that does not use the image.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        foreground: the ellipse's share of the image's area (up to whole pixels), 0 to pi/4 (it touches all four sides).

    Returns:
        The background mask, float32 `(N, H, W, 1)`.

    Raises:
        ValueError: for bad images or a share out of range.

    Example:
        >>> center(np.zeros((1, 4, 4, 1), "float32"), foreground=0.25)[0, ..., 0].astype(int).tolist()
        [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    images, foreground = _array(images), validation.fraction(foreground, name="foreground", high=math.pi / 4)
    # An ellipse whose half axes are r times the sides has a share of pi r^2.
    ellipse = _distance_to_centre(*images.shape[1:3]) < math.sqrt(foreground / math.pi)
    return _background(images, [ellipse] * len(images))


def saliency(images, labels, *, model, foreground=0.3, smoothness=1.0, batch_size=256):
    """The foreground is where the true class's logit reacts most to the pixels: what the *model* relies on.

    The map is the largest |d logit / d pixel| over the channels (Simonyan et al. 2014, arXiv:1312.6034, section 3). It
    uses the logit, not the loss: if the model is sure, the loss is flat and its gradient underflows.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        labels: the true classes, integers `(N,)`.
        model: a Keras model that returns logits; called with `training=False`.
        foreground: share of the pixels that is foreground, those with the largest scores; 0 to 1.
        smoothness: sigma in pixels of the Gaussian blur of the map, 0 (none) to 100.
        batch_size: images per call of the model.

    Returns:
        The background mask, float32 `(N, H, W, 1)`, of the same area for each image.

    Raises:
        ValueError: for bad images, labels or options, a model that ends in softmax, or a gradient that is not finite.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> model.set_weights([np.array([[0, 9], [0, 1], [-5, 0], [0, 0]], "float32"), np.zeros(2, "float32")])
        >>> image = np.ones((2, 2, 2, 1), "float32")
        >>> mask = saliency(image, np.array([0, 1]), model=model, foreground=0.25, smoothness=0)
        >>> mask.reshape(2, 4).astype(int).tolist()  # class 0 relies on the third pixel, class 1 on the first
        [[1, 1, 0, 1], [0, 1, 1, 1]]
    """
    images, labels = _array(images), np.asarray(labels)
    foreground = validation.fraction(foreground, name="foreground")
    smoothness = validation.fraction(smoothness, name="smoothness", high=100)
    batch_size = validation.count(batch_size, name="batch_size")
    classes = validation.model_logits(model, model(images[:1], training=False))
    labels = validation.labels(labels, images, num_classes=classes, name="labels").astype(np.int32)
    found = []
    for start in range(0, len(images), batch_size):
        x, y = tf.constant(images[start : start + batch_size]), labels[start : start + batch_size]
        _, gradient = losses.input_gradient(model, x, lambda z, y=y: (tf.gather(z, y, axis=1, batch_dims=1), None))
        if gradient is None or not np.isfinite(gradient).all():
            raise ValueError("the model's input gradient is missing or not finite; expected numbers. Check the model.")
        maps = np.abs(gradient).max(axis=-1)
        blurred = [cv2.GaussianBlur(one, (0, 0), smoothness) for one in maps] if smoothness else maps
        found.extend(_largest(one, round(foreground * one.size)) for one in blurred)
    return _background(images, found)


def full(images):
    """The whole image may change: a mask of ones, float32 `(N, H, W, 1)`, for images `(N, H, W, C)`.

    Example:
        >>> float(full(np.zeros((2, 3, 3, 1), "float32")).min())
        1.0
    """
    images = _array(images)
    return np.ones((*images.shape[:3], 1), np.float32)


def random(masks, *, seed=0, smoothness=0.0, positions=None, within=None):
    """The control: for each mask a random one of equal area. Only the seed and the image's position decide it.

    Args:
        masks: the masks whose areas are taken, `(N, H, W, 1)` with values 0 and 1.
        seed: integer, at least 0.
        smoothness: sigma in pixels, 0 to 100, of a Gaussian blur. The largest values of a blurred noise field become
            the background: 0 scatters single pixels, more makes blobs.
        positions: the images' places in the data set, integers `(N,)`, at least 0, for callers that have a part of it:
            so an image gets the same mask in each part. None: 0, 1, 2, …
        within: masks `(N, H, W, 1)` that contain the random masks, each with enough room; None: anywhere.

    Returns:
        The background mask, float32 `(N, H, W, 1)`.

    Raises:
        ValueError: for masks of another shape or with other values, options out of range, or too little room.

    Example:
        >>> mask = center(np.zeros((2, 8, 8, 1), "float32"))
        >>> control = random(mask, seed=0, smoothness=1.5)
        >>> bool((control.sum(axis=(1, 2, 3)) == mask.sum(axis=(1, 2, 3))).all()), bool((control == mask).all())
        (True, False)
    """
    masks = _mask_array(masks, masks, name="masks")
    seed = validation.count(seed, name="seed", low=0)
    positions = np.arange(len(masks)) if positions is None else np.asarray(positions)
    if positions.shape != (len(masks),) or positions.dtype.kind not in "iu" or (positions < 0).any():
        raise ValueError(
            f"positions={positions!r}; expected an integer of at least 0 for each of the {len(masks)} masks."
        )
    smoothness = validation.fraction(smoothness, name="smoothness", high=100)
    within = np.ones_like(masks) if within is None else _mask_array(within, masks, name="within")
    if (masks.sum(axis=(1, 2, 3)) > within.sum(axis=(1, 2, 3))).any():
        raise ValueError("a mask has more pixels than its mask in within; expected at most as many.")
    # The blur needs noise beyond the edges: mirrored noise would make the field vary more at the edges.
    margin = math.ceil(4 * smoothness)
    size = [side + 2 * margin for side in masks.shape[1:3]]
    controls = np.empty_like(masks)
    for i, mask in enumerate(masks):
        noise = np.random.default_rng((seed, int(positions[i]))).standard_normal(size)
        if smoothness:
            noise = cv2.GaussianBlur(noise, (0, 0), smoothness)[margin:-margin, margin:-margin]
        noise = np.where(within[i, ..., 0] == 1, noise, -np.inf)
        controls[i, ..., 0] = _largest(noise, int(mask.sum()))
    return controls


def ground_truth(images, exact, *, feature=None):
    """The data set's own masks, checked: float32 `(N, H, W, 1)`.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        exact: their masks `(N, H, W, 1)`, 1 on the background.
        feature: for `load_data`: which feature of a TFDS set the masks are read from. Here they are read already.

    Raises:
        ValueError: if there are none (`exact` is None), they do not fit the images, or they have other values than
            0 and 1.
    """
    images = _array(images)
    if exact is None:
        raise ValueError(
            "source='ground_truth', but this data set has no exact masks; composite and TFDS sets with drawn masks "
            f"(oxford_iiit_pet) have them. Use another source: {_listed(s for s in SOURCES if s != 'ground_truth')}."
        )
    return _mask_array(exact, images, name="exact")


_FUNCTIONS = {
    function.__name__: function
    for function in (threshold, otsu, border, grabcut, center, saliency, ground_truth, random, full)
}
SOURCES = tuple(_FUNCTIONS)


def background_mask(source, images, *, labels=None, exact=None, default=None, seed=0, **options):
    """The mask that a source's name stands for.

    Args:
        source: one of `SOURCES`.
        images: float32 `(N, H, W, C)` in [0, 1].
        labels: the true classes, integers `(N,)`; only `"saliency"` needs them.
        exact: the data set's own masks `(N, H, W, 1)`, if it has any.
        default: for `"random"`, the name of the source whose areas it takes; without a name `"ground_truth"`, if there
            are exact masks.
        seed: for `"random"`.
        **options: the keyword arguments of the source's function, for example `value=0.2` for `"threshold"`.

    Returns:
        The background mask, float32 `(N, H, W, 1)`.

    Raises:
        ValueError: for an unknown source or option, a missing option, or bad input of the source's function.

    Example:
        >>> image = np.array([0.0, 0.2, 0.9], "float32").reshape(1, 1, 3, 1)
        >>> background_mask("threshold", image, value=0.5).ravel().tolist()
        [1.0, 1.0, 0.0]
    """
    check_options(source, options)
    if source == "random":
        default = default or ("ground_truth" if exact is not None else None)
        if default in (None, "random"):
            raise ValueError(f"default={default!r}; expected another source, whose areas source='random' takes.")
        validation.choice(default, SOURCES, name="default")
        return random(background_mask(default, images, labels=labels, exact=exact), seed=seed, **options)
    if source == "saliency" and labels is None:
        raise ValueError("labels=None; expected the true classes (N,), which source='saliency' needs.")
    extra = {"saliency": (labels,), "ground_truth": (exact,)}.get(source, ())
    return _FUNCTIONS[source](images, *extra, **options)


def check_options(source, options, *, taken=()):
    """Checks the names of a source's options before any work.

    Args:
        source: one of `SOURCES`; `options`: a dictionary; `taken`: names that the caller sets itself.

    Raises:
        ValueError: for an unknown source, an unknown or missing option, or a model that is no model.
    """
    validation.choice(source, SOURCES, name="source")
    parameters = inspect.signature(_FUNCTIONS[source]).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("seed", *taken)}
    if unknown := set(options) - set(known):
        right = f"it takes {_listed(known)}" if known else "it takes none"
        raise ValueError(f"source={source!r} has no option {_listed(sorted(unknown, key=str))}; {right}.")
    if missing := [name for name, preset in known.items() if preset is inspect.Parameter.empty and name not in options]:
        raise ValueError(f"source={source!r} needs the option {_listed(missing)}.")
    if not callable(options.get("model", callable)):
        raise ValueError(
            f"model={options['model']!r}; expected a Keras model that returns logits. From a file: "
            "keras.saving.load_model(path)."
        )


def _array(images, *, channels=(1, 3), who="a background mask", instead=None):
    """The checked images as an array for OpenCV, which refuses flipped views."""
    images = np.ascontiguousarray(validation.images(images, name="images"))
    if images.shape[-1] not in channels:
        kinds = " or ".join({1: "grey images (N, H, W, 1)", 3: "colour images (N, H, W, 3)"}[c] for c in channels)
        fix = f" Use {instead} instead." if instead else ""
        raise ValueError(f"images has shape {images.shape}; {who} needs {kinds}.{fix}")
    return images


def _mask_array(masks, images, *, name):
    return np.asarray(validation.masks(masks, images, name=name), np.float32)


def _background(images, foregrounds):
    """The masks `(N, H, W, 1)` from N foregrounds `(H, W)` with values 0 and 1."""
    masks = np.empty((*images.shape[:3], 1), np.float32)
    for mask, foreground in zip(masks, foregrounds, strict=True):
        mask[..., 0] = 1 - foreground
    return masks


def _otsu(levels):
    """1 where `levels` `(H, W)` in [0, 255] are above Otsu's threshold, as uint8."""
    levels = levels.astype(np.uint8)
    split, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (levels > max(split, levels.min())).astype(np.uint8)  # min: OpenCV's split of a single grey level is 0


def _distance_to_centre(height, width):
    """Each pixel's distance to the image's centre, in units of the image's sides: 0.5 in the middle of an edge."""
    y, x = (np.arange(side) / side - (side - 1) / (2 * side) for side in (height, width))
    return np.hypot(y[:, None], x)


def _largest(scores, count):
    """True at the `count` largest scores `(H, W)`; of equal scores the first in reading order count."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(scores.shape)


def _listed(names):
    return ", ".join(repr(name) for name in names)
