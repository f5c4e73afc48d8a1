"""`locadv_tf.course.broken_attacks` under the name that stands in notebooks which were handed out."""

from locadv_tf.course.broken_attacks import *  # noqa: F403
from locadv_tf.course.broken_attacks import __all__  # noqa: F401
