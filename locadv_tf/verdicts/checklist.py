"""Can the number be trusted? The checks that an evaluation should pass before anybody believes its robust accuracy.

They are those that Carlini et al. (2019, arXiv:1902.06705) and AutoAttack (Croce & Hein 2020,
arXiv:2003.01690) ask for, with the mask's own. Each looks at outputs only and needs no knowledge of the truth. A failed
check says that the *number* is wrong or means something else, not that the model is bad; nor do passed checks prove
it: an accuracy under attack is an upper bound.

A check that cannot be carried out, because the attack or the model raises an error in it, fails with the error as its
reason: what could not be looked at speaks for no number. An attack that cannot even be run on the data raises.
"""

import tensorflow as tf

from locadv_tf.engine.progress import progress_bar
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
        rivals.white_box_beats_transfer,
        rivals.white_box_beats_black_box,
        rivals.stronger_ensemble_finds_hardly_more,
        rivals.few_gradients_are_zero,
        rivals.planted_image_is_found,
        rules.few_steps_are_clipped,
    )
}


def check(
    model, data, attack, *, region="background", eps=None, surrogate=None, seed=0, batch_size=128, progress=False
):
    """Runs every check on a model's accuracy under an attack.

    Args:
        model: a Keras model that maps float32 images in [0, 1] to logits. It is left as it was.
        data: a data set of `({"image", "mask"}, label)` or `(images, labels, masks)`. One or two hundred images do:
            some twenty attacks run on them.
        attack: one of the kit's, or any callable `attack(model, image, label, mask=, seed=)` on tensors (mask: float32,
            1 where it may change the pixel) that returns the attacked images. A dataclass or `functools.partial` with
            `eps`, `steps` and `restarts` lets the checks that need other values of them apply; an attribute
            `uses_gradient`, true or false, tells what to make of a model without a gradient.
        region: `"background"`, `"foreground"` or `"full"`: where the attack may change the image.
        eps: the budget that is claimed; None: the attack's own `eps`.
        surrogate: another model for the same classes, to craft images on that the model has to stand, or None.
        seed: integer that all random numbers follow from.
        batch_size: how many images are attacked at a time.
        progress: show a progress bar.

    Returns:
        A list of rows, a dictionary per check: `check` (its name), `outcome` (`"pass"`, `"fail"` or `"does not
        apply"`), `reason` (a sentence with what was found) and `numbers` (a dictionary).

    Raises:
        ValueError: for bad input: a model that ends in softmax, data without images, an unknown or zero budget.
        Exception: as it came, where the attack cannot be run on the data at all.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> rows = check(model, la.load_data("digits", "test[:8]"), la.PGD(eps=0.1))
        >>> rows[1]["check"], rows[1]["outcome"]
        ('foreground untouched', 'pass')
    """
    evidence = gather(
        model, data, attack, region=region, eps=eps, surrogate=surrogate, seed=seed, batch_size=batch_size
    )
    logger, rows, weights = tf.get_logger(), [], model.get_weights()
    level = logger.level
    logger.setLevel("ERROR")  # so many attacks on one model: TensorFlow takes their traces for a mistake
    try:
        _ = evidence.attacked  # before any check: without it there is nothing to judge, and errors raise as they came
        for name, judge in progress_bar("checks", CHECKS.items(), shown=progress, unit="check"):
            try:
                outcome, reason, numbers = judge(evidence)
            except Exception as error:  # of the attack's, mostly: one check must not cost the others
                outcome, reason, numbers = judged(False, _raised(error))
            numbers = {"n": len(evidence)} | numbers
            rows.append({"check": name, "outcome": outcome, "reason": reason, "numbers": numbers})
            model.set_weights(weights)  # the next check looks at the model that was given
    finally:
        logger.setLevel(level)
        model.set_weights(weights)
    return rows


def headline(rows):
    """What a report puts on top: whether to believe the number, and if not, why.

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
    """An error in a line, for a reason."""
    return f"it could not be carried out: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
