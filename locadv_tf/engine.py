"""Continuous batching: an attack on a stream of images that never spends a gradient on an image that needs none.

A plain loop attacks a batch until its last step, long after most of its images are fooled. Here an image leaves the
batch when it is fooled or has taken all its steps, and a waiting one takes its place, so the batch stays full:

    data → natural verdict → waiting → the batch, one step at a time → reached the last step → verdict → out
                                ↑                                                               |
                                └────────────────── the next restart, if not fooled ────────────┘

Every image passes through the same points as in the plain loop (its random numbers follow from the seed and its
index alone), so the verdicts are those of the plain loop, whatever the batch.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from locadv_tf import attacks, checks
from locadv_tf.batches import batches, length
from locadv_tf.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What `run_attack` found, one entry per image, in the order of the input.

    Attributes:
        index: int64 `(N,)`: the images' positions in the input: 0 … N − 1, or some of them after an interrupt.
        images: float32 `(N, H, W, C)`: the first point that fooled (`stop="fooled"`) or the best one; None unless kept.
        fooled: bool `(N,)`: wrong under the attack, or already without it.
        loss: float32 `(N,)`: cross-entropy at that point. A mean over it is an adversarial loss only with
            `stop="worst"`.
        natural_loss, natural_correct: float32 and bool `(N,)`: the same without an attack.
        nonfinite: bool `(N,)`: some gradient on the way was NaN or infinite.
        clipped: float32 `(N,)`: share of the mask's pixel steps that the range [0, 1] cut short; NaN without a step.
        gradient_evaluations: int: forward and backward passes, summed over the images.
    """

    index: np.ndarray
    images: np.ndarray | None
    fooled: np.ndarray
    loss: np.ndarray
    natural_loss: np.ndarray
    natural_correct: np.ndarray
    nonfinite: np.ndarray
    clipped: np.ndarray
    gradient_evaluations: int

    def __len__(self):
        return len(self.fooled)


def run_attack(
    model,
    data,
    attack,
    *,
    region="background",
    seed=0,
    stop="fooled",
    keep_images=True,
    batch_size=128,
    progress=False,
):
    """Attacks a whole data set.

    The model should be deterministic: of one that tosses coins the attack keeps the luckiest draw.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits.
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)`, batched or not, or `(images, labels, masks)`.
        attack: an attack object. What counts is the best point on its way, also for `keep="last"`.
        region: `"background"`, `"foreground"` or `"full"`: where the attack may change the image.
        seed: integer that all random numbers follow from, image by image.
        stop: `"fooled"`: an image leaves at the first point that fools; `"worst"`: every image takes the whole budget
            and its worst point counts, as adversarial *loss* demands.
        keep_images: False: `result.images` is None, and memory does not grow with the images.
        batch_size: how many images are attacked at a time.
        progress: show a progress bar.

    Returns:
        An `AttackResult`.

    Raises:
        ValueError: for bad input; arrays are looked at before any work, a data set as it is read.
        KeyboardInterrupt: as it came. This and any other exception on the way has an attribute `partial`, an
            `AttackResult` of the finished images.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> test = la.load_data("digits", split="test[:16]")
        >>> result = la.run_attack(model, test, la.FGSM(eps=0.1), region="background")
        >>> result.images.shape, len(result)
        ((16, 28, 28, 1), 16)
    """
    kept = _KEPT | {"best_image"} if keep_images else _KEPT
    finished = []
    stream = attack_stream(model, data, attack, region=region, seed=seed, stop=stop, batch_size=batch_size)
    try:
        with progress_bar(str(attack), total=length(data), shown=progress) as bar:
            for jobs in stream:
                finished.append({name: jobs[name] for name in kept})
                bar.update(_size(jobs))
    except BaseException as stopped:  # an interrupt, or bad data late in a stream
        stopped.partial = _result(finished, keep_images)
        raise
    return _result(finished, keep_images)


def attack_stream(model, data, attack, *, region="background", seed=0, stop="fooled", batch_size=128):
    """The engine: yields finished images, a few at a time and in the order in which they finish.

    Args are those of `run_attack`.

    Yields:
        A dictionary of NumPy arrays with one entry per finished image: `index` (its position in the input), `image`,
        `label`, `mask`, `best_image`, `best_loss`, `best_fooled`, `natural_loss`, `natural_correct`, `nonfinite`,
        `clipped_steps` (the sum over its steps of the share of pixels that were clipped) and `evaluations`.
    """
    if not isinstance(attack, attacks.Attack):
        raise ValueError(f"attack={attack!r}; expected an attack object, PGD(eps=0.1) say.")
    checks.seed(seed)
    checks.choice(region, checks.REGIONS, name="region")
    checks.choice(stop, ("fooled", "worst"), name="stop")
    checks.count(batch_size, name="batch_size")
    return _attack_stream(model, data, attack, region, seed, stop, batch_size)


def _attack_stream(model, data, attack, region, seed, stop, batch_size):
    steps = attack.steps if attack.eps > 0 else 0  # eps = 0 is the natural image: nothing to search
    eps, alpha = np.float32(attack.eps), np.float32(attack.alpha)
    chunks = _checked_chunks(model, data, batch_size, region)
    waiting = batch = reached = None  # jobs before their first step, on their way, and after their last step
    first = 0  # the position in the input of the next chunk's first image

    while True:
        while _size(waiting) + _size(batch) < batch_size and (chunk := next(chunks, None)) is not None:
            jobs = _admit(model, *chunk, first)
            first += _size(jobs)
            wrong = ~jobs["natural_correct"] & (stop == "fooled")
            if wrong.any():
                yield _take(jobs, wrong)
            waiting = _join(waiting, _start(attack, _take(jobs, ~wrong), seed, restart=0))

        room = batch_size - _size(batch)
        if room and _size(waiting):
            enters = np.arange(_size(waiting)) < room
            batch, waiting = _join(batch, _take(waiting, enters)), _take(waiting, ~enters)

        if _size(batch) and steps:
            _advance(model, batch, eps, alpha)
            done = batch["best_fooled"] & (stop == "fooled")
            if done.any():
                yield _take(batch, done)
                batch = _take(batch, ~done)
        if _size(batch) and (last := batch["k"] == steps).any():
            reached, batch = _join(reached, _take(batch, last)), _take(batch, ~last)

        # The points behind the last step need a verdict but no gradient: they are judged together.
        if _size(reached) >= batch_size or (_size(reached) and not _size(batch) and not _size(waiting)):
            _judge(model, reached)
            done = (reached["best_fooled"] & (stop == "fooled")) | (reached["restart"] + 1 == attack.restarts)
            if done.any():
                yield _take(reached, done)
            survivors, reached = _take(reached, ~done), None
            for restart in np.unique(survivors["restart"]):
                group = _take(survivors, survivors["restart"] == restart)
                waiting = _join(waiting, _start(attack, group, seed, restart + 1))
        if not (_size(waiting) or _size(batch) or _size(reached)) and chunk is None:
            return


# What happens to jobs: dictionaries of arrays, one entry per image.


def _admit(model, image, label, mask, first):
    """New jobs with their natural verdict; a natural error is also their best point so far."""
    loss, fooled = (value.numpy() for value in _compiled(model, image.shape[1:]).judge(image, label))
    n = len(image)
    return {
        "index": np.arange(first, first + n),
        "image": image,
        "label": label,
        "mask": mask,
        "natural_loss": loss,
        "natural_correct": ~fooled,
        "best_image": image,
        "best_loss": np.where(fooled, loss, -np.inf).astype(np.float32),
        "best_fooled": fooled,
        "nonfinite": np.zeros(n, bool),
        "clipped_steps": np.zeros(n, np.float32),
        "evaluations": np.zeros(n, np.int64),
    }


def _start(attack, jobs, seed, restart):
    """The jobs at the start point of a restart."""
    n = _size(jobs)
    function = _compiled_start(type(attack), attack.random_start)
    x = function(
        jobs["image"], jobs["mask"], np.float32(attack.eps), np.int64(seed), jobs["index"], np.int64(restart)
    ).numpy()
    return jobs | {"x": x, "k": np.zeros(n, np.int32), "restart": np.full(n, restart, np.int32)}


def _advance(model, jobs, eps, alpha):
    """One gradient and one step for every job, in place."""
    state = [jobs[name] for name in ("x", "k", "image", "label", "mask", "best_image", "best_loss", "best_fooled")]
    compiled = _compiled(model, jobs["image"].shape[1:])
    outputs = compiled.step(*state, jobs["nonfinite"], eps, alpha)
    names = ("x", "best_image", "best_loss", "best_fooled", "nonfinite")
    *values, clipped = (output.numpy() for output in outputs)
    jobs.update(zip(names, values, strict=True))
    jobs["clipped_steps"] = jobs["clipped_steps"] + clipped
    jobs["evaluations"] = jobs["evaluations"] + 1
    jobs["k"] = jobs["k"] + 1


def _judge(model, jobs):
    """The verdict on the jobs' last points, in place."""
    loss, fooled = _compiled(model, jobs["image"].shape[1:]).judge(jobs["x"], jobs["label"])
    best = attacks.Point(jobs["best_image"], jobs["best_loss"], jobs["best_fooled"], jobs["nonfinite"])
    best = attacks.better(best, jobs["x"], loss, fooled)
    jobs.update(best_image=best.image.numpy(), best_loss=best.loss.numpy(), best_fooled=best.fooled.numpy())


class _Compiled(NamedTuple):
    step: Callable
    judge: Callable
    logits: Callable


@functools.lru_cache(maxsize=8)
def _compiled(model, shape):
    """The compiled functions of one model and image shape: any number of images, any budget, no retracing.

    They follow the model's weights, but not a layer that is exchanged later: clone the model for that.
    """
    images, masks = tf.TensorSpec((None, *shape)), tf.TensorSpec((None, *shape[:2], 1), tf.bool)
    labels, numbers = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None])
    flags, scalar = tf.TensorSpec([None], tf.bool), tf.TensorSpec([])
    ks = tf.TensorSpec([None], tf.int32)
    signature = [images, ks, images, labels, masks, images, numbers, flags, flags, scalar, scalar]

    @tf.function(input_signature=signature, autograph=False)
    def step(x, k, image, label, mask, best_image, best_loss, best_fooled, nonfinite, eps, alpha):
        loss, fooled, gradient = attacks.loss_and_gradient(model, x, label)
        best = attacks.Point(best_image, best_loss, best_fooled, nonfinite | ~attacks.all_finite(gradient))
        best = attacks.better(best, x, loss, fooled, eligible=k > 0)  # the start is no candidate
        moved = attacks.step(x, gradient, image, mask, eps, alpha)
        return moved, *best, attacks.clipped_share(x, gradient, mask, alpha)

    @tf.function(input_signature=[images, labels], autograph=False)
    def judge(x, label):
        return attacks.loss_and_fooled(model, x, label)

    @tf.function(input_signature=[images], autograph=False)
    def logits(x):
        return model(x, training=False)

    return _Compiled(step, judge, logits)


@functools.lru_cache
def _compiled_start(kind, random_start):
    start = attacks.start_function(kind, random_start)
    return tf.function(
        lambda image, mask, eps, seed, index, restart: start(image, mask, eps, seed=seed, index=index, restart=restart),
        autograph=False,
        reduce_retracing=True,
    )


def _size(jobs):
    return 0 if jobs is None else len(jobs["index"])


def _take(jobs, which):
    return {name: values[which] for name, values in jobs.items()}


def _join(jobs, more):
    if not _size(jobs) or not _size(more):
        return more if not _size(jobs) else jobs
    return {name: np.concatenate([values, more[name]]) for name, values in jobs.items()}


# The way in and the way out.


def _checked_chunks(model, data, batch_size, region):
    """The data as NumPy `(image, label, mask)`, a batch at a time, checked; `mask` is bool and that of the region."""
    num_classes = None

    def check(image, label, mask):
        nonlocal num_classes
        checks.images(image)
        if mask is None and region != "full":
            raise ValueError(f"region={region!r} needs masks, and the data has none; expected (images, labels, masks).")
        if mask is not None:
            checks.masks(mask, image)
        if num_classes is None:
            num_classes = checks.model_logits(model, _compiled(model, image.shape[1:]).logits(image[:8]))
        checks.labels(label, image, num_classes=num_classes)

    if isinstance(data, (tuple, list)):  # arrays are looked at as a whole, a stream as it comes
        for whole in batches(data, max(1, len(data[0]))):
            check(*whole)
    for image, label, mask in batches(data, batch_size):
        check(image, label, mask)
        mask = np.ones((*image.shape[:3], 1), bool) if mask is None else mask
        yield image, label.astype(np.int64), attacks.region_mask(mask, region).numpy()


def _result(finished, keep_images):
    """The finished jobs, put back in the order of the input."""
    if not finished:
        nothing = np.zeros(0)
        images = np.zeros((0, 0, 0, 0), np.float32) if keep_images else None
        flags = nothing.astype(bool)
        return AttackResult(nothing.astype(int), images, flags, nothing, nothing, flags, flags, nothing, 0)
    jobs = {name: np.concatenate([part[name] for part in finished]) for name in finished[0]}
    jobs = _take(jobs, np.argsort(jobs["index"]))
    with np.errstate(invalid="ignore"):  # 0 / 0 where an image took no step
        clipped = jobs["clipped_steps"] / jobs["evaluations"]
    return AttackResult(
        index=jobs["index"],
        images=jobs.get("best_image"),
        fooled=jobs["best_fooled"],
        loss=jobs["best_loss"],
        natural_loss=jobs["natural_loss"],
        natural_correct=jobs["natural_correct"],
        nonfinite=jobs["nonfinite"],
        clipped=clipped,
        gradient_evaluations=int(jobs["evaluations"].sum()),
    )


# What a result is made of: a number per image. Images, masks and points are let go.
_KEPT = {"index", "best_fooled", "best_loss", "natural_loss", "natural_correct", "nonfinite", "clipped_steps"}
_KEPT |= {"evaluations"}
