"""`locadv course`: releases, checks and grades the assignments of `notebooks/assignments` with nbgrader's commands.

A course is a folder with nbgrader's usual layout (source, release, submitted, autograded, feedback, gradebook.db). So
nbgrader's other commands, such as the formgrader, also work inside it. The result of a submission is read from the
gradebook: nbgrader's exit codes do not show it.
"""

import re
import shutil
import tempfile
from pathlib import Path

import nbformat

from locadv_tf import validation
from locadv_tf.course import codes, grader, own_copy, sandbox, submissions, suspects, tampering
from locadv_tf.reports import notebooks

KIT = notebooks.NOTEBOOKS / "assignments"
WITH_SUSPECTS = ("4_defence",)
DELIMITERS = r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)"


def assignments():
    """The names of the kit's assignments, in order.

    Example:
        >>> set(assignments()) <= {"1_background", "2_attack", "3_training", "4_defence"}  # none in a public copy
        True
    """
    return sorted(path.stem for path in KIT.glob("source/*/*.ipynb"))


def release(course, names=(), *, due=None):
    """Builds the students' versions in `release/` of the course's folder.

    The sources are copied from the kit once; after that you may edit them in the course's folder. The course gets a
    secret, from which the students' codes follow (`codes`), and the attacks that assignment 4 asks about.

    Args:
        course: the course's folder; made if it does not exist.
        names: assignments; none: all.
        due: a date for nbgrader, such as `"2027-01-31 18:00 UTC"`; None: no change.

    Returns:
        The paths of the released notebooks.

    Raises:
        ValueError: for an unknown assignment, in an install without the assignments, or if nbgrader fails.
    """
    course, names = Path(course), _known(names)
    course.mkdir(parents=True, exist_ok=True)
    codes.secret(course, make=True)
    if not (course / "nbgrader_config.py").exists():
        shutil.copy(KIT / "nbgrader_config.py", course)
    for name in names:
        path = course / "source" / name / f"{name}.ipynb"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(KIT / "source" / name / f"{name}.ipynb", path)
        if name in WITH_SUSPECTS and not path.with_name(suspects.FILE).exists():
            suspects.write(path.with_name(suspects.FILE), codes.secret(course))
        if due is not None:
            grader.run(course, "db", "assignment", "add", name, f"--duedate={due}")
        grader.run(course, "generate_assignment", name, "--force")
    return [course / "release" / name / f"{name}.ipynb" for name in names]


def grade(course, folder, *, force=False, seconds=grader.SECONDS, memory=grader.MEMORY, log=print):
    """Grades a folder of submissions and writes the feedback, as HTML, to `feedback/` of the course's folder.

    A submission is `STUDENT/ASSIGNMENT.ipynb` or `STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb`. The time of handing in
    (`2027-01-31 17:59 UTC`) stands in `STUDENT/ASSIGNMENT.timestamp.txt` or `STUDENT/ASSIGNMENT/timestamp.txt`. Without
    this file a submission is in time. Each submission is graded in its own process, so that none can stop the others.
    A graded submission is graded again only if it, or the assignment's release, has changed.

    Args:
        course: a folder in which the assignments were released. Do not edit its `source/` or its settings meanwhile:
            a change there counts as the submission's and is undone.
        folder: the submissions; the course's own `submitted/`, into which nbgrader collects, also works.
        force: also grade unchanged submissions again.
        seconds: the limit for a whole submission; nbgrader_config.py has the limit for a cell.
        memory: GB of address space for a submission, or None for no limit (a GPU needs that).
        log: called with a line of progress per submission, and first with one that says how they are kept apart.

    Returns:
        A row per submission: `student`, `assignment`, `marks`, `points` (the most there are), `ungraded` (points that
        wait for a person), `seconds_late`, `penalty` and `problem` (None, or what is wrong with it). A file that was
        left out has a row without points, with the file's name as the assignment.

    Raises:
        ValueError: for a course without releases, no submission, or names that nbgrader does not accept; if nbgrader
            cannot write feedback for a reason outside these submissions.
    """
    course, folder = Path(course), Path(folder)
    found, left_out = submissions.find(course, folder)
    tests = {name: grader.tests(course, name) for name in {name for _, name in found}}
    rule, known = grader.late_rule(course), grader.known(course)
    codes.secret(course, make=True)
    if sandbox.kind():
        log(f"Each submission runs by itself, without a network, in a sandbox ({sandbox.kind()}).")
    else:
        log(grader.NO_SANDBOX if grader.isolated() else grader.NOT_ISOLATED)
    problems, times, digests = {}, {}, {}
    for (student, name), path in found.items():  # all before any runs: none can change what another handed in
        time, problems[student, name] = submissions.timestamp(path)
        times[student, name] = None if time is None else time.decode()
        try:
            path = submissions.of_its_own(path, folder)
            digests[student, name] = submissions.hand_in(course, student, name, path, time, tests[name])
        except (OSError, ValueError) as failure:
            problems[student, name] = str(failure)
    kept = None
    for student, name in found:
        stamp, new, problem = course / ".graded" / student / name, digests.get((student, name)), None
        done = (student, name) in known and (course / "autograded" / student / name / f"{name}.ipynb").exists()
        todo = new and (force or not done or not stamp.exists() or stamp.read_text() != new)
        if todo:
            stamp.unlink(missing_ok=True)  # if the run is killed, this counts as not graded
            kept = tampering.look(course, kept)
            limits = {"seconds": seconds, "memory": memory}
            try:
                own_copy.autograde(course, folder, student, name, kept=kept, assignments=KIT, **limits)
                stamp.parent.mkdir(parents=True, exist_ok=True)
                stamp.write_text(new)
            except (OSError, ValueError) as failure:
                problem = str(failure)
        if problem or not new:
            _void(course, student, name, log)
        problems[student, name] = problem or problems[student, name]
        log(f"{student}, {name}: {problems[student, name] or ('graded' if todo else 'unchanged')}")
    _set_times(course, times)
    grader.set_penalties(course, rule)
    for name in sorted(tests):
        problems |= _feedback(course, name, [student for student, each in found if each == name], problems)
    for row in left_out:
        log(f"{row['student']}, {row['assignment']}: {row['problem']}")
    return [
        *(row | {"problem": problems[row["student"], row["assignment"]]} for row in _marks(course, found)),
        *left_out,
    ]


def export(course, to):
    """Writes all marks from the gradebook to a CSV file in nbgrader's format; returns its path.

    First it sets the penalties for lateness again, because some marks may be new (given by hand).

    Raises:
        ValueError: for a folder without a gradebook.
    """
    grader.gradebook_file(course)
    grader.set_penalties(course, grader.late_rule(course))
    to = Path(to).resolve()
    to.parent.mkdir(parents=True, exist_ok=True)
    grader.run(course, "export", f"--to={to}")
    return to


def check(names=(), *, log=print):
    """Grades each assignment's reference solution and its unchanged released version.

    Args:
        names: assignments; none: all.
        log: called with a line of progress per notebook.

    Returns:
        A row per assignment: `assignment`, `points`, `automatic` (points that need no person), `reference` and
        `released` (marks), `leaks` (lines of solutions and hidden tests in the released version) and `ok`.

    Raises:
        ValueError: for an unknown assignment, or in an install without the assignments.
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
    """Lines of solutions and hidden tests that a released notebook still contains.

    Args:
        source, released: notebooks, read by nbformat.

    Returns:
        The lines, without those that also stand elsewhere in the source.
    """
    left = {line.strip() for cell in released.cells for line in cell.source.splitlines()}
    return sorted(secret_lines(source) & left)


def secret_lines(source):
    """The lines, a set, that stand only in the solutions and hidden tests of a source, a notebook."""
    secret, shown = set(), set()
    for cell in source.cells:
        hidden = False
        for line in cell.source.splitlines():
            mark = re.search(DELIMITERS, line)
            hidden = mark.group(1) == "BEGIN" if mark else hidden
            (secret if hidden or mark else shown).add(line.strip())
    return secret - shown


def _known(names):
    if not assignments():
        raise ValueError(
            f"the assignments are not in {str(KIT)!r}. A public copy has none: use the clone that it was made from. "
            "Anywhere else: install the kit anew."
        )
    for name in names:
        validation.choice(name, assignments(), name="assignment")
    return list(names) or assignments()


def _void(course, student, name, log):
    """Removes marks and feedback of a submission that cannot be graded, also those of an earlier version."""
    for step in ("autograded", "feedback"):
        shutil.rmtree(course / step / student / name, ignore_errors=True)
    (course / ".graded" / student / name).unlink(missing_ok=True)
    if by_hand := grader.void(course, student, name):
        given = ", ".join(f"{cell} {marks:g}" for cell, marks in by_hand.items())
        log(f"{student}, {name}: marks given by hand are removed: {given}")


def _set_times(course, times):
    """Writes into the gradebook when submissions were handed in; None: in time."""
    with grader.gradebook(course) as book:
        for (student, name), time in times.items():
            book.update_or_create_submission(name, student, timestamp=time and time.strip())


def _feedback(course, name, students, problems):
    """Writes the feedback on an assignment; returns the problems of the submissions without feedback."""
    graded = list(course.glob(f"autograded/*/{name}/{name}.ipynb"))
    if not graded:
        return {}
    try:
        grader.run(course, "generate_feedback", name, "--force")
        return {}
    except ValueError as failure:
        homes = {path.parent.parent.name for path in graded}
        without = {
            (student, name): problems[student, name] or f"no feedback: {failure}"
            for student in students
            if student in homes and not (course / "feedback" / student / name / f"{name}.html").exists()
        }
        if not without:
            raise
        return without


def _marks(course, found):
    """The submissions' marks in the gradebook."""
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
