"""locadv_tf: attacks on an image's background, and the training that withstands them, in TensorFlow.

A teaching kit around Rothberg, Chen, Jie and Ji (2019), "Localized Adversarial Training for Increased Accuracy and
Robustness in Image Classification", arXiv:1909.04779. Start with `notebooks/00_start_here.ipynb`.

The method is in `attacks/` (an attack that is kept to a region) and `training/` (a training step that uses it). All
else serves these two.
"""

from locadv_tf.startup import import_tensorflow

import_tensorflow()  # before any other module does

from locadv_tf import evaluation, plotting, validation, verdicts

# The method: attacks on a region, and the training with them
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.apgd import APGD
from locadv_tf.attacks.autoattack import LocalizedAutoAttack
from locadv_tf.attacks.fmn import FMN
from locadv_tf.attacks.pgd import FGSM, PGD, RandomNoise
from locadv_tf.attacks.regions import region_mask
from locadv_tf.attacks.square import Square

# Data and models
from locadv_tf.data import masks
from locadv_tf.data.batches import to_arrays
from locadv_tf.data.composite import composite
from locadv_tf.data.load import class_names, load_data

# Whole data sets
from locadv_tf.engine.progress import progress_bar
from locadv_tf.engine.smallest_eps import smallest_eps
from locadv_tf.engine.result import AttackResult
from locadv_tf.engine.stream import run_attack

# Evaluation
from locadv_tf.evaluation import challenge, photo_challenge, photographs, reliance
from locadv_tf.evaluation.intervals import paired_difference, share_interval, with_interval
from locadv_tf.evaluation.measurement import evaluate, format_row, measure, natural_row, summarize
from locadv_tf.models import colour_cnn, load_model, pretrained, residual_cnn, small_cnn

# Reports
from locadv_tf.reports import claims
from locadv_tf.reports.experiment import experiment
from locadv_tf.reports.lesson_parts import LessonParts
from locadv_tf.reports.metrics import versions, write_metrics
from locadv_tf.reports.notebooks import stored_figure
from locadv_tf.reports.tables import claims_table, headline_table, results_table, verdicts_table
from locadv_tf.startup import describe_device, full_float32, grow_gpu_memory, repeat_exactly
from locadv_tf.training.localized import LocalizedAdversarialTraining, passes_per_image
from locadv_tf.training.overfitting import OverfittingWatch
from locadv_tf.training.pipeline import flip_and_shift
from locadv_tf.training.recipes import TRAININGS, recipe, single_step, train_classifier
from locadv_tf.units import default_eps, eps_255

__version__ = "0.2.0"

__all__ = [
    # The method: attacks on a region, and the training with them
    "FGSM",
    "PGD",
    "APGD",
    "Square",
    "LocalizedAutoAttack",
    "FMN",
    "RandomNoise",
    "region_mask",
    "LocalizedAdversarialTraining",
    "train_classifier",
    "TRAININGS",
    "recipe",
    "single_step",
    "flip_and_shift",
    "passes_per_image",
    "OverfittingWatch",
    # Data and models
    "load_data",
    "class_names",
    "composite",
    "masks",
    "to_arrays",
    "small_cnn",
    "colour_cnn",
    "residual_cnn",
    "pretrained",
    "load_model",
    # Whole data sets
    "run_attack",
    "AttackResult",
    "smallest_eps",
    # Evaluation
    "evaluate",
    "measure",
    "summarize",
    "natural_row",
    "format_row",
    "share_interval",
    "paired_difference",
    "with_interval",
    "evaluation",
    "reliance",
    "challenge",
    "photographs",
    "photo_challenge",
    "verdicts",
    # Reports
    "experiment",
    "headline_table",
    "results_table",
    "claims_table",
    "verdicts_table",
    "write_metrics",
    "LessonParts",
    "stored_figure",
    "versions",
    "claims",
    "plotting",
    "eps_255",
    "default_eps",
    "progress_bar",
    # The parts of an attack, and what bad input is told
    "losses",
    "balls",
    "validation",
    # The device
    "describe_device",
    "grow_gpu_memory",
    "repeat_exactly",
    "full_float32",
]
