"""The figures of results/, from the same tables as its pages; `python results/page.py` draws and shows them.

A PNG file keeps in its description what it shows, each seed's number too: a test holds it to the runs.
"""

import json

import numpy as np

from locadv_tf import TRAININGS, plotting
from locadv_tf.reports.over_seeds import ENOUGH

CONTROLS = {
    "": "natural", "_compute": "natural, equal compute", "_noise": "noise", "_mask": "random mask", "_at": "AT",
}  # fmt: skip
RECIPES = ("cifar10-plain-4", "cifar10-modern-4")  # the same data: one overfits, one is regularized
REGIONS = {"none": "not attacked", "background": "background", "foreground": "foreground", "full": "full"}


def pictures(studies):
    """The figures of some studies, `{name: (picture, numbers)}`; the differences need three paired seeds."""
    made = {}
    for study in studies:
        if study.paired >= ENOUGH:
            made[f"differences-{study.name}"] = differences(study)
        made[f"accuracy-{study.name}"] = accuracies(study)
    if enough := [study for study in studies if study.paired >= ENOUGH]:
        made["headline"] = headline(enough)
    if recipes := [study for study in studies if study.name in RECIPES and study.paired >= ENOUGH]:
        made["course-cifar10"] = courses(recipes)
    return made


def differences(study):
    """LAT minus each other training, a dot per seed: natural loss, and loss under the background attack.

    Under the attack the trainings without one are far from the others: a panel for each kind.
    """
    kinds = {
        "loss on natural images,\nLAT − other": ("natural", CONTROLS.values()),
        "loss under background attack,\nLAT − training without attack": ("background", list(CONTROLS.values())[:3]),
        "loss under background attack,\nLAT − other attacked training": ("background", list(CONTROLS.values())[3:]),
    }
    panels = {
        label: [
            difference(study, f"{quantity}_loss{end}", control)
            for end, control in CONTROLS.items()
            if control in shown and f"{quantity}_loss{end}" in study.claims.index
        ]
        for label, (quantity, shown) in kinds.items()
    }
    panels = {label: rows for label, rows in panels.items() if rows}
    title = f"{study.title}. Left of 0 LAT's loss is lower; a small dot is a seed; scales differ"
    picture = plotting.paired_intervals(panels, title=title)
    return plotting.Picture(picture.figure, f"{study.title}. {picture.alt}"), panels


def headline(studies):
    """What the abstract claims most: LAT minus each other training, loss on natural images, a panel per study."""
    panels = {
        study.title: [
            difference(study, f"natural_loss{end}", control)
            for end, control in CONTROLS.items()
            if end != "_compute" and f"natural_loss{end}" in study.claims.index  # its bars are the longest
        ]
        for study in studies
    }
    title = (
        "Loss on natural images: LAT minus another training. Left of 0 LAT's is lower\n"
        "A small dot is a seed; no dot: not run; scales differ; in the plain recipe natural training overfits"
    )
    picture = plotting.paired_intervals(panels, title=title)
    told = title.replace("\n", ". ")
    return plotting.Picture(picture.figure, f"{told}. {picture.alt}"), panels


def courses(studies):
    """The natural loss on validation images over epochs, natural training and LAT, means over seeds: by study."""
    trainings = ("natural", "LAT")
    keys = {study.name: f"val_loss: {study.title}" for study in studies}
    shown = {model: {} for model in trainings}
    for study in studies:
        seeds = set.intersection(*(set(study.courses[model]) for model in trainings))
        for model in trainings:
            losses = [study.courses[model][seed]["val_natural_loss"] for seed in seeds]
            shown[model][keys[study.name]] = np.mean(losses, axis=0).tolist()
    title = "Natural images that training does not see: means over seeds"
    picture = plotting.training_curves(shown, keys=[*keys.values()], title=title)
    low = [
        f"{model}, {key.removeprefix('val_loss: ')} {min(losses):.3g} (epoch {1 + int(np.argmin(losses))})"
        for model, of_model in shown.items()
        for key, losses in of_model.items()
    ]
    return plotting.Picture(picture.figure, f"{title}. {picture.alt} Lowest: {'; '.join(low)}."), shown


def accuracies(study):
    """Accuracy under `LocalizedAutoAttack`, region by region, and on natural images."""
    ensemble = study.rows["attack"].str.startswith("LocalizedAutoAttack") | (study.rows["region"] == "none")
    rows = []
    for row in study.rows[ensemble].to_dict("records"):
        mean = row["accuracy"]
        low, high = np.clip([row["accuracy_low"], row["accuracy_high"]], 0, 1)
        if row["seeds"] < ENOUGH or not np.isfinite([low, high]).all():
            low = high = mean  # no interval
        rows.append({"model": row["model"], "region": REGIONS[row["region"]], "seeds": int(row["seeds"])})
        rows[-1] |= {"accuracy": mean, "accuracy_low": low, "accuracy_high": high}
    order = list(REGIONS.values())
    rows.sort(key=lambda row: (order.index(row["region"]), list(TRAININGS).index(row["model"])))
    few, many = (int(end(row["seeds"] for row in rows)) for end in (min, max))
    seeds = f"{few} seeds" if few == many else f"{few} to {many} seeds"
    picture = plotting.accuracy_bars(
        rows, title=f"{study.title}: LocalizedAutoAttack, means over {seeds} (intervals from three on)"
    )
    return plotting.Picture(picture.figure, f"{study.title}, {seeds}. {picture.alt}"), rows


def write(made, folder):
    """Writes the figures as PNG files into a folder, which then holds no others."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.png"):
        path.unlink()
    for name, (picture, numbers) in made.items():
        picture.figure.savefig(
            folder / f"{name}.png", dpi=110, bbox_inches="tight", facecolor="white",
            metadata={"Description": description(picture, numbers)},
        )  # fmt: skip


def description(picture, numbers):
    """What a file says of itself, as ASCII: its alternative text, and all that it shows."""
    shown = json.dumps(numbers, default=float)
    return f"{picture.alt}\n{json.dumps(json.loads(shown, parse_float=lambda text: round(float(text), 9)))}".encode(
        "ascii", "backslashreplace"
    ).decode()


def image(name, picture, *, to):
    """A figure in Markdown; brackets would end its alternative text. `to`: the way to the folder of figures."""
    return f"![{picture.alt.replace('[', '(').replace(']', ')')}]({to}{name}.png)"


def difference(study, key, control):
    """A row of `la.plotting.paired_intervals`."""
    row = study.claims.loc[key]
    ends = {end: float(row[f"difference_{end}"]) if row["seeds"] >= ENOUGH else None for end in ("low", "high")}
    seeds = [value for value in study.differences.get(key, ()) if value is not None]
    return {"against": control, "difference": float(row["difference"]), **ends, "values": seeds}
