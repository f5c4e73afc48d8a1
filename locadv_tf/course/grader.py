"""nbgrader in a separate process, with limits of time and memory; its settings and its gradebook.

As a script, this file is the process in between: it starts nbgrader and ends all processes that a submission left.
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

SECONDS = 1800  # for one submission: time for more than a dozen cells that each reach the limit of nbgrader_config.py
MEMORY = 16  # GB of address space for one submission
NOT_ISOLATED = (
    "Warning: student code runs now on this machine, with your rights. Run it in a container or as a separate user, "
    "without a network: see docs/security.md. Then set LOCADV_ISOLATED=1 to hide this warning."
)
PATIENCE = 10  # seconds for nbgrader to stop its kernel


def isolated():
    """Whether student code seems to run where it can do no harm: in a container, or because the instructor says so."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return os.environ.get("LOCADV_ISOLATED") == "1" or any(map(os.path.exists, marks))


def run(course, *arguments, seconds=None, memory=None):
    """Runs a command of nbgrader in the course's folder; its output is added to `nbgrader.log` there.

    Raises:
        ValueError: if nbgrader is not installed or exits with an error.
        TimeoutError: if it takes too long; it and all its processes are stopped.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError(
            "nbgrader is not installed; expected the extra coursework. Run pip install 'locadv_tf[coursework]'."
        )
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # nbgrader calls alembic
    log = Path(course) / "nbgrader.log"
    # -P: student code may leave a module in the course's folder; nbgrader must not import it.
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
        except BaseException:  # Ctrl-C: stop the kernel, too
            _stop(process)
            raise
    if status:
        raise ValueError(f"`nbgrader {' '.join(arguments)}` failed; {log} says why.")


def settings(course):
    """What student code must not change, nbgrader's settings and the sources: `{path: bytes or the link's target}`."""
    paths = [*Path(course).glob("nbgrader_config.*"), *(Path(course) / "source").rglob("*")]
    return {
        path: path.readlink() if path.is_symlink() else path.read_bytes()
        for path in paths
        if path.is_symlink() or path.is_file()
    }


def restore(course, kept):
    """Restores what `settings` returned in the course's folder; returns the names of the files that had changed."""
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
    """The file of a course's gradebook; a `ValueError` if there is none."""
    path = Path(course) / "gradebook.db"
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected a folder in which `locadv course release` ran.")
    return path.resolve()


def gradebook(course):
    """A course's gradebook, opened by nbgrader: a context manager."""
    from nbgrader.api import Gradebook

    return Gradebook(_url(course))


def _url(course):
    return f"sqlite:///{gradebook_file(course)}"


def tests(course, name):
    """A digest of an assignment's cells and points, as they were last released and as submissions are graded.

    Raises:
        ValueError: if the gradebook does not know the assignment.
    """
    with gradebook(course) as book:
        notebooks = [
            each for assignment in book.assignments if assignment.name == name for each in assignment.notebooks
        ]
        cells = sorted((cell.name, cell.source) for notebook in notebooks for cell in notebook.source_cells)
        points = sorted((cell.name, cell.max_score) for notebook in notebooks for cell in notebook.grade_cells)
    if not notebooks:
        raise ValueError(
            f"{gradebook_file(course)} does not know {name}; expected a released assignment. "
            f"Run locadv course release {name}."
        )
    return hashlib.sha256(repr((cells, points)).encode()).hexdigest()


def known(course):
    """The submissions in the gradebook, as a set of `(student, assignment)`."""
    with gradebook(course) as book:
        return {(each.student.id, name.name) for name in book.assignments for each in name.submissions}


def void(course, student, name):
    """Removes all marks of a submission that cannot be graded: marks of an earlier version would be wrong.

    Returns:
        The marks that a person had given, `{cell: marks}`.
    """
    by_hand = {}
    with gradebook(course) as book:
        book.update_or_create_student(student)
        with book.db.no_autoflush:  # nbgrader adds a submission in parts, and SQLAlchemy would warn
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
    """nbgrader's step that sets a submission's penalty for lateness, by the rule in the course's settings.

    Raises:
        ValueError: if the settings cannot be read.
    """
    from nbgrader.preprocessors import AssignLatePenalties
    from traitlets.config import Config, PyFileConfigLoader

    path = Path(course).resolve() / "nbgrader_config.py"
    try:
        return AssignLatePenalties(
            config=PyFileConfigLoader(path.name, str(path.parent)).load_config() if path.exists() else Config()
        )
    except Exception as problem:  # the settings are a program: any error is possible
        raise ValueError(f"{path} cannot be read: {type(problem).__name__}: {problem}") from problem


def set_penalties(course, rule):
    """Sets the penalties of all submissions from their present marks (nbgrader does so only when it autogrades)."""
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
    process.send_signal(signal.SIGTERM)  # nbgrader stops its kernel; the process in between stops the rest
    try:
        process.wait(2 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _between(memory, command):
    """Runs a command with a limit of bytes of address space (0: no limit); returns its exit status.

    On Linux it then ends all processes that the command left behind, also those in other sessions: they become
    children of this process when their parent ends.
    """
    if sys.platform == "linux":  # other systems do not enforce the limit and lack these options
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
