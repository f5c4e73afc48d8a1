"""One submission, graded in a copy of the course that holds nothing of the others."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import nbformat

from locadv_tf.course import codes, grader, sandbox, tampering

LOOK = "look at what the submission does"
LARGEST = 2**26  # bytes of a graded notebook
_NOT_OF_OTHERS = ("comment", "grade", "submitted_notebook", "submitted_assignment", "student")  # tables of a gradebook


def autograde(course, folder, student, name, *, kept, assignments, seconds, memory):
    """Runs one submission in a copy of its own, marks it, and keeps the graded notebook and the marks.

    The copy holds the notebook, nbgrader's settings, the assignment's data files and an empty gradebook. In a sandbox
    (`sandbox.kind`) only what the submission makes itself can be written. Marks are read off the executed notebook
    here, by the course's gradebook: what the copy's own gradebook says does not count.

    Args:
        course: the course's folder.
        folder: where the submissions are; the submission does not see it, nor `assignments`, the kit's sources.
        student, name: whose, and of which assignment. It lies in the course's `submitted/` already.
        kept: the course as it is (`tampering.look`). What changes in it while the submission runs is undone.
        seconds, memory: limits, as for `grader.run`.

    Raises:
        ValueError: if it cannot be graded, or left something where it has no business.
    """
    with tempfile.TemporaryDirectory(prefix="locadv-", ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch).resolve()
        own, result = scratch / "own", scratch / "autograded" / student
        _prepare(course, scratch, student, name)
        before, outside, problems = tampering.look(scratch), [], []
        own_environment = {"HOME": own, "TMPDIR": own, "MPLCONFIGDIR": own, codes.VARIABLE: codes.code(course, student)}
        try:
            grader.run(
                scratch, "autograde", name, f"--student={student}", "--force", f"--db=sqlite:///{own / 'gradebook.db'}",
                seconds=seconds,
                memory=memory,
                seen=sandbox.places(hide=[course, folder, assignments], read=[scratch], write=[own, result]),
                environment=sandbox.environment(**{key: str(value) for key, value in own_environment.items()}),
                log=course / "nbgrader.log",
                ended=lambda: outside.extend(tampering.restore(course, kept)),
            )  # fmt: skip
        except (OSError, ValueError) as failure:
            problems.append(str(failure))
        if outside:
            problems.append(f"{tampering.named(outside)} changed while it ran and was restored; {LOOK}")
        if left := _outside(before, scratch, (own, result / name)):
            problems.append(f"{tampering.named(left)} in its copy of the course changed while it ran; {LOOK}")
        if problems:
            raise ValueError("; ".join(problems))
        keep(course, student, name, _read(result / name / f"{name}.ipynb", scratch))


def _outside(before, scratch, mine):
    """What has changed in a copy of the course, except below some folders."""
    changed = tampering.differences(before, tampering.look(scratch, before))
    return [
        os.path.relpath(path, scratch)
        for path in changed
        if not any(Path(path).is_relative_to(place) for place in mine)
    ]


def _prepare(course, scratch, student, name):
    shutil.copytree(
        course / "submitted" / student / name,
        scratch / "submitted" / student / name,
        ignore=lambda place, names: [each for each in names if os.path.islink(os.path.join(place, each))],
    )
    source = course / "source" / name
    if source.is_dir():  # its data, if there are any, but not its solutions
        shutil.copytree(source, scratch / "source" / name, ignore=shutil.ignore_patterns("*.ipynb"))
    for settings in course.glob("nbgrader_config.*"):
        shutil.copy(settings, scratch)
    (scratch / "autograded" / student).mkdir(parents=True)
    (scratch / "own").mkdir()
    _empty_gradebook(course, name, scratch / "own" / "gradebook.db")
    with contextlib.suppress(ImportError, OSError):  # else Matplotlib looks for fonts each time, for seconds
        import matplotlib

        for fonts in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):
            shutil.copy(fonts, scratch / "own")


def _empty_gradebook(course, name, to):
    """A copy of the gradebook with one assignment and nobody in it."""
    shutil.copy(grader.gradebook_file(course), to)
    with contextlib.closing(sqlite3.connect(to)) as tables:
        for table in _NOT_OF_OTHERS:
            tables.execute(f"DELETE FROM {table}")
        tables.commit()
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{to}") as book:
        for other in [each.name for each in book.assignments if each.name != name]:
            book.remove_assignment(other)
    with contextlib.closing(sqlite3.connect(to)) as tables:
        tables.execute("VACUUM")  # else what was deleted can still be read in the file


def _read(path, scratch):
    """The executed notebook: a file of no great size that lies where it should."""
    if not os.path.lexists(path):
        raise ValueError("not graded; nbgrader.log says why")
    if path.resolve() != path or not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(f"{path.relative_to(scratch)} is a link, or too large; expected the graded notebook.")
    try:
        return nbformat.read(path, as_version=4)
    except Exception as problem:  # whatever it wrote there
        raise ValueError(f"the graded notebook cannot be read: {type(problem).__name__}") from problem


def keep(course, student, name, notebook):
    """Marks an executed notebook with the course's own tests, points and gradebook, and keeps it in `autograded/`.

    Raises:
        ValueError: if a test has not run.
    """
    from nbgrader.preprocessors import OverwriteCells, SaveAutoGrades

    with grader.gradebook(course) as book:
        book.update_or_create_student(student)
        with book.db.no_autoflush:
            book.update_or_create_submission(name, student)
        tests = {
            cell.name
            for each in book.find_assignment(name).notebooks
            for cell in each.grade_cells
            if cell.cell_type == "code"
        }
    have_run = {
        cell.metadata.get("nbgrader", {}).get("grade_id")
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.execution_count is not None
    }
    if missing := sorted(tests - have_run):
        raise ValueError(f"the test {', '.join(missing)} did not run; look at what it does")
    resources = {
        "nbgrader": {
            "student": student,
            "assignment": name,
            "notebook": name,
            "db_url": f"sqlite:///{grader.gradebook_file(course)}",
        }
    }
    ours = OverwriteCells()
    before = {id(cell): cell.source for cell in notebook.cells}
    notebook, _ = ours.preprocess(notebook, resources)
    for cell in notebook.cells:  # a test that was put back says so: that line stays
        note = ours.missing_cell_notification.format(cell_id=cell.metadata.get("nbgrader", {}).get("grade_id"))
        if before.get(id(cell)) in (f"# {note}{cell.source}", f"{note}{cell.source}"):
            cell.source = before[id(cell)]
    notebook, _ = SaveAutoGrades().preprocess(notebook, resources)
    path = course / "autograded" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    nbformat.write(notebook, path)
