"""The classifiers of a page for which nobody gave any: natural training, LAT and AT, as the lessons train them."""

import time

import keras

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.load import class_names, load_data
from locadv_tf.models import small_cnn
from locadv_tf.training.recipes import recipe, train_classifier
from locadv_tf.units import default_eps

TRAININGS = ("natural", "LAT", "AT")
EPOCHS = {"digits": 20, "composite": 24}


def small_models(dataset, *, eps=None, mask=None, seed=0, epochs=None, log=lambda line: None):
    """Trains one small classifier per training: seconds for digits, minutes for composite, on a laptop's CPU.

    Args:
        dataset: `"digits"`, `"composite"` or another name for `load_data`. `"composite"` has backgrounds here that say
            nothing about the label.
        eps: the budget of the attacks in training, in pixel units of [0, 1]; None: `default_eps`.
        mask: the source of the masks, as for `load_data`; None: the data set's own.
        seed: decides initial weights, the images' order and all random numbers.
        epochs: passes over the training images; None: as many as `EPOCHS` says, else 5.
        log: a function that gets a line of text after each training.

    Returns:
        A dictionary from the training's name to the model.

    Raises:
        ValueError: as `load_data` and `recipe` do.
    """
    if epochs is not None:
        validation.count(epochs, name="epochs")
    options = {"mask": mask, "seed": seed} | ({"correlation": 0} if dataset == "composite" else {})
    train = load_data(dataset, "train", **options)
    shape, classes = tuple(train.element_spec[0]["image"].shape), len(class_names(dataset))
    eps = default_eps(train.element_spec[0]["image"]) if eps is None else eps
    attack = PGD(eps=eps, steps=5, keep="last")
    build = small_cnn if shape[-1] == 1 else pooled_cnn
    models = {}
    for name in TRAININGS:
        started = time.monotonic()
        models[name] = build(shape, classes, seed=seed)
        how = recipe(name, train, attack=attack, epochs=epochs or EPOCHS.get(dataset, 5), seed=seed)
        train_classifier(models[name], **how)
        log(f"{dataset}: {name} trained in {time.monotonic() - started:.0f} s")
    return models


def pooled_cnn(input_shape, num_classes, *, seed=0):
    """A classifier of colour images with a third of `small_cnn`'s weights: three of them fit a small page.

    Args:
        input_shape: `(height, width, channels)`; num_classes: at least 2; seed: of the initial weights.

    Returns:
        An uncompiled Keras model that returns logits.

    Example:
        >>> pooled_cnn((32, 32, 3), 10).count_params()
        48586
    """
    layers, init = keras.layers, iter(keras.initializers.HeNormal(seed=100 * seed + i) for i in range(5))
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape), name="image"),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Conv2D(16, 5, strides=2, activation="relu", padding="same", kernel_initializer=next(init)),
            layers.Conv2D(32, 3, activation="relu", padding="same", kernel_initializer=next(init)),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu", padding="same", kernel_initializer=next(init)),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_initializer=next(init)),
            layers.Dense(num_classes, dtype="float32", name="logits", kernel_initializer=next(init)),
        ],
        name="pooled_cnn",
    )
