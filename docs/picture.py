"""Draws the README's picture, and prints the numbers of its caption.

    make picture                        # trains, attacks, writes docs/images/background_attack.png
    python docs/picture.py colour_cnn   # the numbers of the kit's deeper classifier; draws nothing

The data set is `composite` with correlation 0: the background says nothing about the label. Changed images are rounded
to 8 bits, as in a file: the classifier reads what the picture shows.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import locadv_tf as la

EPS = 4 / 255
SHOWN = (8, 5)  # one image of each: digits that a person reads at once
PICTURE = Path(__file__).with_name("images") / "background_attack.png"


def main(name="small_cnn"):
    train = la.load_data("composite", "train", correlation=0)
    test = la.to_arrays(la.load_data("composite", "test", correlation=0))
    image, label, mask = test
    attack = la.PGD(eps=EPS, steps=20)
    model = getattr(la, name)(image.shape[1:], 10, seed=0)
    la.train_classifier(model, train, attack=attack, share=0, epochs=10, seed=0)  # share=0: no image is attacked

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
    print(f"{name}, {len(label)} test images, eps {255 * EPS:g}/255, background {100 * mask.mean():.0f} % of pixels")
    for what, answer in answers.items():
        right = answer.argmax(axis=1) == label
        fooled = natural & ~right
        print(f"{what}: accuracy {100 * right.mean():.1f} %; fooled {fooled.sum()} of {natural.sum()}")
    if name == "small_cnn":
        draw(image, mask, label, tried[what], answers["no change"], answer, fooled)


def draw(image, mask, label, attacked, before, after, fooled):
    """The fooled image of each digit of SHOWN for which the classifier is surest: of the right and the wrong answer."""
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
            told = f"reads {answer.argmax()}, {100 * answer.max():.0f} %"
            axis.set_xlabel(f"true {digit}\n{told}", fontsize=13, color=colour)
            print(f"true {digit}: {told}")
        line[1].set_xlabel("blue: may change", fontsize=11)
        line[2].set_xlabel("grey: no change", fontsize=11)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Software": None})  # the same bytes each time
    print(PICTURE)


if __name__ == "__main__":
    main(*sys.argv[1:])
