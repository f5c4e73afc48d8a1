"""How the kit trains every classifier: the table of trainings, and the loop around `LocalizedAdversarialTraining`."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from locadv_tf.attacks.attack import check_attack
from locadv_tf.attacks.pgd import PGD, RandomNoise
from locadv_tf.data.batches import readable, to_arrays
from locadv_tf.data.masks import random
from locadv_tf.data.memory import fits
from locadv_tf.training.localized import NO_HALVES, LocalizedAdversarialTraining, passes_per_image
from locadv_tf.training.optimizers import KeepAverages, averages, optimizer_named
from locadv_tf.training.pipeline import batched
from locadv_tf.validation import choice, count, fraction
from locadv_tf.validation import labels as check_labels

BLOBS = 2.0  # smoothness of the random masks: blobs, as a background is; a convolution averages single pixels away


class Training(NamedTuple):
    """A row of `TRAININGS`: what becomes of the first part of each batch, and for how long.

    Attributes:
        replaced_by: what takes that part's place: "attack", the images attacked; "noise", the images with random noise
            of the attack's eps; None, nothing: all images stay natural.
        region: where the images may change, as for `LocalizedAdversarialTraining`.
        masks: "data", the masks that came with the images, or "random", of the same areas and blind to the image.
        equal_compute: whether the epochs are as many as take the passes of "LAT".
    """

    replaced_by: str | None
    region: str = "background"
    masks: str = "data"
    equal_compute: bool = False


TRAININGS = {
    "natural": Training(None),  # what the paper's abstract compares with
    "natural, equal compute": Training(None, equal_compute=True),  # would more natural training do as well?
    "noise": Training("noise"),  # would any disturbance of the background do?
    "random mask": Training("attack", masks="random"),  # would an attack on any place of that area do?
    "LAT": Training("attack"),
    "AT": Training("attack", region="full"),  # is it good to leave the foreground alone?
}


def recipe(name, train, *, attack, validation=None, share=0.5, epochs=5, seed=0):
    """One of the `TRAININGS` as the arguments of `train_classifier`.

    Args:
        name: a key of `TRAININGS`: "natural", "natural, equal compute", "noise", "random mask", "LAT" or "AT".
        train, validation: unbatched `tf.data.Dataset`s of `({"image", "mask"}, label)`; validation may be None.
        attack: the attack object of the trainings that have one. The others attack with it in validation alone, but
            for "noise", which takes its eps and nothing else.
        share: the fraction of each batch that is replaced, where a training replaces any.
        epochs: of each training but "natural, equal compute", which takes as many as make LAT's forward and backward
            passes.
        seed: integer that the order of the images and all random numbers follow from, the random masks, too.

    Returns:
        A dictionary: `train`, `validation`, `attack`, `region`, `share`, `epochs`, `seed`. The data sets are those
        passed; for "random mask" they are new ones, each image with a random mask of the area of its own, the same in
        every epoch; in memory if the data fit there.

    Raises:
        ValueError: for an unknown name, or data, an attack or a share that `train_classifier` would refuse.

    Example:
        >>> import locadv_tf as la
        >>> train, attack = la.load_data("digits", "train[:128]"), la.PGD(eps=0.1, steps=5, keep="last")
        >>> how = recipe("natural, equal compute", train, attack=attack, epochs=2)
        >>> how["share"], how["epochs"]
        (0.0, 7)
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> history = la.train_classifier(model, **recipe("random mask", train, attack=attack, epochs=1))
    """
    choice(name, TRAININGS, name="training")
    for split, data in {"train": train, "validation": validation}.items():
        if data is not None or split == "train":
            _check_unbatched(data, split)
    check_attack(attack)
    share, epochs, row = fraction(share, name="share"), count(epochs, name="epochs"), TRAININGS[name]
    if row.equal_compute:
        epochs = round(epochs * passes_per_image(attack, share))
    if row.masks == "random":
        train = _with_random_masks(train, seed)
        validation = None if validation is None else _with_random_masks(validation, seed, first=len(train))
    return {
        "train": train,
        "validation": validation,
        "attack": RandomNoise(eps=attack.eps) if row.replaced_by == "noise" else attack,
        "region": row.region,
        "share": share if row.replaced_by else 0.0,
        "epochs": epochs,
        "seed": seed,
    }


def _with_random_masks(data, seed, first=0):
    def drawn(mask, places):
        return random(mask, seed=seed, smoothness=BLOBS, positions=places)

    if fits(data):
        image, label, mask = to_arrays(data)
        new = {"image": image, "mask": drawn(mask, np.arange(first, first + len(mask)))}
        return tf.data.Dataset.from_tensor_slices((new, label)).with_options(data.options())

    def exchange(element, place):
        inputs, label = element
        mask = tf.numpy_function(drawn, [inputs["mask"][None], place[None]], tf.float32, stateful=False)[0]
        return {**inputs, "mask": tf.ensure_shape(mask, inputs["mask"].shape)}, label

    places = tf.data.Dataset.range(first, first + len(data))
    return tf.data.Dataset.zip(data, places).map(exchange, num_parallel_calls=2, deterministic=True)


def single_step(eps):
    """The attack of Wong et al. (2020, algorithm 3), to train with: a random start, then one step of size 1.25 eps.

    Args:
        eps: the budget, in pixel units of [0, 1].

    Returns:
        A `PGD` object. The step reaches across most of the ball, as the start is anywhere in it; with steps of 2 eps,
        or without the random start (`FGSM`), Wong et al. saw training fail.

    Raises:
        ValueError: if `eps` is not in [0, 1].

    Example:
        >>> attack = single_step(eps=0.1)
        >>> print(attack, "· step size", attack.alpha)
        PGD-1, eps = 25.5/255 · step size 0.125
    """
    eps = fraction(eps, name="eps")
    return PGD(eps=eps, steps=1, step_size=min(1.25 * eps, 1.0), keep="last")


def train_classifier(
    model,
    train,
    *,
    attack,
    region="background",
    share=0.5,
    validation=None,
    epochs=5,
    batch_size=128,
    optimizer="adam",
    augment=None,
    class_weight=None,
    early_stopping=None,
    seed=0,
    callbacks=(),
    verbose=0,
):
    """Trains a classifier in place, on reshuffled batches: what the notebooks do with every model.

    Args:
        model: a built Keras model, float32 images in [0, 1] to logits.
        train: an unbatched `tf.data.Dataset` of `({"image", "mask"}, label)`.
        attack, region, share: as for `LocalizedAdversarialTraining`; `share=0` is natural training. Cheap, and about as
            good as PGD-5 with half of each batch: `single_step(eps)` with `share=0.75` (benchmarks/CHEAP_TRAINING.md).
        validation: an unbatched data set for the `val_` logs, or None.
        epochs, batch_size: whole numbers.
        optimizer: `"adam"`, plain; `"adamw"`, for a training of many epochs: AdamW with weight decay, a rate that is
            warmed up and lowered along a cosine, and averaged weights; or a Keras optimizer of your own. With one that
            averages (`use_ema`) the averages are what is validated, what callbacks see, and what the model has in the
            end.
        augment: changes images and masks together, anew in each epoch: `flip_and_shift` for photographs, or your own
            `(image, mask, seed) → (image, mask)` of a batch. None: nothing is changed.
        class_weight: `"balanced"`: each class counts the same, however many images it has; or a dictionary from class
            to weight, as for `fit`; None: each image counts the same. In training only.
        early_stopping: an integer: stop after so many epochs without a better `val_adversarial_accuracy`
            (`val_natural_accuracy` where `share=0`), and keep the best epoch's weights (Rice et al. 2020,
            arXiv:2002.11569). It needs validation images. None: train to the end.
        seed: integer that the order of the images and the attack's random numbers follow from.
        callbacks: as for `fit`; an `OverfittingWatch` for a single-step attack.
        verbose: as for `fit`; 2 (a line per epoch) reads well in an executed notebook.

    Returns:
        The history: a dictionary from each logged quantity to its value per epoch.

    Raises:
        ValueError: for bad input; a model whose weights are all frozen; data that is empty, batched, endless or no
            `tf.data.Dataset`, labels beyond the model's classes, or a `batch_size` of 1 with a share between 0 and 1,
            too.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> attack = la.PGD(eps=0.1, steps=2, keep="last")
        >>> history = train_classifier(model, la.load_data("digits", "train[:128]"), attack=attack, epochs=1)
        >>> history["natural_loss"][0] > 0
        True
    """
    count(epochs, name="epochs")
    count(batch_size, name="batch_size")
    _check_unbatched(train, "train")
    if validation is not None:
        _check_unbatched(validation, "validation")
    if batch_size == 1 and 0 < share < 1:
        raise ValueError(NO_HALVES.format(share=share))
    if early_stopping is not None:
        count(early_stopping, name="early_stopping")
        if validation is None:
            raise ValueError(f"early_stopping={early_stopping} needs images to judge by; expected validation=….")
    if augment is not None and not callable(augment):
        raise ValueError(f"augment={augment!r}; expected a function (image, mask, seed), such as la.flip_and_shift.")
    if not (class_weight in (None, "balanced") or isinstance(class_weight, dict)):
        raise ValueError(f"class_weight={class_weight!r}; expected 'balanced', a dictionary or None.")
    defended = LocalizedAdversarialTraining(model, attack=attack, region=region, share=share, seed=seed)
    optimizer_named(optimizer, steps=1)  # a wrong name is told before the data are read
    shuffled, labels = batched(train, batch_size, name="train", seed=seed, augment=augment)
    # A graph cannot look at labels: a GPU makes of a wrong one a NaN.
    check_labels(labels, labels, num_classes=model.output_shape[-1], name="train's label")
    if validation is not None:
        validation, _ = batched(validation, 500, name="validation")
    optimizer = optimizer_named(optimizer, steps=epochs * -(-len(labels) // batch_size))
    defended.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callbacks = list(callbacks)
    if averages(optimizer):
        callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), *callbacks]
    if early_stopping is not None:
        watched = "val_adversarial_accuracy" if share > 0 else "val_natural_accuracy"
        best = {"mode": "max", "restore_best_weights": True}
        callbacks.append(keras.callbacks.EarlyStopping(watched, patience=early_stopping, **best))
    if averages(optimizer):
        callbacks.append(KeepAverages())
    options = {"validation_data": validation, "epochs": epochs, "callbacks": callbacks, "verbose": verbose}
    if class_weight == "balanced":
        classes = np.unique(labels)
        weights = compute_class_weight("balanced", classes=classes, y=labels)
        class_weight = dict(zip(classes.tolist(), weights.tolist(), strict=True))
    with readable():
        return defended.fit(shuffled, shuffle=False, class_weight=class_weight, **options).history


def _check_unbatched(data, name):
    expected = "expected an unbatched, finite tf.data.Dataset of ({'image', 'mask'}, label), as load_data gives"
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(f"{name} is {type(data).__name__}; {expected}. Arrays: tf.data.Dataset.from_tensor_slices.")
    spec = data.element_spec
    if not (isinstance(spec, tuple) and len(spec) in (2, 3) and isinstance(spec[1], tf.TensorSpec)):
        raise ValueError(f"{name} has elements {spec}; {expected}.")
    if spec[1].shape.rank not in (0, None):
        raise ValueError(f"{name} has labels of shape {spec[1].shape}; {expected}. Batched? Use {name}.unbatch().")
    unknown = data.cardinality() == tf.data.UNKNOWN_CARDINALITY  # a filter may have left nothing
    if data.cardinality() == 0 or (unknown and next(iter(data.take(1)), None) is None):
        raise ValueError(f"{name} holds no images; expected at least one. Check the split or the filter.")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{name} repeats without end; {expected}. Leave out repeat(), or add take(n).")
