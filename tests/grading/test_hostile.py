"""What must not stop the others: an endless loop, a deleted test, noise on stderr, a dead kernel, a damaged file."""

import copy
import os
import time
from pathlib import Path

import nbformat
import pytest
from handed_in import Course
from nbgrader.api import Gradebook

from locadv_tf.course import sandbox

# What was tried: the hand-out, another student's work, the settings, and modules that the next run would import.
ATTACK = """import contextlib, pathlib, subprocess
for place in ({course!r}, "../../..", "../.."):
    for file in (
        "nbgrader_config.py", "release/2_attack/2_attack.ipynb", "submitted/g.reference/2_attack/2_attack.ipynb",
        "autograded/a.endless/2_attack/2_attack.ipynb", "feedback/a.endless/2_attack/2_attack.html", "gradebook.db",
        "sitecustomize.py", "nbgrader.py", ".secret",
    ):
        with contextlib.suppress(OSError):
            path = pathlib.Path(place, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("raise SystemExit")
left_running = subprocess.Popen(["sleep", "1000"], start_new_session=True)"""
LOOP = "import time\nwhile fooled_background is None:\n    time.sleep(0.01)"  # the core is for the other workers
FLOOD = "print('x' * 30_000_000)\nfor line in range(3_000):\n    print('y' * 1_000)"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Assignment 2 with submissions that go wrong in every way but the usual one, graded in one go."""
    there = Course(tmp_path_factory.mktemp("hostile"), "2_attack")
    config = there.folder / "nbgrader_config.py"
    config.write_text(config.read_text().replace("c.Execute.timeout = 120", "c.Execute.timeout = 60"))

    endless = copy.deepcopy(there.source)
    there.cell("numbers", endless).source = f"fooled_background = hardest_hit = None\n{LOOP}"
    there.submit("a.endless", endless)

    deleted = copy.deepcopy(there.source)
    for grade_id in ("project_mask", "pgd_one", "own_words"):
        deleted.cells.remove(there.cell(grade_id, deleted))
    there.submit("b.deleted", deleted)

    noise = "import sys, warnings\n    warnings.warn('noise', stacklevel=1)\n    print('noise', file=sys.stderr)\n    "
    there.submit("c.noisy", there.changed([("project", "change = tf.where", f"{noise}change = tf.where")]))

    greedy = copy.deepcopy(there.source)
    (cell,) = [cell for cell in greedy.cells if cell.source == "# Your experiments."]
    cell.source = "bytearray(64 * 2**30)"
    there.submit("d.greedy", greedy)

    dead = copy.deepcopy(there.source)
    (cell,) = [cell for cell in dead.cells if cell.source == "# Your experiments."]
    cell.source = "import os\nos._exit(1)"
    there.submit("e.dead", dead)

    there.submit("f.damaged", '{"cells": [')
    for student, text in (("f.attack", ATTACK.format(course=str(there.folder))), ("f.flood", FLOOD)):
        hostile = copy.deepcopy(there.source)
        (cell,) = [cell for cell in hostile.cells if cell.source == "# Your experiments."]
        cell.source = text
        there.submit(student, hostile)

    there.submit("g.reference", there.source)
    there.grade()
    return there


def ended(folder, seconds=20):
    """Whether no process works below a folder any more, after a while; always true where there is no /proc."""
    for _ in range(10 * seconds):
        places = [path for link in Path("/proc").glob("[0-9]*/cwd") if (path := read_link(link))]
        if not [path for path in places if path.startswith(str(folder))]:
            return True
        time.sleep(0.1)
    return False


def read_link(link):
    try:
        return os.readlink(link)
    except OSError:  # the process has ended, or is somebody else's
        return None


def lost(there, student):
    got, most = there.points(student), there.most()
    return {cell for cell, points in got.items() if points is not None and points < most[cell]}


def test_an_endless_loop_costs_its_own_cells_only(hostile):
    assert lost(hostile, "a.endless") == {"numbers_fooled", "numbers_hardest"}
    assert "CellTimeoutError" in hostile.feedback("a.endless")


def test_a_deleted_test_is_put_back_and_counts(hostile):
    assert lost(hostile, "b.deleted") == set()
    assert hostile.points("b.deleted")["own_words"] is None  # a person will see that the answer is gone
    assert hostile.points("b.deleted")["project_mask"] == 5
    page = nbformat.read(hostile.folder / "autograded" / "b.deleted" / "2_attack" / "2_attack.ipynb", as_version=4)
    assert "was missing from the submission" in hostile.cell("pgd_one", page).source


def test_noise_on_stderr_costs_nothing(hostile):
    assert lost(hostile, "c.noisy") == set()


def test_memory_is_limited(hostile):
    assert lost(hostile, "d.greedy") == set()
    assert "MemoryError" in hostile.feedback("d.greedy")


@pytest.mark.parametrize("student", ["e.dead", "f.damaged"])
def test_what_cannot_be_graded_gets_no_marks_and_says_so(student, hostile):
    row = hostile.rows[student]
    assert row["marks"] == 0 and row["ungraded"] == row["points"] == 100
    assert "nbgrader.log" in row["problem"]
    assert not (hostile.folder / "autograded" / student / "2_attack").exists()


def test_the_others_are_graded(hostile):
    assert lost(hostile, "g.reference") == set()
    odd = {student for student, row in hostile.rows.items() if row["problem"]}
    assert {"e.dead", "f.damaged"} <= odd <= {"e.dead", "f.damaged", "f.attack"}


def test_one_submission_cannot_touch_another_and_nothing_runs_on(hostile):
    """In a sandbox it reaches nothing: nothing happened. Where there is none, it is named, undone and costs marks."""
    row = hostile.rows["f.attack"]
    if sandbox.kind():
        assert row["problem"] is None and lost(hostile, "f.attack") == set()
    else:
        assert "changed while it ran and was restored" in row["problem"] and row["marks"] == 0
    for path in hostile.folder.rglob("*"):
        if path.is_file() and "f.attack" not in path.parts and path.name != "nbgrader.log":
            assert b"raise SystemExit" not in path.read_bytes(), path
    assert not (hostile.folder / "sitecustomize.py").exists() and not (hostile.folder / "nbgrader.py").exists()
    assert ended(hostile.folder)


def test_an_endless_output_is_cut(hostile):
    assert lost(hostile, "f.flood") == set()
    assert (hostile.folder / "autograded" / "f.flood" / "2_attack" / "2_attack.ipynb").stat().st_size < 2e6
    assert len(hostile.feedback("f.flood")) < 5e6 and "the rest was cut" in hostile.feedback("f.flood")
    assert (hostile.folder / "nbgrader.log").stat().st_size < 5e6


def test_a_submission_is_stopped_as_a_whole(hostile):
    """And what an earlier version of it got is no longer there."""
    assert hostile.points("g.reference")["pgd_loop"] == 10
    for student in set(hostile.rows) - {"g.reference"}:
        (hostile.submissions / student / "2_attack.ipynb").unlink()
    hostile.grade(seconds=6, force=True)
    assert hostile.rows["g.reference"]["problem"] == "stopped after 6 s"
    assert hostile.rows["g.reference"]["marks"] == 0
    assert ended(hostile.folder)
    with Gradebook(f"sqlite:///{hostile.folder / 'gradebook.db'}") as book:
        assert book.find_submission("2_attack", "c.noisy").score == 85  # nobody else's marks were touched
