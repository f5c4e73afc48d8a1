"""`locadv_tf.course.feedback` under the name that stands in notebooks which were handed out."""

from locadv_tf.course.feedback import *  # noqa: F403
from locadv_tf.course.feedback import __all__  # noqa: F401
