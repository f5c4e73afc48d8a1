"""How many cases hypothesis tries: the profile `ci` (conftest.py) tries as many as a test asks for, `quick` a few."""

from hypothesis import settings

QUICK = 8


def examples(n):
    """`@settings(max_examples=examples(60))`: 60 in CI, a few where somebody waits."""
    return n if settings.get_current_profile_name() == "ci" else min(n, QUICK)
