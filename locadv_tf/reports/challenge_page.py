"""What the rows of challenge.py say: means and differences over seeds, agreement of the measures, tables and a page."""

import html
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd

from locadv_tf import plotting
from locadv_tf.evaluation.challenge import COMPARED, CORRELATIONS, MEASURES, QUANTITIES, VARIANTS, compare
from locadv_tf.evaluation.intervals import mean_interval, with_interval
from locadv_tf.plotting import Panel
from locadv_tf.reports import metrics, page, tables
from locadv_tf.reports import over_seeds as seeds_say
from locadv_tf.training.recipes import TRAININGS
from locadv_tf.units import eps_255

COLUMNS = ("correlation", "training", "seeds", *QUANTITIES[:5], "only_bg_t")
FOUND = ("correlation", "compared", "seeds", "bg_gap", "mixed_rand", "worst_group", "finding")
BY_MEASURE = ("correlation", "training", "asr_difference", "asr_difference_equal", "rfs", "energy_ratio")
CHALLENGE_PANELS = {
    "bg_gap": Panel("BG-Gap (points)", 100, 0, -0.9, 0.9),
    "mixed_rand": Panel("Mixed-Rand accuracy (%)", 100, None, 0, 1),
    "worst_group": Panel("worst-group accuracy (%)", 100, None, 0, 1),
}
MEASURE_PANELS = {
    "asr_difference": Panel("ASR background − foreground,\nequal eps (points)", 100, 0, -1, 1),
    "asr_difference_equal": Panel("ASR background − foreground,\nequal area (points)", 100, 0, -1, 1),
    "rfs": Panel("RFS", 1, 0, -1, 1),
    "energy_ratio": Panel("gradient energy ratio", 1, 1, 0),
}


def over_seeds(rows):
    """Means over the seeds with 95 % intervals (Student's t): a row per correlation and training, as a list."""
    found = seeds_say.over_seeds(rows, ["correlation", "training"], QUANTITIES + MEASURES).to_dict("records")
    return sorted(found, key=lambda row: (row["correlation"], list(TRAININGS).index(row["training"])))


def differences(rows, *, by=("correlation",), quantities=("bg_gap", "mixed_rand", "worst_group")):
    """LAT and AT against natural training, and LAT against AT and random masks, paired by seed.

    Args:
        rows: rows of `compare`.
        by: what tells experiments apart, beside the seed.
        quantities: what is compared; the first one decides the finding.

    Returns:
        A list of rows: the keys of `by`, `compared`, `seeds`, per quantity the mean difference with `_low` and `_high`
        over the seeds that have both (None with fewer than two), and `finding`: the first training "relies less" on
        the background (its `bg_gap` is lower, the whole interval below 0), "relies more", or it is "undecided": with
        fewer than three seeds always.
    """
    at = {(tuple(row[name] for name in by), row["training"], row["seed"]): row for row in rows}
    places, seeds = sorted({place for place, *_ in at}), sorted({seed for *_, seed in at})
    pairs = (("LAT", "natural"), ("AT", "natural"), ("LAT", "AT"), ("LAT", "random mask"))
    found = []
    for place, (one, other) in itertools.product(places, pairs):
        both = [(at.get((place, one, seed)), at.get((place, other, seed))) for seed in seeds]
        both = [pair for pair in both if None not in pair]
        if not both:
            continue
        row = dict(zip(by, place, strict=True)) | {"compared": f"{one} − {other}", "seeds": len(both)}
        for name in quantities:
            row |= with_interval(name, mean_interval([first[name] - second[name] for first, second in both]))
        low, high = row[f"{quantities[0]}_low"], row[f"{quantities[0]}_high"]
        verdict = seeds_say.verdict(low, high, expected="lower", seeds=len(both))
        words = {"supported": "relies less", "not supported": "relies more", "undecided": "undecided"}
        found.append(row | {"finding": words[verdict]})
    return found


def agreement(rows):
    """Do the measures of reliance.py see what the exchange of backgrounds sees?

    Args:
        rows: rows of `compare`.

    Returns:
        A list of rows: `training` ("all", then each), `classifiers`, and per measure Spearman's rank correlation with
        the BG-Gap over these classifiers, from −1 to 1; None where there is none. A measure that sees the reliance has
        one near 1, RFS near −1.

    Example:
        >>> base = dict.fromkeys(MEASURES, 0.0) | {"training": "LAT"}
        >>> found = agreement([base | {"bg_gap": gap, "rfs": -gap} for gap in (0.1, 0.4, 0.9)])
        >>> found[0]["rfs"], found[0]["energy_ratio"]
        (-1.0, None)
    """
    frame = pd.DataFrame(rows)
    found = []
    for training, group in {"all": frame, **dict(iter(frame.groupby("training", sort=False)))}.items():
        row = {"training": training, "classifiers": len(group)}
        for name in MEASURES:
            ranks = group[["bg_gap", name]].astype(float).dropna().rank()
            rho = ranks["bg_gap"].corr(ranks[name]) if ranks.nunique().min() > 1 else np.nan
            row[name] = None if np.isnan(rho) else float(rho)
        found.append(row)
    return found


def agreement_table(found):
    """The rows of `agreement` as a `tables.Table`."""
    heads = {name: tables.HEADS[name].partition(" (")[0].partition(",")[0] for name in MEASURES}  # no unit
    shown = [{heads.get(name, name): f"{value:+.2f}" if isinstance(value, float) else value or "–"
              for name, value in row.items()} for row in found]  # fmt: skip
    return tables.Table(shown)


def report(out, *, correlations=CORRELATIONS, seeds=(0, 1, 2), trainings=COMPARED, **settings):
    """Runs `compare` and writes what it finds: `metrics.json` after each classifier, then a table (CSV) and a page.

    Args:
        out: the folder, made if it is not there. Classifiers that an earlier run with the same `settings` finished are
            not trained again.
        correlations, seeds, trainings, settings: as for `compare`.

    Returns:
        `(rows, path)`: the rows of `compare` that were asked for, and the path of `challenge.html`.

    Raises:
        ValueError: for bad input, or a folder that holds a run with other `settings`, whose rows would be lost.
    """
    out = Path(out)
    done = finished(out, settings)
    grid = {"correlations": correlations, "seeds": seeds, "trainings": trainings}
    for row in compare(**grid, **settings, done=done):
        done.append(row)
        metrics.write_metrics(out, parameters=settings, results={"challenge": done})
    asked = [
        row for row in done
        if row["correlation"] in correlations and row["seed"] in seeds and row["training"] in trainings
    ]  # fmt: skip
    metrics.write_text(out / "challenge.csv", pd.DataFrame(over_seeds(asked)).to_csv(index=False))
    metrics.write_text(out / "challenge.html", page.page("Background challenge", _body(asked, settings)))
    return asked, out / "challenge.html"


def finished(out, settings):
    """The rows of an earlier run in this folder, or none; a `ValueError` if it had other settings."""
    if not (out / "metrics.json").exists():
        return []
    before = json.loads((out / "metrics.json").read_text())
    there = before["parameters"]
    if differ := sorted(name for name in settings | there if settings.get(name) != there.get(name)):
        raise ValueError(
            f"{out} holds a run with other settings ({', '.join(differ)}); expected the same, or another folder."
        )
    return before["results"]["challenge"]


def summary_tables(rows):
    """What the command prints and the page shows: a dictionary from a question to its `tables.Table`."""
    means = over_seeds(rows)
    return {
        "Reliance on the background": tables.results_table(means, columns=COLUMNS),
        "Which training relies less?": tables.results_table(differences(rows), columns=FOUND),
        "Measures without exchanged backgrounds": tables.results_table(means, columns=BY_MEASURE),
        "Do they see it? Rank correlation with the BG-Gap": agreement_table(agreement(rows)),
    }


_NOTES = (
    "BG-Gap is Mixed-Same minus Mixed-Rand: what a background of the digit's own class adds over any. The worst group "
    "is the lowest accuracy over label × background.",
    "Differences in points, paired by seed. “Relies less”: the BG-Gap's difference has its whole interval below 0; "
    "“relies more”: above.",
    "On digits that stand on backgrounds of their own class, with exact masks.",
    "Spearman's, over classifiers. A measure that sees the reliance has one near 1, RFS near −1.",
)


def _body(rows, settings):
    means = over_seeds(rows)
    figures = [plotting.over_correlation(means, panels)._repr_html_() for panels in (CHALLENGE_PANELS, MEASURE_PANELS)]
    asked = [f"{name} {eps_255(value) if name == 'eps' else value}" for name, value in settings.items()]
    names = {name: tables.HEADS[name].removesuffix(" (%)") for name in VARIANTS}
    parts = [
        "<h1>Background challenge</h1>",
        "<p>Digits on backgrounds (composite). In training the background tells the label with the given correlation; "
        "in testing every digit stands on every background. Means and 95 % intervals (Student's t) over training "
        f"seeds; fewer than three seeds decide nothing. {html.escape(', '.join(asked))}.</p>",
        f"<p>{'; '.join(f'{names[variant]}: {text}' for variant, text in VARIANTS.items())}.</p>",
    ]
    shown = zip(summary_tables(rows).items(), (figures[0], "", figures[1], ""), _NOTES, strict=True)
    for (question, table), figure, note in shown:
        parts += [f"<h2>{question}</h2>", figure, table._repr_html_(), f"<p>{note}</p>"]
    return "\n".join(parts)
