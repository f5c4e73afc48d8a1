"""A small background challenge: what a model does when the background is exchanged, and how that follows from training.

After Xiao, Engstrom, Ilyas and Madry (2021, "Noise or Signal: The Role of Image Backgrounds in Object Recognition",
arXiv:2006.09994), on `composite`, whose backgrounds can be exchanged exactly: every test digit stands on all ten
backgrounds in turn, in the same place. What the paper samples is counted out here, and all differences are paired.

`compare` trains classifiers (natural, LAT and controls) on sets whose background tells the label with a known
correlation, and puts each to the challenge and to the measures of reliance.py: a test of the trainings, and of the
measures.
"""

from typing import NamedTuple

import numpy as np

from locadv_tf import validation
from locadv_tf.attacks.pgd import PGD
from locadv_tf.data.composite import composite
from locadv_tf.data.load import load_data
from locadv_tf.evaluation.intervals import mean_interval, paired_difference, share_interval, with_interval
from locadv_tf.evaluation.reliance import background_reliance, right_without_attack
from locadv_tf.models import small_cnn
from locadv_tf.training.recipes import TRAININGS, recipe, train_classifier

COMPARED = ("natural", "random mask", "LAT", "AT")  # of the trainings; the others are there for the asking
CORRELATIONS = (0.0, 0.5, 0.8, 0.9, 1.0)
GREY = np.float32(0.5)  # both light and dark digits stand out from it; on black the dark ones would not
QUANTITIES = ("mixed_same", "mixed_rand", "bg_gap", "worst_group", "only_fg", "only_bg_b", "only_bg_t", "no_fg")
MEASURES = ("asr_background", "asr_foreground", "asr_difference", "asr_difference_equal", "rfs", "energy_ratio")
VARIANTS = {
    "mixed_same": "digit on a background of its own class",
    "mixed_rand": "digit on each of the ten backgrounds",
    "only_fg": "digit on grey",
    "only_bg_b": "own background, digit's box black",
    "only_bg_t": "own background, no digit",
    "no_fg": "own background, digit's shape black",
}


class Challenge(NamedTuple):
    """The test images, as `challenge_images` draws them.

    Attributes:
        swapped: uint8 `(10, N, 32, 32, 3)`: every digit on each class of background.
        behind: uint8 `(N, 32, 32, 3)`: the background of the digit's own class, without the digit.
        labels: int64 `(N,)`; `masks`: float32 `(N, 32, 32, 1)`, 1 on the background.
    """

    swapped: np.ndarray
    behind: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def challenge_images(split="test", *, limit=None, seed=0, digits="digits", backgrounds="textures", download=True):
    """Draws the test images; arguments and errors are those of `composite`.

    Example:
        >>> drawn = challenge_images("test[:20]")
        >>> drawn.swapped.shape, drawn.behind.shape
        ((10, 20, 32, 32, 3), (20, 32, 32, 3))
    """
    asked = {"limit": limit, "seed": seed, "digits": digits, "backgrounds": backgrounds, "download": download}
    pasted = [composite(split, background=k, **asked) for k in range(10)]
    alone = composite(split, correlation=1.0, paste=False, **asked)
    return Challenge(np.stack([shown.images for shown in pasted]), alone.images, alone.labels, alone.masks)


def variants(drawn):
    """The images of each variant but Mixed-Rand, float32 `(N, 32, 32, 3)` in [0, 1], by its name in `VARIANTS`.

    They are those of the paper's ImageNet-9 but for two: Only-FG is on grey, where the paper's is on black, and
    Only-BG-T is what is really behind the digit, where the paper has to fill the object's box with tiles of the rest.
    No-FG keeps the object's shape, as in the paper; a digit *is* its shape, so that here it gives the label away.
    """
    labels, masks = drawn.labels, drawn.masks
    same = drawn.swapped[labels, np.arange(len(labels))] / np.float32(255)
    behind = drawn.behind / np.float32(255)
    digit = masks == 0
    rows, columns = digit.any(axis=2, keepdims=True), digit.any(axis=1, keepdims=True)
    box = np.maximum.accumulate(rows, 1) & np.maximum.accumulate(rows[:, ::-1], 1)[:, ::-1]
    box = box & np.maximum.accumulate(columns, 2) & np.maximum.accumulate(columns[:, :, ::-1], 2)[:, :, ::-1]
    return {
        "mixed_same": same,
        "only_fg": np.where(digit, same, GREY),
        "only_bg_b": np.where(box, np.float32(0), behind),
        "only_bg_t": behind,
        "no_fg": np.where(digit, np.float32(0), behind),
    }


def score(model, drawn):
    """One model's row of the challenge.

    Args:
        model: a Keras model, float32 images `(N, 32, 32, 3)` in [0, 1] to ten logits.
        drawn: a `Challenge`.

    Returns:
        A dictionary, every entry with `_low` and `_high` (95 % over the N digits) but the worst group's:

        - `n`: N, the digits.
        - `mixed_same`, `only_fg`, `only_bg_b`, `only_bg_t`, `no_fg`: accuracy on that variant (Wilson's interval).
        - `mixed_rand`: accuracy over the ten backgrounds of each digit (Student's, over digits).
        - `bg_gap`: Mixed-Same − Mixed-Rand (Student's, over the digits' differences). At most 0.9, for a model that
          sees the background alone: chance is on its side once in ten. On a test set whose background follows the label
          with correlation c the accuracy is mixed_rand + c · bg_gap: the gap is what a background that always tells
          adds over one that never does.
        - `worst_group`: the lowest accuracy over the groups label × background (Sagawa et al. 2020, arXiv:1911.08731),
          with `worst_label`, `worst_background` and `worst_n`. A minimum over a hundred groups lies below the true
          one, the more so the fewer digits a group has: compare models on the same images.

    Raises:
        ValueError: for a model that does not return logits.

    Example:
        >>> model = small_cnn(input_shape=(32, 32, 3), num_classes=10)
        >>> row = score(model, challenge_images("test[:20]"))
        >>> row["n"], -0.9 <= row["bg_gap"] <= 0.9
        (20, True)
    """
    labels = drawn.labels
    right = {name: right_without_attack(model, images, labels) for name, images in variants(drawn).items()}
    on_each = np.stack([right_without_attack(model, images / np.float32(255), labels) for images in drawn.swapped])
    row = {"n": len(labels)}
    for name, verdicts in right.items():
        row |= with_interval(name, share_interval(int(verdicts.sum()), len(labels)))
    mixed_rand = on_each.mean(axis=0)
    row |= with_interval("mixed_rand", mean_interval(mixed_rand))
    row |= with_interval("bg_gap", paired_difference(mixed_rand, right["mixed_same"]))
    there = np.unique(labels)
    groups = np.stack([on_each[:, labels == label].mean(axis=1) for label in there])
    label, background = np.unravel_index(groups.argmin(), groups.shape)
    return row | {
        "worst_group": float(groups.min()),
        "worst_label": int(there[label]),
        "worst_background": int(background),
        "worst_n": int((labels == there[label]).sum()),
    }


def compare(
    *,
    correlations=CORRELATIONS,
    seeds=(0, 1, 2),
    trainings=COMPARED,
    eps=2 / 255,
    train_steps=3,
    attack_steps=10,
    epochs=10,
    train_limit=None,
    test_limit=None,
    digits="digits",
    backgrounds="textures",
    done=(),
):
    """Trains a classifier for each seed, correlation and training, and puts each to the challenge and to the measures.

    A seed decides the initial weights, the places, colours and backgrounds, and the order of the images; trainings of
    one seed and correlation share all of it. The measures of reliance.py see the digits on telling backgrounds (those
    of Mixed-Same) with exact masks.

    Args:
        correlations: how often the background tells the label in training, each 0 to 1.
        seeds: non-negative integers.
        trainings: names of `TRAININGS`.
        eps: the budget in training and in `background_reliance`.
        train_steps, attack_steps: PGD's steps in training and in `background_reliance`.
        epochs: of each training.
        train_limit, test_limit, digits, backgrounds: as for `composite`.
        done: rows of an earlier call with the same settings; those are not computed again.

    Yields:
        A row per classifier as it is finished: `seed`, `correlation`, `training`, and the entries of `score` and of
        `background_reliance`.

    Raises:
        ValueError: for bad input.
    """
    for training in trainings:
        validation.choice(training, TRAININGS, name="trainings")
    for correlation in correlations:
        validation.fraction(correlation, name="correlations")
    train_attack, attack = PGD(eps=eps, steps=train_steps, keep="last"), PGD(eps=eps, steps=attack_steps)
    finished = {(row["seed"], row["correlation"], row["training"]) for row in done}
    images = {"digits": digits, "backgrounds": backgrounds}
    for seed in seeds:
        todo = {c: [t for t in trainings if (seed, c, t) not in finished] for c in correlations}
        if not any(todo.values()):
            continue
        drawn = challenge_images(limit=test_limit, seed=seed, **images)
        telling = (variants(drawn)["mixed_same"], drawn.labels, drawn.masks)
        for correlation, wanted in todo.items():
            if wanted:
                asked = {"correlation": correlation, "limit": train_limit, "seed": seed} | images
                train = load_data("composite", "train", **asked)
            for training in wanted:
                model = small_cnn((32, 32, 3), 10, seed=seed)
                train_classifier(model, **recipe(training, train, attack=train_attack, epochs=epochs, seed=seed))
                yield (
                    {"seed": seed, "correlation": correlation, "training": training}
                    | score(model, drawn)
                    | background_reliance(model, telling, attack, seed=seed)
                )
