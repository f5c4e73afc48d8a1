"""What is in the `metrics.json` of a report: a JSON schema, with a version.

`write_metrics` writes no report that does not fit it, and `collect` reads none. Who changes what a key means, or takes
one away, raises `VERSION`; a new key beside the others needs no new version.

Versions of a report: 1 had no version. 2 had the verdicts "supported", "not supported", "undecided" in `claims` and in
`counts`. 3 has what one run may say: lower, higher, open; met, not met. Its `counts` are of the abstract's claims
alone, and each claim has its `kind` and what was `expected`.
"""

import json
import os
from pathlib import Path

KINDS = {"report": ("locadv_tf/report", 3), "run": ("locadv_tf/run", 1)}  # version 1 of a report had neither key
SCHEMA, VERSION = KINDS["report"]

_TEXT, _NUMBER, _COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
_MAYBE = {"type": ["number", "null"]}  # null: nothing to measure it on, or not finite


def _rows(description, **keys):
    """A list of objects with at least these keys."""
    row = {"type": "object", "required": list(keys), "properties": keys}
    return {"description": description, "type": "array", "items": row}


def _by_training(description, value):
    return {"description": description, "type": "object", "additionalProperties": value}


PARAMETERS = {
    "dataset": _TEXT,
    "seed": _COUNT,
    "eps": _MAYBE | {"description": "as asked for; null: the data set's own, which results.eps has"},
    "train_limit": {"type": ["integer", "null"]},
    "epochs": _COUNT,
    "trainings": {"type": "array", "items": _TEXT, "minItems": 1},
}
RESULTS = {
    "eps": _NUMBER | {"description": "the budget of training and evaluation, in pixel units of [0, 1]"},
    "rows": _rows(
        "a row per training (model) and condition: natural, noise, foreground, background, full; further keys are "
        "those of summarize: accuracy, asr and loss, each with _low and _high, mean_change, psnr, ssim, …; natural "
        "rows are of all test images and have ece, the expected calibration error",
        model=_TEXT, condition=_TEXT, attack=_TEXT, region=_TEXT, eps=_NUMBER, n=_COUNT, accuracy=_NUMBER, loss=_MAYBE,
    ),
    "headline": _rows(
        "the accuracy under the background attack that the report opens with, and the evaluation's PGD on the same "
        "images: a row per training and attack, the strongest attack first; keys as in rows, without a loss, and "
        "natural_accuracy with _low and _high",
        model=_TEXT, attack=_TEXT, region=_TEXT, eps=_NUMBER, n=_COUNT, accuracy=_NUMBER, natural_accuracy=_NUMBER,
    ),
    "curve": _rows(
        "accuracy and asr under the background attack over the budget; keys as in rows", model=_TEXT, eps=_NUMBER,
        n=_COUNT, accuracy=_NUMBER,
    ),
    "other_mask": _rows(
        "the background attack with the masks of another source; keys as in rows", model=_TEXT, mask=_TEXT, eps=_NUMBER,
        n=_COUNT, accuracy=_NUMBER,
    ),
    "costs": _rows(
        "of each training: epochs, forward and backward passes per image, seconds with validation", model=_TEXT,
        epochs=_COUNT, passes=_NUMBER, seconds=_NUMBER,
    ),
    "histories": _by_training(
        "per training each logged quantity's value per epoch",
        {"type": "object", "additionalProperties": {"type": "array", "items": _MAYBE}},
    ),
    "overfitting": _by_training("per training that followed gradients the sentence of its OverfittingWatch", _TEXT),
    "verdicts": _by_training(
        "per training the rows of verdicts.check, for the first attack of headline on the same images",
        _rows("a row per check", check=_TEXT, outcome={"enum": ["pass", "fail", "does not apply"]}, reason=_TEXT),
    ),
    "claims": _rows(
        "the ledger; against: the training that LAT is compared with, or null; difference, low, high: null where the "
        "claim has none; verdict: what this run says, expected: what the claim says", key=_TEXT, claim=_TEXT,
        kind={"enum": ["abstract", "control", "further"]}, against={"type": ["string", "null"]}, measured=_TEXT,
        difference=_MAYBE, low=_MAYBE, high=_MAYBE, n=_COUNT,
        expected={"enum": ["lower", "higher", "met"]},
        verdict={"enum": ["lower", "higher", "open", "met", "not met"]},
    ),
    "counts": {
        "description": "on how many of the abstract's claims this run agrees, disagrees or leaves it open",
        "type": "object", "additionalProperties": _COUNT,
    },
    "reliance": _rows(
        "the measures of reliance.background_reliance for each source of masks", model=_TEXT, source=_TEXT,
        area=_NUMBER, asr_difference=_MAYBE, asr_difference_equal=_MAYBE, rfs=_MAYBE, energy_ratio=_MAYBE,
    ),
    "challenge": _rows(
        "where objects can be cut out: what challenge.score says of each training", model=_TEXT, mixed_same=_NUMBER,
        bg_gap=_NUMBER,
    ),
}  # fmt: skip
LATER = ("headline",)  # came after the first reports of this version
REPORT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "metrics.json of a report",
    "type": "object",
    "properties": {
        "schema": {"const": SCHEMA},
        "version": {"const": VERSION},
        "parameters": {"type": "object", "required": list(PARAMETERS), "properties": PARAMETERS},
        "results": {
            "type": "object",
            "required": [name for name in RESULTS if name not in LATER],
            "properties": RESULTS,
        },
        "versions": _by_training("of Python and of the libraries that results may depend on", _TEXT),
        "device": _TEXT,
        "finished": {"description": "UTC", "type": "string"},
        "wall_seconds": _NUMBER | {"description": "since the kit was imported"},
    },
    "required": ["schema", "version", "parameters", "results", "versions", "device", "finished", "wall_seconds"],
}


def check(content, *, name="metrics.json"):
    """Checks the content of a report's `metrics.json` and returns it.

    Args:
        content: a dictionary.
        name: of the file, for the message.

    Raises:
        ValueError: that names the place where the content does not fit the schema.

    Example:
        >>> check({"parameters": {}, "results": {}})
        Traceback (most recent call last):
        ...
        ValueError: metrics.json does not fit the schema locadv_tf/report 3 at the top: 'schema' is a required property.
    """
    import jsonschema  # only a report needs it

    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(REPORT).iter_errors(content))
    if problem is not None:
        place = ".".join(map(str, problem.absolute_path)) or "the top"
        raise ValueError(f"{name} does not fit the schema {SCHEMA} {VERSION} at {place}: {problem.message}.")
    return content


def is_current(content):
    """Whether the content of a `metrics.json` is that of a report of this version."""
    return isinstance(content, dict) and (content.get("schema"), content.get("version")) == (SCHEMA, VERSION)


def read_report(path):
    """Reads the `metrics.json` of a report.

    Args:
        path: of the file.

    Returns:
        Its content, a dictionary; None for one that is not a report's: a lesson's, a command's, another program's.

    Raises:
        ValueError: for a report of another version or one that does not fit the schema, with what to do.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as problem:
        raise ValueError(f"{os.fspath(path)} is no JSON ({problem}). Move it away, or run the report again.") from None
    if not isinstance(content, dict):
        return None
    results = content.get("results")
    first_version = "schema" not in content and isinstance(results, dict) and "claims" in results
    if content.get("schema") != SCHEMA and not first_version:
        return None
    if not is_current(content):
        version = 1 if first_version else content.get("version")
        raise ValueError(
            f"{os.fspath(path)} is a report of version {version}; this kit reads version {VERSION}. Run the report "
            "again (locadv report, or the same locadv sweep), or move the folder away."
        )
    return check(content, name=os.fspath(path))
