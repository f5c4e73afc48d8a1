"""Classifiers: plain Keras models from float32 images in [0, 1] to logits.

`networks.py` has those that are trained from scratch, `backbones.py` those of `keras.applications`. `saved.py` loads
a classifier of any origin from a file.
"""

from locadv_tf.models.backbones import pretrained
from locadv_tf.models.networks import colour_cnn, pooled_cnn, residual_cnn, small_cnn
from locadv_tf.models.saved import layer_count, load_classifier, load_model

__all__ = [
    "colour_cnn",
    "layer_count",
    "load_classifier",
    "load_model",
    "pooled_cnn",
    "pretrained",
    "residual_cnn",
    "small_cnn",
]
