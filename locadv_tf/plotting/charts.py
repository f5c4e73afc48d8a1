"""Figures of numbers: accuracies with intervals; curves over budgets, correlations and epochs."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from locadv_tf.plotting.style import WIDTH, Picture, add_legend, refuse_nothing, styles, unique


def accuracy_bars(rows, *, group="region", series="model", title=None, value="accuracy", label="accuracy (%)"):
    """Accuracies as points with 95 % intervals, grouped along the x-axis, one colour per series.

    Args:
        rows: rows of `evaluate`, with the keys `group`, `series`, `value` and its `_low` and `_high`.
        group, series: the keys that tell groups and series apart.
        title: of the figure, or None.
        value: `"accuracy"` or `"asr"`; `label`: the axis' text, with its unit.

    Returns:
        A `Picture`.
    """
    refuse_nothing(rows)
    groups, names = unique(rows, group), unique(rows, series)
    figure = Figure(
        figsize=(min(WIDTH, max(5.5, 0.3 * len(groups) * (len(names) + 1.5) + 2)), 3.6), layout="constrained"
    )
    axis = figure.subplots()
    width = 0.75 / len(names)
    for i, (name, (colour, marker)) in enumerate(zip(names, styles(names), strict=True)):
        mine = [row for row in rows if row[series] == name and row[value] is not None]
        x = [groups.index(row[group]) + (i - (len(names) - 1) / 2) * width for row in mine]
        y, low, high = (100 * np.array([row[value + end] for row in mine]) for end in ("", "_low", "_high"))
        axis.errorbar(x, y, yerr=[y - low, high - y], color=colour, marker=marker, linestyle="", capsize=3, label=name)
    for boundary in range(1, len(groups)):
        axis.axvline(boundary - 0.5, color="0.9", zorder=0)
    axis.set(
        xticks=range(len(groups)), xticklabels=groups, ylabel=label, ylim=(-3, 103), xlim=(-0.5, len(groups) - 0.5)
    )
    axis.grid(axis="y", alpha=0.3)
    add_legend(figure, axis, names)
    if title:
        axis.set_title(title, fontsize=11)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{row[group]} {100 * row[value]:.0f} %" for row in rows
                                if row[series] == name and row[value] is not None)
        for name in names
    )  # fmt: skip
    return Picture(figure, f"{label} by {group}, with 95 % intervals. {told}.")


def accuracy_over_eps(rows, *, series="model", title=None):
    """Accuracy over the attack's budget, one line per series, with 95 % intervals as bands.

    Args:
        rows: rows of `evaluate`, with the keys `series` and `eps`.
        series: the key that tells the lines apart.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    refuse_nothing(rows)
    names = unique(rows, series)
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axis = figure.subplots()
    told = []
    for name, (colour, marker) in zip(names, styles(names), strict=True):
        mine = sorted((row for row in rows if row[series] == name), key=lambda row: row["eps"])
        eps = [255 * row["eps"] for row in mine]
        y, low, high = (100 * np.array([row["accuracy" + end] for row in mine]) for end in ("", "_low", "_high"))
        axis.plot(eps, y, color=colour, marker=marker, markersize=4, label=name)
        axis.fill_between(eps, low, high, color=colour, alpha=0.15, linewidth=0)
        told.append(f"{name} from {y[0]:.0f} % at {eps[0]:.3g}/255 to {y[-1]:.0f} % at {eps[-1]:.3g}/255")
    axis.set(xlabel="eps (n/255)", ylabel="accuracy (%)", ylim=(-3, 103))
    axis.grid(alpha=0.3)
    add_legend(figure, axis, names)
    if title:
        axis.set_title(title, fontsize=11)
    return Picture(figure, f"Accuracy over eps, with 95 % intervals: {'; '.join(told)}.")


def accuracy_over_passes(rows, *, group="region", series="model", title=None):
    """What accuracies cost: a panel per group, a point with its 95 % interval per training.

    Args:
        rows: rows of `evaluate`, with the keys `group`, `series` and `passes`: the forward and backward passes per
            image that the training took.
        group, series: the keys that tell panels and points apart.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    refuse_nothing(rows)
    groups, names = unique(rows, group), unique(rows, series)
    figure = Figure(figsize=(min(WIDTH, 3.3 * len(groups) + 2.3), 3.6), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharex=True, sharey=True)[0]
    most, told = max(row["passes"] for row in rows), []
    for axis, which in zip(axes, groups, strict=True):
        there = {}  # how many trainings have been drawn at the same cost: they stand side by side
        for name, (colour, marker) in zip(names, styles(names), strict=True):
            for row in (row for row in rows if (row[group], row[series]) == (which, name)):
                nth = there[row["passes"]] = there.get(row["passes"], -1) + 1
                y, low, high = (100 * row["accuracy" + end] for end in ("", "_low", "_high"))
                axis.errorbar(
                    row["passes"] + 0.03 * most * (-1) ** nth * ((nth + 1) // 2), y, yerr=[[y - low], [high - y]],
                    color=colour, marker=marker, linestyle="", capsize=3, label=name,
                )  # fmt: skip
                told.append(f"{which}, {name}: {y:.0f} % for {row['passes']:.3g} passes")
        axis.set(xlabel="forward and backward passes per image", title=which, xlim=(0, 1.12 * most), ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="accuracy (%)")
    add_legend(figure, axes[0], names)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Accuracy over passes per image, with 95 % intervals. {'; '.join(told)}.")


class Panel(NamedTuple):
    """A panel of `over_correlation`.

    Attributes:
        label: the axis' text, with its unit.
        factor: converts the quantity to this unit.
        neutral: the quantity of a model that does not rely on the background, marked by a line, or None.
        low, high: the quantity's smallest and largest possible value.
    """

    label: str
    factor: int = 1
    neutral: float | None = None
    low: float = -np.inf
    high: float = np.inf


def over_correlation(rows, panels, *, series="training", title=None):
    """Quantities over the correlation of background and label in training, one panel each, one line per training.

    Args:
        rows: rows of `challenge_page.over_seeds`: the keys `correlation` and `series`, and each quantity with `_low`
            and `_high` (None without an interval).
        panels: dictionary from a quantity to its `Panel`. Panels in per cent or points share one scale.
        series: the key that tells the lines apart.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    refuse_nothing(rows)
    names, correlations = unique(rows, series), unique(rows, "correlation")
    alone = len(correlations) == 1
    # Side by side, so that intervals do not hide each other.
    step = 0.01 * (1.0 if alone else max(correlations) - min(correlations))
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    told = []
    for axis, (quantity, (label, factor, neutral, *_)) in zip(axes, panels.items(), strict=False):
        for i, (name, (colour, marker)) in enumerate(zip(names, styles(names), strict=True)):
            mine = [row for row in rows if row[series] == name and row[quantity] is not None]
            mine.sort(key=lambda row: row["correlation"])
            y = np.array([row[quantity] for row in mine], float)
            ends = [
                [row[quantity] if row[quantity + end] is None else row[quantity + end] for row in mine]
                for end in ("_low", "_high")
            ]
            error = factor * np.abs(np.array(ends, float) - y)
            at = np.array([row["correlation"] for row in mine]) + step * (i - (len(names) - 1) / 2)
            axis.errorbar(at, factor * y, yerr=error, color=colour, marker=marker, markersize=5, capsize=3, label=name)
            if mine:
                ends = [f"{factor * row[quantity]:.3g} at {row['correlation']:g}" for row in (mine[0], mine[-1])]
                told.append(f"{' '.join(label.split())}, {name}: {', '.join(ends)}")
        if neutral is not None:
            axis.axhline(factor * neutral, color="0.6", linewidth=0.8, zorder=0)
        axis.set(xlabel="correlation in training", ylabel=label)
        if alone:
            axis.set(xticks=correlations, xlim=(correlations[0] - 0.1, correlations[0] + 0.1))
        axis.grid(alpha=0.3)
    drawn = list(zip(axes, panels.values(), strict=False))
    _one_scale([pair for pair in drawn if pair[1].factor == 100])
    for pair in drawn:
        if pair[1].factor != 100:
            _one_scale([pair])
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    add_legend(figure, axes[0], names)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"{len(panels)} quantities over the correlation, with 95 % intervals. {'; '.join(told)}.")


def _one_scale(drawn):
    """One scale for pairs of axes and `Panel`, within the panels' bounds (Student's interval may exceed them)."""
    if drawn:
        low = max(min(axis.get_ylim()[0] for axis, _ in drawn), min(panel.factor * panel.low for _, panel in drawn))
        high = min(max(axis.get_ylim()[1] for axis, _ in drawn), max(panel.factor * panel.high for _, panel in drawn))
        for axis, _ in drawn:
            axis.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))


def training_curves(histories, *, keys=("val_natural_loss", "val_adversarial_loss"), title=None):
    """Validation curves over epochs, one panel per quantity with one scale for all (logarithmic for a loss), one line
    per training.

    Args:
        histories: dictionary from a training's name to its `History.history`.
        keys: which quantities: losses only, or accuracies only (shown in per cent).
        title: of the figure, or None.

    Returns:
        A `Picture`.

    Raises:
        ValueError: for no history, or for losses and accuracies on one scale.
    """
    if not histories or len({"loss" in key for key in keys}) != 1:
        raise ValueError(f"keys={keys!r}; expected losses only or accuracies only, and at least one history.")
    scale, unit = (1, " (log scale)") if "loss" in keys[0] else (100, " (%)")
    figure = Figure(figsize=(min(WIDTH, 3.5 * len(keys) + 2.5), 3.4), layout="constrained")
    axes = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
    told = []
    for axis, key in zip(axes, keys, strict=True):
        quantity = key.removeprefix("val_").replace("_", " ")
        for (name, history), (colour, marker) in zip(histories.items(), styles(list(histories)), strict=True):
            values = scale * np.array(history[key])
            axis.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=3, label=name)
            told.append(f"{name} {quantity} {values[-1]:.3g}")
        axis.set(xlabel="epoch", title=quantity)
        if scale == 1:
            axis.set_yscale("log", subs=[])
            low, high = axis.get_ylim()
            axis.yaxis.set_major_locator(LogLocator(subs=[1, 2, 5]) if high > 6 * low else MaxNLocator(6))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel=f"on {'validation' if keys[0].startswith('val_') else 'training'} images{unit}")
    add_legend(figure, axes[-1], list(histories))
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Curves over epochs{unit}. In the end: {', '.join(told)}.")
