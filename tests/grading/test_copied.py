"""Nobody passes with the work of others: what the lessons print, and calls of the kit."""

import ast

import nbformat
import pytest
from copied import CALLS, COPIED

from locadv_tf.course import release
from locadv_tf.reports import notebooks

NAMES = release.assignments()


def defined(notebook, *, marked=None):
    """The functions that a notebook's cells define, `{name: its arguments}`; if `marked`, its solution cells."""
    found = {}
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and (marked is None or about.get("solution")) and "%pip" not in cell.source:
            functions = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef)]
            found |= {each.name: tuple(arg.arg for arg in each.args.args) for each in functions}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_lesson_defines_what_an_assignment_asks_for(name):
    source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
    asked = set(defined(source, marked=True).items()) - {("__init__", ("self",))}
    assert asked
    for path in notebooks.lessons():
        assert not asked & defined(nbformat.read(path, as_version=4)).items(), path.stem


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_tried(name):
    source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
    about = [(cell.cell_type, cell.metadata.get("nbgrader", {})) for cell in source.cells]
    parts = {each["grade_id"] for kind, each in about if kind == "code" and each.get("solution")}
    assert parts - {"diagnosis"} == COPIED[name].keys(), "a diagnosis needs one's own images"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_from_the_lessons_gets_fewer_than_25_points(name, graded):
    row, got = graded(name).rows["copied"], graded(name).points("copied")
    assert not row["problem"] and row["marks"] < 25, {cell: points for cell, points in got.items() if points}


@pytest.mark.parametrize("name", NAMES)
def test_parts_that_call_the_kit_get_none(name, graded):
    got, most = graded(name).points("calls"), graded(name).most()
    tests = {cell for part in CALLS[name] for cell in most if cell.startswith(f"{part}_")}
    assert sum(most[cell] for cell in tests) >= 40
    assert {cell: got[cell] for cell in tests if got[cell]} == {}
