"""Sphinx's settings for the site. `make_site.py` puts its sources together and calls Sphinx."""

import inspect
import re
from functools import partial

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.inspect import stringify_signature

import locadv_tf as la
from locadv_tf.reports import notebooks

project = html_title = "locadv_tf"
author = "The authors of locadv_tf"
release = la.__version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]

# Pages and lessons are Markdown. The lessons were executed before.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # the default fetches scripts
myst_heading_anchors = 4  # links go to headings as on GitHub: page.md#its-words
smartquotes_action = "D"  # dashes alone

# Docstrings are in Google's form, with Markdown's backticks.
default_role = "literal"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_param = False  # so that one line may explain two arguments
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]
add_module_names = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_favicon = "static/icon.svg"
html_sourcelink_suffix = ""  # a lesson is downloaded as a notebook
html_context = {"default_mode": "auto"}  # dark where the reader's system is
html_theme_options = {
    "logo": {"text": "locadv_tf"},
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "search_bar_text": "Search",
    "use_fullscreen_button": False,
    "footer_content_items": [],
}

SECTION = re.compile(r"(Args|Attributes|Example|Raises|Returns)\b.*:")


def to_rst(app, what, name, thing, options, lines):
    """A docstring's Markdown as reStructuredText: what is indented after a blank line is code, and | is no markup."""
    made, code, example, last = [], False, False, ""
    for line in lines:
        indented = line.startswith("    ")
        if line and not indented:
            code, example = False, line.startswith("Example")
        if indented and not code and made and not made[-1] and not last.startswith(" ") and not SECTION.match(last):
            made += ["::", ""]
            code = True
        made.append(line if code or example else escaped(line))
        last = line or last
    lines[:] = made


def escaped(line):
    """A line of Markdown with no markup of reStructuredText but what is code in it: `PGD`s, |x|."""
    parts = re.split(r"(`[^`]*`)", line)  # every second one is code
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    return re.sub(r"(`[^`]*`)(\w?)", lambda found: rf"{found[1]}\ {found[2]}" if found[2] else found[1], "".join(parts))


def skip_fields(app, what, name, thing, skip, options):
    """Fields of a named tuple: its docstring explains them."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


def own_signature(app, what, name, thing, options, signature, returns):
    """Of a Keras model: its `__init__`'s. Keras's `__new__` takes anything."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    return stringify_signature(inspect.signature(partial(thing.__init__, None)), show_annotation=False), returns


class KitNames(SphinxTransform):
    """Links what is written as code and is a public name (`la.PGD`) or a lesson (`00_start_here`)."""

    default_priority = 400

    def apply(self):
        within_api = self.env.docname.startswith("api/")
        lessons = {path.stem for path in notebooks.lessons()}
        linked = (nodes.reference, nodes.title, addnodes.pending_xref, addnodes.download_reference)
        for literal in list(self.document.findall(nodes.literal)):
            above = literal.parent
            while above is not None and not isinstance(above, linked):
                above = above.parent
            if above is not None:
                continue
            text = literal.astext()
            if (name := text.removesuffix(".ipynb")) in lessons:
                target = {"refdomain": "std", "reftype": "doc", "reftarget": f"/notebooks/{name}"}
            elif name := full_name(text, bare=within_api):
                target = {"refdomain": "py", "reftype": "obj", "reftarget": name}
            else:
                continue
            link = addnodes.pending_xref("", refdoc=self.env.docname, refexplicit=True, refwarn=False, **target)
            literal.replace_self(link)
            link += literal


def full_name(text, *, bare=False):
    """`la.masks.random(…)` → `locadv_tf.data.masks.random`; with `bare` also `PGD`. None for anything else."""
    found = re.fullmatch(r"(la\.)?([A-Za-z_]\w*)((?:\.\w+)*)(\(.*\))?", text, re.DOTALL)
    if not found or found[2] not in la.__all__:
        return None
    thing = getattr(la, found[2])
    if not found[1] and (not bare or inspect.ismodule(thing)):  # `masks` is an argument's name, too
        return None
    return (thing.__name__ if inspect.ismodule(thing) else f"locadv_tf.{found[2]}") + found[3]


def setup(app):
    app.connect("autodoc-process-docstring", to_rst, priority=400)  # before napoleon's
    app.connect("autodoc-process-signature", own_signature)
    app.connect("autodoc-skip-member", skip_fields)
    app.add_transform(KitNames)
