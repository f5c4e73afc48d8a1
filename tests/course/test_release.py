"""`locadv course` without a grading run, which is what tests/grading is for: input, copies, leaks, limits."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

import locadv
from locadv_tf.course import between, codes, grader, own_copy, release, sandbox, submissions, suspects, tampering

NAME, OTHER = "1_background", "2_attack"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "instructors.md"


class Nbgrader:
    """Stands in for nbgrader's commands: a real gradebook, and 40 of 85 points for whatever is not said to go wrong."""

    def __init__(self, folder):
        self.folder, self.graded, self.commands = folder, [], []
        self.interrupted, self.feedback_fails = False, ()

    def run(self, folder, command, *arguments, ended=None, **limits):
        self.commands.append(command)
        try:
            if command == "autograde":
                self.autograde(folder, arguments[0], arguments[1].removeprefix("--student="))
        finally:
            if ended:
                ended()
        if command == "generate_feedback":
            for done in self.folder.glob(f"autograded/*/{arguments[0]}/*.ipynb"):
                page = self.folder / "feedback" / done.parent.parent.name / arguments[0] / f"{arguments[0]}.html"
                page.parent.mkdir(parents=True, exist_ok=True)
                page.unlink(missing_ok=True)
                if done.parent.parent.name not in self.feedback_fails:
                    page.write_text("well done")
            if self.feedback_fails:
                raise ValueError("`nbgrader generate_feedback` failed")

    def autograde(self, copy, name, student):
        """What nbgrader, and the code of the submission, do to its copy of the course."""
        text = (copy / "submitted" / student / name / f"{name}.ipynb").read_text()
        done = copy / "autograded" / student / name / f"{name}.ipynb"
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text("half of the way")  # nbgrader writes the notebook before it runs it
        if self.interrupted:
            raise KeyboardInterrupt
        if "tamper" in text:  # as it could where there is no sandbox
            attack(self.folder, name, student)
        if "litter" in text:
            for file in ("sitecustomize.py", "nbgrader.py", f"autograded/bob-{student}/x.ipynb"):
                submit(copy, *file.split("/"), text="raise SystemExit")
        if "die" in text:
            raise ValueError("the kernel died")
        if "link" in text:
            done.unlink()
            done.symlink_to(self.folder / "autograded" / "bob" / name / f"{name}.ipynb")
        elif "rubbish" not in text:
            nbformat.write(executed("skip" not in text), done)
        self.graded.append(student)

    def mark(self, student, points, name=NAME):
        """What a person does in the formgrader."""
        with grader.gradebook(self.folder) as book:
            grade = book.find_grade("own_words", name, name, student)
            grade.manual_score, grade.needs_manual_grade = points, False
            book.db.commit()


def executed(all_of_it):
    """A notebook as nbgrader leaves it: 40 of 85 points, and an answer that a person marks."""
    about = {"schema_version": 3, "grade": True, "locked": False, "task": False}
    result = nbformat.v4.new_output("execute_result", {"text/plain": "40"})
    auto = {**about, "grade_id": "auto", "points": 85, "solution": False, "cell_type": "code"}
    words = {**about, "grade_id": "own_words", "points": 15, "solution": True, "cell_type": "markdown"}
    code = nbformat.v4.new_code_cell(
        "tests", outputs=[result], execution_count=1 if all_of_it else None, metadata={"nbgrader": auto}
    )
    return nbformat.v4.new_notebook(cells=[code, nbformat.v4.new_markdown_cell("", metadata={"nbgrader": words})])


def attack(course, name, student):
    """The attack that was tried: on the hand-out, the settings, another's work, and the modules that come next."""
    for file in (
        "nbgrader_config.py", "nbgrader_config.json", f"source/{name}/{name}.ipynb", f"release/{name}/{name}.ipynb",
        f"submitted/bob-{student}/{name}/{name}.ipynb", f"autograded/bob/{name}/{name}.ipynb",
        f"feedback/bob/{name}/{name}.html", "sitecustomize.py", "nbgrader.py", "gradebook.db", "nbgrader.log",
    ):  # fmt: skip
        submit(course, *file.split("/"), text="import os")


@pytest.fixture(scope="module")
def gradebook(tmp_path_factory):
    """The file of a gradebook with two assignments. To make one takes a second: nbgrader calls alembic, from PATH."""
    from nbgrader.api import Gradebook

    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        with Gradebook(f"sqlite:///{path}") as book:
            for name in (NAME, OTHER):
                book.add_assignment(name, duedate="2027-01-31 18:00 UTC")
                book.add_notebook(name, name)
                for cell, points, kind in (("auto", 85, "code"), ("own_words", 15, "markdown")):
                    book.add_grade_cell(cell, name, name, max_score=points, cell_type=kind)
                    book.add_source_cell(cell, name, name, source="tests", cell_type=kind)
                book.add_solution_cell("own_words", name, name)
    return path


@pytest.fixture
def nbgrader(tmp_path, monkeypatch, gradebook):
    """A course with the release of two assignments, as far as this module needs it; nbgrader is not run."""
    folder = tmp_path / "course"
    there = Nbgrader(folder)
    monkeypatch.setattr(grader, "run", there.run)
    for name in (NAME, OTHER):
        submit(folder, "release", name, f"{name}.ipynb")
        submit(folder, "source", name, f"{name}.ipynb", text=(release.KIT / f"source/{name}/{name}.ipynb").read_text())
    shutil.copy(release.KIT / "nbgrader_config.py", folder)
    shutil.copy(gradebook, folder)
    return there


@pytest.fixture
def released(nbgrader):
    return nbgrader.folder


def graded(nbgrader, folder, **options):
    """What `grade` returns, by student, and what it says."""
    lines = []
    rows = release.grade(nbgrader.folder, folder, log=lines.append, **options)
    return {row["student"]: row for row in rows}, "\n".join(lines)


def submit(folder, *parts, text="{}"):
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_submissions_are_found_in_both_layouts(released, tmp_path):
    flat = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    deep = submit(tmp_path / "in", "1234567", NAME, f"{NAME}.ipynb")
    submit(tmp_path / "in", "ada", ".ipynb_checkpoints", f"{NAME}.ipynb")
    assert submissions.find(released, tmp_path / "in") == ({("ada", NAME): flat, ("1234567", NAME): deep}, [])


def test_what_is_left_out_is_said_and_is_a_failure(nbgrader, tmp_path, capsys):
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    for parts in (
        ("ada", "notes.ipynb"), ("ada", NAME, "copy.ipynb"), ("bob", f"{NAME} (1).ipynb"),
        ("dave", "hw", f"{NAME}.ipynb"), ("eve", "empty.txt"), (f"{NAME}.ipynb",),
        ("fay", f"{NAME}.ipynb"), ("fay", NAME, f"{NAME}.ipynb"),
    ):  # fmt: skip
        submit(tmp_path / "in", *parts)
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nowhere")
    rows = release.grade(nbgrader.folder, tmp_path / "in", log=print)
    told = capsys.readouterr().out
    assert sorted((row["student"], row["assignment"]) for row in rows if row["problem"]) == [
        ("-", f"{NAME}.ipynb"), ("ada", f"{NAME}/copy.ipynb"), ("ada", "notes.ipynb"), ("bob", "-"),
        ("bob", f"{NAME} (1).ipynb"), ("dave", "-"), ("dave", f"hw/{NAME}.ipynb"), ("eve", "-"),
        ("fay", f"{NAME}.ipynb"), ("gone", "-"),
    ]  # fmt: skip
    assert all(f"{row['assignment']}: {row['problem']}" in told for row in rows if row["problem"])
    assert {row["student"] for row in rows if not row["problem"]} == {"ada", "fay"}
    assert locadv.main(["course", "grade", "--course", str(nbgrader.folder), str(tmp_path / "in")]) == 1
    assert f"bob, {NAME} (1).ipynb: 0 of 0; left out; expected STUDENT/ASSIGNMENT.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (None, "is no folder"),
        (("ada", "5_party.ipynb"), "holds no submission; expected STUDENT/ASSIGNMENT.ipynb"),
        (("a*", f"{NAME}.ipynb"), "expected letters, digits"),
    ],
)
def test_bad_folders_of_submissions(parts, message, released, tmp_path):
    if parts:
        submit(tmp_path / "in", *parts)
    with pytest.raises(ValueError, match=message):
        release.grade(released, tmp_path / "in")


def test_only_what_has_changed_is_graded_anew(nbgrader, tmp_path):
    path = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    stamp = tmp_path / "in" / "ada" / f"{NAME}.timestamp.txt"
    copy = nbgrader.folder / "submitted" / "ada" / NAME

    def is_graded(**options):
        before = len(nbgrader.graded)
        rows, _ = graded(nbgrader, tmp_path / "in", **options)
        assert rows["ada"]["marks"] == 40 and not rows["ada"]["problem"]
        return len(nbgrader.graded) > before

    assert is_graded() and not is_graded() and is_graded(force=True) and not is_graded()
    path.write_text('{"a": 1}')
    assert is_graded() and not is_graded()
    stamp.write_text("2027-01-31 17:59 UTC")
    assert is_graded() and not is_graded() and (copy / "timestamp.txt").exists()
    stamp.unlink()
    assert is_graded() and not is_graded() and not (copy / "timestamp.txt").exists()
    shutil.rmtree(nbgrader.folder / "autograded")
    assert is_graded() and not is_graded()
    with grader.gradebook(nbgrader.folder) as book:  # a release with another hidden test
        book.update_or_create_source_cell("auto", NAME, NAME, source="other tests")
    assert is_graded() and not is_graded()
    with grader.gradebook(nbgrader.folder) as book:
        book.remove_student("ada")
    assert is_graded() and not is_graded()


def test_what_an_interrupted_run_has_left_is_graded(nbgrader, tmp_path):
    path = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    for text in ("{}", '{"a": 1}'):  # for the first time, and a new version
        path.write_text(text)
        nbgrader.interrupted = True
        with pytest.raises(KeyboardInterrupt):
            graded(nbgrader, tmp_path / "in")
        nbgrader.interrupted = False
        before = len(nbgrader.graded)
        assert graded(nbgrader, tmp_path / "in")[0]["ada"]["marks"] == 40 and len(nbgrader.graded) == before + 1


def test_what_nbgrader_has_collected_is_graded_where_it_is(nbgrader):
    """Through its exchange: a collected version, then a newer one, then a later stamp."""
    here = nbgrader.folder / "submitted"
    submit(here, "ada", NAME, f"{NAME}.ipynb")
    for _ in range(2):
        assert graded(nbgrader, here)[0]["ada"]["marks"] == 40 and nbgrader.graded == ["ada"]
    path = submit(here, "ada", NAME, f"{NAME}.ipynb", text='{"new": "version"}')
    path.chmod(0o444)
    graded(nbgrader, here)
    assert nbgrader.graded == ["ada"] * 2 and path.read_text() == '{"new": "version"}'
    submit(here, "ada", NAME, "timestamp.txt", text="2027-02-01 17:00:00 UTC")
    assert graded(nbgrader, here)[0]["ada"]["penalty"] == 4 and nbgrader.graded == ["ada"] * 3


def test_one_odd_submission_does_not_stop_the_others(nbgrader, tmp_path):
    bob = submit(tmp_path / "in", "bob", f"{NAME}.ipynb")
    for student in ("ada", "cora", "dan", "eve", "zoe"):
        (tmp_path / "in" / student).mkdir()
    (bob.parents[1] / "ada" / bob.name).symlink_to(bob)  # it would have had bob's marks
    (bob.parents[1] / "cora" / bob.name).symlink_to("nowhere")
    (bob.parents[1] / "dan" / bob.name).mkdir()
    (bob.parents[1] / "eve" / NAME).symlink_to(bob.parent)
    (bob.parents[1] / "fay").symlink_to(bob.parent)
    submit(tmp_path / "in", "gus", f"{NAME}.ipynb", text="die")
    submit(tmp_path / "in", "zoe", f"{NAME}.ipynb")
    rows, told = graded(nbgrader, tmp_path / "in")
    assert {student: row["marks"] for student, row in rows.items()} == {
        "ada": 0, "bob": 40, "cora": 0, "dan": 0, "eve": 0, "fay": 0, "gus": 0, "zoe": 40,
    }  # fmt: skip
    assert {row["problem"] for row in rows.values()} == {
        None, f"ada/{NAME}.ipynb is a link; expected a notebook.", f"cora/{NAME}.ipynb is a link; expected a notebook.",
        f"dan/{NAME}.ipynb is no file; expected a notebook.", f"eve/{NAME} is a link; expected a notebook.",
        "fay is a link; expected a notebook.", "the kernel died",
    }  # fmt: skip
    assert rows["gus"]["ungraded"] == rows["gus"]["points"] == 100 and "gus, 1_background: the kernel died" in told


def test_in_a_flat_folder_each_assignment_has_its_own_timestamp(nbgrader, tmp_path):
    for name, at in ((NAME, "2027-01-31 17:00 UTC"), (OTHER, "2027-02-01 17:00 UTC")):
        submit(tmp_path / "in", "ada", f"{name}.ipynb")
        submit(tmp_path / "in", "ada", f"{name}.timestamp.txt", text=at)
    rows = release.grade(nbgrader.folder, tmp_path / "in", log=print)
    assert [(row["assignment"], row["seconds_late"]) for row in rows] == [(NAME, 0), (OTHER, 23 * 3600)]
    submit(tmp_path / "in", "ada", "timestamp.txt", text="2027-03-01 17:00 UTC")  # of both? of the last one?
    *same, odd = release.grade(nbgrader.folder, tmp_path / "in", log=print)
    assert (
        same == rows
        and odd["assignment"] == "timestamp.txt"
        and "no assignment in its name; expected ASS" in odd["problem"]
    )


@pytest.mark.parametrize("layout", ["flat", "deep"])
@pytest.mark.parametrize("kind", ["link", "folder", "text", "empty", "bytes"])
def test_a_timestamp_that_cannot_be_read(kind, layout, nbgrader, tmp_path):
    home = submit(tmp_path / "in", "ada", *([NAME] if layout == "deep" else []), f"{NAME}.ipynb").parent
    stamp = home / ("timestamp.txt" if layout == "deep" else f"{NAME}.timestamp.txt")
    if kind == "link":
        stamp.symlink_to(submit(tmp_path, "time", text="2027-02-01 17:00 UTC"))
    elif kind == "folder":
        stamp.mkdir()
    else:
        stamp.write_bytes({"text": b"yesterday", "empty": b"\n", "bytes": b"\xff\xff"}[kind])
    for _ in range(2):
        row = graded(nbgrader, tmp_path / "in")[0]["ada"]
        assert row["marks"] == 40 and row["seconds_late"] == 0 and stamp.name in row["problem"]
    assert nbgrader.graded == ["ada"]


def test_penalties_follow_marks_by_hand_and_timestamps(nbgrader, tmp_path, monkeypatch):
    path = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    stamp = submit(tmp_path / "in", "ada", f"{NAME}.timestamp.txt", text="2027-02-02 17:00 UTC")
    assert graded(nbgrader, tmp_path / "in")[0]["ada"]["penalty"] == 0.2 * 40
    nbgrader.mark("ada", 10)
    seen = []

    def run(folder, command, *arguments, **limits):
        with grader.gradebook(folder) as book:
            seen.append((command, book.find_submission(NAME, "ada").late_submission_penalty))

    monkeypatch.setattr(grader, "run", run)
    release.export(nbgrader.folder, tmp_path / "grades.csv")
    row = graded(nbgrader, tmp_path / "in")[0]["ada"]
    assert (row["marks"], row["penalty"]) == (50, 0.2 * 50)
    assert seen == [("export", 10), ("generate_feedback", 10)]

    monkeypatch.setattr(grader, "run", nbgrader.run)
    stamp.unlink()
    row = graded(nbgrader, path.parents[1])[0]["ada"]
    assert (row["seconds_late"], row["penalty"]) == (0, 0)


def test_settings_that_cannot_be_read(nbgrader, tmp_path):
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    (nbgrader.folder / "nbgrader_config.py").write_text("c = get_config(")
    with pytest.raises(ValueError, match=r"nbgrader_config\.py cannot be read: SyntaxError"):
        release.grade(nbgrader.folder, tmp_path / "in", log=print)
    assert not nbgrader.commands


def test_an_assignment_that_the_gradebook_does_not_know(nbgrader, tmp_path):
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    with grader.gradebook(nbgrader.folder) as book:
        book.remove_assignment(NAME)
    with pytest.raises(ValueError, match=r"1_background; expected a released .* Run locadv course release 1_b"):
        release.grade(nbgrader.folder, tmp_path / "in", log=print)


def test_work_that_can_no_longer_be_graded_keeps_nothing(nbgrader, tmp_path):
    path = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    graded(nbgrader, tmp_path / "in")
    nbgrader.mark("ada", 9)
    page = nbgrader.folder / "feedback" / "ada" / NAME / f"{NAME}.html"
    assert graded(nbgrader, tmp_path / "in")[0]["ada"]["marks"] == 49 and page.exists()
    path.write_text("die")
    rows, told = graded(nbgrader, tmp_path / "in")
    assert (rows["ada"]["marks"], rows["ada"]["ungraded"]) == (0, 100) and not page.exists()
    assert "marks given by hand are removed: own_words 9" in told
    assert nbgrader.commands.count("generate_feedback") == 2  # not where nothing is graded
    assert graded(nbgrader, tmp_path / "in")[0]["ada"]["problem"] == "the kernel died"  # it is tried again


def test_feedback_that_fails_is_not_passed_over(nbgrader, tmp_path, monkeypatch):
    for student in ("ada", "bob"):
        submit(tmp_path / "in", student, f"{NAME}.ipynb")
    nbgrader.feedback_fails = ("bob",)
    rows, _ = graded(nbgrader, tmp_path / "in")
    assert rows["ada"]["problem"] is None and "no feedback: `nbgrader generate_feedback`" in rows["bob"]["problem"]
    nbgrader.feedback_fails = ("somebody else",)
    with pytest.raises(ValueError, match="generate_feedback"):
        graded(nbgrader, tmp_path / "in")


def test_whatever_changes_in_the_course_is_named_and_undone_and_costs_the_marks(nbgrader, tmp_path):
    submit(tmp_path / "in", "bob", f"{NAME}.ipynb")
    graded(nbgrader, tmp_path / "in")
    for student, text in (("ada", "tamper"), ("cora", "tamper and die"), ("dan", "{}")):
        submit(tmp_path / "in", student, f"{NAME}.ipynb", text=text)
    kept = {}

    def look(path):  # without the log, to which each run adds
        found = tampering.look(path)
        return {name: entry[1:] for name, entry in found.items() if not name.endswith(("nbgrader.log", "gradebook.db"))}

    def run(*arguments, ended=None, **options):
        kept.update(look(nbgrader.folder))
        nbgrader.run(*arguments, ended=ended, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grader, "run", run)
        rows, _ = graded(nbgrader, tmp_path / "in")
    now = look(nbgrader.folder)
    assert {
        path for path in kept if now.get(path) != kept[path] and "/ada" not in path and "/cora" not in path
    } == set()
    assert not (nbgrader.folder / "sitecustomize.py").exists() and not (nbgrader.folder / "nbgrader.py").exists()
    assert {student: row["marks"] for student, row in rows.items()} == {"ada": 0, "bob": 40, "cora": 0, "dan": 40}
    assert rows["bob"]["problem"] is None and rows["dan"]["problem"] is None
    assert "feedback" in rows["ada"]["problem"] or "and 5 more" in rows["ada"]["problem"]
    assert "changed while it ran and was restored; look at what the submission does" in rows["ada"]["problem"]
    assert rows["cora"]["problem"].startswith("the kernel died; autograded/bob/")
    assert graded(nbgrader, tmp_path / "in")[0]["ada"]["marks"] == 0  # until somebody looks


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("litter", "autograded/bob-ada, autograded/bob-ada/x.ipynb, nbgrader.py, sitecustomize.py in its copy of the"),
        ("link", "is a link, or too large"),
        ("rubbish", "the graded notebook cannot be read"),
        ("skip", "the test auto did not run"),
    ],
)
def test_what_comes_back_of_a_copy_is_checked(text, problem, nbgrader, tmp_path):
    submit(tmp_path / "in", "bob", f"{NAME}.ipynb")
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb", text=text)
    rows, _ = graded(nbgrader, tmp_path / "in")
    assert problem in rows["ada"]["problem"]
    assert (rows["ada"]["marks"], rows["bob"]["marks"], rows["bob"]["problem"]) == (0, 40, None)


def test_a_copy_holds_nothing_of_the_others(nbgrader, tmp_path):
    for student in ("ada", "bob"):
        submit(tmp_path / "in", student, f"{NAME}.ipynb", text=f'{{"secret of": "{student}"}}')
    graded(nbgrader, tmp_path / "in")
    submit(nbgrader.folder, "source", NAME, "data.csv", text="1")
    copy = tmp_path / "copy"
    own_copy._prepare(nbgrader.folder, copy, "ada", NAME)
    files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and "fontlist" not in path.name}
    assert files == {
        f"submitted/ada/{NAME}/{NAME}.ipynb", f"source/{NAME}/data.csv", "nbgrader_config.py", "own/gradebook.db",
    }  # fmt: skip
    everything = b"".join(path.read_bytes() for path in copy.rglob("*") if path.is_file())
    assert b"ada" in everything and b"bob" not in everything and OTHER.encode() not in everything


def test_an_old_course_gets_a_secret_when_it_is_graded(nbgrader, tmp_path):
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    graded(nbgrader, tmp_path / "in")
    first = codes.secret(nbgrader.folder)
    graded(nbgrader, tmp_path / "in")
    assert codes.secret(nbgrader.folder) == first and (nbgrader.folder / codes.SECRET).stat().st_mode & 0o077 == 0


def test_an_install_without_the_assignments_says_so(nbgrader, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(release, "KIT", tmp_path / "nowhere")
    for command in (["check"], ["release", "--course", str(tmp_path / "new")]):
        assert locadv.main(["course", *command]) == 2
        assert f"the assignments are not in '{tmp_path / 'nowhere'}'" in capsys.readouterr().err
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    assert graded(nbgrader, tmp_path / "in")[0]["ada"]["marks"] == 40


def test_release_keeps_what_was_edited_and_the_secret(released):
    release.release(released, [NAME])
    source, secret = released / "source" / NAME / f"{NAME}.ipynb", codes.secret(released)
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[0].source = "# Edited"
    nbformat.write(notebook, source)
    release.release(released, [NAME])
    assert nbformat.read(source, as_version=4).cells[0].source == "# Edited" and codes.secret(released) == secret


def test_only_assignment_4_gets_suspects_and_only_once(released, monkeypatch):
    written = []
    monkeypatch.setattr(suspects, "write", lambda path, secret: (written.append(path), path.touch()))
    for _ in range(2):
        release.release(released, [NAME, "4_defence"])
    assert written == [released / "source" / "4_defence" / suspects.FILE]


def test_leaks_are_lines_that_only_the_solution_has():
    def notebook(*sources):
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])

    source = notebook("x = 1\n### BEGIN SOLUTION\ny = 2\nx = 1\n### END SOLUTION", "print(x)")
    assert release.leaks(source, notebook("x = 1", "print(x)")) == []
    assert release.leaks(source, notebook("x = 1\n    y = 2", "print(x)")) == ["y = 2"]
    assert release.leaks(source, notebook("x = 1\n### END SOLUTION")) == ["### END SOLUTION"]


def test_a_command_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(TimeoutError, match="stopped after"):
        grader.run(tmp_path, "--help", seconds=0.01)


def test_a_command_that_fails_names_the_log(tmp_path):
    with pytest.raises(ValueError, match=r"nbgrader\.log says why"):
        grader.run(tmp_path, "autograde", "unknown")
    assert "$ nbgrader autograde unknown" in (tmp_path / "nbgrader.log").read_text()


def test_an_endless_output_is_not_kept_in_the_log(tmp_path, monkeypatch):
    (tmp_path / "yes.py").write_text("print('x' * 10_000_000)")
    monkeypatch.setattr(grader, "CAPPED", tmp_path / "yes.py")
    grader.run(tmp_path, "--version")
    log = (tmp_path / "nbgrader.log").read_text()
    assert len(log) < grader.LOG + 100 and log.endswith("[More output was cut.]\n")


def test_a_module_in_the_course_folder_is_not_imported(tmp_path):
    (tmp_path / "sqlalchemy.py").write_text("raise SystemExit(7)")
    grader.run(tmp_path, "--version")


def below(code, memory=0):
    """Python code below the process that runs nbgrader."""
    return [sys.executable, "-I", between.__file__, str(memory), sys.executable, "-c", code]


def has_ended(pid, seconds=20):
    for _ in range(int(10 * seconds)):
        if not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.1)
    return False


SLEEPER = "import subprocess as s, time; print(s.Popen(['sleep', '300'], start_new_session=True).pid, flush=True)"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: other systems cannot find such processes")


@LINUX
def test_what_a_submission_leaves_running_is_ended():
    done = subprocess.run(below(f"{SLEEPER}; raise SystemExit(3)"), stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 3 and has_ended(int(done.stdout), seconds=0.1)


@LINUX
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_leaves_nothing_running(how):
    with subprocess.Popen(below(f"{SLEEPER}; time.sleep(300)"), stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.send_signal(how)
        assert process.wait(60) == 128 + signal.SIGTERM and has_ended(pid, seconds=0.1)


@LINUX
def test_nothing_runs_on_if_locadv_is_killed():
    code = f"import subprocess; subprocess.run({below(f'{SLEEPER}; time.sleep(300)')!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.kill()
        assert has_ended(pid)


@LINUX
def test_the_limit_of_memory_holds_for_the_command():
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_AS))"
    done = subprocess.run(below(code, memory=2**32), stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout == f"({2**32}, {2**32})\n"


@pytest.mark.parametrize("value", ["1", ""])
def test_it_warns_where_student_code_could_do_harm(value, released, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCADV_ISOLATED", value)
    monkeypatch.setattr(grader.os.path, "exists", lambda path: False)
    monkeypatch.setattr(sandbox, "kind", lambda: None)
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    lines = []
    release.grade(released, tmp_path / "in", log=lines.append)
    assert lines[0] == (grader.NO_SANDBOX if value else grader.NOT_ISOLATED), "there is a line in any case"
    assert not set(lines[1:]) & {grader.NO_SANDBOX, grader.NOT_ISOLATED}


@pytest.mark.parametrize("problem", [None, "stopped after 6 s"])
def test_grade_prints_a_line_per_submission(problem, monkeypatch, capsys):
    row = {
        "student": "ada", "assignment": NAME, "marks": 40.0, "points": 100.0, "ungraded": 15.0, "seconds_late": 5400.0,
        "penalty": 4.0, "problem": problem,
    }  # fmt: skip
    monkeypatch.setattr(release, "grade", lambda *arguments, **options: [row])
    assert locadv.main(["course", "grade", "in"]) == (1 if problem else 0)
    line, path = capsys.readouterr().out.splitlines()
    assert line.startswith("ada, 1_background: 40 of 100; 15 more to be marked by hand; 1.5 h late, minus 4")
    assert (problem or "minus 4") in line and path == "course/feedback"


def test_check_prints_a_line_per_assignment(monkeypatch, capsys):
    row = {"assignment": NAME, "points": 100.0, "automatic": 85.0, "reference": 85.0, "released": 0.0, "leaks": []}
    for ok in (True, False):
        monkeypatch.setattr(release, "check", lambda names, log, ok=ok: [row | {"ok": ok}])
        assert locadv.main(["course", "check"]) == (0 if ok else 1)
        assert capsys.readouterr().out.endswith("left in it: 0: ok\n" if ok else "left in it: 0: NOT OK\n")


def test_the_commands_of_the_instructors_page_parse():
    commands = re.findall(r"^locadv .*", DOCS.read_text(), re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert locadv.parser().parse_args(shlex.split(command, comments=True)[1:]).run


def test_the_instructors_page_names_every_notebook_and_assignment():
    text = DOCS.read_text()
    for path in [*release.notebooks.NOTEBOOKS.glob("[0-9]*.ipynb"), *release.KIT.glob("source/*/*.ipynb")]:
        assert f"`{path.stem}`" in text
