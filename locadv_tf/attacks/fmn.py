"""The fast minimum-norm attack in the mask: the smallest change that fools, in one run (Pintor et al. 2021)."""

import dataclasses
import math
from typing import NamedTuple

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import Attack


class Memory(NamedTuple):
    """The budget of the moment, `(N, 1, 1, 1)`; the smallest change that fooled so far, its size infinite before."""

    eps: tf.Tensor
    x: tf.Tensor
    size: tf.Tensor


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """Fast minimum-norm attack (Pintor et al. 2021, arXiv:2102.12827, algorithm 1), in the mask.

    Its budget ε follows each image: it shrinks by γ where the point fools and grows where it does not, until it lies at
    the smallest change that fools. `la.smallest_eps` runs it on a data set. Called on tensors it returns the smallest
    change that it found, within `eps`.

    Args:
        eps: the largest budget that is tried, in pixel units of [0, 1], or with `norm="l2"` a length.
        steps: gradient evaluations.
        gamma: γ at the start, from 0 to 1; it falls to 0.1 % along a cosine.
        norm: `"linf"` or `"l2"`.

    Raises:
        ValueError: for a budget, count or norm out of range.

    Example:
        >>> print(FMN(eps=0.3))
        FMN-100, eps = 76.5/255
    """

    steps: int = 100
    gamma: float = 0.05
    norm: str = "linf"

    keep = "last"
    loss = "margin"  # L = -margin: below 0 where the model is wrong
    in_task = ("eps", "steps")

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()
        validation.count(self.steps, name="steps")
        validation.fraction(self.gamma, name="gamma")

    @property
    def name(self):
        return f"FMN-{self.steps}"

    def memory(self, model, task, run, x):
        size = tf.fill(tf.shape(task.label), float("inf"))
        return Memory(tf.zeros_like(size)[:, None, None, None], x, size)

    def step(self, task, s, seen):
        fools, size = seen.value > 0, balls.size(s.x - task.image, self.norm)
        smaller = fools & (size < s.memory.size)
        best = Memory(s.memory.eps, tf.where(_each(smaller), s.x, s.memory.x), tf.where(smaller, size, s.memory.size))

        # ε: down to what fooled, up from what did not, and at first to where a linear model would be fooled. There it
        # grows, too, unlike in the paper: what [0, 1] cuts off would keep an image just before the boundary for ever.
        gradient = seen.gradient / losses.GRADIENT_SCALE
        gamma = _cosine(self.gamma, 0.001, s.k, task.steps)
        boundary = size + tf.math.divide_no_nan(-seen.value, balls.dual_size(gradient, self.norm))
        up = (1 + gamma) * s.memory.eps[:, 0, 0, 0]
        up = tf.where(tf.math.is_finite(s.memory.size), up, tf.maximum(up, boundary))
        down = tf.minimum((1 - gamma) * s.memory.eps[:, 0, 0, 0], best.size)
        eps = _each(tf.where(fools, down, up))

        # δ: a step of length α along the gradient, then to the ε-ball.
        alpha = _each(_cosine(1.0, 0.01, s.k, task.steps) + tf.zeros_like(size))
        there = s.x + alpha * balls.direction(gradient, "l2")
        there = balls.to_ball(there, task.image, task.allowed, eps, self.norm)
        done = (s.k + 1 >= task.steps) & tf.math.is_finite(best.size)  # what is returned is the smallest that fooled
        return tf.where(_each(done), best.x, there), best._replace(eps=eps)


def _cosine(first, last, k, steps):
    """From `first` to `last` along a cosine."""
    return last + (first - last) * (1 + tf.cos(math.pi * k / tf.maximum(steps - 1.0, 1.0))) / 2


def _each(values):
    return values[:, None, None, None]
