"""The claims ledger: each claim of the paper's abstract (Rothberg et al. 2019), what was measured, and what it says.

Only the abstract is at hand, so no number here is compared with one of the paper's. One run (one seed) says what
happened in it: lower, higher, open. What a method does needs several seeds: over_seeds.py.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf.evaluation.intervals import bootstrap_difference, paired_difference
from locadv_tf.units import eps_255

WORDS = ("lower", "higher", "open", "met", "not met")  # met: of claims that are no single difference
ABSTRACT = {  # the claims of the abstract, once each, and the word of a run that agrees
    "sensitivity": "higher",
    "imperceptible": "met",
    "natural_loss": "lower",
    "background_loss": "lower",
    "unnecessary": "met",
}
COUNTS = ("as the abstract claims", "against the abstract", "open")
IMPERCEPTIBLE_EPS, IMPERCEPTIBLE_SSIM = 8 / 255, 0.95  # a convention and a proxy; no people were asked
# "No loss of natural accuracy" means: at most one point. Natural training with another seed changes it by as much (in
# docs/results.md 95.9 % on MNIST, 94.9 to 96.9 over three seeds), so nobody could use a smaller difference.
MARGIN = 0.01


class Comparison(NamedTuple):
    """A difference between LAT and another training, and where a claim puts it: "lower" or "higher" than zero."""

    key: str
    claim: str
    against: str  # the other training
    quantity: str  # "loss" or "accuracy"
    condition: str  # "natural", "background" or "full"
    expected: str
    kind: str  # "abstract": a claim of the abstract; "control"; or "further": a comparison beside them


COMPARISONS = (
    Comparison("natural_loss", "LAT has a lower loss on natural images than ordinary training",
               "natural", "loss", "natural", "lower", "abstract"),
    Comparison("natural_loss_compute", "… than ordinary training at equal compute (control)",
               "natural, equal compute", "loss", "natural", "lower", "control"),
    Comparison("natural_loss_noise", "… than training with background noise (control)",
               "noise", "loss", "natural", "lower", "control"),
    Comparison("natural_loss_mask", "… than training on random masks of equal area (control)",
               "random mask", "loss", "natural", "lower", "control"),
    Comparison("natural_loss_at", "… than adversarial training of the full image (control)",
               "AT", "loss", "natural", "lower", "control"),
    Comparison("background_loss", "LAT has a lower loss on background-adversarial images than ordinary training",
               "natural", "loss", "background", "lower", "abstract"),
    Comparison("background_loss_compute", "… than ordinary training at equal compute (control)",
               "natural, equal compute", "loss", "background", "lower", "control"),
    Comparison("background_loss_noise", "… than training with background noise (control)",
               "noise", "loss", "background", "lower", "control"),
    Comparison("background_loss_mask", "… than training on random masks of equal area (control)",
               "random mask", "loss", "background", "lower", "control"),
    Comparison("background_loss_at", "… than adversarial training of the full image (control)",
               "AT", "loss", "background", "lower", "control"),
    Comparison("full_loss", "LAT has a lower loss on images attacked everywhere than ordinary training",
               "natural", "loss", "full", "lower", "further"),
    Comparison("natural_accuracy", "LAT has a higher accuracy on natural images",
               "natural", "accuracy", "natural", "higher", "further"),
    Comparison("background_accuracy", "LAT has a higher accuracy on background-adversarial images",
               "natural", "accuracy", "background", "higher", "further"),
)  # fmt: skip


def direction(low, high):
    """What a 95 % interval of a difference says of one run.

    Args:
        low, high: the interval; None where there is none.

    Returns:
        `"lower"` if the whole interval lies below zero, `"higher"` if above, `"open"` if it holds zero, has no width,
        or there is none: None, or NaN where a loss is not finite.

    Example:
        >>> direction(-0.05, -0.01), direction(-0.05, 0.01), direction(0.1, 0.1)
        ('lower', 'open', 'open')
        >>> direction(float("nan"), float("nan"))
        'open'
    """
    if low is None or low == high or not (low > 0 or high < 0):
        return "open"
    return "higher" if low > 0 else "lower"


def unnecessary(gain, loss):
    """Is the sensitivity unnecessary: does LAT lose it at no loss of natural accuracy?

    Args:
        gain: the 95 % interval `(low, high)` of the accuracy under background attack, LAT minus natural training.
        loss: that of the natural accuracy.

    Returns:
        `"met"` if the gain is higher than 0 and the natural accuracy not lower by more than `MARGIN`, both with their
        whole interval; `"not met"` if one of them is on the other side with its whole interval; else `"open"`.

    Example:
        >>> unnecessary((0.2, 0.3), (-0.005, 0.01)), unnecessary((0.2, 0.3), (-0.05, -0.02))
        ('met', 'not met')
        >>> unnecessary((0.2, 0.3), (-0.02, 0.01))
        'open'
    """
    shifted = tuple(None if end is None else end + MARGIN for end in loss)
    found = {direction(*gain), direction(*shifted)}
    return "not met" if "lower" in found else "met" if found == {"higher"} else "open"


def ledger(measurements, *, eps):
    """The ledger of one report: differences between models on the same images, with intervals over images.

    Args:
        measurements: `measurements[model][condition]`, a `Measurement` each, for any of the `TRAININGS` as models and
            the conditions "background", "full" and "noise", with the loss (`stop="worst"`). "natural" may hold more
            images (a `Natural`); else those of "background" are taken.
        eps: the attacks' budget.

    Returns:
        A list of rows: `key`, `claim`, `kind` ("abstract", "control" or "further"), `against` (the training that LAT is
        compared with, or None), `measured` (a sentence with the numbers), `difference`, `low`, `high`, `n`, `expected`
        and `verdict`, both of `WORDS`. A claim about a model that is not there has no row. The interval of a loss is a
        bootstrap: few images carry most of a natural loss. The intervals are not corrected for their number.
    """
    rows = []
    if "natural" in measurements:
        rows = [_sensitivity(measurements["natural"]), _imperceptible(measurements["natural"]["background"], eps)]
    there = [comparison for comparison in COMPARISONS if {comparison.against, "LAT"} <= measurements.keys()]
    found = {comparison.key: _compared(comparison, measurements) for comparison in there}
    if "natural_accuracy" in found:
        rows.append(_unnecessary(found["background_accuracy"], found["natural_accuracy"]))
    return rows + list(found.values())


def counts(rows):
    """What a run says of the abstract's claims, `{one of COUNTS: number}`; controls do not count.

    Example:
        >>> row = {"kind": "abstract", "expected": "lower", "verdict": "higher"}
        >>> counts([row, row | {"kind": "control"}])
        {'as the abstract claims': 0, 'against the abstract': 1, 'open': 0}
    """
    said = [agrees(row) for row in rows if row["kind"] == "abstract"]
    return {name: said.count(name) for name in COUNTS}


def agrees(row):
    """Whether what a run says is what was claimed: one of `COUNTS`."""
    return "open" if row["verdict"] == "open" else COUNTS[row["verdict"] != row["expected"]]


def differences(rows):
    """The ledger's differences, without intervals, from the rows of one or more reports on the same images.

    The mean of paired differences is the difference of the means: the trainings may come from different reports.

    Args:
        rows: rows of `summarize` and `natural_row` (with `stop="worst"`), each with its `model` and `condition`, all of
            one data set, seed and eps.

    Returns:
        A list of rows `key`, `claim`, `kind`, `expected`, `difference` (None where a loss is not finite), `diverged`
        (whether one of the two trainings has a loss that is not finite), for each claim of the ledger whose models are
        there. "unnecessary" has `natural`, too, the difference of the natural accuracies plus `MARGIN`; the
        `difference` of "imperceptible" says whether the convention is met: 1 or 0.

    Example:
        >>> rows = [{"model": "natural", "condition": "full", "loss": 2.0, "accuracy": 0.25},
        ...         {"model": "LAT", "condition": "full", "loss": 1.5, "accuracy": 0.75}]
        >>> [(row["key"], row["difference"]) for row in differences(rows)]
        [('full_loss', -0.5)]
    """
    there = {(row["model"], row["condition"]): row for row in rows}
    broken = diverged(rows)

    def value(model, condition, quantity):
        return there.get((model, condition), {}).get(quantity)

    found = []
    attacked, noise = (value("natural", condition, "asr") for condition in ("background", "noise"))
    if attacked is not None and noise is not None:
        found.append(_difference("sensitivity", _SENSITIVITY, attacked - noise, {"natural"} & broken))
    ssim, eps = (value("natural", "background", name) for name in ("ssim", "eps"))
    if ssim is not None and eps is not None:
        found.append(_difference("imperceptible", _IMPERCEPTIBLE, float(_hardly_visible(eps, ssim)), ()))
    compared = {}
    for comparison in COMPARISONS:
        pair = [(model, comparison.condition, comparison.quantity) for model in (comparison.against, "LAT")]
        if all(comparison.quantity in there.get(where[:2], {}) for where in pair):
            before, after = (value(*where) for where in pair)
            both = None not in (before, after) and bool(np.isfinite([before, after]).all())
            compared[comparison.key] = _difference(
                comparison.key, comparison.claim, after - before if both else None,
                {comparison.against, "LAT"} & broken, comparison.kind, comparison.expected,
            )  # fmt: skip
    if {"natural_accuracy", "background_accuracy"} <= compared.keys():
        gain, loss = (compared[key] for key in ("background_accuracy", "natural_accuracy"))
        row = _difference("unnecessary", _UNNECESSARY, gain["difference"], gain["diverged"])
        found.append(row | {"natural": loss["difference"] + MARGIN})
    return found + list(compared.values())


def diverged(rows):
    """The trainings with a loss that is not finite (null in `metrics.json`), from rows as for `differences`."""
    return {row["model"] for row in rows if "loss" in row and (row["loss"] is None or not np.isfinite(row["loss"]))}


def _difference(key, claim, difference, broken, kind="abstract", expected=None):
    expected = expected or ABSTRACT[key]
    row = {"key": key, "claim": claim, "kind": kind, "expected": expected, "difference": difference}
    return row | {"diverged": bool(broken)}


def _compared(comparison, measurements):
    before, after = (_values(measurements[name], comparison) for name in (comparison.against, "LAT"))
    interval = bootstrap_difference if comparison.quantity == "loss" else paired_difference
    difference, low, high = interval(before, after)
    scale, unit = (100, " %") if comparison.quantity == "accuracy" else (1, "")
    measured = f"{scale * np.mean(before):.3g}{unit} → {scale * np.mean(after):.3g}{unit}"
    if low is not None:
        measured += f"; paired difference {scale * difference:+.3g} [{scale * low:+.3g} to {scale * high:+.3g}]"
        measured += " points" if unit else ""
    return _row(
        comparison.key, comparison.claim, comparison.kind, comparison.against, measured, difference, low, high,
        len(before), comparison.expected, direction(low, high),
    )  # fmt: skip


def _values(measured, comparison):
    if comparison.condition == "natural":
        found = measured.get("natural", measured["background"])  # on more images, if not all are attacked
        return found.natural_loss if comparison.quantity == "loss" else found.natural_correct
    found = measured[comparison.condition]
    return found.loss if comparison.quantity == "loss" else found.correct


def _sensitivity(natural):
    """Does the attack on the background fool more often than noise of the same size in the same place?"""
    right = natural["background"].natural_correct
    attacked, noise = (~natural[condition].correct[right] for condition in ("background", "noise"))
    if not right.any():
        measured = "the model gets no image right"
        return _abstract("sensitivity", _SENSITIVITY, None, measured, None, None, None, 0, "open")
    difference, low, high = paired_difference(noise, attacked)
    measured = (
        f"of the {right.sum()} images it gets right, the attack turns {100 * attacked.mean():.1f} % wrong and noise "
        f"of the same size {100 * noise.mean():.1f} %"
    )
    if low is not None:
        measured += f"; paired difference {100 * difference:+.1f} [{100 * low:+.1f} to {100 * high:+.1f}] points"
    n, found = int(right.sum()), direction(low, high)
    return _abstract("sensitivity", _SENSITIVITY, None, measured, difference, low, high, n, found)


_SENSITIVITY = "An attack on the background fools an ordinarily trained classifier (more often than noise)"
_IMPERCEPTIBLE = "… imperceptibly"
_UNNECESSARY = (
    "This sensitivity is unnecessary: LAT has a higher accuracy under the background attack, and on natural images "
    f"at most {100 * MARGIN:g} point less"
)


def _hardly_visible(eps, ssim):
    return eps <= IMPERCEPTIBLE_EPS and ssim >= IMPERCEPTIBLE_SSIM


def _imperceptible(measurement, eps):
    ssim = measurement.ssim.mean()
    measured = (
        f"largest change {eps_255(measurement.largest_change.max())}, mean SSIM {ssim:.3f}. Counted as met up to "
        f"{eps_255(IMPERCEPTIBLE_EPS)} and from SSIM {IMPERCEPTIBLE_SSIM}: a convention, since no people were asked"
    )
    found = "met" if _hardly_visible(eps, ssim) else "not met"
    n = len(measurement.ssim)
    return _abstract("imperceptible", _IMPERCEPTIBLE, None, measured, None, None, None, n, found)


def _unnecessary(gain, loss):
    """The row that combines the two accuracies' rows."""
    measured = f"under the background attack {gain['measured']}; natural {loss['measured']}"
    found = unnecessary(*((row["low"], row["high"]) for row in (gain, loss)))
    return _abstract("unnecessary", _UNNECESSARY, "natural", measured, None, None, None, gain["n"], found)


def _abstract(key, claim, against, *values):
    *numbers, found = values
    return _row(key, claim, "abstract", against, *numbers, ABSTRACT[key], found)


def _row(*values):
    names = ("key", "claim", "kind", "against", "measured", "difference", "low", "high", "n", "expected", "verdict")
    return dict(zip(names, values, strict=True))
