"""
Title: Localized adversarial training
Description: Train a classifier on images whose background is attacked. The whole method in one file.
Paper: Rothberg, Chen, Jie and Ji (2019), arXiv:1909.04779
Runs in: less than a minute on two CPU cores, without a download

## Introduction

An image classifier should answer from the object. Often its answer also relies on the background.

*Localized adversarial training* (LAT) has three parts:

1. A **mask** m says which pixels are background.
2. An **attack** changes only the background, by at most eps per pixel, so that the model's loss rises.
3. A **training step** replaces a share of each batch by such images. The labels stay.

The paper's abstract claims a lower loss on natural images *and* on adversarial images.
This example trains one model in the natural way and one with LAT. Then it compares them.
The kit around this file, `locadv_tf`, adds controls, stronger attacks and comparisons over seeds.

You need to know Keras. Its guide to custom training steps helps:
https://keras.io/guides/custom_train_step_in_tensorflow/

## Set-up
"""

import cv2
import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

EPS = 0.1  # how far a pixel may move; pixels lie in [0, 1]
SHARE = 0.5  # this share of each batch is attacked
TRAIN_STEPS = 5  # steps of the attack in training
TEST_STEPS = 20  # steps of the attack in the evaluation
EPOCHS = 12
BATCH_SIZE = 64

"""
## Data

scikit-learn includes 1,797 handwritten digits of 8×8 pixels. We add a margin and scale them to 28×28.
The split is stratified: 1,197 images to train on, 400 to test on, and 200 to choose settings with.
This example chooses nothing, so it leaves the 200 alone.
"""


def load_images():
    """The splits "train", "validation" and "test", each a pair.

    Image: float32 (N, 28, 28, 1) in [0, 1]. Label: int64 (N,).
    """
    x, y = load_digits(return_X_y=True)
    x = np.pad(x.reshape(-1, 8, 8) * (255 / 16), ((0, 0), (1, 1), (1, 1)))  # a margin: the strokes touch the edge
    x = np.stack([cv2.resize(image, (28, 28), interpolation=cv2.INTER_CUBIC) for image in x])
    x = np.rint(x.clip(0, 255)).astype("float32")[..., None] / 255  # grey levels of 8 bits, as in MNIST
    x, x_test, y, y_test = train_test_split(x, y.astype("int64"), test_size=400, stratify=y, random_state=0)
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=200, stratify=y, random_state=0)
    return {"train": (x, y), "validation": (x_validation, y_validation), "test": (x_test, y_test)}


"""
## Mask

The digits are bright on black. So a threshold finds the background: m = 1 there, and m = 0 on the digit.
Photographs need another mask. The rest of this example does not depend on where the mask comes from.
"""


def background_mask(image, threshold=0.1):
    """The mask m of grey images: float32 (N, H, W, 1), 1 on the background, 0 on the foreground."""
    return (image <= threshold).astype("float32")


"""
## Model

A small convolutional network. It returns logits: a softmax at the end can hide the gradient.
Its first layer moves the pixels to [-1, 1]. So eps stays in pixel units of [0, 1].
"""


def build_classifier():
    """Images (N, 28, 28, 1) in [0, 1] to logits (N, 10)."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(2.0, offset=-1.0),
            keras.layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


"""
## Attack

Projected gradient descent (PGD; Madry et al. 2018, arXiv:1706.06083, eq. 4), kept to the mask:

    x^0     = x
    x^{k+1} = Π( x^k + m · α · sign(∇_x L(x^k, y)) )

L is the loss, y the true label, α the step size. Π projects on the eps-ball around x and on [0, 1].
Madry et al. start at a random point of the ball. We start at the image, so the attack needs no random numbers.
"""


def background_pgd(model, x, y, m, *, eps, steps):
    """PGD on the background.

    Args:
        model: maps images to logits.
        x: images, float32 (N, H, W, C) in [0, 1].
        y: true labels, integers (N,).
        m: mask, (N, H, W, 1), 1 where the attack may change the pixel.
        eps: how far a pixel may move.
        steps: how many steps, at least 1.

    Returns:
        The last point, shaped like x: equal to x where m = 0, within eps of it elsewhere, in [0, 1].
    """
    alpha = 2.5 * eps / steps  # α: all steps together could cross the ball
    x_k = x
    for _ in range(steps):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x_k)
            logits = model(x_k, training=False)  # no dropout, and batch normalization does not learn from the attack
            # A sum, not a mean: an image's gradient must not depend on the size of its batch.
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))  # L(x^k, y)
        x_k += alpha * tf.sign(tape.gradient(loss, x_k))  # a step uphill
        x_k = tf.clip_by_value(x_k, x - eps, x + eps)  # Π: the eps-ball
        x_k = tf.clip_by_value(x_k, 0.0, 1.0)  # Π: the pixel range
        x_k = tf.where(m == 1, x_k, x)  # m: the foreground stays, bit for bit
    return x_k


"""
## Training step

The attack runs inside `train_step`, on the weights of that moment. So each step trains on fresh adversarial images.
Natural and adversarial images go through one forward pass together. All that follows is Keras's own training step.

The classifier is a part of this model. After training you take it out and use it as any other Keras model.
"""


class LocalizedAdversarialTraining(keras.Model):
    """Trains `classifier` on batches whose first `share` is replaced by its background-adversarial version."""

    def __init__(self, classifier, *, eps=EPS, steps=TRAIN_STEPS, share=SHARE):
        super().__init__()
        self.classifier, self.eps, self.steps, self.share = classifier, eps, steps, share

    def train_step(self, data):
        inputs, y = data
        x, m = inputs["image"], inputs["mask"]

        # The first n images become adversarial, the others stay natural.
        n = tf.cast(self.share * tf.cast(tf.shape(x)[0], tf.float32) + 0.5, tf.int32)  # rounded
        x_adv = background_pgd(self.classifier, x[:n], y[:n], m[:n], eps=self.eps, steps=self.steps)
        mixed = tf.concat([x_adv, x[n:]], axis=0)

        with tf.GradientTape() as tape:
            logits = self.classifier(mixed, training=True)
            loss = self.compute_loss(x=mixed, y=y, y_pred=logits)
        weights = self.classifier.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, logits)
        return {metric.name: metric.result() for metric in self.metrics}


"""
## Training

Both models start from the same weights and see the images in the same order: one seed sets both.
"""


def compile_and_fit(model, inputs, label, epochs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss=loss, metrics=["accuracy"])
    model.fit(inputs, label, batch_size=BATCH_SIZE, epochs=epochs, verbose=2)


def train_natural(image, label, *, epochs, seed):
    keras.utils.set_random_seed(seed)
    classifier = build_classifier()
    compile_and_fit(classifier, image, label, epochs)
    return classifier


def train_localized(image, label, *, epochs, seed):
    keras.utils.set_random_seed(seed)
    classifier = build_classifier()
    inputs = {"image": image, "mask": background_mask(image)}
    compile_and_fit(LocalizedAdversarialTraining(classifier), inputs, label, epochs)
    return classifier


"""
## Evaluation

We attack every test image with more steps than in training. Then we measure accuracy and loss on both kinds of images.
An attack can miss the worst change. So the adversarial accuracy is an upper bound of the robust accuracy.
"""


def evaluate(classifier, image, label):
    """Accuracy and mean loss on natural images and under PGD on their background, as a dictionary."""
    x, y = tf.constant(image), tf.constant(label)
    x_adv = background_pgd(classifier, x, y, background_mask(image), eps=EPS, steps=TEST_STEPS)
    row = {}
    for kind, images in {"natural": x, "adversarial": x_adv}.items():
        logits = classifier(images, training=False)
        row[f"{kind} accuracy"] = float(np.mean(tf.argmax(logits, axis=-1) == y))
        row[f"{kind} loss"] = float(np.mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)))
    return row


def interval(p, n, z=1.96):
    """The 95 % interval of an accuracy p of n images (Wilson 1927)."""
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def print_table(rows, n, seed):
    print(f"\nAttack: PGD-{TEST_STEPS} on the background, eps = {255 * EPS:g}/255. {n} test images, seed {seed}.")
    print(f"{'training':<10}{'images':<13}{'accuracy':>8}  95 % interval     loss")
    for name, row in rows.items():
        for kind in ("natural", "adversarial"):
            accuracy, loss = row[f"{kind} accuracy"], row[f"{kind} loss"]
            low, high = interval(accuracy, n)
            print(f"{name:<10}{kind:<13}{accuracy:>8.3f}  [{low:.3f}, {high:.3f}]  {loss:>7.3f}")
    print("The intervals are over images. One seed proves nothing: compare trainings over at least five seeds.")


def main(*, epochs=EPOCHS, images=None, seed=0):
    """Trains both models, prints a table and returns its rows.

    Args:
        epochs: how often each model sees the training images.
        images: at most so many images to train on, and as many to test on; None: all.
        seed: integer that the initial weights and the order of the images follow from.
    """
    data = load_images()
    (x, y), (x_test, y_test) = ([part[:images] for part in data[split]] for split in ("train", "test"))
    rows = {}
    for name, train in {"natural": train_natural, "LAT": train_localized}.items():
        print(f"\n{name} training")
        classifier = train(x, y, epochs=epochs, seed=seed)
        rows[name] = evaluate(classifier, x_test, y_test)
    print_table(rows, len(y_test), seed)
    return rows


if __name__ == "__main__":
    main()
