"""Backbones of `keras.applications` as classifiers: their preprocessing becomes layers, so eps stays in pixel units."""

import difflib
import inspect
import itertools
import os
import re

import keras

from locadv_tf import validation
from locadv_tf.models.networks import layers_and_initializer
from locadv_tf.network import answers


def pretrained(name, input_shape, num_classes, *, weights="imagenet", seed=0):
    """A backbone of `keras.applications`, with its preprocessing inside and a new last layer.

    The layer `"backbone"` is the network up to its pooled features. Train in two stages: first the last layer alone,
    then the top of the backbone, at a small learning rate ("Classifiers" in docs/researchers.md has the code).

    Args:
        name: a class of `keras.applications`, such as `"MobileNetV2"` or `"ResNet50"`.
        input_shape: `(height, width, 3)` of one image; most backbones need 32 pixels a side, and were made for 224.
        num_classes: number of classes, at least 2.
        weights: `"imagenet"`, which Keras fetches once and keeps in `~/.keras/models`; None: random ones.
        seed: integer, at least 0; decides the random weights.

    Returns:
        An uncompiled `keras.Model`: float32 images in [0, 1], `(N, H, W, 3)`, to float32 logits `(N, num_classes)`.

    Raises:
        ValueError: for an unknown name, a shape that the backbone cannot take, or weights that cannot be fetched
            (within 5 s if there is no network).

    Example:
        >>> model = pretrained("MobileNetV2", (32, 32, 3), num_classes=10, weights=None)
        >>> model.output_shape, model.get_layer("backbone").output_shape
        ((None, 10), (None, 1280))
    """
    builders = {
        each: builder
        for each, builder in vars(keras.applications).items()
        if inspect.isfunction(builder) and each[0].isupper()
    }
    if str(name) not in builders:
        close = difflib.get_close_matches(str(name), builders, n=3) or ["MobileNetV2", "ResNet50", "EfficientNetB0"]
        raise ValueError(
            f"name={name!r} is no backbone of keras.applications; expected one such as {', '.join(map(repr, close))}."
        )
    layers, init = layers_and_initializer(input_shape, num_classes, seed)
    if tuple(input_shape)[-1] != 3:
        raise ValueError(
            f"input_shape={tuple(input_shape)} has {input_shape[-1]} channels; {name} takes 3. Grey images: "
            "tf.image.grayscale_to_rgb in data.map."
        )
    validation.choice(weights, ("imagenet", None), name="weights")
    if weights and not _kept(name) and not answers():
        raise ValueError(
            f"the imagenet weights of {name} are not in {_folder()}, and there is no network to fetch them. Copy that "
            "folder from a machine that has them, or use weights=None (random weights, trained from scratch)."
        )
    try:
        options = {"include_top": False, "pooling": "avg", "weights": weights, "input_shape": tuple(input_shape)}
        backbone = builders[name](**options, name="backbone")
    except Exception as problem:  # of Keras, of the host or of the file: one line will do
        reason = str(problem).strip().partition("\n")[0]
        what = "its weights could not be fetched" if weights and "fetch" in reason else "it cannot be built"
        raise ValueError(f"{name} with images of shape {tuple(input_shape)}: {what}: {reason}") from problem
    if weights is None:
        backbone = _seeded(backbone, seed)
    image = keras.Input(tuple(input_shape), name="image")
    preprocessed = inspect.getmodule(builders[name]).preprocess_input(255.0 * image)
    logits = layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=init())(
        backbone(preprocessed)
    )
    return keras.Model(image, logits, name=re.sub(r"\W", "_", name.lower()))


def _seeded(backbone, seed):
    """The same network with random weights that follow from the seed alone, layer by layer."""
    seeds = itertools.count(100 * seed + 1)

    def again(layer):
        config = layer.get_config()
        for key, value in config.items():
            if key.endswith("initializer") and isinstance(value, dict) and "seed" in value.get("config", {}):
                value["config"]["seed"] = next(seeds)
        return type(layer).from_config(config)

    return keras.models.clone_model(backbone, clone_function=again)


def _folder():
    return os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "models")


def _kept(name):
    """Whether a file of Keras's folder looks like this backbone's: `mobilenet_v2_weights…` for MobileNetV2."""
    folder = _folder()
    files = os.listdir(folder) if os.path.isdir(folder) else []
    return any(re.sub(r"[\W_]", "", name.lower()) in re.sub(r"[\W_]", "", file.lower()) for file in files)
