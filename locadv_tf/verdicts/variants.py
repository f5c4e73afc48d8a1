"""The numbers of an attack (its eps, its steps, …), and the same attack with other numbers."""

import dataclasses
import functools

from locadv_tf.attacks.attack import Attack


def uses_gradient(attack):
    """Whether an attack follows the model's gradient; None: it has no attribute of this name."""
    if isinstance(attack, Attack):
        return any(member.uses_gradient for member in attack.members)
    while isinstance(attack, functools.partial) and not hasattr(attack, "uses_gradient"):
        attack = attack.func
    said = getattr(attack, "uses_gradient", None)
    return said if said is None else bool(said)


def option(attack, name):
    """An attack's number: an attribute or a `functools.partial` keyword; None if it has none of this name."""
    return attack.keywords.get(name) if isinstance(attack, functools.partial) else getattr(attack, name, None)


def options(attack):
    """The names of the numbers that can be changed: a dataclass's fields, or a `functools.partial`'s keywords."""
    if isinstance(attack, functools.partial):
        return set(attack.keywords)
    return {field.name for field in dataclasses.fields(attack)} if dataclasses.is_dataclass(attack) else set()


def changed(attack, **changes):
    """The attack with other values of its options."""
    kind = functools.partial if isinstance(attack, functools.partial) else dataclasses.replace
    return kind(attack, **changes)


def at_eps(attack, eps):
    """The same attack with another budget, and a step size in proportion; None if it has no `eps` to change."""
    own, step_size = option(attack, "eps"), option(attack, "step_size")
    if "eps" not in options(attack):
        return None
    if not own or step_size is None:
        return changed(attack, eps=eps)
    return changed(attack, eps=eps, step_size=min(step_size * eps / own, max(1.0, eps)))


def longer(attack):
    """The attack with three times the steps (or queries) and one more restart; None if it has no steps to change."""
    there = options(attack)
    changes = {name: 3 * option(attack, name) for name in {"steps", "queries"} & there}
    one_start = "random_start" in there and not option(attack, "random_start")  # a restart would repeat the first run
    if changes and "restarts" in there and not one_start and option(attack, "keep") != "last":
        changes["restarts"] = option(attack, "restarts") + 1
    return changed(attack, **changes) if changes else None
