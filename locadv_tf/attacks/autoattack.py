"""The strongest attack of the kit: an ensemble. Per image its worst point counts.

In `run_attack(stop="fooled")` a member sees only the images that no member before it fooled. With `stop="worst"`, and
called on tensors, each member sees all images.
"""

import dataclasses

import keras

from locadv_tf import validation
from locadv_tf.attacks.apgd import APGD
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.square import Square

# Steps of APGD on cross-entropy and on DLR, steps per target, queries of Square.
BUDGETS = {"standard": (100, 100, 100, 5000), "fast": (20, 20, 10, 500), "smoke": (5, 5, 2, 50)}


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizedAutoAttack(Attack):
    """AutoAttack (Croce & Hein 2020, arXiv:2003.01690) in the mask: no step size, loss or restart to choose.

    APGD on cross-entropy, APGD on the DLR loss, targeted APGD-DLR towards each wrong class, and Square. Per image the
    worst point of all of them counts. FAB, a member of the published ensemble, is left out: it looks for the smallest
    change instead of the worst within a budget (here: `FMN`).

    Args:
        eps: the budget, in pixel units of [0, 1].
        budget: `"standard"`: the published 100 steps (per target) and 5,000 queries; `"fast"`: 20 steps, 10 per target
            and 500 queries, for a first look; `"smoke"`: 5 steps, 2 per target and 50 queries, to see that all runs.
        targets: how many wrong classes, at most the number of classes − 1.
        loss: `"dlr"`, which needs four classes, or `"margin"` for fewer.

    Raises:
        ValueError: for a budget or count out of range, or an unknown loss; when called, for too few classes.

    Example:
        >>> attack = LocalizedAutoAttack(eps=0.1)
        >>> print(attack)
        LocalizedAutoAttack (standard), eps = 25.5/255
        >>> [member.name for member in attack.members]
        ['APGD-100', 'APGD-100 (dlr)', 'APGD-100 (dlr, 9 targets)', 'Square-5000']
    """

    budget: str = "standard"
    targets: int = 9
    loss: str = "dlr"

    def __post_init__(self):
        super().__post_init__()
        validation.choice(self.budget, tuple(BUDGETS), name="budget")
        validation.count(self.targets, name="targets")
        validation.choice(self.loss, ("dlr", "margin"), name="loss")

    @property
    def name(self):
        return f"LocalizedAutoAttack ({self.budget})"

    @property
    def members(self):
        ce, dlr, targeted, queries = BUDGETS[self.budget]
        return (
            APGD(eps=self.eps, steps=ce),
            APGD(eps=self.eps, steps=dlr, loss=self.loss),
            APGD(eps=self.eps, steps=targeted, loss=self.loss, targets=self.targets),
            Square(eps=self.eps, queries=queries),
        )

    @property
    def steps(self):
        return sum(member.steps * member.runs for member in self.members)
