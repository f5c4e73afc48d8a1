"""A test of the attack itself, on images for which an adversarial image certainly exists.

After Zimmermann et al. (2022, arXiv:2206.13991). The model gets a new last layer. For this layer one point inside the
attack's ball is adversarial: an attack that finds nothing is broken. Zimmermann et al. train a classifier of points.
Here the layer is a threshold on a direction in the space of the logits. It needs no training and nothing inside the
model.
"""

import keras
import numpy as np
import tensorflow as tf

from locadv_tf.attacks import balls
from locadv_tf.attacks.loop import image_key
from locadv_tf.engine.kept import kept_on

DRAWS = 64  # random points per image; one of them is planted


class Planted(keras.Model):
    """A model whose class is 1 beyond a threshold on a direction of another model's logits, else 0.

    Each image has its own direction and threshold. The model uses those of one image at a time, for the whole batch:
    an attack may put many copies of its image into a batch.

    Args:
        model: the model, float32 images in [0, 1] to logits `(N, classes)`.
        images: for how many images there is room; classes: of the model.
    """

    def __init__(self, model, images, classes):
        super().__init__()
        self.model = model
        # Variables, not numbers: what is compiled for this model then works for every image, and for the next plants.
        shapes = {"direction": (images, classes), "threshold": (images,), "unit": (images,)}
        state = {"initializer": "zeros", "trainable": False}
        self.readout = [self.add_weight(shape=shape, name=name, **state) for name, shape in shapes.items()]
        self.place = self.add_weight(shape=(), dtype="int64", name="place", **state)

    def aim(self, direction, threshold, unit):
        """This model with other thresholds: float32 `(n, classes)`, `(n,)` and `(n,)`, for as many images as there is
        room, or fewer. A score is 0 at the threshold and 1 at one unit above it."""
        for weight, values in zip(self.readout, (direction, threshold, unit), strict=True):
            room = [(0, weight.shape[0] - len(values))] + [(0, 0)] * (np.ndim(values) - 1)
            weight.assign(np.pad(np.asarray(values, np.float32), room, constant_values=1))
        return self

    def of(self, place):
        """This model, set to the image at that place."""
        self.place.assign(place)
        return self

    def call(self, x, training=False):
        logits = tf.cast(self.model(x, training=training), tf.float32)
        direction, threshold, unit = (tf.gather(values, self.place) for values in self.readout)
        score = ((tf.reduce_sum(direction * logits, axis=-1) - threshold) / unit)[:, None]
        # As many classes as before, for attacks that count them. The new ones follow the score: no loss is flat.
        others = score - 3.0 + tf.zeros(logits.shape[-1] - 2)
        return tf.concat([tf.zeros_like(score), score, others], axis=-1)


def plant(model, image, mask, *, eps, norm, seed):
    """Plants an adversarial image for each image whose logits differ between random points of the ball.

    `DRAWS` random points on the ball's surface are drawn. The point that stands out most in some direction is planted.
    Only this point lies beyond the threshold; the other points and the image do not.

    Args:
        model: as for `Planted`; image: float32 `(N, H, W, C)`; mask: bool `(N, H, W, 1)`.
        eps, norm: the ball; `seed`: an integer.

    Returns:
        `(planted, which, points)`: a `Planted` model for the images `which` (bool `(N,)`), and the planted images. A
        place in the model is the image's position among the images of `which`. The next call aims the same object anew:
        it is kept on the model, with all that is compiled for it.
    """

    def surface(draw):  # one number, or one per image; drawing again saves memory
        key = image_key(seed, tf.range(len(image)), draw)
        return balls.surface_point(tf.constant(image), tf.constant(mask), eps, key, norm)

    see = tf.function(lambda draw: model(surface(draw), training=False), autograph=False)
    seen = [*map(see, tf.range(DRAWS)), model(image, training=False)]
    logits = np.stack([np.asarray(part, np.float64) for part in seen], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # equal points; logits that are not finite
        ways = logits[:, :DRAWS] - logits[:, :DRAWS].mean(axis=1, keepdims=True)
        ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
        scores = ways @ logits.transpose(0, 2, 1)  # (N, way, point): how far each point lies along each way
    scores = np.nan_to_num(scores, nan=-1.0, posinf=-1.0, neginf=-1.0)
    own = np.diagonal(scores[..., :DRAWS], axis1=1, axis2=2)
    rest = np.where(np.eye(DRAWS, DRAWS + 1, dtype=bool), -np.inf, scores).max(axis=-1)
    best = (own - rest).argmax(axis=1)
    at = np.arange(len(image)), best
    top, next_best = own[at], rest[at]
    which = top - next_best > 1e-4 * np.nan_to_num(np.abs(logits)).max(axis=(1, 2)) + 1e-6  # else equal in float32
    room = len(image), logits.shape[-1]
    planted = kept_on(model, ("planted", *room), lambda: Planted(model, *room))
    planted.aim(ways[at][which], ((top + next_best) / 2)[which], ((top - next_best) / 2)[which])
    return planted, which, surface(best).numpy()[which]
