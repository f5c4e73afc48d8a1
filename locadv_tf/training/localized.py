"""Localized adversarial training (Rothberg et al. 2019, arXiv:1909.04779): a `keras.Model` with its own `train_step`.

It wraps a classifier, trains it on natural and background-adversarial images together, and leaves an ordinary Keras
model behind, `defended.classifier`. The controls are the same class with other arguments: adversarial training with
`region="full"`, noise training with a `RandomNoise` as its attack, natural training with `share=0`.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.attack import check_attack
from locadv_tf.attacks.randomness import fold_in
from locadv_tf.attacks.regions import allowed

_LEAVES_LOGITS = "the classifier returns logits; use SparseCategoricalCrossentropy(from_logits=True)."

NO_HALVES = (
    "share={share:g} of a batch of one image leaves the natural or the adversarial part without an image; expected "
    "batches of two or more. Raise batch_size, or take share=0 or share=1."
)


@keras.saving.register_keras_serializable("locadv_tf")
class LocalizedAdversarialTraining(keras.Model):
    """Trains a classifier on natural and adversarial images together: the first `share` of each batch is attacked.

    Both kinds of images go through one forward pass. Shuffle the data anew in each epoch: then every image takes its
    turn in both roles.

    Logs, in training and with `val_` in validation: `natural_loss`, `natural_accuracy`, `adversarial_loss` and
    `adversarial_accuracy`, cross-entropy and accuracy on the two kinds of images (in training on the batch's parts,
    with dropout and batch normalization in training mode; a part that `share` leaves empty is not logged); `loss`,
    the objective; and the compiled metrics, in training on the mixed batch, in validation on natural images.
    Validation attacks every image, each time with the same random numbers.

    `EarlyStopping("val_adversarial_accuracy", mode="max")` needs its `mode`: Keras knows only its own metrics'. After
    `BackupAndRestore` the attack goes on with the random numbers of an uninterrupted run; `Dataset.shuffle`, which is
    not part of the model, starts over.

    Args:
        classifier: a built Keras model, float32 images in [0, 1] to logits. Its weights are trained in place.
        attack: an attack object, `PGD(eps=0.1, steps=5, keep="last")` say; `RandomNoise` for noise training.
        region: where the attack may change an image: `"background"` (LAT), `"full"` (AT) or `"foreground"`.
        share: fraction of each batch that is attacked, from 0 (natural training) to 1 (Madry et al. 2018). Between
            them each part gets at least one image; a last batch that is one image alone is attacked.
        seed: integer that the attack's random numbers follow from, together with a saved count of steps.
        kwargs: `name`, as for any Keras model.

    Raises:
        ValueError: for a classifier that is not built or ends in softmax, an unknown region, or a share out of range;
            in training for batches of one image with a share between 0 and 1.

    Example:
        >>> import locadv_tf as la
        >>> train = la.load_data("digits", split="train[:256]")
        >>> defended = LocalizedAdversarialTraining(
        ...     la.small_cnn(input_shape=(28, 28, 1), num_classes=10), attack=la.PGD(eps=0.1, steps=2, keep="last"))
        >>> defended.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = defended.fit(train.batch(64), shuffle=False, verbose=0)
        >>> sorted(history.history)
        ['adversarial_accuracy', 'adversarial_loss', 'loss', 'natural_accuracy', 'natural_loss']
    """

    def __init__(self, classifier, *, attack, region="background", share=0.5, seed=0, **kwargs):
        if not isinstance(classifier, keras.Model):
            raise ValueError(f"classifier={classifier!r}; expected a Keras model that returns logits.")
        if not classifier.built:
            raise ValueError(
                "the classifier is not built; call it once on a batch of images, or start it with an Input."
            )
        _check_logits(classifier)
        validation.choice(region, validation.REGIONS, name="region")
        validation.seed(seed)
        check_attack(attack)
        share = validation.fraction(share, name="share")
        # So that `compile` scales the loss. The layers are asked: a loaded Sequential model forgets its own policy.
        mixed = (x.dtype_policy for x in classifier.layers if x.dtype_policy.name == "mixed_float16")
        kwargs.setdefault("dtype", next(mixed, classifier.dtype_policy))
        super().__init__(autocast=False, **kwargs)  # images stay float32 until they reach the classifier
        self.classifier, self.attack, self.region, self.share, self.seed = classifier, attack, region, share, seed
        self.step_count = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="step_count",
            aggregation="only_first_replica",
        )  # fmt: skip
        names = ("natural_loss", "natural_accuracy", "adversarial_loss", "adversarial_accuracy")
        self.trackers = [keras.metrics.Mean(name=name) for name in names]
        self.built = True  # BackupAndRestore saves the weights before the first batch

    @property
    def passes_per_image(self):
        """Forward and backward passes per image and epoch; natural training takes 1."""
        return passes_per_image(self.attack, self.share)

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`, which needs images and weights that can change.

        Raises:
            ValueError: for a classifier whose weights are all frozen, or data without images.
        """
        if not self.classifier.trainable_weights:
            raise ValueError(
                "the classifier has no trainable weights, so training would change nothing; expected some. Set "
                "classifier.trainable = True, and layer.trainable = True for its layers."
            )
        some = next(iter(x.values()), None) if isinstance(x, dict) else x
        count = int(x.cardinality()) if isinstance(x, tf.data.Dataset) else (getattr(some, "shape", None) or [None])[0]
        if count == 0:
            raise ValueError("the training data holds no images; expected at least one. Check the split or the filter.")
        return super().fit(x, *args, **kwargs)

    def compile(self, optimizer="adam", loss=None, *, jit_compile=False, **kwargs):
        """`keras.Model.compile`, with two differences.

        It refuses losses that expect probabilities: the classifier returns logits. And it leaves XLA off: Keras's own
        default, `jit_compile="auto"`, takes XLA on a GPU, where it failed on this step (benchmarks/RESULTS_GPU.md).

        Raises:
            ValueError: for a loss that expects probabilities.
        """
        if loss is not None and not _takes_logits(keras.losses.get(loss) if isinstance(loss, str) else loss):
            raise ValueError(f"loss={loss!r} expects probabilities; {_LEAVES_LOGITS}")
        super().compile(optimizer, loss, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config):
        # `load_model` leaves this to the class that overrides `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=False):
        image = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.classifier(image, training=training)

    def train_step(self, data):
        image, allowed, label, sample_weight = self._unpack(data)
        self.step_count.assign_add(1)

        # The first part of the batch is replaced by its adversarial version.
        n = _part(self.share, image)
        seed = fold_in(fold_in(self.seed, self.step_count), _replica())
        mixed = image
        if self.share > 0:
            adversarial = self.attack(self.classifier, image[:n], label[:n], mask=allowed[:n], seed=seed)
            mixed = tf.concat([adversarial, image[n:]], axis=0)

        # From here on this is Keras's own training step.
        with tf.GradientTape() as tape:
            logits = self.classifier(mixed, training=True)
            loss = self.compute_loss(x=mixed, y=label, y_pred=logits, sample_weight=sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.classifier.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights, strict=True))

        weight = tf.ones_like(label, tf.float32) if sample_weight is None else sample_weight
        parts = {"natural": slice(n, None), "adversarial": slice(None, n)}
        for name, part in parts.items():
            self._track(name, label[part], logits[part], weight[part])
        logs = self._logs(loss, label, logits, sample_weight)
        empty = {0.0: "adversarial", 1.0: "natural"}.get(self.share, " ")
        return {name: value for name, value in logs.items() if not name.startswith(empty)}

    def test_step(self, data):
        image, allowed, label, sample_weight = self._unpack(data)
        weight = tf.ones_like(label, tf.float32) if sample_weight is None else sample_weight
        adversarial = self.attack(self.classifier, image, label, mask=allowed, seed=self.seed)
        logits, losses = {}, {}
        for name, x in {"natural": image, "adversarial": adversarial}.items():
            logits[name] = self.classifier(x, training=False)
            self._track(name, label, logits[name], weight)
            # At once: what layers add to the loss is that of the classifier's last call.
            losses[name] = self.compute_loss(
                x=x, y=label, y_pred=logits[name], sample_weight=sample_weight, training=False
            )
        loss = (1 - self.share) * losses["natural"] + self.share * losses["adversarial"]
        return self._logs(loss, label, logits["natural"], sample_weight)

    def _unpack(self, data):
        inputs, label, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(inputs, dict):
            image, mask = inputs["image"], inputs.get("mask")
        else:
            image, mask = inputs, None
        if label is None:
            raise ValueError("the true labels are needed; expected batches of ({'image', 'mask'}, label).")
        validation.images(image)
        validation.labels(label, image)
        if mask is not None:
            validation.masks(mask, image)
        return image, allowed(mask, image, self.region), tf.cast(label, tf.int64), sample_weight

    def _track(self, name, label, logits, weight):
        logits = tf.cast(logits, tf.float32)
        values = {
            f"{name}_loss": tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits),
            f"{name}_accuracy": tf.argmax(logits, axis=-1) == label,
        }
        for tracker in self.trackers:
            if tracker.name in values:
                tracker.update_state(values[tracker.name], sample_weight=weight)

    def _logs(self, loss, label, logits, sample_weight):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for metric in self.metrics:
            if metric.name == "loss":  # compute_loss divided by the number of replicas, whose means are summed
                metric.update_state(loss * replicas, sample_weight=tf.shape(label)[0])
        return self.compute_metrics(None, label, logits, sample_weight)

    def get_config(self):
        return {
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "attack": keras.saving.serialize_keras_object(self.attack),
            "region": self.region,
            "share": self.share,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("classifier", "attack")
        }
        return cls(**(config | parts))


def passes_per_image(attack, share):
    """Forward and backward passes per image and epoch of a training; natural training (`share=0`) takes 1.

    Args:
        attack: an attack object; `share`: the fraction of each batch that it gets, 0 to 1.

    Example:
        >>> from locadv_tf.attacks.pgd import PGD
        >>> passes_per_image(PGD(eps=0.1, steps=5), share=0.5)
        3.5
    """
    return 1 + share * attack.steps * attack.runs * attack.samples


def _takes_logits(loss):
    """Whether a loss may be given logits: it has no `from_logits`, or that is on."""
    if inspect.isfunction(loss):
        default = inspect.signature(loss).parameters.get("from_logits")
        return default is None or default.default is not False
    return getattr(loss, "from_logits", True) is not False


def _check_logits(classifier):
    """Asks the classifier once, about noise: a softmax may hide where no layer's name tells of it."""
    shape = getattr(classifier, "input_shape", None)
    if not isinstance(shape, tuple):
        raise ValueError(
            f"the classifier is {type(classifier).__name__} with input shape {shape}; expected a Sequential or "
            "functional model of one input. Your own: keras.Model(x, model(x)) with x = keras.Input(image_shape)."
        )
    sides = (side or 224 for side in shape[1:])  # any would do that no pooling shrinks to nothing
    image = np.random.default_rng(0).random((1, *sides), np.float32)
    validation.model_logits(classifier, classifier(image, training=False))


def _part(share, image):
    """How many images are `share` of this batch; a share between 0 and 1 leaves neither part without an image.

    Of two images or more, that is: the only image of a batch, the last one of an epoch say, is attacked.
    """
    n = image.shape[0]
    if n == 1 and 0 < share < 1 and not tf.executing_eagerly():  # eagerly it may be but the last batch of an epoch
        raise ValueError(NO_HALVES.format(share=share))
    if n is not None:  # a plain number where the shape is known, as XLA needs it
        part = int(share * n + 0.5)
        return part if share in (0, 1) else max(1, min(part, n - 1))
    n = tf.shape(image)[0]
    part = tf.cast(share * tf.cast(n, tf.float64) + 0.5, tf.int32)
    return part if share in (0, 1) else tf.maximum(1, tf.minimum(part, n - 1))


def _replica():
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context is not None else 0
