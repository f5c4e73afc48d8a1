"""Plain English: no phrase that a reader with English as a second language stumbles over, and DESIGN's words."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HARD = re.compile(
    r"\bmend (it|them|the|a)\b|for which alone|\bwhoever\b|toss\w* (no )?coins|\bdearest\b|so called by"
    r"|\blean(s|ed|ing)?\b|\bhangs? on\b|\bturned\b|\bmisreads?\b|\berrs\b|\bwould else\b",
    re.IGNORECASE,
)


def files():
    for pattern in ("*.md", "locadv.py", "locadv_tf/**/*.py", "notebooks/**/*.ipynb", "docs/*.md", "results/*.*"):
        yield from (path for path in ROOT.glob(pattern) if path.name != "PROTOCOL.md")  # stays as it was committed


def passages(path):
    """`(place, text)`: a file as a whole, or each cell of a notebook."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    if path.suffix != ".ipynb":
        return [(name, text)]
    return [(f"{name}[{i}]", "".join(cell["source"])) for i, cell in enumerate(json.loads(text)["cells"])]


def hits(path):
    """`file:line: phrase` (in a notebook, file[cell]:line) for each hard phrase; a line break counts as a space."""
    return [
        f"{place}:{text.count(chr(10), 0, found.start()) + 1}: {found.group()}"
        for place, text in passages(path)
        for found in HARD.finditer(text.replace("\n", " "))
    ]


def test_no_hard_phrase():
    found = [hit for path in files() for hit in hits(path)]
    assert not found, "\n".join(found)
