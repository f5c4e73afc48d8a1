"""All submissions of an assignment, graded once, which takes minutes: its tests go to one worker as a group."""

import functools

import pytest
from handed_in import STUDENTS, Course
from wrong import WRONG


@pytest.fixture(scope="session")
def graded(tmp_path_factory):
    """`graded(assignment)`: its reference, its released version and the wrong submissions, all graded."""

    @functools.cache
    def grade(name):
        there = Course(tmp_path_factory.mktemp(name), name)
        there.submit("reference", there.source)
        there.submit("released", there.released.read_text())
        for mistake, (replacements, _) in WRONG[name].items():
            there.submit(STUDENTS[name][mistake], there.changed(replacements))
        there.grade()
        return there

    return grade
