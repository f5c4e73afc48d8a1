"""Tables as people read them: numbers with their intervals and units."""

import pandas as pd

from locadv_tf.reports import claims
from locadv_tf.units import eps_255


class Table:
    """A table of texts that shows itself as the last line of a cell; `frame` is its `pandas.DataFrame`.

    Args:
        rows: list of dictionaries from a column's heading to its text, one per line.
    """

    def __init__(self, rows):
        self.frame = pd.DataFrame(rows)

    def html(self):
        """The table as HTML, its texts escaped."""
        with pd.option_context("display.max_colwidth", None):  # pandas cuts long texts
            return self.frame.to_html(index=False, border=0, justify="left")

    def _repr_html_(self):
        return self.html()

    def __repr__(self):
        return self.frame.to_string(index=False)


def results_table(rows, *, columns=("model", "condition", "accuracy", "asr", "loss")):
    """Rows of `evaluate` as a table of texts.

    Args:
        rows: list of dictionaries.
        columns: which keys to show; shares are printed in per cent, `eps` and changes as n/255, and whatever has
            `_low` and `_high` with its 95 % interval.

    Returns:
        A `Table`.

    Example:
        >>> row = {"model": "LAT", "accuracy": 0.48, "accuracy_low": 0.385, "accuracy_high": 0.577, "eps": 8 / 255}
        >>> results_table([row], columns=("model", "eps", "accuracy"))
        model   eps        accuracy (%)
          LAT 8/255 48.0 [38.5 to 57.7]
    """
    return Table([{HEADS.get(name, name): _text(row, name) for name in columns} for row in rows])


def headline_table(rows, verdicts):
    """The accuracies that a report opens with: a line per training, a column per attack, and what the checks say.

    Args:
        rows: rows of `experiment`'s `headline`: `model`, `attack`, `natural_accuracy` and `accuracy`, each with `_low`
            and `_high`.
        verdicts: dictionary from a model's name to the rows of `verdicts.check` on the first attack.

    Example:
        >>> row = {"model": "LAT", "attack": "PGD-20", "natural_accuracy": 0.98, "natural_accuracy_low": 0.95,
        ...        "natural_accuracy_high": 0.99, "accuracy": 0.9, "accuracy_low": 0.83, "accuracy_high": 0.94}
        >>> headline_table([row], {"LAT": [{"check": "weights untouched", "outcome": "pass"}]}).frame.T
                                              0
        model                               LAT
        natural (%)         98.0 [95.0 to 99.0]
        PGD-20 (%)          90.0 [83.0 to 94.0]
        checks that failed                 none
    """
    lines = {}
    for row in rows:
        line = lines.setdefault(row["model"], {"model": row["model"], "natural (%)": _text(row, "natural_accuracy")})
        where = "" if row.get("region", "background") == "background" else f", {row['region']}"
        line[f"{row['attack']}{where} (%)"] = _text(row, "accuracy")
    for name, line in lines.items():
        failed = [row["check"] for row in verdicts.get(name, ()) if row["outcome"] == "fail"]
        line["checks that failed"] = "; ".join(failed) or ("none" if name in verdicts else "not checked")
    return Table(list(lines.values()))


def claims_table(rows):
    """The rows of `claims.ledger` as a `Table`: claim, what was measured, n, and what this run says.

    A run gets no ticks: it is one seed.
    """
    said = {"as the abstract claims": ", as claimed", "against the abstract": ", against the claim", "open": ""}
    shown = [
        {
            "kind": row["kind"],
            "claim": row["claim"],
            "measured here": row["measured"],
            "n": row["n"],
            "in this run": row["verdict"] + said[claims.agrees(row)],
        }
        for row in rows
    ]
    return Table(shown)


def verdicts_table(verdicts, *, reasons=True):
    """The rows of `verdicts.check` as a `Table`: a line per check, a column per evaluation.

    Args:
        verdicts: dictionary from a column's heading, the model's name say, to the rows of `verdicts.check`.
        reasons: whether each outcome stands with its reason.

    Example:
        >>> row = {"check": "weights untouched", "outcome": "pass", "reason": "they stayed", "numbers": {"n": 9}}
        >>> verdicts_table({"LAT": [row]})
                    check                 LAT
        weights untouched ✔ pass: they stayed
    """
    marks = {"pass": "✔ pass", "fail": "✘ FAIL", "does not apply": "– does not apply"}
    lines = {}
    for heading, rows in verdicts.items():
        for row in rows:
            line = lines.setdefault(row["check"], {"check": row["check"]})
            line[heading] = marks[row["outcome"]] + (f": {row['reason']}" if reasons else "")
    return Table(list(lines.values()))


HEADS = {
    "accuracy": "accuracy (%)",
    "asr": "attack success rate (%)",
    "loss": "loss (cross-entropy)",
    "mean_change": "mean |δ|",
    "largest_change": "largest |δ|",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "clipped": "clipped steps (%)",
    "background_mean": "mean area of the background (%)",
    "degenerate": "degenerate (%): over 95 % or under 5 % background",
    "passes": "forward and backward passes per image",
    "seconds": "seconds, with validation",
    "area": "background's area (%)",
    "area_equal": "equal area (%)",
    "asr_background": "ASR background (%)",
    "asr_foreground": "ASR foreground (%)",
    "asr_difference": "ASR background − foreground (points)",
    "asr_difference_equal": "the same at equal area (points)",
    "rfs": "RFS, −1 to 1",
    "energy_ratio": "gradient energy ratio",
    "mixed_same": "Mixed-Same (%)",
    "mixed_rand": "Mixed-Rand (%)",
    "mixed_next": "Mixed-Next (%)",
    "original": "as it is (%)",
    "bg_gap": "BG-Gap (points)",
    "bg_gap_balanced": "BG-Gap, balanced (points)",
    "mixed_rand_balanced": "Mixed-Rand, balanced (%)",
    "original_balanced": "as it is, balanced (%)",
    "accuracy_balanced": "balanced accuracy (%)",
    "ece": "ECE (points)",
    "mixed_same_balanced": "Mixed-Same, balanced (%)",
    "only_fg_balanced": "Only-FG, balanced (%)",
    "only_bg_b_balanced": "Only-BG-B, balanced (%)",
    "only_bg_t_balanced": "Only-BG-T, balanced (%)",
    "no_fg_balanced": "No-FG, balanced (%)",
    "worst_group": "worst group (%)",
    "only_fg": "Only-FG (%)",
    "only_bg_b": "Only-BG-B (%)",
    "only_bg_t": "Only-BG-T (%)",
    "no_fg": "No-FG (%)",
}

_SHARES = ("accuracy", "natural_accuracy", "asr", "clipped", "background_mean", "degenerate", "area")
_SHARES += ("asr_background", "asr_foreground", "asr_difference", "asr_background_equal", "asr_foreground_equal")
_SHARES += ("asr_difference_equal", "area_equal", "accuracy_background_noise", "accuracy_foreground_noise")
_SHARES += ("mixed_same", "mixed_rand", "bg_gap", "worst_group", "only_fg", "only_bg_b", "only_bg_t", "no_fg")
_SHARES += ("mixed_next", "original", "ece")
_SHARES += tuple(name for name in HEADS if name.endswith("_balanced"))
_DIGITS = {"psnr": 1, "passes": 1, "seconds": 0, "rfs": 2, "energy_ratio": 2, "correlation": 2}


def _text(row, name):
    value = row.get(name)
    if value is None:
        return "–"
    if name in ("eps", "mean_change", "largest_change"):
        return eps_255(value)
    if isinstance(value, (str, int)):
        return str(value)
    scale, digits = (100, 1) if name in _SHARES else (1, _DIGITS.get(name, 3))
    text = f"{scale * value:.{digits}f}"
    if row.get(f"{name}_low") is not None:
        text += f" [{scale * row[f'{name}_low']:.{digits}f} to {scale * row[f'{name}_high']:.{digits}f}]"
    if row.get(f"{name}_seeds", row.get("seeds")) != row.get("seeds"):
        text += f" ({row[f'{name}_seeds']} of the seeds)"
    return text
