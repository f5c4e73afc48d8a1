"""95 % intervals: Wilson's (1927) for shares, Student's for means, a Bayesian one for paired verdicts, a bootstrap for
losses."""

import numpy as np
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW


def with_interval(name, values):
    """`{name, name_low, name_high}` from a value and its interval."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def share_interval(hits, n):
    """A share and its 95 % interval (Wilson 1927): `(share, low, high)`, all None if `n` is 0.

    Example:
        >>> [round(value, 3) for value in share_interval(48, 100)]
        [0.48, 0.385, 0.577]
    """
    if n == 0:
        return None, None, None
    low, high = proportion_confint(hits, n, alpha=0.05, method="wilson")
    share = hits / n
    return share, min(float(low), share), max(float(high), share)  # at 0 and 1 rounding may move a bound too far


def mean_interval(values):
    """A mean and its 95 % interval (Student's t): `(mean, low, high)`.

    Low and high are None for fewer than two values, if a value is not finite, or if all values are equal up to
    rounding: they then say nothing of how much others would differ.

    Example:
        >>> [round(value, 3) for value in mean_interval(np.array([1.0, 2.0, 3.0]))]
        [2.0, -0.484, 4.484]
        >>> mean_interval([0.25, 0.25])
        (0.25, None, None)
    """
    stats = DescrStatsW(np.asarray(values, np.float64))
    if len(values) < 2 or not np.isfinite(values).all() or _all_equal(values):
        return float(stats.mean), None, None
    low, high = stats.tconfint_mean(alpha=0.05)
    return float(stats.mean), float(low), float(high)


def balanced_interval(values, labels):
    """The mean over classes of the classes' means, and its 95 % interval: `(mean, low, high)`.

    For verdicts it is balanced accuracy; for differences of verdicts, a paired difference of balanced accuracies. The
    interval is a normal one from the variances within the classes (a stratified mean, Cochran 1977, section 5.3), for
    verdicts cut off at 0 and 1.

    Args:
        values: numbers or bool `(N,)`, an entry per image; labels: integers `(N,)`.

    Returns:
        As `mean_interval`: low and high are None if all classes' values are equal, or a class has one image.

    Raises:
        ValueError: if the lengths differ or there are no images.

    Example:
        >>> right, labels = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 0]) == 1, np.array([0] * 6 + [1] * 4)
        >>> print("{:.2f} from {:.2f} to {:.2f}".format(*balanced_interval(right, labels)))
        0.75 from 0.47 to 1.00
    """
    ends = (0.0, 1.0) if np.asarray(values).dtype == bool else (-np.inf, np.inf)
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if len(values) != len(labels) or not len(values):
        raise ValueError(f"got {len(values)} values and {len(labels)} labels; expected one of each for every image.")
    groups = [values[labels == label] for label in np.unique(labels)]
    mean = float(np.mean([group.mean() for group in groups]))
    if min(len(group) for group in groups) < 2 or all(_all_equal(group) for group in groups):
        return mean, None, None
    error = np.sqrt(sum(group.var(ddof=1) / len(group) for group in groups)) / len(groups)
    half = float(scipy_stats.norm.ppf(0.975) * error)
    return mean, max(mean - half, ends[0]), min(mean + half, ends[1])


def _all_equal(values):
    values = np.asarray(values, np.float64)
    return np.ptp(values) <= 1e-6 * np.abs(values).max() + 1e-12  # float32 losses, and differences of shares


def paired_difference(first, second):
    """Mean of `second − first`, image by image, and its 95 % interval: `(difference, low, high)`.

    Args:
        first, second: `(N,)`, losses or verdicts of two models on the same images in the same order. For verdicts
            (bool) the interval is that of `paired_interval`, for numbers Student's.

    Raises:
        ValueError: if their lengths differ.

    Example:
        >>> [round(value, 2) for value in paired_difference(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1]))]
        [-0.25, -1.05, 0.55]
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} values; expected the same images twice.")
    if np.asarray(first).dtype == np.asarray(second).dtype == bool:
        return paired_interval(second, first)
    return mean_interval(np.asarray(second, np.float64) - np.asarray(first, np.float64))


RESAMPLES = 9_999  # of `bootstrap_difference`


def bootstrap_difference(first, second):
    """Mean of `second − first`, image by image, and its 95 % bootstrap interval: `(difference, low, high)`.

    BCa (Efron 1987) with 9,999 resamples and a fixed seed: twice the same. For losses, where few images carry most of
    the mean: Student's interval is symmetric, this one follows the skew.

    Args:
        first, second: `(N,)`, losses of two models on the same images in the same order.

    Returns:
        As `mean_interval`: low and high are None for fewer than two images, for a loss that is not finite, and if all
        differences are equal.

    Raises:
        ValueError: if their lengths differ.

    Example:
        >>> few = np.zeros(100)
        >>> few[:3] = 2, 4, 6
        >>> print("{:.2f} from {:.2f} to {:.2f}".format(*bootstrap_difference(np.zeros(100), few)))
        0.12 from 0.02 to 0.38
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} values; expected the same images twice.")
    change = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if len(change) < 2 or not np.isfinite(change).all() or _all_equal(change):
        return float(change.mean()), None, None
    found = scipy_stats.bootstrap(
        (change,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0),
        batch=max(1, 2**22 // len(change)),  # 32 MiB at a time
    ).confidence_interval  # fmt: skip
    if not np.isfinite([found.low, found.high]).all():
        return float(change.mean()), None, None
    return float(change.mean()), float(found.low), float(found.high)


def largest_share(values, count=10):
    """The share of the sum of absolute values that the `count` largest carry; None if all are 0.

    Example:
        >>> largest_share([-8, 1, 1], count=1)
        0.8
    """
    sizes = np.sort(np.abs(np.asarray(values, np.float64)))[::-1]
    return float(sizes[:count].sum() / sizes.sum()) if sizes.sum() > 0 else None


def paired_interval(first, second, statistic=np.subtract):
    """A statistic of two shares of the same images, with a 95 % interval from the posterior of the paired 2×2 table.

    The four counts (both, only the first, only the second, neither) have a Dirichlet posterior under Jeffreys' prior,
    half an image in each cell. The interval goes from the statistic's 2.5 % to its 97.5 % quantile over draws from it.
    For differences it is close to the interval of Agresti and Min (2005, Statistics in Medicine 24: 729), who add the
    same halves. At small eps the verdicts may agree on all images: Student's interval and the bootstrap's then shrink
    to a point, this one does not. It works for RFS as well as for differences.

    Args:
        first, second: bool `(N,)`, two verdicts on each image.
        statistic: a function of two shares, arrays or numbers; by default their difference, first minus second.

    Returns:
        `(value, low, high)`; all None if there are no images or the statistic is not defined (NaN).

    Raises:
        ValueError: if the lengths differ.

    Example:
        >>> first, second = np.arange(100) < 90, np.arange(100) < 70
        >>> print("{:.2f} from {:.2f} to {:.2f}".format(*paired_interval(first, second)))
        0.20 from 0.12 to 0.28
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} verdicts; expected the same images twice.")
    if not len(first) or np.isnan(value := float(statistic(first.mean(), second.mean()))):
        return None, None, None
    both, only_first, only_second = (first & second).sum(), (first & ~second).sum(), (~first & second).sum()
    counts = np.array([both, only_first, only_second, (~first & ~second).sum()])
    p = np.random.default_rng(0).dirichlet(counts + 0.5, size=20_000)
    low, high = np.quantile(statistic(p[:, 0] + p[:, 1], p[:, 0] + p[:, 2]), [0.025, 0.975])
    return value, min(float(low), value), max(float(high), value)  # at the ends of its range the value is outside
