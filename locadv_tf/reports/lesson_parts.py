"""The parts of a lesson as an earlier run left them: for readers without its data, or without the time to compute."""

import json
from pathlib import Path

import cv2
import numpy as np

from locadv_tf import validation
from locadv_tf.reports import notebooks


class LessonParts:
    """Computes the parts of a lesson, or reads them as they are stored.

    What is stored is what a run left in its `output_dir`: `metrics.json`, and the pictures beside it. It is looked for
    in `stored/<lesson>` of the working folder, then in the kit's. Call the object with a part's name and a function
    that computes it.

    Args:
        lesson: its name, `"07_photographs"` say.
        live: True: compute. False: read.

    Attributes:
        made: the parts so far, by their names.

    Example:
        >>> part = LessonParts("07_photographs", live=True)
        >>> part("sum", lambda: 1 + 1), part.made
        (2, {'sum': 2})
    """

    def __init__(self, lesson, *, live):
        self.lesson, self.live, self.made = lesson, live, {}

    def __call__(self, name, compute):
        """A part: computed by `compute()`, or as it is stored."""
        self.made[name] = compute() if self.live else self.stored(name)
        return self.made[name]

    def stored(self, name):
        """A part as it is stored; pictures are float32 `(N, H, W, C)` in [0, 1] again.

        Raises:
            ValueError: if nothing is stored, or no part of this name.
        """
        path = notebooks.stored(f"{self.lesson}/metrics.json")
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return _read(results[validation.choice(name, results, name="part")], path.parent)

    def write(self, output_dir):
        """Writes the pictures of all parts as PNG files, 256 levels, and returns the parts for `write_metrics`.

        A picture is an array `(N, H, W, 1)` or `(N, H, W, 3)` with values in [0, 1]. Its N images stand side by side.
        """
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        return {name: _written(part, folder, name) for name, part in self.made.items()}


def _written(value, folder, name):
    if isinstance(value, dict):
        return {key: _written(item, folder, f"{name}-{key}".replace(" ", "_")) for key, item in value.items()}
    if not (isinstance(value, np.ndarray) and value.ndim == 4 and value.shape[-1] in (1, 3)):
        return value
    levels = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
    cv2.imwrite(str(folder / f"{name}.png"), np.concatenate(list(levels), axis=1)[..., ::-1])
    return {"png": f"{name}.png", "images": len(value)}


def _read(value, folder):
    if not isinstance(value, dict):
        return value
    if set(value) != {"png", "images"}:
        return {key: _read(item, folder) for key, item in value.items()}
    strip = cv2.imread(str(folder / value["png"]), cv2.IMREAD_UNCHANGED)
    strip = strip[..., None] if strip.ndim == 2 else strip[..., ::-1]
    return np.stack(np.split(strip, value["images"], axis=1)).astype(np.float32) / np.float32(255)
