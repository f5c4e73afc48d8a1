"""A script that hides folders, makes the rest read-only and runs a command, below `unshare` (sandbox.py).

It does what bubblewrap does, for systems that have none. It knows nothing of the kit.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_RECURSIVE, SYS_MOUNT_SETATTR, RDONLY = -100, 0x8000, 442, 1
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24


def enter(places):
    """Arranges the file system: `places` are pairs of a path and `"hide"`, `"read"` or `"write"`, outer ones first."""
    _mount(None, "/", MS_REC | MS_SLAVE)  # what is mounted here stays here
    # What is to be seen is opened before its parents are hidden.
    files = {path: os.open(path, os.O_PATH) for path, how in places if how != "hide"}
    _read_only("/", True, AT_RECURSIVE)
    for path, how in places:
        _make(path, how == "hide" or os.path.isdir(f"/proc/self/fd/{files[path]}"))
        if how == "hide":
            _mount("tmpfs", path, kind="tmpfs")
            continue
        _mount(f"/proc/self/fd/{files[path]}", path, MS_BIND | MS_REC)
        _read_only(path, how == "read")
    with contextlib.suppress(OSError):  # in some containers; the old one shows processes, and gives no access to them
        _mount("proc", "/proc", kind="proc")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:  # a kernel talks over 127.0.0.1
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
    for number in range(64):  # no rights in here either: else it could take all of this back
        LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _make(path, folder):
    """A place to mount something on, where its parents may be hidden."""
    if not os.path.lexists(path):
        os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
        if not folder:
            open(path, "w").close()


def _mount(what, where, flags=0, kind=None):
    arguments = (each and os.fsencode(each) for each in (what, where, kind))
    if LIBC.mount(*arguments, ctypes.c_ulong(flags), None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), where)


def _read_only(path, on, flags=0):
    attributes = (ctypes.c_uint64 * 4)(RDONLY if on else 0, 0 if on else RDONLY, 0, 0)  # to set, to clear
    if LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), 32):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


if __name__ == "__main__":
    enter(json.loads(sys.argv[1]))
    os.chdir(os.getcwd())  # the folder as it is now, not as it was
    os.execvp(sys.argv[2], sys.argv[2:])
