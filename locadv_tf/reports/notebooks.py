"""The kit's notebooks: where they are, which parameters they have, and which values they accept."""

import ast
import json
import shutil
from pathlib import Path

import yaml

from locadv_tf import validation
from locadv_tf.plotting.style import StoredPicture

PROFILES = ("smoke", "class", "full")
_PACKAGE = Path(__file__).resolve().parents[1]
NOTEBOOKS = _PACKAGE / "notebooks"  # in an installed package
if not NOTEBOOKS.is_dir():
    NOTEBOOKS = _PACKAGE.parent / "notebooks"  # beside it in a clone, also one that is installed with --editable


def lessons():
    """The paths of the kit's notebooks: the numbered lessons in their order, then the appendices."""
    return [*sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), *sorted(NOTEBOOKS.glob("appendix_*.ipynb"))]


def notebook_path(name):
    """The path of one of the kit's notebooks.

    Raises:
        ValueError: that lists the notebooks, or says that they are not there.
    """
    names = [path.stem for path in lessons()]
    if not names:
        raise ValueError(f"the notebooks are not in {str(NOTEBOOKS)!r}; install the kit anew.")
    validation.choice(name, names, name="notebook")
    return NOTEBOOKS / f"{name}.ipynb"


def copy_lessons(to):
    """Copies the lessons to a folder: the notebooks, the profiles in `params/`, and what is `stored/`. They run there.

    Args:
        to: the folder, made if it is not there.

    Returns:
        The folder's path.

    Raises:
        ValueError: if a file that would be written is there already; nothing is copied then.
    """
    patterns = ("params/*.yaml", "stored/*/*.*")
    to, files = Path(to), [*lessons(), *(path for pattern in patterns for path in sorted(NOTEBOOKS.glob(pattern)))]
    targets = {path: to / path.relative_to(NOTEBOOKS) for path in files}
    if there := [str(target) for target in targets.values() if target.exists()]:
        raise ValueError(f"{there[0]!r} is there already, and may hold somebody's work; expected another folder.")
    for path, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)  # writable, whatever the installed file is
    return to


def stored(name):
    """The path of a file that an earlier run left in `stored/`: the working folder's comes before the kit's.

    Raises:
        ValueError: if neither has it.
    """
    paths = [folder / "stored" / name for folder in (Path(), NOTEBOOKS)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ValueError(f"{str(paths[-1])!r} is not there; expected the kit's notebooks with their folder 'stored'.")
    return path


def stored_figure(name, *, alt):
    """A figure of a lesson as an earlier run drew it: for readers without its data.

    Args:
        name: of the file in `stored/`, `"02_data_and_masks/mnist.png"` say. The working folder's `stored/` comes before
            the kit's.
        alt: what the figure shows, for readers who cannot see it.

    Returns:
        A `plotting.Picture`.

    Raises:
        ValueError: if there is no such file.

    Example:
        >>> stored_figure("02_data_and_masks/mnist.png", alt="Digits of MNIST and their background.")
        Picture: Digits of MNIST and their background.
    """
    return StoredPicture(stored(name), alt)


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
