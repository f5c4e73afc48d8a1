"""Figures of images: masks, perturbations, attacks step by step."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from locadv_tf.plotting.style import BLUE, ORANGE, RED, WIDTH, Picture, refuse_nothing, styles
from locadv_tf.units import eps_255


def image_grid(rows, *, column_titles=None, title=None, alt, size=1.15):
    """Rows of images, each row with its name at the left.

    Args:
        rows: dictionary from a row's name to images or masks `(N, H, W, C)` in [0, 1], C = 1 or 3.
        column_titles: N short texts, or None.
        title: of the figure, or None.
        alt: the alternative text.
        size: of an image, in inches.

    Returns:
        A `Picture`.

    Raises:
        ValueError: for no rows or no images.

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
            _draw_image(axis, image)
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


def adversarial_examples(images, adversarial, *, eps, labels, predicted, names, masks=None, title=None):
    """Images, their perturbations and the attacked images, with the true labels and the model's answers.

    Args:
        images, adversarial: float32 `(N, H, W, C)` in [0, 1].
        eps: the attack's budget: the perturbation's colours reach from −eps to +eps in every panel.
        labels: the true classes, integers `(N,)`.
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
    longest = max((len(f"{names[a]}{names[b]}") for a, b in predicted if a != b), default=0)
    arrow = " →\n" if longest > 15 else " → "  # so that titles do not run into each other
    answers = [f"{names[a]}{arrow}{names[b]}" if a != b else f"{names[a]}, kept" for a, b in predicted]
    titles = [f"true {names[label]}\n{answer}" for label, answer in zip(labels, answers, strict=True)]
    changed = sum(a != b for a, b in predicted)
    return image_grid(
        rows,
        column_titles=titles,
        title=title,
        alt=f"{len(images)} images, the perturbation magnified so that its range is ±{eps_255(eps)}, and the attacked "
        f"images. The answer changes for {changed} of them: {'; '.join(titles)}.",
    )


def attack_steps(steps, *, image, eps, true=None, title=None):
    """One image at several steps of an attack.

    Args:
        steps: list of dictionaries with `x` (the point, `(H, W, C)`), `loss`, `confidence` (the true class's
            probability) and optionally `predicted` (the predicted class's name), one per point, the start first.
        image: the natural image `(H, W, C)`.
        eps: the budget: the perturbation's colours reach from −eps to +eps.
        true: the true class's name, shown beside each predicted one, or None.
        title: of the figure, or None.

    Returns:
        A `Picture`.

    Raises:
        ValueError: for no steps, or for predicted classes without the true one.
    """
    refuse_nothing(steps)
    if true is None and any("predicted" in step for step in steps):
        raise ValueError("steps have predicted classes; expected true=, the true class's name, to stand beside them.")
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 7)).round().astype(int))
    figure = Figure(figsize=(1.35 * len(shown) + 1.2, 5.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.45, 1])  # separate: labels must not widen a column
    axes = above.subplots(2, len(shown), squeeze=False)
    for column, k in zip(axes.T, shown, strict=True):
        point = np.asarray(steps[k]["x"])
        _draw_image(column[0], point)
        _draw_image(column[1], magnify(point - image, eps))
        read = f"\ntrue {true}\nread as {steps[k]['predicted']}" if "predicted" in steps[k] else ""
        column[0].set_title(f"k = {k}{read}", fontsize=9)
    axes[0, 0].set_ylabel("point", fontsize=9)
    axes[1, 0].set_ylabel(f"perturbation\n±{eps_255(eps)}", fontsize=9)
    curves = (("loss", "loss (cross-entropy)", RED), ("confidence", "probability of the true class", BLUE))
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
    """Images under attack, one row each: the image, the perturbation, the result, and the classes' probabilities.

    Args:
        cases: list of dictionaries with `image` and `x` (the natural and the attacked image, `(H, W, C)`), `label` (the
            true class's index), `region`, `attack` (the attack's name), `before` and `after` (the probabilities of
            all classes, `(K,)`, without and with the attack), and optionally `model` (its name).
        names: the K classes' names; the true class and the nine most probable ones are shown.
        scale: the perturbation's colours reach from −scale to +scale, in pixel units of [0, 1].
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    refuse_nothing(cases)
    figure = Figure(figsize=(WIDTH, 2.35 * len(cases) + 0.55), layout="constrained")
    grid = figure.subplots(len(cases), 4, squeeze=False, width_ratios=[1, 1, 1, 1.6])
    told = []
    for line, case in zip(grid, cases, strict=True):
        image, x = np.asarray(case["image"]), np.asarray(case["x"])
        read = [names[int(np.argmax(case[when]))] for when in ("before", "after")]
        sure = [100 * float(np.max(case[when])) for when in ("before", "after")]
        true = names[case["label"]]
        panels = (
            (image, f"natural: true “{true}”,\nread as “{read[0]}”"),
            (magnify(x - image, scale), f"perturbation, white and\nblack = ±{eps_255(scale)}"),
            (x, f"attacked: true “{true}”,\nread as “{read[1]}”"),
        )
        for axis, (pixels, text) in zip(line, panels, strict=False):
            _draw_image(axis, pixels)
            axis.set_title(text, fontsize=9)
        whose = case.get("model", "")
        where = "\n".join(filter(None, (whose, case["region"], case["attack"].replace(", ", ",\n"))))
        line[0].set_ylabel(where, fontsize=9)
        _probabilities(line[3], case, names)
        told.append(
            f"{whose and whose + ': '}{case['attack']} on the region {case['region']}: a “{true}” that is read as "
            f"“{read[0]}” ({sure[0]:.0f} %) is read as “{read[1]}” ({sure[1]:.0f} %) under the attack; the largest "
            f"change of a pixel is {eps_255(np.abs(x - image).max())}"
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
    """Which image is in which slot of the batch at each step: one panel per schedule, on one time scale.

    Args:
        schedules: dictionary from a schedule's name to its seats: dictionaries with `image` (its number), `slot` (of
            the batch), `enters` (the step at which it takes the slot), `stays` (for how many steps), `needs` (how many
            of these it needs) and `fooled` (whether the attack fools the model in the end).
        title: of the figure, or None.

    Returns:
        A `Picture`.
    """
    refuse_nothing([seat for seats in schedules.values() for seat in seats])
    slots = 1 + max(seat["slot"] for seats in schedules.values() for seat in seats)
    ends = {name: max(seat["enters"] + seat["stays"] for seat in seats) for name, seats in schedules.items()}
    figure = Figure(figsize=(WIDTH, (0.22 * slots + 0.75) * len(schedules) + 0.9), layout="constrained")
    axes = figure.subplots(len(schedules), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    step = 72 * (WIDTH - 1) / max(ends.values())  # the width of a step in points
    told = []
    for axis, (name, seats) in zip(axes, schedules.items(), strict=True):
        for seat in seats:
            colour = ORANGE if seat["fooled"] else BLUE
            place = {"y": seat["slot"], "height": 0.86, "edgecolor": "white", "linewidth": 0.8}
            axis.barh(width=seat["needs"], left=seat["enters"], color=colour, **place)
            idle = seat["stays"] - seat["needs"]
            axis.barh(width=idle, left=seat["enters"] + seat["needs"], color="0.88", **place)
            if 4 * len(str(seat["image"])) < step * max(seat["needs"], 1):  # if the number fits in
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
    kinds = ((ORANGE, "until fooled"), (BLUE, "never fooled"), ("0.88", "a gradient that is not needed"))
    patches = [Patch(color=colour, label=label) for colour, label in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, f"Which image is in which slot of the batch at each step. {'; '.join(told)}.")


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


def _draw_image(axis, image):
    """Draws one image `(H, W, C)` with values in [0, 1]: one grey scale for all, no interpolation, no ticks."""
    image = np.asarray(image, np.float32)
    image = image[..., 0] if image.shape[-1] == 1 else image
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
