"""Plain English: no phrase that a reader with English as a second language stumbles over."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HARD = re.compile(
    r"\bmend (it|them|the|a)\b|for which alone|\bwhoever\b|toss\w* (no )?coins|\bdearest\b|so called by"
    r"|\blean(s|ing)? on\b|\bhangs? on\b",
    re.IGNORECASE,
)


def files():
    yield from [ROOT / "README.md", *ROOT.glob("locadv.py")]
    for pattern in ("locadv_tf/**/*.py", "notebooks/**/*.ipynb", "docs/*.md"):
        yield from ROOT.glob(pattern)


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
