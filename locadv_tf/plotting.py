"""Every figure of the notebooks and the report.

A function returns a `Picture`: as the last line of a cell it shows itself, with its alternative text in the HTML.
Budgets are printed as n/255, accuracies in per cent; panels that are compared share their scales; models and regions
keep one colour and one marker each, from a palette that colour-blind readers can tell apart (Okabe & Ito 2008).
"""

import base64
import html
import io
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from locadv_tf.attacks import eps_255

_BLUE, _ORANGE, _GREEN, _RED, _PINK, _SKY, _BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")  # fmt: skip
STYLES = {  # a colour and a marker for what recurs; anything else gets the next free one
    "natural": (_BLACK, "o"),
    "natural, equal compute": ("#777777", "D"),
    "noise": (_ORANGE, "v"),
    "LAT": (_BLUE, "s"),
    "AT": (_RED, "^"),
    "background": (_BLUE, "s"),
    "foreground": (_ORANGE, "v"),
    "full": (_RED, "^"),
    "random mask": (_PINK, "X"),
    "random noise": ("#777777", "D"),
}
WIDTH = 9.0  # inches, at most: wider figures would shrink on the page, and their letters with them
_SPARE = [(_GREEN, "P"), (_SKY, "*"), (_PINK, "X"), (_ORANGE, "<"), (_GREEN, "h"), (_SKY, "p")]


class Picture:
    """A figure with its alternative text; a notebook shows it as `<img alt=…>`.

    Args:
        figure: a `matplotlib.figure.Figure`.
        alt: what the figure shows, for those who cannot see it.

    Raises:
        ValueError: without an alternative text.
    """

    def __init__(self, figure, alt):
        if not alt.strip():
            raise ValueError("alt is empty; expected a sentence that says what the figure shows.")
        self.figure, self.alt = figure, " ".join(alt.split())

    def png(self):
        """The figure as the bytes of a PNG file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
        return buffer.getvalue()

    def _repr_html_(self):
        data = base64.b64encode(self.png()).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}" style="max-width: 100%">'

    def __repr__(self):
        return f"Picture: {self.alt}"


def image_grid(rows, *, column_titles=None, title=None, alt, size=1.15):
    """Images in rows of equal kind, each row with its name at the left.

    Args:
        rows: dictionary from a row's name to images or masks `(N, H, W, C)` in [0, 1], C = 1 or 3.
        column_titles: N short texts, or None.
        title: of the figure, or None.
        alt: the alternative text.
        size: of an image, in inches.

    Returns:
        A `Picture`.

    Raises:
        ValueError: without rows or images.

    Example:
        >>> image_grid({"image": np.zeros((2, 8, 8, 1))}, alt="Two black squares.")
        Picture: Two black squares.
    """
    if not rows or min(len(images) for images in rows.values()) == 0:
        raise ValueError("rows hold no images; expected a dictionary from names to at least one image each.")
    columns = max(len(images) for images in rows.values())
    size = min(size, (WIDTH - 1.4) / columns)
    figure = Figure(figsize=(size * columns + 1.4, size * len(rows) * 1.08 + 0.45), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            draw_image(axis, image)
        for axis in line[len(images) :]:
            axis.set_axis_off()
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for axis, text in zip(axes[0], column_titles if column_titles is not None else [], strict=False):
        axis.set_title(text, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, alt)


def mask_sources(images, masks, *, title="Where is the background?"):
    """Images with the background masks of several sources; the background is tinted blue.

    Args:
        images: float32 `(N, H, W, C)` in [0, 1].
        masks: dictionary from a source's name to its masks `(N, H, W, 1)`.

    Returns:
        A `Picture`.
    """
    rows = {"image": images} | {name: tint(images, mask) for name, mask in masks.items()}
    areas = ", ".join(f"{name} {100 * np.mean(mask):.0f} %" for name, mask in masks.items())
    return image_grid(
        rows,
        title=f"{title} (tinted blue)",
        alt=f"{len(images)} images; below each, the background according to {len(masks)} sources, tinted blue. "
        f"Mean share of background: {areas}.",
    )


def tint(images, masks):
    """The images in colour, with the masked pixels (mask = 1) tinted blue, `(N, H, W, 3)`."""
    images = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else np.asarray(images)
    blue = np.array([0.0, 0.45, 0.85])
    return np.where(np.asarray(masks) == 1, 0.3 * images + 0.7 * blue, images)


def magnify(change, eps):
    """A perturbation as an image: −eps is black, 0 is grey, +eps is white.

    Example:
        >>> magnify(np.array([-0.1, 0.0, 0.1]), 0.1).tolist()
        [0.0, 0.5, 1.0]
    """
    return np.clip(0.5 + np.asarray(change) / (2 * max(eps, 1e-6)), 0, 1)


def adversarial_examples(images, adversarial, *, eps, predicted, names, masks=None, title=None):
    """Images, what was changed, and the results, with what the model takes them for.

    Args:
        images, adversarial: float32 `(N, H, W, C)` in [0, 1].
        eps: the attack's budget: the perturbation's colours reach from −eps to +eps in every panel.
        predicted: pairs `(natural, adversarial)` of class indices, N of them.
        names: the classes' names.
        masks: `(N, H, W, 1)`, shown tinted if given.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    magnified = magnify(np.asarray(adversarial) - np.asarray(images), eps)
    rows = {"image": images} | ({"background\n(blue)": tint(images, masks)} if masks is not None else {})
    rows |= {f"perturbation,\ngrey = 0,\nblack, white =\n∓{eps_255(eps)}": magnified, "attacked": adversarial}
    titles = [f"{names[a]} → {names[b]}" if a != b else f"{names[a]}, kept" for a, b in predicted]
    fooled = sum(a != b for a, b in predicted)
    return image_grid(
        rows,
        column_titles=titles,
        title=title,
        alt=f"{len(images)} images, the perturbation magnified so that its range is ±{eps_255(eps)}, and the attacked "
        f"images. The prediction changes for {fooled} of them: {'; '.join(titles)}.",
    )


def attack_steps(steps, *, image, eps, title=None):
    """One image on its way through an attack.

    Args:
        steps: list of dictionaries with `x` (the point, `(H, W, C)`), `loss`, `confidence` (the true class's
            probability) and, if you like, `predicted` (the predicted class's name), one per point, the start first.
        image: the natural image `(H, W, C)`.
        eps: the budget: the perturbation's colours reach from −eps to +eps.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    _some(steps)
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 7)).round().astype(int))
    figure = Figure(figsize=(1.35 * len(shown) + 1.2, 5.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.45, 1])  # apart, so that no label widens an image's column
    axes = above.subplots(2, len(shown), squeeze=False)
    for column, k in zip(axes.T, shown, strict=True):
        point = np.asarray(steps[k]["x"])
        draw_image(column[0], point)
        draw_image(column[1], magnify(point - image, eps))
        read = f"\nread as {steps[k]['predicted']}" if "predicted" in steps[k] else ""
        column[0].set_title(f"k = {k}{read}", fontsize=9)
    axes[0, 0].set_ylabel("point", fontsize=9)
    axes[1, 0].set_ylabel(f"perturbation\n±{eps_255(eps)}", fontsize=9)
    curves = (("loss", "loss (cross-entropy)", _RED), ("confidence", "probability of the true class", _BLUE))
    for axis, (name, label, colour) in zip(below.subplots(1, 2), curves, strict=True):
        axis.plot([float(step[name]) for step in steps], color=colour, marker="o", markersize=3)
        axis.set(xlabel="iteration k", ylim=(0, 1.02) if name == "confidence" else (0, None))
        axis.set_ylabel(label, fontsize=9)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title, fontsize=11)
    first, last = steps[0], steps[-1]
    return Picture(
        figure,
        f"One image through {len(steps) - 1} iterations: the loss goes from {float(first['loss']):.2f} to "
        f"{float(last['loss']):.2f}, the true class's probability from {100 * float(first['confidence']):.0f} % to "
        f"{100 * float(last['confidence']):.0f} %.",
    )


def attack_cases(cases, *, names, scale, title=None):
    """Images under attack, a row each: the image, the perturbation, the result, and the probabilities of the classes.

    Args:
        cases: list of dictionaries with `image` and `x` (the natural and the attacked image, `(H, W, C)`), `label` (the
            true class's index), `region`, `attack` (the attack's name) and `before` and `after` (the probabilities of
            all classes, `(K,)`, without and with the attack).
        names: the K classes' names; the true and the nine most probable ones are shown.
        scale: the perturbation's colours reach from −scale to +scale, in pixel units of [0, 1].
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    _some(cases)
    figure = Figure(figsize=(WIDTH, 2.35 * len(cases) + 0.55), layout="constrained")
    grid = figure.subplots(len(cases), 4, squeeze=False, width_ratios=[1, 1, 1, 1.6])
    told = []
    for line, case in zip(grid, cases, strict=True):
        image, x = np.asarray(case["image"]), np.asarray(case["x"])
        read = [names[int(np.argmax(case[when]))] for when in ("before", "after")]
        sure = [100 * float(np.max(case[when])) for when in ("before", "after")]
        panels = (
            (image, f"natural: read as “{read[0]}”"),
            (magnify(x - image, scale), f"perturbation, white and\nblack = ±{eps_255(scale)}"),
            (x, f"attacked: read as “{read[1]}”"),
        )
        for axis, (pixels, text) in zip(line, panels, strict=False):
            draw_image(axis, pixels)
            axis.set_title(text, fontsize=9)
        line[0].set_ylabel(f"{case['region']}\n{case['attack']}".replace(", ", ",\n"), fontsize=9)
        _probabilities(line[3], case, names)
        told.append(
            f"{case['attack']} on the region {case['region']}: a “{names[case['label']]}” that is read as “{read[0]}” "
            f"({sure[0]:.0f} %) is read as “{read[1]}” ({sure[1]:.0f} %) under the attack; the largest change of a "
            f"pixel is {eps_255(np.abs(x - image).max())}"
        )
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"{'. '.join(told)}.")


def _probabilities(axis, case, names):
    """The classes' probabilities before and after an attack, as pairs of bars."""
    before, after = np.asarray(case["before"]), np.asarray(case["after"])
    rank = np.maximum(before, after)
    rank[case["label"]] = 1.0  # always among the ten
    shown = np.sort(np.argsort(-rank, kind="stable")[:10])
    y = np.arange(len(shown))
    ((colour, _),) = styles([case["region"]])
    axis.barh(y - 0.2, before[shown], height=0.4, color="0.6", label="natural")
    axis.barh(y + 0.2, after[shown], height=0.4, color=colour, label="attacked")
    ticks = [f"{names[k]} (true)" if k == case["label"] else names[k] for k in shown]
    axis.set(xlim=(0, 1), yticks=y, yticklabels=ticks)
    axis.set_xlabel("probability", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=9)


def batch_schedules(schedules, *, title=None):
    """Who is in the batch at each step, one panel per way of filling it, on one time scale.

    Args:
        schedules: dictionary from a way's name to its seats: dictionaries with `image` (its number), `slot` (of the
            batch), `enters` (the step at which it takes the slot), `stays` (for how many steps), `needs` (how many of
            these it needs) and `fooled` (whether the attack succeeds in the end).
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    _some([seat for seats in schedules.values() for seat in seats])
    slots = 1 + max(seat["slot"] for seats in schedules.values() for seat in seats)
    ends = {name: max(seat["enters"] + seat["stays"] for seat in seats) for name, seats in schedules.items()}
    figure = Figure(figsize=(WIDTH, (0.22 * slots + 0.75) * len(schedules) + 0.9), layout="constrained")
    axes = figure.subplots(len(schedules), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    step = 72 * (WIDTH - 1) / max(ends.values())  # the width of a step in points
    told = []
    for axis, (name, seats) in zip(axes, schedules.items(), strict=True):
        for seat in seats:
            colour = _ORANGE if seat["fooled"] else _BLUE
            place = {"y": seat["slot"], "height": 0.86, "edgecolor": "white", "linewidth": 0.8}
            axis.barh(width=seat["needs"], left=seat["enters"], color=colour, **place)
            idle = seat["stays"] - seat["needs"]
            axis.barh(width=idle, left=seat["enters"] + seat["needs"], color="0.88", **place)
            if 4 * len(str(seat["image"])) < step * max(seat["needs"], 1):  # where the number fits in
                x = seat["enters"] + max(seat["needs"], 1) / 2
                ink = "white" if seat["needs"] and not seat["fooled"] else "black"
                axis.text(x, seat["slot"], seat["image"], ha="center", va="center_baseline", fontsize=6.5, color=ink)
        needed, spent = (sum(seat[key] for seat in seats) for key in ("needs", "stays"))
        axis.set_title(f"{name}: {ends[name]} steps, {spent} gradients", fontsize=10, loc="left")
        axis.set(ylabel="slot", yticks=range(slots))
        told.append(f"{name}: {ends[name]} steps of {slots} slots, {spent} gradients, of which {needed} are needed")
    axes[0].invert_yaxis()
    for axis in axes:
        axis.tick_params(labelsize=8)
    axes[-1].set(xlabel="step of the batch (one gradient per image in it)", xlim=(0, max(ends.values())))
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    kinds = ((_ORANGE, "until fooled"), (_BLUE, "never fooled"), ("0.88", "a gradient that nobody needs"))
    patches = [Patch(color=colour, label=label) for colour, label in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Which image is in which slot of the batch at each step. {'; '.join(told)}.")


def accuracy_bars(rows, *, group="region", series="model", title=None, value="accuracy", label="accuracy (%)"):
    """Accuracy with 95 % intervals as points, grouped along the x-axis, one colour per series.

    Args:
        rows: rows of `evaluate`, with the keys `group`, `series`, `value` and its `_low` and `_high`.
        group, series: the keys that tell groups and series apart.
        title: of the figure, or None.
        value: `"accuracy"` or `"asr"`; `label`: the axis' text, with its unit.

    Returns:
        A `Picture`.
    """
    _some(rows)
    groups, names = _unique(rows, group), _unique(rows, series)
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
    _legend(figure, axis, names)
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
    _some(rows)
    names = _unique(rows, series)
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
    _legend(figure, axis, names)
    if title:
        axis.set_title(title, fontsize=11)
    return Picture(figure, f"Accuracy over eps, with 95 % intervals: {'; '.join(told)}.")


class Panel(NamedTuple):
    """A panel of `over_correlation`.

    Attributes:
        label: the axis' text, with its unit.
        factor: turns the quantity into that unit.
        neutral: the quantity where nothing leans on the background, marked by a line, or None.
        low, high: the least and the greatest that the quantity can be.
    """

    label: str
    factor: int = 1
    neutral: float | None = None
    low: float = -np.inf
    high: float = np.inf


def over_correlation(rows, panels, *, series="training", title=None):
    """Quantities over the correlation of background and label in training, a panel each, one line per training.

    Args:
        rows: rows of `challenge_report.over_seeds`: the keys `correlation` and `series`, and each quantity with `_low`
            and `_high`, None where there is no interval.
        panels: dictionary from a quantity to its `Panel`. Panels in per cent or points share one scale.
        series: the key that tells the lines apart.
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    _some(rows)
    names, correlations = _unique(rows, series), _unique(rows, "correlation")
    step = 0.01 * (max(correlations) - min(correlations))  # side by side, or the intervals would hide each other
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
        axis.grid(alpha=0.3)
    drawn = list(zip(axes, panels.values(), strict=False))
    _one_scale([pair for pair in drawn if pair[1].factor == 100])
    for pair in drawn:
        if pair[1].factor != 100:
            _one_scale([pair])
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    _legend(figure, axes[0], names)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"{len(panels)} quantities over the correlation, with 95 % intervals. {'; '.join(told)}.")


def _one_scale(drawn):
    """One scale for pairs of axes and `Panel`, no farther than they can go: Student's interval knows no bounds."""
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
        ValueError: without a history, or for losses and accuracies on one scale.
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
            axis.yaxis.set_major_locator(LogLocator(subs=[1, 2, 5]))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel=f"on {'validation' if keys[0].startswith('val_') else 'training'} images{unit}")
    _legend(figure, axes[-1], list(histories))
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Curves over epochs{unit}. In the end: {', '.join(told)}.")


def draw_image(axis, image):
    """Draws one image `(H, W, C)` with values in [0, 1]: the same grey scale everywhere, no interpolation, no ticks."""
    image = np.asarray(image, np.float32)
    image = image[..., 0] if image.shape[-1] == 1 else image
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])


def styles(names):
    """A colour and a marker for each name, `[(colour, marker), …]`."""
    spare = iter(_SPARE * (1 + len(names) // len(_SPARE)))
    return [STYLES[name] if name in STYLES else next(spare) for name in names]


def _legend(figure, axis, names):
    if len(names) > 1:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)


def _some(rows):
    if len(rows) == 0:
        raise ValueError("there is nothing to draw; expected at least one row.")


def _unique(rows, key):
    return list(dict.fromkeys(row[key] for row in rows))
