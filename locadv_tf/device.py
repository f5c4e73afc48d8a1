"""The device that a run uses, and the memory that it takes there."""

import os
import platform

import tensorflow as tf


def grow_gpu_memory():
    """Lets TensorFlow take a GPU's memory as it needs it, so that two notebooks can share one.

    Call it before TensorFlow has done anything; once it is running, its memory is taken already and nothing changes.

    Returns:
        The names of the GPUs, an empty list on a machine without one.

    Example:
        >>> gpus = grow_gpu_memory()
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow is already running: too late, and no reason to stop
            break
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def describe_device():
    """One line that says what TensorFlow computes on.

    Example:
        >>> describe_device().startswith(("CPU", "GPU"))
        True
    """
    if gpus := grow_gpu_memory():
        return f"GPU: {', '.join(gpus)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU: {cores} cores, {platform.machine()}; no GPU"
