"""Can the number be trusted? The checks that an evaluation should pass."""
