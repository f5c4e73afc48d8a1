"""Assignments: released, graded, returned."""
