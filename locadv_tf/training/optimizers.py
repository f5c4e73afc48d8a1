"""The optimizers that `train_classifier` knows by name, of Keras's parts, and how averaged weights stay in a model."""

import keras

from locadv_tf import validation

RATE, DECAY = 2e-3, 0.05  # usual ones for networks of this size; not tuned
AVERAGED = 100  # batches that the averages reach back, at most a twentieth of the training


def optimizer_named(optimizer, *, steps):
    """A Keras optimizer for so many batches from its name, `"adam"` or `"adamw"`; one that is none yet stays as it is.

    `"adamw"`: AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), without weight decay for biases and batch
    normalization; its rate rises for a twentieth of the steps, then falls along a cosine to 0; the weights are averaged
    exponentially (Polyak & Juditsky 1992).

    Raises:
        ValueError: for anything else.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise ValueError(f"optimizer={optimizer!r}; expected 'adam', 'adamw' or a Keras optimizer.")
    if validation.choice(optimizer, ("adam", "adamw"), name="optimizer") == "adam":
        return keras.optimizers.Adam()
    warm_up = max(1, steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 100, decay_steps=max(1, steps - warm_up), warmup_target=RATE, warmup_steps=warm_up
    )
    momentum = 1 - 1 / min(AVERAGED, max(1, steps // 20))
    adamw = keras.optimizers.AdamW(rate, weight_decay=DECAY, use_ema=True, ema_momentum=momentum)
    adamw.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return adamw


def averages(optimizer):
    """Whether an optimizer averages the weights."""
    return bool(getattr(_inner(optimizer), "use_ema", False))


class KeepAverages(keras.callbacks.Callback):
    """Behind `SwapEMAWeights(swap_on_epoch=True)` and all others: what the model holds when training is stopped stays.

    The model holds the averages then, or what a callback restored, and the optimizer's slots the last raw weights.
    `fit` would end with putting those into the model.
    """

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training:
            _inner(self.model.optimizer).use_ema = False


def _inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)  # of what scales the loss under mixed precision
