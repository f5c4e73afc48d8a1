"""How good are guessed masks of photographs? IoU with masks that people drew, and the time of a guess.

    python benchmarks/mask_quality.py [--dataset caltech10_outlines] [--images 100] [--sizes 64 128] [--epochs 5]

prints a table for each size and writes MASK_QUALITY.md beside this file. The set must have drawn masks. The model of
`saliency` is trained naturally on the training images, without any mask.
"""

import argparse
from pathlib import Path

import locadv_tf as la

SOURCES = ("border", "grabcut", ("grabcut", {"upsample": 1}), "center", "saliency", "threshold", "random", "full")


def main(argv=None):
    """Runs all sources at each size, prints the tables and writes them; returns the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="caltech10_outlines", help="a set of photographs with drawn masks")
    parser.add_argument("--images", type=int, default=100, help="test images, at most (default: 100)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="sides in pixels (default: 64 128)")
    parser.add_argument("--epochs", type=int, default=5, help="of the training for saliency (default: 5)")
    parser.add_argument("--train-limit", type=int, help="at most that many training images (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder (default: beside this file)")
    asked = parser.parse_args(argv)
    sizes, path = " ".join(map(str, asked.sizes)), asked.out / "MASK_QUALITY.md"
    text = HEAD.format(images=asked.images, sizes=sizes, epochs=asked.epochs)
    for side in asked.sizes:
        rows, classes = measure(asked, (side, side))
        text += f"\n## {asked.dataset}, {side}×{side} pixels, {rows[0]['n']} test images\n\n{table(rows)}\n\n"
        text += (
            f"Saliency's model: `colour_cnn`, {asked.epochs} epochs, {classes} classes, seed 0.\n\n{verdict(rows)}\n"
        )
        path.write_text(text, encoding="utf-8")  # what is done stays if the next size is stopped
    print(text)
    return path


HEAD = """# Guessed masks beside drawn ones

`python benchmarks/mask_quality.py --images {images} --sizes {sizes} --epochs {epochs}` on one CPU core.

IoU: intersection over union with the drawn object, and with the drawn background: mean over images, with 95 % intervals
(Student's). `random` has the area of the drawn masks, at random places: what chance gives. `full` has no object at all.
Times are of one run; compare their ratios.
"""


def measure(asked, size):
    """The rows of one size, and the number of classes."""
    read = {"image_size": size, "download": False}
    test = la.load_data(asked.dataset, "test", limit=asked.images, stratify=True, mask="ground_truth", **read)
    images, labels, exact = la.to_arrays(test)
    classes = len(la.class_names(asked.dataset))
    train = la.load_data(asked.dataset, "train", limit=asked.train_limit, mask="full", **read)
    model = la.colour_cnn(images.shape[1:], classes, seed=0)
    la.train_classifier(model, train, attack=la.FGSM(eps=2 / 255), share=0, epochs=asked.epochs, seed=0)
    model(images[:1], training=False)
    sources = [("saliency", {"model": model}) if source == "saliency" else source for source in SOURCES]
    return la.evaluation.mask_quality(images, exact, sources, labels=labels), classes


def table(rows):
    """The rows as Markdown, the best guess of the object first."""
    lines = ["| source | IoU of the object (%) | IoU of the background (%) | background (%) | ms per image |"]
    lines += ["|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: -row["iou_object"]):
        area, ms = 100 * row["background_mean"], row["ms_per_image"]
        cells = [row["source"], shown(row, "iou_object"), shown(row, "iou_background"), f"{area:.0f}", f"{ms:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(row, name):
    """A share in per cent with its interval, if it has one."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{100 * row[name]:.1f}" + ("" if low is None else f" [{100 * low:.1f}, {100 * high:.1f}]")


def verdict(rows):
    """Which guess has the best object, and what GrabCut's gain over the border model costs."""
    by = {row["source"]: row for row in rows}
    border, grabcut = (
        by["border"],
        max((by[name] for name in by if "grabcut" in name), key=lambda row: row["iou_object"]),
    )
    gain = 100 * (grabcut["iou_object"] - border["iou_object"])
    times = grabcut["ms_per_image"] / border["ms_per_image"]
    per = [100 * row["iou_object"] / row["ms_per_image"] for row in (border, grabcut)]
    return (
        f"The better GrabCut is `{grabcut['source']}`: {gain:+.1f} points of the object's IoU against `border`, at "
        f"{times:.1f} times its time. Points per millisecond: border {per[0]:.1f}, GrabCut {per[1]:.1f}."
    )


if __name__ == "__main__":
    main()
