"""Auto-PGD in the mask: the step size follows from how the climb goes (Croce & Hein 2020, arXiv:2003.01690, alg. 1).

In the equations f is the loss that is climbed, η the step size, x_max the highest point so far; ρ is the share of steps
that are to go uphill, α the weight of the new direction against the last move. Where the paper and its authors' program
differ, this is the program: the steps between checkpoints are rounded down (the paper rounds the checkpoints up, which
is the same for 100 steps), exactly ρ of them going uphill is too few, and condition 2 needs a checkpoint before.
"""

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import Attack

RHO = ALPHA = 0.75


class Memory(NamedTuple):
    """What APGD remembers from step to step, an entry per image. Counters are float32: see `loop.Search.k`."""

    eta: tf.Tensor  # η, (N, 1, 1, 1)
    x_previous: tf.Tensor
    f_previous: tf.Tensor
    x_max: tf.Tensor
    f_max: tf.Tensor
    gradient_max: tf.Tensor
    since: tf.Tensor  # steps since the last checkpoint, and how many of them went uphill
    uphill: tf.Tensor
    interval: tf.Tensor  # steps from the last checkpoint to the next
    f_checked: tf.Tensor  # f(x_max) at the last checkpoint, and whether η was halved there
    halved: tf.Tensor
    aim: Any  # the class to climb towards; () without targets


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Auto-PGD (Croce & Hein 2020), in the mask: no step size to choose.

    Steps start at η = 2 eps. At checkpoints η is halved and the search goes back to x_max, image by image: if too few
    steps went uphill, or if x_max and η stayed the same since the last checkpoint. The distance between checkpoints
    shrinks from 22 % to 6 % of all steps.

    Args:
        eps: the budget, in pixel units of [0, 1]: per pixel, or with `norm="l2"` the length of the whole change.
        steps: gradient evaluations per restart (and target).
        loss: `"cross-entropy"`, `"dlr"` or `"margin"`.
        targets: 0: away from the label. Otherwise towards that many wrong classes, the likeliest first, all steps for
            each; at most the number of classes − 1.
        restarts: how often to start anew.
        norm: `"linf"` or `"l2"`.

    Raises:
        ValueError: for a budget, count, norm or loss out of range; when called, for more targets than wrong classes.

    Example:
        >>> print(APGD(eps=0.1, loss="dlr", targets=9))
        APGD-100 (dlr, 9 targets), eps = 25.5/255
    """

    steps: int = 100
    loss: str = "cross-entropy"
    targets: int = 0
    restarts: int = 1
    norm: str = "linf"

    in_task = ("eps", "steps", "restarts")

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()
        validation.choice(self.loss, losses.LOSSES, name="loss")
        for name, low in (("steps", 1), ("restarts", 1), ("targets", 0)):
            validation.count(getattr(self, name), name=name, low=low)

    @property
    def name(self):
        extras = [self.loss] if self.loss != "cross-entropy" else []
        extras += [f"{self.targets} targets"] if self.targets else []
        name = f"APGD-{self.steps}" + (f" ({', '.join(extras)})" if extras else "")
        return name + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def runs(self):
        return self.restarts * max(1, self.targets)

    def step_size_at(self, eps):
        """η at the start."""
        return 2.0 * eps

    def start(self, task):
        return balls.random_point(task.image, task.allowed, task.eps, task.key, self.norm)

    def memory(self, model, task, run, x):
        zeros = tf.zeros_like(task.label, tf.float32)
        aim = ()
        if self.targets:
            logits = model(task.image, training=False)
            self.check_classes(logits.shape[-1])  # in a graph nobody has asked yet
            aim = losses.likely_wrong(logits, task.label, run % self.targets)
        return Memory(
            eta=task.alpha + zeros[:, None, None, None],
            x_previous=x,
            f_previous=zeros,
            x_max=x,
            f_max=zeros,
            gradient_max=tf.zeros_like(x),
            since=zeros,
            uphill=zeros,
            interval=_share_of(task.steps, 0.22) + zeros,
            f_checked=zeros,
            halved=tf.ones_like(task.label, tf.bool),
            aim=aim,
        )

    def aim(self, s):
        return s.memory.aim if self.targets else None

    def step(self, task, s, seen):
        m, x, f, first = s.memory, s.x, seen.value, s.k == 0

        # x_max, the start included; how many of the steps since the last checkpoint went uphill.
        higher = first | (f > m.f_max)
        x_max = tf.where(_each(higher), x, m.x_max)
        gradient_max = tf.where(_each(higher), seen.gradient, m.gradient_max)
        f_max = tf.where(higher, f, m.f_max)
        f_checked = tf.where(first, f, m.f_checked)
        since = tf.where(first, 0.0, m.since + 1)
        uphill = tf.where(first, 0.0, m.uphill + tf.cast(f > m.f_previous, tf.float32))

        # Checkpoints (section 3.1, conditions 1 and 2): halve η and go back to x_max.
        at_checkpoint = since == m.interval
        condition_1 = uphill <= RHO * m.interval
        condition_2 = ~m.halved & (f_checked >= f_max)
        halve = at_checkpoint & (condition_1 | condition_2)
        eta = tf.where(_each(halve), m.eta / 2, m.eta)
        x = tf.where(_each(halve), x_max, x)
        gradient = tf.where(_each(halve), gradient_max, seen.gradient)
        shorter = tf.maximum(m.interval - _share_of(task.steps, 0.03), _share_of(task.steps, 0.06))

        # The step (equation 3), the first one without a last move.
        z = x + eta * balls.direction(gradient, self.norm)
        z = balls.project(z, task.image, task.allowed, task.eps, self.norm)
        alpha = _each(tf.where(first, 1.0, ALPHA))
        x_next = x + alpha * (z - x) + (1.0 - alpha) * (x - m.x_previous)

        return x_next, Memory(
            eta=eta,
            x_previous=x,
            f_previous=f,
            x_max=x_max,
            f_max=f_max,
            gradient_max=gradient_max,
            since=tf.where(at_checkpoint, 0.0, since),
            uphill=tf.where(at_checkpoint, 0.0, uphill),
            interval=tf.where(at_checkpoint, shorter, m.interval),
            f_checked=tf.where(at_checkpoint, f_max, f_checked),
            halved=tf.where(at_checkpoint, halve, m.halved),
            aim=m.aim,
        )


def _share_of(steps, share):
    return tf.maximum(tf.floor(share * tf.cast(steps, tf.float32)), 1.0)


def _each(values):
    """`(N,)` as `(N, 1, 1, 1)`."""
    return values[..., None, None, None] if values.shape.rank else values
