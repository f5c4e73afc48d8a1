"""Measures a model under attack: accuracy, loss and success rate with intervals, and how visible the change is.

Every interval is a 95 % interval over images (`intervals.py`). It says nothing about other training runs:
`locadv collect` has intervals over seeds.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.attack import Attack
from locadv_tf.data.batches import length
from locadv_tf.engine.progress import progress_bar
from locadv_tf.engine.stream import attack_stream
from locadv_tf.evaluation.intervals import mean_interval, share_interval, with_interval
from locadv_tf.units import eps_255


class Measurement(NamedTuple):
    """One attack on one data set: arrays `(N,)` with one entry per image, in the order of the input.

    Attributes:
        correct: bool: right both under the attack and without it.
        loss: cross-entropy at the worst point; NaN with `stop="fooled"`, where images leave early.
        natural_correct, natural_loss: the same without an attack.
        mean_change, largest_change: |x_adv − x| in pixel units of [0, 1], over the region's pixels.
        psnr: peak signal-to-noise ratio in dB, infinite for an unchanged image; ssim: structural similarity (Wang et
            al. 2004), at most 1.
        nonfinite: bool: some gradient was NaN or infinite.
        clipped: share of the region's pixel steps that were cut at the range [0, 1]; NaN without a step.
        evaluations: forward and backward passes.
    """

    correct: np.ndarray
    loss: np.ndarray
    natural_correct: np.ndarray
    natural_loss: np.ndarray
    mean_change: np.ndarray
    largest_change: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    nonfinite: np.ndarray
    clipped: np.ndarray
    evaluations: np.ndarray


def evaluate(
    model,
    data,
    attacks,
    *,
    regions=validation.REGIONS,
    seed=0,
    stop="worst",
    batch_size=None,
    progress=False,
):
    """Measures a model without an attack and under each attack on each region.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits.
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)`, batched or not, or `(images, labels, masks)`.
        attacks: dictionary from a name of your choice to an attack object.
        regions: the regions that each attack gets, of `"background"`, `"foreground"` and `"full"`.
        seed: integer that decides all random numbers.
        stop: `"worst"`: whole budget, with the loss; `"fooled"`: same accuracies, no loss, but faster, above all if
            many images are fooled.
        batch_size: as for `run_attack`.
        progress: show a progress bar per row.

    Returns:
        A list of plain dictionaries: the first one without an attack (`region` "none"), then one per attack and region.
        `summarize` lists their entries. `pandas.DataFrame(rows)` makes a table.

    Raises:
        ValueError: for bad input or no images.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> test = la.load_data("digits", split="test[:32]")
        >>> rows = la.evaluate(model, test, {"fgsm": la.FGSM(eps=0.1)})
        >>> [(row["attack"], row["region"], row["n"]) for row in rows]
        [('natural', 'none', 32), ('fgsm', 'background', 32), ('fgsm', 'foreground', 32), ('fgsm', 'full', 32)]
    """
    if not isinstance(attacks, dict) or not attacks:
        raise ValueError(
            f"attacks={attacks!r}; expected a dictionary from names to attacks, like {{'PGD': PGD(eps=0.1)}}."
        )
    if not regions:
        raise ValueError("regions is empty; expected some of 'background', 'foreground' and 'full'.")
    for region in regions:
        validation.choice(region, validation.REGIONS, name="region")
    for name, attack in attacks.items():  # check all of them before the first one runs
        if not isinstance(attack, Attack):
            raise ValueError(f"attacks[{name!r}]={attack!r}; expected an attack object, like PGD(eps=0.1).")
    rows = []
    settings = {"seed": seed, "stop": stop, "batch_size": batch_size, "progress": progress}
    for name, attack in attacks.items():
        for region in regions:
            measurement = measure(model, data, attack, region=region, **settings)
            if not rows:
                rows.append(natural_row(measurement))
            rows.append({"attack": name, "region": region, "eps": attack.eps} | summarize(measurement))
    return rows


def measure(model, data, attack, *, region="background", seed=0, stop="worst", batch_size=None, progress=False):
    """Runs one attack on a data set and measures each image; arguments and errors as for `evaluate`.

    Returns:
        A `Measurement`. Its memory does not depend on the size of the images.
    """
    finished = []
    stream = attack_stream(model, data, attack, region=region, seed=seed, stop=stop, batch_size=batch_size)
    with progress_bar(f"{attack} · {region}", total=length(data), shown=progress) as bar:
        for jobs in stream:
            finished.append((jobs["index"], _measure_jobs(jobs, stop)))
            bar.update(len(jobs["index"]))
    if not finished:
        raise ValueError("the data holds no images; expected at least one.")
    order = np.argsort(np.concatenate([index for index, _ in finished]))
    columns = zip(*(measurement for _, measurement in finished), strict=True)
    return Measurement(*(np.concatenate(column)[order] for column in columns))


def _measure_jobs(jobs, stop):
    image, x = jobs["image"], jobs["best_image"]
    change, steps = np.abs(x - image), jobs["steps"]
    area = jobs["allowed"].sum(axis=(1, 2, 3)) * image.shape[-1]
    return Measurement(
        correct=~jobs["best_fooled"],
        loss=jobs["best_loss"] if stop == "worst" else np.full(len(x), np.nan, np.float32),
        natural_correct=jobs["natural_correct"],
        natural_loss=jobs["natural_loss"],
        mean_change=change.sum(axis=(1, 2, 3)) / np.maximum(area, 1),
        largest_change=change.max(axis=(1, 2, 3)),
        psnr=tf.image.psnr(x, image, max_val=1.0).numpy(),
        ssim=tf.image.ssim(x, image, max_val=1.0, filter_size=min(11, *image.shape[1:3])).numpy(),
        nonfinite=jobs["nonfinite"],
        clipped=np.where(steps, jobs["clipped"] / np.maximum(steps, 1), np.nan),
        evaluations=jobs["evaluations"],
    )


def summarize(measurement):
    """One row of numbers from a `Measurement`.

    Returns:
        A dictionary: `n`; `accuracy`, `asr` (of the correctly classified images, the share that the attack
        fools; None if there are none) and `loss` (None unless `stop="worst"`), each with `_low` and `_high`; the means
        `mean_change`, `psnr` (over changed images), `ssim`, `clipped` (over images that took a step), None if there are
        none; the maximum `largest_change`; `nonfinite`, a count of images; and `gradient_evaluations`.

    Example:
        >>> ones, zeros = np.ones(100), np.zeros(100)
        >>> right = np.arange(100) < 90
        >>> row = summarize(Measurement(right, ones, right, ones, zeros, zeros, ones, ones, zeros, zeros, ones))
        >>> print(f"{row['accuracy']:.2f} from {row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}, {row['asr']}")
        0.90 from 0.826 to 0.945, 0.0
    """
    m = measurement
    fooled = m.natural_correct & ~m.correct
    psnr, clipped = (values[np.isfinite(values)] for values in (m.psnr, m.clipped))
    return {
        "n": len(m.correct),
        **with_interval("accuracy", share_interval(int(m.correct.sum()), len(m.correct))),
        **with_interval("asr", share_interval(int(fooled.sum()), int(m.natural_correct.sum()))),
        **with_interval("loss", mean_interval(m.loss) if np.isfinite(m.loss).all() else (None, None, None)),
        "mean_change": float(m.mean_change.mean()),
        "largest_change": float(m.largest_change.max()),
        "psnr": float(psnr.mean()) if psnr.size else None,
        "ssim": float(m.ssim.mean()),
        "clipped": float(clipped.mean()) if clipped.size else None,
        "nonfinite": int(m.nonfinite.sum()),
        "gradient_evaluations": int(m.evaluations.sum()),
    }


def natural_row(measurement):
    """The row without an attack, from any `Measurement` of the same model and data; keys as in `summarize`."""
    m = measurement
    return {
        "attack": "natural",
        "region": "none",
        "eps": 0.0,
        "n": len(m.natural_correct),
        **with_interval("accuracy", share_interval(int(m.natural_correct.sum()), len(m.natural_correct))),
        **with_interval("loss", mean_interval(m.natural_loss)),
    }


def format_row(row):
    """A row of `evaluate` as one line of text.

    Example:
        >>> print(format_row({"attack": "PGD-20", "region": "background", "eps": 8 / 255, "n": 100, "accuracy": 0.48,
        ...                   "accuracy_low": 0.385, "accuracy_high": 0.577, "loss": 2.04}))
        PGD-20 · background · eps 8/255: accuracy 48.0 % [38.5, 57.7], n = 100, loss 2.04
    """
    where = "" if row["region"] == "none" else f" · {row['region']} · eps {eps_255(row['eps'])}"
    loss = "" if row["loss"] is None else f", loss {row['loss']:.3g}"
    low, high = 100 * row["accuracy_low"], 100 * row["accuracy_high"]
    return (
        f"{row['attack']}{where}: accuracy {100 * row['accuracy']:.1f} % [{low:.1f}, {high:.1f}], n = {row['n']}{loss}"
    )
