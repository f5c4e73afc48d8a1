"""What the verdicts judge: an attack's output on some images.

An attack is one of the kit's or any callable `attack(model, image, label, mask=, seed=)` that returns images. In a
dataclass or a `functools.partial` the checks can change `eps`, `steps` and the like. Other attacks skip the checks that
need this. An attack is judged by its output, not by what it says about itself. The one exception is the attribute
`uses_gradient`: the output does not show whether an attack follows the gradient.
"""

import contextlib
import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import Attack
from locadv_tf.attacks.loop import image_key
from locadv_tf.attacks.pgd import FGSM, PGD
from locadv_tf.attacks.regions import allowed
from locadv_tf.attacks.square import Square
from locadv_tf.data.batches import to_arrays
from locadv_tf.engine.stream import run_attack
from locadv_tf.verdicts.pass_or_fail import equal
from locadv_tf.verdicts.variants import option, options, uses_gradient
from locadv_tf.verdicts.way import Way, climb_on, is_right

QUERIES = 200  # of the black-box attack: enough to notice hidden gradients
MORE_STEPS = 10  # from where the attack ended


class Attacked(NamedTuple):
    """An attack's output.

    Attributes:
        image: float32 `(N, H, W, C)`; clipped: `(N,)`, or None where nobody counted.
        passed: bool `(N,)`, whether the attack passed a point that fools, handed in or not; None where nobody saw.
        weights_moved: whether the attack changed the model's weights.
    """

    image: np.ndarray
    clipped: np.ndarray | None
    passed: np.ndarray | None
    weights_moved: bool


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Observations:
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

    def right(self, images, first=None):
        """Which images the model gets right, bool `(N,)`: in most of `samples` looks, of which one may be there."""
        looks = [self.logits(images) if first is None else first]
        looks += [self.logits(images) for _ in range(self.samples - 1)]
        return 2 * np.sum([is_right(logits, self.label) for logits in looks], axis=0) > self.samples

    @property
    def samples(self):
        """How many looks at the model the attack takes at a time: more than one for a nondeterministic model."""
        return option(self.attack, "samples") if "samples" in options(self.attack) else 1

    @functools.cached_property
    def natural_logits(self):
        return self.logits(self.image)

    @functools.cached_property
    def natural_right(self):
        return self.right(self.image, self.natural_logits)

    @functools.cached_property
    def deterministic(self):
        """Whether the model gives the same logits for the same batch, up to rounding; not if they are not finite."""
        return equal(self.natural_logits, self.logits(self.image))

    @functools.cached_property
    def attacked(self):
        return self._attack(self.attack, self.model, self.mask, "fooled", watch=True)

    @functools.cached_property
    def attacked_logits(self):
        return self.logits(self.attacked.image)

    @functools.cached_property
    def attacked_right(self):
        return self.right(self.attacked.image, self.attacked_logits)

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

    def _attack(self, attack, model, mask, stop, *, watch=False):
        before, clipped, passed = model.get_weights(), None, None
        if not isinstance(attack, Attack):
            parts = zip(*(_slices(part, self.batch_size) for part in (self.image, self.label, mask)), strict=True)
            found, ways = [], []
            for part in parts:
                ways.append(Way(*part, eps=self.eps, norm=self.norm))
                with ways[-1].watched(model) if watch else contextlib.nullcontext():
                    found.append(call(attack, model, *part, seed=self.seed))
            image = np.concatenate(found)
            if all(way.looks for way in ways):
                passed = np.concatenate([way.fooled for way in ways])
        elif model is self.model and self.gradient is None and uses_gradient(attack):
            image = self.image  # no gradient: the attack has no direction
        else:
            # A lucky look fools the attack itself: it would leave a nondeterministic model at the first one.
            stop = stop if self.deterministic else "worst"
            settings = {"seed": self.seed, "batch_size": self.batch_size, "stop": stop}
            result = run_attack(model, (self.image, self.label, mask), attack, region=None, **settings)
            image, clipped, passed = result.images, result.clipped, result.fooled
        moved = not all(map(np.array_equal, before, model.get_weights()))
        if moved:  # the next check gets the original model
            model.set_weights(before)
        return Attacked(image, clipped, passed, moved)

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

    @functools.cached_property
    def unfinished(self):
        """How much of its climb each image had still before it; NaN where it was fooled or has no gradient.

        The climb is the loss from the natural image to the highest one in `MORE_STEPS` steps from where the attack
        ended; still before it: the share of the climb above that end. Float `(N,)`, in [0, 1].
        """
        shares = np.full(len(self), np.nan)
        climbing = np.flatnonzero(self.open & self.attacked_right & ~self.blind)
        for some in _slices(climbing, self.batch_size):
            image, label, mask = self.image[some], self.label[some], self.mask[some]
            settings = {"eps": self.eps, "norm": self.norm, "climb": self.climbed, "steps": MORE_STEPS}
            end, best = climb_on(self.model, self.attacked.image[some], image, label, mask, **settings)
            natural = tf.nn.sparse_softmax_cross_entropy_with_logits(label, self.natural_logits[some]).numpy()
            climb = best - np.minimum(natural, end)
            shares[some] = np.divide(best - end, climb, out=np.zeros_like(climb), where=climb > 0)
        return shares

    @property
    def climbed(self):
        """The loss that the attack climbs, as far as it is known."""
        loss = getattr(self.attack, "loss", None)
        return loss if loss in losses.LOSSES else "cross-entropy"

    def _gradient(self, model):
        climb, found = self.climbed, []
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
    """The `Observations` for the arguments of `verdicts.check`.

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
    norm = validation.choice(option(attack, "norm") or "linf", balls.NORMS, name="norm")
    eps = option(attack, "eps") if eps is None else eps
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
    return Observations(eps=float(eps), norm=norm, seed=seed, batch_size=batch_size, **given)


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
