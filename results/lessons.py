"""What lessons and the report show of results/: writes it to notebooks/stored/, which the wheel has, too."""

import json

import figures

from locadv_tf.reports import metrics
from locadv_tf.reports.over_seeds import ENOUGH

LESSON, REPORT = "04_localized_adversarial_training", "06_report"
STUDY = "mnist-26"  # what the lessons show
REGIONS = {"natural": "not attacked", "random noise": "noise"}  # by attack; under PGD the region has its own name


def write(found, claims, datasets, missing, folder):
    """Writes both files.

    Args:
        found: list of `page.Found`; claims: dictionary from a claim's key to its text.
        datasets: dictionary from a study's name to its data set.
        missing: titles of the main studies of which nothing is kept yet.
        folder: of the stored results.
    """
    kept = {REPORT: for_the_report(found, claims, datasets, missing)}
    for study in found:
        if study.name == STUDY and (lesson := for_the_lesson(study)):
            kept[LESSON] = lesson
    for name, content in kept.items():
        metrics.write_text(folder / name / "metrics.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def for_the_lesson(study):
    """The content of lesson 04's `metrics.json`; None while natural, random mask, LAT or AT have too few seeds."""
    differences = {
        f"{quantity} loss": [
            figures.difference(study, f"{quantity}_loss{end}", control)
            for end, control in figures.CONTROLS.items()
            if study.claims["seeds"].get(f"{quantity}_loss{end}", 0) >= ENOUGH
        ]
        for quantity in ("natural", "background")
    }
    if any(not {"natural", "random mask", "AT"} <= {row["against"] for row in rows} for rows in differences.values()):
        return None
    rows = study.rows[~study.rows["attack"].str.startswith("LocalizedAutoAttack")].to_dict("records")
    names = [f"{name}{end}" for name in ("accuracy", "loss") for end in ("", "_low", "_high")]
    regions = [
        {"model": row["model"], "region": REGIONS.get(row["attack"], row["region"]), "seeds": int(row["seeds"])}
        | {name: float(row[name]) for name in names}
        for row in rows
        if row["seeds"] >= ENOUGH
    ]
    title = f"{study.title}, {study.paired} seeds"
    return {
        "parameters": {"study": study.name},
        "results": {"title": title, "mnist": regions, "differences": differences},
    }


def for_the_report(found, claims, datasets, missing):
    """The content of the report's `metrics.json`: by data set, what each study with enough seeds says of the abstract's
    claims; and the titles of those that have too few, or have not run."""
    told, begun = {}, []
    for study in found:
        if study.paired < ENOUGH:
            begun.append(f"{study.title} ({study.cells} of {study.planned} cells)")
            continue
        rows = [{"study": study.title, "claim": text, "found": study.claim(key)} for key, text in claims.items()]
        told.setdefault(datasets[study.name], []).extend(rows)
    return {"parameters": {}, "results": {"studies": told, "not run yet": begun + missing}}
