"""All submissions of an assignment, graded once, which takes minutes: one worker has all tests of an assignment."""

import functools
import re

import pytest
from copied import CALLS, COPIED
from handed_in import STUDENTS, Course
from wrong import WRONG


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What shares a course stays together. (Not `--dist loadgroup`: xdist 3.8 finds no groups under pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class TogetherIfTheyShareACourse(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, name = nodeid.partition("::")
            assignment = re.search(r"\[(\d_\w+?)[-\]]", name)
            if assignment:
                return assignment.group(1)
            return nodeid if file.endswith("test_loop.py") else file

    return TogetherIfTheyShareACourse(config, log)


@pytest.fixture(scope="session")
def graded(tmp_path_factory):
    """`graded(assignment)`: its reference, its release, wrong submissions and such without own work, all graded."""

    @functools.cache
    def grade(name):
        there = Course(tmp_path_factory.mktemp(name), name)
        there.submit("reference", there.source)
        there.submit("released", there.released.read_text())
        for mistake, changes in WRONG[name].items():
            there.submit(STUDENTS[name][mistake], there.changed(changes))
        for student, cells in (("copied", COPIED), ("calls", CALLS)):
            there.submit(student, there.without_own_work(cells[name]))
        there.grade()
        return there

    return grade
