"""One HTML page that opens without a network: from an executed notebook, or from a title and a body."""

import html
import re
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from locadv_tf.reports.metrics import write_text

LEFT_OUT = {"colab", "lesson-only"}  # tags


def export_html(notebook, path):
    """Writes an executed notebook as one HTML file: no code cells, no Colab badge, no network request, pictures inside.

    Cells with the tag `lesson-only` are left out, too: what a report asks of students who have it as a notebook.

    Args:
        notebook: path of the executed `.ipynb`.
        path: of the HTML file.

    Returns:
        `path`.
    """
    executed = nbformat.read(notebook, as_version=4)
    executed.cells = [cell for cell in executed.cells if not LEFT_OUT & set(cell.metadata.get("tags", []))]
    # nbconvert's own page loads scripts from the network; its "basic" template is the body alone.
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(executed)
    heading = re.search(r"<h1[^>]*>(.*?)(?:<a |</h1>)", body, re.DOTALL)
    title = html.unescape(re.sub(r"<[^>]+>", "", heading.group(1))) if heading else Path(notebook).stem
    body = without_anchors(body)
    write_text(Path(path), page(title.strip(), body))
    return Path(path)


def without_anchors(body):
    """nbconvert's HTML without the ¶ that it puts behind each heading."""
    return re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body)


def page(title, body):
    """A whole HTML page, self-contained, from its title (text) and its body (HTML)."""
    return _PAGE.format(title=html.escape(title), style=_STYLE, body=body)


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
