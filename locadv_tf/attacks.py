"""The method itself: attacks that may change an image only where a mask allows it.

FGSM (Goodfellow et al. 2015, arXiv:1412.6572, eq. 1) and PGD (Madry et al. 2018, arXiv:1706.06083, eq. 4) for the
L-infinity norm, with the mask m of Rothberg et al. (2019, arXiv:1909.04779): m = 1 where the attack may change the
pixel. With m = 1 everywhere they are the attacks of the textbooks. `RandomNoise` is their control.

One loop serves stepping through it in a notebook, `tf.function`, XLA and `train_step`.
"""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from locadv_tf import checks
from locadv_tf.randomness import fold_in, uniform

# The gradient of a confident model underflows to zero in float16, and sign(0) = 0 stops the attack. A power of two
# changes no float32 gradient's sign.
GRADIENT_SCALE = 2.0**12


class Point(NamedTuple):
    """The best point of each image so far: `image` (N, H, W, C); `loss`, `fooled`, `nonfinite`, each (N,)."""

    image: tf.Tensor
    loss: tf.Tensor
    fooled: tf.Tensor
    nonfinite: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """What the attacks share: the call, the loop over restarts and steps, and how they are saved."""

    eps: float

    def __post_init__(self):
        object.__setattr__(self, "eps", checks.fraction(self.eps, name="eps"))

    def __str__(self):
        return f"{self.name}, eps = {eps_255(self.eps)}"

    def get_config(self):
        """The constructor's arguments, as `keras.saving` wants them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

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
        checks.images(image)
        checks.seed(seed)
        mask = tf.ones_like(image[..., :1]) if mask is None else checks.masks(mask, image)
        if tf.executing_eagerly():  # inside a graph no value is there to look at
            classes = checks.model_logits(model, model(image[:8], training=False))
            checks.labels(label, image, num_classes=classes)
            if target is not None:
                checks.labels(target, image, num_classes=classes, name="target")
        else:
            checks.labels(label, image)
        image, label, mask = tf.convert_to_tensor(image), tf.cast(label, tf.int64), tf.cast(mask, tf.bool)
        target = None if target is None else tf.cast(target, tf.int64)
        index = tf.range(tf.shape(image)[0])
        return self.search(model, image, label, mask, seed=seed, index=index, target=target).image

    def search(self, model, image, label, mask, *, seed, index, target=None):
        """The loop: `restarts` times from a start point through `steps` steps. No checks; tensors only.

        Args:
            model, image: as in a call.
            label, target: int64 `(N,)`; `mask`: bool `(N, H, W, 1)`.
            seed: integer scalar; `index`: integers `(N,)` that tell the images' random numbers apart.

        Returns:
            A `Point`. With `keep="last"` its `loss` and `fooled` are not filled in.
        """
        start = start_function(type(self), self.random_start)

        def one_restart(restart, best):
            x = start(image, mask, self.eps, seed=seed, index=index, restart=restart)

            def one_step(k, x, best):
                loss, fooled, gradient = loss_and_gradient(model, x, label, target)
                best = best._replace(nonfinite=best.nonfinite | ~all_finite(gradient))
                if self.keep == "best":
                    best = better(best, x, loss, fooled, eligible=k > 0)  # the start is no candidate
                return k + 1, step(x, gradient, image, mask, self.eps, self.alpha), best

            _, x, best = tf.while_loop(lambda k, *_: k < self.steps, one_step, (tf.constant(0), x, best))
            if self.keep == "best":
                best = better(best, x, *loss_and_fooled(model, x, label, target))
            else:
                best = best._replace(image=x)
            return restart + 1, best

        nobody = tf.zeros_like(label, tf.bool)
        best = Point(image, tf.fill(tf.shape(label), -float("inf")), nobody, nobody)
        _, best = tf.while_loop(lambda r, _: r < self.restarts, one_restart, (tf.constant(0), best))
        return Point(*map(tf.stop_gradient, best))


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """The fast gradient sign method: one step of size `eps` uphill (Goodfellow et al. 2015, eq. 1), in the mask.

    x_adv = x + m · eps · sign(∇_x L(x, y))

    Args:
        eps: the budget, in pixel units of [0, 1].

    Raises:
        ValueError: if `eps` is not in [0, 1].

    Example:
        >>> print(FGSM(eps=8 / 255))
        FGSM, eps = 8/255
    """

    steps = 1
    restarts = 1
    random_start = False
    keep = "last"  # its one point is the best and the last

    @property
    def name(self):
        return "FGSM"

    @property
    def alpha(self):
        """The step size."""
        return self.eps


@keras.saving.register_keras_serializable("locadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent on the negative loss (Madry et al. 2018, eq. 4), in the mask.

    x^{k+1} = Π( x^k + m · alpha · sign(∇_x L(x^k, y)) ), Π the projection on the eps-ball around x and on [0, 1].

    Args:
        eps: the budget, in pixel units of [0, 1].
        steps: how many steps, at least 1.
        step_size: alpha; None: 2.5 eps / steps.
        random_start: start at a uniformly random point of the ball (else at the image).
        restarts: how often to start anew; more than one needs `random_start` and `keep="best"`.
        keep: `"best"` returns per image the best point that the steps reached (fooled before not fooled, then the
            higher loss); `"last"` the last one, as in the paper and in training.

    Raises:
        ValueError: for a budget, step size or count out of range, or restarts that could change nothing.

    Example:
        >>> attack = PGD(eps=0.1, steps=20)
        >>> print(attack, "· step size", attack.alpha)
        PGD-20, eps = 25.5/255 · step size 0.0125
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    keep: str = "best"

    def __post_init__(self):
        super().__post_init__()
        checks.count(self.steps, name="steps")
        checks.count(self.restarts, name="restarts")
        checks.choice(self.keep, ("best", "last"), name="keep")
        if self.step_size is not None:
            checks.fraction(self.step_size, name="step_size")
        if self.restarts > 1 and not (self.random_start and self.keep == "best"):
            raise ValueError(
                f"restarts={self.restarts} needs random_start=True and keep='best': every restart would else "
                "repeat the first one or be thrown away."
            )

    @property
    def name(self):
        return f"PGD-{self.steps}" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def alpha(self):
        """The step size in use."""
        return 2.5 * self.eps / self.steps if self.step_size is None else self.step_size


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
    alpha = 0.0

    def __post_init__(self):
        super().__post_init__()
        checks.count(self.restarts, name="restarts")

    @property
    def name(self):
        return "random noise" + (f"×{self.restarts}" if self.restarts > 1 else "")

    @property
    def keep(self):
        return "last" if self.restarts == 1 else "best"


# The parts of the loop. The engine runs the same parts, image by image.


def loss_and_gradient(model, x, label, target=None):
    """One forward and one backward pass at `x`.

    Returns:
        The loss that the attack raises, float32 `(N,)` (cross-entropy of the label, or minus that of the target);
        whether `x` fools the model, bool `(N,)`; and the gradient, float32 `(N, H, W, C)`, times `GRADIENT_SCALE`.

    Raises:
        ValueError: for a model that cuts the gradient off: zeros in its place would pass for robustness.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        loss, fooled = loss_and_fooled(model, x, label, target)
        total = GRADIENT_SCALE * tf.reduce_sum(loss)  # a sum: no image's gradient depends on its neighbours
    gradient = tape.gradient(total, x)
    if gradient is None:
        raise ValueError(
            "no gradient flows from the loss back to the image; expected a model that is differentiable in its input. "
            "Is there a tf.round, tf.argmax, tf.stop_gradient or NumPy in it? Attack a differentiable stand-in: see "
            "notebooks/05_evaluation_pitfalls.ipynb."
        )
    return loss, fooled, gradient


def loss_and_fooled(model, x, label, target=None):
    """One forward pass at `x`: the first two results of `loss_and_gradient`."""
    logits = model(x, training=False)  # batch-norm statistics do not move and dropout is off
    checks.model_logits(model, logits)
    logits = tf.cast(logits, tf.float32)
    predicted = tf.argmax(logits, axis=-1)
    if target is None:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        return loss, (predicted != label) | ~tf.math.is_finite(loss)  # NaN logits are no right answer
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits), predicted == target


def step(x, gradient, image, mask, eps, alpha):
    """One step of size `alpha` along the gradient's sign, projected; a pixel without a finite gradient stays."""
    direction = tf.where(tf.math.is_finite(gradient), tf.sign(gradient), 0.0)
    return project(x + alpha * direction, image, mask, eps)


def clipped_share(x, gradient, mask, alpha):
    """Per image the share of the mask's pixels whose step leads out of [0, 1] and is cut there, float32 `(N,)`."""
    moved = x + alpha * tf.sign(gradient)
    cut = tf.cast(mask & ((moved < 0.0) | (moved > 1.0)), tf.float32)
    area = tf.reduce_sum(tf.cast(mask, tf.float32), axis=[1, 2, 3]) * tf.cast(tf.shape(x)[-1], tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(cut, axis=[1, 2, 3]), area)


def project(x, image, mask, eps):
    """Π: to the eps-ball around `image`, to [0, 1], and back to `image`, bit for bit, where the mask is 0."""
    x = tf.clip_by_value(x, image - eps, image + eps)
    return tf.where(mask, tf.clip_by_value(x, 0.0, 1.0), image)


def better(best, x, loss, fooled, eligible=True):
    """Per image the better of `best` and the point `x`: fooled before not fooled, then the higher loss."""
    higher = (fooled == best.fooled) & ~(loss <= best.loss)  # so written that a NaN loss counts as high
    wins = eligible & ((fooled & ~best.fooled) | higher)
    return best._replace(
        image=tf.where(wins[:, None, None, None], x, best.image),
        loss=tf.where(wins, loss, best.loss),
        fooled=tf.where(wins, fooled, best.fooled),
    )


def start_function(kind, random_start):
    """Where an attack of this class starts: `(image, mask, eps, *, seed, index, restart)` to a point `(N, H, W, C)`."""
    if not random_start:
        return lambda image, *_, **__: tf.identity(image)
    coins = issubclass(kind, RandomNoise)

    def start(image, mask, eps, *, seed, index, restart):
        noise = uniform(tf.shape(image), fold_in(fold_in(fold_in(0, seed), index), restart))
        noise = tf.sign(noise - 0.5) if coins else 2.0 * noise - 1.0
        return project(image + eps * noise, image, mask, eps)

    return start


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
    checks.choice(region, checks.REGIONS, name="region")
    mask = tf.cast(mask, tf.bool)
    return {"background": mask, "foreground": ~mask, "full": tf.ones_like(mask)}[region]


def all_finite(gradient):
    """Whether every entry of an image's gradient is finite, bool `(N,)`."""
    return tf.reduce_all(tf.math.is_finite(gradient), axis=[1, 2, 3])


def eps_255(eps):
    """A budget as it is printed: in grey levels of 255.

    Example:
        >>> eps_255(0.1)
        '25.5/255'
    """
    return f"{255 * eps:.4g}/255"
