"""Images with masks: from where they come, where their background is, how they are read."""
