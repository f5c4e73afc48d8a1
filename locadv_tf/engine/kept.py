"""What is compiled for a model lives on the model and goes with it: no cache keeps a model alive."""

import threading

_NAME = "__locadv_kept__"  # Keras saves what other attributes hold
_ONE = threading.RLock()  # threads that ask for the same thing get one


def kept_on(model, key, make):
    """What `make()` returned when it was first called for this key and model.

    Args:
        model: the model, or any callable. One without attributes of its own, a bound method say, keeps nothing.
        key: anything hashable.
        make: a function without arguments.
    """
    try:
        kept = vars(model).setdefault(_NAME, {})  # not setattr: Keras would track it
    except TypeError:
        return make()
    with _ONE:
        if key not in kept:
            kept[key] = make()
        return kept[key]


def forget(model):
    """Lets go of all that is kept on a model: it has changed otherwise than in its weights."""
    getattr(model, "__dict__", {}).pop(_NAME, None)
