"""What has changed in a folder, and how it was: a course's folder while student code runs."""

import contextlib
import os
import shutil
import stat
import zlib

SHOWN = 6  # names of changed files in a message


def look(folder, before=None):
    """All that is in a folder, `{path: (signature, permissions, content)}`, with the content compressed.

    Args:
        before: what an earlier look returned: files that were not written since are not read again.
    """
    before, found = before or {}, {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            with contextlib.suppress(FileNotFoundError):
                found[path] = _entry(path, before.get(path))
    return found


def _entry(path, before):
    about = os.lstat(path)
    mode, signature = about.st_mode, None
    if stat.S_ISREG(mode):
        signature = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, mode)
        if before and before[0] == signature:
            return before
        with open(path, "rb") as file:
            content = zlib.compress(file.read(), 1)
    elif stat.S_ISLNK(mode):
        content = os.readlink(path)
    else:
        content = stat.S_IFMT(mode)  # a folder, or something that no course has
    return signature, mode, content


def differences(before, now):
    """The paths that differ between two looks, sorted: outer ones come first."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path, ())[1:] != now.get(path, ())[1:])


def restore(folder, before):
    """Makes a folder as it was at an earlier look; returns the paths that had changed, relative to it."""
    changed = set()
    for _ in range(3):  # a folder that could not be entered shows what is in it only once it can be
        different = differences(before, look(folder, before))
        for path in different:
            _put_back(path, before.get(path))
        changed |= {os.path.relpath(path, folder) for path in different}
        if not different:
            break
    return sorted(changed)


def _put_back(path, entry):
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    if is_folder and not (entry and stat.S_ISDIR(entry[1])):
        shutil.rmtree(path, ignore_errors=True)
    elif not is_folder:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)
    if entry is None:
        return
    _, mode, content = entry
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if stat.S_ISLNK(mode):
        os.symlink(content, path)
        return
    if stat.S_ISDIR(mode):
        os.makedirs(path, exist_ok=True)
    elif stat.S_ISREG(mode):
        with open(path, "wb") as file:
            file.write(zlib.decompress(content))
    os.chmod(path, stat.S_IMODE(mode))


def named(paths):
    """A few names for a message.

    Example:
        >>> named(["a", "b"]), named("abcdefgh")
        ('a, b', 'a, b, c, d, e, f and 2 more')
    """
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more
