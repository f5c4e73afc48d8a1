"""How much accuracy a model loses under attack, and whether it relies on the background."""

from locadv_tf.evaluation.guesses import mask_quality
from locadv_tf.evaluation.intervals import (
    balanced_interval,
    bootstrap_difference,
    largest_share,
    mean_interval,
    paired_difference,
    paired_interval,
    share_interval,
    with_interval,
)
from locadv_tf.evaluation.measurement import Measurement, evaluate, format_row, measure, natural_row, summarize

__all__ = [
    "Measurement",
    "balanced_interval",
    "bootstrap_difference",
    "evaluate",
    "format_row",
    "largest_share",
    "mask_quality",
    "mean_interval",
    "measure",
    "natural_row",
    "paired_difference",
    "paired_interval",
    "share_interval",
    "summarize",
    "with_interval",
]
