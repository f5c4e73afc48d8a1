"""One table of many reports, with means and intervals over seeds, and one of their claims."""

import html
import json
import os
from pathlib import Path

import pandas as pd

from locadv_tf.evaluation.intervals import mean_interval
from locadv_tf.reports import claims, metrics, page, schema
from locadv_tf.units import eps_255

RELIANCE = ("area", "asr_difference", "asr_difference_equal", "rfs", "energy_ratio")  # of reliance.background_reliance


def collect(folder):
    """Makes one table of all finished reports below a folder, and one of their claims.

    Args:
        folder: a sweep's folder, or any folder with `metrics.json` files of reports below it.

    Returns:
        `(results, verdicts)`, two `pandas.DataFrame`. Each row of `results` is a data set, profile, eps, training and
        attack, with the number of seeds and the mean and 95 % interval over seeds (Student's t) of accuracy, loss and
        ASR; each of `verdicts` a data set, profile, eps and claim, with the mean difference over seeds: trainings are
        paired by seed, in one report or in several. Any other parameter in which the reports differ has its own column.
        They are also written to `collected.csv`, `claims.csv` and `collected.html`, and the measures of reliance on the
        background, per model and mask source, to `reliance.csv` and the page.

    Raises:
        ValueError: if there is no finished report, or one of another version of the kit. What lessons and other
            programs left in a `metrics.json` is passed over.
    """
    paths = sorted(Path(folder).rglob("metrics.json"))
    hidden = [any(part.startswith(".") for part in path.relative_to(folder).parts) for path in paths]
    found = [schema.read_report(path) for path, aside in zip(paths, hidden, strict=True) if not aside]
    runs = [run for run in found if run is not None]
    if not runs:
        raise ValueError(f"no finished report below {os.fspath(folder)!r}; run locadv sweep or locadv report first.")
    by, rows, differences = _experiments(runs), [], []
    for where, found in _by_seed(runs, by, "rows", ("model", "condition")):
        rows += [row | where for row in found]
        differences += [difference | where for difference in claims.differences(found)]
    results = over_seeds(rows, [*by, "model", "attack", "region"], ("accuracy", "loss", "asr"))
    verdicts = over_seeds(differences, [*by, "key", "claim"], ("difference",))
    sides = {comparison.key: comparison.expected for comparison in claims.COMPARISONS} | {"sensitivity": "above"}
    verdicts["verdict"] = [
        claims.verdict(row["difference_low"], row["difference_high"], expected=sides[row["key"]])
        for row in verdicts.to_dict("records")
    ]
    verdicts = verdicts.drop(columns="key")
    leaning = [row | where for where, found in _by_seed(runs, by, "reliance", ("model", "source")) for row in found]
    reliance = over_seeds(leaning, [*by, "model", "source"], RELIANCE)
    _write_tables(Path(folder), {"claims": verdicts, "collected": results, "reliance": reliance}, runs)
    return results, verdicts


def _experiments(runs):
    """The names of what tells experiments apart: some always, and each parameter in which the runs differ."""
    always, never = ("dataset", "train_limit", "epochs", "eps"), ("seed", "trainings")
    names = dict.fromkeys(name for run in runs for name in run["parameters"] if name not in always + never)
    differ = [name for name in names if len({_plain(run["parameters"].get(name)) for run in runs}) > 1]
    return [*always, *differ]


def _by_seed(runs, by, name, key):
    """Pairs of an experiment with its seed, a dictionary, and these rows of all its reports, each `key` once."""
    found = {}
    for run in runs:
        parameters = run["parameters"] | {"eps": run["results"]["eps"]}  # the data set's own where none was asked for
        where = {name: _plain(parameters.get(name)) for name in [*by, "seed"]}
        rows = {tuple(row[part] for part in key): row for row in run["results"][name]}
        found.setdefault(tuple(where.items()), {}).update(rows)
    return [(dict(where), list(rows.values())) for where, rows in found.items()]


def _plain(value):
    """A parameter as a table's cell: a list as text."""
    return json.dumps(value) if isinstance(value, list) else value


def over_seeds(rows, by, quantities):
    """A `pandas.DataFrame` with a row per value of `by`: the number of seeds, means and 95 % intervals over them."""
    groups = pd.DataFrame(rows).groupby(by, sort=False, dropna=False) if rows else ()
    collected = []
    for key, group in groups:
        row = dict(zip(by, key, strict=True)) | {"seeds": group["seed"].nunique()}
        for quantity in quantities:
            values = group[quantity].dropna().astype(float).to_numpy()
            numbers = mean_interval(values) if len(values) else (None, None, None)
            row |= dict(zip((quantity, f"{quantity}_low", f"{quantity}_high"), numbers, strict=True))
        collected.append(row)
    columns = [*by, "seeds", *(quantity + end for quantity in quantities for end in ("", "_low", "_high"))]
    return pd.DataFrame(collected, columns=columns).astype(object).where(lambda frame: frame.notna(), None)


def _doubts(runs):
    """The checks of the evaluation itself that failed (`verdicts.check`), a line per report and model."""
    found = []
    for run in runs:
        where = f"{run['parameters']['dataset']}, {eps_255(run['results']['eps'])}, seed {run['parameters']['seed']}"
        for model, rows in run["results"]["verdicts"].items():
            failed = [row["check"] for row in rows if row["outcome"] == "fail"]
            found += [f"{where}, {model}: {', '.join(failed)}"] if failed else []
    return found


def _write_tables(folder, frames, runs):
    shown = {}
    for stem, frame in frames.items():
        if frame.empty and stem == "reliance":
            continue
        frame.to_csv(folder / f"{stem}.csv", index=False)
        shown[stem] = frame.assign(eps=frame["eps"].map(eps_255)).to_html(
            index=False, border=0, na_rep="–", float_format=lambda value: f"{value:.4g}"
        )
    name = html.escape(folder.resolve().name)
    doubts = "".join(f"<li>{html.escape(line)}</li>" for line in _doubts(runs))
    doubts = f"<p>Do not trust these numbers; checks failed:</p><ul>{doubts}</ul>" if doubts else ""
    body = (
        f"<h1>Collected reports</h1>{doubts}<p>{len(runs)} reports from {name}. Means and 95 % intervals "
        "(Student's t) over seeds; one seed has no interval and decides nothing.</p>"
        "<h2>Claims</h2><p>Differences are LAT minus the other training, paired by seed; for the attack against noise, "
        f"shares of images.</p>{shown['claims']}"
        f"<h2>Results</h2>{shown['collected']}"
    )
    if "reliance" in shown:
        body += (
            "<h2>Reliance on the background</h2><p>Per mask source. Leaning shows as an ASR difference (that of the "
            "background minus that of the foreground) above 0, an RFS below 0, an energy ratio above 1.</p>"
            f"{shown['reliance']}"
        )
    metrics.write_text(folder / "collected.html", page.page("Collected reports", body))
