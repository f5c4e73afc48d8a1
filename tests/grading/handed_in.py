"""A course with one assignment, and what is handed in to it."""

import copy

import nbformat
from nbgrader.api import Gradebook
from wrong import WRONG

from locadv_tf.course import release


class Course:
    """One assignment's course folder, and the submissions to it."""

    def __init__(self, folder, name):
        self.name, self.folder, self.submissions = name, folder / "course", folder / "submissions"
        (self.released,) = release.release(self.folder, [name])
        self.source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
        self.rows = {}

    def submit(self, student, notebook, timestamp=None):
        """Puts a notebook, or text, into the student's folder."""
        path = self.submissions / student / f"{self.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook if isinstance(notebook, str) else nbformat.writes(notebook))
        if timestamp is not None:
            path.with_suffix(".timestamp.txt").write_text(timestamp)

    def changed(self, changes):
        """The reference solution with pieces of its cells replaced."""
        notebook = copy.deepcopy(self.source)
        for grade_id, old, new, *_ in changes:
            cell = self.cell(grade_id, notebook)
            assert old in cell.source, f"{grade_id} no longer holds {old!r}"
            cell.source = cell.source.replace(old, new)
        return notebook

    def without_own_work(self, sources):
        """The released version with these sources in its cells, `{cell: source}`."""
        notebook = nbformat.read(self.released, as_version=4)
        for grade_id, source in sources.items():
            self.cell(grade_id, notebook).source = source.strip()
        return notebook

    def cell(self, grade_id, notebook=None):
        """The cell of a notebook, the source if none is given, that has this id in nbgrader."""
        cells = (notebook or self.source).cells
        (cell,) = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id]
        return cell

    def grade(self, **options):
        """Grades what was submitted and keeps the rows by student."""
        rows = release.grade(self.folder, self.submissions, log=lambda line: None, **options)
        self.rows = {row["student"]: row for row in rows}

    def points(self, student):
        """The gradebook's automatic marks of each cell, None where a person is to mark it."""
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as book:
            (notebook,) = book.find_submission(self.name, student).notebooks
            return {grade.name: grade.auto_score for grade in notebook.grades}

    def most(self):
        """The most points that each cell can give."""
        cells = [cell.metadata.get("nbgrader", {}) for cell in self.source.cells]
        return {cell["grade_id"]: cell["points"] for cell in cells if cell.get("grade")}

    def feedback(self, student):
        """What the student gets back, an HTML page."""
        return (self.folder / "feedback" / student / self.name / f"{self.name}.html").read_text()


# The names under which the wrong submissions are handed in; one is a number, as many students' ids are.
STUDENTS = {
    name: {
        mistake: f"{1234567 + number}" if not number else f"student.{number}" for number, mistake in enumerate(wrong)
    }
    for name, wrong in WRONG.items()
}
