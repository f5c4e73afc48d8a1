"""Reliance on the background, as results/README.md shows it: what each training does where the background is attacked
or disturbed, and where it is exchanged for that of another photograph."""

import markdown_tables as tables
import pandas as pd

from locadv_tf import TRAININGS
from locadv_tf.reports import challenge_page

MEASURES = {
    "asr_difference": ("attack, whole (points)", tables.POINTS),
    "asr_difference_equal": ("attack, equal area (points)", tables.POINTS),
    "rfs": ("Gaussian noise (RFS)", {"form": "+.2f"}),
    "energy_ratio": ("gradient (ratio)", {"form": ".2f"}),
}
VARIANTS = {
    "original_balanced": ("as it is", tables.PER_CENT), "mixed_same_balanced": ("own class", tables.PER_CENT),
    "mixed_rand_balanced": ("any class", tables.PER_CENT), "only_bg_t_balanced": ("no object", tables.PER_CENT),
    "bg_gap_balanced": ("BG-Gap (points)", tables.POINTS),
}  # fmt: skip
COMPARED = ("bg_gap_balanced", "mixed_same_balanced", "mixed_rand_balanced", "original_balanced")


def measures(folders):
    """A line per training and measure of `background_reliance`, with a cell for each study that has it.

    Args:
        folders: of the studies, in the order of the cells.
    """
    frames = [_table(folder / "reliance.csv") for folder in folders]
    own = [frame[frame["source"] == "own"] if len(frame) else frame for frame in frames]
    lines = []
    for model in TRAININGS:
        for key, (name, form) in MEASURES.items():
            cells = [
                tables.counted(frame.loc[model], key, **form) if model in frame.index else tables.NOTHING
                for frame in own
            ]
            if set(cells) != {tables.NOTHING}:
                lines.append([model, name, *cells])
    return lines


def exchanged(folder):
    """A line per training of a study: balanced accuracy on each kind of background; [] where none was exchanged."""
    frame = _table(folder / "challenge.csv")
    lines = []
    for model in (model for model in TRAININGS if model in frame.index):
        row = frame.loc[model]
        cells = (tables.cell(row, key, **form) for key, (_, form) in VARIANTS.items())
        lines.append([model, *cells, str(int(row["seeds"]))])
    return lines


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
    return [
        [row["compared"], *(tables.cell(row, name, **tables.POINTS) for name in COMPARED), str(row["seeds"])]
        for row in found
    ]


def _table(path):
    """A table that `collect` wrote, by training; an empty one where it had nothing to write."""
    return pd.read_csv(path).set_index("model") if path.exists() else pd.DataFrame()
