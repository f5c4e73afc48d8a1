"""The ball that an attack stays in: a random point of it, a step uphill, the way back into it.

For the L-infinity norm the mask does not matter until the end; for the L2 norm everything happens in the subspace of
the mask's pixels, so that pixels which must not move use up neither step nor budget.
"""

import tensorflow as tf

from locadv_tf.attacks.randomness import fold_in, uniform

NORMS = ("linf", "l2")
_EACH = [1, 2, 3]  # an image's axes


def random_point(image, mask, eps, key, norm="linf"):
    """A random point of the ball: uniform in the cube (L-infinity), or in a random direction at a uniform distance."""
    noise = 2.0 * uniform(tf.shape(image), key) - 1.0
    if norm == "l2":
        distance = uniform((tf.shape(image)[0], 1, 1, 1), fold_in(key, 1))
        noise = distance * direction(noise, mask, norm)
    return project(image + eps * noise, image, mask, eps, norm)


def direction(gradient, mask, norm="linf"):
    """Where to step, of size 1 in the norm; a pixel without a finite gradient stays."""
    finite = tf.math.is_finite(gradient)
    if norm == "linf":
        return tf.where(finite, tf.sign(gradient), 0.0)
    inside = tf.where(finite & mask, gradient, 0.0)
    # Divided by its largest entry first: squares of tiny gradients would underflow.
    inside = tf.math.divide_no_nan(inside, tf.reduce_max(tf.abs(inside), axis=_EACH, keepdims=True))
    return tf.math.divide_no_nan(inside, _length(inside))


def project(x, image, mask, eps, norm="linf"):
    """Π: to the eps-ball around `image`, to [0, 1], and back to `image`, bit for bit, where the mask is 0."""
    return tf.where(mask, tf.clip_by_value(_to_ball(x, image, mask, eps, norm), 0.0, 1.0), image)


def cut_share(x, image, mask, eps, norm="linf"):
    """Per image the share of the mask's pixels whose step the budget allows and the range [0, 1] does not: `(N,)`."""
    x = _to_ball(x, image, mask, eps, norm)
    cut = tf.cast(mask & (x != tf.clip_by_value(x, 0.0, 1.0)), tf.float32)
    area = tf.reduce_sum(tf.cast(mask, tf.float32), axis=_EACH) * tf.cast(tf.shape(x)[-1], tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(cut, axis=_EACH), area)


def _to_ball(x, image, mask, eps, norm):
    if norm == "linf":
        return tf.clip_by_value(x, image - eps, image + eps)
    change = tf.where(mask, x - image, 0.0)
    return image + change * tf.minimum(1.0, tf.math.divide_no_nan(eps, _length(change)))


def _length(x):
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=_EACH, keepdims=True))
