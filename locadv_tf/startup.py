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


def repeat_exactly():
    """From here on TensorFlow takes only operations that give the same result each time, bit for bit.

    A CPU does so anyway. A GPU does not: some of its fast operations add up in any order. The slower ones cost time.
    TensorFlow then refuses random operations without a seed; the kit's own random numbers all have one. It holds until
    the process ends. Reports call it before any work.

    Example:
        >>> repeat_exactly()  # doctest: +SKIP
    """
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def full_float32():
    """Within it a GPU computes float32 products with all 24 bits of their mantissa, not with the 11 of TF32.

    Checks that hold one answer of a model against another need it: TF32 rounds differently for each size of batch. What
    was compiled before keeps its kernels, but asks for this setting each time it runs. CPUs have no TF32.

    Example:
        >>> with full_float32():
        ...     pass
    """
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def describe_device():
    """One line that says which device TensorFlow uses. A GPU's memory grows from then on (`grow_gpu_memory`).

    Example:
        >>> describe_device().startswith(("CPU", "GPU"))
        True
    """
    if gpus := grow_gpu_memory():
        return f"GPU: {', '.join(gpus)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU: {cores} cores, {platform.machine()}; no GPU"
