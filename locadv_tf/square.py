"""Square in the mask: a search that asks for the model's logits only (Andriushchenko et al. 2020, arXiv:1912.00049)."""

import dataclasses

import keras
import tensorflow as tf

from locadv_tf import checks, norms
from locadv_tf.attacks import Attack
from locadv_tf.randomness import fold_in, uniform

# After these shares of all queries the squares' area is halved (appendix A of the paper).
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Square Attack for the L-infinity norm (Andriushchenko et al. 2020, algorithms 1 and 2), in the mask.

    Black-box: where it beats attacks with a gradient, the gradient was hidden, not the weakness gone. It starts at
    vertical stripes of ±eps, then sets random squares, per channel, to +eps or −eps and keeps what raises the margin.
    Squares hold a random pixel of the mask and change nothing outside it; their area is a share of the mask's.

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

    def __post_init__(self):
        super().__post_init__()
        checks.fraction(self.start_share, name="start_share")
        checks.count(self.queries, name="queries")
        checks.count(self.restarts, name="restarts")

    @property
    def name(self):
        return f"Square-{self.queries}" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def steps(self):
        return self.queries

    @property
    def structure(self):
        return Square(eps=0.0, start_share=self.start_share)

    def remember(self, model, fixed, restart, x):
        return {"top": x, "top_value": tf.zeros_like(fixed["label"], tf.float32)}

    def move(self, fixed, moving, seen):
        # The image itself and the stripes are taken as they are; from then on a point must be higher.
        k, taken = moving["k"], (moving["k"] <= 1) | (seen.value > moving["top_value"])
        top = tf.where(taken[:, None, None, None], moving["x"], moving["top"])
        top_value = tf.where(taken, seen.value, moving["top_value"])

        image, mask, eps = fixed["image"], fixed["mask"], fixed["eps"]
        n, height, width, channels = tf.unstack(tf.shape(image))
        key = fold_in(fixed["key"], k)
        window = square(mask, self._share(k, fixed["steps"]), key)
        signs = tf.sign(uniform((n, 1, 1, channels), fold_in(key, 1)) - 0.5)
        squares = tf.where(window, image + eps * signs, top)
        stripes = image + eps * tf.sign(uniform((n, 1, width, channels), fold_in(key, 2)) - 0.5)
        stripes = tf.broadcast_to(stripes, (n, height, width, channels))
        raw = tf.where(tf.broadcast_to(k == 0, [n])[:, None, None, None], stripes, squares)
        return raw, {"x": norms.project(raw, image, mask, eps), "top": top, "top_value": top_value}

    def _share(self, k, steps):
        """The squares' area now, as a share of the mask's."""
        done = tf.cast(k, tf.float32) / tf.cast(steps, tf.float32)
        halvings = tf.add_n([tf.cast(done > share, tf.float32) for share in HALVINGS])
        return self.start_share * 2.0**-halvings


def square(mask, share, key):
    """A random square that holds a random pixel of each mask, bool `(N, H, W, 1)`.

    Args:
        mask: bool `(N, H, W, 1)`.
        share: its area as a share of the mask's, a scalar or `(N,)`; the side is rounded to whole pixels, at least 1.
        key: uint32 `(N,)`.
    """
    n, height, width, _ = tf.unstack(tf.shape(mask))
    counted = tf.cumsum(tf.cast(tf.reshape(mask, (n, -1)), tf.int32), axis=1)  # each pixel's number in its mask
    area = counted[:, -1]
    chance = uniform((n, 1, 1, 3), key)[:, 0, 0]
    number = tf.cast(chance[:, 0] * tf.cast(area, tf.float32), tf.int32)
    pixel = tf.reduce_sum(tf.cast(counted <= number[:, None], tf.int32), axis=1)
    pixel = tf.minimum(pixel, height * width - 1)  # an empty mask has none
    side = tf.cast(tf.round(tf.sqrt(share * tf.cast(area, tf.float32))), tf.int32)
    side = tf.clip_by_value(side, 1, tf.minimum(height, width))

    def within(position, length, chance):
        lowest, highest = tf.maximum(position - side + 1, 0), tf.minimum(position, length - side)
        first = lowest + tf.cast(chance * tf.cast(highest - lowest + 1, tf.float32), tf.int32)
        offset = tf.range(length) - first[:, None]
        return (offset >= 0) & (offset < side[:, None])

    rows = within(pixel // width, height, chance[:, 1])
    columns = within(pixel % width, width, chance[:, 2])
    return (rows[:, :, None] & columns[:, None, :])[..., None]
