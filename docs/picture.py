"""Draws the README's picture, `make picture`: trains, attacks, writes docs/images/background_attack.png and the numbers
of its caption, results/picture/. The kit's deeper classifier, `colour_cnn`, has numbers, too, and no picture.

The data set is `composite` with correlation 0: the background says nothing about the label. Changed images are rounded
to 8 bits, as in a file: the classifier reads what the picture shows.
"""

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import locadv_tf as la
from locadv_tf.reports import metrics

EPS = 4 / 255
SHOWN = (8, 5)  # one image of each: digits that a person reads at once
DRAWN, OTHER = "small_cnn", "colour_cnn"
EPOCHS, STEPS = 10, 20
PICTURE = Path(__file__).with_name("images") / "background_attack.png"
KEPT = Path(__file__).resolve().parents[1] / "results" / "picture"


def main():
    for name in (DRAWN, OTHER):
        asked = {"classifier": name, "dataset": "composite", "correlation": 0, "eps": EPS, "epochs": EPOCHS, "seed": 0}
        print(metrics.write_metrics(KEPT / name, parameters=asked | {"attack_steps": STEPS}, results=measured(name)))
    print(PICTURE)


def measured(name):
    """What a classifier does, image by image counted, and the answers that the picture shows."""
    train = la.load_data("composite", "train", correlation=0)
    test = la.to_arrays(la.load_data("composite", "test", correlation=0))
    image, label, mask = test
    attack = la.PGD(eps=EPS, steps=STEPS)
    model = getattr(la, name)(image.shape[1:], 10, seed=0)
    la.train_classifier(model, train, attack=attack, share=0, epochs=EPOCHS, seed=0)  # share=0: no image is attacked

    tried = {"no change": image}
    for what, method, region in (
        ("noise on the background", la.RandomNoise(eps=EPS), "background"),  # each value moves by eps, up or down
        ("attack on the foreground", attack, "foreground"),
        ("attack on the background", attack, "background"),
    ):
        found = la.run_attack(model, test, method, region=region, seed=0, stop="worst").images
        tried[what] = np.float32(np.rint(255 * found) / 255)
    answers = {what: keras.ops.softmax(model.predict(x, verbose=0)).numpy() for what, x in tried.items()}

    natural = answers["no change"].argmax(axis=1) == label
    found = {"n": len(label), "background": mask.mean(), "right": natural.sum(), "after": {}}
    for what, answer in answers.items():
        right = answer.argmax(axis=1) == label
        fooled = natural & ~right
        found["after"][what] = {"accuracy": right.mean(), "fooled": fooled.sum()}
    if name == DRAWN:
        found["shown"] = draw(image, mask, label, tried[what], answers["no change"], answer, fooled)
    return found


def draw(image, mask, label, attacked, before, after, fooled):
    """The fooled image of each digit of SHOWN for which the classifier is surest: of the right and the wrong answer.

    Returns:
        A row for each digit: what the classifier reads before the attack and after it, and how sure it is.
    """
    rows = []
    sure = fooled * np.minimum(before.max(axis=1), after.max(axis=1))
    figure = Figure(figsize=(7, 4.75), dpi=200, layout="constrained")
    heads = ("natural image", "background mask", f"change, × {1 / (2 * EPS):.0f}", "attacked image")
    for line, digit in zip(figure.subplots(len(SHOWN), 4), SHOWN, strict=True):
        i = np.argmax(sure * (label == digit))
        change = attacked[i] - image[i]
        assert fooled[i] and np.abs(change).max() < EPS + 1e-6 and not change[mask[i, ..., 0] == 0].any()
        panels = (image[i], la.plotting.tint(image[i], mask[i]), la.plotting.magnify(change, EPS), attacked[i])
        for axis, pixels, head in zip(line, panels, heads, strict=True):
            axis.imshow(pixels, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if digit == SHOWN[0]:
                axis.set_title(head, fontsize=12, fontweight="bold")
        for axis, answer, colour in ((line[0], before[i], "black"), (line[3], after[i], "#B34700")):
            rows.append({"true": digit, "reads": answer.argmax(), "sure": answer.max()})
            told = f"reads {answer.argmax()}, {100 * answer.max():.0f} %"
            axis.set_xlabel(f"true {digit}\n{told}", fontsize=13, color=colour)
        line[1].set_xlabel("blue: may change", fontsize=11)
        line[2].set_xlabel("grey: no change", fontsize=11)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Software": None})  # the same bytes each time
    return rows


if __name__ == "__main__":
    main()
