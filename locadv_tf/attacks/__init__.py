"""The method: attacks that may change an image only where a mask allows it."""
