"""locadv_tf: attacks on an image's background, and the training that withstands them, in TensorFlow.

A teaching kit around Rothberg, Chen, Jie and Ji (2019), "Localized Adversarial Training for Increased Accuracy and
Robustness in Image Classification", arXiv:1909.04779. Start with `notebooks/00_start_here.ipynb`.
"""

from locadv_tf.quiet import import_tensorflow

import_tensorflow()  # before any other module does

from locadv_tf import plotting
from locadv_tf.attacks.apgd import APGD
from locadv_tf.attacks.autoattack import LocalizedAutoAttack
from locadv_tf.attacks.pgd import FGSM, PGD, RandomNoise, region_mask
from locadv_tf.attacks.square import Square
from locadv_tf.data import masks
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.load import class_names, load_data
from locadv_tf.device import describe_device, grow_gpu_memory
from locadv_tf.engine.smallest_eps import smallest_eps
from locadv_tf.engine.stream import AttackResult, run_attack
from locadv_tf.evaluation import evaluation
from locadv_tf.evaluation.evaluation import evaluate
from locadv_tf.models import colour_cnn, small_cnn
from locadv_tf.training.fast import OverfittingWatch, single_step
from locadv_tf.training.training import LocalizedAdversarialTraining, train_classifier
from locadv_tf.verdicts import verdicts

__version__ = "0.1.0"

__all__ = [
    "APGD",
    "FGSM",
    "PGD",
    "AttackResult",
    "LocalizedAdversarialTraining",
    "LocalizedAutoAttack",
    "OverfittingWatch",
    "RandomNoise",
    "Square",
    "class_names",
    "colour_cnn",
    "describe_device",
    "evaluate",
    "evaluation",
    "grow_gpu_memory",
    "load_data",
    "masks",
    "plotting",
    "region_mask",
    "run_attack",
    "single_step",
    "small_cnn",
    "smallest_eps",
    "to_arrays",
    "train_classifier",
    "verdicts",
]
