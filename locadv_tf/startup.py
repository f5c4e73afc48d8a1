"""The first step: import TensorFlow without its messages, and say which device it uses.

TensorFlow 2.21 prints some start-up messages for every value of `TF_CPP_MIN_LOG_LEVEL`, because its logging is not set
up yet, and a notebook shows them in red. Set the variable to 0 or 1 to see them; they say why a GPU is not found.
"""

import contextlib
import os
import platform


def import_tensorflow():
    """Imports TensorFlow and looks for GPUs, without messages; exceptions are raised as usual."""
    silent = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") >= "2"
    with _without_stderr() if silent else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _without_stderr():
    # The messages come from C++ and bypass sys.stderr, so the file descriptor itself is redirected meanwhile.
    with open(os.devnull, "w") as nowhere:
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def grow_gpu_memory():
    """Lets TensorFlow take GPU memory only when it needs it, so that two notebooks can share a GPU.

    Call it before TensorFlow does any work: a running TensorFlow has taken its memory, and nothing changes.

    Returns:
        The names of the GPUs, an empty list if there are none.

    Example:
        >>> gpus = grow_gpu_memory()
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow is already running: too late, but no reason to stop
            break
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def describe_device():
    """One line that says which device TensorFlow uses.

    Example:
        >>> describe_device().startswith(("CPU", "GPU"))
        True
    """
    if gpus := grow_gpu_memory():
        return f"GPU: {', '.join(gpus)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU: {cores} cores, {platform.machine()}; no GPU"
