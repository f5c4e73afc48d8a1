"""All submissions of an assignment, graded once: two assignments at a time, as this takes minutes."""

import concurrent.futures

import pytest
from handed_in import STUDENTS, Course
from wrong import WRONG

from locadv_tf.course import release


def _graded(folder, name):
    graded = Course(folder, name)
    graded.submit("reference", graded.source)
    graded.submit("released", graded.released.read_text())
    for mistake, (replacements, _) in WRONG[name].items():
        graded.submit(STUDENTS[name][mistake], graded.changed(replacements))
    graded.grade()
    return graded


@pytest.fixture(scope="session")
def graded(request, tmp_path_factory):
    """`graded(assignment)`: its reference, its released version and the wrong submissions, all graded."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = {
            name: pool.submit(_graded, tmp_path_factory.mktemp(name), name)
            for name in release.assignments()
            if name in wanted
        }
        yield lambda name: futures[name].result()
