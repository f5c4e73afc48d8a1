"""What an attack on a data set found."""

import dataclasses

import numpy as np

# What a result is made of: a number per image. Images, masks and points are let go.
NUMBERS = {"index", "best_fooled", "best_loss", "natural_loss", "natural_correct", "nonfinite", "clipped"}
NUMBERS |= {"steps", "evaluations", "queries"}


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What `run_attack` found, one entry per image, in the order of the input.

    Attributes:
        index: int64 `(N,)`: the images' positions in the input: 0 … N − 1, or some of them after an interrupt.
        images: float32 `(N, H, W, C)`: the first point that fooled (`stop="fooled"`) or the best one; None unless kept.
        fooled: bool `(N,)`: wrong under the attack, or already without it.
        loss: float32 `(N,)`: cross-entropy at that point. A mean over it is an adversarial loss only with
            `stop="worst"`.
        natural_loss, natural_correct: float32 and bool `(N,)`: the same without an attack.
        nonfinite: bool `(N,)`: some gradient on the way was NaN or infinite.
        clipped: float32 `(N,)`: share of the mask's pixel steps that the range [0, 1] cut short; NaN without a step.
        gradient_evaluations: int: forward and backward passes, summed over the images.
        queries: int: points that an attack without a gradient asked about, summed over the images.
    """

    index: np.ndarray
    images: np.ndarray | None
    fooled: np.ndarray
    loss: np.ndarray
    natural_loss: np.ndarray
    natural_correct: np.ndarray
    nonfinite: np.ndarray
    clipped: np.ndarray
    gradient_evaluations: int
    queries: int

    def __len__(self):
        return len(self.fooled)


def assembled(finished, keep_images):
    """An `AttackResult` of finished jobs, put back in the order of the input.

    Args:
        finished: a list of dictionaries of arrays with an entry per image: `NUMBERS`, and `best_image` to keep images.
        keep_images: whether to keep them.
    """
    if not finished:
        nothing = np.zeros(0)
        images = np.zeros((0, 0, 0, 0), np.float32) if keep_images else None
        flags = nothing.astype(bool)
        return AttackResult(nothing.astype(int), images, flags, nothing, nothing, flags, flags, nothing, 0, 0)
    jobs = {name: np.concatenate([part[name] for part in finished]) for name in finished[0]}
    order = np.argsort(jobs["index"])
    jobs = {name: values[order] for name, values in jobs.items()}
    with np.errstate(invalid="ignore"):  # 0 / 0 where an image took no step
        clipped = jobs["clipped"] / jobs["steps"]
    return AttackResult(
        index=jobs["index"],
        images=jobs.get("best_image"),
        fooled=jobs["best_fooled"],
        loss=jobs["best_loss"],
        natural_loss=jobs["natural_loss"],
        natural_correct=jobs["natural_correct"],
        nonfinite=jobs["nonfinite"],
        clipped=clipped,
        gradient_evaluations=int(jobs["evaluations"].sum()),
        queries=int(jobs["queries"].sum()),
    )
