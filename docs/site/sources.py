"""Puts the site's sources together in one folder: docs/ is its root, all else keeps its place in the clone."""

import argparse
import os
import re
from pathlib import Path

import api_pages
import nbformat

import locadv

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=(?:#[^)\s]*)?\))")  # the file of [text](file#anchor)
CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
PLAY = '**<a href="play.html">Open the playground</a>.** It is part of this site.\n'


def sources(lessons):
    """All files of the source folder.

    Args:
        lessons: `{name: notebook of nbformat}`.

    Returns:
        `{path in the folder: text or bytes}`.
    """
    made, linked = {}, set()

    def add(path, text, origin):
        made[path] = relinked(text, origin=origin, at=path, linked=linked)

    for origin in [*ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]:
        add(place(origin), titled(origin), origin)
    made["glossary.md"] = glossary(made["glossary.md"])
    made["playground.md"] = re.sub(r"^# .*\n", lambda found: f"{found[0]}\n{PLAY}", made["playground.md"], count=1)
    contributing, how = how_to((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    add("CONTRIBUTING.md", contributing, ROOT / "CONTRIBUTING.md")
    for name, text in how.items():
        add(f"how-to/{name}.md", text, ROOT / "CONTRIBUTING.md")
    made["how-to/index.md"] = toctree("How to extend the kit", how)
    for name, notebook in lessons.items():
        origin = ROOT / "notebooks" / f"{name}.ipynb"
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = relinked(cell.source, origin=origin, at=place(origin), linked=linked)
        made[place(origin)] = nbformat.writes(notebook)
    example = ROOT / "examples" / "localized_adversarial_training.py"
    made["one-file.md"] = "\n".join(
        ["# The whole method in one file", "", f"`{example.relative_to(ROOT).as_posix()}`, without the kit:", "",
         f"```{{literalinclude}} {place(example)}", ":language: python", "```", ""]
    )  # fmt: skip
    linked.add(example)
    tables = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.md"))]
    made["benchmarks/index.md"] = toctree("Tables of the benchmarks", tables)
    made["commands.md"] = commands()
    made |= api_pages.pages()
    while new := sorted(origin for origin in linked if place(origin) not in made):
        for origin in new:  # what pages link to is there, too: pages as pages, other files to be downloaded
            if origin.suffix == ".md":
                add(place(origin), f"---\norphan: true\n---\n\n{titled(origin)}", origin)
            else:
                made[place(origin)] = origin.read_bytes()
    return made


def place(origin):
    """Where a file of the clone is in the source folder.

    Raises:
        ValueError: for a file outside of the clone, or of the assignments, whose sources hold the solutions.
    """
    parts = origin.relative_to(ROOT).parts
    if parts[:2] == ("notebooks", "assignments"):
        raise ValueError(f"a page links to {origin.relative_to(ROOT)}, which holds solutions; expected no such link.")
    return "/".join(parts[1:] if parts[0] == "docs" else parts)


def relinked(text, *, origin, at, linked):
    """The text of a page with its links to files as they are in the source folder; adds these files to `linked`.

    Args:
        text: Markdown; origin: its file in the clone; at: its path in the source folder.
        linked: a set of paths in the clone.
    """

    def new(found):
        file = (origin.parent / found[0]).resolve()
        if not file.is_file():
            return found[0]  # Sphinx will say so
        linked.add(file)
        return os.path.relpath(place(file), os.path.dirname(at) or ".")

    parts = CODE.split(text)
    return "".join(part if i % 2 else LINK.sub(new, part) for i, part in enumerate(parts))


def titled(origin):
    text = origin.read_text(encoding="utf-8")
    return text if text.startswith("# ") else f"# {origin.stem.replace('_', ' ').capitalize()}\n\n{text}"


def how_to(text):
    """CONTRIBUTING.md without its sections "Add …", and these as pages, `{name: text}`."""
    kept, made = "", {}
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        if section.startswith("## Add "):
            title = section.partition("\n")[0].removeprefix("## ")
            made[title.lower().replace(" ", "-")] = section.removeprefix("#")
        else:
            kept += section
    return f"{kept.rstrip()}\n\nMore: [how to extend the kit](how-to/index.md).\n", made


def glossary(text):
    """The page of words with its table as a glossary, so that search knows each word."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|\n", text, re.MULTILINE)
    table = "".join(re.findall(r"^\|.*\n", text, re.MULTILINE))
    entries = "\n\n".join(f"{word}\n  {meaning}" for word, meaning in rows if word not in ("word", "---"))
    return text.replace(table, f"```{{glossary}}\n{entries}\n```\n")


def commands():
    """The help of every command of `locadv`."""
    formatter = {"formatter_class": lambda prog: argparse.HelpFormatter(prog, width=100)}
    parts = ["# The command line\n\nWhat `locadv COMMAND --help` says."]

    def tell(parser):
        nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in nested:
            for command in action.choices.values():
                tell(command)
        if not nested:
            parser.formatter_class = formatter["formatter_class"]
            parts.append(f"## {parser.prog}\n\n```text\n{parser.format_help()}```")

    tell(locadv.parser())
    return "\n\n".join(parts) + "\n"


def toctree(title, names):
    return "\n".join([f"# {title}", "", "```{toctree}", *names, "```", ""])


def write(files, folder):
    """Makes a folder hold these files and no others. What has not changed is not touched: Sphinx need not read it."""
    folder = Path(folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path, content = folder / name, content.encode() if isinstance(content, str) else content
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
