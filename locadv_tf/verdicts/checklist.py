"""Can the number be trusted? The checks that an evaluation should pass before you believe its robust accuracy.

Carlini et al. (2019, arXiv:1902.06705) and AutoAttack (Croce & Hein 2020, arXiv:2003.01690) ask for most of them, and
Pintor et al. (2022, arXiv:2106.09947) for two; some are about the mask. Each check sees only what is asked and what is
answered, and does not need the truth. A failed check says that the *number* is wrong or means something else. It does
not say that the model is bad. Passed checks are no proof either: an accuracy under attack is an upper bound.

If the attack or the model raises an error in a check, the check fails, with the error as its reason. If the attack
cannot run on the data at all, `check` raises the error.
"""

import tensorflow as tf

from locadv_tf.engine.progress import progress_bar
from locadv_tf.startup import full_float32
from locadv_tf.verdicts import rivals, rules
from locadv_tf.verdicts.observations import gather
from locadv_tf.verdicts.pass_or_fail import judged

CHECKS = {
    judge.__name__.replace("_", " "): judge
    for judge in (
        rules.accuracy_does_not_rise,
        rules.foreground_untouched,
        rules.attack_has_somewhere_to_act,
        rules.budget_and_range_kept,
        rules.weights_untouched,
        rules.finite_and_deterministic,
        rules.answer_depends_on_image_alone,
        rules.eps_zero_is_natural,
        rivals.accuracy_falls_with_eps,
        rivals.unbounded_full_attack_reaches_chance,
        rivals.iterative_beats_single_step,
        rivals.gradient_beats_noise,
        rivals.more_steps_change_little,
        rivals.loss_has_stopped_rising,
        rivals.best_point_is_handed_in,
        rivals.white_box_beats_transfer,
        rivals.white_box_beats_black_box,
        rivals.stronger_ensemble_finds_hardly_more,
        rivals.few_gradients_are_zero,
        rivals.planted_image_is_found,
        rules.few_steps_are_clipped,
    )
}


@full_float32()  # answers are held against each other that may differ by rounding alone
def check(
    model, data, attack, *, region="background", eps=None, surrogate=None, seed=0, batch_size=128, progress=False
):
    """Runs every check on a model's accuracy under an attack.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits. It is left as it was.
        data: a data set of `({"image", "mask"}, label)` or `(images, labels, masks)`. 100 or 200 images are enough:
            about twenty attacks run on them.
        attack: one of the kit's, or any callable `attack(model, image, label, mask=, seed=)` on tensors (mask: float32,
            1 where it may change the pixel) that returns the attacked images. Some checks change `eps`, `steps` or
            `restarts`: they need a dataclass or a `functools.partial` with these names. An attribute `uses_gradient`,
            true or false, says whether the attack needs the model's gradient.
        region: `"background"`, `"foreground"` or `"full"`: where the attack may change the image.
        eps: the budget that is claimed; None: the attack's own `eps`.
        surrogate: another model for the same classes, or None. Images made for it are tried on the model.
        seed: integer that all random numbers follow from.
        batch_size: how many images are attacked at a time.
        progress: show a progress bar.

    Returns:
        A list of rows, a dictionary per check: `check` (its name), `outcome` (`"pass"`, `"fail"` or `"does not
        apply"`), `reason` (a sentence with what was found) and `numbers` (a dictionary).

    Raises:
        ValueError: for bad input: a model that ends in softmax or has weights that are not finite, data
            without images, an unknown or zero budget.
        Exception: the attack's own error, if it cannot run on the data at all.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> rows = check(model, la.load_data("digits", "test[:8]"), la.PGD(eps=0.1))
        >>> rows[1]["check"], rows[1]["outcome"]
        ('foreground untouched', 'pass')
    """
    observations = gather(
        model, data, attack, region=region, eps=eps, surrogate=surrogate, seed=seed, batch_size=batch_size
    )
    logger, rows, weights = tf.get_logger(), [], model.get_weights()
    level = logger.level
    logger.setLevel("ERROR")  # TensorFlow warns about many traces; many attacks on one model need them
    try:
        _ = observations.attacked  # before any check: without it there is nothing to judge; its errors are raised
        for name, judge in progress_bar("checks", CHECKS.items(), shown=progress, unit="check"):
            try:
                outcome, reason, numbers = judge(observations)
            except Exception as error:  # mostly the attack's: one broken check must not stop the others
                outcome, reason, numbers = judged(False, _raised(error))
            numbers = {"n": len(observations)} | numbers
            rows.append({"check": name, "outcome": outcome, "reason": reason, "numbers": numbers})
            model.set_weights(weights)  # the next check gets the original model
    finally:
        logger.setLevel(level)
        model.set_weights(weights)
    return rows


def headline(rows):
    """A report's first line: can the number be trusted, and if not, why?

    Example:
        >>> rows = [{"check": "foreground untouched", "outcome": "fail", "reason": "9 values changed", "numbers": {}}]
        >>> headline(rows)
        'Do not trust this number: foreground untouched: 9 values changed.'
        >>> headline([rows[0] | {"outcome": "pass"}])
        'No check speaks against this number: 1 passed, 0 do not apply.'
    """
    failed = [f"{row['check']}: {row['reason']}" for row in rows if row["outcome"] == "fail"]
    if failed:
        return f"Do not trust this number: {'; '.join(failed)}."
    passed, skipped = (sum(row["outcome"] == outcome for row in rows) for outcome in ("pass", "does not apply"))
    return f"No check speaks against this number: {passed} passed, {skipped} do not apply."


def _raised(error):
    """An error as one line, for a reason."""
    return f"the check raised {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
