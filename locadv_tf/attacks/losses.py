"""What an attack climbs, and what counts as fooled: functions of the logits, an entry per image.

Every attack is judged alike, by cross-entropy and the predicted class. On its way it may climb another loss, with a
better gradient where the model is confident.
"""

from typing import NamedTuple

import tensorflow as tf

from locadv_tf import validation

# Gradients are returned times this: in float32 those of a confident model underflow later. A power of two changes no
# gradient's sign.
GRADIENT_SCALE = 2.0**12

# The largest gradient of an image's logits on its way back through the model. Between 6e-8 and 65504, which is all that
# float16 holds, it leaves a factor of 256 to the top and more to the bottom, where sign(0) = 0 would stop the attack.
LARGEST_GRADIENT = 2.0**8

LOSSES = ("cross-entropy", "margin", "dlr")


class Response(NamedTuple):
    """What a model says at a point, an entry per image.

    Attributes:
        loss: float32 `(N,)`: cross-entropy of the true label (for a target: minus that of the target).
        fooled: bool `(N,)`: another class than the label is predicted (for a target: the target is).
        value: float32 `(N,)`: what the attack climbs; `loss` itself unless it asked for something else.
        gradient: float32 `(N, H, W, C)`: that of `value` in the image, times `GRADIENT_SCALE`; None unless asked for.
    """

    loss: tf.Tensor
    fooled: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor | None = None


def respond(model, x, label, target=None, *, climb="cross-entropy", aim=None, samples=1):
    """One forward pass at `x`, or the mean of several (`mean`).

    Args:
        model: a Keras model that returns logits.
        x: float32 `(N, H, W, C)`; `label`: int64 `(N,)`.
        target: int64 `(N,)`, the class that each image should be taken for; None: any wrong one will do.
        climb: one of `LOSSES`.
        aim: int64 `(N,)`, the class to climb towards where any wrong one will do; None: no class in particular.
        samples: how many passes: more than one for a model that is random on purpose.

    Returns:
        A `Response` without a gradient.

    Raises:
        ValueError: for a model that returns no logits, or too few classes for the loss.
    """
    return mean([judged(_logits(model, x), label, target, climb=climb, aim=aim) for _ in range(samples)])


def _logits(model, x):
    logits = model(x, training=False)  # batch-norm statistics do not move and dropout is off
    validation.model_logits(model, logits)
    return tf.cast(logits, tf.float32)


def judged(logits, label, target=None, *, climb="cross-entropy", aim=None):
    """What float32 logits `(N, classes)` say, a `Response` without a gradient; arguments as for `respond`."""
    predicted = tf.argmax(logits, axis=-1)
    if target is None:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        fooled = (predicted != label) | ~tf.math.is_finite(loss)  # NaN logits are no right answer
    else:
        loss, fooled = -tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits), predicted == target
    aim = target if aim is None else aim
    if climb == "cross-entropy":
        value = loss if aim is target else -tf.nn.sparse_softmax_cross_entropy_with_logits(aim, logits)
    elif climb == "margin":
        value = margin(logits, label, aim)
    else:
        value = dlr(logits, label, aim)
    return Response(loss, fooled, value)


def respond_with_gradient(model, x, label, target=None, *, climb="cross-entropy", aim=None, samples=1):
    """One forward and one backward pass at `x`, or the mean of several; arguments as for `respond`.

    Raises:
        ValueError: also for a model that cuts the gradient off: zeros in its place would look like robustness.
    """

    def look(x):
        return _respond_with_gradient(model, x, label, target, climb, aim)

    if not tf.executing_eagerly():
        # In a graph it is a function of its own that is never inlined. TensorFlow's oneDNN pass goes by the order of a
        # graph's nodes, and in a loop it left MaxPoolGrad to a slow kernel in two traces of three: half as long again.
        # All samples call this one: after `tf.random.set_seed`, functions that are built alike draw alike.
        alone = tf.function(look, autograph=False, experimental_attributes={"_noinline": True})
        look = alone.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    return mean([look(x) for _ in range(samples)])


def _respond_with_gradient(model, x, label, target, climb, aim):
    def look(logits):
        seen = judged(logits, label, target, climb=climb, aim=aim)
        return seen.value, seen

    response, gradient = input_gradient(model, x, look)
    if gradient is None:
        raise ValueError(
            "no gradient flows from the loss back to the image; expected a model that is differentiable in its input. "
            "Is there a tf.round, tf.argmax, tf.stop_gradient or NumPy in it? Attack a differentiable stand-in (see "
            "notebooks/05_evaluation_pitfalls.ipynb), or without a gradient: Square."
        )
    return response._replace(gradient=gradient)


def mean(looks):
    """The mean of several `Response`s at the same point, of a nondeterministic model; fooled is what most of them say.

    The gradient of the expected loss is the mean gradient (Athalye et al. 2018, arXiv:1707.07397, section 3.2).
    """
    if len(looks) == 1:
        return looks[0]
    loss, value = (tf.add_n([getattr(seen, name) for seen in looks]) / len(looks) for name in ("loss", "value"))
    votes = tf.add_n([tf.cast(seen.fooled, tf.float32) for seen in looks])
    gradient = None if looks[0].gradient is None else tf.add_n([seen.gradient for seen in looks]) / len(looks)
    return Response(loss, votes > len(looks) / 2, value, gradient)


def input_gradient(model, x, look):
    """The gradient of a number per image in the images, times `GRADIENT_SCALE`.

    Args:
        model: a Keras model that returns logits.
        x: float32 `(N, H, W, C)`.
        look: a function of the float32 logits `(N, classes)` that returns `(value, seen)`: a number per image, `(N,)`,
            and anything else.

    Returns:
        `(seen, gradient)`: the gradient is float32 `(N, H, W, C)`, or None where nothing flows back to the images.
    """
    with tf.GradientTape(watch_accessed_variables=False) as through_the_model:
        through_the_model.watch(x)
        logits = _logits(model, x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(logits)
        value, seen = look(logits)
        total = tf.reduce_sum(value)  # a sum: no image's gradient depends on its neighbours
    of_logits = tape.gradient(total, logits)
    size = _power_of_two(tf.reduce_max(tf.abs(of_logits), axis=-1, keepdims=True))
    scaled = of_logits * (LARGEST_GRADIENT / size)
    gradient = through_the_model.gradient(logits, x, output_gradients=scaled)
    back = (GRADIENT_SCALE / LARGEST_GRADIENT) * size[:, :, None, None]
    return seen, None if gradient is None else gradient * back


def _power_of_two(x):
    """The largest power of two that is at most x, and at least 2**-100: float32 without its fraction."""
    exponent = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), 0x7F800000)
    return tf.maximum(tf.bitcast(exponent, tf.float32), 2.0**-100)


def margin(logits, label, aim=None):
    """By how much the best wrong logit exceeds the label's (Carlini & Wagner 2017, arXiv:1608.04644, f₆ without κ).

    max_{i ≠ y} z_i − z_y, positive where the model is wrong; with an aim t: z_t − max_{i ≠ t} z_i.

    Example:
        >>> margin(tf.constant([[3.0, 1.0, 0.0]]), tf.constant([0], tf.int64)).numpy().tolist()
        [-2.0]
    """
    chosen = label if aim is None else aim
    towards = _logit(logits, chosen) - _best_other(logits, chosen)
    return -towards if aim is None else towards


def dlr(logits, label, aim=None):
    """Difference of logits ratio (Croce & Hein 2020, arXiv:2003.01690, eq. 6 and 7): blind to the logits' scale.

    With z_π1 ≥ z_π2 ≥ … the sorted logits: −(z_y − max_{i ≠ y} z_i) / (z_π1 − z_π3); with an aim t:
    −(z_y − z_t) / (z_π1 − (z_π3 + z_π4) / 2).

    Raises:
        ValueError: for fewer than three classes, four with an aim.

    Example:
        >>> print(dlr(tf.constant([[3.0, 1.0, 0.0]]), tf.constant([0], tf.int64)).numpy().round(3))
        [-0.667]
    """
    check_classes("dlr", logits.shape[-1], aimed=aim is not None)
    largest = tf.math.top_k(logits, 3 if aim is None else 4).values
    if aim is None:
        return margin(logits, label) / (largest[:, 0] - largest[:, 2] + 1e-12)
    gap = _logit(logits, aim) - _logit(logits, label)
    return gap / (largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + 1e-12)


def check_classes(loss, num_classes, *, aimed):
    """Raises a `ValueError` if the model has too few classes for a loss, `aimed` at a class or not."""
    needed = 4 if aimed else 3
    if loss == "dlr" and num_classes < needed:
        raise ValueError(
            f"loss='dlr' needs {needed} classes{' for a target' if aimed else ''}, the model has {num_classes}; use "
            "loss='margin'."
        )


def likely_wrong(logits, label, rank):
    """The wrong class of each image with the `rank`-th largest logit, counted from 0; int64 `(N,)`.

    Args:
        logits: `(N, classes)`; `label`: int64 `(N,)`; `rank`: integer or integers `(N,)`.

    Example:
        >>> likely_wrong(tf.constant([[3.0, 1.0, 2.0]]), tf.constant([0], tf.int64), 0).numpy().tolist()
        [2]
    """
    wrong = tf.where(_is(logits, label), -float("inf"), tf.cast(logits, tf.float32))
    order = tf.argsort(wrong, axis=-1, direction="DESCENDING", stable=True)
    rank = tf.broadcast_to(tf.cast(rank, tf.int64), tf.shape(label, tf.int64))
    return tf.cast(tf.gather(order, rank, batch_dims=1), tf.int64)


def _is(logits, label):
    return tf.range(logits.shape[-1], dtype=tf.int64) == label[:, None]


def _logit(logits, label):
    return tf.gather(logits, label, batch_dims=1)


def _best_other(logits, label):
    return tf.reduce_max(tf.where(_is(logits, label), -float("inf"), logits), axis=-1)
