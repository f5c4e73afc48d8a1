"""The ball that an attack stays in: a random point of it, a step uphill, the way back into it.

For the L-infinity norm what is allowed does not matter until the end. For the L2 norm everything happens in the
subspace of the allowed pixels: pixels that must not move use up neither step nor budget.
"""

import tensorflow as tf

from locadv_tf.attacks.randomness import fold_in, uniform

NORMS = ("linf", "l2")
# The largest budget. No image of fewer than 10^8 values is longer, and larger numbers would overflow when squared.
LARGEST = {"linf": 1.0, "l2": 1e4}
_EACH = [1, 2, 3]  # an image's axes


def random_point(image, allowed, eps, key, norm="linf"):
    """A random point of the ball: uniform in the cube (L-infinity), or in a random direction at a uniform distance."""
    noise = 2.0 * uniform(tf.shape(image), key) - 1.0
    if norm == "l2":
        distance = uniform((tf.shape(image)[0], 1, 1, 1), fold_in(key, 1))
        noise = distance * direction(tf.where(allowed, noise, 0.0), norm)
    return project(image + eps * noise, image, allowed, eps, norm)


def surface_point(image, allowed, eps, key, norm="linf"):
    """A random point as far away as the budget allows: ±eps on each pixel (L-infinity), or a change of length eps."""
    coins = uniform(tf.shape(image), key) - 0.5
    return project(image + eps * direction(tf.where(allowed, coins, 0.0), norm), image, allowed, eps, norm)


def direction(gradient, norm="linf"):
    """Where to step, of size 1 in the norm. The gradient is finite, and 0 where no change is allowed."""
    if norm == "linf":
        return tf.sign(gradient)
    # Divided by its largest entry first: squares of tiny gradients would underflow.
    scaled = tf.math.divide_no_nan(gradient, tf.reduce_max(tf.abs(gradient), axis=_EACH, keepdims=True))
    return tf.math.divide_no_nan(scaled, _length(scaled))


def unit_l1(gradient):
    """The gradient over its L1 norm; 0 where that is 0."""
    return tf.math.divide_no_nan(gradient, tf.reduce_sum(tf.abs(gradient), axis=_EACH, keepdims=True))


def project(x, image, allowed, eps, norm="linf"):
    """Π: to the eps-ball around `image`, to [0, 1], and back to `image`, bit for bit, where no change is allowed."""
    return to_range(to_ball(x, image, allowed, eps, norm), image, allowed)


def to_ball(x, image, allowed, eps, norm="linf"):
    """The first half of Π: to the eps-ball around `image`."""
    if norm == "linf":
        return tf.clip_by_value(x, image - eps, image + eps)
    change = tf.where(allowed, x - image, 0.0)
    return image + change * tf.minimum(1.0, tf.math.divide_no_nan(eps, _length(change)))


def to_range(x, image, allowed):
    """The second half of Π: to [0, 1], and back to `image`, bit for bit, where no change is allowed."""
    return tf.where(allowed, tf.clip_by_value(x, 0.0, 1.0), image)


def size(change, norm="linf"):
    """How large a change is in the norm, `(N,)`."""
    return tf.reduce_max(tf.abs(change), axis=_EACH) if norm == "linf" else _length(change)[:, 0, 0, 0]


def dual_size(gradient, norm="linf"):
    """By how much a change of size 1 in the norm can raise a linear function of this gradient, `(N,)`."""
    return tf.reduce_sum(tf.abs(gradient), axis=_EACH) if norm == "linf" else _length(gradient)[:, 0, 0, 0]


def _length(x):
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=_EACH, keepdims=True))
