"""The lessons as executed. Each runs once, and again only if its code, its profile, the kit or the data has changed."""

import ast
import concurrent.futures
import hashlib
import json
import os
import time
from pathlib import Path

import nbformat

import locadv_tf as la
from locadv_tf.reports import notebooks, report, workers

KIT = Path(la.__file__).parent
AT_A_TIME = 2  # lessons


def execute(folder, names, *, profile, log):
    """Executes the lessons that are not there as they are now.

    Args:
        folder: where they are kept, `<name>/<name>.ipynb`.
        names: of the lessons.
        profile: of `notebooks/params/`.
        log: a function that gets a line of text for each lesson.

    Returns:
        The names of those that failed.
    """
    folder, failed = Path(folder), []
    keys = {name: key(name, profile) for name in names}
    todo = [name for name in names if kept(folder / name / "key.txt") != keys[name]]
    log(f"lessons: {len(names) - len(todo)} kept, {len(todo)} to execute on the profile {profile}")
    if not todo:
        return failed
    with workers.pool(min(AT_A_TIME, len(todo))) as executor:
        # The later lessons take longer: they come first.
        runs = {executor.submit(run, name, profile, folder / name): name for name in reversed(todo)}
        for done in concurrent.futures.as_completed(runs):
            name = runs[done]
            try:
                log(f"{name}: executed in {done.result():.0f} s")
            except Exception as problem:  # whatever it is, the other lessons go on
                log(f"{name} failed: {problem}")
                failed.append(name)
                continue
            (folder / name / "key.txt").write_text(keys[name])
    return failed


def run(name, profile, folder):
    """Executes one lesson into a folder; returns the seconds. Where results are stored, it shows these."""
    started = time.monotonic()
    known = notebooks.notebook_parameters(notebooks.notebook_path(name))
    report.run_notebook(name, folder, profile=profile, parameters={"use_stored": True} if "use_stored" in known else {})
    return time.monotonic() - started


def kept(path):
    return path.read_text() if path.is_file() else None


def key(name, profile):
    """What a lesson's outputs follow from, as a hash: another key is another run."""
    cells = nbformat.read(notebooks.notebook_path(name), as_version=4).cells
    data = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    parts = {
        "code": [cell.source for cell in cells if cell.cell_type == "code"],
        "profile": notebooks.profile_parameters(profile),
        "stored": {path.name: digest(path) for path in sorted((notebooks.NOTEBOOKS / "stored" / name).glob("*"))},
        "kit": kit(),
        "versions": la.versions(),
        "data sets": sorted(path.name for path in data.glob("*") if path.is_dir()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def kit():
    """The kit's code as a hash. Comments and docstrings do not count, nor does the playground, which no lesson uses."""
    sources = {path.relative_to(KIT).as_posix(): path for path in sorted(KIT.rglob("*.py"))}
    found = hashlib.sha256()
    for name, path in sources.items():
        if not name.startswith("playground"):
            found.update(code_of(path.read_text(encoding="utf-8")).encode())
    return found.hexdigest()


def code_of(source):
    """A module's code without comments and docstrings, as text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *_]:
                node.body[0] = ast.Pass()
    return ast.dump(tree)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def page(name, folder):
    """A lesson as the site shows it: the notebook of today with the outputs of its run, without Colab's cells.

    Args:
        name: of the lesson.
        folder: as for `execute`; a lesson without a run of its present code has no outputs.

    Returns:
        A notebook of nbformat.
    """
    path, ran = notebooks.notebook_path(name), Path(folder) / name / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = nbformat.read(ran, as_version=4).cells if ran.is_file() else []
    injected = [cell.source for cell in cells if tagged(cell, "injected-parameters")]
    cells = [cell for cell in cells if cell.cell_type == "code" and not tagged(cell, "injected-parameters")]
    if [cell.source for cell in cells] == [cell.source for cell in code]:  # else it is the run of another version
        for cell, done in zip(code, cells, strict=True):
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
        given = other_values(notebook, injected)
        if given:
            at = next(i for i, cell in enumerate(notebook.cells) if tagged(cell, "parameters"))
            notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("# this page was made with\n" + "\n".join(given)))
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "colab")]
    return notebook


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def other_values(notebook, injected):
    """The lines of the cell that papermill added which say something else than the lesson's own parameters."""
    (own,) = [cell.source for cell in notebook.cells if tagged(cell, "parameters")]
    defaults = {line.target.id: ast.literal_eval(line.value) for line in ast.parse(own).body}
    given = {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse("\n".join(injected)).body}
    return [
        f"{name} = {value!r}" for name, value in given.items() if name != "output_dir" and value != defaults.get(name)
    ]
