"""The processes of a sweep on this machine. They end with the process that started them, whatever ends that."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading

from tqdm import tqdm

from locadv_tf.reports.sweep import ONE_AT_A_TIME

PATIENCE = 15  # seconds for a worker to stop its kernel and to put the partial notebook in its place
STOPPED = threading.Event()  # a worker that stops has no more to say


@contextlib.contextmanager
def pool(count):
    """An executor of `count` processes; Ctrl-C (or SIGTERM, met like it) drops what waits and ends all workers."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(
        count, mp_context=context, initializer=_follow, initargs=(os.getpid(),)
    ) as executor:
        try:
            yield executor
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():  # which would begin cells that wait in its queue
                process.terminate()
            raise


def _follow(parent):
    """In a worker: Ctrl-C is the parent's affair; SIGTERM, or the parent's end, stops the cell and ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a worker that is stopped would leave behind
    _stand_before_stderr()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _stand_before_stderr():
    """Passes on what this process and its kernels, who inherit its stderr, have to say, until it is stopped.

    What connections say as they break would bury the parent's message.
    """
    stderr, (out, into) = os.dup(2), os.pipe()
    os.dup2(into, 2)
    os.close(into)

    def pass_on():
        while chunk := os.read(out, 2**16):
            if not STOPPED.is_set():
                os.write(stderr, chunk)

    threading.Thread(target=pass_on, daemon=True).start()


def _watch(parent):
    """Ends this process when it was asked to stop, or when its parent is gone."""
    while os.getppid() == parent and not STOPPED.wait(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # not heard a second time
    ONE_AT_A_TIME.acquire(timeout=PATIENCE)  # it is free as soon as the cell has left what it had
    os._exit(1)  # the kernel ends by itself when its parent is gone


def _stop(*_):
    # It may meet a thread that is being started: starting another here could wait for ever.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    STOPPED.set()
    raise KeyboardInterrupt
