"""Classifiers that were handed in, each read and attacked in another process, within limits.

A small file can describe a network that needs terabytes or days. It then ends that process, and not the competition.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from locadv_tf.attacks.pgd import PGD
from locadv_tf.engine.stream import run_attack
from locadv_tf.models import load_classifier

MEMORY = 2**32  # bytes for one classifier, beyond what TensorFlow takes
SECONDS = 300  # for one classifier, with all attacks on it
LARGEST = 2**28  # bytes of a file, unpacked
LAYERS = 1000
_MODULES = (
    "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.src.models.functional",
)  # fmt: skip
_CODE = ("Lambda", "__lambda__", "function", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")  # or run files
_SIZES = ("units", "filters", "input_dim", "output_dim")
_KIT = Path(__file__).resolve().parents[2]


class Examiner:
    """Reads and attacks one classifier after the other in a process of its own, which a file may break.

    After that a new process goes on with the next file: its start takes some seconds. It computes on the CPU.

    Args:
        task: an `.npz` file with the arrays of `score`.
        eps, seed: those of `score`.
        memory: bytes for one classifier beyond what TensorFlow takes. Only Linux holds it to that.
        seconds: how long one classifier may take.
    """

    def __init__(self, task, *, eps, seed, memory=MEMORY, seconds=SECONDS):
        self.memory, self.seconds = memory, seconds
        self._arguments = [str(task), repr(float(eps)), str(seed), str(memory)]
        self._process = None

    def __call__(self, path):
        """What `score` returns for a file, or `{"problem": why it was refused}`."""
        if self._process is None:
            self._start()
        started = time.monotonic()
        late = threading.Timer(self.seconds, self._process.kill)
        late.start()
        try:
            print(json.dumps(os.path.abspath(path)), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except OSError:  # it ended before it could read
            answer = ""
        finally:
            late.cancel()
        slow, whole = time.monotonic() - started >= self.seconds, answer.endswith("\n")
        if slow or not whole:
            self.close()
        if whole:
            return json.loads(answer)
        if slow:
            return {"problem": f"not done after {self.seconds:g} s; expected a faster classifier."}
        most = f"{self.memory / 2**30:g} GiB of memory"
        return {"problem": f"it needs more than {most}, or broke TensorFlow; expected a smaller classifier."}

    def close(self):
        """Ends the process, whatever it does."""
        process, self._process = self._process, None
        if process:
            with contextlib.suppress(OSError), process:  # leaving closes the pipes
                process.kill()

    def _start(self):
        own = {"CUDA_VISIBLE_DEVICES": "-1", "MALLOC_ARENA_MAX": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
        own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_KIT), os.environ.get("PYTHONPATH"))))
        # -P: nothing is imported from the folder that this was called in, which may be the one that was handed in.
        command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, *self._arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=os.environ | own, text=True, encoding="utf-8", **pipes)
        if not self._process.stdout.readline():
            self.close()
            raise RuntimeError("The process that reads classifiers did not start; see the message above.")


def score(path, *, image, label, mask, attacked, eps, seed):
    """Reads a classifier and attacks it.

    Args:
        path: the file.
        image, label, mask: the images, `(N, H, W, C)`, `(N,)`, `(N, H, W, 1)`.
        attacked: images of several attacks, `(attacks, N, H, W, C)`.
        eps, seed: the budget and the seed of the kit's own attack.

    Returns:
        `checks`, a text; `right`, N times whether it classifies an image correctly; `under`, the same for each attack;
        `kits`, the same under the kit's own. An image that was wrong before is wrong under every attack.

    Raises:
        ValueError: as `read_model` does.
    """
    model, checks = read_model(path, image.shape[1:])
    right = _right(model, image, label)
    found = run_attack(model, (image, label, mask), kits(eps), region="background", seed=seed, stop="fooled")
    return {
        "problem": None,
        "checks": checks,
        "right": right.tolist(),
        "under": [(right & _right(model, x, label)).tolist() for x in attacked],
        "kits": (right & ~np.asarray(found.fooled)).tolist(),
    }


def kits(eps):
    """The kit's own attack."""
    return PGD(eps=eps, steps=20)


def read_model(path, shape):
    """A classifier of Keras's own layers, and what was checked. Its description is read before anything is built.

    Raises:
        ValueError: for code, custom objects, more than `LARGEST` bytes or `LAYERS` layers, or another input or output.
    """
    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB unpacked; expected a small classifier.")
        config = json.loads(parts.read("config.json"))
    found = list(_parts({key: value for key, value in config.items() if key != "compile_config"}))  # it is not used
    for part in found:
        kind, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
        if kind in _CODE or (module or "keras") not in _MODULES or registered not in (None, kind):
            raise ValueError(
                f"it holds {registered or kind!r} of {module!r}; expected Keras's own layers, and no code."
            )
    if any(isinstance(part.get(size), int) and part[size] > 10**5 for part in found for size in _SIZES):
        raise ValueError("a layer of more than 100,000 units; expected a small classifier.")
    layers = sum(part.get("module") == "keras.layers" for part in found)
    if layers > LAYERS:
        raise ValueError(f"{layers:,} layers; expected at most {LAYERS:,}.")
    model = load_classifier(path, input_shape=shape)
    return model, f"{model.count_params():,} parameters, Keras's own layers, logits"


def told(problem):
    """An error as one line of a page."""
    return str(problem).partition("\n")[0][:300] or type(problem).__name__


def _parts(config):
    """All dictionaries in a model's description."""
    if isinstance(config, dict):
        yield config
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _parts(value)


def _right(model, x, label):
    return model.predict(x, batch_size=256, verbose=0).argmax(axis=-1) == np.asarray(label)


def _of_memory(problem):
    """Whether an error, or one that it came from, says that there is no memory left."""
    while problem and not isinstance(problem, (MemoryError, tf.errors.ResourceExhaustedError)):
        problem = problem.__cause__ or problem.__context__
    return problem is not None


def _limit_memory(memory):
    if sys.platform == "linux":  # other systems do not enforce it
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = mapped + memory
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _serve(task, eps, seed, memory):
    """The other process: a path comes in on each line, an answer goes out."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what TensorFlow prints is no answer
    if sys.platform == "linux":  # if the machine's memory runs out first, this process is what ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    with np.load(task, allow_pickle=False) as arrays:
        given = dict(arrays) | {"eps": float(eps), "seed": int(seed)}
    tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))  # starts TensorFlow's threads, before what is mapped is counted
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        _limit_memory(int(memory))
        try:
            answer = score(json.loads(line), **given)
        except Exception as problem:  # an unknown file: any error is possible
            if _of_memory(problem):
                os._exit(1)
            answer = {"problem": told(problem)}
        print(json.dumps(answer), file=answers, flush=True)
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
