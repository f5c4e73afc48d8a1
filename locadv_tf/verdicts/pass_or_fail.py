"""What a check answers: `(outcome, reason, numbers)`, the outcome one of `OUTCOMES`."""

OUTCOMES = ("pass", "fail", "does not apply")
NO_KNOB = "the attack has no {} to change: a field of a dataclass, or a keyword of a functools.partial"


def judged(passed, reason, **numbers):
    """Pass or fail."""
    return OUTCOMES[0 if passed else 1], reason, numbers


def skipped(reason, **numbers):
    """Does not apply."""
    return OUTCOMES[2], reason, numbers


def percent(right, e):
    """How many of the images are right, in per cent."""
    return f"{100 * right / len(e):.1f} %"
