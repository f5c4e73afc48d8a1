"""Auto-PGD in the mask: the step size follows from how the climb goes (Croce & Hein 2020, arXiv:2003.01690, alg. 1).

In the equations f is the loss that is climbed, η the step size, x_max the highest point so far; ρ is the share of steps
that are to go uphill, α the weight of the new direction against the last move. Where the paper and its authors' program
differ, this is the program: the steps between checkpoints are rounded down (the paper rounds the checkpoints up, which
is the same for 100 steps), exactly ρ of them going uphill is too few, and condition 2 needs a checkpoint before.
"""

import dataclasses

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.pgd import Attack

RHO = ALPHA = 0.75


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Auto-PGD (Croce & Hein 2020), in the mask: no step size to choose.

    Steps start at η = 2 eps. At checkpoints, whose distance shrinks from 22 % to 6 % of all steps, an image's η is
    halved and its search goes back to x_max if too few steps went uphill, or if x_max stayed where it was although η
    had not been halved.

    Args:
        eps: the budget, in pixel units of [0, 1]: per pixel, or with `norm="l2"` the length of the whole change.
        steps: gradient evaluations per restart (and target).
        loss: `"cross-entropy"`, `"dlr"` or `"margin"`.
        targets: 0: away from the label. Otherwise towards that many wrong classes, the likeliest first, all steps for
            each; at most the number of classes − 1.
        restarts: how often to start anew.
        norm: `"linf"` or `"l2"`.

    Raises:
        ValueError: for a budget, count, norm or loss out of range; when called, for more targets than wrong classes.

    Example:
        >>> print(APGD(eps=0.1, loss="dlr", targets=9))
        APGD-100 (dlr, 9 targets), eps = 25.5/255
    """

    steps: int = 100
    loss: str = "cross-entropy"
    targets: int = 0
    restarts: int = 1
    norm: str = "linf"

    random_start = True

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()
        validation.choice(self.loss, losses.LOSSES, name="loss")
        for name, low in (("steps", 1), ("restarts", 1), ("targets", 0)):
            validation.count(getattr(self, name), name=name, low=low)

    @property
    def name(self):
        extras = [self.loss] if self.loss != "cross-entropy" else []
        extras += [f"{self.targets} targets"] if self.targets else []
        name = f"APGD-{self.steps}" + (f" ({', '.join(extras)})" if extras else "")
        return name + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def runs(self):
        return self.restarts * max(1, self.targets)

    @property
    def structure(self):
        return APGD(eps=0.0, loss=self.loss, targets=self.targets, norm=self.norm)

    def step_size_at(self, eps):
        """η at the start."""
        return 2.0 * eps

    def remember(self, model, fixed, restart, x):
        label, steps = fixed["label"], fixed["steps"]
        zeros, no_steps = tf.zeros_like(label, tf.float32), tf.zeros_like(label, tf.int32)
        memory = {
            "eta": fixed["alpha"] + zeros[:, None, None, None],
            "previous": x,
            "value": zeros,  # f at the previous point
            "top": x,  # x_max
            "top_value": zeros,
            "top_gradient": tf.zeros_like(x),
            "since": no_steps,  # steps since the last checkpoint, and how many of them went uphill
            "uphill": no_steps,
            "interval": _share_of(steps, 0.22) + no_steps,  # steps from the last checkpoint to the next
            "checked_value": zeros,  # f(x_max) at the last checkpoint, and whether η was halved there
            "halved": tf.ones_like(label, tf.bool),
        }
        if self.targets:
            logits = model(fixed["image"], training=False)
            self.check_classes(logits.shape[-1])  # in a graph nobody has asked yet
            memory["aim"] = losses.likely_wrong(logits, label, restart % self.targets)
        return memory

    def move(self, fixed, moving, seen):
        x, first, f = moving["x"], moving["k"] == 0, seen.value
        m = {name: moving[name] for name in moving if name not in ("x", "k", "best", "cut", "aim")}

        # x_max, the start included.
        higher = first | (f > m["top_value"])
        m["top"], m["top_gradient"] = (
            tf.where(_each(higher), new, m[name]) for name, new in (("top", x), ("top_gradient", seen.gradient))
        )
        m["top_value"] = tf.where(higher, f, m["top_value"])
        m["checked_value"] = tf.where(first, f, m["checked_value"])
        step = tf.cast(~first, tf.int32)
        m["since"] += step
        m["uphill"] += step * tf.cast(f > m["value"], tf.int32)
        m["value"] = f

        # Checkpoints (section 3.1, conditions 1 and 2).
        at_checkpoint = m["since"] == m["interval"]
        too_few = tf.cast(m["uphill"], tf.float32) <= RHO * tf.cast(m["interval"], tf.float32)
        stuck = ~m["halved"] & (m["checked_value"] >= m["top_value"])
        halve = at_checkpoint & (too_few | stuck)
        m["eta"] = tf.where(_each(halve), m["eta"] / 2, m["eta"])
        x = tf.where(_each(halve), m["top"], x)
        gradient = tf.where(_each(halve), m["top_gradient"], seen.gradient)
        m["halved"] = tf.where(at_checkpoint, halve, m["halved"])
        m["checked_value"] = tf.where(at_checkpoint, m["top_value"], m["checked_value"])
        shorter = tf.maximum(m["interval"] - _share_of(fixed["steps"], 0.03), _share_of(fixed["steps"], 0.06))
        m["interval"] = tf.where(at_checkpoint, shorter, m["interval"])
        m["since"], m["uphill"] = (tf.where(at_checkpoint, 0, m[name]) for name in ("since", "uphill"))

        # The step (equation 3), the first one without a last move.
        image, mask, eps = fixed["image"], fixed["mask"], fixed["eps"]
        raw = x + m["eta"] * balls.direction(gradient, mask, self.norm)
        z = balls.project(raw, image, mask, eps, self.norm)
        alpha = tf.where(first, 1.0, ALPHA)
        alpha = _each(alpha) if alpha.shape.rank else alpha
        x_next = x + alpha * (z - x) + (1.0 - alpha) * (x - m["previous"])
        x_next = tf.where(tf.math.is_finite(gradient), x_next, x)  # a pixel without a finite gradient stays
        m["previous"] = x
        return raw, m | {"x": balls.project(x_next, image, mask, eps, self.norm)}


def _share_of(steps, share):
    return tf.maximum(tf.cast(share * tf.cast(steps, tf.float32), tf.int32), 1)


def _each(values):
    """`(N,)` as `(N, 1, 1, 1)`."""
    return values[..., None, None, None] if values.shape.rank else values
