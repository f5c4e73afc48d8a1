"""Every figure of the notebooks and the report.

A function returns a `Picture`. As the last line of a cell it shows itself, with its alternative text in the HTML.
Budgets are printed as n/255, accuracies in per cent. Panels that are compared share one scale. Each model and region
has one colour and one marker, from a palette that colour-blind readers can tell apart (Okabe & Ito 2008).
"""

from locadv_tf.plotting.charts import (
    Panel,
    accuracy_bars,
    accuracy_over_eps,
    accuracy_over_passes,
    over_correlation,
    training_curves,
)
from locadv_tf.plotting.images import (
    adversarial_examples,
    attack_cases,
    attack_steps,
    batch_schedules,
    image_grid,
    magnify,
    mask_sources,
    tint,
)
from locadv_tf.plotting.painting import Painting, paint
from locadv_tf.plotting.pairs import paired_differences, paired_intervals
from locadv_tf.plotting.sliders import explore
from locadv_tf.plotting.style import STYLES, Picture, styles

__all__ = [
    "STYLES",
    "Painting",
    "Panel",
    "Picture",
    "accuracy_bars",
    "accuracy_over_eps",
    "accuracy_over_passes",
    "adversarial_examples",
    "attack_cases",
    "attack_steps",
    "batch_schedules",
    "explore",
    "image_grid",
    "magnify",
    "mask_sources",
    "over_correlation",
    "paint",
    "paired_differences",
    "paired_intervals",
    "styles",
    "tint",
    "training_curves",
]
