"""`locadv course`: releases, checks and grades the assignments of `notebooks/assignments` with nbgrader's commands.

A course is a folder with nbgrader's usual layout (source, release, submitted, autograded, feedback, gradebook.db), so
that whatever is not here, the formgrader for one, is a command of nbgrader inside it. What became of a submission is
read from the gradebook: nbgrader's exit codes do not tell.
"""

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import nbformat

from locadv_tf import checks, grader, reports

KIT = reports.NOTEBOOKS / "assignments"
DELIMITERS = r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)"


def assignments():
    """The names of the kit's assignments, in order.

    Example:
        >>> assignments()
        ['1_background', '2_attack', '3_training', '4_defence']
    """
    return sorted(path.stem for path in KIT.glob("source/*/*.ipynb"))


def release(course, names=(), *, year=None, due=None):
    """Builds the versions for the students, in `release/` of the course's folder.

    The sources are copied from the kit once, so that they may be edited in the course's folder.

    Args:
        course: the course's folder; made if it is not there.
        names: assignments; none: all.
        year: what the students' personal numbers follow from, beside their ids; None leaves it as it is.
        due: a date as nbgrader takes it, `"2027-01-31 18:00 UTC"` say; None: as it is.

    Returns:
        The paths of the released notebooks.

    Raises:
        ValueError: for an unknown assignment, or where nbgrader refuses.
    """
    course, names = Path(course), _known(names)
    if year is not None:
        checks.count(year, name="year")
    course.mkdir(parents=True, exist_ok=True)
    if not (course / "nbgrader_config.py").exists():
        shutil.copy(KIT / "nbgrader_config.py", course)
    for name in names:
        path = course / "source" / name / f"{name}.ipynb"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(KIT / "source" / name / f"{name}.ipynb", path)
        if year is not None:
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                cell.source = re.sub(r"^year = \d+$", f"year = {year}", cell.source, flags=re.MULTILINE)
            nbformat.write(notebook, path)
        if due is not None:
            grader.run(course, "db", "assignment", "add", name, f"--duedate={due}")
        grader.run(course, "generate_assignment", name, "--force")
    return [course / "release" / name / f"{name}.ipynb" for name in names]


def grade(course, folder, *, force=False, seconds=grader.SECONDS, memory=grader.MEMORY, log=print):
    """Grades a folder of submissions and writes the feedback, as HTML, to `feedback/` of the course's folder.

    A submission is `STUDENT/ASSIGNMENT.ipynb` or `STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb`. A `timestamp.txt` beside it
    (`2027-01-31 17:59 UTC`) says when it was handed in; without one it is in time. Each is graded in a process of its
    own, so that none can stop the others. One that was graded before and has not changed since is left as it is.

    Args:
        course: a folder in which the assignments were released.
        folder: the submissions.
        force: grade unchanged submissions anew, too.
        seconds: after which a submission is stopped as a whole; nbgrader_config.py has the limit for a cell.
        memory: GB of address space that a submission may take, or None for no limit (as a GPU needs it).
        log: called with a line of progress per submission, and a warning where `grader.isolated` is false.

    Returns:
        A row per submission: `student`, `assignment`, `marks`, `points` (the most there are), `ungraded` (points that
        wait for a person), `seconds_late`, `penalty` and `problem` (None, or why it could not be graded).

    Raises:
        ValueError: for a course without releases, no submission, or names that nbgrader cannot take.
    """
    course, found = Path(course), _submissions(Path(course), Path(folder))
    if not grader.isolated():
        log(grader.NOT_ISOLATED)
    problems = {}
    for (student, name), path in found.items():
        if not _hand_in(course, student, name, path) and not force:
            log(f"{student}, {name}: unchanged")
            continue
        problem = problems[student, name] = _autograde(course, student, name, seconds=seconds, memory=memory)
        log(f"{student}, {name}: {problem or 'graded'}")
    for name in sorted({name for _, name in found}):
        with contextlib.suppress(ValueError):  # nothing to give feedback on: each row says why
            grader.run(course, "generate_feedback", name, "--force")
    return [row | {"problem": problems.get((row["student"], row["assignment"]))} for row in _marks(course, found)]


def export(course, to):
    """Writes everybody's marks from the gradebook to a CSV file, nbgrader's own; returns its path.

    Raises:
        ValueError: for a folder without a gradebook.
    """
    grader.gradebook_file(course)
    to = Path(to).resolve()
    to.parent.mkdir(parents=True, exist_ok=True)
    grader.run(course, "export", f"--to={to}")
    return to


def check(names=(), *, log=print):
    """Grades the reference solution and the released version, as it is, of each assignment.

    Args:
        names: assignments; none: all.
        log: called with a line of progress per notebook.

    Returns:
        A row per assignment: `assignment`, `points`, `automatic` (those that need no person), `reference` and
        `released` (marks), `leaks` (lines of solutions and hidden tests in the released version) and `ok`.
    """
    rows = []
    for name in _known(names):
        with tempfile.TemporaryDirectory() as scratch:
            course, handed_in = Path(scratch) / "course", Path(scratch) / "submissions"
            (released,) = release(course, [name])
            source = KIT / "source" / name / f"{name}.ipynb"
            for student, path in (("reference", source), ("released", released)):
                (handed_in / student).mkdir(parents=True)
                shutil.copy(path, handed_in / student)
            reference, as_it_is = grade(course, handed_in, log=log)
            row = {
                "assignment": name,
                "points": reference["points"],
                "automatic": reference["points"] - reference["ungraded"],
                "reference": reference["marks"],
                "released": as_it_is["marks"],
                "leaks": leaks(nbformat.read(source, as_version=4), nbformat.read(released, as_version=4)),
            }
        full = row["points"] == 100 and row["reference"] == row["automatic"] > 0
        rows.append(row | {"ok": full and row["released"] == 0 and not row["leaks"]})
    return rows


def leaks(source, released):
    """Lines of solutions and hidden tests that a released notebook still holds.

    Args:
        source, released: notebooks, as nbformat reads them.

    Returns:
        The lines, without those that the source shows elsewhere as well.
    """
    secret, shown = set(), set()
    for cell in source.cells:
        hidden = False
        for line in cell.source.splitlines():
            mark = re.search(DELIMITERS, line)
            hidden = mark.group(1) == "BEGIN" if mark else hidden
            (secret if hidden or mark else shown).add(line.strip())
    left = {line.strip() for cell in released.cells for line in cell.source.splitlines()}
    return sorted((secret - shown) & left)


def _known(names):
    for name in names:
        checks.choice(name, assignments(), name="assignment")
    return list(names) or assignments()


def _submissions(course, folder):
    """The notebooks below a folder of submissions, as `{(student, assignment): path}`."""
    names = [path.parent.name for path in sorted(course.glob("release/*/*.ipynb"))]
    if not names:
        raise ValueError(
            f"{course} holds no released assignment; expected a folder in which `locadv course release` ran."
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected one with STUDENT/ASSIGNMENT.ipynb.")
    found = {}
    for path in sorted(folder.glob("*/*.ipynb")) + sorted(folder.glob("*/*/*.ipynb")):
        if path.stem in names and path.parent.name in (path.stem, path.relative_to(folder).parts[0]):
            found[path.relative_to(folder).parts[0], path.stem] = path
    if not found:
        raise ValueError(
            f"{folder} holds no submission; expected STUDENT/ASSIGNMENT.ipynb with an assignment of {', '.join(names)}."
        )
    for student, _ in found:
        if not re.fullmatch(r"[\w.@ -]+", student):
            raise ValueError(f"the student's folder is called {student!r}; expected letters, digits and . _ - @ only.")
    return found


def _hand_in(course, student, name, path):
    """Copies a submission to where nbgrader looks for it; whether it is new, changed or was never graded."""
    here = course / "submitted" / student / name
    here.mkdir(parents=True, exist_ok=True)
    changed = not (course / "autograded" / student / name).exists()
    for file in (path, path.with_name("timestamp.txt")):
        copy = here / file.name
        before, now = (part.read_bytes() if part.exists() else None for part in (copy, file))
        changed |= before != now
        if now is not None:
            copy.write_bytes(now)
        else:
            copy.unlink(missing_ok=True)
    return changed


def _autograde(course, student, name, *, seconds, memory):
    """Runs and marks one submission; returns None or, where that fails, why. It then has no marks."""
    try:
        grader.run(course, "autograde", name, f"--student={student}", "--force", seconds=seconds, memory=memory)
        problem = None
    except (TimeoutError, ValueError) as failure:
        problem = str(failure)
    done = course / "autograded" / student / name
    if problem is None and (done / f"{name}.ipynb").exists():
        return None
    shutil.rmtree(done, ignore_errors=True)  # half of the way
    with grader.gradebook(course) as book:
        for notebook in book.update_or_create_submission(name, student).notebooks:
            for cell in notebook.grades:  # those of an earlier submission would be no longer true
                cell.auto_score, cell.needs_manual_grade = 0.0, True
        book.db.commit()
    return problem or f"not graded; {course / 'nbgrader.log'} says why"


def _marks(course, found):
    """What the gradebook says about submissions."""
    with grader.gradebook(course) as book:
        for student, name in found:
            submission = book.find_submission(name, student)
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
            yield {
                "student": student,
                "assignment": name,
                "marks": submission.score,
                "points": submission.max_score,
                "ungraded": sum(grade.max_score for grade in grades if grade.needs_manual_grade),
                "seconds_late": submission.total_seconds_late,
                "penalty": submission.late_submission_penalty or 0.0,
            }
