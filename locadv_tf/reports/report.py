"""From a notebook to a report: strict parameters, papermill, `metrics.json`, and one HTML file that opens offline."""

import ast
import datetime
import html
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import papermill
import yaml
from nbconvert import HTMLExporter

from locadv_tf import validation
from locadv_tf.device import describe_device

PROFILES = ("smoke", "class", "full")
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
_STARTED = time.monotonic()  # a notebook imports the kit in its first cell


def write_metrics(output_dir, *, parameters, results):
    """Writes `metrics.json`, the last thing that every notebook does; a file is there whole or not at all.

    Args:
        output_dir: the folder, made if it is not there.
        parameters: dictionary of what the run was asked to do.
        results: what came out: dictionaries, lists, numbers, texts, NumPy scalars and arrays; NaN becomes null.

    Returns:
        The file's path. Beside parameters and results it holds `versions`, `device`, `finished` (UTC) and
        `wall_seconds` since the kit was imported.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_metrics(folder, parameters={"seed": 0}, results={"accuracy": np.float32(0.5)})
        ...     json.loads(path.read_text())["results"]
        {'accuracy': 0.5}
    """
    content = {
        "parameters": parameters,
        "results": results,
        "versions": versions(),
        "device": describe_device(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - _STARTED, 1),
    }
    path = Path(output_dir) / "metrics.json"
    write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
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


def report(*, dataset="digits", profile="class", seed=0, out="reports/report", parameters=None):
    """Runs `06_report` and exports it: `report.ipynb` (executed), `report.html`, `metrics.json` in the folder `out`.

    Args:
        dataset: a data set's name, as for `load_data`.
        profile: `"smoke"`, `"class"` or `"full"`: a file of `notebooks/params/`.
        seed: integer that everything random follows from.
        out: the folder, made if it is not there.
        parameters: dictionary of further parameters of the notebook, stronger than the profile.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: for an unknown parameter or one of a wrong type, before anything runs.
        papermill.PapermillExecutionError: if a cell fails; `report.ipynb` keeps what was done until then.
    """
    given = {"dataset": dataset, "seed": seed} | (parameters or {})
    return run_notebook("06_report", out, profile=profile, parameters=given, stem="report")


def run_notebook(name, out, *, profile="class", parameters=None, stem=None):
    """Executes one of the kit's notebooks with papermill and exports it as HTML without code cells.

    Args:
        name: of the notebook, `"06_report"` say.
        out: the folder for `<stem>.ipynb`, `<stem>.html` and `metrics.json`.
        profile: as for `report`; only the parameters that the notebook has are taken from it.
        parameters: dictionary of parameters, stronger than the profile.
        stem: what the files are called; None: as the notebook.

    Returns, Raises: as `report`.
    """
    source, out, stem = notebook_path(name), Path(out).resolve(), stem or name
    values = check_parameters(source, profile_parameters(profile), known_only=True)
    values |= check_parameters(source, parameters or {})
    if "{" in str(out) or "}" in str(out):
        raise ValueError(f"out={str(out)!r} has braces, which papermill would fill in; choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)  # a run that dies must not look finished
    executed = out / f"{stem}.ipynb"
    papermill.execute_notebook(
        source,
        executed,
        parameters=values | {"output_dir": "."},
        cwd=str(out),
        kernel_name="python3",
        progress_bar={"file": sys.stderr},
    )
    return export_html(executed, out / f"{stem}.html")


def notebook_path(name):
    """The path of one of the kit's notebooks.

    Raises:
        ValueError: that lists the notebooks, or says that they are not there.
    """
    names = [path.stem for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]
    if not names:
        raise ValueError("the notebooks are not there; run from a clone, installed with pip install --editable.")
    validation.choice(name, names, name="notebook")
    return NOTEBOOKS / f"{name}.ipynb"


def profile_parameters(profile):
    """The parameters of a profile, `{name: value}`.

    Raises:
        ValueError: for an unknown profile.
    """
    validation.choice(profile, PROFILES, name="profile")
    return yaml.safe_load((NOTEBOOKS / "params" / f"{profile}.yaml").read_text())


def notebook_parameters(path):
    """A notebook's parameters with their defaults and types, `{name: (default, type)}`, from its tagged cell.

    Each line of the cell is an annotated literal. The type is the default's, or, where that is None, the annotation's.
    """
    cells = json.loads(Path(path).read_text())["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{Path(path).name} has {len(tagged)} cells tagged 'parameters'; expected one.")
    found = {}
    for line in ast.parse("".join(tagged[0]["source"])).body:
        default = ast.literal_eval(line.value)
        kind = type(default)
        if default is None:
            kind = {"int": int, "float": float, "str": str}[line.annotation.id]
        found[line.target.id] = (default, kind)
    return found


def check_parameters(path, given, *, known_only=False):
    """Checks parameters against those that a notebook has.

    Args:
        path: of the notebook.
        given: dictionary of parameters.
        known_only: leave out those that the notebook does not have, as for a profile that serves all notebooks.

    Returns:
        The parameters, whole numbers made floats where floats are expected.

    Raises:
        ValueError: for an unknown name or a wrong type, or an unknown item of a list of names, listing the right ones.
    """
    known = notebook_parameters(path)
    checked = {}
    for name, value in given.items():
        if name not in known:
            if known_only:
                continue
            right = ", ".join(f"{n} ({kind.__name__})" for n, (_, kind) in known.items() if n != "output_dir")
            raise ValueError(f"parameter {name!r} is unknown to {Path(path).stem}; it has {right}.")
        default, kind = known[name]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not (type(value) is kind or (value is None and default is None)):
            hint = " Write it as a decimal number." if kind is float and "/" in str(value) else ""
            raise ValueError(
                f"parameter {name}={value!r} is of type {type(value).__name__}; expected {kind.__name__}"
                f"{' or None' if default is None else ''}.{hint}"
            )
        if kind is list and all(isinstance(item, str) for item in default):  # names: some of the default's
            for item in value or [None]:
                validation.choice(item, default, name=name)
        checked[name] = value
    return checked


def export_html(notebook, path):
    """Writes an executed notebook as one HTML file: no code cells, no Colab badge, no network request, pictures inside.

    Args:
        notebook: path of the executed `.ipynb`.
        path: of the HTML file.

    Returns:
        `path`.
    """
    executed = nbformat.read(notebook, as_version=4)
    executed.cells = [cell for cell in executed.cells if "colab" not in cell.metadata.get("tags", [])]
    # nbconvert's own page loads scripts from the network; its "basic" template is the body alone.
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(executed)
    heading = re.search(r"<h1[^>]*>(.*?)(?:<a |</h1>)", body, re.DOTALL)
    title = html.unescape(re.sub(r"<[^>]+>", "", heading.group(1))) if heading else Path(notebook).stem
    body = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body)
    write_text(Path(path), page(title.strip(), body))
    return Path(path)


def page(title, body):
    """A whole HTML page, self-contained, from its title (text) and its body (HTML)."""
    return _PAGE.format(title=html.escape(title), style=_STYLE, body=body)


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


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; display: block; margin: .8rem 0; }
pre { background: #f6f6f6; padding: .6rem .8rem; overflow-x: auto; font-size: .85rem; white-space: pre-wrap; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ddd; padding: .3rem .55rem; text-align: left; vertical-align: top; }
thead th { background: #f0f4f8; } td.number { text-align: right; }
blockquote { margin: .8rem 0; padding: .1rem 1rem; border-left: 4px solid #0072B2; background: #f4f8fb; }
.jp-OutputArea-child, .jp-Cell { margin: 0; }
"""
