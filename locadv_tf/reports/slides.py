"""Slides of a lesson, from the lesson itself: one HTML file that opens offline.

`jupyter nbconvert --to slides` makes a deck that loads reveal.js from the network. This one holds all that it needs. It
goes by the same metadata (`slideshow`, `slide_type`): `skip` leaves a cell out; `slide` and `subslide` begin a slide.
`fragment` stays on the slide before it. So does a short text below a figure; a long text or a heading begins a slide. A
code cell shows what it printed and drew, and its code only if `slide` or `subslide` asks for it.
"""

import copy
import html
import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from locadv_tf.reports import notebooks, report
from locadv_tf.reports.metrics import write_text
from locadv_tf.reports.page import without_anchors

HIDDEN_TAGS = {"colab", "parameters", "injected-parameters", "your-turn"}
BEGIN = ("slide", "subslide")
BELOW_A_FIGURE = 40  # words: more would be too small to read


def slides(to, lessons=None, *, profile="class", log=print):
    """Runs lessons and writes a deck of each, `<lesson>.slides.html`, to a folder.

    Args:
        to: the folder. The executed lesson goes to a folder of its own in it. One that is there is not run again.
        lessons: their names; None: all that have a number.
        profile: as for `report`.
        log: a function that is told which lesson is run.

    Returns:
        The decks' paths.

    Raises:
        ValueError: for an unknown lesson or profile, before anything runs.
    """
    names = lessons or [path.stem for path in notebooks.lessons() if path.stem[0].isdigit()]
    for name in names:
        notebooks.notebook_path(name)
    notebooks.profile_parameters(profile)
    made = []
    for name in names:
        executed = Path(to) / name / f"{name}.ipynb"
        if not executed.with_suffix(".html").exists():  # written last
            log(f"{name} is run")
            report.run_notebook(name, executed.parent, profile=profile)
        made.append(deck(executed, Path(to) / f"{name}.slides.html"))
    return made


def deck(notebook, path):
    """Writes an executed notebook as a deck of slides.

    Args:
        notebook: path of the executed `.ipynb`.
        path: of the HTML file.

    Returns:
        `path`.
    """
    executed = nbformat.read(notebook, as_version=4)
    for cell in executed.cells:
        if cell.cell_type == "code":  # messages of libraries are not for an audience
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    parts = [_body(executed, cells) for cells in _slides(executed.cells)]
    title = re.search(r"^# (.+)", executed.cells[0].source, re.MULTILINE)
    sections = "\n".join(f"<section>\n{part}\n</section>" for part in parts)
    write_text(
        Path(path),
        _PAGE.format(
            title=html.escape(title.group(1) if title else Path(notebook).stem),
            style=_STYLE + HtmlFormatter().get_style_defs(".highlight"),
            sections=sections,
            script=_SCRIPT,
        ),
    )
    return Path(path)


def _slides(cells):
    """The cells of each slide."""
    found = []
    for cell in cells:
        kind = _kind(cell)
        if kind == "skip" or HIDDEN_TAGS & set(cell.metadata.get("tags", [])):
            continue
        if cell.cell_type == "markdown":
            for i, part in enumerate(re.split(r"^(?=##+ )|(?<=</details>\n\n)", cell.source, flags=re.MULTILINE)):
                if part.strip():
                    begins = part.startswith("#") or (not i and kind in BEGIN) or (found and _too_long(part, found[-1]))
                    _add(found, nbformat.v4.new_markdown_cell(part), begins)
        elif cell.outputs or kind in BEGIN:
            # After text it begins a slide, so that a question comes before what answers it.
            last = found[-1][-1] if found else None
            fits = last and last.cell_type == "code" and not (_drawn(cell) and (_drawn(last) or _kind(last) in BEGIN))
            if kind in BEGIN and _drawn(cell):  # code and what it draws are too small on one slide
                _add(found, nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata), begins=True)
                _add(found, nbformat.v4.new_code_cell(outputs=cell.outputs), begins=True)
            else:
                _add(found, cell, begins=kind in BEGIN or (kind == "-" and not fits))
    return found


def _kind(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def _too_long(text, slide):
    """Whether a text is too long to stand below this slide's figure; a folded answer takes no room."""
    shown = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    figure = any(cell.cell_type == "code" and _drawn(cell) for cell in slide)
    return figure and len(shown.split()) > BELOW_A_FIGURE


def _add(found, cell, begins):
    if begins or not found:
        found.append([])
    found[-1].append(cell)


def _drawn(*cells):
    """Whether each of the cells holds more than text that it printed."""
    return all(any(output.output_type != "stream" for output in cell.outputs) for cell in cells)


def _body(notebook, cells):
    """A slide's HTML."""
    part, pieces = copy.copy(notebook), []
    for cell in cells:
        part.cells = [cell]
        exporter = HTMLExporter(
            template_name="basic", exclude_input=_kind(cell) not in BEGIN, exclude_input_prompt=True,
            exclude_output_prompt=True,
        )  # fmt: skip
        pieces.append(without_anchors(exporter.from_notebook_node(part)[0]))
    return "\n".join(pieces)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{sections}
<footer>Next: → or space. Back: ←. <span id="place"></span></footer>
<script>{script}</script>
</body>
</html>
"""

_STYLE = """
body { margin: 0; background: #fff; color: #1a1a1a; font-family: system-ui, "DejaVu Sans", sans-serif; }
section { box-sizing: border-box; height: calc(100vh - 2rem); padding: 3vh 6vw 0; line-height: 1.4; overflow: auto; }
.shown section { display: none; } .shown section.here { display: block; }
h1 { font-size: 1.6em; } h1, h2, h3 { line-height: 1.2; margin: .2em 0 .5em; color: #0b3c5d; }
img { display: block; width: 100%; max-height: 64vh; object-fit: contain; margin: .4em auto; }
section:not(:has(p, pre, table, li)) img { max-height: 86vh; } /* a figure alone */
pre { font-size: .78em; background: #f6f6f6; padding: .5em .8em; margin: .4em 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .8em; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ddd; padding: .2em .5em; text-align: left; vertical-align: top; }
details { margin: .6em 0; } summary { cursor: pointer; color: #0b3c5d; }
footer { position: fixed; bottom: 0; right: 1rem; height: 1.6rem; font-size: .8rem; color: #767676; }
@media print {
  section { display: block !important; break-after: page; font-size: 18px !important; height: auto; }
  footer { display: none; }
}
"""

# Arrow keys and space; the address keeps the slide's number; letters shrink until a slide fits the window.
_SCRIPT = """
const slides = [...document.querySelectorAll("section")];
let at = Math.min(Math.max(parseInt(location.hash.slice(1)) || 1, 1), slides.length) - 1;
function fit() {
  const slide = slides[at];
  for (let size = 30; size >= 12; size -= 1) {
    slide.style.fontSize = size + "px";
    if (slide.scrollHeight <= slide.clientHeight && slide.scrollWidth <= slide.clientWidth) break;
  }
}
function show(place) {
  at = Math.min(Math.max(place, 0), slides.length - 1);
  slides.forEach((slide, i) => slide.classList.toggle("here", i === at));
  document.getElementById("place").textContent = `${at + 1} / ${slides.length}`;
  history.replaceState(null, "", "#" + (at + 1));
  fit();
}
document.body.classList.add("shown");
document.addEventListener("keydown", event => {
  if (event.target.closest("summary") && [" ", "Enter"].includes(event.key)) return;
  const step = { ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1 }[event.key];
  if (step) { event.preventDefault(); show(at + step); }
  if (event.key === "Home") show(0);
  if (event.key === "End") show(slides.length - 1);
});
document.querySelectorAll("details").forEach(answer => answer.addEventListener("toggle", fit));
addEventListener("resize", fit);
addEventListener("load", fit);
show(at);
"""
