"""The API's pages: one for each public name, in the headed blocks of `locadv_tf/__init__.py`."""

import inspect
import re
from pathlib import Path

import locadv_tf as la

CLASS = "   :members:\n   :special-members: __call__\n   :show-inheritance:\n"


def pages():
    """`{path: text}` of the index and of a page for each name."""
    made = {f"api/{name}.rst": page(name) for name in la.__all__}
    made["api/Attack.rst"] = (
        heading("What all attacks share") + f".. autoclass:: locadv_tf.attacks.attack.Attack\n{CLASS}"
    )
    return made | {"api/index.md": index()}


def blocks():
    """The names of `__all__` below their headings, `{heading: [name, …]}`, as they stand in the source."""
    source = Path(la.__file__).read_text(encoding="utf-8")
    found, names = {}, []
    for line in source.partition("__all__ = [")[2].partition("]")[0].splitlines():
        if line.strip().startswith("#"):
            found[line.strip("# ")] = names = []
        elif line.strip():
            names.append(line.strip('", '))
    return found


def index():
    """Each block as a table: the name, and the first sentence of its docstring."""
    parts = [
        "# The API\n\nAll public names of `import locadv_tf as la`. "
        "[What all attacks share](Attack.rst): how they are called. [The command line](../commands.md)."
    ]
    for title, names in blocks().items():
        rows = [f"| [`la.{name}`]({name}.rst) | {first_line(getattr(la, name))} |" for name in names]
        parts.append("\n".join([f"## {title}", "", "| name | what it is |", "|---|---|", *rows]))
    parts.append("\n".join(["```{toctree}", ":hidden:", "Attack", *la.__all__, "```"]))
    return "\n\n".join(parts) + "\n"


def first_line(thing):
    text = inspect.getdoc(explained(thing)).partition("\n\n")[0]
    return re.split(r"(?<=\.)\s(?=[A-Z])", " ".join(text.split()).replace("|", r"\|"), maxsplit=1)[0]


def explained(thing):
    """Where the docstring is: of a table, that of its rows."""
    return type(next(iter(thing.values()))) if isinstance(thing, dict) else thing


def page(name):
    """The page of a public name, as reStructuredText."""
    thing = getattr(la, name)
    if inspect.ismodule(thing):
        return heading(f"la.{name}") + module(thing)
    body = ".. currentmodule:: locadv_tf\n\n"
    if isinstance(thing, dict):
        row = explained(thing)
        keys = ", ".join(f"``{key}``" for key in thing)
        body += f".. py:data:: {name}\n\n   A dictionary of {row.__name__}: {keys}.\n\n"
        body += f".. autoclass:: {row.__module__}.{row.__name__}\n"
    elif inspect.isclass(thing):
        body += f".. autoclass:: {name}\n{CLASS}"
    else:
        body += f".. autofunction:: {name}\n"
    return heading(f"la.{name}") + body


def module(thing):
    """What a module holds, but for names that have a page of their own."""
    names = getattr(thing, "__all__", None) or [name for name in vars(thing) if not name.startswith("_")]
    elsewhere = [name for name in names if getattr(la, name, None) is getattr(thing, name) and name in la.__all__]
    body = f".. automodule:: {thing.__name__}\n   :members:\n   :special-members: __call__\n"
    if elsewhere:
        body += f"   :exclude-members: {', '.join(elsewhere)}\n"
    if elsewhere and hasattr(thing, "__all__"):
        body += f"\nAlso in this package: {', '.join(f'``la.{name}``' for name in elsewhere)}.\n"
    return body


def heading(text):
    return f"{text}\n{'=' * len(text)}\n\n"
