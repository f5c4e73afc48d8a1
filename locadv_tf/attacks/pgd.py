"""FGSM, PGD and random noise, kept to a mask: the attacks of the textbooks, and their control.

FGSM (Goodfellow et al. 2015, arXiv:1412.6572, eq. 1) and PGD (Madry et al. 2018, arXiv:1706.06083, eq. 4), with the
mask m of Rothberg et al. (2019, arXiv:1909.04779): m = 1 where the attack may change the pixel. With m = 1 everywhere
they are the attacks of the textbooks. The loop around a step, and Π, are in `loop.py`.
"""

import dataclasses

import keras
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import Attack


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent on the negative loss (Madry et al. 2018, eq. 4), in the mask.

    x^{k+1} = Π( x^k + m · alpha · sign(∇_x L(x^k, y)) ), Π the projection on the eps-ball around x and on [0, 1]. With
    `norm="l2"` the gradient, restricted to the mask, is divided by its length instead.

    Args:
        eps: the budget, in pixel units of [0, 1]: per pixel, or with `norm="l2"` the length of the whole change.
        steps: how many steps, at least 1.
        step_size: alpha; None: 2.5 eps / steps.
        random_start: start at a random point of the ball (else at the image).
        restarts: how often to start anew; more than one needs `random_start` and `keep="best"`.
        keep: `"best"` returns per image the best point that the steps reached (fooled before not fooled, then the
            higher loss); `"last"` the last one, as in the paper and in training.
        norm: `"linf"` or `"l2"`.
        loss: what is climbed: `"cross-entropy"`, `"margin"` (Carlini & Wagner 2017) or `"dlr"` (Croce & Hein 2020).
            Points are compared by cross-entropy whatever is climbed.
        samples: looks at the model per step; their mean is followed, and what most of them say is the verdict. Take 10,
            say, for a model that is random on purpose: expectation over transformation (Athalye et al. 2018).
        momentum: μ of Dong et al. (2018, arXiv:1710.06081, eq. 6), g^{k+1} = μ g^k + ∇/‖∇‖₁, the norm in the mask.

    Raises:
        ValueError: for a budget, step size, count, norm or loss out of range, or restarts that could change nothing.

    Example:
        >>> attack = PGD(eps=0.1, steps=20)
        >>> print(attack, "· step size", attack.alpha)
        PGD-20, eps = 25.5/255 · step size 0.0125
        >>> print(PGD(eps=1.5, norm="l2", loss="margin", momentum=0.9))
        PGD-10 (margin, momentum 0.9), eps = 1.5 (L2)
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    keep: str = "best"
    norm: str = "linf"
    loss: str = "cross-entropy"
    momentum: float = 0.0
    samples: int = 1

    in_task = ("eps", "steps", "step_size", "restarts", "keep")

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()
        validation.choice(self.loss, losses.LOSSES, name="loss")
        validation.fraction(self.momentum, name="momentum")
        validation.count(self.steps, name="steps")
        validation.count(self.restarts, name="restarts")
        validation.count(self.samples, name="samples")
        validation.choice(self.keep, ("best", "last"), name="keep")
        if self.step_size is not None:
            validation.fraction(self.step_size, name="step_size", high=balls.LARGEST[self.norm])
            if self.step_size == 0 and self.eps > 0:
                raise ValueError("step_size=0 leads nowhere; expected a number above 0, or None for 2.5 eps / steps.")
        if self.restarts > 1 and not (self.random_start and self.keep == "best"):
            raise ValueError(
                f"restarts={self.restarts} needs random_start=True and keep='best': otherwise every restart "
                "repeats the first one or is thrown away."
            )

    @property
    def name(self):
        extras = [self.loss] if self.loss != "cross-entropy" else []
        extras += [f"momentum {self.momentum:g}"] if self.momentum else []
        extras += [f"{self.samples} samples"] if self.samples > 1 else []
        name = f"PGD-{self.steps}" + (f" ({', '.join(extras)})" if extras else "")
        return name + (f"×{self.restarts}" if self.restarts > 1 else "")

    def step_size_at(self, eps):
        return 2.5 * eps / self.steps if self.step_size is None else 0.0 * eps + self.step_size

    def start(self, task):
        if not self.random_start:
            return task.image
        return balls.random_point(task.image, task.allowed, task.eps, task.key, self.norm)

    def memory(self, model, task, run, x):
        return tf.zeros_like(x) if self.momentum else ()

    def step(self, task, s, seen):
        uphill, memory = seen.gradient, s.memory
        if self.momentum:  # Dong et al. 2018, eq. 6
            uphill = memory = self.momentum * s.memory + balls.unit_l1(seen.gradient)
        return s.x + task.alpha * balls.direction(uphill, self.norm), memory  # eq. 4, before Π


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """The fast gradient sign method: one step of size `eps` uphill (Goodfellow et al. 2015, eq. 1), in the mask.

    x_adv = x + m · eps · sign(∇_x L(x, y)): PGD with one step of that size from the image itself. With `norm="l2"` it
    is the fast gradient method, a step of length `eps` along the gradient.

    Args:
        eps: the budget, in pixel units of [0, 1]: per pixel, or with `norm="l2"` the length of the whole change.
        norm: `"linf"` or `"l2"`.

    Raises:
        ValueError: if `eps` is not in [0, 1] (for `"l2"`: negative).

    Example:
        >>> print(FGSM(eps=8 / 255))
        FGSM, eps = 8/255
    """

    norm: str = "linf"

    keep = "last"  # its one point is the best and the last
    in_task = ("eps",)

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()

    @property
    def name(self):
        return "FGSM"

    def step_size_at(self, eps):
        return eps

    def step(self, task, s, seen):
        return s.x + task.alpha * balls.direction(seen.gradient, self.norm), ()


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomNoise(Attack):
    """The control: +eps or −eps on each pixel of the mask, at random. It does not ask the model.

    Every pixel moves as far as in FGSM. The difference between the two is the gradient.

    Args:
        eps: the size of the noise, in pixel units of [0, 1].
        restarts: draws per image; of several the best is kept, as in `PGD`.

    Raises:
        ValueError: if `eps` is not in [0, 1] or `restarts` is below 1.

    Example:
        >>> print(RandomNoise(eps=8 / 255))
        random noise, eps = 8/255
    """

    restarts: int = 1

    steps = 0
    in_task = ("eps", "restarts")

    def __post_init__(self):
        super().__post_init__()
        validation.count(self.restarts, name="restarts")

    @property
    def name(self):
        return "random noise" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def keep(self):
        return "last" if self.restarts == 1 else "best"

    def start(self, task):
        return balls.surface_point(task.image, task.allowed, task.eps, task.key)
