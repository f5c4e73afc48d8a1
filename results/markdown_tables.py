"""Tables of results/README.md: a mean with its interval as a cell shows it, and lines as Markdown."""

import pandas as pd

from locadv_tf.evaluation.intervals import mean_interval, with_interval
from locadv_tf.reports.over_seeds import ENOUGH

NOTHING = "–"
POINTS, PER_CENT = {"form": "+.1f", "scale": 100}, {"form": ".1f", "scale": 100}  # of shares


def cell(row, name, form, *, scale=1, unit=""):
    """A mean over seeds, from enough of them on with its interval: `−0.004 [−0.006, −0.002]`.

    Args:
        row: has the `seeds` and, where there is one, the mean under its `name` and its interval as `name_low` and
            `name_high`.
        form: of each number, as `"+.3f"`.
        scale: 100 for points or per cent.
    """
    mean, *ends = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if pd.isna(mean):
        return NOTHING
    text = f"{scale * mean:{form}}"
    if row["seeds"] >= ENOUGH and not any(pd.isna(end) for end in ends):
        text += f" [{', '.join(f'{scale * end:{form}}' for end in ends)}]"
    return text.replace("-", "−") + unit


def counted(row, name, form, **how):
    """The same with the number of seeds: `+25.1 [+21.0, +29.1] points (5)`."""
    shown = cell(row, name, form, **how)
    return shown if shown == NOTHING else f"{shown} ({int(row['seeds'])})"


def over_seeds(values, form, **how):
    """The same from the value of each seed."""
    if not values:
        return NOTHING
    return counted({"seeds": len(values)} | with_interval("value", mean_interval(values)), "value", form, **how)


def markdown(heads, lines):
    """A table of texts."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *lines])
