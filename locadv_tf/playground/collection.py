"""What a page shows of one data set: some of its images with masks and labels, and the classifiers side by side."""

import base64

import numpy as np

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.composite import composite
from locadv_tf.data.load import class_names, load_data
from locadv_tf.evaluation.measurement import evaluate
from locadv_tf.models import saved
from locadv_tf.playground import network
from locadv_tf.units import default_eps

STEPS = 20  # of the attack, until the reader chooses
MEASURED = 400  # test images that the page's accuracies come from, at most
TITLES = {"digits": "Grey digits", "composite": "Colour composites", "mnist": "MNIST", "cifar10": "CIFAR-10"}
STORED = ("natural", "LAT", "AT")  # the trainings of a page for which nobody gave classifiers
ABOUT = {
    "natural": "trained on plain images",
    "LAT": "trained on images with an attacked background, too",
    "AT": "trained on images attacked everywhere, too",
}


def collection(dataset, models, *, images=20, eps=None, mask=None, seed=0):
    """One data set and its classifiers, as plain values for the page.

    Args:
        dataset: a name for `load_data`. `"composite"` has backgrounds here that say nothing about the label.
        models: a dictionary from a name to a Keras classifier for its images.
        images: how many test images the page holds, of each class its share.
        eps: the budget that the page opens with, in pixel units of [0, 1]; None: `default_eps`.
        mask: the source of the masks; None: the data set's own.
        seed: decides which images, and all random numbers.

    Returns:
        A dictionary that `json.dumps` takes: `page.py` writes it, `state.js` reads it.

    Raises:
        ValueError: for models that the page cannot run or that do not fit the data set, and bad options.

    Example:
        >>> from locadv_tf.models import small_cnn
        >>> made = collection("digits", {"untrained": small_cnn((28, 28, 1), 10)}, images=10)
        >>> made["shape"], made["labels"], made["eps"]
        ([28, 28, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 25.5)
    """
    validation.count(images, name="images")
    if not models:
        raise ValueError("no model; expected at least one classifier.")
    options = {"mask": mask, "seed": seed} | ({"correlation": 0} if dataset == "composite" else {})
    x, y, background = to_arrays(load_data(dataset, "test", limit=images, stratify=True, **options))
    order = np.argsort(y, kind="stable")
    x, y, background = x[order], y[order], background[order]
    names = class_names(dataset)
    eps = default_eps(x) if eps is None else validation.fraction(eps, name="eps")
    attack = PGD(eps=eps, steps=STEPS, random_start=False)
    test = load_data(dataset, "test", limit=MEASURED, **options)
    shown = [_model(name, model, names, x, test, attack, seed) for name, model in models.items()]
    levels = np.rint(255 * x).astype(np.uint8)
    drawn_on = composite("test[:10]", correlation=1, paste=False, seed=seed).images if dataset == "composite" else None
    return {
        "name": dataset,
        "title": TITLES.get(dataset, dataset),
        "shape": list(x.shape[1:]),
        "classes": names,
        "labels": y.tolist(),
        "images": _text(levels),
        "masks": _text(np.packbits(background.astype(bool).reshape(len(x), -1), axis=1)),
        "eps": 255 * eps,
        "steps": STEPS,
        "start": _clear(models, (x, y, background), attack),
        "drawing": "grey" if x.shape[-1] == 1 else "colour" if drawn_on is not None else None,
        "backdrops": None if drawn_on is None else _text(drawn_on),
        "models": shown,
    }


def stored_models(dataset):
    """The classifiers of a page for which nobody gave any: those that come with the kit, trained at `default_eps`.

    Args:
        dataset: `"digits"` or `"composite"`.

    Returns:
        A dictionary from the training's name to the model.

    Raises:
        ValueError: for a data set of which results/models has no natural, LAT and AT.

    Example:
        >>> stored_models("digits").keys()
        dict_keys(['natural', 'LAT', 'AT'])
    """
    eps = default_eps(load_data(dataset, "test[:1]").element_spec[0]["image"])
    names = {training: f"{dataset}-{255 * eps:.0f}-{training}" for training in STORED}
    if missing := [name for name in names.values() if not (saved.MODELS / f"{name}.keras").is_file()]:
        raise ValueError(
            f"results/models has no {', '.join(missing)}; expected 'digits' or 'composite', or your own classifiers: "
            f"locadv playground MODEL.keras --dataset {dataset}"
        )
    return {training: saved.load_model(name) for training, name in names.items()}


def _model(name, model, names, x, test, attack, seed):
    ready = network.packed(model, images=x, name=name)
    if (classes := model.output_shape[-1]) != len(names):
        raise ValueError(f"{name} has {classes} classes, the data set has {len(names)}; expected equal numbers.")
    rows = evaluate(
        network.rounded(model) if ready["type"] == "float16" else model, test, {str(attack): attack}, seed=seed
    )
    keys = ("attack", "region", "n", "accuracy", "accuracy_low", "accuracy_high")
    measured = [{key: row[key] for key in keys} for row in rows]
    return {"name": name, "about": ABOUT.get(name, ""), "measured": measured, **ready}


def _clear(models, data, attack):
    """The first image that shows the point: all models read it, and the attack fools the first of them alone.

    Where there is none: the first that all models read and that fools the first model; else the first that all read.
    """
    x, y, mask = data
    natural, fooled = [], []
    for model in models.values():
        attacked = attack(model, x, y, mask=mask)
        natural.append(np.argmax(model(x, training=False), -1) == y)
        fooled.append(np.argmax(model(attacked, training=False), -1) != y)
    read = np.all(natural, axis=0)
    shows = read & fooled[0]
    point = shows & ~np.any(fooled[1:], axis=0)
    return int(np.argmax(np.sum([point, shows, read, natural[0]], axis=0)))  # each of them holds the one before


def _text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
