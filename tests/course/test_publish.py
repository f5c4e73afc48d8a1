"""The public copy: no solution in it, the lessons are, and its own tests can run there."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from locadv_tf.course import publish, release

pytestmark = pytest.mark.skipif(
    not (publish.ROOT / ".git").exists(), reason="needs a clone: only what git knows of is published"
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return publish.publish(tmp_path_factory.mktemp("public") / "kit")


def test_nothing_of_a_solution_is_in_it(copy):
    assert not list(copy.rglob("assignments")) and not (copy / "tests" / "grading").exists()
    assert not any((copy / name).exists() for name in publish.TEACHERS)
    assert publish.solutions(copy) == []
    assert not [path for path in copy.rglob("*.ipynb") if "BEGIN SOLUTION" in path.read_text()]
    assert (copy / "notebooks" / "00_start_here.ipynb").exists() and not (copy / ".git").exists()


def test_the_search_finds_solutions():
    found = publish.solutions(publish.ROOT / "notebooks" / "assignments")
    assert sorted(Path(path).stem for path in found) == release.assignments()


def test_a_solution_elsewhere_stops_it(tmp_path, monkeypatch):
    source = nbformat.read(release.KIT / "source" / "2_attack" / "2_attack.ipynb", as_version=4)
    stray = min(line for line in release.secret_lines(source) - publish.COMMON if len(line) >= publish.LONG)
    (tmp_path / "notes.md").write_text(f"One line is enough:\n\n{stray}\n")
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setattr(publish, "_tracked", lambda: ["notes.md"])
    with pytest.raises(ValueError, match=r"notes\.md would publish a solution"):
        publish.publish(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="is not empty"):
        publish.publish(tmp_path)


def test_only_a_clone_can_be_published(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="is no clone"):
        publish.publish(tmp_path / "out")


# The tests that read files of the clone, and so could miss what a copy lacks. All others run the kit, the same there.
FILES = [
    "layout", "style", "packaging", "container", "quizzes", "readme", "cli", "site", "results", "notebooks", "lessons",
]  # fmt: skip
READERS = ["tests/course", "tests/reports/test_colab.py", *(f"tests/test_{name}.py" for name in FILES)]
TRAINING = "TestCheck or compete or defences or smoke_profile or photographs_run"  # these take minutes


@pytest.mark.slow
def test_the_students_tests_are_collected_there_and_all_that_read_files_pass(copy):
    """After the guide's next step, too, which puts badges into the lessons."""

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=copy, capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONPATH": str(copy)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    pytest_there = ["pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    collected = python(*pytest_there, "--collect-only")
    assert "tests/attacks/test_pgd.py" in collected and "tests/course/test_release.py" not in collected
    python("locadv", "colab", "https://github.com/someone/kit")
    python(*pytest_there, "-k", f"not ({TRAINING})", *READERS)
