"""Attacks that are broken on purpose: in assignment 4 students say what is wrong with each.

They get what the attacks hand in, no code (suspects.py). `cases` and `answers` serve notebooks of earlier releases.
"""

import numpy as np
import tensorflow as tf

from locadv_tf.attacks.losses import respond_with_gradient

__all__ = ["FAULTS", "answers", "attack", "cases"]

FAULTS = ("budget", "mask", "range", "sign", "sound", "steps")
_STEPS = 10


def cases(seed):
    """Six attacks on the background, called A to F. One is sound; each of the others breaks one rule.

    Args:
        seed: integer that decides the order.

    Returns:
        A dictionary from each letter to a function of `(model, image, label, mask, eps)` that returns the attacked
        images, like an attack object of the kit.

    Example:
        >>> sorted(cases(0))
        ['A', 'B', 'C', 'D', 'E', 'F']
    """
    return {letter: attack(fault) for letter, fault in answers(seed).items()}


def answers(seed):
    """Which of `FAULTS` each of the `cases` has."""
    return dict(zip("ABCDEF", np.random.default_rng(seed).permutation(FAULTS).tolist(), strict=True))


def attack(fault):
    """An attack on the background with one of the `FAULTS`, a function as in `cases`."""

    def run(model, image, label, mask, eps):
        """PGD with ten steps; it may change the image where the mask is 1."""
        image, label, allowed = tf.convert_to_tensor(image), tf.cast(label, tf.int64), tf.cast(mask, tf.bool)
        x, size = image, 2.5 * eps / _STEPS
        if fault == "mask":
            x = x + tf.random.stateless_uniform(image.shape, (0, 0), -eps, eps)
        if fault == "steps":
            size = eps / (100 * _STEPS)
        if fault == "sign":
            size = -size
        for _ in range(_STEPS):
            gradient = respond_with_gradient(model, x, label).gradient
            x = x + size * tf.where(allowed, tf.sign(gradient), 0.0)
            if fault != "budget":
                x = tf.clip_by_value(x, image - eps, image + eps)
            if fault != "range":
                x = tf.clip_by_value(x, 0.0, 1.0)
        return x

    return run
