"""The slots: a constant number of places for images under attack, whose tensors stay on the device.

An image takes a free slot, makes its steps there and leaves it to the next one. The number of slots is the same at
every step: GPUs choose their convolutions anew for each batch size, and XLA compiles anew. Only when no more images
come do the slots of a CPU become fewer. Between two looks of the host the steps are one loop on the device.
"""

import threading
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from locadv_tf.attacks import loop, losses
from locadv_tf.attacks.loop import Task
from locadv_tf.engine.kept import kept_on

ON_DEVICE = ("image", "label", "allowed", "eps")  # of a job, what its steps need
AT_ONCE = 50  # steps on the device before the host has a look: it may have been interrupted
ON_HOST = (*ON_DEVICE, "index", "natural_loss", "natural_correct", "steps", "evaluations", "queries", "run")


class Slots:
    """The images on their way, and what happens to them: they enter, advance together, and leave.

    A job is an image with all that is known about it; jobs are dictionaries of arrays with an entry per image.

    Args:
        compiled: a `CompiledAttack`.
        attack: the attack, for its numbers.
        seed: integer; first: how many runs of an ensemble came before.
        stop: `"fooled"`: what happens to an image after its first point that fools does not count; `"worst"`.
        size: how many slots.

    Attributes:
        active: bool `(size,)`: which slots hold an image.
        fooled, last: bool `(size,)`: which of them are done with, as they fool (none with `stop="worst"`) or have
            taken their last step.
    """

    def __init__(self, compiled, attack, *, seed, first, stop, size):
        self.compiled, self.attack, self.seed, self.first, self.stop = compiled, attack, seed, first, stop
        self.active, self.fooled, self.last = np.zeros((3, size), bool)
        self.size, self.state, self.host = size, None, None

    @property
    def free(self):
        return len(self.active) - int(self.active.sum())

    def enter(self, jobs):
        """As many jobs as there are free slots, at most, at the start point of their run."""
        n = len(jobs["index"])
        numbers = {
            "alpha": np.float32(self.attack.step_size_at(jobs["eps"])),
            "steps": np.full(n, self.attack.steps, np.float32),
            "number": np.int32(self.first + jobs["run"]),  # in all the runs of an ensemble
            "seed": np.full(n, self.seed, np.int64),
        }
        given = {name: jobs[name] for name in (*ON_DEVICE, "best", "clipped", "index", "run")} | numbers
        places = np.flatnonzero(~self.active)[:n].astype(np.int32)
        if self.state is None:  # the other slots repeat the first image, and nobody looks at them
            rows = np.zeros(len(self.active), np.int32)
            rows[places] = np.arange(n)
            self.state = self.compiled.begin(given, rows)
            self.host = {name: jobs[name][rows] for name in ON_HOST}
        else:
            self.state = self.compiled.enter(self.state, places, given)
            for name, values in self.host.items():
                values[places] = jobs[name]
        self.active[places] = True

    def advance(self, few):
        """A gradient (or query) and a step for every image, until `few` of them fool or one has taken its last step."""
        task, s = self.state
        s, fooled, last = self.compiled.advance(task, s, self.active, np.full(1, few, np.float32))
        self.state, self.fooled, self.last = (task, s), fooled.numpy(), last.numpy()

    def leave(self, leaves):
        """The jobs of these slots, each with its best point and its last one, `x`."""
        where = np.flatnonzero(leaves).astype(np.int32)
        out = self.compiled.leave(self.state[1], where)
        jobs = tf.nest.map_structure(lambda part: part.numpy(), out) | {k: v[where] for k, v in self.host.items()}
        counter = "evaluations" if self.attack.uses_gradient else "queries"
        taken = jobs.pop("k").astype(np.int64)
        jobs["steps"] = jobs["steps"] + taken
        jobs[counter] = jobs[counter] + taken * self.attack.samples
        self.active[where] = self.fooled[where] = self.last[where] = False
        return jobs

    def shrink(self, more):
        """As many slots as the images and `more` that wait need, to a sixteenth of those that there were at first."""
        part = max(1, self.size // 16)
        size = max(1, -(-(int(self.active.sum()) + more) // part)) * part
        if size >= len(self.active):
            return
        rows = np.argsort(~self.active, kind="stable")[:size].astype(np.int32)
        self.state = self.compiled.take(self.state, rows)
        self.host = {name: values[rows] for name, values in self.host.items()}
        self.active, self.fooled, self.last = self.active[rows], self.fooled[rows], self.last[rows]


class CompiledModel(NamedTuple):
    """A model's verdicts and logits, for any number of images."""

    judge: object
    logits: object


class CompiledAttack(NamedTuple):
    """What happens in the slots, for any numbers that a `Task` carries."""

    begin: object
    enter: object
    advance: object
    leave: object
    take: object


def compiled_model(model, shape, samples=1):
    """The `CompiledModel` for images of a shape: it follows the model's weights, and no other change of it."""

    def make():
        def judge(x, label):
            return losses.respond(model, x, label, samples=samples)._replace(gradient=())

        def logits(x):
            return model(x, training=False)

        return CompiledModel(traced_once(judge), traced_once(logits))

    return kept_on(model, ("model", shape, samples), make)


def compiled_attack(model, attack, shape, stop):
    """The `CompiledAttack` for the `structure` of an attack and images of a shape."""
    structure = attack.structure

    def make():
        def started(given):
            key = loop.image_key(given["seed"], given["index"], given["number"])
            task = Task(*(given[name] for name in (*ON_DEVICE, "alpha", "steps")), key, ())
            k = tf.zeros_like(given["steps"])
            clipped = given["clipped"]
            return task, loop.begin(structure, model, _asked(task), given["run"], given["best"], k=k, clipped=clipped)

        def begin(given, rows):
            return _gather(started(given), rows)

        def enter(state, places, given):
            return tf.nest.map_structure(
                lambda old, new: tf.tensor_scatter_nd_update(old, places[:, None], new), state, started(given)
            )

        def advance(task, s, active, few):
            def done(s):
                fooled = active & s.best.fooled & (stop == "fooled")
                return fooled, active & ~fooled & (s.k >= task.steps)

            def goes_on(s):
                fooled, last = done(s)
                enough = tf.reduce_sum(tf.cast(fooled, tf.float32)) >= few[0]
                return ~enough & ~tf.reduce_any(last) & tf.reduce_any(active & ~fooled)

            def step(s):
                return (loop.advance(structure, model, _asked(task), s, stop=stop),)

            (s,) = tf.while_loop(goes_on, step, (s,), maximum_iterations=AT_ONCE)
            return s, *done(s)

        def leave(s, rows):
            return _gather({"best": s.best, "clipped": s.clipped, "x": s.x, "k": s.k}, rows)

        return CompiledAttack(*map(traced_once, (begin, enter, advance, leave, _gather)))

    return kept_on(model, (structure, shape, stop), make)


def _asked(task):
    return task._replace(target=None)  # () travels through compiled functions, None does not


def _gather(parts, rows):
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), parts)


def traced_once(function):
    """Compiles for whatever the first call brings, with any number of images."""
    compiled, traced, lock = tf.function(function, autograph=False), [], threading.Lock()

    def call(*arguments):
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)  # compiled functions take longer for that
        with lock:
            if not traced:
                spec = lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype)  # noqa: E731
                traced.append(compiled.get_concrete_function(*tf.nest.map_structure(spec, arguments)))
        return traced[0](*arguments)

    return call
