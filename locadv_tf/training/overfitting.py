"""Watches a training with one attack step for catastrophic overfitting.

Wong, Rice and Kolter (2020, "Fast is better than free", arXiv:2001.03994): one step from a random start trains about as
well as PGD. But it can fail: in *catastrophic overfitting* the classifier learns to withstand only this one step, often
within an epoch. Its accuracy under the training's attack then looks best. Only a stronger attack shows the failure.
"""

import keras
import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks.attack import check_attack
from locadv_tf.attacks.pgd import PGD
from locadv_tf.attacks.regions import allowed
from locadv_tf.data.batches import first_images
from locadv_tf.training.localized import LocalizedAdversarialTraining


class OverfittingWatch(keras.callbacks.Callback):
    """Watches a `LocalizedAdversarialTraining` for catastrophic overfitting.

    After each epoch it attacks the same few images twice: as in training, and with a stronger attack. It logs the
    accuracies as `val_weak_accuracy` and `val_strong_accuracy`.

    The criterion has two halves. (1) Accuracy under the stronger attack is more than `drop` below its best so far (Wong
    et al. 2020 stop at a fall by 0.2 from one epoch to the next). (2) It is also more than `drop` below the accuracy
    under the training's attack (Andriushchenko and Flammarion 2020, arXiv:2007.02617). A training that diverges meets
    only the first half. The best accuracy counts only if it is better than always naming the most frequent class:
    no attack can fool a classifier that does that.

    If both are met, the watch prints a warning once, restores the weights of the best epoch (or of the start, if the
    classifier was already robust) and stops the training. It also warns if only the second half is met at the end: the
    classifier never was as robust as its accuracy in training says.

    Attributes: `verdict`, a sentence for the report; `overfitted`, whether the criterion was met; `misled`, whether its
    second half is met after the last epoch.

    Args:
        data: a `tf.data.Dataset` of `({"image", "mask"}, label)`, batched or not, or `(images, labels, masks)`. Its
            first images are used. They decide which weights stay, so take validation or training data, never test data.
        attack: the stronger attack; None: PGD-10 with the eps and the norm of the training's.
        images: how many images, at most.
        drop: a difference of accuracies, from 0 to 1.
        restore: restore the best weights and stop; False: only warn.
        seed: integer that decides the attacks' random numbers, the same ones in each epoch.

    Raises:
        ValueError: for bad input; at the start of training, if the model is not trained with an attack's gradient.

    Example:
        >>> import locadv_tf as la
        >>> watch = la.OverfittingWatch(la.load_data("digits", "validation"), images=64)
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> attack = la.single_step(eps=0.1)
        >>> options = {"attack": attack, "epochs": 1, "callbacks": [watch]}
        >>> history = la.train_classifier(model, la.load_data("digits", "train[:128]"), **options)
        >>> history["val_weak_accuracy"][0] >= history["val_strong_accuracy"][0]
        True
        >>> watch.overfitted
        False
    """

    def __init__(self, data, *, attack=None, images=128, drop=0.2, restore=True, seed=0):
        super().__init__()
        self.attack, self.restore = None if attack is None else check_attack(attack), restore
        self.drop = validation.fraction(drop, name="drop")
        self.seed = validation.seed(seed)
        self.sample = first_images(data, validation.count(images, name="images"))
        if self.sample is None:
            raise ValueError("data holds no images; expected at least one.")

    def on_train_begin(self, logs=None):
        trained = self.model
        if not isinstance(trained, LocalizedAdversarialTraining):
            raise ValueError(f"the model is {type(trained).__name__}; expected a LocalizedAdversarialTraining.")
        if trained.share == 0 or trained.attack.steps == 0:
            raise ValueError(
                f"share={trained.share:g}, attack={trained.attack!r}; expected training with an attack's gradient. "
                "There is nothing to watch here: leave the watch out."
            )
        image, label, mask = self.sample
        mask = allowed(mask, image, trained.region)
        self.attacks = trained.attack, self.attack or PGD(eps=trained.attack.eps, norm=trained.attack.norm, steps=10)

        def accuracy(attack):
            x = attack(trained.classifier, image, label, mask=mask, seed=self.seed)
            predicted = tf.argmax(trained.classifier(x, training=False), axis=-1)
            return tf.reduce_mean(tf.cast(predicted == label, tf.float32))

        self.measure = tf.function(lambda: [accuracy(attack) for attack in self.attacks], autograph=False)
        self.overfitted, self.misled, self.verdict = False, False, "no epoch was finished"
        self.best, self.best_epoch, self.best_weights = np.bincount(label).max() / len(label), None, None
        self._remember(0, float(self.measure()[1]))

    def on_epoch_end(self, epoch, logs=None):
        weak, strong = map(float, self.measure())
        logs |= {"val_weak_accuracy": weak, "val_strong_accuracy": strong}
        if self.overfitted:
            return
        fallen = self.best_epoch is not None and self.best - strong > self.drop
        self.misled = weak - strong > self.drop
        told = (
            f"{100 * weak:.1f} % under {self.attacks[0]} (the training's), {100 * strong:.1f} % under "
            f"{self.attacks[1]}, n = {len(self.sample[1])}"
        )
        if not (fallen and self.misled):
            kind = "less robust than it looks in training" if self.misled else "no catastrophic overfitting"
            self.verdict = f"{kind}: accuracy {told}, after epoch {epoch + 1}"
            self._remember(epoch + 1, strong)
            return
        self.overfitted = True
        best = f"{100 * self.best:.1f} % after epoch {self.best_epoch}"
        self.verdict = f"catastrophic overfitting in epoch {epoch + 1}: accuracy {told}, down from {best}"
        if self.restore:
            self.model.classifier.set_weights(self.best_weights)
            self.model.stop_training = True
            self.verdict += ", whose weights were restored"
        print(f"Warning: {self.verdict}. Fix: more steps or a smaller eps.")

    def on_train_end(self, logs=None):
        if self.misled and not self.overfitted:
            print(f"Warning: {self.verdict}. Fix: more steps or a smaller eps.")

    def _remember(self, epoch, strong):
        if strong > self.best:
            self.best, self.best_epoch, self.best_weights = strong, epoch, self.model.classifier.get_weights()
