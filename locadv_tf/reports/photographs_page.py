"""What the rows of photo_challenge.py say: means and paired differences over seeds, what holes tell, and a page."""

import html
from pathlib import Path

import numpy as np
import pandas as pd

from locadv_tf import plotting
from locadv_tf.data.load import class_names
from locadv_tf.evaluation import photographs
from locadv_tf.evaluation.challenge import COMPARED
from locadv_tf.evaluation.photo_challenge import QUANTITIES, compare
from locadv_tf.evaluation.photographs import HOLES, VARIANTS
from locadv_tf.reports import challenge_page, metrics, page, tables
from locadv_tf.reports import over_seeds as seeds_say
from locadv_tf.training.recipes import TRAININGS
from locadv_tf.units import eps_255

SHOWN = ("original", "mixed_same", "mixed_rand", "mixed_next", "bg_gap", "only_fg", "only_bg_b", "only_bg_t", "no_fg")
COMPARED_BY = ("bg_gap_balanced", "mixed_rand_balanced", "original_balanced", "worst_group")
EXAMPLES = 8  # photographs in the page's figure


def report(out, dataset, *, seeds=(0, 1, 2), trainings=COMPARED, **settings):
    """Runs `photo_challenge.compare` and writes what it finds, as `challenge_page.report` does.

    Args:
        out: the folder, made if it is not there. Classifiers that an earlier run with the same `settings` finished are
            not trained again.
        dataset, seeds, trainings, settings: as for `photo_challenge.compare`.

    Returns:
        `(rows, path)`: the rows that were asked for, and the path of `challenge.html`.

    Raises:
        ValueError: for bad input, or a folder that holds a run with other `settings`, whose rows would be lost.
    """
    out, settings = Path(out), {"dataset": dataset} | settings
    done = challenge_page.finished(out, settings)
    for row in compare(seeds=seeds, trainings=trainings, **settings, done=done):
        done.append(row)
        metrics.write_metrics(out, parameters=settings, results={"challenge": done})
    asked = [row for row in done if row["seed"] in seeds and row.get("training", trainings[0]) in trainings]
    metrics.write_text(out / "challenge.csv", pd.DataFrame(over_seeds(asked)).to_csv(index=False))
    metrics.write_text(out / "challenge.html", page.page("Background challenge", _body(asked, settings)))
    return asked, out / "challenge.html"


def over_seeds(rows):
    """Means over the seeds with 95 % intervals (Student's t): a row per training, as a list."""
    trained = [row for row in rows if "training" in row]
    found = seeds_say.over_seeds(trained, ["training"], QUANTITIES).to_dict("records")
    return sorted(found, key=lambda row: list(TRAININGS).index(row["training"]))


def holes(rows):
    """The same for what filled holes tell: a row per kind of `photographs.HOLES`."""
    told = [row for row in rows if "hole" in row]
    found = seeds_say.over_seeds(told, ["hole"], ("accuracy", "accuracy_balanced")).to_dict("records")
    return sorted(found, key=lambda row: list(HOLES).index(row["hole"]))


def summary_tables(rows):
    """What the command prints and the page shows: a dictionary from a question to its `tables.Table`."""
    means = over_seeds(rows)
    found = challenge_page.differences([row for row in rows if "training" in row], by=(), quantities=COMPARED_BY)
    return {
        "Balanced accuracy on exchanged backgrounds": _variants(means, "_balanced"),
        "Plain accuracy on exchanged backgrounds, and the worst group": _variants(means, "", "worst_group"),
        "Which training relies less?": tables.results_table(
            found, columns=("compared", "seeds", *COMPARED_BY, "finding")
        ),
        "What do filled holes tell?": tables.results_table(
            holes(rows), columns=("hole", "seeds", "accuracy_balanced", "accuracy")
        ),
    }


def _variants(means, suffix, *more):
    """A table of the variants; with the suffix "_balanced", of their balanced accuracies."""
    plain = [
        {"training": row["training"], "seeds": row["seeds"]}
        | {f"{name}{end}": row[f"{name}{suffix}{end}"] for name in SHOWN for end in ("", "_low", "_high", "_seeds")}
        | {f"{name}{end}": row[f"{name}{end}"] for name in more for end in ("", "_low", "_high", "_seeds")}
        for row in means
    ]
    return tables.results_table(plain, columns=("training", "seeds", *SHOWN, *more))


_NOTES = (
    "The mean over classes. BG-Gap is Mixed-Same minus Mixed-Rand: what a background of the object's own class adds "
    "over any.",
    "The worst group is the lowest accuracy over label × class of the background.",
    "Differences in points, paired by seed. “Relies less”: the balanced BG-Gap's difference has its whole interval "
    "below 0; “relies more”: above.",
    "Natural training and test on images without any object. The difference of the last two is what the shape of the "
    "filled place tells; Only-BG-T and the exchanged backgrounds hold such places, too.",
)


def _body(rows, settings):
    asked = [f"{name} {eps_255(value) if name == 'eps' else value}" for name, value in settings.items()]
    names = {name: tables.HEADS[name].removesuffix(" (%)") for name in VARIANTS}
    parts = [
        "<h1>Background challenge on photographs</h1>",
        "<p>Photographs with masks that people drew. The object is cut out, its place is filled, and it is put before "
        "the background of another photograph. Means and 95 % intervals (Student's t) over training seeds; fewer than "
        f"three seeds decide nothing. {html.escape(', '.join(asked))}.</p>",
        f"<p>{'; '.join(f'{names[variant]}: {text}' for variant, text in VARIANTS.items())}.</p>",
        examples(settings)._repr_html_(),
    ]
    for (question, table), note in zip(summary_tables(rows).items(), _NOTES, strict=True):
        parts += [f"<h2>{question}</h2>", table.html(), f"<p>{note}</p>"]
    return "\n".join(parts)


def examples(settings):
    """A few test photographs in all variants, as a `plotting.Picture`."""
    side, names = settings.get("image_size", 64), class_names(settings["dataset"])
    shown = photographs.read_photographs(
        settings["dataset"], "test", image_size=(side, side), limit=settings.get("test_limit"),
        fill=settings.get("fill", "inpaint"),
    )  # fmt: skip
    labels, classes = shown.labels, np.unique(shown.labels)
    after = classes[(np.searchsorted(classes, labels) + 1) % len(classes)]
    drawn = photographs.variants(shown)
    drawn |= {"mixed_same": photographs.before_others(shown, labels, seed=0)}
    drawn |= {"mixed_next": photographs.before_others(shown, after, seed=0)}
    few = np.linspace(0, len(labels) - 1, min(EXAMPLES, len(labels))).astype(int)
    heads = {name: tables.HEADS[name].removesuffix(" (%)") for name in VARIANTS if name in drawn}
    rows = {head: drawn[name][few] / np.float32(255) for name, head in heads.items()}
    return plotting.image_grid(
        rows,
        column_titles=[names[label] for label in labels[few]],
        alt=f"{len(few)} photographs; below each, the variants {', '.join(heads.values())}.",
    )
