"""The claims ledger: each claim of the paper's abstract (Rothberg et al. 2019), what was measured, and a verdict.

Only the abstract is at hand, so no number here is compared with one of the paper's.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf.evaluation.intervals import paired_difference
from locadv_tf.units import eps_255

VERDICTS = ("supported", "not supported", "undecided")
IMPERCEPTIBLE_EPS, IMPERCEPTIBLE_SSIM = 8 / 255, 0.95  # a convention and a proxy; no people were asked


class Comparison(NamedTuple):
    """A difference between LAT and another training, and the side of zero on which a claim puts it."""

    key: str
    claim: str
    against: str  # the other training
    quantity: str  # "loss" or "accuracy"
    condition: str  # "natural", "background" or "full"
    expected: str  # "below" or "above" zero


COMPARISONS = (
    Comparison("natural_loss", "LAT has a lower loss on natural images than ordinary training",
               "natural", "loss", "natural", "below"),
    Comparison("natural_loss_compute", "… than ordinary training at equal compute (control)",
               "natural, equal compute", "loss", "natural", "below"),
    Comparison("natural_loss_noise", "… than training with background noise (control)",
               "noise", "loss", "natural", "below"),
    Comparison("natural_loss_mask", "… than training on random masks of equal area (control)",
               "random mask", "loss", "natural", "below"),
    Comparison("natural_loss_at", "… than adversarial training of the full image (control)",
               "AT", "loss", "natural", "below"),
    Comparison("background_loss", "LAT has a lower loss on background-adversarial images than ordinary training",
               "natural", "loss", "background", "below"),
    Comparison("background_loss_compute", "… than ordinary training at equal compute (control)",
               "natural, equal compute", "loss", "background", "below"),
    Comparison("background_loss_noise", "… than training with background noise (control)",
               "noise", "loss", "background", "below"),
    Comparison("background_loss_mask", "… than training on random masks of equal area (control)",
               "random mask", "loss", "background", "below"),
    Comparison("background_loss_at", "… than adversarial training of the full image (control)",
               "AT", "loss", "background", "below"),
    Comparison("full_loss", "LAT has a lower loss on images attacked everywhere than ordinary training",
               "natural", "loss", "full", "below"),
    Comparison("natural_accuracy", "LAT has a higher accuracy on natural images",
               "natural", "accuracy", "natural", "above"),
    Comparison("background_accuracy", "LAT has a higher accuracy on background-adversarial images",
               "natural", "accuracy", "background", "above"),
)  # fmt: skip


def verdict(low, high, *, expected):
    """A verdict on a difference from its 95 % interval.

    Args:
        low, high: the interval; None where there is none.
        expected: `"above"` or `"below"` zero: what the claim says.

    Returns:
        `"supported"` if the whole interval lies on the claim's side of zero, `"not supported"` if it lies on the other,
        `"undecided"` if it holds zero, has no width, or there is none: None, or NaN where a loss is not finite.

    Example:
        >>> verdict(-0.05, -0.01, expected="below"), verdict(-0.05, 0.01, expected="below")
        ('supported', 'undecided')
        >>> verdict(float("nan"), float("nan"), expected="below"), verdict(0.1, 0.1, expected="above")
        ('undecided', 'undecided')
    """
    if low is None or low == high or not (low > 0 or high < 0):
        return "undecided"
    return "supported" if (low > 0) == (expected == "above") else "not supported"


def ledger(measurements, *, eps):
    """The ledger of one report: differences between models on the same images, with intervals over images.

    Args:
        measurements: `measurements[model][condition]`, a `Measurement` each, for any of the `TRAININGS` as models and
            the conditions "background", "full" and "noise", with the loss (`stop="worst"`).
        eps: the attacks' budget.

    Returns:
        A list of rows: `key`, `claim`, `against` (the training that LAT is compared with, or None), `measured` (a
        sentence with the numbers), `difference`, `low`, `high`, `n`, `verdict`. A claim about a model that is not there
        has no row.
    """
    rows = []
    if "natural" in measurements:
        rows = [_sensitivity(measurements["natural"]), _imperceptible(measurements["natural"]["background"], eps)]
    there = [comparison for comparison in COMPARISONS if {comparison.against, "LAT"} <= measurements.keys()]
    return rows + [_compared(comparison, measurements) for comparison in there]


def counts(rows):
    """How often each verdict was reached, `{verdict: number}`, on the abstract's claims in a ledger's rows.

    Controls do not count, and neither does "imperceptibly", which the choice of eps settles.

    Example:
        >>> row = {"key": "natural_loss", "against": "natural", "verdict": "undecided"}
        >>> counts([row, row | {"against": "AT"}])
        {'supported': 0, 'not supported': 0, 'undecided': 1}
    """
    own = [row for row in rows if row["against"] in (None, "natural") and row["key"] != "imperceptible"]
    return {verdict: sum(row["verdict"] == verdict for row in own) for verdict in VERDICTS}


def differences(rows):
    """The ledger's differences, without intervals, from the rows of one or more reports on the same images.

    The mean of paired differences is the difference of the means: the trainings may come from different reports.

    Args:
        rows: rows of `summarize` and `natural_row`, each with its `model` and `condition`, all of one data set, seed
            and eps.

    Returns:
        A list of rows `key`, `claim`, `difference`, for each claim of the ledger that is a difference and whose models
        are there.

    Example:
        >>> rows = [{"model": "natural", "condition": "full", "loss": 2.0, "accuracy": 0.25},
        ...         {"model": "LAT", "condition": "full", "loss": 1.5, "accuracy": 0.75}]
        >>> [(row["key"], row["difference"]) for row in differences(rows)]
        [('full_loss', -0.5)]
    """
    there = {(row["model"], row["condition"]): row for row in rows}
    found = []
    attacked, noise = (there.get(("natural", condition), {}).get("asr") for condition in ("background", "noise"))
    if attacked is not None and noise is not None:
        found.append({"key": "sensitivity", "claim": _SENSITIVITY, "difference": attacked - noise})
    for key, claim, against, quantity, condition, _ in COMPARISONS:
        before, after = (there.get((model, condition), {}).get(quantity) for model in (against, "LAT"))
        if before is not None and after is not None:  # a loss is None where it was not finite
            found.append({"key": key, "claim": claim, "difference": after - before})
    return found


def _compared(comparison, measurements):
    before, after = (_values(measurements[name], comparison) for name in (comparison.against, "LAT"))
    difference, low, high = paired_difference(before, after)
    scale, unit = (100, " %") if comparison.quantity == "accuracy" else (1, "")
    measured = f"{scale * np.mean(before):.3g}{unit} → {scale * np.mean(after):.3g}{unit}"
    if low is not None:
        measured += f"; paired difference {scale * difference:+.3g} [{scale * low:+.3g} to {scale * high:+.3g}]"
        measured += " points" if unit else ""
    result = verdict(low, high, expected=comparison.expected)
    return _row(
        comparison.key, comparison.claim, comparison.against, measured, difference, low, high, len(before), result
    )


def _values(measured, comparison):
    if comparison.condition == "natural":
        found = measured["background"]
        return found.natural_loss if comparison.quantity == "loss" else found.natural_correct
    found = measured[comparison.condition]
    return found.loss if comparison.quantity == "loss" else found.correct


def _sensitivity(natural):
    """Does the attack on the background fool more often than noise of the same size in the same place?"""
    right = natural["background"].natural_correct
    attacked, noise = (~natural[condition].correct[right] for condition in ("background", "noise"))
    if not right.any():
        return _row(
            "sensitivity", _SENSITIVITY, None, "the model gets no image right", None, None, None, 0, "undecided"
        )
    difference, low, high = paired_difference(noise, attacked)
    measured = (
        f"of the {right.sum()} images it gets right, the attack turns {100 * attacked.mean():.1f} % wrong and noise "
        f"of the same size {100 * noise.mean():.1f} %"
    )
    if low is not None:
        measured += f"; paired difference {100 * difference:+.1f} [{100 * low:+.1f} to {100 * high:+.1f}] points"
    result = verdict(low, high, expected="above")
    return _row("sensitivity", _SENSITIVITY, None, measured, difference, low, high, int(right.sum()), result)


_SENSITIVITY = "Perturbing only the background makes an ordinarily trained classifier err"


def _imperceptible(measurement, eps):
    ssim = measurement.ssim.mean()
    met = eps <= IMPERCEPTIBLE_EPS and ssim >= IMPERCEPTIBLE_SSIM
    measured = (
        f"largest change {eps_255(measurement.largest_change.max())}, mean SSIM {ssim:.3f}. Counted as met up to "
        f"{eps_255(IMPERCEPTIBLE_EPS)} and from SSIM {IMPERCEPTIBLE_SSIM}: a convention, since no people were asked"
    )
    claim = "… imperceptibly"
    return _row(
        "imperceptible", claim, None, measured, None, None, None, len(measurement.ssim), VERDICTS[0 if met else 1]
    )


def _row(*values):
    names = ("key", "claim", "against", "measured", "difference", "low", "high", "n", "verdict")
    return dict(zip(names, values, strict=True))
