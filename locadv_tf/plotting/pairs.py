"""Figures of paired differences: two classifiers on the same images, image by image."""

import numpy as np
from matplotlib.figure import Figure

from locadv_tf.evaluation.intervals import largest_share
from locadv_tf.plotting.style import BLUE, WIDTH, Picture, refuse_nothing, styles, unique


def paired_intervals(panels, *, name="against", title=None):
    """Paired differences with their 95 % intervals, a panel per quantity, a line per name; zero is marked.

    Args:
        panels: dictionary from the axis' text (what is subtracted from what, with its unit) to rows with the keys
            `name`, `difference`, `low` and `high` (None where there is no interval, all None where there is no number);
            `values`, where a row has them, are what its difference is the mean of: a small dot each, below the line.
        name: the key that tells lines apart, with the same names in all panels.
        title: of the figure, or None.

    Returns:
        A `Picture`.

    Raises:
        ValueError: for no row with a difference.

    Example:
        >>> rows = [{"against": "natural", "difference": -0.05, "low": -0.08, "high": -0.02}]
        >>> paired_intervals({"natural loss, LAT − other": rows})
        Picture: Paired differences with 95 % intervals. natural loss, LAT − other: natural -0.05 [-0.08 to -0.02].
    """
    there = {label: [row for row in rows if _finite(row["difference"])] for label, rows in panels.items()}
    refuse_nothing([row for rows in there.values() for row in rows])
    names = unique([row for rows in panels.values() for row in rows], name)
    figure = Figure(figsize=(min(WIDTH, 3.3 * len(panels) + 1.8), 0.34 * len(names) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    colours, told = dict(zip(names, styles(names), strict=True)), []
    for axis, (label, rows) in zip(axes, there.items(), strict=True):
        axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        for row in rows:
            middle, ends = row["difference"], [row[end] for end in ("low", "high") if _finite(row[end])]
            colour, marker = colours[row[name]]
            error = [[middle - min(ends)], [max(ends) - middle]] if ends else None
            axis.errorbar(middle, names.index(row[name]), xerr=error, color=colour, marker=marker, capsize=3)
            single = row.get("values", ())
            axis.plot(single, [names.index(row[name]) + 0.27] * len(single), ".", color=colour, alpha=0.6)
            interval = f" [{ends[0]:+.3g} to {ends[1]:+.3g}]" if ends else ""
            told.append(f"{label}: {row[name]} {middle:+.3g}{interval}")
        axis.set(xlabel=label, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        axis.xaxis.get_major_locator().set_params(nbins=5 if len(panels) < 4 else 3)  # the labels of four touch
        axis.grid(axis="x", alpha=0.3)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Paired differences with 95 % intervals. {'; '.join(told)}.")


def _finite(value):
    return value is not None and bool(np.isfinite(value))


def paired_differences(values, *, label, title=None, largest=10):
    """How a mean of paired differences comes about: a histogram with a log count, and what the largest images carry.

    Args:
        values: `(N,)`, a difference per image.
        label: the axis' text: what is subtracted from what.
        title: of the figure, or None.
        largest: how many images to single out.

    Returns:
        A `Picture`.

    Raises:
        ValueError: if no value is finite.
    """
    values = np.asarray(values, np.float64)
    kept = values[np.isfinite(values)]
    refuse_nothing(kept)
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.hist(kept, bins=40, color=BLUE)
    axis.axvline(0, color="0.6", linewidth=0.8)
    axis.axvline(kept.mean(), color="black", linestyle="--", label=f"mean {kept.mean():+.3g}")
    axis.set(xlabel=label, ylabel="images (log scale)", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    share = largest_share(kept, largest)
    told = [f"{len(kept):,} images."]
    if share is not None:
        few = min(largest, len(kept))
        told[0] += f" The {few} largest carry {100 * share:.0f} % of the sum of absolute differences."
    if lost := len(values) - len(kept):
        told.append(f"Left out, since not finite: {lost}.")
    axis.set_title("\n".join([title, *told] if title else told), fontsize=10)
    alt = f"Histogram of {label}, from {kept.min():+.3g} to {kept.max():+.3g}, median {np.median(kept):+.3g}, mean "
    return Picture(figure, f"{alt}{kept.mean():+.3g}. {' '.join(told)}")
