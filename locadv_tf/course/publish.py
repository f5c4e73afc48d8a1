"""A copy of a clone that may be public: without the assignments' sources and all that quotes them."""

import re
import shutil
import subprocess
from pathlib import Path

import nbformat

from locadv_tf.course import release

ROOT = Path(__file__).resolve().parents[2]
SECRET = ("notebooks/assignments/", "tests/grading/")  # the solutions, and mistakes that quote them
TEACHERS = ("tests/course/test_publish.py", "tests/course/test_release.py")  # tests that need the assignments
LONG = 40  # characters from which on a line is worth a search
COMMON = {  # long lines of solutions that say nothing: every training step and every attack of the kit has them
    "weights = self.classifier.trainable_weights",
    "self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))",
    "x = tf.clip_by_value(tf.clip_by_value(x, image - eps, image + eps), 0.0, 1.0)",
}


def publish(to):
    """Copies the files that git knows of, without what must not be public, to a new folder.

    The copy has no history: that holds the solutions, too. Make a new repository from it. The students' tests are
    `make test` there: all tests that the copy holds, but the slow ones.

    Args:
        to: the folder; it must be empty or not there.

    Returns:
        The folder's path.

    Raises:
        ValueError: outside of a clone, for a folder with something in it, or if a solution is found in the copy, which
            is then removed.
    """
    to = Path(to)
    if to.exists() and any(to.iterdir()):
        raise ValueError(f"{str(to)!r} is not empty; expected a new folder: old files could hold solutions.")
    for name in _tracked():
        if (ROOT / name).is_file() and not name.startswith(SECRET + TEACHERS):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    if found := solutions(to):
        shutil.rmtree(to)
        raise ValueError(f"{', '.join(found)} would publish a solution; expected none. Take these files out of git.")
    return to


def solutions(folder):
    """The files below a folder that hold solutions or hidden tests of the kit's assignments, by name.

    That is a notebook with a delimiter, or a file with one of the long lines of a solution that is not `COMMON`.
    """
    secret = set().union(*map(_lines, release.assignments()))
    found = []
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.suffix not in (".py", ".md", ".ipynb", ".txt", ".html", ".json"):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".ipynb":
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(cell.source for cell in cells)
        lines = {line.strip() for line in text.splitlines()}
        marked = path.suffix == ".ipynb" and re.search(release.DELIMITERS, text)
        if marked or lines & secret:
            found.append(str(path.relative_to(folder)))
    return found


def _lines(name):
    """The long lines that stand only in an assignment's solutions and hidden tests."""
    source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
    return {line for line in release.secret_lines(source) if len(line) >= LONG} - COMMON


def _tracked():
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ValueError(f"{str(ROOT)!r} is no clone; expected one: only what git knows of is published.") from None
    return [name for name in done.stdout.decode().split("\0") if name]
