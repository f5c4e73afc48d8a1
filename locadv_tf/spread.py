"""Several devices, one stream: each device attacks its share of the images, in a thread of its own."""

import contextlib
import functools
import queue
import threading
from collections import deque

import keras
import tensorflow as tf


def devices():
    """The names of the GPUs, if there are several; else one None, for TensorFlow's own choice."""
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    return gpus if len(gpus) > 1 else [None]


def copies(model, names):
    """The model on each device: itself, or clones with its weights. One that cannot be cloned stays on one device."""
    if len(names) == 1:
        return {names[0]: model}
    try:
        clones = {name: _clone(model, name) for name in names}
    except (NotImplementedError, ValueError):  # what Keras raises for a subclassed model without `get_config`
        return {None: model}
    for clone in clones.values():
        clone.set_weights(model.get_weights())
    return clones


@functools.lru_cache(maxsize=16)
def _clone(model, name):
    with tf.device(name):
        return keras.models.clone_model(model)


def deal(items, n):
    """`n` iterators that share `items` out in turn, like cards, whoever asks first: a repeated run deals the same."""
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


def together(streams):
    """Runs generators at the same time, each on its device: yields what they yield, in the order in which it comes.

    Args:
        streams: dictionary from a device's name to a generator; a single one runs here, without a thread.

    Raises:
        Whatever a generator raises, after the others have been stopped.
    """
    if len(streams) == 1:
        yield from next(iter(streams.values()))
        return
    results, stopped = queue.Queue(maxsize=2 * len(streams)), threading.Event()

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

    threads = [threading.Thread(target=run, args=stream, daemon=True) for stream in streams.items()]
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
    finally:  # also where whoever listens has gone away
        stopped.set()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(queue.Empty):
                results.get(timeout=0.05)
    if error is not None:
        raise error
