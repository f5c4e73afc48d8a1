"""What the assignments share: feedback that a student can use, and numbers that belong to one student.

The assignments are in `notebooks/assignments`. This module is part of the kit, so a student gets only a notebook. It
contains no solutions.
"""

import hashlib
import os
import pathlib

import numpy as np

__all__ = ["NotYet", "expect", "expect_equal", "personal_seed"]


class NotYet(AssertionError):
    """A check that failed. Jupyter shows only the message: a traceback through the check would hide it."""

    def _render_traceback_(self):
        return str(self).splitlines()


def expect(passed, what, *, expected, got, look):
    """Fails with a message that says what was expected, what came and where to look.

    Args:
        passed: whether the check passed.
        what: what was checked, such as `"the foreground after the random start"`.
        expected, got: texts or values.
        look: where the mistake probably is, as a hint or a question.

    Raises:
        NotYet: if not `passed`.

    Example:
        >>> expect(False, "the sum of 2 and 2", expected=4, got=5, look="add: is there a 1 too many?")
        Traceback (most recent call last):
        ...
        locadv_tf.course.feedback.NotYet: Not yet: the sum of 2 and 2
          expected  4
          got       5
          look at   add: is there a 1 too many?
    """
    if not passed:
        raise NotYet(f"Not yet: {what}\n  expected  {expected}\n  got       {got}\n  look at   {look}")


def expect_equal(got, expected, what, *, look, atol=0.0):
    """Expects two arrays of equal shape and, up to `atol`, equal values; the message says how far they differ.

    Args:
        got, expected: arrays, tensors or numbers. NaN equals nothing.
        what, look: as for `expect`.
        atol: how far two values may differ.

    Raises:
        NotYet: for another type, shape or value.

    Example:
        >>> expect_equal([1.0, 2.5], [1.0, 2.0], "the row", look="the second entry", atol=0.1)
        Traceback (most recent call last):
        ...
        locadv_tf.course.feedback.NotYet: Not yet: the row
          expected  values within 0.1 of [1, 2]
          got       1 of 2 values differ, by up to 0.5: [1, 2.5]
          look at   the second entry
    """
    expected = np.asarray(expected, float)
    try:
        values = None if got is None else np.asarray(got, float)
    except (TypeError, ValueError):  # no numbers
        values = None
    if values is None or values.shape != expected.shape:
        found = (
            f"{type(got).__name__}{'' if values is None else f' of shape {values.shape}'}"
            if np.ndim(expected)
            else repr(got)
        )
        wanted = f"numbers of shape {expected.shape}" if np.ndim(expected) else _listed(expected)
        return expect(False, what, expected=wanted, got=found, look=look)
    difference = np.abs(values - expected)
    differing = ~(difference <= atol)  # written so that NaN differs
    worst = difference[differing].max(initial=0)
    within = f"values within {atol:g} of " if atol else ""
    expect(
        not differing.any(),
        what,
        expected=f"{within}{_listed(expected)}",
        got=f"{differing.sum()} of {differing.size} values differ, by up to {worst:.3g}: {_listed(values)}"
        if differing.size > 1
        else _listed(values),
        look=look,
    )


def personal_seed(student, *, year):
    """A number from 0 to 9,999 for one student in one year: the assignments draw their data from it.

    While nbgrader autogrades, the student's id is the name of the submission's folder. The id inside the notebook does
    not count then: numbers copied from another student are wrong.

    Args:
        student: the student's id, equal to the name of the submission's folder.
        year: an integer, or another text that changes from course to course.

    Raises:
        ValueError: for an empty id.

    Example:
        >>> personal_seed("ada", year=2026) == personal_seed("ada", year=2026) != personal_seed("ada", year=2027)
        True
    """
    student = str(student).strip()
    if os.environ.get("NBGRADER_EXECUTION") == "autograde":
        handed_in_by = pathlib.Path.cwd().parent.name  # nbgrader's autograded/STUDENT/ASSIGNMENT
        if student not in ("", handed_in_by):
            print(f"This notebook says student = {student!r}, but {handed_in_by!r} handed it in; their numbers differ.")
        student = handed_in_by
    if not student:
        raise ValueError("student is empty; expected your id. In the cell above, write your id as you hand it in.")
    return int(hashlib.sha256(f"{year}/{student}".encode()).hexdigest(), 16) % 10_000


def _listed(values):
    flat = np.ravel(values)
    shown = ", ".join(f"{value:.4g}" for value in flat[:4])
    if np.ndim(values) == 0:
        return shown
    return f"[{shown}{', …' if flat.size > 4 else ''}]"
