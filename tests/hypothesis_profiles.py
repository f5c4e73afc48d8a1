"""How many cases hypothesis tries: in CI as many as a test asks for, a few where somebody waits."""

import os

from hypothesis import settings

QUICK = 5
# derandomize: CI and a laptop see the same cases. A first call compiles, so no deadline makes sense.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=25)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=QUICK)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
settings.load_profile(PROFILE)


def examples(n, quick=QUICK):
    """`@settings(max_examples=examples(60))`: 60 in CI, else `quick`."""
    return n if PROFILE == "ci" else min(n, quick)
