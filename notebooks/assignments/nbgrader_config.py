"""nbgrader's settings for this course; `locadv course release` copies them into the course's folder.

Each line is here for a reason; nbgrader's own defaults serve for all else.
"""

import math

from nbgrader.plugins import LateSubmissionPlugin


class TenPercentADay(LateSubmissionPlugin):
    """A late notebook loses a tenth of its marks for each day begun after the due date."""

    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score * min(1.0, 0.1 * math.ceil(total_seconds_late / 86_400))


c = get_config()  # noqa: F821 (nbgrader defines it)
c.CourseDirectory.course_id = "locadv_tf"

# An endless loop costs its cell this many seconds and its marks; the cells after it still run.
c.Execute.timeout = 120
c.Execute.interrupt_on_timeout = True

# A deleted test cell comes back before grading, at its place.
c.OverwriteCells.add_missing_cells = True

# Any text on stderr in a test cell scores 0 in nbgrader. Warnings are no mistakes: what is on stderr is dropped first.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "(?s)."

# A student who has not begun reads this in place of a bare NotImplementedError.
c.ClearSolutions.code_stub = {"python": '# YOUR CODE HERE\nraise NotImplementedError("this part is not written yet")'}

c.AssignLatePenalties.plugin_class = TenPercentADay
