"""What lies on an attack's way: the points that it asks the model about, and where ten more steps would lead.

After two of the indicators of Pintor et al. (2022, arXiv:2106.09947): *silent success*, an adversarial point was passed
on the way and not handed in; and *incomplete optimization*, the loss still rises at the end.
"""

import contextlib

import numpy as np
import tensorflow as tf

from locadv_tf.attacks import loop
from locadv_tf.attacks.pgd import PGD


class Way:
    """The points at which an attack asks a model about a whole batch of images.

    Attributes:
        looks: how many such points there were; points in a graph, or of other images, are not seen.
        fooled: bool `(N,)`: whether a point within the rules (mask, budget, range) fooled the model.
    """

    def __init__(self, image, label, mask, *, eps, norm):
        self.image, self.label, self.mask, self.eps, self.norm = image, label, mask, eps, norm
        self.looks, self.fooled = 0, np.zeros(len(label), bool)

    @contextlib.contextmanager
    def watched(self, model):
        """The model tells what it is asked, for as long as this lasts; it stays the same object."""
        own, inner = vars(model).get("call"), model.call

        def call(x, *args, **kwargs):
            answer = inner(x, *args, **kwargs)
            training = kwargs.get("training", args[0] if args else None)
            if not training and isinstance(answer, tf.Tensor) and hasattr(answer, "numpy"):
                self.see(np.asarray(x), answer.numpy())
            return answer

        # Past Keras's own bookkeeping of attributes: it may be locked.
        object.__setattr__(model, "call", call)
        try:
            yield
        finally:
            object.__delattr__(model, "call")
            if own is not None:
                object.__setattr__(model, "call", own)

    def see(self, x, logits):
        """Keeps whether a point fools."""
        if x.shape != self.image.shape or x.dtype != self.image.dtype:  # cast, it is no longer what was asked
            return
        self.looks += 1
        legal = within_rules(x, self.image, self.mask, eps=self.eps, norm=self.norm)
        self.fooled |= legal & ~is_right(logits, self.label)


def is_right(logits, label):
    """Which images get their class, bool `(N,)`. Logits that are not finite are a wrong answer."""
    return (np.argmax(logits, axis=-1) == label) & np.isfinite(logits).all(axis=-1)


def sizes(change, norm):
    """How far each image moved, `(N,)`: its largest change, or with `norm="l2"` the change's length."""
    axes = (1, 2, 3)
    return np.abs(change).max(axis=axes) if norm == "linf" else np.sqrt((change**2).sum(axis=axes))


def within_budget(size, eps):
    """Whether a change is at most eps, up to rounding; NaN is not."""
    return size <= eps * (1 + 1e-5) + 1e-6


def within_rules(x, image, mask, *, eps, norm):
    """Which points keep to the mask, the budget and the range [0, 1], bool `(N,)`."""
    kept = ((x == image) | mask) & (x >= 0) & (x <= 1)
    return kept.all(axis=(1, 2, 3)) & within_budget(sizes(x - image, norm), eps)


def climb_on(model, x, image, label, mask, *, eps, norm, climb, steps):
    """The highest loss on some steps of PGD from where an attack ended: float32 `(N,)`, the end itself included.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits.
        x, image: float32 `(N, H, W, C)`, the end and the ball's centre; label: int64 `(N,)`; mask: bool `(N, H, W, 1)`.
        eps, norm: the ball; climb: the loss that is climbed. Points are compared by cross-entropy, as in `PGD`.
        steps: how many, at least one.

    Returns:
        `(end, best)`: the loss at the end, and the highest one from there on.
    """
    x, image, label, mask = map(tf.constant, (x, image, label, mask))
    method = PGD(eps=eps, norm=norm, loss=climb, steps=steps, random_start=False)
    task = loop.Task(image, label, mask, method.eps, method.alpha, float(steps), key=None)  # nothing is drawn
    nobody = tf.zeros_like(label, tf.bool)
    s = loop.Search(x, tf.constant(0.0), (), loop.Point(x, tf.zeros(len(label)), nobody, nobody))
    seen = loop.look(method, model, task, s)
    end = best = seen.loss
    for _ in range(steps):
        s = loop.take_step(method, task, s, seen, keep="last")
        seen = loop.look(method, model, task, s)
        best = tf.maximum(best, seen.loss)
    return end.numpy(), best.numpy()
