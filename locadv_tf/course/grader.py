"""nbgrader as a process of its own, within limits of time and memory; its settings and its gradebook.

Run as a script this file is the process between: it starts nbgrader, and ends whatever a submission left running.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 1800  # for one submission: a dozen cells that all run into the limit of nbgrader_config.py, and some
MEMORY = 16  # GB of address space for one submission
NOT_ISOLATED = (
    "Warning: student code runs now, as you and on this machine. Do that in a container or as a throw-away user, "
    "without a network: docs/instructors.md says how (and LOCADV_ISOLATED=1 that you did)."
)
PATIENCE = 10  # seconds that nbgrader has to stop its kernel


def isolated():
    """Whether student code seems to run where it can do no harm: in a container, or where the instructor says so."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return os.environ.get("LOCADV_ISOLATED") == "1" or any(map(os.path.exists, marks))


def run(course, *arguments, seconds=None, memory=None):
    """Runs a command of nbgrader in the course's folder and adds what it says to `nbgrader.log` there.

    Raises:
        ValueError: if nbgrader is not installed or exits with an error.
        TimeoutError: if it takes too long; all that it started is stopped with it.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError(
            "nbgrader is not installed; expected the extra coursework: pip install 'locadv_tf[coursework]'."
        )
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # nbgrader calls alembic
    log = Path(course) / "nbgrader.log"
    # -P: a module that student code leaves in the course's folder is not imported in place of nbgrader's own.
    command = [sys.executable, "-P", "-m", "nbgrader", *arguments]
    with log.open("a", encoding="utf-8") as file:
        print("$ nbgrader", *arguments, file=file, flush=True)
        process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(int((memory or 0) * 2**30)), *command],
            cwd=course,
            env=os.environ | {"PATH": beside, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _stop(process)
            raise TimeoutError(f"stopped after {seconds:g} s") from None
        except BaseException:  # Ctrl-C: no kernel is left behind
            _stop(process)
            raise
    if status:
        raise ValueError(f"`nbgrader {' '.join(arguments)}` failed; {log} says why.")


def settings(course):
    """What student code must leave alone, nbgrader's settings and the sources: `{path: bytes or its link}`."""
    paths = [*Path(course).glob("nbgrader_config.*"), *(Path(course) / "source").rglob("*")]
    return {
        path: path.readlink() if path.is_symlink() else path.read_bytes()
        for path in paths
        if path.is_symlink() or path.is_file()
    }


def restore(course, kept):
    """Brings what `settings` returned back to the course's folder; returns the names of the files that had changed."""
    now = settings(course)
    changed = sorted(path for path in kept.keys() | now.keys() if kept.get(path) != now.get(path))
    for path in changed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(kept[path]) if isinstance(kept[path], bytes) else path.symlink_to(kept[path])
    return [str(path.relative_to(course)) for path in changed]


def gradebook_file(course):
    """The file of a course's gradebook; a `ValueError` where there is none."""
    path = Path(course) / "gradebook.db"
    if not path.exists():
        raise ValueError(f"{path} is not there; expected a folder in which `locadv course release` ran.")
    return path.resolve()


def gradebook(course):
    """A course's gradebook, as nbgrader opens it: a context manager."""
    from nbgrader.api import Gradebook

    return Gradebook(_url(course))


def _url(course):
    return f"sqlite:///{gradebook_file(course)}"


def tests(course, name):
    """A digest of an assignment's cells and points as they were released last: what submissions are graded by.

    Raises:
        ValueError: for an assignment that the gradebook does not know.
    """
    with gradebook(course) as book:
        notebooks = [
            each for assignment in book.assignments if assignment.name == name for each in assignment.notebooks
        ]
        cells = sorted((cell.name, cell.source) for notebook in notebooks for cell in notebook.source_cells)
        points = sorted((cell.name, cell.max_score) for notebook in notebooks for cell in notebook.grade_cells)
    if not notebooks:
        raise ValueError(
            f"{gradebook_file(course)} does not know {name}; release it (anew): locadv course release {name}."
        )
    return hashlib.sha256(repr((cells, points)).encode()).hexdigest()


def known(course):
    """The submissions that the gradebook has, as a set of `(student, assignment)`."""
    with gradebook(course) as book:
        return {(each.student.id, name.name) for name in book.assignments for each in name.submissions}


def void(course, student, name):
    """Takes all marks from a submission that cannot be graded: those of an earlier one would be no longer true.

    Returns:
        What a person had given, `{cell: marks}`.
    """
    by_hand = {}
    with gradebook(course) as book:
        book.update_or_create_student(student)
        with book.db.no_autoflush:  # nbgrader adds a submission piece by piece, of which SQLAlchemy would warn
            notebooks = book.update_or_create_submission(name, student).notebooks
        for notebook in notebooks:
            for cell in notebook.grades:
                if cell.manual_score is not None or cell.extra_credit is not None:
                    by_hand[cell.name] = (cell.manual_score or 0.0) + (cell.extra_credit or 0.0)
                cell.auto_score, cell.manual_score, cell.extra_credit = 0.0, None, None
                cell.needs_manual_grade = True
        book.db.commit()
    return by_hand


def late_rule(course):
    """nbgrader's own step that sets a submission's penalty, by the rule that the course's settings name.

    Raises:
        ValueError: for settings that cannot be read.
    """
    from nbgrader.preprocessors import AssignLatePenalties
    from traitlets.config import Config, PyFileConfigLoader

    path = Path(course).resolve() / "nbgrader_config.py"
    try:
        return AssignLatePenalties(
            config=PyFileConfigLoader(path.name, str(path.parent)).load_config() if path.exists() else Config()
        )
    except Exception as problem:  # it is a program
        raise ValueError(f"{path} cannot be read: {type(problem).__name__}: {problem}") from problem


def set_penalties(course, rule):
    """Sets the penalties of all submissions from the marks that they have now (nbgrader does as it autogrades only)."""
    import nbformat

    with gradebook(course) as book:
        todo = [
            {"student": each.student.id, "assignment": name.name, "notebook": notebook.name}
            for name in book.assignments
            for each in name.submissions
            for notebook in each.notebooks
            if each.total_seconds_late or notebook.late_submission_penalty
        ]
    for which in todo:
        rule.preprocess(nbformat.v4.new_notebook(), {"nbgrader": which | {"db_url": _url(course)}})


def _stop(process):
    process.send_signal(signal.SIGTERM)  # nbgrader then stops its kernel, and the process between all that is left
    try:
        process.wait(2 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _between(memory, command):
    """Runs a command within a limit of bytes of address space (0: none); returns its exit status.

    On Linux it then ends all processes that the command started and left behind, also those in sessions of their own:
    they become children of this process as soon as their parent has ended.
    """
    if sys.platform == "linux":  # elsewhere the system does not enforce the limit, and has nothing like the rest
        import ctypes
        import resource

        set_option = ctypes.CDLL(None).prctl
        set_option(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        set_option(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG: stop if `locadv` was killed
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    process = subprocess.Popen(command)

    def stop(*_):
        process.terminate()
        signal.alarm(PATIENCE)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    status = process.wait()
    signal.alarm(0)
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            os.waitpid(-1, os.WNOHANG)
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    return status if status >= 0 else 128 - status


def _children():
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(path.parent.name)


if __name__ == "__main__":
    sys.exit(_between(int(sys.argv[1]), sys.argv[2:]))
