"""Continuous batching: an attack on a stream of images that never spends a gradient on an image that needs none.

A plain loop attacks a batch until its last step, long after most of its images are fooled. Here an image leaves its
slot when it is fooled or has taken all its steps, and a waiting one takes its place, so the slots stay full:

    data → natural verdict → waiting → the slots, one step at a time → reached the last step → verdict → out
                                ↑                                                               |
                                └────────────────── the next run, if not fooled ────────────────┘

Every image passes through the same points as in the plain loop: its random numbers follow from the seed and its index
alone. So the verdicts are those of the plain loop, whatever the batch. The slots stay on the device from step to step;
only who is done with comes back.
"""

import itertools
import threading

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.attack import check_attack
from locadv_tf.attacks.loop import Point, better
from locadv_tf.attacks.regions import allowed
from locadv_tf.data.batches import batches, length
from locadv_tf.data.memory import check_fits, fits
from locadv_tf.engine.devices import agree, batch_size_for, copies, deal, devices, on_gpu, together
from locadv_tf.engine.kept import forget
from locadv_tf.engine.progress import progress_bar
from locadv_tf.engine.result import NUMBERS, assembled
from locadv_tf.engine.slots import Slots, compiled_attack, compiled_model


def run_attack(
    model,
    data,
    attack,
    *,
    region="background",
    seed=0,
    stop="fooled",
    keep_images=None,
    batch_size=None,
    progress=False,
):
    """Attacks a whole data set.

    The model should be deterministic. Of a nondeterministic one the attack keeps the luckiest draw; `PGD(samples=)`
    takes the mean of several.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits.
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)`, batched or not, or `(images, labels, masks)`.
        attack: an attack object. What counts is the best point on its way, also for `keep="last"`.
        region: `"background"`, `"foreground"` or `"full"`: where the attack may change the image; None: the masks say
            already where, whatever region that is.
        seed: integer that all random numbers follow from, image by image.
        stop: `"fooled"`: an image leaves at the first point that fools; `"worst"`: every image takes the whole budget
            and its worst point counts, as adversarial *loss* demands.
        keep_images: False: `result.images` is None, and memory does not grow with the images. None: True, but False
            for a data set that does not fit in memory (see `load_data`).
        batch_size: how many images a worker attacks at a time; None: 96, on a GPU up to 2,048, fewer if they are
            large. A data set of more than one batch has two workers on a CPU, one on each GPU.
        progress: show a progress bar.

    Returns:
        An `AttackResult`.

    Raises:
        ValueError: for bad input; arrays are looked at before any work, a data set as it is read. For
            `keep_images=True` where the images do not fit.
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
    if keep_images is None:
        keep_images = fits(data)
    elif keep_images:
        check_fits(data, "keep_images=True")
    kept = NUMBERS | {"best_image"} if keep_images else NUMBERS
    finished = []
    stream = attack_stream(model, data, attack, region=region, seed=seed, stop=stop, batch_size=batch_size)
    try:
        with progress_bar(str(attack), total=length(data), shown=progress) as bar:
            for jobs in stream:
                finished.append({name: jobs[name] for name in kept})
                bar.update(_size(jobs))
    except BaseException as stopped:  # an interrupt, or bad data late in a stream
        stopped.partial = assembled(finished, keep_images)
        raise
    return assembled(finished, keep_images)


def attack_stream(model, data, attack, *, region="background", seed=0, stop="fooled", batch_size=None, eps=None):
    """The engine: yields finished images, a few at a time and in the order in which they finish.

    Args are those of `run_attack`, and
        eps: `(N,)`, a budget per image in place of the attack's own; None: the attack's.

    Yields:
        A dictionary of NumPy arrays with one entry per finished image: `index` (its position in the input), `image`,
        `label`, `allowed`, `best_image`, `best_loss`, `best_fooled`, `natural_loss`, `natural_correct`, `nonfinite`,
        `steps`, `clipped` (the sum over its steps of the share of pixels that were clipped), `evaluations` and
        `queries`.
    """
    check_attack(attack)
    validation.seed(seed)
    if region is not None:
        validation.choice(region, validation.REGIONS, name="region")
    validation.choice(stop, ("fooled", "worst"), name="stop")
    batch_size = batch_size_for(data) if batch_size is None else validation.count(batch_size, name="batch_size")
    return _attack_stream(model, data, attack, region, seed, stop, batch_size, eps)


def _attack_stream(model, data, attack, region, seed, stop, batch_size, eps):
    arrivals = _arrivals(model, data, attack, region, batch_size, attack.eps if eps is None else eps)
    if (jobs := next(arrivals, None)) is None:
        return
    image, arrivals, streams = jobs["image"][:8], itertools.chain([jobs], arrivals), []
    stopped = threading.Event()
    workers = list(copies(model, devices(), image).items())
    one_batch, logits = _size(jobs) == length(data), compiled_model(model, image.shape[1:]).logits
    # The draws of a random model would depend on which of two workers came first.
    if len(workers) == 1 and not (one_batch or on_gpu()) and agree(logits(image), logits(image)):
        workers *= 2  # while images come and go at one, on one core, the other computes
    for (device, copy), jobs in zip(workers, deal(arrivals, len(workers)), strict=True):
        first = 0
        for member in attack.members:  # an ensemble is a chain of streams
            jobs = _run(copy, jobs, member, seed, first, stop, batch_size, stopped)
            first += member.runs
        streams.append((device, jobs))
    for finished in together(streams, stopped):
        best = {f"best_{name}": finished["best"]._asdict()[name] for name in ("image", "loss", "fooled")}
        yield {name: finished[name] for name in _PASSED_ON} | best | {"nonfinite": finished["best"].nonfinite}


def _run(model, arrivals, attack, seed, first, stop, batch_size, stopped):
    """One attack on a stream of jobs, until it ends or is `stopped`; its runs are numbered from `first` on."""
    steps = attack.steps if attack.eps > 0 else 0
    waiting = slots = reached = None  # jobs before their first step, on their way, and after their last step
    on_the_way = lambda: slots is not None and slots.active.any()  # noqa: E731
    more = True

    while not stopped.is_set():
        while more and _size(waiting) + (slots.active.sum() if on_the_way() else 0) < batch_size:
            if (jobs := next(arrivals, None)) is None:
                more = False
                break
            # Without a budget there is nothing to search: the natural image is all.
            done = (jobs["best"].fooled & (stop == "fooled")) | (jobs["eps"][:, 0, 0, 0] == 0)
            if done.any():
                yield _take(jobs, done)
            waiting = _join(waiting, _take(jobs, ~done) | {"run": np.zeros(np.sum(~done), np.int32)})

        if _size(waiting) and slots is None:
            shape, size = waiting["image"].shape[1:], min(batch_size, _size(waiting))
            compiled = compiled_attack(model, attack, shape, stop)
            slots = Slots(compiled, attack, seed=seed, first=first, stop=stop, size=size)
        if slots is not None and not (more or on_gpu()):
            slots.shrink(_size(waiting) + (_size(reached) if attack.runs > 1 else 0))
        # Coming and going cost a few milliseconds, for one image as for many.
        few = max(1, batch_size // 16)
        if _size(waiting) and slots.free >= min(few, _size(waiting)):
            n = min(slots.free, _size(waiting))
            slots.enter(_take(waiting, slice(n)))
            waiting = _take(waiting, slice(n, None))

        if on_the_way():
            if steps:
                slots.advance(few)
            leaves = slots.fooled | slots.last if steps else slots.active
            if (leaves & ~slots.fooled).any() or leaves.sum() >= few or (leaves == slots.active).all():
                jobs = slots.leave(leaves)
                if (done := jobs["best"].fooled & (stop == "fooled")).any():
                    yield _take(jobs, done)
                reached = _join(reached, _take(jobs, ~done))

        # The points behind the last step need a verdict but no gradient: they are judged together.
        if _size(reached) >= batch_size or (_size(reached) and not on_the_way() and not _size(waiting)):
            _judge(model, reached, attack.samples)
            done = (reached["run"] + 1 == attack.runs) | (reached["best"].fooled & (stop == "fooled"))
            if done.any():
                yield _take(reached, done)
            again, reached = _take(reached, ~done), None
            waiting = _join(waiting, again | {"run": again["run"] + 1})
        if not (more or _size(waiting) or on_the_way() or _size(reached)):
            return


# What happens to jobs: dictionaries of arrays with an entry per image.


def _judge(model, jobs, samples):
    """The verdict on the jobs' last points, in place; the points are let go."""
    x = jobs.pop("x")
    best = better(jobs["best"], x, compiled_model(model, x.shape[1:], samples).judge(x, jobs["label"]))
    jobs["best"] = tf.nest.map_structure(np.asarray, best)


def _size(jobs):
    return 0 if jobs is None else len(jobs["index"])


def _take(jobs, which):
    return tf.nest.map_structure(lambda values: values[which], jobs)


def _join(jobs, more):
    if not _size(jobs) or not _size(more):
        return more if not _size(jobs) else jobs
    return {name: tf.nest.map_structure(_stack, jobs[name], more[name]) for name in jobs}


def _stack(*parts):
    return np.concatenate(parts)


def _fresh(model, image):
    """The model's `CompiledModel`, compiled anew if it answers otherwise than the model itself on a few images.

    What is compiled follows the model's variables, but not a Normalization that was adapted or loaded, nor an
    attribute or a layer that was exchanged. A nondeterministic model is compiled anew each time.
    """
    answer = model(image, training=False)
    validation.model_logits(model, answer)  # before anything is compiled: it may be no array
    if not agree(compiled_model(model, image.shape[1:]).logits(image), answer):
        forget(model)
    return compiled_model(model, image.shape[1:])


# The way in and the way out.

_PASSED_ON = ("index", "image", "label", "allowed", "natural_loss", "natural_correct", "clipped")
_PASSED_ON += ("steps", "evaluations", "queries")


def _arrivals(model, data, attack, region, batch_size, eps):
    """New jobs, a batch at a time, with their natural verdict; a natural error is also their best point so far."""
    first = 0
    for image, label, may_change in checked_batches(model, data, attack, batch_size, region):
        n = len(image)
        seen = compiled_model(model, image.shape[1:], attack.samples).judge(image, label)
        loss, fooled = seen.loss.numpy(), seen.fooled.numpy()
        budget = np.float32(eps[first : first + n] if np.ndim(eps) else np.full(n, eps))
        worst = np.where(fooled | (budget == 0), loss, np.float32(-np.inf))
        yield {
            "index": np.arange(first, first + n),
            "image": image,
            "label": label,
            "allowed": may_change,
            "eps": budget[:, None, None, None],
            "natural_loss": loss,
            "natural_correct": ~fooled,
            "best": Point(image, worst, fooled, np.zeros(n, bool)),
            "clipped": np.zeros(n, np.float32),
            "steps": np.zeros(n, np.int64),
            "evaluations": np.zeros(n, np.int64),
            "queries": np.zeros(n, np.int64),
        }
        first += n


def checked_batches(model, data, attack, batch_size, region):
    """The data as NumPy `(image, label, allowed)`, a batch at a time, checked."""
    validation.model(model)
    num_classes = None

    def check(image, label, mask):
        nonlocal num_classes
        validation.images(image)
        if mask is None:
            allowed(mask, image[:1], region)  # only to hear whether the region needs them
        else:
            validation.masks(mask, image)
        if num_classes is None:
            num_classes = validation.model_logits(model, _fresh(model, image[:8]).logits(image[:8]))
            attack.check_classes(num_classes)
        validation.labels(label, image, num_classes=num_classes)

    if isinstance(data, (tuple, list)):  # arrays are looked at as a whole, a stream as it comes
        for whole in batches(data, max(1, length(data))):
            check(*whole)
    for image, label, mask in batches(data, batch_size):
        check(image, label, mask)
        yield image, label.astype(np.int64), allowed(mask, image, region).numpy()
