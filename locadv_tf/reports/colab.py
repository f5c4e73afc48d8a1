"""The badge and the cell that let a notebook run in Google Colab, in all notebooks from one address.

The public repository's address stands in `CITATION.cff` (`repository-code`). `locadv colab ADDRESS` puts it there, and
badge and cell into each notebook: the badge on top, the cell before all other code, as Colab needs it. Without an
address few come from Colab, and no lesson begins with it. At the end a note says what to upload, and the cell installs
`locadv_tf.zip` (`git archive --output locadv_tf.zip HEAD`).
"""

import json
import re

from locadv_tf.reports import metrics, notebooks

CITATION = notebooks.NOTEBOOKS.parent / "CITATION.cff"
_COLAB = "https://colab.research.google.com/"
_UPLOAD = """### In Google Colab

This copy has no public address. Upload this notebook to [Colab](https://colab.research.google.com/), and
`locadv_tf.zip` beside it (docs/students.md says how to make it). Run the next cell first, then the others from the top.
Elsewhere it does nothing."""
_CELL = """\
import sys

if "google.colab" in sys.modules:  # only there: everywhere else the kit is installed already
    kit = "{kit}"
    # Colab's own Jupyter and widgets must not be exchanged under a running notebook: so no dependencies of the kit's.
    %pip install --quiet "tensorflow>=2.20" "keras>=3.12" "papermill>=2.6"
    %pip install --quiet --no-deps {{kit}}"""


def address():
    """The public repository's address as `CITATION.cff` has it, or None."""
    found = re.search(r'^repository-code: "(.*)"$', CITATION.read_text(), re.MULTILINE)
    return found and found.group(1)


def badge(stem, repository):
    """The Markdown of a notebook's badge; without an address, the note that stands in its place.

    Args:
        stem: the notebook's name.
        repository: the public repository's address, or None.

    Example:
        >>> badge("00_start_here", "https://github.com/you/kit").split("](")[-1]
        'https://colab.research.google.com/github/you/kit/blob/main/notebooks/00_start_here.ipynb)'
    """
    if repository is None:
        return _UPLOAD
    place = repository.replace("https://github.com", "github") + f"/blob/main/notebooks/{stem}.ipynb"
    return f"[![Open in Colab]({_COLAB}assets/colab-badge.svg)]({_COLAB}{place})"


def cell(repository):
    """The source of the cell that installs the kit in Colab, and does nothing elsewhere.

    Args:
        repository: the public repository's address, or None.
    """
    return _CELL.format(kit=f"git+{repository}" if repository else "locadv_tf.zip")


def stamp(repository=None):
    """Writes badge and cell into all notebooks, and the repository's address into `CITATION.cff`.

    Args:
        repository: the address, `"https://github.com/you/kit"` say; None: the one that stands there, if any.

    Returns:
        The paths of the notebooks.

    Raises:
        ValueError: for anything but the address of a repository on GitHub, from where alone Colab opens notebooks; in
            a copy with the assignments' solutions, which must not become public.
    """
    if repository is not None:
        if (notebooks.NOTEBOOKS / "assignments" / "source").is_dir():
            raise ValueError(
                f"{str(notebooks.NOTEBOOKS / 'assignments')!r} holds solutions; expected a copy that may be public. "
                "Make one with locadv course publish --to FOLDER, and run locadv colab there."
            )
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)", repository):
            raise ValueError(f"repository={repository!r}; expected https://github.com/OWNER/NAME, without .git.")
        text = re.sub(r"^repository-code: .*\n", "", CITATION.read_text(), flags=re.MULTILINE)
        line = f'repository-code: "{repository}"\n'
        metrics.write_text(CITATION, re.sub(r"^(?=authors:)", line, text, flags=re.MULTILINE))
    paths = notebooks.lessons()
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"] = _with_colab(notebook["cells"], path.stem, address())
        metrics.write_text(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return paths


def _with_colab(cells, stem, repository):
    """The cells with badge and cell, in place of older ones: at their places, or without an address at the end."""
    lesson = [one for one in cells if "colab" not in one["metadata"].get("tags", [])]
    shared = {"metadata": {"tags": ["colab"]}}
    note = {"cell_type": "markdown", "id": f"{stem[:2]}-badge", **shared, "source": [badge(stem, repository)]}
    code = {"cell_type": "code", "execution_count": None, "id": f"{stem[:2]}-colab", **shared, "outputs": []}
    code["source"] = cell(repository).splitlines(keepends=True)
    if repository is None:
        return [*lesson, note, code]
    at = next(i for i, one in enumerate(lesson) if one["cell_type"] == "code")
    return [note, *lesson[:at], code, *lesson[at:]]
