"""Writes the playground: one HTML file with everything inside, which fetches nothing and opens from disk."""

import html
import json
from pathlib import Path

from locadv_tf.reports.metrics import write_text

HERE = Path(__file__).parent
SCRIPTS = (  # one after the other in the page, as one program
    "network.js", "attack.js", "link.js", "pictures.js", "state.js", "results.js", "controls.js", "painting.js",
    "page.js",
)  # fmt: skip


def page(collections):
    """The page as text.

    Args:
        collections: what `collection` returned, one for each data set. Names in it may hold any characters: they are
            data in the page, and never read as HTML or as code.

    Returns:
        An HTML document.

    Raises:
        ValueError: for no collection.
    """
    if not collections:
        raise ValueError("no collection; expected at least one data set with its models.")
    parts = {
        "STYLE": (HERE / "style.css").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        # JSON in a script element: with no "<" in it nothing can end the element early.
        "DATA": json.dumps(collections, allow_nan=False).replace("<", "\\u003c"),
        "MODELS": html.escape(
            " · ".join(dict.fromkeys(model["name"] for each in collections for model in each["models"]))
        ),
    }
    pieces = (HERE / "page.html").read_text(encoding="utf-8").split("@@")  # one pass: what is put in is not searched
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def write_page(path, collections):
    """Writes the page to a file and returns its size in bytes.

    Args:
        path: of the HTML file; its folder is made if it is not there.
        collections: as for `page`.

    Raises:
        ValueError: for no collection, or a path that does not end in .html.
    """
    path = html_path(path)
    write_text(path, page(collections))
    return path.stat().st_size


def html_path(path):
    """Checks the name of a page, before the work, and returns it as a `Path`; `ValueError` unless it ends in .html."""
    if Path(path).suffix != ".html":
        raise ValueError(f"out={str(path)!r}; expected the name of a page, ending in .html.")
    return Path(path)
