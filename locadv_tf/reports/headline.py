"""What a report opens with: accuracy under the kit's strongest attack, and the checks that speak for it.

Both are of the same images and the same attack, for every training. The ensemble and the checks cost more than all
the rest together: so they get some of the test images, and the PGD of the evaluation stands beside on the same ones.
"""

from locadv_tf import verdicts
from locadv_tf.attacks.autoattack import LocalizedAutoAttack
from locadv_tf.evaluation.intervals import with_interval
from locadv_tf.evaluation.measurement import Measurement, measure, natural_row, summarize


def strongest_attack(eps, *, budget, classes):
    """The kit's strongest attack, for a model of so many classes."""
    few = {} if classes >= 4 else {"loss": "margin"}  # the DLR loss needs four
    return LocalizedAutoAttack(eps=eps, budget=budget, targets=min(9, classes - 1), **few)


def accuracies(tried, sample, strongest, attack, measurements, chosen, regions, *, seed):
    """The accuracies that the report opens with: the strongest attack, and the evaluation's on the same images.

    Args:
        tried: a `Stage`.
        sample: `(images, labels, masks)` of the images, float32 `(N, H, W, C)`, int64 `(N,)`, float32 `(N, H, W, 1)`.
        strongest, attack: the attack objects.
        measurements: `measurements[training][region]`, a `Measurement` of `attack` on the attacked images.
        chosen: the sample's places among the attacked images, integers `(N,)`.
        regions: which the strongest attack gets; the checks are of "background", the first.
        seed: integer that all random numbers follow from.

    Returns:
        A row per training, region and attack, the strongest attack first; schema.py says what is in it.
    """
    rows = []
    for name, model in tried.each("headline"):
        for region in regions:
            for method, found in (
                (strongest, measure(model, sample, strongest, region=region, seed=seed, stop="fooled")),
                (attack, Measurement(*(part[chosen] for part in measurements[name][region]))),
            ):
                row = {"model": name, "attack": method.name, "region": region, "eps": method.eps}
                natural = [natural_row(found)[f"accuracy{end}"] for end in ("", "_low", "_high")]
                rows.append(row | with_interval("natural_accuracy", natural) | of_verdicts(found))
    return rows


def of_verdicts(found):
    """The part of `summarize` that is the same whether or not images leave the attack at the first point that fools."""
    return {key: value for key, value in summarize(found).items() if key == "n" or key.startswith(("accuracy", "asr"))}


def checks(tried, sample, strongest, *, seed):
    """The rows of `verdicts.check` per training, on the same images and with the same attack; arguments as above."""
    return {
        name: verdicts.check(model, sample, strongest, surrogate=tried.surrogate(name), seed=seed)
        for name, model in tried.each("checks")
    }
