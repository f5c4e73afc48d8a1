"""Runs a kept cell once more, from nothing, and compares what it finds: `python results/run.py --again STUDY/CELL`."""

import dataclasses
import json
import shutil

CLOCK = "seconds"  # the one key of a report's results that no rerun repeats


def again(study, name, folder):
    """Runs a kept cell of a study in a fresh folder.

    Args:
        study: a `run.Study`; name: of the cell, its folder's.
        folder: where the run goes; what is there is removed first.

    Returns:
        A dictionary, what `reruns.json` keeps: `values` and `equal`, how many there are and how many agree bit for bit;
        `said`, a sentence; `finished`, `device`; `same_versions`; and `parts`, a line of text for each part.

    Raises:
        ValueError: for a cell that is not kept. RuntimeError: if the run fails.
    """
    cell = next((cell for cell in study.cells if cell.folder.name == name), None)
    kept = cell and study.finished(cell)
    if kept is None:
        there = ", ".join(cell.folder.name for cell in study.cells if study.finished(cell))
        raise ValueError(f"{name!r} is no cell that {study.name} keeps; it has {there or 'none'}.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = dataclasses.replace(cell, folder=folder)
    if reason := fresh.run():
        raise RuntimeError(f"the rerun failed: {reason}; see {folder / 'error.txt'}")
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    parts = {part: compare(kept["results"][part], content["results"].get(part)) for part in kept["results"]}
    whole = compare(kept["results"], content["results"])
    return {
        "values": whole.values, "equal": whole.equal, "said": whole.said(), "finished": content["finished"],
        "device": content["device"], "same_versions": content["versions"] == kept["versions"],
        "parts": [f"{part}: {found.said()}" for part, found in parts.items() if found.values],
    }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two runs beside each other: how many values there are, how many are equal, the number that differs most (where,
    kept, again), and which numbers lie outside of the interval that was kept with them."""

    values: int
    equal: int
    most: tuple | None
    outside: list

    def said(self):
        """Whether they agree, else by how much they do not."""
        if self.equal == self.values:
            return f"all {self.values:,} values agree bit for bit"
        told = [f"{self.equal:,} of {self.values:,} values agree bit for bit"]
        if self.most:
            where, before, after = self.most
            told.append(f"largest difference {abs(after - before):.3g} ({where}: {before:.6g}, again {after:.6g})")
        told.append(
            f"outside of its interval: {', '.join(self.outside)}" if self.outside else "none outside of its interval"
        )
        return "; ".join(told)


def compare(kept, again):
    """Compares two parts of `metrics.json`, value by value; what a clock says is left out. A `Compared`."""
    before, after = dict(_leaves(kept)), dict(_leaves(again))
    places = list(before | after)
    differ = [where for where in places if where not in before or where not in after or before[where] != after[where]]
    numbers = [where for where in differ if all(_is_number(some.get(where)) for some in (before, after))]
    most = max(numbers, key=lambda where: abs(after[where] - before[where]), default=None)
    outside = []
    for where in numbers:
        low, high = (before.get(f"{where}{end}") for end in ("_low", "_high"))
        if _is_number(low) and _is_number(high) and not low <= after[where] <= high:
            outside.append(where)
    told = most and (most, before[most], after[most])
    return Compared(len(places), len(places) - len(differ), told, outside)


def _leaves(value, where=""):
    """Pairs of a place, such as `rows[2].loss`, and what is there."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != CLOCK:
                yield from _leaves(item, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{where}[{i}]")
    else:
        yield where, value


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
