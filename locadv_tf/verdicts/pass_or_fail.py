"""A check's answer: `(outcome, reason, numbers)`. The outcome is one of `OUTCOMES`."""

OUTCOMES = ("pass", "fail", "does not apply")
NO_KNOB = "the attack has no {} that a check can change; expected a dataclass or a functools.partial with it"


def judged(passed, reason, **numbers):
    """Pass or fail."""
    return OUTCOMES[0 if passed else 1], reason, numbers


def skipped(reason, **numbers):
    """Does not apply."""
    return OUTCOMES[2], reason, numbers


def percent(right, e):
    """The share of the images that are right, in per cent."""
    return f"{100 * right / len(e):.1f} %"
