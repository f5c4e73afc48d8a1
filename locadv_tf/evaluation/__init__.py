"""What a model loses under which attack, and whether it relies on the background."""
