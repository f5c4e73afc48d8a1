"""What paired seeds say of a method: means, intervals, p-values, Holm's procedure, verdicts, a headline."""

import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from locadv_tf.evaluation.intervals import mean_interval
from locadv_tf.reports import claims

VERDICTS = ("supported", "not supported", "undecided")
ENOUGH, HEADLINE = 3, 5  # paired seeds: for a verdict, and for a claim that a headline counts
LEVEL = 0.05


def over_seeds(rows, by, quantities):
    """A `pandas.DataFrame` with a row per value of `by`: means and 95 % intervals over seeds.

    `seeds` is how many seeds the row is of. A quantity may be missing in some, as the loss of a training that diverged:
    `…_seeds` is the number of seeds behind it.
    """
    groups = pd.DataFrame(rows).groupby(by, sort=False, dropna=False) if rows else ()
    collected = []
    for key, group in groups:
        row = dict(zip(by, key, strict=True)) | {"seeds": group["seed"].nunique()}
        for quantity in quantities:
            values = group[quantity].dropna().astype(float).to_numpy()
            numbers = mean_interval(values) if len(values) else (None, None, None)
            row |= dict(zip(_columns(quantity), (*numbers, len(values)), strict=True))
        collected.append(row)
    columns = [*by, "seeds", *(name for quantity in quantities for name in _columns(quantity))]
    return _plain(pd.DataFrame(collected, columns=columns))


def verdict(low, high, *, expected, seeds):
    """A verdict on a method from the 95 % interval of its difference over paired seeds.

    Args:
        low, high: the interval; None where there is none.
        expected: `"lower"` or `"higher"` than zero: what the claim says.
        seeds: how many pairs the interval is of.

    Returns:
        `"supported"` if the whole interval lies on the claim's side of zero, `"not supported"` if it lies on the other,
        `"undecided"` if it holds zero, there is none, or there are fewer than three pairs.

    Example:
        >>> verdict(-0.05, -0.01, expected="lower", seeds=3), verdict(-0.05, -0.01, expected="lower", seeds=2)
        ('supported', 'undecided')
    """
    found = claims.direction(low, high)
    if found == "open" or seeds < ENOUGH:
        return "undecided"
    return "supported" if found == expected else "not supported"


def judge(rows, by):
    """The claims of `claims.differences`, each with a verdict over seeds.

    Args:
        rows: rows of `claims.differences` with their `seed` and the keys `by`.
        by: what tells experiments apart.

    Returns:
        A `pandas.DataFrame` with a row per experiment and claim: `key`, `claim`, `kind`, `seeds` (the pairs behind the
        difference), `diverged` (the pairs in which a training diverged), `difference` with `_low` and `_high`, `p`
        (paired t-test, two-sided), `p_holm` (adjusted by Holm's procedure over the abstract's claims of the experiment)
        and `verdict`. A claim of the abstract is decided only if `p_holm` is below 0.05, too. With a diverged pair a
        claim is "undecided" at best.
    """
    columns = [*by, "key", "claim", "kind", "seeds", "diverged", "difference", "difference_low", "difference_high", "p"]
    columns += ["p_holm", "verdict"]
    found = []
    for where, experiment in pd.DataFrame(rows).groupby(by, sort=False, dropna=False) if rows else ():
        judged = [_judge(group) for _, group in experiment.groupby("key", sort=False)]
        found += [dict(zip(by, where, strict=True)) | row for row in _holm(judged)]
    return _plain(pd.DataFrame(found, columns=columns))


def headline(verdicts):
    """What the verdicts of one experiment, rows of `judge`, say of the abstract's claims: one sentence.

    Example:
        >>> row = {"kind": "abstract", "verdict": "supported", "seeds": 5}
        >>> headline([row, row | {"seeds": 3}, row | {"verdict": "undecided"}])
        "Of the abstract's claims: 1 supported, 1 supported so far (3 seeds; five are needed), 1 undecided."
    """
    words = [word(row["verdict"], row["seeds"]) for row in verdicts if row["kind"] == "abstract"]
    if not words:
        return "None of the abstract's claims can be judged: they compare LAT with natural training."
    told = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words), key=_rank))
    return f"Of the abstract's claims: {told}."


def word(found, seeds):
    """A verdict as a headline says it: with fewer than five paired seeds it is one "so far".

    Example:
        >>> word("supported", 5), word("supported", 3), word("undecided", 1)
        ('supported', 'supported so far (3 seeds; five are needed)', 'undecided')
    """
    if found == "undecided" or seeds >= HEADLINE:
        return found
    return f"{found} so far ({seeds} seeds; five are needed)"


def _rank(word):
    return next(i for i, found in enumerate(VERDICTS) if word.startswith(found)), len(word), word


def _judge(group):
    """One claim, over the seeds of a data frame's rows."""
    first = group.iloc[0]
    expected, diverged = first["expected"], int(group["diverged"].sum())
    row = {name: first[name] for name in ("key", "claim", "kind")}
    if first["key"] == "unnecessary":
        both = group[["difference", "natural"]].dropna().astype(float)
        tests = [_test(both[name].to_numpy(), "higher") for name in both]
        found, p = _both(tests)
        row |= {"seeds": len(both), "difference": None, "difference_low": None, "difference_high": None}
    else:
        values = group["difference"].dropna().astype(float).to_numpy()
        if first["key"] == "imperceptible":  # a convention: it is met or not, without a test
            alike = len(values) >= ENOUGH and len(set(values)) == 1
            found, p = ("supported" if values[0] else "not supported") if alike else "undecided", None
            row |= {"difference": None, "difference_low": None, "difference_high": None}
        else:
            difference, low, high = mean_interval(values) if len(values) else (None, None, None)
            found, p, _ = _test(values, expected)
            row |= {"difference": difference, "difference_low": low, "difference_high": high}
        row["seeds"] = len(values)
    if diverged and found == "supported":
        found, p = "undecided", None  # the pairs that are left are those that went well
    return row | {"diverged": diverged, "p": p, "p_holm": None, "verdict": found}


def _test(values, expected):
    """`(verdict, p, as expected)` of a two-sided one-sample t-test of paired differences against 0."""
    if not len(values):
        return "undecided", None, False
    mean, low, high = mean_interval(values)
    tested = low is not None and len(values) >= ENOUGH
    p = float(stats.ttest_1samp(values, 0.0).pvalue) if tested else None
    return verdict(low, high, expected=expected, seeds=len(values)), p, (mean > 0) == (expected == "higher")


def _both(tests):
    """Two conditions that must hold together (intersection-union): the weaker one decides, without a correction."""
    verdicts = [found for found, _, _ in tests]
    if "not supported" in verdicts:
        return "not supported", min(p for found, p, _ in tests if found == "not supported")
    ps = [p if as_expected else 1.0 for _, p, as_expected in tests]
    return ("supported" if set(verdicts) == {"supported"} else "undecided"), None if None in ps else max(ps)


def _holm(judged):
    """Adjusts the p-values of the abstract's claims; one without a p counts as 1. "Imperceptibly" is no test."""
    tested = [row for row in judged if row["kind"] == "abstract" and row["key"] != "imperceptible"]
    if tested:
        ps = [1.0 if row["p"] is None else row["p"] for row in tested]
        for row, p in zip(tested, multipletests(ps, alpha=LEVEL, method="holm")[1], strict=True):
            row["p_holm"] = None if row["p"] is None else float(p)
            if row["p"] is None or p >= LEVEL:
                row["verdict"] = "undecided"
    return judged


def _columns(quantity):
    return quantity, f"{quantity}_low", f"{quantity}_high", f"{quantity}_seeds"


def _plain(frame):
    return frame.astype(object).where(lambda values: values.notna(), None)
