"""`locadv course` without a grading run, which is what tests/course is for: input, copies, leaks, limits."""

import re
import shlex
from pathlib import Path

import nbformat
import pytest

from locadv_tf import cli, course, grader

NAME = "1_background"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "instructors.md"


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A course with the release of one assignment, as far as this module needs it; nbgrader is not run."""
    monkeypatch.setattr(grader, "run", lambda *arguments, **limits: None)
    path = tmp_path / "course" / "release" / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return tmp_path / "course"


def submit(folder, *parts, text="{}"):
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_submissions_are_found_in_both_layouts_and_nothing_else(released, tmp_path):
    flat = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    deep = submit(tmp_path / "in", "1234567", NAME, f"{NAME}.ipynb")
    submit(tmp_path / "in", "ada", "notes.ipynb")
    submit(tmp_path / "in", "ada", ".ipynb_checkpoints", f"{NAME}.ipynb")
    assert course._submissions(released, tmp_path / "in") == {("ada", NAME): flat, ("1234567", NAME): deep}


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
        course.grade(released, tmp_path / "in")


def test_handing_in_tells_what_has_changed(released, tmp_path):
    path = submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    assert course._hand_in(released, "ada", NAME, path)
    assert course._hand_in(released, "ada", NAME, path)  # not graded yet
    (released / "autograded" / "ada" / NAME).mkdir(parents=True)
    assert not course._hand_in(released, "ada", NAME, path)
    stamp = submit(tmp_path / "in", "ada", "timestamp.txt", text="2027-01-31 17:59 UTC")
    assert course._hand_in(released, "ada", NAME, path)
    assert not course._hand_in(released, "ada", NAME, path)
    stamp.unlink()
    assert course._hand_in(released, "ada", NAME, path)
    assert not (released / "submitted" / "ada" / NAME / "timestamp.txt").exists()


def test_release_sets_the_year_and_keeps_what_was_edited(released):
    course.release(released, [NAME], year=2031)
    source = released / "source" / NAME / f"{NAME}.ipynb"
    notebook = nbformat.read(source, as_version=4)
    assert sum("year = 2031" in cell.source.splitlines() for cell in notebook.cells) == 1
    notebook.cells[0].source = "# Edited"
    nbformat.write(notebook, source)
    course.release(released, [NAME], year=2032)
    edited = nbformat.read(source, as_version=4)
    assert edited.cells[0].source == "# Edited"
    assert sum("year = 2032" in cell.source.splitlines() for cell in edited.cells) == 1
    assert "2026" in (course.KIT / "source" / NAME / f"{NAME}.ipynb").read_text()  # the kit's own is as it was


def test_leaks_are_lines_that_only_the_solution_has():
    def notebook(*sources):
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])

    source = notebook("x = 1\n### BEGIN SOLUTION\ny = 2\nx = 1\n### END SOLUTION", "print(x)")
    assert course.leaks(source, notebook("x = 1", "print(x)")) == []
    assert course.leaks(source, notebook("x = 1\n    y = 2", "print(x)")) == ["y = 2"]
    assert course.leaks(source, notebook("x = 1\n### END SOLUTION")) == ["### END SOLUTION"]


def test_a_command_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(TimeoutError, match="stopped after"):
        grader.run(tmp_path, "--help", seconds=0.01)


def test_a_command_that_fails_names_the_log(tmp_path):
    with pytest.raises(ValueError, match=r"nbgrader\.log says why"):
        grader.run(tmp_path, "autograde", "unknown")
    assert "$ nbgrader autograde unknown" in (tmp_path / "nbgrader.log").read_text()


@pytest.mark.parametrize("value", ["1", ""])
def test_it_warns_where_student_code_could_do_harm(value, released, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCADV_ISOLATED", value)
    monkeypatch.setattr(grader.os.path, "exists", lambda path: False)
    monkeypatch.setattr(course, "_hand_in", lambda *arguments: False)
    monkeypatch.setattr(course, "_marks", lambda *arguments: [])
    submit(tmp_path / "in", "ada", f"{NAME}.ipynb")
    lines = []
    course.grade(released, tmp_path / "in", log=lines.append)
    assert [line for line in lines if "student code runs now" in line] == ([] if value else [grader.NOT_ISOLATED])


@pytest.mark.parametrize("problem", [None, "stopped after 6 s"])
def test_grade_prints_a_line_per_submission(problem, monkeypatch, capsys):
    row = {
        "student": "ada", "assignment": NAME, "marks": 40.0, "points": 100.0, "ungraded": 15.0, "seconds_late": 5400.0,
        "penalty": 4.0, "problem": problem,
    }  # fmt: skip
    monkeypatch.setattr(course, "grade", lambda *arguments, **options: [row])
    assert cli.main(["course", "grade", "in"]) == (1 if problem else 0)
    line, path = capsys.readouterr().out.splitlines()
    assert line.startswith("ada, 1_background: 40 of 100; 15 more to be marked by hand; 1.5 h late, minus 4")
    assert (problem or "minus 4") in line and path == "course/feedback"


def test_check_prints_a_line_per_assignment(monkeypatch, capsys):
    row = {"assignment": NAME, "points": 100.0, "automatic": 85.0, "reference": 85.0, "released": 0.0, "leaks": []}
    for ok in (True, False):
        monkeypatch.setattr(course, "check", lambda names, log, ok=ok: [row | {"ok": ok}])
        assert cli.main(["course", "check"]) == (0 if ok else 1)
        assert capsys.readouterr().out.endswith("left in it: 0: ok\n" if ok else "left in it: 0: NOT OK\n")


def test_the_commands_of_the_instructors_page_parse():
    commands = re.findall(r"^locadv .*", DOCS.read_text(), re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert cli.parser().parse_args(shlex.split(command, comments=True)[1:]).run


def test_the_instructors_page_names_every_notebook_and_assignment():
    text = DOCS.read_text()
    for path in [*course.reports.NOTEBOOKS.glob("[0-9]*.ipynb"), *course.KIT.glob("source/*/*.ipynb")]:
        assert f"`{path.stem}`" in text
