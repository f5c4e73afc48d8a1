"""Notebooks to reports, many reports, and one table of them."""
