"""Keeps TensorFlow's start-up messages off the screen, unless `TF_CPP_MIN_LOG_LEVEL` is set to 0 or 1.

TensorFlow 2.21 prints some of them whatever that variable says, since its logging is not set up yet, and a notebook
shows them in red. Set the variable to 0 to see why a GPU is not found.
"""

import contextlib
import os


def import_tensorflow():
    """Imports TensorFlow and looks for GPUs, in silence; exceptions come through."""
    silent = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") >= "2"
    with _without_stderr() if silent else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _without_stderr():
    # The messages come from C++, past sys.stderr, so the file descriptor itself is turned away for the while.
    with open(os.devnull, "w") as nowhere:
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
