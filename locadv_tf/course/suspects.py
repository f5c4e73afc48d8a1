"""What assignment 4's six suspects hand in: attacked images, in an order that follows from the course's secret.

Students get the images and the classifier, as anybody does who checks another's claim. There is no code to read and no
key to compute: what each attack did wrong shows in its images alone. So the hidden tests need no key either.
"""

import hashlib
from pathlib import Path

import numpy as np

from locadv_tf.attacks.pgd import PGD
from locadv_tf.course import broken_attacks
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import load_data
from locadv_tf.models import small_cnn
from locadv_tf.training.recipes import train_classifier

FILE = "suspects.npz"
IMAGES = 80


def write(path, secret):
    """Trains a classifier on the embedded digits, runs the six attacks on it and writes all that students get.

    The file holds `image`, `label`, `mask`, `eps`, `attacked` `(6, N, H, W, C)` and the classifier's `weight_0`, ....

    Args:
        path: the file, `.npz`.
        secret: bytes; they decide eps, the images, the classifier and the order of the attacks.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(b"suspects" + secret).digest()))
    eps = np.float32(rng.integers(22, 29) / 255)
    image, label, mask = to_arrays(load_data("digits", "test", limit=IMAGES, seed=int(rng.integers(2**31))))
    model = small_cnn(input_shape=image.shape[1:], num_classes=10, seed=int(rng.integers(2**31)))
    train_classifier(model, load_data("digits", "train"), attack=PGD(eps=float(eps)), share=0, epochs=8)
    order = rng.permutation(broken_attacks.FAULTS)
    attacked = [broken_attacks.attack(fault)(model, image, label, mask, float(eps)).numpy() for fault in order]
    weights = {f"weight_{i}": weight for i, weight in enumerate(model.get_weights())}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, image=image, label=label, mask=mask, eps=eps, attacked=np.stack(attacked), **weights)
