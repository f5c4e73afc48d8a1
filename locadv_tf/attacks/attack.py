"""What an attack object is: its fields, its call on a batch, how it is printed and saved. The loop is in `loop.py`."""

import dataclasses

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, loop, losses
from locadv_tf.units import eps_255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """The base of all attacks. A method adds its fields, and `start`, `memory` and `step` for the loop."""

    eps: float

    # What a method may replace, by a class attribute, a field or a property.
    steps = 1
    restarts = 1
    targets = 0
    keep = "best"
    norm = "linf"
    loss = "cross-entropy"
    uses_gradient = True
    samples = 1
    # The fields whose values reach `step` in the `Task` alone. A compiled step depends on all other fields, also on
    # those that a subclass adds.
    in_task = ()

    def __post_init__(self):
        eps = validation.fraction(self.eps, name="eps", high=balls.LARGEST[self.norm])
        object.__setattr__(self, "eps", eps)

    # What a method is to the loop.

    def start(self, task):
        """The point where a run starts, `(N, H, W, C)`, before the loop projects it."""
        return task.image

    def memory(self, model, task, run, x):
        """What the method remembers from step to step, at the start `x` of a run: tensors with an entry per image."""
        return ()

    def step(self, task, s, seen):
        """One step: the next point before the loop projects it, and the new memory.

        Args:
            task: the `Task`; s: the `Search` at the present point `s.x`.
            seen: the model's `Response` there. Its gradient is finite, and 0 where no change is allowed.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no steps")

    def aim(self, s):
        """int64 `(N,)`: the class to climb towards where any wrong one will do; None: no class in particular."""
        return None

    def step_size_at(self, eps):
        """The step size for a budget, a number or an array."""
        return 0.0 * eps

    # What follows from the fields.

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
        """This attack with the fields of `in_task` at their defaults (eps at 0): what a compiled step depends on."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | {"eps": 0.0}
        return dataclasses.replace(self, **{name: defaults[name] for name in self.in_task if name in defaults})

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
        validation.model(model)
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
        return loop.search(self, model, image, label, mask, seed=seed, index=index, target=target).image


def check_attack(attack):
    """Checks that this is an attack object and returns it; `ValueError` for anything else, a class or a name say."""
    if not isinstance(attack, Attack):
        raise ValueError(f"attack={attack!r}; expected an attack object, PGD(eps=0.1) say.")
    return attack
