"""Codes: what decides a student's own images, budgets and suspects. They follow from a secret of the course.

The secret lies in the course's folder, where `locadv course release` makes it. A student gets a code, and from the code
the notebook draws the rest (`feedback.own_seed`). Nobody can tell from one student's code what another's is.
"""

import csv
import hashlib
import hmac
import secrets
from pathlib import Path

from locadv_tf.course import feedback

SECRET = ".secret"  # the file's name in a course's folder
VARIABLE = "LOCADV_CODE"  # of the environment, in which a submission's own code stands while it is graded


def secret(course, *, make=False):
    """A course's secret, bytes.

    Args:
        course: the course's folder.
        make: whether to make one if there is none.

    Raises:
        ValueError: if there is none.
    """
    path = Path(course) / SECRET
    if make and not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32) + "\n")
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected the secret of a course that `locadv course release` made.")
    return bytes.fromhex(path.read_text().strip())


def code(course, student):
    """A student's code in a course: ten letters and digits."""
    digest = hmac.new(secret(course), f"code/{student}".encode(), hashlib.sha256).digest()
    return feedback.with_check(student, feedback.letters(digest, 8))


def write(course, students, to):
    """Writes a table with the students' codes, for a mail to each; returns its path.

    Args:
        course: a course's folder in which something was released.
        students: ids, or the path of a text file with one id a line.
        to: the CSV file, with the columns `student` and `code`.

    Raises:
        ValueError: for no student, without a secret, or if two students would have the same numbers.
    """
    if not isinstance(students, (list, tuple)):
        if not Path(students).is_file():
            raise ValueError(f"{str(students)!r} is no file; expected a text file with one student's id a line.")
        students = Path(students).read_text(encoding="utf-8").splitlines()
    students = list(dict.fromkeys(each.strip() for each in students if each.strip()))
    if not students:
        raise ValueError("no student; expected one id a line, equal to the names of the submissions' folders.")
    rows = [(each, code(course, each)) for each in students]
    if len({feedback.seed_of(own) for _, own in rows}) < len(rows):  # with 1,000 students in one course of 8,600
        raise ValueError(
            f"two of these students would have the same numbers; expected none. Remove {Path(course) / SECRET} before "
            "anybody has a code, and run locadv course release again."
        )
    to = Path(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("student", "code"), *rows])
    return to
