"""The report's experiment, from data to verdicts: trainings side by side, attacked alike.

`notebooks/06_report.ipynb` shows what it finds. Read `experiment` first: a line of it is a section of the report and a
function below.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf import validation
from locadv_tf.attacks.autoattack import BUDGETS, LocalizedAutoAttack
from locadv_tf.attacks.pgd import PGD, RandomNoise
from locadv_tf.data.batches import first_images, images_at, labels_of
from locadv_tf.data.load import class_names, load_data
from locadv_tf.data.memory import fits
from locadv_tf.data.sources import stratified
from locadv_tf.evaluation import challenge, reliance
from locadv_tf.evaluation.intervals import balanced_interval, with_interval
from locadv_tf.evaluation.measurement import measure, natural_row, summarize
from locadv_tf.reports import claims, headline
from locadv_tf.reports.stage import Stage
from locadv_tf.reports.trained import CLASSIFIERS, train_all
from locadv_tf.training.recipes import TRAININGS
from locadv_tf.units import default_eps

DEFAULTS = {  # what each is stands beside it in the parameters cell of notebooks/06_report.ipynb
    "dataset": "digits",
    "seed": 0,
    "eps": None,
    "eps_multiples": [0.25, 0.5, 1.0, 1.5],
    "mask": None,
    "other_mask": "center",
    "correlation": None,
    "image_size": None,
    "train_limit": None,
    "test_limit": 400,
    "classifier": None,
    "width": 32,
    "modern": False,
    "epochs": 20,
    "batch_size": 128,
    "early_stopping": None,
    "train_steps": 5,
    "attack_steps": 20,
    "headline_budget": "fast",
    "headline_limit": 100,
    "trainings": list(TRAININGS),
    "reliance_limit": 200,
    "share": 0.5,
    "memory": None,
}
CURVES = 500  # validation images that the training curves are of, at most
SHOWN = 1000  # test images that are kept to be shown, where the split does not fit in memory
UNEQUAL = 2  # so many times the smallest class the largest must have for balanced accuracies to be shown
QUICK_STEPS = 10  # of the attack in the measures of reliance, at most


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
        measurements: `measurements[training][condition]`, a `Measurement` each, for the keys of `conditions`.
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
    chosen = stratified(labels, asked["headline_limit"], seed=asked["seed"])  # of the headline and of its checks

    trained = train_all(asked, data, eps, progress)
    models = trained.models
    first = "natural" if "natural" in models else next(iter(models))
    tried = Stage(models, progress)
    measurements = _measure(tried, data.test, conditions(attack), asked["seed"])
    ledger = claims.ledger(measurements, eps=eps)
    sample = images_at(data.test, chosen)
    some = images_at(data.test, stratified(labels, asked["reliance_limit"], seed=asked["seed"]))
    results = {
        "eps": eps,
        "headline": headline.accuracies(tried, sample, strongest, attack, measurements, chosen, seed=asked["seed"]),
        "rows": _rows(measurements, conditions(attack), labels),
        "curve": _curve(tried, measurements, data.test, attack, asked),
        "other_mask": _other_mask(tried, data.elsewhere, attack, asked),
        "costs": trained.costs,
        "verdicts": headline.checks(tried, sample, strongest, seed=asked["seed"]),
        "claims": ledger,
        "counts": claims.counts(ledger),
        "histories": trained.histories,
        "reliance": _reliance(tried, first, some, attack, asked),
        "challenge": _challenge(tried, asked),
        "overfitting": trained.overfitting,
    }
    sizes = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    other_masks = first_images(data.elsewhere, len(test[1]))[2]
    found = asked, results, models, first, strongest, attack, measurements
    return Experiment(*found, test, other_masks, data.names, sizes, streamed)


def conditions(attack):
    """Under what each classifier is measured: a dictionary from a name to `(attack, region)`.

    Example:
        >>> [f"{name}: {found} on {region}" for name, (found, region) in conditions(PGD(eps=0.1)).items()][:2]
        ['noise: random noise, eps = 25.5/255 on background', 'foreground: PGD-10, eps = 25.5/255 on foreground']
    """
    found = {"noise": (RandomNoise(eps=attack.eps), "background")}
    return found | {region: (attack, region) for region in ("foreground", "background", "full")}


def _asked(parameters):
    for name in parameters:
        if name not in DEFAULTS:
            known = ", ".join(map(repr, DEFAULTS))
            raise ValueError(f"parameter {name!r} is unknown; expected some of {known}.")
    asked = DEFAULTS | parameters
    for name in asked["trainings"] or [None]:
        validation.choice(name, TRAININGS, name="trainings")
    validation.choice(asked["headline_budget"], tuple(BUDGETS), name="headline_budget")
    validation.count(asked["headline_limit"], name="headline_limit")
    if asked["classifier"] is not None:
        validation.choice(asked["classifier"], CLASSIFIERS, name="classifier")
    return asked


def _data(asked):
    options = {"mask": asked["mask"], "seed": asked["seed"], "memory": asked["memory"]}
    options |= {} if asked["correlation"] is None else {"correlation": asked["correlation"]}
    options |= {} if asked["image_size"] is None else {"image_size": 2 * (asked["image_size"],)}
    limit = asked["test_limit"]
    curves = CURVES if limit is None else min(limit, CURVES)
    return Data(
        load_data(asked["dataset"], "train", limit=asked["train_limit"], **options),
        load_data(asked["dataset"], "validation", limit=curves, **options),
        load_data(asked["dataset"], "test", limit=limit, **options),
        load_data(asked["dataset"], "test", limit=limit, **(options | {"mask": asked["other_mask"]})),
        class_names(asked["dataset"]),
    )


def _measure(tried, test, under, seed):
    return {
        name: {
            condition: measure(model, test, attack, region=region, seed=seed)
            for condition, (attack, region) in under.items()
        }
        for name, model in tried.each("attacks")
    }


def _rows(measurements, under, labels):
    rows, counts = [], np.unique(labels, return_counts=True)[1]
    unequal = counts.max() > UNEQUAL * counts.min()

    def balanced(verdicts):
        return with_interval("accuracy_balanced", balanced_interval(verdicts, labels)) if unequal else {}

    for name, found in measurements.items():
        natural = found["background"]
        row = {"model": name, "condition": "natural"} | natural_row(natural)
        rows.append(row | balanced(natural.natural_correct))
        for condition, (attack, region) in under.items():
            where = {"model": name, "condition": condition, "attack": attack.name, "region": region, "eps": attack.eps}
            rows.append(where | summarize(found[condition]) | balanced(found[condition].correct))
    return rows


def _curve(tried, measurements, test, attack, asked):
    rows = []
    for name, model in tried.each("budgets"):
        rows.append({"model": name} | natural_row(measurements[name]["background"]))
        for multiple in asked["eps_multiples"]:
            other = PGD(eps=min(multiple * attack.eps, 1.0), steps=attack.steps)
            known = measurements[name]["background"] if other == attack else None
            found = known or measure(model, test, other, seed=asked["seed"], stop="fooled")
            rows.append({"model": name, "eps": other.eps} | headline.of_verdicts(found))
    return rows


def _other_mask(tried, elsewhere, attack, asked):
    rows = []
    for name, model in tried.each("other masks"):
        found = measure(model, elsewhere, attack, seed=asked["seed"], stop="fooled")
        where = {"model": name, "mask": asked["other_mask"], "attack": attack.name, "region": "background"}
        rows.append(where | {"eps": attack.eps} | summarize(found))
    return rows


def _reliance(tried, first, some, attack, asked):
    images, labels, own = some
    sources = reliance.draw_masks(images, labels, own=own, model=tried.models[first], seed=asked["seed"])
    quick = PGD(eps=attack.eps, steps=min(attack.steps, QUICK_STEPS))
    rows, shown = [], dict.fromkeys([first, *(name for name in tried.models if name == "LAT")])
    for name, model in tried.each("reliance", shown):
        found = reliance.by_source(model, images, labels, sources, quick, seed=asked["seed"])
        rows += [{"model": name} | row for row in found]
    return rows


def _challenge(tried, asked):
    if asked["dataset"] != "composite":
        return []
    drawn = challenge.challenge_images(limit=asked["reliance_limit"], seed=asked["seed"])
    return [{"model": name} | challenge.score(model, drawn) for name, model in tried.each("challenge")]
