"""The background challenge on photographs: what natural, LAT and other trainings do when the background is exchanged.

Real photographs have a background that tells the label without anybody putting one in. Photograph sets are often
unbalanced, so every accuracy stands beside its balanced one, the mean over classes.
"""

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.load import load_data
from locadv_tf.evaluation.challenge import COMPARED
from locadv_tf.evaluation.intervals import (
    balanced_interval,
    mean_interval,
    paired_difference,
    share_interval,
    with_interval,
)
from locadv_tf.evaluation.photographs import (
    HOLES,
    VARIANTS,
    before_others,
    donors,
    hole_images,
    read_photographs,
    variants,
)
from locadv_tf.evaluation.reliance import right_without_attack
from locadv_tf.models import colour_cnn
from locadv_tf.training.recipes import TRAININGS, recipe, train_classifier

QUANTITIES = (*VARIANTS, "bg_gap", "worst_group", *(f"{name}_balanced" for name in (*VARIANTS, "bg_gap")))


def score(model, shown, *, seed=0):
    """One model's row of the challenge.

    Args:
        model: a Keras model, float32 images `(N, H, W, 3)` in [0, 1] to logits.
        shown: a `Photographs`.
        seed: draws the backgrounds; models that are compared must have the same.

    Returns:
        A dictionary, every entry with `_low` and `_high` (95 % over the photographs) but the worst group's:

        `n`: the photographs.
        A name of `VARIANTS`: accuracy on it (Wilson's interval; `mixed_rand` is a mean over each photograph's
        backgrounds, with Student's).
        `bg_gap`: Mixed-Same − Mixed-Rand, paired.
        The same with `_balanced`: the mean over classes (`balanced_interval`).
        `worst_group`: the lowest accuracy over the groups label × class of the background, with `worst_label`,
        `worst_background` and `worst_n`. A minimum over many small groups lies below the true one: compare models on
        the same photographs.

    Raises:
        ValueError: for a model that does not return logits, or a class with fewer than two photographs.
    """
    labels, classes = shown.labels, np.unique(shown.labels)
    each = np.stack(
        [_right(model, before_others(shown, np.full_like(labels, k), seed=[seed, k]), labels) for k in classes]
    )
    own, at = np.searchsorted(classes, labels), np.arange(len(labels))
    right = {name: _right(model, images, labels) for name, images in variants(shown).items()}
    right |= {"mixed_same": each[own, at], "mixed_next": each[(own + 1) % len(classes), at]}
    row = {"n": len(labels)}
    for name, verdicts in right.items():
        row |= with_interval(name, share_interval(int(verdicts.sum()), len(labels)))
        row |= with_interval(f"{name}_balanced", balanced_interval(verdicts, labels))
    mixed_rand = each.mean(axis=0)
    row |= with_interval("mixed_rand", mean_interval(mixed_rand))
    row |= with_interval("mixed_rand_balanced", balanced_interval(mixed_rand, labels))
    row |= with_interval("bg_gap", paired_difference(mixed_rand, right["mixed_same"]))
    row |= with_interval("bg_gap_balanced", balanced_interval(right["mixed_same"] - mixed_rand, labels))
    groups = np.stack([each[:, labels == label].mean(axis=1) for label in classes])
    label, background = np.unravel_index(groups.argmin(), groups.shape)
    return row | {
        "worst_group": float(groups.min()),
        "worst_label": int(classes[label]),
        "worst_background": int(classes[background]),
        "worst_n": int((labels == classes[label]).sum()),
    }


def compare(
    dataset,
    *,
    seeds=(0, 1, 2),
    trainings=COMPARED,
    image_size=64,
    eps=2 / 255,
    train_steps=3,
    epochs=10,
    train_limit=None,
    test_limit=None,
    fill="inpaint",
    done=(),
):
    """Trains a `colour_cnn` for each seed and training and puts it to the challenge; then asks what holes tell.

    Trainings use the drawn masks. A seed decides the initial weights, the order of the images, the limits' images and
    which backgrounds are exchanged; trainings of one seed share all of it.

    Args:
        dataset: a TFDS set of photographs with drawn masks.
        seeds: non-negative integers.
        trainings: names of `TRAININGS`.
        image_size: the side of the square that images are resized to, at least 16.
        eps, train_steps: budget and steps of PGD in training.
        epochs: of each training.
        train_limit, test_limit: at most so many images, of each class its share.
        fill: how the object's place is filled, one of `cutouts.FILLS`.
        done: rows of an earlier call with the same settings; those are not computed again.

    Yields:
        A row per classifier as it is finished: `seed`, `training` and the entries of `score`. Then a row per key of
        `photographs.HOLES`: `seed`, `hole`, `n`, `accuracy` and `accuracy_balanced` with intervals: natural training
        and test on such images. So far as "other background, own hole" is above "other background, other hole", the
        shape of the filled place tells the label, also in Only-BG-T and in the exchanged backgrounds.

    Raises:
        ValueError: for bad input.
    """
    for training in trainings:
        validation.choice(training, TRAININGS, name="trainings")
    side, epochs = validation.count(image_size, name="image_size", low=16), validation.count(epochs, name="epochs")
    attack = PGD(eps=eps, steps=train_steps, keep="last")
    finished = {(row["seed"], row.get("training") or row["hole"]) for row in done}
    read = {"image_size": (side, side), "download": False}
    for seed in seeds:
        todo = [name for name in (*trainings, *HOLES) if (seed, name) not in finished]
        if not todo:
            continue
        shown = read_photographs(dataset, "test", limit=test_limit, seed=seed, fill=fill, **read)
        donors(shown, shown.labels, seed=seed)  # a class without two photographs is told before any training
        train = load_data(dataset, "train", mask="ground_truth", limit=train_limit, stratify=True, seed=seed, **read)
        taught = read_photographs(dataset, "train", limit=train_limit, seed=seed, fill=fill, **read)
        fresh = {
            "input_shape": shown.images.shape[1:],
            "num_classes": int(max(taught.labels.max(), shown.labels.max())) + 1,
        }
        for name in todo:
            model = colour_cnn(**fresh, seed=seed)
            if name in HOLES:
                lesson = _plain(hole_images(taught, name, seed=seed), taught.labels)
                train_classifier(model, lesson, attack=attack, share=0, epochs=epochs, seed=seed)
                right = _right(model, hole_images(shown, name, seed=seed), shown.labels)
                yield {
                    "seed": seed, "hole": name, "n": len(right),
                    **with_interval("accuracy", share_interval(int(right.sum()), len(right))),
                    **with_interval("accuracy_balanced", balanced_interval(right, shown.labels)),
                }  # fmt: skip
            else:
                train_classifier(model, **recipe(name, train, attack=attack, epochs=epochs, seed=seed))
                yield {"seed": seed, "training": name} | score(model, shown, seed=seed)


def _right(model, images, labels):
    return right_without_attack(model, images / np.float32(255), labels)


def _plain(images, labels):
    inputs = {"image": images / np.float32(255), "mask": np.ones((*images.shape[:3], 1), np.float32)}
    data = tf.data.Dataset.from_tensor_slices((inputs, labels))
    options = tf.data.Options()
    options.autotune.enabled = False  # as in load_data
    return data.with_options(options)
