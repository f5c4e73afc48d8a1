"""Square in the mask: a search that asks for the model's logits only (Andriushchenko et al. 2020, arXiv:1912.00049)."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.randomness import fold_in, uniform

# After these shares of all queries the squares' area is halved (appendix A of the paper).
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class Memory(NamedTuple):
    """The best point so far and its margin."""

    x: tf.Tensor
    value: tf.Tensor


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
        return Memory(x, tf.zeros_like(task.label, tf.float32))

    def step(self, task, s, seen):
        # The image itself and the stripes are taken as they are; from then on a point must be higher.
        taken = (s.k <= 1) | (seen.value > s.memory.value)
        x = tf.where(taken[:, None, None, None], s.x, s.memory.x)
        value = tf.where(taken, seen.value, s.memory.value)

        image, eps = task.image, task.eps
        n, height, width, channels = tf.unstack(tf.shape(image))
        key = fold_in(task.key, s.k)
        window = square(task.allowed, self._share(s.k, task.steps), key)
        signs = tf.sign(uniform((n, 1, 1, channels), fold_in(key, 1)) - 0.5)
        # A query must not be spent on the point that is there already: then the other signs. (The paper draws anew.)
        moved = balls.project(tf.where(window, image + eps * signs, x), image, task.allowed, eps)
        idle = tf.reduce_all(moved == x, axis=(1, 2, 3), keepdims=True)
        squares = tf.where(window, image + eps * tf.where(idle, -signs, signs), x)
        stripes = image + eps * tf.sign(uniform((n, 1, width, channels), fold_in(key, 2)) - 0.5)
        stripes = tf.broadcast_to(stripes, (n, height, width, channels))
        first = tf.broadcast_to(s.k == 0, [n])[:, None, None, None]
        return tf.where(first, stripes, squares), Memory(x, value)

    def _share(self, k, steps):
        """The squares' area now, as a share of the mask's."""
        done = k / steps
        halvings = tf.add_n([tf.cast(done > share, tf.float32) for share in HALVINGS])
        return self.start_share * 2.0**-halvings


def square(mask, share, key):
    """A random square that holds pixels of the mask, bool `(N, H, W, 1)`.

    Each place in the image is as likely as the square there holds pixels of the mask: all alike in the full mask.

    Args:
        mask: bool `(N, H, W, 1)`.
        share: its area as a share of the mask's, a scalar or `(N,)`; the side is rounded to whole pixels, at least 1.
        key: uint32 `(N,)`.
    """
    n, height, width, _ = tf.unstack(tf.shape(mask))
    inside = tf.cast(mask[..., 0], tf.float32)
    area = tf.reduce_sum(inside, axis=(1, 2))
    side = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(share * area)), tf.int32), 1, tf.minimum(height, width))

    def held(length):
        """`(N, first, pixel)`: 1 for the pixels along one axis that a square from `first` on holds."""
        first, pixel = tf.range(length)[:, None], tf.range(length)
        size = side[:, None, None]
        return tf.cast((pixel >= first) & (pixel < first + size) & (first <= length - size), tf.float32)

    rows, columns = held(height), held(width)
    counts = rows @ inside @ tf.linalg.matrix_transpose(columns)  # of the mask's pixels in the square at each place
    total = tf.cumsum(tf.reshape(tf.cast(counts, tf.float64), (n, -1)), axis=1)  # whole numbers, beyond float32's
    chance = tf.cast(uniform((n, 1, 1, 1), key)[:, 0, 0], tf.float64)
    place = tf.reduce_sum(tf.cast(total <= chance * total[:, -1:], tf.int32), axis=1)
    place = tf.minimum(place, height * width - 1)  # an empty mask has none
    row = tf.gather(rows, place // width, batch_dims=1)
    column = tf.gather(columns, place % width, batch_dims=1)
    return (row[:, :, None] * column[:, None, :] > 0)[..., None]
