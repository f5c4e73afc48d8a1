"""Writes what the studies say: `python results/page.py` makes results/README.md, the figures beside it, what stands
between the marks in README.md and docs/results.md, and what lessons and the report show of it (lessons.py).

Every number comes from the tables in results/runs/, which `collect` made of the metrics.json files there. The words
around them are in results/answer.md, whose places in braces are filled in.
"""

import argparse
import functools
import json
import re
import sys
from pathlib import Path

import figures
import lessons
import markdown_tables as tables
import pandas as pd
import reliance
import yaml

from locadv_tf import TRAININGS
from locadv_tf.reports import claims
from locadv_tf.reports.over_seeds import ENOUGH, word
from locadv_tf.units import eps_255

HERE = Path(__file__).resolve().parent
TITLES = {
    "mnist": "MNIST", "cifar10-plain": "CIFAR-10, plain", "cifar10-modern": "CIFAR-10, modern",
    "photographs": "photographs",
}  # fmt: skip
CLAIMS = {
    "sensitivity": "a background attack fools natural training more often than noise (points of those read correctly)",
    "imperceptible": "… imperceptibly (by convention: eps ≤ 8/255, SSIM ≥ 0.95)",
    "unnecessary": "… unnecessarily: LAT regains accuracy, and loses at most 1 point of natural accuracy",
    "natural_loss": "LAT has the lower loss on natural images",
    "background_loss": "LAT has the lower loss on background-adversarial images",
}
MAIN = ("mnist-26", "cifar10-plain-4", "cifar10-modern-4", "photographs-4")  # what the README has room for
POINTS = tables.POINTS | {"unit": " points"}
BLOBS = "-blobs"  # ends the name of a study that attacks other random places: what it finds is the main one's
BEGIN, END = "<!-- results: written by results/page.py -->", "<!-- end of results -->"


def parts(name):
    """A study's data, budget and what else is particular: `("mnist", "26", "train1000")`."""
    data, eps, more = re.fullmatch(r"(.+?)-(\d+)(?:-(.+))?", name).groups()
    more = re.sub(r"^train(\d+)$", r"\1 training images", re.sub(r"^share(\d+)$", r"share \1 %", more or ""))
    return data, eps, {"centre": "centre as mask"}.get(more, more)


def title(name):
    """A study's name as people read it: `"MNIST, 26/255, share 75 %"`."""
    data, eps, more = parts(name)
    return f"{TITLES[data]}, {eps}/255" + (f", {more}" if more else "")


class Found:
    """What is kept of one study."""

    def __init__(self, folder, planned):
        self.name, self.planned, self.folder = folder.name, planned, folder
        self.claims = pd.read_csv(folder / "claims.csv").set_index("key")
        self.rows = pd.read_csv(folder / "collected.csv")
        costs = folder / "costs.csv"
        self.costs = pd.read_csv(costs).set_index("model") if costs.exists() else pd.DataFrame()
        self.failed, self.unfit, self.differences, of_seed = [], set(), {}, {}
        self.courses = {}  # by training and seed: each quantity's value, epoch by epoch
        runs = contents(folder)
        self.cells, self.exchanged = len(runs), reliance.compared(runs.values())
        for cell, content in runs.items():
            seed = content["parameters"]["seed"]
            of_seed.setdefault(seed, []).extend(content["results"]["rows"])
            for model, history in content["results"]["histories"].items():
                self.courses.setdefault(model, {})[seed] = history
            for row in (row for rows in content["results"]["verdicts"].values() for row in rows):
                self.failed += [f"{cell}: {row['check']}"] if row["outcome"] == "fail" else []
                self.unfit |= {row["check"]} if row["outcome"] == "does not apply" else set()
        self.images, self.largest = extent(runs.values())
        elsewhere = contents(folder.with_name(f"{folder.name}{BLOBS}"))
        self.of_pixels, self.of_blobs = of_places([*runs.values(), *elsewhere.values()])
        for seed in sorted(of_seed):
            for row in claims.differences(of_seed[seed]):
                self.differences.setdefault(row["key"], []).append(row["difference"])

    @property
    def paired(self):
        """How many seeds LAT and natural training have both."""
        return int(self.claims["seeds"].get("natural_loss", 0))

    @property
    def title(self):
        return title(self.name)

    def claim(self, key):
        """A claim's verdict, effect, interval and seeds: `supported so far, −0.004 [−0.006, −0.002] (3)`."""
        if key not in self.claims.index:
            return tables.NOTHING
        row = self.claims.loc[key]
        verdict, *_ = word(row["verdict"], int(row["seeds"])).partition(" (")  # the seeds follow
        told = [self._difference(key)]
        if key == "imperceptible":
            told = [f"SSIM {self.value('natural', 'background', 'ssim').partition(' [')[0]}"]
        if key == "unnecessary":
            parts = {"attacked": "background_accuracy", "natural": "natural_accuracy"}
            told = [f"{name} {self._difference(part)}" for name, part in parts.items()]
        told = [text for text in told if text != tables.NOTHING]  # without one where each pair diverged
        return f"{', '.join([verdict, *told])} ({int(row['seeds'])})"

    def effect(self, key):
        """The difference behind a claim or control, with its interval and its seeds, without a verdict."""
        if key not in self.claims.index:
            return tables.NOTHING
        return self._difference(key, tables.counted)

    def pixels(self, model):
        """What random pixels of the background's area do beside the background, in points, under the same attack."""
        return tables.over_seeds(self.of_pixels.get(model), **POINTS)

    def blobs(self, model):
        """The same with blobs, as in the training "random mask"."""
        return tables.over_seeds(self.of_blobs.get(model), **POINTS)

    def last(self, control, quantity="loss"):
        """LAT minus a control, on natural validation images after the last epoch: the loss, or the accuracy."""
        return self._of_courses(control, quantity, lambda values: values[-1])

    def best(self, control, quantity="loss"):
        """The same after each one's best epoch: the one with the lowest loss, or with the highest accuracy."""
        return self._of_courses(control, quantity, {"loss": min, "accuracy": max}[quantity])

    def _of_courses(self, control, quantity, pick):
        lat, other = (self.courses.get(model, {}) for model in ("LAT", control))
        name, seeds = f"val_natural_{quantity}", sorted(set(lat) & set(other))
        values = [pick(lat[seed][name]) - pick(other[seed][name]) for seed in seeds]
        return tables.over_seeds(values, **(POINTS if quantity == "accuracy" else {"form": "+.4f"}))

    def value(self, model, region, quantity, *, strongest=False):
        """A mean over seeds with its interval."""
        rows = self.rows[(self.rows["model"] == model) & (self.rows["region"] == region)]
        ensemble = rows["attack"].str.startswith("LocalizedAutoAttack")
        rows = rows[ensemble if strongest else ~ensemble & (rows["attack"] != "random noise")]
        if rows.empty or quantity not in rows:
            return tables.NOTHING
        form = {"form": ".3f"} if quantity in ("loss", "ssim") else tables.PER_CENT
        return tables.cell(rows.iloc[0], quantity, **form)

    def _difference(self, key, show=tables.cell):
        row = self.claims.loc[key]
        form = POINTS if key == "sensitivity" or "accuracy" in key else {"form": "+.3f"}
        return show(row, "difference", **form)


def contents(folder):
    """The content of each `metrics.json` of a study, by its cell."""
    paths = sorted(folder.glob("*/metrics.json"))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def of_places(runs):
    """By training each seed's accuracy, background attacked minus random places attacked: single pixels; blobs."""
    pixels, blobs = {}, {}
    for content in runs:
        kind = blobs if content["parameters"].get("other_smoothness") else pixels
        attacked = {row["model"]: row for row in content["results"]["rows"] if row["condition"] == "background"}
        for row in content["results"]["other_mask"]:
            kind.setdefault(row["model"], []).append(attacked[row["model"]]["accuracy"] - row["accuracy"])
    return pixels, blobs


def extent(runs):
    """How many test images each seed has, by attack, `{"natural": {10000}, …}`, and the largest change of a value by
    PGD or noise (the ensemble's is one of the checks: "budget and range kept")."""
    images, largest = {}, 0.0
    for results in (content["results"] for content in runs):
        # What else the headline has, beside the ensemble, is of its images alone.
        ensemble = [row for row in results["headline"] if row["attack"].startswith("LocalizedAutoAttack")]
        for row in results["rows"] + ensemble:
            images.setdefault(row["attack"].partition(" (")[0], set()).add(row["n"])
            largest = max(largest, row.get("largest_change") or 0)
    return images, largest


def read(folder=HERE / "runs"):
    """The studies of which something is kept, in the plan's order, and the names of those of which nothing is."""
    planned = {}
    for study in yaml.safe_load((HERE / "plan.yaml").read_text(encoding="utf-8"))["studies"]:
        planned[study["name"]] = planned.get(study["name"], 0) + len(study["trainings"]) * study["seeds"]
    there = [name for name in planned if (folder / name / "claims.csv").exists()]
    # The page has no place to say of these that they have begun.
    there = [name for name in there if not name.endswith(BLOBS) or len(contents(folder / name)) == planned[name]]
    found = [Found(folder / name, planned[name]) for name in there if not name.endswith(BLOBS)]
    return found, [name for name in planned if name not in there]


def datasets():
    """The data set of each study, by its name."""
    plan = yaml.safe_load((HERE / "plan.yaml").read_text(encoding="utf-8"))
    return {study["name"]: plan["recipes"][study["recipe"]]["dataset"] for study in plan["studies"]}


def waiting(missing):
    """The titles of the main studies among those of which nothing is kept."""
    return [title(name) for name in missing if name in MAIN]


def main_studies(found):
    """Those of the main studies that are there."""
    return [study for study in found if study.name in MAIN]


def settings(found):
    """The studies of each recipe that ran with more than one setting, in the plan's order, but budgets from small to
    large: `{"MNIST": [...]}`."""
    recipes = {}
    for study in found:
        recipes.setdefault(TITLES[parts(study.name)[0]], []).append(study)

    def order(study):
        _, eps, more = parts(study.name)
        return bool(more), 0 if more else int(eps)

    return {name: sorted(studies, key=order) for name, studies in recipes.items() if len(studies) > 1}


def claims_table(found):
    """Claim × study: verdict, effect, interval, seeds."""
    lines = [[text, *(study.claim(key) for study in found)] for key, text in CLAIMS.items()]
    return tables.markdown(["claim", *(study.title for study in found)], lines)


def controls_table(found, quantity):
    """LAT minus each control, on one loss."""
    heads, lines = ["LAT minus …", *(study.title for study in found)], []
    for end, control in figures.CONTROLS.items():
        lines.append([control, *(study.effect(f"{quantity}_loss{end}") for study in found)])
    return tables.markdown(heads, lines)


def places_table(found):
    """The attack on the background beside the attack on random places, for each training."""
    heads, lines = ["training, places", *(study.title for study in found)], []
    for model in TRAININGS:
        for kind in ("pixels", "blobs"):
            told = [getattr(study, kind)(model) for study in found]
            if set(told) != {tables.NOTHING}:
                lines.append([f"{model}, {kind}", *told])
    return tables.markdown(heads, lines)


def epochs_table(found):
    """LAT minus each other training on natural validation images, after the last epoch and after each one's best."""
    heads, lines = ["LAT minus …", *(study.title for study in found)], []
    for quantity in ("loss", "accuracy"):
        for control in figures.CONTROLS.values():
            for when in ("last", "best"):
                told = [getattr(study, when)(control, quantity) for study in found]
                if set(told) != {tables.NOTHING}:
                    lines.append([f"{control}: {quantity}, {when} epoch", *told])
    return tables.markdown(heads, lines)


def reliance_table(found):
    """The measures of reliance on the background, for each training."""
    heads = ["training", "measure", *(study.title for study in found)]
    return tables.markdown(heads, reliance.measures([study.folder for study in found]))


def exchanged_tables(found):
    """For each study whose backgrounds were exchanged: balanced accuracies, and paired differences."""
    parts = []
    for study in found:
        if trainings := reliance.exchanged(study.folder):
            heads = ["training", *(name for name, *_ in reliance.VARIANTS.values()), "seeds"]
            parts += [f"{study.title}:", tables.markdown(heads, trainings)]
        if study.exchanged:
            heads = ["pair", *(reliance.VARIANTS[name][0] for name in reliance.COMPARED), "seeds"]
            parts.append("Differences in points, paired by seed (not corrected):")
            parts.append(tables.markdown(heads, study.exchanged))
    return "\n\n".join(parts)


def trainings_table(study):
    """Every training of a study: losses, accuracies, calibration and cost."""
    heads = ["training", "natural loss", "natural accuracy", "ECE", "background loss, PGD-40"]
    heads += [f"{region}, LocalizedAutoAttack" for region in ("background", "foreground", "full")]
    balanced = "accuracy_balanced" in study.rows
    heads += ["balanced accuracy, natural", "balanced, background PGD-40"] if balanced else []
    lines = []
    for model in sorted(set(study.rows["model"]), key=list(TRAININGS).index):
        line = [model, *(study.value(model, "none", name) for name in ("loss", "accuracy", "ece"))]
        line.append(study.value(model, "background", "loss"))
        regions = ("background", "foreground", "full")
        line += [study.value(model, region, "accuracy", strongest=True) for region in regions]
        if balanced:
            line += [study.value(model, region, "accuracy_balanced") for region in ("none", "background")]
        cost = study.costs.loc[model]
        lines.append([*line, f"{cost['passes']:.1f}", f"{cost['seconds'] / 60:.1f}", f"{cost['seeds']:.0f}"])
    return tables.markdown([*heads, "passes", "minutes", "seeds"], lines)


def decided(found):
    """What the protocol decides: the claims, and LAT beside each other training."""
    return [
        claims_table(found),
        "LAT minus the other training, loss on natural images (below 0 LAT has the lower loss; not corrected):",
        controls_table(found, "natural"),
        "The same under the background attack (PGD-40):",
        controls_table(found, "background"),
    ]


def settings_tables(found):
    """What the protocol decides, for each recipe that ran with more than one setting."""
    return "\n\n".join(text for name, studies in settings(found).items() for text in [f"### {name}", *decided(studies)])


def fill(text, found):
    """Fills `{last.natural}` with a line for each main study that ran, `{figures.differences}` with a figure for
    each that has enough seeds, `{table.claims}` with a table of them, and `{table.settings}` with those of all."""
    main = main_studies(found)

    def put(match):
        kind, key = match.group(1).split(".")
        if kind == "figures":
            return images(main, key, to="figures/")
        if kind == "table":
            return settings_tables(found) if key == "settings" else TABLES[key](main)
        lines = [f"- {study.title}: {getattr(study, kind)(key)}" for study in main]
        return "\n".join(line for line in lines if not line.endswith(tables.NOTHING)) or "- not run yet"

    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\{(\w+\.[\w, ]+)\}", put, text))


TABLES = {
    "claims": claims_table,
    "natural": functools.partial(controls_table, quantity="natural"),
    "background": functools.partial(controls_table, quantity="background"),
    "places": places_table,
    "reliance": reliance_table,
    "exchanged": exchanged_tables,
}


def images(found, kind, *, to):
    """The main studies' figures of a kind, as Markdown."""
    made = figures.pictures(main_studies(found))
    shown = {name: picture for name, (picture, _) in made.items() if name.partition("-")[0] == kind}
    return "\n".join(figures.image(name, picture, to=to) for name, picture in shown.items())


_SHARED = (
    "Means over seeds with 95 % intervals (Student's t, from three seeds on, none if all are equal; near 0 or 100 % "
    "they may pass it); shares in %. *Minutes*: of the training on one core, on a machine that did other work beside "
    "it; *passes* tell the cost better."
)


def tried(study):
    """Of how many test images a study's numbers are, how large the changes, and which checks failed."""
    sizes = ", ".join(f"{attack} {' or '.join(f'{n:,}' for n in sorted(ns))}" for attack, ns in study.images.items())
    told = f"Test images per seed: {sizes}. PGD and noise change no value by more than {eps_255(study.largest)}. "
    lost = int(study.rows.groupby("model")["diverged"].max().sum())
    failed = f"**Checks that failed: {'; '.join(study.failed)}.**" if study.failed else "No check failed."
    if study.unfit:
        failed += f" Checks that did not apply: {'; '.join(sorted(study.unfit))}."
    return told + failed + (f" **Trainings that diverged: {lost}.**" if lost else " No training diverged.")


def page(found, missing, folder=HERE):
    """The text of README.md in a folder, results/ say."""
    parts = [fill((HERE / "answer.md").read_text(encoding="utf-8"), found)]
    parts += [
        "## After the last epoch, and after the best",
        "On natural validation images (500 per seed; of photographs 200), after the last epoch and after each one's "
        "best: with the lowest loss, or the highest accuracy. Not in the protocol; it gives no verdict.",
        epochs_table(main_studies(found)),
    ]
    for name, studies in settings(found).items():
        parts += [f"## Other settings of {name}: places, reliance, epochs", "As in the sections above."]
        parts += [table(studies) for table in (places_table, reliance_table, epochs_table)]
    parts += ["## Every training", _SHARED]
    for study in found:
        told = f"{study.cells} of {study.planned} cells of the study `{study.name}` ([its page, with more attacks and "
        told += f"measures](runs/{study.name}/collected.html), to be opened in a browser). "
        parts += [f"### {study.title}", told + tried(study), trainings_table(study)]
        parts.append(images([study], "accuracy", to="figures/"))
    if (folder / "reruns.json").exists():
        noted = json.loads((folder / "reruns.json").read_text(encoding="utf-8"))
        parts += [
            "## Run again",
            "Cells that were run once more from nothing (`python results/run.py --again`). Seconds are not compared.",
            "\n".join(f"- `{place}`, {row['finished'][:10]}: {row['said']}." for place, row in noted.items()),
        ]
    if models := sorted(path.stem for path in (folder / "models").glob("*.keras")):
        parts += [
            "## Classifiers of these runs",
            "Of seed 0, each with a card: `la.load_model(name)` loads one. Those on `digits` and `composite` are for "
            "teaching alone.",
            ", ".join(f"[{name}](models/{name}.md)" for name in models) + ".",
        ]
    begun = [
        f"`{study.name}` ({study.cells} of {study.planned} cells)" for study in found if study.cells < study.planned
    ]
    left = {"Begun: ": begun, "Not run yet: ": [f"`{name}`" for name in missing]}
    told = " ".join(kind + ", ".join(names) + "." for kind, names in left.items() if names)
    parts += ["## What is missing", told or "Nothing of the plan."]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def readme_block(found):
    """What stands between the marks of the project's README; "" while no main study has enough seeds."""
    shown = main_studies(found)
    if not any(study.paired >= ENOUGH for study in shown):
        return ""
    lines = [images(shown, "headline", to="results/figures/"), "", *claims_table(shown).splitlines()]
    for quantity in ("natural", "background"):
        text = f"LAT − random mask, {quantity} loss"
        lines.append("| " + " | ".join([text, *(study.effect(f"{quantity}_loss_mask") for study in shown)]) + " |")
    return f"{BEGIN}\n" + "\n".join(lines) + f"\n{END}"


def docs_block(found):
    """What stands between the marks of docs/results.md: the main studies' claims and controls."""
    shown = main_studies(found)
    kept = "; ".join(f"{study.title}: {study.cells} of {study.planned}" for study in shown)
    parts = [
        BEGIN,
        f"Cells that have run: {kept}. Means over seeds with 95 % intervals (from three seeds on); in parentheses the "
        "number of paired seeds.",
        images(shown, "differences", to="../results/figures/"),
        *decided(shown),
        END,
    ]
    return "\n\n".join(part for part in parts if part)


def between_marks(text, block):
    """The text with this between its marks; without marks the block follows the heading "What was measured"."""
    if BEGIN in text:
        return text.split(BEGIN)[0] + block + text.split(END)[1]
    before, heading, after = text.partition("## What was measured\n\n")
    return before + heading + (f"{block}\n\n" if block else "") + after


ON_GPUS = (
    "These are the studies with the plan's settings for GPUs: mixed precision, larger batches. Their numbers stand for "
    "themselves: they are not [the protocol](../PROTOCOL.md)'s, and nothing in [the answer](../README.md) is theirs."
)


def on_gpus(folder):
    """Writes the page of the runs with the settings for GPUs."""
    found, missing = read(folder / "runs")
    if not found:
        sys.exit("nothing is kept in results/on-gpus/runs yet; run: python results/run.py --on-gpus")
    figures.write(figures.pictures(main_studies(found)), folder / "figures")
    heading, text = page(found, missing, folder).split("\n\n", maxsplit=1)
    text = text.replace("](../", "](../../").replace("](PROTOCOL.md)", "](../PROTOCOL.md)")
    (folder / "README.md").write_text(f"{heading}\n\n{ON_GPUS}\n\n{text}", encoding="utf-8")
    print(folder / "README.md")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on-gpus", action="store_true", help="write results/on-gpus/README.md instead")
    if parser.parse_args(arguments).on_gpus:
        return on_gpus(HERE / "on-gpus")
    found, missing = read()
    if not found:
        sys.exit("nothing is kept in results/runs yet; run: make results")
    figures.write(figures.pictures(main_studies(found)), HERE / "figures")
    (HERE / "README.md").write_text(page(found, missing), encoding="utf-8")
    for path, block in (("README.md", readme_block(found)), ("docs/results.md", docs_block(found))):
        text = (HERE.parent / path).read_text(encoding="utf-8")
        (HERE.parent / path).write_text(between_marks(text, block), encoding="utf-8")
    lessons.write(found, CLAIMS, datasets(), waiting(missing), HERE.parent / "notebooks" / "stored")
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
