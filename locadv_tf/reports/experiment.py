"""The report's experiment, from data to verdicts: trainings side by side, attacked alike.

`notebooks/06_report.ipynb` shows what it finds. Read `experiment` first: a line of it is a section of the report and a
function in rows.py or headline.py.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf import validation
from locadv_tf.attacks.autoattack import BUDGETS, LocalizedAutoAttack
from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.batches import first_images, images_at, labels_of
from locadv_tf.data.load import class_names, load_data
from locadv_tf.data.memory import fits
from locadv_tf.data.sources import stratified
from locadv_tf.reports import claims, headline, rows
from locadv_tf.reports.stage import Stage
from locadv_tf.reports.trained import CLASSIFIERS, PRECISIONS, train_all
from locadv_tf.training.recipes import TRAININGS
from locadv_tf.units import default_eps

DEFAULTS = {  # what each is stands beside it in the parameters cell of notebooks/06_report.ipynb
    "dataset": "digits",
    "seed": 0,
    "eps": None,
    "eps_multiples": [0.25, 0.5, 1.0, 1.5],
    "mask": None,
    "other_mask": "center",
    "other_smoothness": None,
    "correlation": None,
    "image_size": None,
    "train_limit": None,
    "test_limit": 400,
    "classifier": None,
    "width": 32,
    "modern": False,
    "epochs": 20,
    "fine_tune": None,
    "batch_size": 128,
    "early_stopping": None,
    "train_steps": 5,
    "attack_steps": 20,
    "attack_limit": None,
    "headline_budget": "fast",
    "headline_limit": 100,
    "headline_everywhere": False,
    "trainings": list(TRAININGS),
    "reliance_limit": 200,
    "share": 0.5,
    "memory": None,
    "precision": None,
}
CURVES = 500  # validation images that the training curves are of, at most
SHOWN = 1000  # test images that are kept to be shown, where the split does not fit in memory


class Data(NamedTuple):
    """The splits, unbatched `tf.data.Dataset`s, and the classes' names; `elsewhere` is `test` with the other masks."""

    train: object
    validation: object
    test: object
    elsewhere: object
    names: list


class Experiment(NamedTuple):
    """What `experiment` returns.

    Attributes:
        parameters: all of them, as asked for or by default.
        results: plain rows and numbers, what `metrics.json` keeps as `results`; schema.py says what is in them.
        models: the classifiers, Keras models, by the training's name, in the order of `parameters["trainings"]`.
        first: the training that the others are shown beside: "natural", or the first of a report without it.
        strongest: the attack object of the headline and its checks, a `LocalizedAutoAttack`.
        attack: the attack object of the evaluation, a `PGD`.
        measurements: `measurements[training][condition]`: for the keys of `rows.conditions` a `Measurement` each of
            the images that are attacked; for "natural" a `Natural` of all test images.
        test: `(images, labels, masks)` of the test split, the first 1,000 of one that is streamed; float32
            `(N, H, W, C)`, int64 `(N,)`, float32 `(N, H, W, 1)`.
        other_masks: the other source's masks `(N, H, W, 1)` of the same images.
        names: of the classes.
        sizes: how many images each split has.
        streamed: the names of the splits that do not fit in memory and are read anew for each use.
    """

    parameters: dict
    results: dict
    models: dict
    first: str
    strongest: LocalizedAutoAttack
    attack: PGD
    measurements: dict
    test: tuple
    other_masks: np.ndarray
    names: list
    sizes: dict
    streamed: list


def experiment(parameters=None, *, progress=True):
    """Trains the classifiers of a report, attacks them all alike, and says what can be said of them.

    Args:
        parameters: dictionary of the parameters of `notebooks/06_report.ipynb`, but for its `output_dir`; those that
            are missing have the notebook's default, `DEFAULTS`.
        progress: show a progress bar per part.

    Returns:
        An `Experiment`.

    Raises:
        ValueError: for an unknown parameter or training, before any work; for a value that a part refuses.

    Example:
        >>> experiment({"epoch": 3})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: parameter 'epoch' is unknown; expected some of 'dataset', 'seed', 'eps', ...
    """
    asked = _asked(parameters or {})
    data = _data(asked)
    streamed = [name for name in ("train", "validation", "test") if not fits(getattr(data, name))]
    test = first_images(data.test, SHOWN if "test" in streamed else None)
    eps = default_eps(test[0]) if asked["eps"] is None else asked["eps"]
    attack, strongest = (
        PGD(eps=eps, steps=asked["attack_steps"]),
        headline.strongest_attack(eps, budget=asked["headline_budget"], classes=len(data.names)),
    )
    labels = labels_of(data.test)
    attacked = _some_attacked(data.test, labels, asked)
    elsewhere = _some_attacked(data.elsewhere, labels, asked)
    known = labels if attacked is data.test else attacked[1]
    chosen = stratified(known, asked["headline_limit"], seed=asked["seed"])  # of the headline and of its checks

    regions = validation.REGIONS if asked["headline_everywhere"] else ("background",)

    trained = train_all(asked, data, eps, progress)
    models = trained.models
    first = "natural" if "natural" in models else next(iter(models))
    tried = Stage(models, progress)
    measurements = rows.measure_all(tried, data.test, attacked, rows.conditions(attack), asked["seed"])
    ledger = claims.ledger(measurements, eps=eps)
    sample = _at(attacked, chosen)
    some = images_at(data.test, stratified(labels, asked["reliance_limit"], seed=asked["seed"]))
    results = {
        "eps": eps,
        "headline": headline.accuracies(
            tried, sample, strongest, attack, measurements, chosen, regions, seed=asked["seed"]
        ),
        "rows": rows.main_rows(measurements, rows.conditions(attack), labels, known),
        "curve": rows.curve(tried, measurements, attacked, attack, asked),
        "other_mask": rows.other_mask(tried, elsewhere, attack, asked),
        "costs": trained.costs,
        "verdicts": headline.checks(tried, sample, strongest, seed=asked["seed"]),
        "claims": ledger,
        "counts": claims.counts(ledger),
        "histories": trained.histories,
        "reliance": rows.reliance_rows(tried, first, some, attack, asked),
        "challenge": rows.challenge_rows(tried, asked),
        "overfitting": trained.overfitting,
    }
    sizes = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    other_masks = first_images(data.elsewhere, len(test[1]))[2]
    found = asked, results, models, first, strongest, attack, measurements
    return Experiment(*found, test, other_masks, data.names, sizes, streamed)


def _asked(parameters):
    for name in parameters:
        if name not in DEFAULTS:
            known = ", ".join(map(repr, DEFAULTS))
            raise ValueError(f"parameter {name!r} is unknown; expected some of {known}.")
    asked = DEFAULTS | parameters
    for name in asked["trainings"] or [None]:
        validation.choice(name, TRAININGS, name="trainings")
    validation.choice(asked["precision"] or "float32", PRECISIONS, name="precision")
    validation.choice(asked["headline_budget"], tuple(BUDGETS), name="headline_budget")
    validation.count(asked["headline_limit"], name="headline_limit")
    if asked["attack_limit"] is not None:
        validation.count(asked["attack_limit"], name="attack_limit")
    if asked["fine_tune"] is not None:
        validation.count(asked["fine_tune"], name="fine_tune")
        if asked["trainings"][0] != "natural":
            raise ValueError(
                f"fine_tune={asked['fine_tune']} with trainings={asked['trainings']}; expected 'natural' as the first, "
                "from whose weights the others go on."
            )
    if asked["other_smoothness"] is not None:
        validation.fraction(asked["other_smoothness"], name="other_smoothness", high=100)
        if asked["other_mask"] != "random":
            raise ValueError(
                f"other_smoothness={asked['other_smoothness']} with other_mask={asked['other_mask']!r}; expected "
                "other_mask='random', whose places it makes blobs."
            )
    if asked["classifier"] is not None:
        validation.choice(asked["classifier"], CLASSIFIERS, name="classifier")
    return asked


def _data(asked):
    options = {"mask": asked["mask"], "seed": asked["seed"], "memory": asked["memory"]}
    options |= {} if asked["correlation"] is None else {"correlation": asked["correlation"]}
    options |= {} if asked["image_size"] is None else {"image_size": 2 * (asked["image_size"],)}
    other = {"mask": asked["other_mask"]}
    other |= {} if asked["other_smoothness"] is None else {"mask_options": {"smoothness": asked["other_smoothness"]}}
    limit = asked["test_limit"]
    curves = CURVES if limit is None else min(limit, CURVES)
    return Data(
        load_data(asked["dataset"], "train", limit=asked["train_limit"], **options),
        load_data(asked["dataset"], "validation", limit=curves, **options),
        load_data(asked["dataset"], "test", limit=limit, **options),
        load_data(asked["dataset"], "test", limit=limit, **(options | other)),
        class_names(asked["dataset"]),
    )


def _some_attacked(test, labels, asked):
    """The test images that are attacked: all of them, or of each class its share, as arrays."""
    limit = asked["attack_limit"]
    if limit is None or limit >= len(labels):
        return test
    return images_at(test, stratified(labels, limit, seed=asked["seed"]))


def _at(attacked, places):
    return tuple(part[places] for part in attacked) if isinstance(attacked, tuple) else images_at(attacked, places)
