"""The smallest budget, image by image, at which an attack fools the model."""

import math

import numpy as np
import tensorflow as tf

from locadv_tf import validation
from locadv_tf.attacks import balls, losses
from locadv_tf.attacks.attack import check_attack
from locadv_tf.attacks.fmn import FMN
from locadv_tf.data.batches import length
from locadv_tf.data.memory import check_fits
from locadv_tf.engine.devices import batch_size_for
from locadv_tf.engine.kept import kept_on
from locadv_tf.engine.progress import progress_bar
from locadv_tf.engine.slots import traced_once
from locadv_tf.engine.stream import attack_stream, checked_batches, run_attack


def smallest_eps(
    model, data, attack, *, region="background", precision=0.5 / 255, seed=0, batch_size=None, progress=False
):
    """The smallest eps at which the attack fools the model: by bisection between 0 and `attack.eps`, or by `FMN`.

    An upper bound per image, since an attack is no proof. By bisection: the attack fools at the eps returned, and did
    not at an eps that is lower by at most `precision`. This assumes that success grows with eps. `FMN` looks for the
    smallest change in one run of its steps (`benchmarks/minimum_norm.py` compares the two).

    Args:
        model, data, region, seed, batch_size, progress: as for `run_attack`. A data set is kept in memory, in
            the order of its first reading.
        attack: an attack object; its `eps` is the largest that is tried.
        precision: how closely bisection finds the smallest eps, in the units of eps.

    Returns:
        float64 `(N,)`, in the order of the input: 0 where the model is wrong without an attack, infinite where
        `attack.eps` does not fool it.

    Raises:
        ValueError: for bad input, a data set that does not fit in memory, or a precision that is not above 0.

    Example:
        >>> import locadv_tf as la
        >>> model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
        >>> test = la.load_data("digits", split="test[:16]")
        >>> found = la.smallest_eps(model, test, la.FGSM(eps=0.5), region="full", precision=0.1)
        >>> found.shape, bool(((found >= 0) & ((found <= 0.5) | np.isinf(found))).all())
        ((16,), True)
    """
    check_attack(attack)
    validation.fraction(precision, name="precision", high=max(attack.eps, 1.0))
    if precision == 0:
        raise ValueError("precision=0; expected a number above 0, 0.5/255 say.")
    check_fits(data, "smallest_eps")
    if isinstance(data, tf.data.Dataset):  # it is read once for each round, and what shuffles would come otherwise
        data = data.cache()
    options = {"region": region, "seed": seed, "batch_size": batch_size}
    if isinstance(attack, FMN):
        return _minimum_norm(model, data, attack, progress=progress, **options)
    first = run_attack(model, data, attack, keep_images=False, **options)
    high = np.where(first.natural_correct, np.where(first.fooled, attack.eps, np.inf), 0.0)
    low = np.zeros(len(first))
    between = first.natural_correct & first.fooled
    rounds = math.ceil(math.log2(attack.eps / precision)) if attack.eps > precision else 0
    with progress_bar(f"smallest eps · {region}", total=rounds, shown=progress) as bar:
        for _ in range(rounds):
            middle = np.where(between, (low + high) / 2, 0.0)  # 0: this image is settled, and nothing is spent on it
            fooled = np.zeros(len(first), bool)
            for jobs in attack_stream(model, data, attack, eps=middle, **options):
                fooled[jobs["index"]] = jobs["best_fooled"]
            high = np.where(between & fooled, middle, high)
            low = np.where(between & ~fooled, middle, low)
            bar.update(1)
    return high


def _minimum_norm(model, data, attack, *, region, seed, batch_size, progress):
    validation.seed(seed)
    batch_size = batch_size_for(data) if batch_size is None else validation.count(batch_size, name="batch_size")

    def found(image, label, allowed):
        x = attack(model, image, label, mask=allowed, seed=seed)
        return balls.size(x - image, attack.norm), losses.respond(model, x, label).fooled

    run = kept_on(model, (attack, seed, region), lambda: traced_once(found))
    sizes = []
    with progress_bar(f"{attack} · {region}", total=length(data), shown=progress) as bar:
        for image, label, allowed in checked_batches(model, data, attack, batch_size, region):
            size, fooled = run(image, label, allowed)
            sizes.append(np.where(fooled, size, np.inf).astype(np.float64))
            bar.update(len(label))
    return np.concatenate(sizes) if sizes else np.zeros(0)
