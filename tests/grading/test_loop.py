"""The whole loop with nbgrader's own commands, through its exchange: release, fetch, submit, collect, autograde, …"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from handed_in import Course
from nbgrader.api import Gradebook

from locadv_tf.course import codes, release

NAME = "1_background"  # the quickest one


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """A course whose exchange is a folder of this test; `loop.nbgrader(...)` runs a command of nbgrader."""
    there = Course(tmp_path_factory.mktemp("loop"), NAME)
    exchange = tmp_path_factory.mktemp("exchange")
    exchange.chmod(0o777)
    with (there.folder / "nbgrader_config.py").open("a") as config:
        config.write(f"c.Exchange.root = {str(exchange)!r}\nc.Exchange.cache = {str(exchange / 'cache')!r}\n")
    home = tmp_path_factory.mktemp("home")
    shutil.copy(there.folder / "nbgrader_config.py", home)

    def nbgrader(*arguments, cwd=there.folder):
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=cwd, env=os.environ | {"PATH": beside}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    there.nbgrader, there.home = nbgrader, home
    return there


def submission(loop, student):
    with Gradebook(f"sqlite:///{loop.folder / 'gradebook.db'}") as book:
        found = book.find_submission(NAME, student)
        return {
            "score": found.score,
            "penalty": found.late_submission_penalty,
            "late": found.total_seconds_late,
            "ungraded": found.needs_manual_grade,
        }


def test_release_submit_autograde_feedback_regrade_late_and_csv(loop, tmp_path):
    """One test, as each step needs the one before."""
    loop.nbgrader("db", "assignment", "add", NAME, "--duedate=2126-01-01 00:00 UTC")
    loop.nbgrader("release_assignment", NAME)

    # The student fetches the assignment, works on half of it and hands it in under an id.
    loop.nbgrader("fetch_assignment", NAME, cwd=loop.home)
    path = loop.home / NAME / f"{NAME}.ipynb"
    work = nbformat.read(path, as_version=4)
    for grade_id in ("threshold", "border"):
        loop.cell(grade_id, work).source = loop.cell(grade_id).source
    loop.cell("own_words", work).source = "Because of the standard deviation."
    for cell in (work.cells[1], loop.source.cells[1]):  # without `locadv` the code is the one in the notebook
        assert cell.source.startswith('student = ""')
        cell.source = f'student = "ada"\ncode = "{codes.code(loop.folder, "ada")}"'
    nbformat.write(work, path)
    loop.nbgrader("submit", NAME, "--student=ada", cwd=loop.home)

    loop.nbgrader("collect", NAME)
    loop.nbgrader("autograde", NAME)
    assert submission(loop, "ada") == {"score": 35, "penalty": 0, "late": 0, "ungraded": True}

    # A person marks the written answer; a regrade of the same work keeps that.
    with Gradebook(f"sqlite:///{loop.folder / 'gradebook.db'}") as book:
        answer = book.find_grade("own_words", NAME, NAME, "ada")
        answer.manual_score, answer.needs_manual_grade = 9, False
        book.db.commit()
    loop.nbgrader("autograde", NAME, "--force")
    assert submission(loop, "ada")["score"] == 44

    # The whole work, handed in again a day and a bit after the due date: the marks of the new one, less a fifth.
    nbformat.write(loop.source, path)
    loop.nbgrader("db", "assignment", "add", NAME, "--duedate=2026-01-01 00:00 UTC")
    loop.nbgrader("submit", NAME, "--student=ada", cwd=loop.home)
    loop.nbgrader("collect", NAME, "--update")
    stamp = loop.folder / "submitted" / "ada" / NAME / "timestamp.txt"
    stamp.chmod(0o644)
    stamp.write_text("2026-01-02 01:00:00 UTC")
    loop.nbgrader("autograde", NAME, "--force")
    late = submission(loop, "ada")
    assert (late["score"], late["late"]) == (94, 25 * 3600)
    assert late["penalty"] == pytest.approx(0.2 * 94)

    loop.nbgrader("generate_feedback", NAME)
    loop.nbgrader("release_feedback", NAME)
    assert "own_words" in loop.feedback("ada") or "94" in loop.feedback("ada")

    loop.nbgrader("export", f"--to={tmp_path / 'grades.csv'}")
    with (tmp_path / "grades.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["assignment"], row["student_id"], float(row["raw_score"])) == (NAME, "ada", 94)
    assert float(row["score"]) == pytest.approx(0.8 * 94) and float(row["max_score"]) == 100


def test_locadv_course_grades_the_same_folder(tmp_path):
    """Late, unchanged, changed and regraded, as `locadv course` does it."""
    there = Course(tmp_path, NAME)
    release.release(there.folder, [NAME], due="2026-01-01 00:00 UTC")
    there.submit("1234567", there.source, timestamp="2026-01-01 00:30:00 UTC")
    there.grade()
    (row,) = there.rows.values()
    assert row["marks"] == 85 and row["seconds_late"] == 1800 and row["penalty"] == pytest.approx(8.5)
    done = there.folder / "autograded" / "1234567" / NAME / f"{NAME}.ipynb"

    before = done.stat().st_mtime_ns
    there.grade()
    assert done.stat().st_mtime_ns == before  # unchanged: not run again
    there.submit(
        "1234567",
        there.changed([("tidy", "~ndimage.binary_fill_holes(largest)", "~largest")]),
        timestamp="2025-12-31 23:59:00 UTC",
    )
    there.grade()
    (row,) = there.rows.values()
    assert row["marks"] == 80 and row["seconds_late"] == 0 and row["penalty"] == 0

    path = release.export(there.folder, tmp_path / "marks" / "grades.csv")
    with path.open() as file:
        (exported,) = csv.DictReader(file)
    assert (exported["student_id"], float(exported["score"])) == ("1234567", 80)


def test_check_says_what_it_found():
    (row,) = release.check([NAME], log=lambda line: None)
    assert row == {
        "assignment": NAME, "points": 100, "automatic": 85, "reference": 85, "released": 0, "leaks": [], "ok": True,
    }  # fmt: skip
