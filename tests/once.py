"""What takes long is done once for all workers of pytest-xdist."""

import os
import shutil
import time

PATIENCE = 600  # seconds for what another worker is at


def once(folder, make):
    """Lets the first worker that comes here call `make(new_folder)`; returns `folder`, which holds what that left.

    The others wait for it. If it fails, the next one tries, and fails for itself.
    """
    lock, end = folder.with_suffix(".lock"), time.monotonic() + PATIENCE
    while not folder.exists():
        try:
            lock.mkdir()
        except FileExistsError:
            assert time.monotonic() < end, f"waited {PATIENCE} s in vain for another worker to make {folder}"
            time.sleep(0.1)
            continue
        try:
            if not folder.exists():  # it may be there since a moment ago
                new = folder.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                make(new)
                os.replace(new, folder)  # it appears as a whole
        finally:
            lock.rmdir()
    return folder
