"""The classifiers that a report compares: one architecture, one table of trainings, one seed."""

import time
from typing import NamedTuple

import keras

from locadv_tf.attacks.pgd import PGD
from locadv_tf.engine.progress import progress_bar
from locadv_tf.models import colour_cnn, pooled_cnn, residual_cnn, small_cnn
from locadv_tf.training.localized import passes_per_image
from locadv_tf.training.overfitting import OverfittingWatch
from locadv_tf.training.pipeline import flip_and_shift
from locadv_tf.training.recipes import recipe, single_step, train_classifier

CLASSIFIERS = {
    "small_cnn": small_cnn,
    "pooled_cnn": pooled_cnn,
    "colour_cnn": colour_cnn,
    "residual_cnn": residual_cnn,
}
PRECISIONS = ("float32", "mixed_float16")
# What a classifier of photographs is trained with today; without it the images as they are, and Adam at one rate.
MODERN = {"optimizer": "adamw", "augment": flip_and_shift, "class_weight": "balanced"}


class Trained(NamedTuple):
    """What the trainings leave, by name: classifiers, histories, sentences of the `OverfittingWatch`; costs as rows."""

    models: dict
    histories: dict
    overfitting: dict
    costs: list


def train_all(asked, data, eps, progress):
    """Trains the classifiers of a report, one after another.

    Args:
        asked: the experiment's parameters.
        data: has the unbatched `train` and `validation`, and the classes' `names`.
        eps: the budget of the trainings' attacks, in pixel units of [0, 1].
        progress: show a progress bar.

    Returns:
        A `Trained`.
    """
    steps = asked["train_steps"]
    attack = single_step(eps) if steps == 1 else PGD(eps=eps, steps=steps, keep="last")
    settings = {"attack": attack, "validation": data.validation, "seed": asked["seed"], "share": asked["share"]}
    always = {name: asked[name] for name in ("batch_size", "early_stopping")} | (MODERN if asked["modern"] else {})
    shape = tuple(data.train.element_spec[0]["image"].shape)
    build = CLASSIFIERS[asked["classifier"] or ("colour_cnn" if shape[-1] == 3 else "small_cnn")]
    size = {"width": asked["width"]} if build is residual_cnn else {}
    build = _in_precision(asked["precision"], build)
    models, histories, costs, watches = {}, {}, [], {}
    for name in progress_bar("trainings", asked["trainings"], unit="training", shown=progress):
        goes_on = asked["fine_tune"] is not None and name != "natural"
        how = recipe(name, data.train, **settings, epochs=asked["fine_tune"] if goes_on else asked["epochs"])
        models[name] = build(input_shape=shape, num_classes=len(data.names), seed=asked["seed"], **size)
        if goes_on:
            models[name].set_weights(models["natural"].get_weights())
        callbacks = []
        if how["share"] * how["attack"].steps:  # only an attack that follows gradients can be overfitted to
            watches[name] = OverfittingWatch(how["validation"], restore=False, seed=asked["seed"])
            callbacks = [watches[name]]
        started = time.monotonic()
        histories[name] = train_classifier(models[name], **how, **always, callbacks=callbacks)
        cost = {
            "epochs": how["epochs"],
            "passes": how["epochs"] * passes_per_image(how["attack"], how["share"]),
            "seconds": time.monotonic() - started,
        }
        if goes_on:  # with what the natural classifier has cost
            cost = {key: value + costs[0][key] for key, value in cost.items()}
        costs.append({"model": name} | cost)
    return Trained(models, histories, {name: watch.verdict for name, watch in watches.items()}, costs)


def _in_precision(policy, build):
    """The same function, whose layers have this dtype policy; all others keep Keras's. None: they have that, too."""

    def built(**arguments):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy or before)
        try:
            return build(**arguments)
        finally:
            keras.config.set_dtype_policy(before)

    return built
