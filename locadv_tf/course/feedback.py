"""What the assignments share: feedback that a student can use, and numbers that belong to one student.

The assignments are in `notebooks/assignments`. This module is part of the kit, so a student gets only a notebook. It
contains no solutions.
"""

import hashlib
import os
import pathlib
import sys
import threading

import numpy as np

__all__ = ["NotYet", "expect", "expect_equal", "expect_own", "own_seed", "personal_seed"]

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look like another
_KIT = str(pathlib.Path(__file__).resolve().parents[1])


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


def own_seed(student, code):
    """A number from 0 to 2**32 - 1: an assignment draws a student's images and budgets from it.

    It follows from the code that the instructor gave the student. The code follows from a secret of the course. While
    `locadv course grade` runs, id and code are those of the student who handed the notebook in, whatever stands in it:
    numbers copied from another student are wrong.

    Args:
        student: the student's id, equal to the name of the submission's folder.
        code: the student's code, ten letters and digits.

    Raises:
        ValueError: for an empty id or code, or if the code is not this student's.

    Example:
        >>> code = with_check("ada", "k7fq29mt")
        >>> 0 <= own_seed("ada", code) == own_seed("ada", code.upper()) < 2**32
        True
        >>> own_seed("grace", code)
        Traceback (most recent call last):
        ...
        ValueError: code='k7fq29mt...' is not that of student 'grace'; expected both exactly as you got them.
    """
    student, code = _handed_in_by(student), str(code).strip().lower()
    if os.environ.get("NBGRADER_EXECUTION") == "autograde":
        code = os.environ.get("LOCADV_CODE", code)
    if not code:
        raise ValueError("code is empty; expected the code that your instructor gave you. Write it beside your id.")
    if code != with_check(student, code[:-2]):
        raise ValueError(
            f"code={code[:8] + '...'!r} is not that of student {student!r}; expected both exactly as you got them."
        )
    return seed_of(code)


def seed_of(code):
    """The number from 0 to 2**32 - 1 that follows from a code."""
    return int.from_bytes(hashlib.sha256(code.encode()).digest()[:4])


def letters(digest, count):
    """The first letters and digits of bytes: of the 31 that no one mistakes for others."""
    number = int.from_bytes(digest)
    return "".join(_LETTERS[number // 31**i % 31] for i in range(count))


def with_check(student, text):
    """A code from its first part: two more letters say whether it belongs to this student, against typing errors."""
    return text + letters(hashlib.sha256(f"{student}/{text}".encode()).digest(), 2)


def expect_own(what, run, *, given=(), look="write this part yourself, with NumPy and TensorFlow"):
    """Fails if a part calls the kit in place of doing the work itself; returns what `run()` returns.

    Args:
        what: which part, such as `"pgd"`.
        run: a function without arguments that calls it.
        given: names of the kit's functions that it may call.
        look: as for `expect`.

    Raises:
        NotYet: if a function of the kit was called that is not `given`.

    Example:
        >>> expect_own("a sum", lambda: 2 + 2)
        4
    """
    called = {}

    def watch(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_KIT) and code.co_filename != __file__:
            part = pathlib.Path(code.co_filename).relative_to(_KIT).parts[0]
            if part not in ("models", "network.py", "startup.py") and code.co_name not in given:
                called.setdefault(code.co_qualname, None)

    before = sys.getprofile(), threading.getprofile()
    sys.setprofile(watch)
    threading.setprofile(watch)  # of threads that begin now
    try:
        result = run()
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])
    expect(not called, what, expected="your own code", got=f"a call of the kit's {', '.join(called)}", look=look)
    return result


def personal_seed(student, *, year):
    """A number from 0 to 9,999 for one student in one year, for notebooks that were handed out before `own_seed`.

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
    student = _handed_in_by(student)
    return int(hashlib.sha256(f"{year}/{student}".encode()).hexdigest(), 16) % 10_000


def _handed_in_by(student):
    """The student: in grading the folder's name, else the id in the notebook."""
    student = str(student).strip()
    if os.environ.get("NBGRADER_EXECUTION") == "autograde":
        handed_in_by = pathlib.Path.cwd().parent.name  # nbgrader's autograded/STUDENT/ASSIGNMENT
        if student not in ("", handed_in_by):
            print(f"This notebook says student = {student!r}, but {handed_in_by!r} handed it in; their numbers differ.")
        student = handed_in_by
    if not student:
        raise ValueError("student is empty; expected your id. In the cell above, write your id as you hand it in.")
    return student


def _listed(values):
    flat = np.ravel(values)
    shown = ", ".join(f"{value:.4g}" for value in flat[:4])
    if np.ndim(values) == 0:
        return shown
    return f"[{shown}{', …' if flat.size > 4 else ''}]"
