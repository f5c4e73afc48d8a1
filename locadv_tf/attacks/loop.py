"""The one loop that every attack runs in.

It alone keeps the rules, once for all methods: it projects to the ball and to [0, 1], puts the foreground back, stops
pixels whose gradient is broken and flags their image, compares points and counts clipped steps. A method (`PGD`,
`APGD`, `Square`) says where it starts, what it remembers and how it steps. One that forgets a rule cannot break it.

The same steps serve eager calls, `tf.function`, XLA and `train_step` (`search`), and `run_attack` (`begin`, `advance`,
`judge`), where each image has a step count of its own.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.randomness import fold_in

_EACH = [1, 2, 3]  # an image's axes


class Task(NamedTuple):
    """What an attack is asked for. It stays the same during a search.

    Attributes:
        image: float32 `(N, H, W, C)`.
        label: int64 `(N,)`.
        allowed: bool `(N, H, W, 1)`: where the attack may change the pixel.
        eps, alpha: budget and step size, scalars or `(N, 1, 1, 1)`.
        steps: how many steps, a scalar or `(N,)`.
        key: uint32 `(N,)`: what the image's random numbers in this run follow from.
        target: int64 `(N,)`: the class that each image should be taken for; None: any wrong class.
    """

    image: tf.Tensor
    label: tf.Tensor
    allowed: tf.Tensor
    eps: Any
    alpha: Any
    steps: Any
    key: tf.Tensor
    target: tf.Tensor | None = None


class Point(NamedTuple):
    """The best point of each image so far: `image` (N, H, W, C); `loss`, `fooled`, `nonfinite`, each (N,)."""

    image: tf.Tensor
    loss: tf.Tensor
    fooled: tf.Tensor
    nonfinite: tf.Tensor


class Search(NamedTuple):
    """What moves from step to step.

    Attributes:
        x: float32 `(N, H, W, C)`: the present point.
        k: float32 scalar or `(N,)`: steps taken that count. (GPUs add int32 numbers in the host's memory.)
        memory: what the method remembers: a tensor or a tuple of tensors with an entry per image, or ().
        best: the best `Point`.
        clipped: float32 `(N,)`: the share of allowed pixels that [0, 1] cut short, summed over the steps; () where
            nobody asks.
    """

    x: tf.Tensor
    k: tf.Tensor
    memory: Any
    best: Point
    clipped: Any = ()


def search(attack, model, image, label, allowed, *, seed, index, target=None):
    """All runs of an attack: from each start point through all steps. No checks; tensors only.

    Args:
        attack: an attack object; an ensemble's members run one after the other.
        model: a Keras model that maps float32 images in [0, 1] to logits.
        image, label, allowed, target: as in a `Task`.
        seed: integer scalar.
        index: integers `(N,)` that tell the images' random numbers apart.

    Returns:
        A `Point`. With `keep="last"` its `loss` and `fooled` are not filled in.
    """
    nobody = tf.zeros_like(label, tf.bool)
    best = Point(image, tf.fill(tf.shape(label), -float("inf")), nobody, nobody)
    first = 0
    for method in attack.members:

        def one_run(run, best, method=method, first=first):
            key = image_key(seed, index, first + run)
            task = Task(image, label, allowed, method.eps, method.alpha, float(method.steps), key, target)
            return run + 1, _climb(method, model, task, run, best)

        _, best = tf.while_loop(lambda run, _, method=method: run < method.runs, one_run, (tf.constant(0), best))
        first += method.runs
    return Point(*map(tf.stop_gradient, best))


def _climb(method, model, task, run, best):
    s = begin(method, model, task, run, best)
    if method.steps:
        (s,) = tf.while_loop(
            lambda s: s.k < method.steps, lambda s: (advance(method, model, task, s, keep=method.keep),), (s,)
        )
    if method.keep == "last":
        return s.best._replace(image=s.x)
    return judge(model, task, s.x, s.best, samples=method.samples)


def begin(method, model, task, run, best, *, k=0.0, clipped=()):
    """The start of a run: the `Search` at the image itself or at a random point of the ball."""
    x = balls.project(method.start(task), task.image, task.allowed, task.eps, method.norm)  # rule 3: the start, too
    return Search(x, tf.convert_to_tensor(k), method.memory(model, task, run, x), best, clipped)


def advance(method, model, task, s, *, keep="best", stop="worst"):
    """A look at the present point, which may be the best so far, and one step from there.

    With `stop="fooled"` nothing that happens after the first point that fools counts for an image.
    """
    return take_step(method, task, s, look(method, model, task, s), keep=keep, stop=stop)


def take_step(method, task, s, seen, *, keep="best", stop="worst"):
    """One step of a method, from what the model said at the present point."""
    counts = ~s.best.fooled if stop == "fooled" else tf.ones_like(s.best.fooled)
    eligible = counts & (s.k > 0)  # the start is no candidate
    best = better(s.best, s.x, seen, eligible) if keep == "best" else s.best

    sound = True
    if seen.gradient is not None:  # rule 10: only finite gradients are followed, and only where a change is allowed
        sound = tf.math.is_finite(seen.gradient)
        seen = seen._replace(gradient=tf.where(sound & task.allowed, seen.gradient, 0.0))
    raw, memory = method.step(task, s, seen)
    sound &= tf.math.is_finite(raw)
    best = best._replace(nonfinite=best.nonfinite | (counts & ~tf.reduce_all(sound, _EACH)))

    # Rules 1 to 3: into the ball, into [0, 1], and the image itself where no change is allowed.
    ball = balls.to_ball(tf.where(sound, raw, s.x), task.image, task.allowed, task.eps, method.norm)
    x = balls.to_range(ball, task.image, task.allowed)
    clipped = s.clipped
    if not isinstance(clipped, tuple):
        clipped += tf.where(counts, share_of(x != ball, task.allowed), 0.0)
    k = s.k + (tf.cast(counts, tf.float32) if stop == "fooled" else 1.0)
    return Search(x, k, memory, best, clipped)


def look(method, model, task, s):
    """What the model says at the present point, a `losses.Response`: the mean of `method.samples` looks."""
    ask = losses.respond_with_gradient if method.uses_gradient else losses.respond
    return ask(model, s.x, task.label, task.target, climb=method.loss, aim=method.aim(s), samples=method.samples)


def judge(model, task, x, best, *, samples=1):
    """The best `Point`, the last one included, which has had no look yet."""
    return better(best, x, losses.respond(model, x, task.label, task.target, samples=samples))


def better(best, x, seen, eligible=True):
    """Per image the better of `best` and the point `x`: fooled before not fooled, then the higher loss."""
    higher = (seen.fooled == best.fooled) & ~(seen.loss <= best.loss)  # so written that a NaN loss counts as high
    wins = eligible & ((seen.fooled & ~best.fooled) | higher)
    return best._replace(
        image=tf.where(wins[:, None, None, None], x, best.image),
        loss=tf.where(wins, seen.loss, best.loss),
        fooled=tf.where(wins, seen.fooled, best.fooled),
    )


def image_key(seed, index, run):
    """What an image's random numbers in one run follow from, uint32 `(N,)`."""
    return fold_in(fold_in(fold_in(0, seed), index), run)


def share_of(pixels, allowed):
    """Per image the share of the allowed values that are true in `pixels`, `(N,)`; 0 where none is allowed."""
    count = tf.reduce_sum(tf.cast(pixels & allowed, tf.float32), axis=_EACH)
    area = tf.reduce_sum(tf.cast(allowed, tf.float32), axis=_EACH) * tf.cast(tf.shape(pixels)[-1], tf.float32)
    return tf.math.divide_no_nan(count, area)
