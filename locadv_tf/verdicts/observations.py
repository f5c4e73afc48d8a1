"""What the verdicts judge: an attack's output on some images.

An attack is one of the kit's or any callable `attack(model, image, label, mask=, seed=)` that returns images. In a
dataclass or a `functools.partial` the checks can change `eps`, `steps` and the like. Other attacks skip the checks that
need this. An attack is judged by its output, not by what it says about itself. The one exception is the attribute
`uses_gradient`: the output does not show whether an attack follows the gradient.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from statsmodels.stats.proportion import binom_test

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.loop import image_key
from locadv_tf.attacks.pgd import FGSM, PGD
from locadv_tf.attacks.regions import allowed
from locadv_tf.attacks.square import Square
from locadv_tf.data.batches import to_arrays
from locadv_tf.engine.stream import run_attack
from locadv_tf.verdicts.variants import knob, uses_gradient

LEVEL = 0.01  # of the one-sided exact tests: the highest probability that a sound evaluation fails one by chance
TOLERANCE, FEW = 0.02, 2  # a stronger attack must fool more images than this share and this number
QUERIES = 200  # of the black-box attack: enough to notice hidden gradients


class Attacked(NamedTuple):
    """An attack's output: `image` (N, H, W, C); `clipped` (N,) or None; whether the attack changed the weights."""

    image: np.ndarray
    clipped: np.ndarray | None
    weights_moved: bool


class Comparison(NamedTuple):
    """Two attacks on the same images: how many images only one of them fools; whether the other one is stronger."""

    only_attack: int
    only_other: int
    unseen: int  # how many more images the other one may fool without counting as stronger
    beaten: bool


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """A model, an attack and some images, and what was found out about them. Each result is computed once.

    Attributes:
        model: a Keras model, float32 images in [0, 1] to logits; `surrogate`: another model for the same classes, or
            None.
        attack: see the module; `eps`, `norm`: its budget.
        image: float32 `(N, H, W, C)`; `label`: int64 `(N,)`; `mask`: bool `(N, H, W, 1)`, true where the
            attack may change the pixel.
        seed: integer that all random numbers follow from; `batch_size`: images at a time.
    """

    model: object
    attack: object
    eps: float
    norm: str
    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    surrogate: object
    seed: int
    batch_size: int

    def __len__(self):
        return len(self.label)

    def logits(self, images, *, batch_size=None):
        """The model's logits, `(N, classes)`, computed batch by batch."""
        parts = _slices(images, batch_size or self.batch_size)
        return np.concatenate([self.model(part, training=False) for part in parts])

    def right(self, images):
        """Which images the model gets right, bool `(N,)`. Logits that are not finite are a wrong answer."""
        return self._right(self.logits(images))

    def _right(self, logits):
        return (np.argmax(logits, axis=-1) == self.label) & np.isfinite(logits).all(axis=-1)

    @functools.cached_property
    def natural_logits(self):
        return self.logits(self.image)

    @functools.cached_property
    def natural_right(self):
        return self._right(self.natural_logits)

    @functools.cached_property
    def attacked(self):
        return self._attack(self.attack, self.model, self.mask, "fooled")

    @functools.cached_property
    def attacked_right(self):
        return self.right(self.attacked.image)

    def right_under(self, attack, *, mask=None):
        """Which images the model gets right under another attack, bool `(N,)`."""
        return self.right(self.output(attack, mask=mask))

    def output(self, attack, *, mask=None):
        """The same images after another attack, `(N, H, W, C)`."""
        return self._attack(attack, self.model, self.mask if mask is None else mask, "fooled").image

    # Which images simpler attacks leave right, bool `(N,)`. None: there is no such attack here.

    @functools.cached_property
    def noise_right(self):
        return self.right(self.noise)

    @functools.cached_property
    def single_step_right(self):
        return self.right_under(FGSM(eps=self.eps, norm=self.norm))

    @functools.cached_property
    def black_box_right(self):
        return self.right_under(Square(eps=self.eps, queries=QUERIES)) if self.norm == "linf" else None

    @functools.cached_property
    def transfer_right(self):
        """Under images that were made for the surrogate; None also if the surrogate has no gradient."""
        if self.surrogate is None or (gradient := self._gradient(self.surrogate)) is None or not gradient.any():
            return None
        attack = PGD(eps=self.eps, steps=20, norm=self.norm)
        return self.right(self._attack(attack, self.surrogate, self.mask, "worst").image)

    def _attack(self, attack, model, mask, stop):
        before, clipped = model.get_weights(), None
        if not isinstance(attack, Attack):
            parts = zip(*(_slices(part, self.batch_size) for part in (self.image, self.label, mask)), strict=True)
            image = np.concatenate([call(attack, model, *part, seed=self.seed) for part in parts])
        elif model is self.model and self.gradient is None and uses_gradient(attack):
            image = self.image  # no gradient: the attack has no direction
        else:
            settings = {"seed": self.seed, "batch_size": self.batch_size, "stop": stop}
            result = run_attack(model, (self.image, self.label, mask), attack, region=None, **settings)
            image, clipped = result.images, result.clipped
        moved = not all(map(np.array_equal, before, model.get_weights()))
        if moved:  # the next check gets the original model
            model.set_weights(before)
        return Attacked(image, clipped, moved)

    @functools.cached_property
    def gradient(self):
        """The gradient of the attack's loss at the images, `(N, H, W, C)`; None if the model cuts it off."""
        return self._gradient(self.model)

    @functools.cached_property
    def open(self):
        """Which images the attack can fool, bool `(N,)`: they are right, and their masks are not empty."""
        return self.mask.any(axis=(1, 2, 3)) & self.natural_right

    @functools.cached_property
    def blind(self):
        """Which of the `open` images have no gradient in the mask, bool `(N,)`: exactly 0, not finite, or cut off."""
        if self.gradient is None:
            return self.open
        inside = np.where(self.mask, self.gradient, 0.0)
        return self.open & ~((inside != 0) & np.isfinite(inside)).any(axis=(1, 2, 3))

    def _gradient(self, model):
        climb, found = getattr(self.attack, "loss", "cross-entropy"), []
        climb = climb if climb in losses.LOSSES else "cross-entropy"
        for image, label in zip(*(_slices(part, self.batch_size) for part in (self.image, self.label)), strict=True):
            label = tf.constant(label)
            _, gradient = losses.input_gradient(
                model, tf.constant(image), lambda z, label=label: (losses.judged(z, label, climb=climb).value, None)
            )
            if gradient is None:
                return None
            found.append(gradient.numpy())
        return np.concatenate(found)

    @functools.cached_property
    def noise(self):
        """Random noise of the attack's budget: each pixel moves by ±eps (L2: a random direction of length eps)."""
        image, mask = tf.constant(self.image), tf.constant(self.mask)
        key = image_key(self.seed, tf.range(len(self)), 0)
        return balls.surface_point(image, mask, self.eps, key, self.norm).numpy()


def gather(model, data, attack, *, region, eps, surrogate, seed, batch_size):
    """The `Evidence` for the arguments of `verdicts.check`.

    Raises:
        ValueError: for bad input.
    """
    judges = {"model": model} | ({} if surrogate is None else {"surrogate": surrogate})
    for name, judged in judges.items():
        validation.model(judged, name=name)
    if not callable(attack):
        raise ValueError(f"attack={attack!r}; expected an attack, for example PGD(eps=0.1), or another callable.")
    validation.choice(region, validation.REGIONS, name="region")
    validation.seed(seed)
    validation.count(batch_size, name="batch_size")
    norm = validation.choice(knob(attack, "norm") or "linf", balls.NORMS, name="norm")
    eps = knob(attack, "eps") if eps is None else eps
    if eps is None:
        raise ValueError("the attack has no eps; expected a budget. Pass it to the check: eps=8/255, for example.")
    if validation.fraction(eps, name="eps", high=balls.LARGEST[norm]) == 0:
        raise ValueError("eps=0 changes nothing; expected a budget above 0.")
    image, label, background = to_arrays(data)
    if not len(label):
        raise ValueError("the data holds no images; expected at least one.")
    for name, judged in judges.items():
        validation.weights(judged, name=name)
        classes = validation.model_logits(judged, judged(image[:8], training=False))
        validation.labels(label, image, num_classes=classes)
    mask = allowed(background, image, region).numpy()
    given = {"model": model, "attack": attack, "image": image, "label": label, "mask": mask, "surrogate": surrogate}
    return Evidence(eps=float(eps), norm=norm, seed=seed, batch_size=batch_size, **given)


def compare(right, other_right):
    """Whether another attack is stronger: it fools more images, by more than `TOLERANCE` of all and more than `FEW`.

    This is not a test of significance. A legal attack fools these images, so an accuracy that counts them as right is
    too high. Other images cannot change that.

    Args:
        right, other_right: bool `(N,)`, which images the model gets right under the attack and under the other.

    Example:
        >>> compare(np.ones(100, bool), np.arange(100) >= 3)
        Comparison(only_attack=0, only_other=3, unseen=2, beaten=True)
        >>> compare(np.ones(100, bool), np.arange(100) >= 2).beaten
        False
    """
    only_attack, only_other = int(np.sum(~right & other_right)), int(np.sum(right & ~other_right))
    unseen = max(FEW, math.floor(TOLERANCE * len(right) + 1e-9))
    return Comparison(only_attack, only_other, unseen, only_other - only_attack > unseen)


def p_at_least(hits, n, share):
    """The exact probability of at least `hits` hits in `n` trials, each with probability `share`.

    Example:
        >>> p_at_least(7, 7, 0.5)
        0.0078125
    """
    return float(binom_test(hits, n, share, alternative="larger")) if n else 1.0


def call(attack, model, image, label, mask, *, seed):
    """The output of any attack on a batch, a float32 array.

    Raises:
        ValueError: if it returns anything but images of the same shape.
    """
    given = tf.constant(image), tf.constant(label)
    out = np.asarray(attack(model, *given, mask=tf.constant(mask, tf.float32), seed=seed))
    if out.shape != image.shape:
        raise ValueError(f"the attack returned shape {out.shape}; expected the shape of the images, {image.shape}.")
    return out.astype(np.float32)


def _slices(values, size):
    return [values[first : first + size] for first in range(0, len(values), size)]
