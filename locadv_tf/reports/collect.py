"""One table of many reports, with means and intervals over seeds, and one of their claims."""

import html
import json
import os
from pathlib import Path

from locadv_tf.evaluation import challenge, photo_challenge
from locadv_tf.reports import claims, metrics, page, schema
from locadv_tf.reports.over_seeds import headline, judge, over_seeds
from locadv_tf.units import eps_255

QUANTITIES, FURTHER = ("accuracy", "loss", "asr"), ("accuracy_balanced", "ece", "ssim")  # of the rows of a report
EXCHANGED = list(dict.fromkeys(challenge.QUANTITIES + photo_challenge.QUANTITIES))  # of composite and photographs
RELIANCE = ("area", "asr_difference", "asr_difference_equal", "rfs", "energy_ratio")  # of reliance.background_reliance


def collect(folder):
    """Makes one table of all finished reports below a folder, and one of their claims.

    Args:
        folder: a sweep's folder, or any folder with `metrics.json` files of reports below it.

    Returns:
        `(results, verdicts)`, two `pandas.DataFrame`. Each row of `results` is a data set, profile, eps, training and
        attack, with the number of seeds, in how many of them the training diverged (a loss is not finite), and the mean
        and 95 % interval over seeds (Student's t) of accuracy, loss and ASR, each with the number of seeds behind it;
        each of `verdicts` a data set, profile, eps and claim, as `over_seeds.judge` makes them: trainings are
        paired by seed, in one report or in several. Any other parameter in which the reports differ has its own column.
        They are also written to `collected.csv`, `claims.csv` and `collected.html`; the measures of reliance on the
        background, per model and mask source, to `reliance.csv` and the page; exchanged backgrounds, where the reports
        have them, to `challenge.csv`, and the trainings' passes and seconds to `costs.csv`.

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
    by, rows, differences, broken = _experiments(runs), [], [], []
    for where, found in _by_seed(runs, by, "rows", ("model", "condition")):
        diverged = claims.diverged(found)
        broken += [(where, model) for model in sorted(diverged)]
        rows += [row | where | {"diverged": row["model"] in diverged} for row in found]
        differences += [difference | where for difference in claims.differences(found)]
    ensemble = _by_seed(runs, by, "headline", ("model", "attack", "region"))  # its PGD is in the rows, on more images
    for where, found in ensemble:
        lost = {model for there, model in broken if there == where}
        strongest = {}
        for row in found:  # the strongest attack comes first
            strongest.setdefault((row["model"], row["region"]), row)
        rows += [row | where | {"diverged": row["model"] in lost} for row in strongest.values()]
    results = over_seeds(rows, [*by, "model", "attack", "region"], (*QUANTITIES, *_there(rows, FURTHER)))
    counted = {}
    for row in rows:
        key = tuple(row[name] for name in (*by, "model", "attack", "region"))
        counted[key] = counted.get(key, 0) + row["diverged"]
    results.insert(results.columns.get_loc("seeds") + 1, "diverged", list(counted.values()))
    verdicts = judge(differences, by)
    headlines = _headlines(verdicts, by)
    frames = {"claims": verdicts, "collected": results}
    for name, key, quantities in (
        ("reliance", ("model", "source"), RELIANCE),
        ("challenge", ("model",), EXCHANGED),
        ("costs", ("model",), ("passes", "seconds")),
    ):
        found = [row | where for where, of_seed in _by_seed(runs, by, name, key) for row in of_seed]
        frames[name] = over_seeds(found, [*by, *key], quantities if name == "reliance" else _there(found, quantities))
    _write_tables(Path(folder), frames, headlines=headlines, diverged=broken, runs=runs)
    return results, verdicts


def _there(rows, quantities):
    return [name for name in quantities if any(row.get(name) is not None for row in rows)]


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
        rows = {tuple(row[part] for part in key): row for row in run["results"].get(name, ())}
        found.setdefault(tuple(where.items()), {}).update(rows)
    return [(dict(where), list(rows.values())) for where, rows in found.items()]


def _plain(value):
    """A parameter as a table's cell: a list as text."""
    return json.dumps(value) if isinstance(value, list) else value


def _headlines(verdicts, by):
    """A line per experiment: where it is, and its `headline`."""
    if verdicts.empty:
        return []
    return [
        f"{_where(dict(zip(by, where, strict=True)))}. {headline(group.to_dict('records'))}"
        for where, group in verdicts.groupby(by, sort=False, dropna=False)
    ]


def _where(row):
    """An experiment in words: what is None there is the default."""
    parts = []
    for name, value in row.items():
        if value is None or value != value:
            continue
        text = eps_255(value) if name == "eps" else f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(text if name in ("dataset", "eps") else f"{name} {text}")
    return ", ".join(parts)


def _doubts(runs):
    """The checks of the evaluation itself that failed (`verdicts.check`), a line per report and model."""
    found = []
    for run in runs:
        where = f"{run['parameters']['dataset']}, {eps_255(run['results']['eps'])}, seed {run['parameters']['seed']}"
        for model, rows in run["results"]["verdicts"].items():
            failed = [row["check"] for row in rows if row["outcome"] == "fail"]
            found += [f"{where}, {model}: {', '.join(failed)}"] if failed else []
    return found


_RULES = (
    "Differences are LAT minus the other training, paired by seed; for the attack against noise, shares of images. "
    "<b>abstract</b> marks the claims of the abstract, <b>control</b> and <b>further</b> the comparisons beside them. "
    "Only the abstract's claims count above. p is that of the paired t-test over seeds. p_holm is p adjusted by Holm's "
    "procedure over the abstract's claims of one data set and eps, not over data sets and budgets. Such a claim is "
    "decided only if p_holm is below 0.05. Controls and further comparisons are not corrected. “Unnecessary” has no "
    "difference of its own: see the rows natural_accuracy and background_accuracy. Its p is the larger of theirs; "
    f"natural accuracy is tested against −{100 * claims.MARGIN:g} point. “Imperceptibly” is a convention about eps and "
    "SSIM, not a test."
)


def _number(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _intervals_beside(frame):
    """The table for the page: each mean with its interval, and with its number of seeds if that is not the row's."""
    shown, together = frame.copy(), [name.removesuffix("_seeds") for name in frame if name.endswith("_seeds")]
    for name in together:
        texts = []
        for row in frame.to_dict("records"):
            text = "–" if row[name] is None else _number(row[name])
            if row[f"{name}_low"] is not None:
                text += f" [{_number(row[f'{name}_low'])} to {_number(row[f'{name}_high'])}]"
            if row[name] is not None and row[f"{name}_seeds"] != row["seeds"]:
                text += f" ({row[f'{name}_seeds']} of the seeds)"
            texts.append(text)
        shown[name] = texts
    shown = shown.drop(columns=[f"{name}_{end}" for name in together for end in ("low", "high", "seeds")])
    return shown.map(lambda value: "–" if value is None else value)


def _write_tables(folder, frames, *, headlines, diverged, runs):
    shown = {}
    for stem, frame in frames.items():
        if frame.empty and stem not in ("claims", "collected"):
            continue
        frame.to_csv(folder / f"{stem}.csv", index=False)
        printed = _intervals_beside(frame).assign(eps=frame["eps"].map(eps_255))
        shown[stem] = printed.to_html(index=False, border=0, na_rep="–", float_format=lambda value: f"{value:.4g}")
    name = html.escape(folder.resolve().name)
    doubts = "".join(f"<li>{html.escape(line)}</li>" for line in _doubts(runs))
    doubts = f"<p>Do not trust these numbers; checks failed:</p><ul>{doubts}</ul>" if doubts else ""
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in headlines)
    lines = f"<ul>{lines}</ul>" if lines else ""
    lost = ""
    if diverged:
        told = "; ".join(f"{_where(where)}, {model}" for where, model in diverged)
        lost = (
            f"<p>Trainings that diverged (a loss is NaN or infinite): {len(diverged)}. {html.escape(told)}. Their "
            "losses are in no mean. Their claims are undecided at best.</p>"
        )
    body = (
        f"<h1>Collected reports</h1>{doubts}{lines}{lost}<p>{len(runs)} reports from {name}. Means and 95 % intervals "
        "(Student's t) over seeds. The number of seeds in a row is the number behind its figures, unless a figure says "
        "otherwise. Fewer than three paired seeds decide nothing, nor do seeds that are all equal.</p>"
        f"<h2>Claims</h2><p>{_RULES}</p>{shown['claims']}"
        "<h2>Results</h2><p>The rows of LocalizedAutoAttack are those of the reports' headlines, on fewer test images "
        f"than the other rows.</p>{shown['collected']}"
    )
    if "reliance" in shown:
        body += (
            "<h2>Reliance on the background</h2><p>Per mask source. Reliance shows as an ASR difference (that of the "
            "background minus that of the foreground) above 0, an RFS below 0, an energy ratio above 1.</p>"
            f"{shown['reliance']}"
        )
    if "challenge" in shown:
        body += f"<h2>Exchanged backgrounds</h2>{shown['challenge']}"
    if "costs" in shown:
        body += f"<h2>Cost of the trainings</h2><p>Passes per image; seconds with validation.</p>{shown['costs']}"
    metrics.write_text(folder / "collected.html", page.page("Collected reports", body))
