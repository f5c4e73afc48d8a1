"""Several devices, one stream: each device attacks its share of the images, in a thread of its own."""

import contextlib
import functools
import queue
import threading
import warnings
from collections import deque

import keras
import numpy as np
import tensorflow as tf

from locadv_tf.data.batches import image_values
from locadv_tf.engine.kept import kept_on

VALUES = 2**23  # of a GPU's batch: 2,730 images of CIFAR-10, 55 of 224x224x3
FEW_VALUES = 2**20  # of a CPU's batch, for the memory that the passes of two workers take: 85 images of 64x64x3


def on_gpu():
    """Whether TensorFlow computes on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def batch_size_for(data):
    """How many images a worker attacks at a time: 96 on a CPU, on a GPU up to 2,048; fewer where images are large.

    A CPU has two workers, and so the passes of two batches in memory. On an H100 2,048 MNIST images at a time took a
    ninth of the time of 128 (benchmarks/RESULTS_GPU.md).
    """
    most, values = (2048, VALUES) if on_gpu() else (96, FEW_VALUES)
    return max(32, min(most, values // image_values(data)))


def devices():
    """The names of the GPUs, if there are several; else one None, for TensorFlow's own choice."""
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    return gpus if len(gpus) > 1 else [None]


def copies(model, names, image=None):
    """The model on each device: itself, or clones with its weights.

    A model that cannot be cloned, or whose clones answer otherwise, stays on one device. A warning says so.

    Args:
        model: a Keras model; `names`: what `devices` returned.
        image: float32 `(N, H, W, C)`, a few images that model and clones must agree on; None: they are not asked.
    """
    if len(names) == 1:
        return {names[0]: model}
    try:
        clones = {name: kept_on(model, ("clone", name), functools.partial(_clone, model, name)) for name in names}
    except (NotImplementedError, ValueError, TypeError) as error:  # no `get_config`, or one that does not fit
        return _alone(model, names, f"it cannot be cloned ({type(error).__name__}: give it a get_config)")
    expected = None if image is None else model(image, training=False)
    for name, clone in clones.items():
        clone.set_weights(model.get_weights())
        with tf.device(name):
            for layer in _layers(clone):
                if hasattr(layer, "finalize_state"):  # Normalization computes with tensors made of its weights
                    layer.finalize_state()
            if image is not None and not agree(clone(image, training=False), expected):
                return _alone(model, names, "its clones answer otherwise: a layer holds what its config does not tell")
    return clones


def _alone(model, names, reason):
    idle = ", ".join(name for name in names[1:])
    warnings.warn(f"the model runs on one device, and {idle} stay idle: {reason}.", stacklevel=2)
    return {None: model}


def _layers(model):
    """All layers, nested ones too."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer)


def agree(logits, expected):
    """Whether two answers to the same images are the same, up to what devices and compilers round differently.

    That is a thousandth of the largest logit; a hundredth on a GPU that computes in TF32, with 11 bits of 24.
    """
    logits, expected = (np.asarray(values, np.float32) for values in (logits, expected))
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
    rounded = on_gpu() and tf.config.experimental.tensor_float_32_execution_enabled()
    return np.allclose(logits, expected, rtol=0, atol=(1e-2 if rounded else 1e-3) * scale, equal_nan=True)


def _clone(model, name):
    with tf.device(name):
        return keras.models.clone_model(model)


def deal(items, n):
    """`n` iterators that share `items` out in turn, like cards, in whatever order they ask: each run deals the same."""
    items, hands, lock = iter(items), [deque() for _ in range(n)], threading.Lock()
    turn = 0

    def hand(i):
        nonlocal turn
        while True:
            with lock:
                while not hands[i]:
                    try:
                        card = next(items)
                    except StopIteration:
                        return
                    hands[turn].append(card)
                    turn = (turn + 1) % n
                card = hands[i].popleft()
            yield card

    return [hand(i) for i in range(n)]


def together(streams, stopped=None):
    """Runs generators at the same time, each on its device: yields what they yield, in the order in which it comes.

    Args:
        streams: pairs of a device's name and a generator; a single one runs here, without a thread.
        stopped: a `threading.Event`, set when the streams should end: a generator may look at it before it yields.

    Raises:
        Whatever a generator raises, after the others have been stopped.
    """
    if len(streams) == 1:
        yield from streams[0][1]
        return
    results, stopped = queue.Queue(maxsize=2 * len(streams)), stopped or threading.Event()

    def run(name, stream):
        error = None
        try:
            with tf.device(name), contextlib.closing(stream):
                for item in stream:
                    results.put((item, None))
                    if stopped.is_set():
                        break
        except BaseException as raised:
            error = raised
        results.put((None, error or StopIteration()))

    threads = [threading.Thread(target=run, args=stream, daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    running, error = len(threads), None
    try:
        while running:
            item, ended = results.get()
            if ended is None:
                yield item
                continue
            running -= 1
            if not isinstance(ended, StopIteration):
                error = error or ended
                stopped.set()
    finally:  # also where nobody listens any more
        stopped.set()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(queue.Empty):
                results.get(timeout=0.05)
    if error is not None:
        raise error
