"""The method itself: attacks that may change an image only where a mask allows it.

FGSM (Goodfellow et al. 2015, arXiv:1412.6572, eq. 1) and PGD (Madry et al. 2018, arXiv:1706.06083, eq. 4), with the
mask m of Rothberg et al. (2019, arXiv:1909.04779): m = 1 where the attack may change the pixel. With m = 1 everywhere
they are the attacks of the textbooks. `RandomNoise` is their control. `apgd.py` and `square.py` hold stronger ones,
`autoattack.py` puts them together.

One loop serves stepping through it in a notebook, `tf.function`, XLA and `train_step`; the engine runs the same steps,
image by image.
"""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.randomness import fold_in, uniform
from locadv_tf.units import eps_255


class Point(NamedTuple):
    """The best point of each image so far: `image` (N, H, W, C); `loss`, `fooled`, `nonfinite`, each (N,)."""

    image: tf.Tensor
    loss: tf.Tensor
    fooled: tf.Tensor
    nonfinite: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """What the attacks share: the call, the loop over restarts and steps, and how they are saved.

    An attack runs on two dictionaries of tensors with an entry per image. `fixed`: `image`, `label`, `mask`, `eps` and
    `alpha` (scalars or `(N, 1, 1, 1)`), `steps` and `key` (see `randomness.py`), and `target` if there is one.
    `moving`: the point `x`, the count of steps `k`, the best `Point` so far, and what the method remembers.
    """

    eps: float

    # What a subclass may replace.
    steps = 1
    restarts = 1
    targets = 0
    random_start = False
    keep = "best"
    norm = "linf"
    loss = "cross-entropy"
    uses_gradient = True

    def __post_init__(self):
        low, high = (0.0, 1.0) if self.norm == "linf" else (0.0, float("inf"))
        object.__setattr__(self, "eps", validation.fraction(self.eps, name="eps", low=low, high=high))

    def __str__(self):
        return f"{self.name}, eps = {eps_255(self.eps) if self.norm == 'linf' else f'{self.eps:.4g} (L2)'}"

    def get_config(self):
        """The constructor's arguments, as `keras.saving` wants them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    @property
    def members(self):
        """The attacks that it consists of, one after the other: itself, unless it is an ensemble."""
        return (self,)

    @property
    def runs(self):
        """How often an image is attacked from a start point."""
        return self.restarts

    @property
    def alpha(self):
        """The step size."""
        return self.step_size_at(self.eps)

    @property
    def structure(self):
        """This attack with its numbers taken out, which travel in `fixed`: what a compiled step depends on."""
        return self

    def check_classes(self, num_classes, *, targeted=False):
        """Checks that the model has enough classes, before any work.

        Args:
            num_classes: how many it has; `targeted`: whether each image gets a target of its own.

        Raises:
            ValueError: for as many targets as classes, or too few classes for the loss.
        """
        for member in self.members:
            if member.targets >= num_classes:
                raise ValueError(
                    f"targets={member.targets}, the model has {num_classes} classes; expected at most "
                    f"{num_classes - 1} targets."
                )
            losses.check_classes(member.loss, num_classes, aimed=targeted or member.targets > 0)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, model, image, label, *, mask=None, seed=0, target=None):
        """Attacks a batch of images.

        Args:
            model: a Keras model that maps float32 images in [0, 1] to logits.
            image: float32 `(N, H, W, C)` in [0, 1].
            label: the true classes, integers `(N,)`.
            mask: `(N, H, W, 1)`, 1 where the attack may change the pixel, 0 where it may not; None: everywhere.
            seed: integer (or integer scalar tensor) that every random number follows from.
            target: integers `(N,)`, the class that each image should be taken for; None: any wrong class.

        Returns:
            float32 `(N, H, W, C)`: equal to `image` where the mask is 0, within `eps` of it elsewhere, in [0, 1].

        Raises:
            ValueError: for bad input. Values are looked at only where they are concrete, not inside a graph.
        """
        image, label = (part if tf.is_tensor(part) else np.asarray(part) for part in (image, label))
        validation.images(image)
        validation.seed(seed)
        mask = tf.ones_like(image[..., :1]) if mask is None else mask
        mask = validation.masks(mask if tf.is_tensor(mask) else np.asarray(mask), image)
        if target is not None and any(member.targets for member in self.members):
            raise ValueError(f"{self.name} aims at each wrong class in turn; expected target=None.")
        if tf.executing_eagerly():  # inside a graph no value is there to look at
            classes = validation.model_logits(model, model(image[:8], training=False))
            self.check_classes(classes, targeted=target is not None)
            validation.labels(label, image, num_classes=classes)
            if target is not None:
                validation.labels(target, image, num_classes=classes, name="target")
        else:
            validation.labels(label, image)
        image, label, mask = tf.convert_to_tensor(image), tf.cast(label, tf.int64), tf.cast(mask, tf.bool)
        target = None if target is None else tf.cast(target, tf.int64)
        index = tf.range(tf.shape(image)[0])
        return self.search(model, image, label, mask, seed=seed, index=index, target=target).image

    def search(self, model, image, label, mask, *, seed, index, target=None):
        """The loop: from each start point through all steps, again for each restart. No checks; tensors only.

        Args:
            model, image: as in a call.
            label, target: int64 `(N,)`; `mask`: bool `(N, H, W, 1)`.
            seed: integer scalar; `index`: integers `(N,)` that tell the images' random numbers apart.

        Returns:
            A `Point`. With `keep="last"` its `loss` and `fooled` are not filled in.
        """
        nobody = tf.zeros_like(label, tf.bool)
        best = Point(image, tf.fill(tf.shape(label), -float("inf")), nobody, nobody)
        given = {"image": image, "label": label, "mask": mask}
        if target is not None:
            given["target"] = target
        first = 0
        for attack in self.members:
            best = attack._search(model, given, best, seed, index, first)
            first += attack.runs
        return Point(*map(tf.stop_gradient, best))

    def _search(self, model, given, best, seed, index, first):
        numbers = {"eps": self.eps, "alpha": self.alpha, "steps": self.steps}

        def one_restart(restart, best):
            fixed = given | numbers | {"key": image_key(seed, index, first + restart)}
            moving = self.begin(model, fixed, restart, random_start=self.random_start)
            moving |= {"k": tf.constant(0), "best": best}

            def one_step(moving):
                return (self.advance(model, fixed, moving, keep=self.keep),)

            if self.steps:
                (moving,) = tf.while_loop(lambda moving: moving["k"] < self.steps, one_step, (moving,))
            if self.keep == "best":
                best = self.judge(model, fixed, moving)
            else:
                best = moving["best"]._replace(image=moving["x"])
            return restart + 1, best

        _, best = tf.while_loop(lambda r, _: r < self.runs, one_restart, (tf.constant(0), best))
        return best

    # The parts of the loop. The engine runs the same parts.

    def begin(self, model, fixed, restart, *, random_start):
        """The start: a dictionary of the point `x` and what the method remembers from step to step."""
        x = self.start(fixed) if random_start else tf.identity(fixed["image"])
        return {"x": x} | self.remember(model, fixed, restart, x)

    def advance(self, model, fixed, moving, *, keep="best"):
        """A look at the point `x`, which may be the best so far, and one step from there."""
        seen = self.look(model, fixed, moving)
        best, k = moving["best"], moving["k"]
        if seen.gradient is not None:
            best = best._replace(nonfinite=best.nonfinite | ~all_finite(seen.gradient))
        if keep == "best":
            best = better(best, moving["x"], seen.loss, seen.fooled, eligible=k > 0)  # the start is no candidate
        raw, moved = self.move(fixed, moving, seen)
        if "cut" in moving:
            moved["cut"] = moving["cut"] + balls.cut_share(raw, fixed["image"], fixed["mask"], fixed["eps"], self.norm)
        return moving | moved | {"k": k + 1, "best": best}

    def look(self, model, fixed, moving):
        """What the model says at the point `x`, an `objectives.Response`."""
        ask = losses.respond_with_gradient if self.uses_gradient else losses.respond
        options = {"climb": self.loss, "aim": moving.get("aim")}
        return ask(model, moving["x"], fixed["label"], fixed.get("target"), **options)

    def judge(self, model, fixed, moving):
        """The best `Point`, the last one included, which has had no look yet."""
        last = losses.respond(model, moving["x"], fixed["label"], fixed.get("target"))
        return better(moving["best"], moving["x"], last.loss, last.fooled)

    # What makes an attack: how far it steps, where it starts, what it remembers, how it moves.

    def step_size_at(self, eps):
        """The step size for a budget, a number or an array."""
        return 0.0 * eps

    def start(self, fixed):
        """A random start point, `(N, H, W, C)`."""
        return balls.random_point(fixed["image"], fixed["mask"], fixed["eps"], fixed["key"], self.norm)

    def remember(self, model, fixed, restart, x):
        """What the method remembers from step to step: a dictionary of tensors with an entry per image."""
        return {}

    def move(self, fixed, moving, seen):
        """One step: where it leads before budget and range cut it, and what of `moving` is new, `x` included."""
        raise NotImplementedError


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

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()
        validation.choice(self.loss, losses.LOSSES, name="loss")
        validation.fraction(self.momentum, name="momentum")
        validation.count(self.steps, name="steps")
        validation.count(self.restarts, name="restarts")
        validation.choice(self.keep, ("best", "last"), name="keep")
        if self.step_size is not None:
            validation.fraction(self.step_size, name="step_size", high=1.0 if self.norm == "linf" else float("inf"))
            if self.step_size == 0 and self.eps > 0:
                raise ValueError("step_size=0 leads nowhere; expected a number above 0, or None for 2.5 eps / steps.")
        if self.restarts > 1 and not (self.random_start and self.keep == "best"):
            raise ValueError(
                f"restarts={self.restarts} needs random_start=True and keep='best': every restart would else "
                "repeat the first one or be thrown away."
            )

    @property
    def name(self):
        extras = [self.loss] if self.loss != "cross-entropy" else []
        extras += [f"momentum {self.momentum:g}"] if self.momentum else []
        name = f"PGD-{self.steps}" + (f" ({', '.join(extras)})" if extras else "")
        return name + (f"×{self.restarts}" if self.restarts > 1 else "")

    def step_size_at(self, eps):
        return 2.5 * eps / self.steps if self.step_size is None else 0.0 * eps + self.step_size

    @property
    def structure(self):
        return PGD(eps=0.0, norm=self.norm, loss=self.loss, momentum=self.momentum)

    def remember(self, model, fixed, restart, x):
        return {"velocity": tf.zeros_like(x)} if self.momentum else {}

    def move(self, fixed, moving, seen):
        gradient, mask, memory = seen.gradient, fixed["mask"], {}
        if self.momentum:
            finite = tf.math.is_finite(gradient)
            inside = tf.where(finite & mask, gradient, 0.0)
            length = tf.reduce_sum(tf.abs(inside), axis=[1, 2, 3], keepdims=True)
            memory["velocity"] = self.momentum * moving["velocity"] + tf.math.divide_no_nan(inside, length)
            gradient = tf.where(finite, memory["velocity"], gradient)  # a pixel without a finite gradient stays
        raw = moving["x"] + fixed["alpha"] * balls.direction(gradient, mask, self.norm)
        return raw, memory | {"x": balls.project(raw, fixed["image"], mask, fixed["eps"], self.norm)}


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

    def __post_init__(self):
        validation.choice(self.norm, balls.NORMS, name="norm")
        super().__post_init__()

    @property
    def name(self):
        return "FGSM"

    def step_size_at(self, eps):
        return eps

    @property
    def structure(self):
        return PGD(eps=0.0, norm=self.norm)

    def move(self, fixed, moving, seen):
        return self.structure.move(fixed, moving, seen)


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomNoise(Attack):
    """The control: +eps or −eps on each pixel of the mask by the toss of a coin, without a look at the model.

    Every pixel moves as far as in FGSM, so that only the gradient makes the difference.

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
    random_start = True

    def __post_init__(self):
        super().__post_init__()
        validation.count(self.restarts, name="restarts")

    @property
    def name(self):
        return "random noise" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def keep(self):
        return "last" if self.restarts == 1 else "best"

    @property
    def structure(self):
        return RandomNoise(eps=0.0)

    def start(self, fixed):
        image = fixed["image"]
        coins = tf.sign(uniform(tf.shape(image), fixed["key"]) - 0.5)
        return balls.project(image + fixed["eps"] * coins, image, fixed["mask"], fixed["eps"])


def check_attack(attack):
    """Checks that this is an attack object and returns it; `ValueError` for anything else, a class or a name say."""
    if not isinstance(attack, Attack):
        raise ValueError(f"attack={attack!r}; expected an attack object, PGD(eps=0.1) say.")
    return attack


def image_key(seed, index, restart):
    """What an image's random numbers in one restart follow from, uint32 `(N,)`."""
    return fold_in(fold_in(fold_in(0, seed), index), restart)


def better(best, x, loss, fooled, eligible=True):
    """Per image the better of `best` and the point `x`: fooled before not fooled, then the higher loss."""
    higher = (fooled == best.fooled) & ~(loss <= best.loss)  # so written that a NaN loss counts as high
    wins = eligible & ((fooled & ~best.fooled) | higher)
    return best._replace(
        image=tf.where(wins[:, None, None, None], x, best.image),
        loss=tf.where(wins, loss, best.loss),
        fooled=tf.where(wins, fooled, best.fooled),
    )


def all_finite(gradient):
    """Whether every entry of an image's gradient is finite, bool `(N,)`."""
    return tf.reduce_all(tf.math.is_finite(gradient), axis=[1, 2, 3])


def region_mask(mask, region):
    """Where an attack on a region may change the image, bool `(N, H, W, 1)`.

    Args:
        mask: the background mask, bool or numeric, a tensor or an array.
        region: `"background"` (the mask itself), `"foreground"` (its complement) or `"full"` (everywhere).

    Raises:
        ValueError: for another region.

    Example:
        >>> int(tf.reduce_sum(tf.cast(region_mask(tf.zeros((1, 2, 2, 1)), "foreground"), tf.int32)))
        4
    """
    validation.choice(region, validation.REGIONS, name="region")
    mask = tf.cast(mask, tf.bool)
    return {"background": mask, "foreground": ~mask, "full": tf.ones_like(mask)}[region]
