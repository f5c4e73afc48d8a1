"""Can the number be trusted? The checks that an evaluation should pass before you believe it."""

from locadv_tf.verdicts.checklist import CHECKS, check, headline

__all__ = ["CHECKS", "check", "headline"]
