"""The rows of a report: what is measured of every training, a function for each part.

`tried` is a `Stage`: the trained classifiers, in turn. `asked` are the experiment's parameters. `attacked` are the test
images that are attacked, a data set or `(images, labels, masks)`; `measurements` what `measure_all` returns.
"""

import numpy as np

from locadv_tf.attacks.pgd import PGD, RandomNoise
from locadv_tf.data.drawn import mask_feature
from locadv_tf.data.prepared import EMBEDDED, builder_of, features
from locadv_tf.evaluation import challenge, photo_challenge, photographs, reliance
from locadv_tf.evaluation.intervals import balanced_interval, with_interval
from locadv_tf.evaluation.measurement import measure, natural_row, summarize
from locadv_tf.evaluation.natural import calibration_error, natural
from locadv_tf.reports import headline

UNEQUAL = 2  # so many times the smallest class the largest must have for balanced accuracies to be shown
QUICK_STEPS = 10  # of the attack in the measures of reliance, at most


def conditions(attack):
    """Under what each classifier is measured: a dictionary from a name to `(attack, region)`.

    Example:
        >>> [f"{name}: {found} on {region}" for name, (found, region) in conditions(PGD(eps=0.1)).items()][:2]
        ['noise: random noise, eps = 25.5/255 on background', 'foreground: PGD-10, eps = 25.5/255 on foreground']
    """
    found = {"noise": (RandomNoise(eps=attack.eps), "background")}
    return found | {region: (attack, region) for region in ("foreground", "background", "full")}


def measure_all(tried, test, attacked, under, seed):
    """Without an attack all test images, and those that are attacked under each condition."""
    return {
        name: {"natural": natural(model, test)}
        | {
            condition: measure(model, attacked, attack, region=region, seed=seed)
            for condition, (attack, region) in under.items()
        }
        for name, model in tried.each("attacks")
    }


def main_rows(measurements, under, labels, attacked_labels):
    rows, counts = [], np.unique(labels, return_counts=True)[1]
    unequal = counts.max() > UNEQUAL * counts.min()

    def balanced(verdicts, of):
        return with_interval("accuracy_balanced", balanced_interval(verdicts, of)) if unequal else {}

    for name, found in measurements.items():
        alone = found["natural"]
        row = {"model": name, "condition": "natural"} | natural_row(alone) | {"ece": calibration_error(alone)}
        rows.append(row | balanced(alone.natural_correct, labels))
        for condition, (attack, region) in under.items():
            where = {"model": name, "condition": condition, "attack": attack.name, "region": region, "eps": attack.eps}
            rows.append(where | summarize(found[condition]) | balanced(found[condition].correct, attacked_labels))
    return rows


def curve(tried, measurements, attacked, attack, asked):
    rows = []
    for name, model in tried.each("budgets"):
        rows.append({"model": name} | natural_row(measurements[name]["background"]))
        for multiple in asked["eps_multiples"]:
            other = PGD(eps=min(multiple * attack.eps, 1.0), steps=attack.steps)
            known = measurements[name]["background"] if other == attack else None
            found = known or measure(model, attacked, other, seed=asked["seed"], stop="fooled")
            rows.append({"model": name, "eps": other.eps} | headline.of_verdicts(found))
    return rows


def other_mask(tried, elsewhere, attack, asked):
    rows = []
    for name, model in tried.each("other masks"):
        found = measure(model, elsewhere, attack, seed=asked["seed"], stop="fooled")
        where = {"model": name, "mask": asked["other_mask"], "attack": attack.name, "region": "background"}
        rows.append(where | {"eps": attack.eps} | summarize(found))
    return rows


def reliance_rows(tried, first, some, attack, asked):
    images, labels, own = some
    sources = reliance.draw_masks(images, labels, own=own, model=tried.models[first], seed=asked["seed"])
    quick = PGD(eps=attack.eps, steps=min(attack.steps, QUICK_STEPS))
    rows, shown = [], dict.fromkeys([first, *(name for name in tried.models if name == "LAT")])
    for name, model in tried.each("reliance", shown):
        found = reliance.by_source(model, images, labels, sources, quick, seed=asked["seed"])
        rows += [{"model": name} | row for row in found]
    return rows


def challenge_rows(tried, asked):
    """Exchanged backgrounds, where objects can be cut out: on composite, and on photographs with drawn masks."""
    dataset, drawn = asked["dataset"], asked["mask"] in (None, "ground_truth")
    few = {"limit": asked["reliance_limit"], "seed": asked["seed"]}
    if dataset == "composite":
        shown, score = challenge.challenge_images(**few), challenge.score
    elif dataset not in EMBEDDED and drawn and mask_feature(features(builder_of(dataset)), name=dataset):
        size = None if asked["image_size"] is None else 2 * (asked["image_size"],)
        shown, score = photographs.read_photographs(dataset, "test", image_size=size, **few), photo_challenge.score
        if np.unique(shown.labels, return_counts=True)[1].min() < 2:  # nobody of its class to take a background from
            return []
    else:
        return []
    return [{"model": name} | score(model, shown) for name, model in tried.each("challenge")]
