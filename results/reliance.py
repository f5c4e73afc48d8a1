"""Reliance on the background, as results/README.md shows it: what each training does where the background is attacked
or disturbed, and where it is exchanged for that of another photograph."""

import pandas as pd

from locadv_tf import TRAININGS
from locadv_tf.reports import challenge_page
from locadv_tf.reports.over_seeds import ENOUGH

POINTS = (100, "+.1f")
MEASURES = {
    "asr_difference": ("attack, whole (points)", *POINTS),
    "asr_difference_equal": ("attack, equal area (points)", *POINTS),
    "rfs": ("Gaussian noise (RFS)", 1, "+.2f"),
    "energy_ratio": ("gradient (ratio)", 1, ".2f"),
}
VARIANTS = {
    "original_balanced": ("as it is", 100, ".1f"), "mixed_same_balanced": ("own class", 100, ".1f"),
    "mixed_rand_balanced": ("any class", 100, ".1f"), "only_bg_t_balanced": ("no object", 100, ".1f"),
    "bg_gap_balanced": ("BG-Gap (points)", *POINTS),
}  # fmt: skip
COMPARED = ("bg_gap_balanced", "mixed_rand_balanced", "original_balanced")


def measures(folders):
    """A line per training and measure of `background_reliance`, with a cell for each study that has it.

    Args:
        folders: of the studies, in the order of the cells.
    """
    frames = [_table(folder / "reliance.csv") for folder in folders]
    own = [frame[frame["source"] == "own"] if len(frame) else frame for frame in frames]
    lines = []
    for model in TRAININGS:
        for key, (name, scale, form) in MEASURES.items():
            cells = [_cell(frame.loc[model], key, scale, form) if model in frame.index else "–" for frame in own]
            if set(cells) != {"–"}:
                lines.append([model, name, *cells])
    return lines


def exchanged(folder):
    """A line per training of a study: balanced accuracy on each kind of background; [] where none was exchanged."""
    frame = _table(folder / "challenge.csv")
    there = [model for model in TRAININGS if model in frame.index]
    return [[model, *(_cell(frame.loc[model], key, *form) for key, (_, *form) in VARIANTS.items())] for model in there]


def compared(runs):
    """A line per pair of trainings: differences of what `exchanged` shows, paired by seed, in points.

    Args:
        runs: the contents of a study's `metrics.json`.
    """
    rows = [
        row | {"training": row["model"], "seed": run["parameters"]["seed"]}
        for run in runs
        for row in run["results"]["challenge"]
    ]
    found = challenge_page.differences(rows, by=(), quantities=COMPARED)
    return [[row["compared"], *(_cell(row, name, *POINTS) for name in COMPARED), str(row["seeds"])] for row in found]


def _table(path):
    """A table that `collect` wrote, by training; an empty one where it had nothing to write."""
    return pd.read_csv(path).set_index("model") if path.exists() else pd.DataFrame()


def _cell(row, key, scale, form):
    """A mean over seeds, from enough of them on with its interval."""
    if key not in row or pd.isna(row[key]):
        return "–"
    mean, *ends = (scale * float(row[key + end]) if pd.notna(row[key + end]) else None for end in ("", "_low", "_high"))
    shown = row["seeds"] >= ENOUGH and None not in ends
    text = f"{mean:{form}}" + (f" [{', '.join(f'{end:{form}}' for end in ends)}]" if shown else "")
    return text.replace("-", "−")
