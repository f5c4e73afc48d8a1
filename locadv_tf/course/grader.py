"""nbgrader in a separate process, with limits of time, memory and output; its settings and its gradebook."""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from locadv_tf.course import between, sandbox

SECONDS = 1800  # for one submission: time for more than a dozen cells that each reach the limit of nbgrader_config.py
MEMORY = 16  # GB of address space for one submission
CAPPED = Path(__file__).with_name("capped_nbgrader.py")
LOG = 2**18  # bytes that one command can add to the log
NOT_ISOLATED = (
    "Warning: student code runs now on this machine, with your rights, and can reach other students' work: neither "
    "bubblewrap nor user namespaces work here. Run it in a container or as a separate user, without a network: see "
    "docs/security.md. Then set LOCADV_ISOLATED=1 to hide this warning."
)
NO_SANDBOX = (
    "No sandbox works here: neither bubblewrap nor user namespaces. Each submission runs in a copy of its own, but it "
    "can read other students' work. What it changes in the course's folder is undone, and costs it its marks."
)


def isolated():
    """Whether student code seems to run where it can do no harm: in a sandbox or a container, or you say that it is."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return bool(
        sandbox.kind() or os.environ.get("LOCADV_ISOLATED") == "1" or any(os.path.exists(mark) for mark in marks)
    )


def run(course, *arguments, seconds=None, memory=None, seen=None, environment=None, log=None, ended=None):
    """Runs a command of nbgrader in a folder; its output is added to a log.

    Args:
        course: the folder, a course's or a copy for one submission.
        arguments: the command.
        seconds, memory: limits; the memory in GB.
        seen: for student code: what the command sees of the file system (`sandbox.places`), in a sandbox if this
            system has one.
        environment: the command's environment; None: this process's.
        log: the log; None: `nbgrader.log` in the folder.
        ended: called when the command and all its processes have ended, however they did, before the log is written.

    Raises:
        ValueError: if nbgrader is not installed or exits with an error.
        TimeoutError: if it takes too long; it and all its processes are stopped.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError(
            "nbgrader is not installed; expected the extra coursework. Run pip install 'locadv_tf[coursework]'."
        )
    environment = dict(os.environ if environment is None else environment)
    beside = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])  # nbgrader calls alembic
    environment |= {"PATH": beside, "TF_CPP_MIN_LOG_LEVEL": environment.get("TF_CPP_MIN_LOG_LEVEL", "2")}
    log = Path(course) / "nbgrader.log" if log is None else Path(log)
    # -P: student code may leave a module in the course's folder; nbgrader must not import it.
    command = [sys.executable, "-P", str(CAPPED), *arguments]
    if seen is not None:
        command = sandbox.wrap(sandbox.kind(), command, seen)
    process = subprocess.Popen(
        [sys.executable, "-I", between.__file__, str(int((memory or 0) * 2**30)), *command],
        cwd=course, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output = bytearray(f"$ nbgrader {' '.join(arguments)}\n".encode())
    reader = threading.Thread(target=_read, args=(process.stdout, output), daemon=True)
    reader.start()
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise TimeoutError(f"stopped after {seconds:g} s") from None
    except BaseException:  # Ctrl-C: stop the kernel, too
        _stop(process)
        raise
    finally:
        reader.join(2 * between.PATIENCE)
        if ended:
            ended()
        with log.open("ab") as file:
            file.write(output)
    if status:
        raise ValueError(f"`nbgrader {' '.join(arguments)}` failed; {log} says why.")


def _read(pipe, output):
    """Reads to the end, and keeps no more than `LOG` bytes."""
    while part := pipe.read1(2**16):
        if len(output) < LOG:
            output += part[: LOG - len(output)]
            if len(output) == LOG:
                output += b"\n[More output was cut.]\n"
    pipe.close()


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
        process.wait(2 * between.PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
