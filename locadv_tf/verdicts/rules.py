"""Did attack and model keep to the rules? Observations become `(outcome, reason, numbers)`."""

import numpy as np

from locadv_tf.evaluation.intervals import share_interval, with_interval
from locadv_tf.units import eps_255
from locadv_tf.verdicts.pass_or_fail import NO_OPTION, compare, equal, judged, percent, skipped
from locadv_tf.verdicts.variants import at_eps
from locadv_tf.verdicts.way import sizes, within_budget

EMPTY_SHARE, CLIPPED_SHARE = 0.02, 0.95  # largest share of images with an empty mask; of clipped steps


def accuracy_does_not_rise(e):
    """An attacker may leave each image as it is. More right answers than before mean that the images leak the label.

    This happens if the attack goes the wrong way, or if images of one step leak the label (Kurakin et al. 2017,
    arXiv:1611.01236).
    """
    natural, attacked = int(e.natural_right.sum()), int(e.attacked_right.sum())
    low, high = share_interval(attacked, len(e))[1:]
    reason = (
        f"natural accuracy {percent(natural, e)}, attacked {percent(attacked, e)} "
        f"[{100 * low:.1f} to {100 * high:.1f}], n = {len(e)}"
    )
    found = with_interval("accuracy", share_interval(attacked, len(e)))
    return judged(attacked <= natural, reason, natural_accuracy=natural / len(e), **found)


def foreground_untouched(e):
    """Where the mask is 0 nothing changes, bit for bit."""
    if e.mask.all():
        return skipped("the attack may change every pixel")
    touched = (e.attacked.image != e.image) & ~e.mask
    images = int(touched.any(axis=(1, 2, 3)).sum())
    reason = f"{touched.sum()} values outside the mask changed, in {images} of {len(e)} images"
    return judged(not images, reason, values=int(touched.sum()), images=images)


def attack_has_somewhere_to_act(e):
    """An image with an empty mask cannot be attacked; it counts as robust."""
    empty, area = int(np.sum(~e.mask.any(axis=(1, 2, 3)))), float(e.mask.mean())
    reason = f"{empty} of {len(e)} masks are empty; the attack may change {100 * area:.1f} % of the pixels"
    return judged(empty <= EMPTY_SHARE * len(e), reason, empty=empty, share=empty / len(e), area=area)


def budget_and_range_kept(e):
    """No image changes by more than eps, and all values stay in [0, 1]."""
    change, low, high = e.attacked.image - e.image, float(e.attacked.image.min()), float(e.attacked.image.max())
    largest = float(sizes(change, e.norm).max())
    texts = [eps_255(size) if e.norm == "linf" else f"{size:.4g} (L2)" for size in (largest, e.eps)]
    kept = within_budget(largest, e.eps) and low >= 0 and high <= 1  # written so that NaN fails
    reason = f"largest change {texts[0]}, allowed {texts[1]}; values from {low:.3g} to {high:.3g}"
    return judged(kept, reason, largest_change=largest, eps=e.eps, low=low, high=high)


def weights_untouched(e):
    """The attack does not change the model (batch normalization in training mode does)."""
    moved = e.attacked.weights_moved
    return judged(not moved, f"the attack {'changed' if moved else 'left'} the model's weights", moved=moved)


def finite_and_deterministic(e):
    """The model gives finite logits, and the same ones twice.

    One that is random on purpose does not. The number holds if each look is the mean of several, for the attack, too
    (expectation over transformation, Athalye et al. 2018, arXiv:1707.07397), and new looks give the same accuracy.
    """
    first = np.concatenate([e.natural_logits, e.attacked_logits])
    outcome, reason, numbers = _same(first, e.logits(np.concatenate([e.image, e.attacked.image])), "asked twice")
    if outcome == "pass" or not numbers["finite"]:
        return outcome, reason, numbers
    if e.samples == 1:
        reason += "; if the model is random on purpose, take the mean of several looks: la.PGD(..., samples=10)"
        return judged(False, reason, **numbers)
    again = e.right(e.attacked.image)
    found, back = compare(e.attacked_right, again), compare(again, e.attacked_right)
    reason += f"; by {e.samples} looks each the accuracy is {percent(e.attacked_right.sum(), e)}"
    reason += f", by {e.samples} new ones {percent(again.sum(), e)}"
    reason += " (take more samples)" if found.beaten or back.beaten else ""
    numbers |= {"samples": e.samples, "accuracy": float(e.attacked_right.mean()), "again": float(again.mean())}
    return judged(not (found.beaten or back.beaten), reason, **numbers)


def answer_depends_on_image_alone(e):
    """An image's logits do not depend on the other images in its batch (with batch statistics they do)."""
    if not e.deterministic:
        return skipped("the model gives different logits for the same batch")
    whole = min(e.batch_size, len(e))
    batch_size = max(1, whole // 3)
    if batch_size == whole:
        return skipped("a batch holds one image: there are no other images")
    return _same(e.natural_logits, e.logits(e.image[::-1], batch_size=batch_size)[::-1], "in another batch")


def eps_zero_is_natural(e):
    """With eps = 0 the attack changes nothing."""
    if (attack := at_eps(e.attack, 0.0)) is None:
        return skipped(NO_OPTION.format("eps"))
    image = e.output(attack)
    largest, differ = float(np.abs(image - e.image).max()), int(np.sum(e.right(image) != e.natural_right))
    reason = f"largest change {eps_255(largest)}, {differ} of {len(e)} verdicts differ from the natural ones"
    same = not differ or not e.deterministic  # else the model changes its mind by itself
    return judged(largest <= 1e-6 and same, reason, largest_change=largest, differ=differ)


def few_steps_are_clipped(e):
    """Steps that lead out of [0, 1] are cut. If nearly all are cut, the attack had almost no budget."""
    if e.attacked.clipped is None or np.isnan(e.attacked.clipped).all():
        unknown = e.attacked.clipped is None
        return skipped("only the kit's own attacks count clipped steps" if unknown else "no step was taken")
    share = float(np.nanmean(e.attacked.clipped))
    reason = f"{100 * share:.1f} % of the pixel steps led out of [0, 1] and were cut"
    return judged(share <= CLIPPED_SHARE, reason, share=share)


def _same(first, again, when):
    finite = bool(np.isfinite(first).all() and np.isfinite(again).all())
    with np.errstate(invalid="ignore"):  # inf − inf
        largest, scale = float(np.abs(first - again).max()), float(np.abs(first).max())
    differ = int(np.sum(np.argmax(first, axis=-1) != np.argmax(again, axis=-1)))
    reason = f"{when}, logits differ by at most {largest:.2g} (largest: {scale:.3g}), {differ} of {len(first)} classes"
    reason += "" if finite else "; not all are finite"
    numbers = {"finite": finite, "largest": largest, "scale": scale, "differ": differ}
    return judged(equal(first, again), reason, **numbers)
