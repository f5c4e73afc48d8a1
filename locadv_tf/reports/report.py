"""From a notebook to a report: strict parameters, papermill, and one HTML file that opens offline."""

import sys
from pathlib import Path

import papermill

from locadv_tf.reports.notebooks import check_parameters, notebook_path, profile_parameters
from locadv_tf.reports.page import export_html


class KernelDied(RuntimeError):
    """The process that ran a notebook's cells ended without an answer."""


def report(*, dataset="digits", profile="class", seed=0, out="reports/report", parameters=None):
    """Runs `06_report` and exports it: `report.ipynb` (executed), `report.html`, `metrics.json` in the folder `out`.

    Args:
        dataset: a data set's name, as for `load_data`.
        profile: `"smoke"`, `"class"` or `"full"`: a file of `notebooks/params/`.
        seed: integer that everything random follows from.
        out: the folder, made if it is not there.
        parameters: dictionary of further parameters of the notebook, stronger than the profile.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: for an unknown parameter or one of a wrong type, before anything runs.
        papermill.PapermillExecutionError: if a cell fails; `report.ipynb` keeps what was done until then.
        KernelDied: if the process that runs the cells dies, of want of memory say; the same is kept.
    """
    given = {"dataset": dataset, "seed": seed} | (parameters or {})
    return run_notebook("06_report", out, profile=profile, parameters=given, stem="report")


def run_notebook(name, out, *, profile="class", parameters=None, stem=None):
    """Executes one of the kit's notebooks with papermill and exports it as HTML without code cells.

    Args:
        name: of the notebook, `"06_report"` say.
        out: the folder for `<stem>.ipynb`, `<stem>.html` and `metrics.json`.
        profile: as for `report`; only the parameters that the notebook has are taken from it.
        parameters: dictionary of parameters, stronger than the profile.
        stem: what the files are called; None: as the notebook.

    Returns, Raises: as `report`.
    """
    source, out, stem = notebook_path(name), Path(out).resolve(), stem or name
    values = check_parameters(source, profile_parameters(profile), known_only=True)
    values |= check_parameters(source, parameters or {})
    if "{" in str(out) or "}" in str(out):
        raise ValueError(f"out={str(out)!r} has braces, which papermill would fill in; choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    for old in ("metrics.json", f"{stem}.html"):  # a run that dies must not look finished
        (out / old).unlink(missing_ok=True)
    executed = out / f"{stem}.ipynb"
    try:
        _execute(source, executed, values | {"output_dir": "."}, cwd=str(out))
    except RuntimeError as problem:
        if type(problem).__name__ != "DeadKernelError":  # nbclient's, which papermill does not hand on by name
            raise
        raise KernelDied(
            f"the notebook's process died, probably for want of memory; what was done until then is in {executed}. "
            "Close other programs, take fewer images (train_limit, test_limit), or another machine."
        ) from problem
    return export_html(executed, out / f"{stem}.html")


def _execute(source, executed, parameters, cwd):
    """papermill, and once more where the kernel never answered.

    Jupyter chooses a kernel's ports before the kernel takes them. Where two kernels start at once, as in a sweep of
    several processes, one may find its port taken and end before the first cell.
    """
    for last in (False, True):
        try:
            papermill.execute_notebook(
                source, executed, parameters=parameters, cwd=cwd, kernel_name="python3",
                progress_bar={"file": sys.stderr},
            )  # fmt: skip
            return
        except RuntimeError as problem:
            never_answered = str(problem).startswith(("Kernel didn't respond in", "Kernel died before replying"))
            if last or not never_answered:
                raise
