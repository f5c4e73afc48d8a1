"""A check's answer: `(outcome, reason, numbers)`, the outcome one of `OUTCOMES`; and what decides it."""

import math
from typing import NamedTuple

import numpy as np
from statsmodels.stats.proportion import binom_test

OUTCOMES = ("pass", "fail", "does not apply")
NO_OPTION = "the attack has no {} that a check can change; expected a dataclass or a functools.partial with it"
LEVEL = 0.01  # of the one-sided exact tests: the highest probability that a sound evaluation fails one by chance
TOLERANCE, FEW = 0.02, 2  # a stronger attack must fool more images than this share and this number


class Comparison(NamedTuple):
    """Two attacks on the same images: how many images only one of them fools; whether the other one is stronger."""

    only_attack: int
    only_other: int
    unseen: int  # how many more images the other one may fool without counting as stronger
    beaten: bool


def judged(passed, reason, **numbers):
    """Pass or fail."""
    return OUTCOMES[0 if passed else 1], reason, numbers


def skipped(reason, **numbers):
    """Does not apply."""
    return OUTCOMES[2], reason, numbers


def percent(right, e):
    """The share of the images that are right, in per cent."""
    return f"{100 * right / len(e):.1f} %"


def equal(first, again):
    """Equal up to rounding, and finite."""
    with np.errstate(invalid="ignore"):  # inf − inf
        return bool(np.abs(first - again).max() <= 1e-4 * np.abs(first).max() < np.inf)


def compare(right, other_right):
    """Whether another attack is stronger: it fools more images, by more than `TOLERANCE` of all and more than `FEW`.

    This is not a test of significance. A legal attack fools these images, so an accuracy that counts them as right is
    too high. Other images cannot change that.

    Args:
        right, other_right: bool `(N,)`, which images the model gets right under the attack and under the other.

    Example:
        >>> compare(np.ones(100, bool), np.arange(100) >= 3)
        Comparison(only_attack=0, only_other=3, unseen=2, beaten=True)
        >>> compare(np.ones(100, bool), np.arange(100) >= 2).beaten
        False
    """
    only_attack, only_other = int(np.sum(~right & other_right)), int(np.sum(right & ~other_right))
    unseen = max(FEW, math.floor(TOLERANCE * len(right) + 1e-9))
    return Comparison(only_attack, only_other, unseen, only_other - only_attack > unseen)


def p_at_least(hits, n, share):
    """The exact probability of at least `hits` hits in `n` trials, each with probability `share`.

    Example:
        >>> p_at_least(7, 7, 0.5)
        0.0078125
    """
    return float(binom_test(hits, n, share, alternative="larger")) if n else 1.0
