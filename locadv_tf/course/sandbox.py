"""Where a submission runs: under bubblewrap, in namespaces that `unshare` makes, or, where neither works, as it is.

In both it has no network, sees no processes but its own, can write nothing but its own folder, and finds the folders
empty that are none of its business. It can read the rest of the system: Python, its packages, the kit.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parents[2]
# Homes and mounted disks; others' temporary files; sockets of services that would do things for it.
_HIDDEN = ("/home", "/root", "/mnt", "/media", "/srv", "/tmp", "/var/tmp", "/dev/shm", "/run")
_UNSHARE = ("--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")
# Of the environment it gets what these begin with: no passwords, no tokens.
_VARIABLES = (
    "PATH", "LANG", "LC_", "TZ", "TF_", "TFDS_", "XLA_", "CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_", "LD_LIBRARY_",
    "PYTHON", "VIRTUAL_ENV", "KERAS_BACKEND", "LOCADV_",
)  # fmt: skip


def places(*, hide=(), read=(), write=()):
    """What a command sees of the file system: pairs of a path and what becomes of it, outer paths first.

    Args:
        hide: folders that are empty for it.
        read, write: files and folders that it can read, or write, although an outer folder is hidden or read-only.

    Returns:
        A list of `(path, "hide" | "read" | "write")`; of the same path the last counts.
    """
    found = {os.path.realpath(path): "hide" for path in (*_HIDDEN, Path.home(), *hide) if os.path.isdir(path)}
    needed = (sys.prefix, sys.base_prefix, KIT, _data(), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *read)
    for how, paths in (("read", needed), ("write", write)):
        for path in paths:
            if path and os.path.exists(path):
                # Also under the name that it has: a link to it may be hidden.
                found |= {os.path.abspath(path): how, os.path.realpath(path): how}
    found.pop("/", None)
    return sorted(found.items(), key=lambda place: place[0].count("/"))


def wrap(kind, command, seen):
    """The command, a list, as it is started in a sandbox of a kind (as `kind` returns it) that shows `places`."""
    if kind == "bubblewrap":
        flags = {"hide": "--tmpfs", "read": "--ro-bind", "write": "--bind"}
        shown = [part for path, how in seen for part in (flags[how], *([path] if how == "hide" else [path, path]))]
        system = ["--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"]
        rights = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        return ["bwrap", *rights, *system, *shown, "--", *command]
    if kind == "namespaces":
        script = Path(__file__).with_name("namespaces.py")
        return ["unshare", *_UNSHARE, "--", sys.executable, "-I", str(script), json.dumps(seen), *command]
    return list(command)


@functools.cache
def kind():
    """What this system has: `"bubblewrap"`, `"namespaces"`, or None. It is tried with an import of nbgrader."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, "-P", "-c", "import nbgrader"]
    for name in ("bubblewrap", "namespaces"):
        try:
            done = subprocess.run(wrap(name, command, places()), cwd="/", capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):  # not installed, or it hangs
            continue
        if done.returncode == 0:
            return name
    return None


def environment(**own):
    """The environment of student code: what TensorFlow and Python need, and `own`."""
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)} | own


def _data():
    return os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets")
