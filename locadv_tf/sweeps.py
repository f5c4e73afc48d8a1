"""Many reports: data sets × seeds × eps, kept cell by cell, and one table with means and intervals over seeds."""

import concurrent.futures
import dataclasses
import html
import itertools
import json
import multiprocessing
import os
import sys
import traceback
from pathlib import Path

import pandas as pd

from locadv_tf import claims, reports
from locadv_tf.attacks import eps_255
from locadv_tf.evaluation import mean_interval


@dataclasses.dataclass(frozen=True)
class Cell:
    """One report of a sweep: where it goes and what it is asked for."""

    folder: Path
    profile: str
    parameters: dict

    def asked(self):
        """All parameters that the report will have been given, the profile's included."""
        source = reports.notebook_path("06_report")
        profile = reports.check_parameters(source, reports.profile_parameters(self.profile), known_only=True)
        return profile | reports.check_parameters(source, self.parameters)

    def finished(self):
        """Whether the folder holds the finished report of exactly these parameters."""
        path = self.folder / "metrics.json"
        if not path.exists() or not (self.folder / "report.html").exists():
            return False
        done = json.loads(path.read_text())["parameters"]
        return all(done.get(name) == value for name, value in self.asked().items())

    def run(self):
        """Runs the report; if it fails, the reason is left in `error.txt`. Returns None or the reason in one line."""
        error = self.folder / "error.txt"
        error.unlink(missing_ok=True)
        try:
            reports.report(
                dataset=self.parameters["dataset"],
                profile=self.profile,
                seed=self.parameters["seed"],
                out=self.folder,
                parameters=self.parameters,
            )
        except Exception as problem:  # whatever it was, the other cells go on
            reports.write_text(error, traceback.format_exc())
            return f"{type(problem).__name__}: {str(problem).strip().splitlines()[-1] if str(problem) else ''}"
        return None


def cells(out, *, datasets, seeds, epss=(None,), profile="class", parameters=None):
    """The cells of a sweep, checked before anything runs.

    Args:
        out: the sweep's folder; each cell gets a folder in it.
        datasets, seeds, epss: what to go through; an eps of None is the data set's own.
        profile, parameters: as for `reports.report`.

    Returns:
        A list of `Cell`.

    Raises:
        ValueError: for an unknown parameter or one of a wrong type.
    """
    found = []
    for dataset, seed, eps in itertools.product(datasets, seeds, epss):
        name = f"{dataset.replace('/', '-')}{'' if eps is None else f'-eps{eps:.4g}'}-seed{seed}"
        given = {"dataset": dataset, "seed": seed, "eps": eps} | (parameters or {})
        found.append(Cell(Path(out).resolve() / name, profile, given))
        found[-1].asked()
    return found


def sweep(todo, *, executor=None, workers=1, log=None):
    """Runs the cells that are not finished; what is finished stays, whatever happens to the rest.

    Args:
        todo: list of `Cell`.
        executor: any `concurrent.futures.Executor`; None: `workers` processes of this machine.
        workers: how many processes, where no executor is given.
        log: a function for a line of text as each cell ends; None: print to stderr.

    Returns:
        `{cell's name: reason}` of the cells that failed; their folders hold `error.txt` and the partial notebook.

    Raises:
        KeyboardInterrupt: as it came; waiting cells are dropped, and the next call continues.
    """
    log = log or (lambda line: print(line, file=sys.stderr, flush=True))
    waiting = [cell for cell in todo if not cell.finished()]
    if len(waiting) < len(todo):
        log(f"{len(todo) - len(waiting)} of {len(todo)} cells are finished already")
    own = executor is None
    if own:  # a fresh process per worker: TensorFlow does not survive a fork
        context = multiprocessing.get_context("spawn")
        executor = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
    failed = {}
    try:
        futures = {executor.submit(cell.run): cell for cell in waiting}
        for i, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            name = futures[future].folder.name
            try:
                reason = future.result()
            except Exception as problem:  # the worker itself died
                reason = f"{type(problem).__name__}: {problem}"
            if reason:
                failed[name] = reason
            log(f"[{i}/{len(waiting)}] {name}: {reason or 'done'}")
    finally:
        if own:
            executor.shutdown(wait=False, cancel_futures=True)
    return failed


def collect(folder):
    """Makes one table of all finished reports below a folder, and one of their claims.

    Args:
        folder: a sweep's folder, or any folder with `metrics.json` files of reports below it.

    Returns:
        `(results, verdicts)`, two `pandas.DataFrame`. Each row of `results` is a data set, profile, eps, training and
        attack, with the number of seeds and the mean and 95 % interval over seeds (Student's t) of accuracy, loss and
        ASR; each of `verdicts` a data set, profile, eps and claim, with the mean difference over seeds. They are also
        written to `collected.csv`, `claims.csv` and `collected.html`.

    Raises:
        ValueError: if there is no finished report.
    """
    runs = []
    for path in sorted(Path(folder).rglob("metrics.json")):
        content = json.loads(path.read_text())
        if "claims" in content["results"]:
            runs.append(content)
    if not runs:
        raise ValueError(f"no finished report below {os.fspath(folder)!r}; run locadv sweep or locadv report first.")
    rows = [_where(run) | row for run in runs for row in run["results"]["rows"]]
    by = ["dataset", "train_limit", "epochs", "eps", "model", "attack", "region"]
    results = _over_seeds(rows, by, ("accuracy", "loss", "asr"))
    rows = [_where(run) | row for run in runs for row in run["results"]["claims"] if row["difference"] is not None]
    by = ["dataset", "train_limit", "epochs", "eps", "key", "claim"]
    verdicts = _over_seeds(rows, by, ("difference",))
    sides = {comparison.key: comparison.expected for comparison in claims.COMPARISONS} | {"sensitivity": "above"}
    verdicts["verdict"] = [
        claims.verdict(row["difference_low"], row["difference_high"], expected=sides[row["key"]])
        for row in verdicts.to_dict("records")
    ]
    verdicts = verdicts.drop(columns="key")
    _write_tables(Path(folder), results, verdicts, runs)
    return results, verdicts


def _where(run):
    """What tells runs apart, but for the seed."""
    return {name: run["parameters"][name] for name in ("dataset", "train_limit", "epochs", "seed")} | {
        "eps": run["results"]["eps"]
    }


def _over_seeds(rows, by, quantities):
    frame = pd.DataFrame(rows)
    collected = []
    for key, group in frame.groupby(by, sort=False, dropna=False):
        row = dict(zip(by, key, strict=True)) | {"seeds": group["seed"].nunique()}
        for quantity in quantities:
            values = group[quantity].dropna().astype(float).to_numpy()
            numbers = mean_interval(values) if len(values) else (None, None, None)
            row |= dict(zip((quantity, f"{quantity}_low", f"{quantity}_high"), numbers, strict=True))
        collected.append(row)
    return pd.DataFrame(collected).astype(object).where(lambda frame: frame.notna(), None)


def _doubts(runs):
    """The checks of the evaluation itself that failed (`verdicts.check`), a line per report and model."""
    found = []
    for run in runs:
        where = f"{run['parameters']['dataset']}, {eps_255(run['results']['eps'])}, seed {run['parameters']['seed']}"
        for model, rows in run["results"].get("verdicts", {}).items():
            failed = [row["check"] for row in rows if row["outcome"] == "fail"]
            found += [f"{where}, {model}: {', '.join(failed)}"] if failed else []
    return found


def _write_tables(folder, results, verdicts, runs):
    results.to_csv(folder / "collected.csv", index=False)
    verdicts.to_csv(folder / "claims.csv", index=False)
    shown = [
        frame.assign(eps=frame["eps"].map(eps_255)).to_html(
            index=False, border=0, na_rep="–", float_format=lambda value: f"{value:.4g}"
        )
        for frame in (verdicts, results)
    ]
    name = html.escape(folder.resolve().name)
    doubts = "".join(f"<li>{html.escape(line)}</li>" for line in _doubts(runs))
    doubts = f"<p>Do not trust these numbers; checks failed:</p><ul>{doubts}</ul>" if doubts else ""
    body = (
        f"<h1>Collected reports</h1>{doubts}<p>{len(runs)} reports from {name}. Means and 95 % intervals "
        "(Student's t) over seeds; one seed has no interval and decides nothing.</p>"
        "<h2>Claims</h2><p>Differences are LAT minus the other training, paired by seed; for the attack against noise, "
        f"shares of images.</p>{shown[0]}"
        f"<h2>Results</h2>{shown[1]}"
    )
    reports.write_text(folder / "collected.html", reports.page("Collected reports", body))
