"""A small Keras classifier as `network.js` reads it: a chain of layers, with their weights as base64 text."""

import base64

import keras
import numpy as np

from locadv_tf import validation

TOLERANCE = 0.05  # of the logits: so much may storing the weights in 16 bits change them: a probability by 2.5 points
MOST_WEIGHTS = 3_000_000  # a page of 16 MB; an attack in the browser takes seconds then


def layers(model, *, name="the model"):
    """The layers of a classifier as `network.js` knows them.

    Args:
        model: a built Keras model, a chain of layers from float32 images in [0, 1] to logits `(N, classes)`.
        name: its name in messages.

    Returns:
        A list of dictionaries, each with its `kind`; `kernel` and `bias` are float32 arrays, all else is plain. Layers
        that do nothing after training (dropout, say) are left out.

    Raises:
        ValueError: for layers that the page does not know, which it names; a model that is no chain; too many weights.

    Example:
        >>> from locadv_tf.models import small_cnn
        >>> [layer["kind"] for layer in layers(small_cnn((28, 28, 1), 10))]
        ['affine', 'conv', 'relu', 'conv', 'relu', 'dense', 'relu', 'dense']
    """
    chain = _chain(model)
    unknown = sorted({_called(layer) for layer in chain if type(layer).__name__ not in LAYERS})
    if unknown:
        raise ValueError(f"{name} has {', '.join(unknown)}; expected layers that the page knows: {', '.join(LAYERS)}.")
    if (weights := model.count_params()) > MOST_WEIGHTS:
        raise ValueError(f"{name} has {weights:,} weights; expected at most {MOST_WEIGHTS:,}: a browser is slow.")
    validation.weights(model, name=f"model {name}")
    no_chain = f"{name} is no chain of layers; expected each layer to take what the one before it returns."
    x = y = np.random.default_rng(0).random((2, *(side or 8 for side in model.input_shape[1:])), np.float32)
    found = []
    for layer in chain:
        try:
            found += LAYERS[type(layer).__name__](layer)
        except ValueError as problem:
            raise ValueError(f"{name}: the layer {_called(layer)} {problem}") from None
        try:
            if isinstance(layer, keras.layers.Dense) and len(y.shape) != 2:
                raise ValueError
            y = layer(y, training=False)
        except ValueError:
            raise ValueError(f"{no_chain} {_called(layer)} gets the shape {tuple(y.shape)}.") from None
    if y.shape != (2, model.output_shape[-1]) or not np.allclose(y, model(x, training=False), atol=1e-3):
        raise ValueError(no_chain)
    return found


def packed(model, *, images, name="the model"):
    """A classifier as text for the page: 16 bits per weight where that changes next to nothing, else 32.

    Args:
        model: as for `layers`.
        images: float32 `(N, H, W, C)` in [0, 1], on which the two are compared.
        name: its name in messages.

    Returns:
        A dictionary: `layers`; `type`, "float16" or "float32"; `rounding`, by how much a logit of these images changes
        at most, 0 for float32.

    Raises:
        ValueError: as `layers` does.

    Example:
        >>> from locadv_tf.models import small_cnn
        >>> packed(small_cnn((28, 28, 1), 10), images=np.zeros((1, 28, 28, 1), np.float32))["type"]
        'float16'
    """
    found = layers(model, name=name)
    exact, near = (np.asarray(each(images, training=False)) for each in (model, rounded(model)))
    rounding = float(np.abs(exact - near).max())
    close = rounding <= TOLERANCE and (exact.argmax(-1) == near.argmax(-1)).all()  # False for infinite weights, too
    dtype = "<f2" if close else "<f4"
    text = [
        {
            key: base64.b64encode(value.astype(dtype).tobytes()).decode() if isinstance(value, np.ndarray) else value
            for key, value in layer.items()
        }
        for layer in found
    ]
    return {"layers": text, "type": "float16" if close else "float32", "rounding": rounding if close else 0.0}


def rounded(model):
    """A copy of a classifier with the weights of its convolutions and dense layers rounded to 16 bits."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in _chain(copy):
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            with np.errstate(over="ignore"):
                layer.set_weights([weight.astype(np.float16).astype(np.float32) for weight in layer.get_weights()])
    return copy


def _chain(model):
    """All layers, those of models within the model, too."""
    found = []
    for layer in getattr(model, "operations", None) or model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        found += _chain(layer) if type(layer).__name__ in ("Sequential", "Functional") else [layer]
    return found


def _called(layer):
    return f"{type(layer).__name__} ({layer.name!r})"


# What each layer of Keras is on the page. To add one: a function here, and its forward and backward pass in network.js.


def _nothing(layer):
    return []


def _affine(scale, offset):
    values = [np.asarray(value, np.float64) for value in (scale, offset)]
    if any(np.prod(value.shape[:-1]) != 1 for value in values):
        raise ValueError("has numbers for each pixel; expected one per channel.")
    scale, offset = np.broadcast_arrays(*map(np.ravel, values))
    return [{"kind": "affine", "scale": scale.tolist(), "offset": offset.tolist()}]


def _rescaling(layer):
    return _affine(layer.scale, layer.offset)


def _normalization(layer):
    if layer.invert:
        raise ValueError("inverts a normalization; expected one that normalizes.")
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.backend.epsilon())
    return _affine(1 / deviation, -np.asarray(layer.mean) / deviation)


def _batch_normalization(layer):
    if layer.axis not in (-1, 3):
        raise ValueError(f"works along axis {layer.axis}; expected -1, the channels.")
    scale = 1 / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    scale = scale * np.asarray(layer.gamma) if layer.scale else scale
    offset = (np.asarray(layer.beta) if layer.center else 0) - np.asarray(layer.moving_mean) * scale
    return _affine(scale, offset)


def _conv(layer):
    _channels_last(layer)
    if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
        raise ValueError(f"has groups={layer.groups}, dilation_rate={layer.dilation_rate}; expected 1 and (1, 1).")
    return [
        {
            "kind": "conv",
            "size": list(layer.kernel_size),
            "strides": list(layer.strides),
            "padding": layer.padding,
            **_weights(layer, layer.filters),
        },
        *_activation(layer),
    ]


def _dense(layer):
    return [{"kind": "dense", **_weights(layer, layer.units)}, *_activation(layer)]


def _weights(layer, outputs):
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(outputs)
    return {"kernel": np.asarray(layer.kernel, np.float32), "bias": bias.astype(np.float32)}


def _pool(layer):
    _channels_last(layer)
    size, strides = list(layer.pool_size), list(layer.strides)
    return [{"kind": "pool", "size": size, "strides": strides, "padding": layer.padding}]


def _mean(layer):
    _channels_last(layer)
    return [{"kind": "mean"}]


def _flatten(layer):
    _channels_last(layer)
    return []  # the page's numbers are in that order already


def _activation(layer):
    name = getattr(layer.activation, "__name__", str(layer.activation))
    if name not in ("linear", "relu"):
        raise ValueError(f"has the activation {name}; expected relu or none.")
    return [{"kind": "relu"}] if name == "relu" else []


def _relu(layer):
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise ValueError("has a limit, a slope or a threshold; expected the plain one.")
    return [{"kind": "relu"}]


def _channels_last(layer):
    if layer.data_format != "channels_last":
        raise ValueError(f"has data_format={layer.data_format!r}; expected 'channels_last'.")


LAYERS = {
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv,
    "MaxPooling2D": _pool,
    "GlobalAveragePooling2D": _mean,
    "Flatten": _flatten,
    "Dense": _dense,
    "ReLU": _relu,
    "Activation": _activation,
    "Dropout": _nothing,
    "SpatialDropout2D": _nothing,
    "GaussianNoise": _nothing,
}
