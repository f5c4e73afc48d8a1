"""Localized adversarial training, and how the kit trains every classifier."""
