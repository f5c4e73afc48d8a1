"""Bad input gets a clear `ValueError` before any work: what was passed, what was expected, what to do.

Shapes and dtypes are always checked. Values are checked only if they are concrete (eager tensors and arrays), so these
checks do not slow down a compiled training step.
"""

import math
import numbers
import sys

import numpy as np
import tensorflow as tf

OVERSHOOT = 0.1  # how far bicubic resizing may leave [0, 1]: such images want clipping, not another scale
REGIONS = ("background", "foreground", "full")


def images(x, *, name="image"):
    """Checks a batch of images and returns it unchanged.

    Args:
        x: float32 `(N, H, W, C)` in [0, 1], a tensor or an array.
        name: its name in the message.

    Raises:
        ValueError: for another rank or dtype, values outside [0, 1] (such as 0-255), NaN, or channels first (NCHW).

    Example:
        >>> images(np.full((2, 8, 8, 1), 7, "uint8"))
        Traceback (most recent call last):
        ...
        ValueError: image has dtype uint8; expected float32 in [0, 1]. Use tf.cast(image, tf.float32) / 255.
    """
    dtype, shape = tf.as_dtype(x.dtype), tuple(x.shape)
    if dtype.is_integer or dtype.is_bool:
        raise ValueError(
            f"{name} has dtype {dtype.name}; expected float32 in [0, 1]. Use tf.cast({name}, tf.float32) / 255."
        )
    if dtype != tf.float32:
        raise ValueError(f"{name} has dtype {dtype.name}; expected float32. Use tf.cast({name}, tf.float32).")
    if len(shape) != 4:
        raise ValueError(
            f"{name} has shape {shape}; expected (N, H, W, C), a batch of images with their channels last. "
            f"For one image add the batch axis: {name}[None]."
        )
    if shape[1] in (1, 3) and shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{name} has shape {shape}, which looks like channels first (NCHW); expected (N, H, W, C). "
            f"Use tf.transpose({name}, [0, 2, 3, 1])."
        )
    if (values := _concrete(x)) is not None and values.size:
        low, high = values.min(), values.max()
        if not np.isfinite([low, high]).all():
            raise ValueError(f"{name} holds NaN or infinite values; expected finite values in [0, 1].")
        if low < 0 or high > 1:
            if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
                fix = f"Resizing and rounding go a little beyond. Use tf.clip_by_value({name}, 0, 1)."
            elif low >= 0 and high > 2:
                fix = f"Divide by 255: {name} / 255."
            else:
                fix = "Move the normalization into the model."
            low, high = (f"{v:g}" if float(f"{v:g}") == v else str(v) for v in (low, high))
            raise ValueError(f"{name} has values from {low} to {high}; expected [0, 1]. {fix}")
    return x


def masks(mask, image, *, name="mask"):
    """Checks that a mask fits its images and returns it unchanged.

    Args:
        mask: bool, integer or float `(N, H, W, 1)`, 1 where the attack may change the pixel, 0 where it may not.
        image: the mask's images, `(N, H, W, C)`.
        name: its name in the message.

    Raises:
        ValueError: for another shape, or values other than 0 and 1.

    Example:
        >>> masks(np.full((2, 8, 8, 1), 0.5, "float32"), np.zeros((2, 8, 8, 3), "float32"))
        Traceback (most recent call last):
        ...
        ValueError: mask has values other than 0 and 1 (like 0.5); expected 1 where the attack may change the pixel \
and 0 where it may not. Threshold it first.
    """
    expected = (*tuple(image.shape)[:3], 1)
    shape = tuple(mask.shape)
    if len(shape) != 4 or any(None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=True)):
        raise ValueError(
            f"{name} has shape {shape}; expected {expected}, (N, H, W, 1) with the N, H and W of the images. "
            "A mask without its last axis needs mask[..., None]."
        )
    if (values := _concrete(mask)) is not None and values.size:
        odd = values[(values != 0) & (values != 1)]
        if odd.size:
            raise ValueError(
                f"{name} has values other than 0 and 1 (like {float(odd.flat[0]):g}); expected 1 where the attack may "
                "change the pixel and 0 where it may not. Threshold it first."
            )
    return mask


def labels(y, image, *, num_classes=None, name="label"):
    """Checks integer class labels and returns them unchanged.

    Args:
        y: integer classes `(N,)`, any integer dtype, in [0, `num_classes`).
        image: the labels' images, `(N, H, W, C)`.
        num_classes: how many classes the model has, or None if unknown.
        name: their name in the message.

    Raises:
        ValueError: for one-hot or floating labels, another length, or a class out of range.

    Example:
        >>> labels(np.eye(10)[:2], np.zeros((2, 8, 8, 1), "float32"))
        Traceback (most recent call last):
        ...
        ValueError: label has shape (2, 10), which looks one-hot; expected integer classes (N,). \
Use tf.argmax(label, axis=-1).
    """
    shape = tuple(y.shape)
    if len(shape) == 2 and shape[1] != 1:
        raise ValueError(
            f"{name} has shape {shape}, which looks one-hot; expected integer classes (N,). "
            f"Use tf.argmax({name}, axis=-1)."
        )
    if len(shape) != 1 or (None not in (shape[0], image.shape[0]) and shape[0] != image.shape[0]):
        raise ValueError(f"{name} has shape {shape}; expected (N,) with N = {image.shape[0]} images.")
    if not tf.as_dtype(y.dtype).is_integer:
        raise ValueError(f"{name} has dtype {tf.as_dtype(y.dtype).name}; expected integer classes, such as int64.")
    if (values := _concrete(y)) is not None and values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or (num_classes is not None and high >= num_classes):
            classes = "; expected none below 0" if num_classes is None else f" for the model's {num_classes} classes"
            raise ValueError(
                f"{name} has classes from {low} to {high}, out of range{classes} (they are counted from 0)."
            )
    return y


def model(value, *, name="model"):
    """Checks that this can be called as a model, and returns it; `ValueError` for anything else.

    Example:
        >>> model("model.keras")
        Traceback (most recent call last):
        ...
        ValueError: model='model.keras'; expected a Keras model that returns logits. From a file: \
keras.saving.load_model(path).
    """
    if isinstance(value, type) or not callable(value):
        raise ValueError(
            f"{name}={value!r}; expected a Keras model that returns logits. From a file: keras.saving.load_model(path)."
        )
    return value


def weights(model, *, name="model"):
    """Checks that a model's weights are finite: one that is broken says nothing about an attack.

    Raises:
        ValueError: that names the weights with NaN or infinite values.
    """
    broken = [
        getattr(weight, "path", weight.name)
        for weight in getattr(model, "weights", ())
        if np.issubdtype(np.asarray(weight).dtype, np.floating) and not np.isfinite(np.asarray(weight)).all()
    ]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ValueError(
            f"the {name} is broken: its weights {', '.join(broken[:3])}{more} hold NaN or infinite values; expected "
            "finite numbers. Train it again (with a smaller learning rate, say), or load another file."
        )


def model_logits(model, logits):
    """Checks what a model returned: float logits `(N, classes)`, two classes or more, no softmax or sigmoid at the end.

    Args:
        model: the Keras model; its last layer is checked.
        logits: what it returned for some images, `(N, classes)`; the values are checked if they are concrete.

    Returns:
        The number of classes.

    Raises:
        ValueError: for several outputs, another shape, or a model that ends in softmax or sigmoid (where it is
            sure, its gradients vanish).
    """
    if isinstance(logits, (dict, list, tuple)):
        names = f" ({', '.join(map(repr, logits))})" if isinstance(logits, dict) else ""
        which = repr(next(iter(logits), "logits")) if isinstance(logits, dict) else 0
        raise ValueError(
            f"the model returns a {type(logits).__name__} of {len(logits)} outputs{names}; expected one array of "
            f"logits (N, classes). Choose one: keras.Model(model.inputs, model.output[{which}])."
        )
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ValueError(
            f"the model returns shape {shape}; expected logits (N, classes) with at least two classes "
            "(a two-class model needs two outputs)."
        )
    values = _concrete(logits)
    sums_to_one = (
        values is not None and values.size and (values >= 0).all() and np.allclose(values.sum(axis=-1), 1, atol=1e-3)
    )
    if (last := _last_activation(model)) in ("softmax", "sigmoid") or sums_to_one:
        raise ValueError(
            f"the model ends in {'softmax' if sums_to_one else last}: it returns probabilities; expected logits. "
            "Remove the last activation and train with SparseCategoricalCrossentropy(from_logits=True). Saturated "
            "probabilities hide the gradient."
        )
    return shape[1]


def fraction(value, *, name, low=0.0, high=1.0):
    """Checks a plain number in [low, high] and returns it as a float.

    Raises:
        ValueError: if it is not a number, not finite or out of range.

    Example:
        >>> fraction(8, name="eps")
        Traceback (most recent call last):
        ...
        ValueError: eps=8 is out of range; expected a number from 0 to 1. In grey levels? 8/255 is what you mean.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if number and isinstance(value, numbers.Integral) and abs(value) > sys.float_info.max:
        raise ValueError(f"{name} is too large for a float; expected a number from {low:g} to {high:g}.")
    if not number or not low <= value <= high or math.isinf(value):
        wanted = f"number from {low:g} to {high:g}" if math.isfinite(high) else f"finite number, at least {low:g}"
        hint = ""
        if name in ("eps", "step_size", "value") and isinstance(value, numbers.Real) and 1 < value <= 255:
            hint = f" In grey levels? {value:g}/255 is what you mean."
        raise ValueError(f"{name}={value!r} is out of range; expected a {wanted}.{hint}")
    return float(value)


def count(value, *, name, low=1):
    """Checks a whole number of at least `low` and returns it as an int.

    Raises:
        ValueError: if it is not a whole number, or too small.

    Example:
        >>> count(0, name="steps")
        Traceback (most recent call last):
        ...
        ValueError: steps=0; expected a whole number, at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name}={value!r}; expected a whole number, at least {low}.")
    if value >= 2**63:  # TensorFlow's integers have 64 bits
        raise ValueError(f"{name} has {int(value).bit_length()} bits; expected a whole number below 2**63.")
    return int(value)


def seed(value):
    """Checks a seed, a whole number from 0 to 2**32 − 1 or an integer tensor, and returns it.

    A seed has 32 bits (randomness.py): a larger one would silently repeat the numbers of a smaller one.

    Raises:
        ValueError: for anything else.

    Example:
        >>> seed(None)
        Traceback (most recent call last):
        ...
        ValueError: seed=None; expected a whole number from 0 to 2**32 - 1.
    """
    if tf.is_tensor(value) and value.dtype.is_integer and value.shape.rank == 0:
        return value
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (whole and 0 <= value < 2**32):
        raise ValueError(f"seed={value!r}; expected a whole number from 0 to 2**32 - 1.")
    return value


def choice(value, options, *, name):
    """Checks that a value is one of the options and returns it.

    Raises:
        ValueError: for any other value; it lists the options.

    Example:
        >>> choice("backgruond", REGIONS, name="region")
        Traceback (most recent call last):
        ...
        ValueError: region='backgruond' is unknown; expected one of 'background', 'foreground', 'full'.
    """
    if value not in options:
        raise ValueError(f"{name}={value!r} is unknown; expected one of {', '.join(repr(o) for o in options)}.")
    return value


def _concrete(x):
    """The values of an array or an eager tensor; None for a symbolic tensor."""
    if isinstance(x, np.ndarray):
        return x
    return x.numpy() if tf.is_tensor(x) and tf.executing_eagerly() and hasattr(x, "numpy") else None


def _last_activation(model):
    """The name of the last layer's activation, "softmax" say; "" if it has none."""
    operations = getattr(model, "operations", None) or getattr(model, "layers", None)
    last = operations[-1] if operations else None
    if getattr(last, "layers", None):  # a model within the model
        return _last_activation(last)
    if type(last).__name__ in ("Softmax", "Sigmoid"):  # a layer, or a function in a functional model
        return type(last).__name__.lower()
    return getattr(getattr(last, "activation", None), "__name__", "")
