"""What a data set larger than memory takes in memory: peak memory of streaming many images beside that of a few.

    python benchmarks/streaming.py [--images 20000] [--few 200] [--side 128] [--out .]

draws a TFDS set in a temporary folder, and lets `train_classifier`, `run_attack` and `evaluate` read it with `memory=0`
(nothing is kept), each in a process of its own. It prints a table and writes STREAMING.md into the folder `--out`. The
classifier is tiny: what is measured is the data's way, not the network's.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

BAR = 400  # MB that many images may take above a few
CLASSES = 10


def main(argv=None):
    """Measures all cases, prints the table and writes it; returns the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000, help="how many are many (default: 20000)")
    parser.add_argument("--few", type=int, default=200, help="how many are a few (default: 200)")
    parser.add_argument("--side", type=int, default=128, help="of the square images, in pixels (default: 128)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder (default: beside this file)")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TFDS_DATA_DIR": folder, "LOCADV_CACHE_DIR": folder}
        alone(draw, folder, asked.images, asked.side)
        rows, path = [], asked.out / "STREAMING.md"
        for use in USES:
            rows.append([alone(peak, use, n) for n in (asked.few, asked.images)])
            text = HEAD.format(**vars(asked)) + table(rows, asked) + "\n"
            path.write_text(text, encoding="utf-8")  # what is done stays if the next use is stopped
    print(text)
    return path


HEAD = """# Streaming a data set that does not fit in memory

`python benchmarks/streaming.py --images {images} --few {few} --side {side}`: colour images of {side}×{side} pixels in
JPEG, with the default masks (`border`), `memory=0`: nothing is kept. Each cell is a process of its own. The first use
of many images computes their masks; the others read them from the disk.

"""


def table(rows, asked):
    """Markdown: for each use the peaks in MB and the seconds, and whether the bar is met."""
    lines = [f"| use | {asked.few:,} images | {asked.images:,} images | more | at most {BAR} MB more |"]
    lines.append("|---|---|---|---|---|")
    for use, (few, many) in zip(USES, rows, strict=False):  # as far as they are done
        more = many[0] - few[0]
        cells = [f"{megabytes:.0f} MB, {seconds:.0f} s" for megabytes, seconds in (few, many)]
        lines.append(f"| {use} | {' | '.join(cells)} | {more:.0f} MB | {'met' if more <= BAR else 'missed'} |")
    return "\n".join(lines)


def alone(function, *arguments):
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def draw(folder, images, side):
    """A set of bright ellipses on smooth backgrounds, the larger the higher the class."""
    import cv2
    import numpy as np
    import tensorflow_datasets as tfds

    def photographs(numbers):
        for i in numbers:
            rng = np.random.default_rng(i)
            image = cv2.resize(rng.integers(0, 160, (4, 4, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
            middle = [int(side * place) for place in rng.uniform(0.4, 0.6, 2)]
            axes = [int(side * (0.1 + 0.02 * (i % CLASSES) + wide)) for wide in rng.uniform(0, 0.05, 2)]
            cv2.ellipse(image, middle, axes, 0, 0, 360, rng.integers(180, 256, 3).tolist(), -1)
            yield i, {"image": image, "label": i % CLASSES}

    class DrawnPhotographs(tfds.core.GeneratorBasedBuilder):
        """Drawn by `draw`."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(side, side, 3), encoding_format="jpeg")
            label = tfds.features.ClassLabel(num_classes=CLASSES)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            few = {"validation": range(images, images + 10), "test": range(images + 10, images + 20)}
            return {split: self._generate_examples(i) for split, i in ({"train": range(images)} | few).items()}

        def _generate_examples(self, numbers):
            return photographs(numbers)

    tfds.display_progress_bar(False)
    DrawnPhotographs(data_dir=folder).download_and_prepare()


def peak(use, images):
    """The peak memory of this process in MB, and the seconds, after a use of so many images."""
    import keras

    import locadv_tf as la

    data = la.load_data("drawn_photographs", f"train[:{images}]", memory=0)
    layers, shape = keras.layers, data.element_spec[0]["image"].shape
    model = keras.Sequential([keras.Input(shape), layers.AveragePooling2D(8), layers.Flatten(), layers.Dense(CLASSES)])
    started = time.perf_counter()
    USES[use](la, model, data)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return megabytes, time.perf_counter() - started


def fit(la, model, data):
    la.train_classifier(model, data, attack=la.single_step(eps=4 / 255), epochs=1)


def run_attack(la, model, data):
    assert len(la.run_attack(model, data, la.PGD(eps=4 / 255, steps=2))) == len(data)


def evaluate(la, model, data):
    (row, *_) = la.evaluate(model, data, {"FGSM": la.FGSM(eps=4 / 255)}, regions=["background"])
    assert row["n"] == len(data)


USES = {"train_classifier, 1 epoch": fit, "run_attack, PGD-2": run_attack, "evaluate, FGSM": evaluate}


if __name__ == "__main__":
    main()
