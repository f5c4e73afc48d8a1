"""A script that runs a command within limits and then ends all that it left behind. It knows nothing of the kit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 10  # seconds for nbgrader to stop its kernel
LARGEST_FILE = 2**28  # bytes


def run(memory, command):
    """Runs a command with a limit of bytes of address space (0: no limits); returns its exit status.

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
            resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
