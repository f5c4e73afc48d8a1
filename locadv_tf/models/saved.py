"""Classifiers from files, of any origin: what they must be is checked before they are used."""

import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np

from locadv_tf import validation

_PACKAGE = Path(__file__).resolve().parents[1]
MODELS = _PACKAGE / "results" / "models"  # in an installed package
if not MODELS.is_dir():
    MODELS = _PACKAGE.parent / "results" / "models"  # beside it in a clone


def load_model(name):
    """One of the classifiers that come with the kit, as `results/` trained it with seed 0.

    Args:
        name: data set, budget in grey levels and training, `"mnist-26-LAT"` say. `results/models/` has a card for
            each: its data, its training, its accuracies with their checks, and its limits.

    Returns:
        The Keras model, uncompiled: float32 images in [0, 1] to logits.

    Raises:
        ValueError: for an unknown name; it lists those that are there.

    Example:
        >>> load_model("mnist-26-LTA")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: model='mnist-26-LTA' is unknown; expected one of ...
    """
    if not MODELS.is_dir():
        raise ValueError(f"model={name!r}: no models are here; they come with the kit, in results/models.")
    validation.choice(name, sorted(path.stem for path in MODELS.glob("*.keras")), name="model")
    return keras.saving.load_model(MODELS / f"{name}.keras", compile=False, safe_mode=True)


def load_classifier(path, *, input_shape):
    """Loads a saved classifier of any origin: no code in the file is run, nothing is unpickled.

    Args:
        path: a file that `model.save("name.keras")` wrote.
        input_shape: `(height, width, channels)` of the images for the model.

    Returns:
        The Keras model, uncompiled.

    Raises:
        ValueError: if there is no such file; if it has another format, needs its own code, takes other images or
            returns no logits.

    Example:
        >>> import tempfile
        >>> from locadv_tf.models.networks import small_cnn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     small_cnn((28, 28, 1), 10).save(f"{folder}/model.keras")
        ...     load_classifier(f"{folder}/model.keras", input_shape=(28, 28, 1)).output_shape
        (None, 10)
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise ValueError(f"{name!r} is no file; expected a classifier that model.save('name.keras') wrote.")
    if not (name.endswith(".keras") and zipfile.is_zipfile(name)):
        raise ValueError(
            f"{name!r} is not in Keras's own format; expected a .keras file. Load the model where it was "
            "made, and call model.save('name.keras')."
        )
    try:
        model = keras.saving.load_model(name, compile=False, safe_mode=True)
    except Exception as problem:  # any error is possible with an unknown file
        reason = str(problem).rpartition("Exception encountered: ")[2].partition(". ")[0]
        raise ValueError(
            f"{name!r} cannot be rebuilt: {reason}; expected Keras's own layers. Lambda layers hold code, "
            "which is not run. For your own layers, use la.verdicts.check in Python."
        ) from problem
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == len(input_shape) + 1):
        raise ValueError(f"{name!r} takes {shape}; expected one input, a batch of images {(None, *input_shape)}.")
    if any(own not in (None, side) for own, side in zip(shape[1:], input_shape, strict=True)):
        raise ValueError(
            f"{name!r} takes images {shape[1:]}, the data set has {tuple(input_shape)}; expected equal shapes."
        )
    validation.model_logits(model, model(np.zeros((1, *input_shape), np.float32), training=False))
    return model


def layer_count(path):
    """The number of layers of a saved classifier, nested ones too, without loading it; 0 if the file does not tell."""
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return 0
    return _layers(config)


def _layers(config):
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else None
    return sum(1 + _layers(layer) for layer in found) if isinstance(found, list) else 0
