"""Each assignment through nbgrader: full marks, no marks, and the partial marks of plausible mistakes."""

import itertools
import re

import nbformat
import pytest
from handed_in import STUDENTS
from wrong import WRONG

from locadv_tf.course import release

NAMES = release.assignments()
MISTAKES = [(name, mistake) for name in NAMES for mistake in WRONG[name]]


def test_every_assignment_has_at_least_three_wrong_submissions():
    assert len(NAMES) == 4
    assert all(len(WRONG[name]) >= 3 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestForm:
    """What the source must be, before anything is run."""

    @pytest.fixture
    def source(self, name):
        return nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)

    def test_it_validates_holds_no_outputs_and_is_not_paired(self, source):
        nbformat.validate(source)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in source.cells)
        assert "jupytext" not in source.metadata  # it has put solutions back into releases

    def test_points_add_up_and_one_question_is_for_a_person(self, source):
        graded = [cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        assert sum(cell.metadata.nbgrader.points for cell in graded) == 100
        (written,) = [cell for cell in graded if cell.cell_type == "markdown"]
        before = source.cells[source.cells.index(written) - 1].source
        rubric = [line.strip("|").split(" | ") for line in re.findall(r"^\| .+ \d+ \|$", before, re.MULTILINE)]
        assert len(rubric) >= 3 and sum(int(row[-1]) for row in rubric) == written.metadata.nbgrader.points
        for what, *levels, _ in rubric:  # full, half, none: each shows a sentence that gets it
            assert len(levels) == 3 and all(re.search(r'"[^"]{6,}\."', level) for level in levels), what

    def test_the_points_of_the_first_cell_are_true(self, source):
        stated = dict(re.findall(r"^\| (\d) · .+ \| (\d+) \|$", source.cells[0].source, re.MULTILINE))
        counted, part = dict.fromkeys(stated, 0), None
        for cell in source.cells[1:]:
            heading = re.search(r"^## (\d) · ", cell.source, re.MULTILINE)
            part = heading.group(1) if heading else part
            counted[part] = counted.get(part, 0) + cell.metadata.get("nbgrader", {}).get("points", 0)
        counted.pop(None, None)
        assert counted == {part: int(points) for part, points in stated.items()}

    def test_it_says_how_long_it_takes(self, source):
        assert re.search(r"\*\*It takes\*\* about .* hour", source.cells[0].source)

    def test_a_test_that_is_deleted_can_be_put_back(self, source):
        """nbgrader looks for the cell before it, which must be a solution or a test."""
        known = [cell.metadata.nbgrader for cell in source.cells if "nbgrader" in cell.metadata]
        for before, cell in itertools.pairwise(known):
            assert not cell.grade or before.grade or before.solution, cell.grade_id

    def test_no_assertion_is_bare(self, source):
        """A failed check says what was expected, what came and where to look."""
        for cell in source.cells:
            assert not re.search(r"^\s*assert\b", cell.source, re.MULTILINE)
            calls = len(re.findall(r"coursework\.expect(?:_equal)?\(", cell.source))
            assert calls == cell.source.count("look=")
            about = cell.metadata.get("nbgrader", {})
            if about.get("points") and cell.cell_type == "code":
                assert calls

    def test_later_parts_get_our_version_of_earlier_ones(self, source):
        """In hidden cells that give no points; that it works is seen from the submissions with several mistakes."""
        ours = [cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("points") == 0]
        for cell in ours:
            assert cell.source.startswith("# Only when your work is graded: ") and "BEGIN HIDDEN TESTS" in cell.source
        assert sum(len(re.findall(r"^(?:def|class) ", cell.source, re.MULTILINE)) for cell in ours) >= 1

    def test_at_least_half_of_the_points_refuse_a_call_of_the_kit(self, source):
        tests = [cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        assert sum(cell.metadata.nbgrader.points for cell in tests if "coursework.expect_own(" in cell.source) >= 40


@pytest.mark.parametrize("name", NAMES)
class TestMarks:
    def test_the_reference_gets_full_marks(self, name, graded):
        got, most = graded(name).points("reference"), graded(name).most()
        assert {cell: points for cell, points in got.items() if points != most[cell]} == {"own_words": None}
        row = graded(name).rows["reference"]
        assert (row["marks"], row["points"], row["ungraded"]) == (85, 100, 15)

    def test_the_release_as_it_is_gets_none(self, name, graded):
        assert set(graded(name).points("released").values()) == {0.0}

    def test_no_solution_is_left_in_the_release(self, name, graded):
        released = nbformat.read(graded(name).released, as_version=4)
        assert release.leaks(graded(name).source, released) == []
        text = nbformat.writes(released)
        assert not re.search(release.DELIMITERS, text) and "Model answer" not in text
        assert release.leaks(graded(name).source, graded(name).source)  # it does find what is there

    def test_what_is_not_written_yet_is_said_so(self, name, graded):
        assert "this part is not written yet" in graded(name).feedback("released")


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_a_mistake_costs_its_own_part_only(name, mistake, graded):
    student, lost = STUDENTS[name][mistake], set().union(*(tests for *_, tests in WRONG[name][mistake]))
    got, most = graded(name).points(student), graded(name).most()
    assert {cell for cell, points in got.items() if points is not None and points < most[cell]} == lost
    assert graded(name).rows[student]["marks"] == 85 - sum(most[cell] - got[cell] for cell in lost) < 85
    feedback = graded(name).feedback(student)
    for part in ("Not yet: ", "expected  ", "got       ", "look at   "):
        assert part in feedback
    if "calls the kit" in mistake:
        assert "a call of the kit" in feedback
