"""nbgrader as a process of its own, within limits of time and memory; and its gradebook."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 1800  # for one submission: a dozen cells that all run into the limit of nbgrader_config.py, and some
MEMORY = 16  # GB of address space for one submission
NOT_ISOLATED = (
    "Warning: student code runs now, as you and on this machine. Do that in a container or as a throw-away user, "
    "without a network: docs/instructors.md says how (and LOCADV_ISOLATED=1 that you did)."
)


def isolated():
    """Whether student code seems to run where it can do no harm: in a container, or where the instructor says so."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return os.environ.get("LOCADV_ISOLATED") == "1" or any(map(os.path.exists, marks))


def run(course, *arguments, seconds=None, memory=None):
    """Runs a command of nbgrader in the course's folder and adds what it says to `nbgrader.log` there.

    Raises:
        ValueError: if nbgrader is not installed or exits with an error.
        TimeoutError: if it takes too long; its kernel is stopped with it.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError(
            "nbgrader is not installed; expected the extra coursework: pip install 'locadv_tf[coursework]'."
        )
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # nbgrader calls alembic
    log = Path(course) / "nbgrader.log"
    with log.open("a", encoding="utf-8") as file:
        print("$ nbgrader", *arguments, file=file, flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=course,
            env=os.environ | {"PATH": beside, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        if memory is not None and sys.platform == "linux":  # elsewhere the system does not enforce it
            import resource

            # From outside, and not before the program starts: forking a process with TensorFlow's threads may deadlock.
            resource.prlimit(process.pid, resource.RLIMIT_AS, (int(memory * 2**30),) * 2)
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


def gradebook_file(course):
    """The file of a course's gradebook; a `ValueError` where there is none."""
    path = Path(course) / "gradebook.db"
    if not path.exists():
        raise ValueError(f"{path} is not there; expected a folder in which `locadv course release` ran.")
    return path.resolve()


def gradebook(course):
    """A course's gradebook, as nbgrader opens it: a context manager."""
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{gradebook_file(course)}")


def _stop(process):
    process.send_signal(signal.SIGTERM)  # nbgrader then stops its kernel; a kernel without a parent ends by itself
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
