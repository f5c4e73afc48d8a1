"""`metrics.json`: what a run was asked for and what came out, the last thing that every notebook writes.

A report's `results` have a written form, in schema.py; what a lesson or a command keeps there is its own affair.
"""

import datetime
import importlib.metadata
import json
import math
import os
import platform
import time
from pathlib import Path

import numpy as np

from locadv_tf.reports import schema
from locadv_tf.startup import describe_device
from locadv_tf.validation import choice

_STARTED = time.monotonic()  # a notebook imports the kit in its first cell


def write_metrics(output_dir, *, parameters, results, kind="run"):
    """Writes `metrics.json`, the last thing that every notebook does; a file is there whole or not at all.

    Args:
        output_dir: the folder, made if it is not there.
        parameters: dictionary of what the run was asked to do.
        results: what came out: dictionaries, lists, numbers, texts, NumPy scalars and arrays; NaN becomes null.
        kind: `"run"`, or `"report"` for what `collect` is to read.

    Returns:
        The file's path. Beside parameters and results it holds `schema` (`"locadv_tf/run"` or `"locadv_tf/report"`) and
        its `version`, `versions`, `device`, `finished` (UTC) and `wall_seconds` since the kit was imported.

    Raises:
        ValueError: for an unknown kind; for a report that does not fit its schema: then nothing is written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_metrics(folder, parameters={"seed": 0}, results={"accuracy": np.float32(0.5)})
        ...     json.loads(path.read_text())["results"]
        {'accuracy': 0.5}
    """
    name, version = schema.KINDS[choice(kind, schema.KINDS, name="kind")]
    content = {
        "schema": name,
        "version": version,
        "parameters": parameters,
        "results": results,
        "versions": versions(),
        "device": describe_device(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - _STARTED, 1),
    }
    path, content = Path(output_dir) / "metrics.json", _plain(content)
    if kind == "report":
        schema.check(content, name=os.fspath(path))
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def versions():
    """The versions that results may depend on, `{name: version}`."""
    names = (
        "locadv_tf",
        "tensorflow",
        "keras",
        "tensorflow-datasets",
        "numpy",
        "opencv-python-headless",
        "scikit-learn",
    )
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def write_text(path, text):
    """Writes a text file aside and renames it, in a folder made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def _plain(value):
    """Only what JSON knows: NumPy values as plain ones, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
