"""Can the number be trusted? The checks that an evaluation should pass before anybody believes its robust accuracy.

They are those that Carlini et al. (2019, arXiv:1902.06705) and AutoAttack (Croce & Hein 2020,
arXiv:2003.01690) ask for, with the mask's own. Each looks at outputs only and needs no knowledge of the truth. A failed
check says that the *number* is wrong or means something else, not that the model is bad; nor do passed checks prove
it: an accuracy under attack is an upper bound.

Where two attacks are compared on the same images, the other one counts as stronger if it fools more of them, by more
than 2 % of all images and by more than two images. Significance is not asked for: each image that a legal attack fools
beyond the judged one makes the number too high, for certain. What the rule cannot see are smaller gaps: up to 2 points
from 100 images on, up to 4 points with 50, 10 with 20. Ties pass: a model at 0 % under both attacks, or at 100 %, is no
fault of the evaluation.

A check that cannot be carried out, because the attack or the model raises an error in it, fails with the error as its
reason: what could not be looked at speaks for no number. An attack that cannot even be run on the data raises.
"""

import itertools

import numpy as np
import tensorflow as tf

from locadv_tf.attacks import FGSM, PGD, Attack, eps_255
from locadv_tf.autoattack import LocalizedAutoAttack
from locadv_tf.engine import run_attack
from locadv_tf.evaluation import share_interval, with_interval
from locadv_tf.evidence import LEVEL, QUERIES, at_eps, call, compare, gather, knob, longer, p_at_least, uses_gradient
from locadv_tf.planted import plant
from locadv_tf.progress import progress_bar

OUTCOMES = ("pass", "fail", "does not apply")
LONG_STEPS = 60  # of PGD, where the attack has no steps to multiply
PLANTED = 16  # images that get a planted adversarial one
ZERO_SHARE, EMPTY_SHARE = 0.02, 0.02  # of the images: without a gradient, with an empty mask
CLIPPED_SHARE, FOUND_SHARE = 0.95, 0.95  # of the steps, of the planted images


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
                outcome, reason, numbers = _judged(False, _raised(error))
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


# The checks, each a function from the evidence to (outcome, reason, numbers).


def accuracy_does_not_rise(e):
    """An attacker may leave each image as it is: more right answers than before mean that the images tell the label.

    So they do when the attack goes the wrong way, or when single-step images leak it (Kurakin et al. 2017,
    arXiv:1611.01236).
    """
    natural, attacked = int(e.natural_right.sum()), int(e.attacked_right.sum())
    low, high = share_interval(attacked, len(e))[1:]
    reason = (
        f"natural accuracy {_percent(natural, e)}, attacked {_percent(attacked, e)} "
        f"[{100 * low:.1f} to {100 * high:.1f}], n = {len(e)}"
    )
    found = with_interval("accuracy", share_interval(attacked, len(e)))
    return _judged(attacked <= natural, reason, natural_accuracy=natural / len(e), **found)


def foreground_untouched(e):
    """Where the mask is 0 nothing changes, bit for bit."""
    if e.mask.all():
        return _skipped("the attack may change every pixel")
    touched = (e.attacked.image != e.image) & ~e.mask
    images = int(touched.any(axis=(1, 2, 3)).sum())
    reason = f"{touched.sum()} values outside the mask changed, in {images} of {len(e)} images"
    return _judged(not images, reason, values=int(touched.sum()), images=images)


def attack_has_somewhere_to_act(e):
    """An image with an empty mask cannot be attacked, and counts as robust."""
    empty, area = int(np.sum(~e.mask.any(axis=(1, 2, 3)))), float(e.mask.mean())
    reason = f"{empty} of {len(e)} masks are empty; the attack may change {100 * area:.1f} % of the pixels"
    return _judged(empty <= EMPTY_SHARE * len(e), reason, empty=empty, share=empty / len(e), area=area)


def budget_and_range_kept(e):
    """No image is further away than eps, and all values are in [0, 1]."""
    change, low, high = e.attacked.image - e.image, float(e.attacked.image.min()), float(e.attacked.image.max())
    sizes = np.abs(change).max(axis=(1, 2, 3)) if e.norm == "linf" else np.sqrt((change**2).sum(axis=(1, 2, 3)))
    largest = float(sizes.max())
    texts = [eps_255(size) if e.norm == "linf" else f"{size:.4g} (L2)" for size in (largest, e.eps)]
    kept = largest <= e.eps * (1 + 1e-5) + 1e-6 and low >= 0 and high <= 1  # so written that NaN fails
    reason = f"largest change {texts[0]}, allowed {texts[1]}; values from {low:.3g} to {high:.3g}"
    return _judged(kept, reason, largest_change=largest, eps=e.eps, low=low, high=high)


def weights_untouched(e):
    """Attacking a model does not change it; batch normalization in training mode would."""
    moved = e.attacked.weights_moved
    return _judged(not moved, f"the attack {'changed' if moved else 'left'} the model's weights", moved=moved)


def finite_and_deterministic(e):
    """The model gives finite logits, and the same ones twice."""
    both = np.concatenate([e.image, e.attacked.image])
    first, again = e.logits(both), e.logits(both)
    return _same(first, again, "asked twice")


def answer_depends_on_image_alone(e):
    """An image's logits do not hang on its neighbours in the batch, as batch statistics would make them."""
    first, again = e.natural_logits, e.logits(e.image)
    if not _equal(first, again):
        return _skipped("the model does not even say the same of the same batch")
    whole = min(e.batch_size, len(e))
    batch_size = max(1, whole // 3)
    if batch_size == whole:
        return _skipped("one image at a time: no batch can be another one")
    return _same(first, e.logits(e.image[::-1], batch_size=batch_size)[::-1], "in another batch")


def eps_zero_is_natural(e):
    """Without a budget the attack changes nothing."""
    if (attack := at_eps(e.attack, 0.0)) is None:
        return _skipped(_NO_KNOB.format("eps"))
    image = e.output(attack)
    largest, differ = float(np.abs(image - e.image).max()), int(np.sum(e.right(image) != e.natural_right))
    reason = f"largest change {eps_255(largest)}, {differ} of {len(e)} verdicts other than the natural ones"
    return _judged(largest <= 1e-6 and not differ, reason, largest_change=largest, differ=differ)


def accuracy_falls_with_eps(e):
    """What fools at a smaller budget is still allowed at a larger one: no budget helps the model."""
    if at_eps(e.attack, e.eps) is None:
        return _skipped(_NO_KNOB.format("eps"))
    factors = [factor for factor in (0.5, 1.0, 2.0) if e.norm == "l2" or factor * e.eps <= 1]
    right = [e.right_under(at_eps(e.attack, factor * e.eps)) for factor in factors]
    rises = [compare(larger, smaller).beaten for smaller, larger in itertools.pairwise(right)]
    accuracies = [float(part.mean()) for part in right]
    text = ", ".join(f"{100 * accuracy:.1f} %" for accuracy in accuracies)
    reason = f"accuracy {text} at eps × {', '.join(f'{factor:g}' for factor in factors)}"
    return _judged(not any(rises), reason, factors=factors, accuracies=accuracies)


def unbounded_full_attack_reaches_chance(e):
    """With the whole image and any change allowed, any image can be turned into any other.

    Not so with the background alone: what it reaches is reported, not judged.
    """
    everything = 1.0 if e.norm == "linf" else float(np.sqrt(e.image[0].size))
    if (attack := at_eps(e.attack, everything)) is None:
        return _skipped(_NO_KNOB.format("eps"))
    left, chance = int(e.right_under(attack, mask=np.ones_like(e.mask)).sum()), 1 / e.natural_logits.shape[1]
    numbers = {"accuracy": left / len(e), "chance": chance}
    reason = f"accuracy {_percent(left, e)}, chance is {100 * chance:.1f} %"
    if not e.mask.all():
        masked = int(e.right_under(attack).sum())
        numbers["masked_accuracy"] = masked / len(e)
        reason += f"; within the mask {_percent(masked, e)} (not judged)"
    return _judged(p_at_least(left, len(e), chance) >= LEVEL, reason, **numbers)


def iterative_beats_single_step(e):
    """Many small steps find at least what one large step does; else they lose their way."""
    if isinstance(e.attack, FGSM) or knob(e.attack, "steps") == 1:
        return _skipped("the attack takes one step")
    return _stands(e, "one step (FGSM)", e.single_step_right)


def gradient_beats_noise(e):
    """Noise of the same size knows nothing of the model; an attack that it beats knows less."""
    return _stands(e, "noise of the same size", e.noise_right)


def more_steps_change_little(e):
    """Three times the steps and another restart find hardly more; else the attack was too short.

    An attack without such knobs has to stand a long PGD.
    """
    stronger = longer(e.attack)
    name = "three times the steps, a restart more" if stronger else f"PGD-{LONG_STEPS}×2"
    return _stands(e, name, e.right_under(stronger or PGD(eps=e.eps, steps=LONG_STEPS, restarts=2, norm=e.norm)))


def white_box_beats_transfer(e):
    """Images made for another model fool no more than those made for the model itself."""
    if e.surrogate is None:
        return _skipped("no other model was given")
    if e.transfer_right is None:
        return _skipped("the other model has no gradient to make images with")
    return _stands(e, "images made for another model", e.transfer_right)


def white_box_beats_black_box(e):
    """A search that sees the logits only finds no more than an attack that follows the gradient."""
    if e.norm != "linf":
        return _skipped(_LINF_ONLY.format("black-box attack"))
    return _stands(e, f"black box (Square-{QUERIES})", e.black_box_right)


def stronger_ensemble_finds_hardly_more(e):
    """An ensemble with other losses, step sizes and targets (AutoAttack's, a short one) finds hardly more."""
    if e.norm != "linf":
        return _skipped(_LINF_ONLY.format("ensemble"))
    if len(getattr(e.attack, "members", ())) > 1:
        return _skipped("the attack is an ensemble itself")
    if e.gradient is None:
        return _skipped("the model cuts off the gradient that the ensemble follows")
    classes = e.natural_logits.shape[1]  # the DLR loss needs four
    loss = "dlr" if classes >= 4 else "margin"
    ensemble = LocalizedAutoAttack(eps=e.eps, budget="fast", targets=min(9, classes - 1), loss=loss)
    return _stands(e, ensemble.name, e.right_under(ensemble))


def few_gradients_are_zero(e):
    """An image whose gradient is exactly 0 in the mask, or not finite, looks robust to every attack that follows it."""
    if uses_gradient(e.attack) is False:
        return _skipped("the attack uses no gradient")
    if not e.open.any():
        return _skipped("no image is both right and open to change")
    reason, numbers = _blindness(e)
    if numbers["share"] > ZERO_SHARE and uses_gradient(e.attack) is None:
        return _by_consequences(e, reason, **numbers)
    return _judged(numbers["share"] <= ZERO_SHARE, reason, **numbers)


def planted_image_is_found(e):
    """Where an adversarial image is certain to be there, the attack finds one (`planted.plant`)."""
    some = e.mask.any(axis=(1, 2, 3)).nonzero()[0][:PLANTED]
    if not len(some):
        return _skipped("all masks are empty: there is nowhere to plant")
    image, mask = e.image[some], e.mask[some]
    planted, which, _ = plant(e.model, image, mask, eps=e.eps, norm=e.norm, seed=e.seed)
    if not which.any():
        return _skipped("no change in the mask makes a difference to the logits: there is nowhere to plant")
    pairs = zip(image[which], mask[which], strict=True)
    found = sum(_finds(e, planted.of(place), *pair) for place, pair in enumerate(pairs))
    n, reason, numbers = int(which.sum()), f"found {found} of {which.sum()}", {"found": found}
    passed = p_at_least(n - found, n, 1 - FOUND_SHARE) >= LEVEL
    if not passed and not uses_gradient(e.attack) and e.blind.sum() > ZERO_SHARE * e.open.sum():
        # It may well have a way around the missing gradient that leads through this model alone.
        return _by_consequences(e, f"{reason}; {_blindness(e)[0]}", **numbers, planted=n)
    return _judged(passed, reason, **numbers, planted=n)


def _finds(e, planted, image, mask):
    """Whether the attack finds what is planted for an image, alone: with a batch it may do what it likes."""
    one = image[None], np.zeros(1, np.int64), mask[None]
    if not isinstance(e.attack, Attack):
        attacked = call(e.attack, planted, *one, seed=e.seed)
    elif e.gradient is None and uses_gradient(e.attack):
        return False
    else:
        attacked = run_attack(planted, one, e.attack, seed=e.seed).images
    return bool(np.argmax(planted(attacked, training=False), axis=-1)[0] != 0)


def few_steps_are_clipped(e):
    """Steps that lead out of [0, 1] are cut; where nearly all are, the budget was hardly there."""
    if e.attacked.clipped is None or np.isnan(e.attacked.clipped).all():
        return _skipped("only the kit's own attacks count them" if e.attacked.clipped is None else "no step was taken")
    share = float(np.nanmean(e.attacked.clipped))
    reason = f"{100 * share:.1f} % of the pixel steps led out of [0, 1] and were cut"
    return _judged(share <= CLIPPED_SHARE, reason, share=share)


CHECKS = {
    judge.__name__.replace("_", " "): judge
    for judge in (
        accuracy_does_not_rise,
        foreground_untouched,
        attack_has_somewhere_to_act,
        budget_and_range_kept,
        weights_untouched,
        finite_and_deterministic,
        answer_depends_on_image_alone,
        eps_zero_is_natural,
        accuracy_falls_with_eps,
        unbounded_full_attack_reaches_chance,
        iterative_beats_single_step,
        gradient_beats_noise,
        more_steps_change_little,
        white_box_beats_transfer,
        white_box_beats_black_box,
        stronger_ensemble_finds_hardly_more,
        few_gradients_are_zero,
        planted_image_is_found,
        few_steps_are_clipped,
    )
}

_LINF_ONLY = "the {} knows the L-infinity norm only"
_NO_KNOB = "the attack has no {} to change: a field of a dataclass, or a keyword of a functools.partial"


def _judged(passed, reason, **numbers):
    return OUTCOMES[0 if passed else 1], reason, numbers


def _skipped(reason, **numbers):
    return OUTCOMES[2], reason, numbers


def _raised(error):
    """An error in a line, for a reason."""
    return f"it could not be carried out: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _blindness(e):
    """How many images show no gradient, in words and in numbers."""
    zero, of = int(e.blind.sum()), int(e.open.sum())
    share = zero / of if of else 0.0
    if e.gradient is None:
        return "the model cuts the gradient off", {"zero": zero, "share": share}
    reason = f"no gradient for {zero} of {of} images that are right ({100 * share:.1f} %)"
    return reason, {"zero": zero, "share": share}


def _by_consequences(e, reason, **numbers):
    """For an attack that may or may not need the gradient that is not there: it did if a simpler attack beats it."""
    simpler = {
        "noise": e.noise_right,
        "one step (FGSM)": e.single_step_right,
        "a black box": e.black_box_right,
        "images made for another model": e.transfer_right,
    }
    simpler = {name: right for name, right in simpler.items() if right is not None}
    better = [name for name, right in simpler.items() if compare(e.attacked_right, right).beaten]
    if better:
        return _judged(False, f"{reason}, and stronger than the attack: {', '.join(better)}", **numbers)
    return _skipped(f"{reason}, but the attack stands against {', '.join(simpler)}: it seems to need none", **numbers)


def _stands(e, name, other_right):
    """Whether the attack stands against another one, as the module says."""
    found = compare(e.attacked_right, other_right)
    ours, theirs = (_percent(right.sum(), e) for right in (e.attacked_right, other_right))
    reason = f"accuracy {ours} under the attack, {theirs} under {name}; "
    reason += f"fooled by one alone: {found.only_attack} and {found.only_other} images (up to {found.unseen} more pass)"
    numbers = {"accuracy": float(e.attacked_right.mean()), "other_accuracy": float(other_right.mean())}
    return _judged(not found.beaten, reason, **numbers, **found._asdict())


def _equal(first, again):
    """Equal but for rounding, and finite."""
    return bool(np.abs(first - again).max() <= 1e-4 * np.abs(first).max() < np.inf)


def _same(first, again, when):
    finite = bool(np.isfinite(first).all() and np.isfinite(again).all())
    largest, scale = float(np.abs(first - again).max()), float(np.abs(first).max())
    differ = int(np.sum(np.argmax(first, axis=-1) != np.argmax(again, axis=-1)))
    reason = f"{when}, logits differ by at most {largest:.2g} (largest: {scale:.3g}), {differ} of {len(first)} classes"
    reason += "" if finite else "; not all are finite"
    numbers = {"finite": finite, "largest": largest, "scale": scale, "differ": differ}
    return _judged(_equal(first, again), reason, **numbers)


def _percent(right, e):
    return f"{100 * right / len(e):.1f} %"
