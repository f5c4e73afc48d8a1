"""Many reports: data sets × seeds × eps × trainings, on one machine or many, kept cell by cell."""

import concurrent.futures
import contextlib
import dataclasses
import errno
import itertools
import json
import os
import platform
import re
import shutil
import sys
import threading
import traceback
import uuid
from pathlib import Path

from locadv_tf.reports import metrics, notebooks, report, schema

NOT_ASKED = ("output_dir", "save_models")  # where a report goes and what it leaves: not what it finds
ONE_AT_A_TIME = threading.Lock()  # papermill changes the working directory, which all threads of a worker share


@dataclasses.dataclass(frozen=True)
class Cell:
    """One report of a sweep: where it goes and what it is asked for."""

    folder: Path
    profile: str
    parameters: dict

    def asked(self):
        """All parameters of the report: the notebook's defaults, the profile's, the cell's own."""
        source = notebooks.notebook_path("06_report")
        known = notebooks.notebook_parameters(source)
        profile = notebooks.check_parameters(source, notebooks.profile_parameters(self.profile), known_only=True)
        defaults = {name: default for name, (default, _) in known.items()}
        asked = defaults | profile | notebooks.check_parameters(source, self.parameters)
        return {name: value for name, value in asked.items() if name not in NOT_ASKED}

    def done(self):
        """The parameters of the report that the folder holds the numbers of; None: it holds none."""
        content = self._content()
        return None if content is None else content["parameters"]

    def finished(self):
        """Whether the folder holds the finished report of exactly these parameters, in the present form."""
        return (
            (self.folder / "report.html").exists()
            and schema.is_current(content := self._content())
            and not differing(content["parameters"], self.asked())
        )

    def run(self, versions=None):
        """Runs the report, unless it is finished; if it fails, the reason is left in `error.txt`.

        The report is made in a folder aside, which then takes the cell's place whole. So a worker that dies leaves no
        half of a cell, and two that run the same cell (one was given up for lost and was not) do no harm.

        Args:
            versions: `reports.versions()` of the process that asks; None: they are not compared.

        Returns:
            None or the reason in one line.

        Raises:
            ValueError: on a worker that has other versions or does not see the sweep's folder.
        """
        self._check_worker(versions)
        with ONE_AT_A_TIME:
            if self.finished():
                return None
            made = self._aside()
            try:
                report.report(
                    dataset=self.parameters["dataset"],
                    profile=self.profile,
                    seed=self.parameters["seed"],
                    out=made,
                    parameters=self.parameters,
                )
            except Exception as problem:  # whatever it was, the other cells go on
                metrics.write_text(made / "error.txt", traceback.format_exc())
                reason = f"{type(problem).__name__}: {str(problem).strip().splitlines()[-1] if str(problem) else ''}"
                return None if self.finished() else reason
            finally:  # stopped by hand: the partial notebook stays, too
                self._place(made)
        return None

    def clear(self):
        """Removes what workers that died left beside the finished cell."""
        for left in self.folder.parent.glob(f".{self.folder.name}.*"):
            if not (left / "metrics.json").exists():  # else it may be on its way to the cell's place
                shutil.rmtree(left, ignore_errors=True)

    def _check_worker(self, versions):
        here = metrics.versions()
        other = [
            f"{name} {here.get(name)} where the sweep was started with {version}"
            for name, version in (versions or {}).items()
            if here.get(name) != version
        ]
        if other:
            raise ValueError(f"{platform.node()} has {', '.join(other)}; start all workers in the same environment.")
        if not self.folder.parent.is_dir():
            raise ValueError(
                f"{platform.node()} does not see {str(self.folder.parent)!r}; expected a folder on a file system that "
                "all workers share."
            )

    def _content(self):
        try:
            return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _aside(self):
        return self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex}")

    def _place(self, made):
        """Puts a folder in the cell's place, in one step; a finished report that is there stays.

        So do the numbers of another one, whatever its parameters, if the new folder has none: it failed.
        """
        while made.exists():
            try:
                os.rename(made, self.folder)
            except OSError as problem:
                if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                there = self._aside()
                with contextlib.suppress(FileNotFoundError):  # another worker has just taken it away
                    os.rename(self.folder, there)
                    failed = (there / "metrics.json").exists() and not (made / "metrics.json").exists()
                    if failed or dataclasses.replace(self, folder=there).finished():
                        made, there = there, made
                    shutil.rmtree(there, ignore_errors=True)


def cells(out, *, datasets, seeds, epss=(None,), trainings=None, profile="class", parameters=None):
    """The cells of a sweep, checked before anything runs.

    Args:
        out: the sweep's folder; each cell gets a folder in it.
        datasets, seeds, epss: what to go through; an eps of None is the data set's own.
        trainings: names of trainings (`"LAT"`, say), each a cell of its own; None: one cell runs them all. `collect`
            pairs them by seed either way.
        profile, parameters: as for `reports.report`.

    Returns:
        A list of `Cell`.

    Raises:
        ValueError: for an unknown parameter or training, one of a wrong type, or one that the sweep goes through; for
            cells that differ and would share a folder, as nearby values of eps do.

    Example:
        >>> [cell.folder.name for cell in cells("out", datasets=["mnist"], seeds=[0], trainings=["natural", "LAT"])]
        ['mnist-natural-seed0', 'mnist-LAT-seed0']
    """
    found = []
    for dataset, seed, eps, training in itertools.product(datasets, seeds, epss, trainings or [None]):
        swept = {"dataset": dataset, "seed": seed, "eps": eps}
        swept |= {} if training is None else {"trainings": [training]}
        if twice := sorted(swept.keys() & (parameters or {}).keys()):
            raise ValueError(f"parameter {twice[0]!r} is what the sweep goes through; pass it there only.")
        parts = [dataset, "" if eps is None else f"eps{eps:.4g}", training or "", f"seed{seed}"]
        name = "-".join(re.sub(r"[^\w.+-]+", "-", part) for part in parts if part)
        cell = Cell(Path(out).resolve() / name, profile, swept | (parameters or {}))
        for other in found:
            if other.folder == cell.folder and (differ := differing(other.asked(), cell.asked())):
                raise ValueError(
                    f"two cells of the sweep would share the folder {name!r}: they differ in {differ}. Give each a "
                    "sweep, and a folder, of its own."
                )
        cell.asked()
        found.append(cell)
    return found


def sweep(todo, *, executor=None, log=None):
    """Runs the cells that are not finished; what is finished stays, whatever happens to the rest.

    Args:
        todo: list of `Cell`.
        executor: any `concurrent.futures.Executor`, whose workers see the same files; None: one cell after another in
            this process. A Dask cluster's, `client.get_executor(pure=False)`, gives the cells of a worker that dies to
            another one; a `ProcessPoolExecutor` (with the context "spawn": TensorFlow does not survive a fork) breaks
            as a whole, and the next call continues.
        log: a function for a line of text as each cell ends; None: print to stderr.

    Returns:
        `{cell's name: reason}` of the cells that failed; their folders hold `error.txt` and the partial notebook.

    Raises:
        ValueError: before any work, if a cell's folder holds the numbers of other parameters.
        KeyboardInterrupt: as it came; waiting cells are dropped, and the next call continues.
    """
    log = log or (lambda line: print(line, file=sys.stderr, flush=True))
    for cell in todo:
        if (done := cell.done()) is not None and (differ := differing(done, cell.asked())):
            raise ValueError(
                f"{str(cell.folder)!r} holds a report of other parameters: {differ}. Take another folder for this "
                "sweep, or move that report away."
            )
    waiting = [cell for cell in todo if not cell.finished()]
    if len(waiting) < len(todo):
        log(f"{len(todo) - len(waiting)} of {len(todo)} cells are finished already")
    for cell in waiting:
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
    failed = {}
    with contextlib.closing(_outcomes(waiting, executor)) as outcomes:
        for i, (cell, outcome) in enumerate(outcomes, start=1):
            reason = _reason(cell, outcome)
            if reason:
                failed[cell.folder.name] = reason
            else:
                cell.clear()
            log(f"[{i}/{len(waiting)}] {cell.folder.name}: {reason or 'done'}")
    return failed


def differing(one, other):
    """The parameters in which two reports differ, as text: `eps 0.1 and 0.2, …`; "" if they are the same.

    One that is missing counts as None: a report may be older than the parameter, whose default is None then.
    """
    names = sorted(name for name in one | other if one.get(name) != other.get(name))
    return ", ".join(f"{name} {one.get(name)!r} and {other.get(name)!r}" for name in names)


def _outcomes(waiting, executor):
    """Pairs of a cell and a function that returns its reason or raises, as the cells end."""
    if executor is None:
        yield from ((cell, cell.run) for cell in waiting)
        return
    futures = {executor.submit(cell.run, metrics.versions()): cell for cell in waiting}
    try:
        yield from ((futures[future], future.result) for future in concurrent.futures.as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


def _reason(cell, outcome):
    try:
        reason = outcome()
    except Exception as problem:  # the worker is lost, or does not fit
        return f"{type(problem).__name__}: {problem}"
    if reason:
        return reason
    os.listdir(cell.folder.parent)  # a network file system may remember for a while that the cell was not there
    if cell.finished():
        return None
    return f"done by its worker, but not to be seen in {str(cell.folder)!r}; all workers must share that file system."
