"""Assignments: release, grade, return."""
