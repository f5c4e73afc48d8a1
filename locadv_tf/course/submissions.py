"""Submissions: which notebooks a folder holds, who handed them in, and when."""

import hashlib
import os
import re
from pathlib import Path


def find(course, folder):
    """The notebooks below a folder of submissions, `{(student, assignment): path}`, and rows for all other files."""
    names = [path.parent.name for path in sorted(course.glob("release/*/*.ipynb"))]
    if not names:
        raise ValueError(
            f"{course} holds no released assignment; expected a folder in which `locadv course release` ran."
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected a folder with STUDENT/ASSIGNMENT.ipynb.")
    found, left_out = {}, []

    def leave_out(student, what, why):
        left_out.append(
            {"student": student, "assignment": what, "marks": 0.0, "points": 0.0, "ungraded": 0.0}
            | {"seconds_late": 0.0, "penalty": 0.0, "problem": why}
        )

    for path in sorted(folder.glob("*.ipynb")):
        leave_out("-", path.name, "left out: in no student's folder")
    for home in sorted(path for path in folder.iterdir() if path.is_dir() or path.is_symlink()):
        if home.name.startswith("."):
            continue
        flat = {name: home / f"{name}.ipynb" for name in names}
        deep = {name: home / name / f"{name}.ipynb" for name in names}
        own = {name: path for both in (flat, deep) for name, path in both.items() if os.path.lexists(path)}
        found |= {(home.name, name): path for name, path in own.items()}
        if not own:
            leave_out(home.name, "-", "no submission in this folder")
        for path in _notebooks(home):
            if path in flat.values() and path not in own.values():
                leave_out(home.name, path.name, f"left out: there is also {path.stem}/{path.name}")
            elif path not in own.values():
                expected = f"expected STUDENT/ASSIGNMENT.ipynb with an assignment of {', '.join(names)}"
                leave_out(home.name, str(path.relative_to(home)), f"left out; {expected}")
        if flat.items() & own.items() and os.path.lexists(home / "timestamp.txt"):
            expected = "expected ASSIGNMENT.timestamp.txt, or notebook and timestamp.txt in a folder ASSIGNMENT"
            leave_out(home.name, "timestamp.txt", f"left out: no assignment in its name; {expected}")
    if not found:
        raise ValueError(
            f"{folder} holds no submission; expected STUDENT/ASSIGNMENT.ipynb with an assignment of {', '.join(names)}."
        )
    for student, _ in found:
        if not re.fullmatch(r"[\w.@ -]+", student):
            raise ValueError(f"the student's folder is called {student!r}; expected letters, digits and . _ - @ only.")
    return found, left_out


def _notebooks(home):
    """All notebooks below a student's folder; it does not follow links to folders."""
    for place, folders, files in os.walk(home):
        folders[:] = sorted(name for name in folders if name != ".ipynb_checkpoints")
        for name in sorted(files):
            if name.lower().endswith(".ipynb"):
                yield Path(place, name)


def of_its_own(path, folder):
    """The path of a submission, if it is a file without links in its path: a link may lead to another student's file.

    Raises:
        ValueError: for a link or no file.
    """
    inside = path.relative_to(folder)
    links = [part for part in (inside, *inside.parents) if part.name and (folder / part).is_symlink()]
    if links or not path.is_file():
        raise ValueError(f"{links[0] if links else inside} is {'a link' if links else 'no file'}; expected a notebook.")
    return path


def timestamp(path):
    """A submission's timestamp, bytes or None, and what is wrong with it (then the submission is in time)."""
    file = path.with_name("timestamp.txt" if path.parent.name == path.stem else f"{path.stem}.timestamp.txt")
    if not os.path.lexists(file):
        return None, None
    from nbgrader.utils import parse_utc

    try:
        if file.is_symlink() or not file.is_file():
            raise ValueError("a link or no file")
        time = file.read_bytes()
        if not time.strip():
            raise ValueError("empty")
        parse_utc(time.decode().strip())
    except (OSError, OverflowError, TypeError, ValueError) as problem:
        return None, f"counted as in time: {file.name} cannot be read ({problem}); expected 2027-01-31 17:59 UTC"
    return time, None


def hand_in(course, student, name, path, time, tests):
    """Copies a submission to nbgrader's folder; returns a digest of everything that decides its marks."""
    here = course / "submitted" / student / name
    here.mkdir(parents=True, exist_ok=True)
    parts = {f"{name}.ipynb": path.read_bytes(), "timestamp.txt": time}
    if not path.parent.samefile(here):  # else nbgrader has already collected it
        for file, part in parts.items():
            (here / file).unlink(missing_ok=True)
            if part is not None:
                (here / file).write_bytes(part)
    return hashlib.sha256(repr((parts, tests)).encode()).hexdigest()
