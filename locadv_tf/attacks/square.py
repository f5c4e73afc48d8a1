"""Square in the mask: a search that asks for the model's logits only (Andriushchenko et al. 2020, arXiv:1912.00049)."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.randomness import fold_in, uniform

# After these shares of all queries the squares' area is halved (appendix A of the paper).
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class Memory(NamedTuple):
    """The best point `x` so far, its margin `value`, the squares' `share` of the mask's area and their `Places`."""

    x: tf.Tensor
    value: tf.Tensor
    share: tf.Tensor
    places: "Places"


class Places(NamedTuple):
    """Where a square may lie.

    Attributes:
        side: int32 `(N,)`: its side in pixels.
        held: float64 `(N, H·W)`: how many pixels of the mask the squares at this place and at those before it hold.
    """

    side: tf.Tensor
    held: tf.Tensor


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Square Attack for the L-infinity norm (Andriushchenko et al. 2020, algorithms 1 and 2), in the mask.

    Black-box: if it beats attacks with a gradient, then the gradient was hidden; the model is not robust. It starts at
    vertical stripes of ±eps. Then it sets random squares, per channel, to +eps or −eps, and keeps what raises the
    margin. Squares hold pixels of the mask and change nothing outside it; their area is a share of the mask's.

    Args:
        eps: the budget, in pixel units of [0, 1].
        queries: how many points the model is asked about.
        start_share: the squares' area at first, as a share of the mask's area (p in the paper).
        restarts: how often to start anew.

    Raises:
        ValueError: for a budget, share or count out of range.

    Example:
        >>> print(Square(eps=0.1))
        Square-5000, eps = 25.5/255
    """

    queries: int = 5000
    start_share: float = 0.8
    restarts: int = 1

    loss = "margin"
    uses_gradient = False
    in_task = ("eps", "queries", "restarts")

    def __post_init__(self):
        super().__post_init__()
        validation.fraction(self.start_share, name="start_share")
        validation.count(self.queries, name="queries")
        validation.count(self.restarts, name="restarts")

    @property
    def name(self):
        return f"Square-{self.queries}" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def steps(self):
        return self.queries

    def memory(self, model, task, run, x):
        share = tf.fill(tf.shape(task.label), self.start_share)
        return Memory(x, tf.zeros_like(share), share, places(task.allowed, share))

    def step(self, task, s, seen):
        # The image itself and the stripes are taken as they are; from then on a point must be higher.
        taken = (s.k <= 1) | (seen.value > s.memory.value)
        x = tf.where(taken[:, None, None, None], s.x, s.memory.x)
        value = tf.where(taken, seen.value, s.memory.value)

        share = self._share(s.k, task.steps) + tf.zeros_like(value)
        changed = tf.reduce_any(share != s.memory.share)  # a few times in thousands of steps
        where = tf.cond(changed, lambda: places(task.allowed, share), lambda: s.memory.places)
        where = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), where, s.memory.places)
        key = fold_in(task.key, s.k)
        image, eps, first = task.image, task.eps, s.k == 0
        n, channels = tf.shape(image)[0], image.shape[-1]
        window = square(task.allowed, where, key)
        signs = tf.sign(uniform((n, 1, 1, channels), fold_in(key, 1)) - 0.5)
        # A query must not be spent on the point that is there already: then the other signs. (The paper draws anew.)
        there = (x == tf.clip_by_value(image + eps * signs, 0.0, 1.0)) | ~(window & task.allowed)
        idle = tf.reduce_all(there, axis=(1, 2, 3), keepdims=True)
        squares = tf.where(window, image + eps * tf.where(idle, -signs, signs), x)

        def begun():
            signs = tf.sign(uniform((n, 1, tf.shape(image)[2], channels), fold_in(key, 2)) - 0.5)
            return tf.where(tf.broadcast_to(first, [n])[:, None, None, None], image + eps * signs, squares)

        return tf.cond(tf.reduce_any(first), begun, lambda: squares), Memory(x, value, share, where)

    def _share(self, k, steps):
        """The squares' area now, as a share of the mask's."""
        done = k / steps
        halvings = tf.add_n([tf.cast(done > share, tf.float32) for share in HALVINGS])
        return self.start_share * 2.0**-halvings


def places(mask, share):
    """The `Places` for squares in masks, bool `(N, H, W, 1)`.

    Their area is `share` of the mask's, a scalar or `(N,)`; the side is rounded to whole pixels, at least 1. Each place
    is as likely as the square there holds pixels of the mask: all alike in the full mask.
    """
    n, height, width, _ = tf.unstack(tf.shape(mask))
    inside = tf.cast(mask[..., 0], tf.float32)
    area = tf.reduce_sum(inside, axis=(1, 2))
    side = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(share * area)), tf.int32), 1, tf.minimum(height, width))

    def covers(length):
        """`(N, first, pixel)`: 1 for the pixels along one axis that a square from `first` on holds."""
        first = tf.range(length)
        fits = first[:, None] <= length - side[:, None, None]
        return tf.cast(_from(first[None], side[:, None], length) & fits, tf.float32)

    counts = covers(height) @ inside @ tf.linalg.matrix_transpose(covers(width))
    held = tf.cumsum(tf.reshape(tf.cast(counts, tf.float64), (n, -1)), axis=1)  # whole numbers, beyond float32's
    return Places(side, held)


def square(mask, places, key):
    """A random square that holds pixels of the mask, bool `(N, H, W, 1)`.

    Args:
        mask: bool `(N, H, W, 1)`; `places`: its `Places`; `key`: uint32 `(N,)`.
    """
    n, height, width, _ = tf.unstack(tf.shape(mask))
    chance = tf.cast(uniform((n, 1, 1, 1), key)[:, 0, 0], tf.float64)
    place = tf.searchsorted(places.held, chance * places.held[:, -1:], side="right")[:, 0]
    place = tf.minimum(place, height * width - 1)  # an empty mask has none
    rows, columns = _from(place // width, places.side, height), _from(place % width, places.side, width)
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _from(first, side, length):
    """Which pixels along an axis `side` pixels from `first` on are, bool `(..., length)`."""
    pixel = tf.range(length)
    return (pixel >= first[..., None]) & (pixel < (first + side)[..., None])
