"""Slides: what begins one, what is left out, and that a deck needs no network."""

import re

import chromium
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

import locadv
from locadv_tf.reports import notebooks, report, slides

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def code(source, *outputs, **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def printed(text):
    return new_output("stream", name="stdout", text=text)


PICTURE = new_output("display_data", {"image/png": PIXEL})
CELLS = [
    new_markdown_cell("# A lesson: x < 3\n\nOpening."),
    code("eps: float = 0.1", tags=["parameters"]),
    code("import hidden", new_output("stream", name="stderr", text="a library warns")),
    code("draw()", PICTURE),
    new_markdown_cell("<details><summary>Answer</summary>\n\nYes.\n\n</details>\n\n## 1 · Part\n\nGuess."),
    code("print(1)", printed("the number is 1")),
    code("print(2)", printed("the number is 2")),
    code("draw()", PICTURE),
    code("mine = None", printed("not yet: write"), tags=["your-turn"]),
    code("def shown(x):\n    return x", slideshow={"slide_type": "subslide"}),
    code("code()", PICTURE, slideshow={"slide_type": "subslide"}),
    new_markdown_cell("<details><summary>Answer</summary>\n\nNo.\n\n</details>\n\n" + "Long text. " * 30),
    code("print(4)", printed("the number is 4"), slideshow={"slide_type": "fragment"}),
    code("print(3)", printed("a long log"), slideshow={"slide_type": "skip"}),
    new_markdown_cell("colab", metadata={"tags": ["colab"]}),
]


@pytest.fixture()
def executed(tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=CELLS), path)
    return path


def sections(path):
    return re.findall(r"<section>(.*?)</section>", path.read_text(encoding="utf-8"), re.DOTALL)


def test_what_begins_a_slide_and_what_is_left_out(executed, tmp_path):
    found = sections(slides.deck(executed, tmp_path / "lesson.slides.html"))
    assert len(found) == 8
    opening, picture, guess, numbers, shown, alone, figure, text = found
    assert "Opening." in opening and "eps" not in opening
    assert "<img" in picture and "Yes." in picture, "the answer stands below its figure"
    assert "Guess." in guess and "number" not in guess, "a question comes before what answers it"
    assert "number is 1" in numbers and "number is 2" in numbers and "print" not in numbers
    assert "<img" in numbers, "a figure stands below what was printed before it"
    assert re.search("code.*\\(\\)", alone) and "<img" not in alone, "code that draws has a slide of its own"
    assert "<img" in figure and "No." in figure and "code()" not in figure, "a folded answer stays below its figure"
    assert "Long text" in text and "number is 4" in text and "print" not in text, "a long text begins a slide"
    assert "a library warns" not in "".join(found)
    assert "def" in shown and not re.search("hidden|not yet|a long log|colab", "".join(found))


def test_a_deck_needs_no_network(executed, tmp_path):
    page = slides.deck(executed, tmp_path / "lesson.slides.html").read_text(encoding="utf-8")
    assert "<title>A lesson: x &lt; 3</title>" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|<link|@import|url\(|require\(""", page)


@pytest.mark.slow
def test_the_command_runs_what_was_not_run_yet(executed, tmp_path, monkeypatch, capsys):
    runs = []

    def run_notebook(name, out, *, profile):
        runs.append((name, profile))
        out.mkdir(parents=True)
        (out / f"{name}.ipynb").write_text(executed.read_text())
        (out / f"{name}.html").touch()

    monkeypatch.setattr(report, "run_notebook", run_notebook)
    asked = ["course", "slides", "--to", str(tmp_path / "decks"), "--profile", "smoke"]
    for _ in range(2):
        assert locadv.main([*asked, "00_start_here", "01_localized_attacks"]) == 0
    assert runs == [("00_start_here", "smoke"), ("01_localized_attacks", "smoke")]
    assert len(sections(tmp_path / "decks" / "00_start_here.slides.html")) == 8
    assert locadv.main(asked) == 0 and len(runs) == len([p for p in notebooks.lessons() if p.stem[0].isdigit()])
    assert locadv.main([*asked, "9_party"]) == 2 and "9_party" in capsys.readouterr().err


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_a_lessons_metadata_is_known(path):
    cells = nbformat.read(path, as_version=4).cells
    kinds = {cell.metadata.get("slideshow", {}).get("slide_type") for cell in cells}
    assert kinds <= {None, "skip", "slide", "subslide", "fragment"}


class TestInABrowser:
    pytestmark = chromium.needs_chromium("a deck")

    def test_keys_go_from_slide_to_slide_and_each_fits(self, executed, tmp_path):
        path = slides.deck(executed, tmp_path / "lesson.slides.html")
        driver = chromium.start(tmp_path / "profile", size="1280,800")
        try:
            driver.get(path.as_uri())
            body, seen = driver.find_element("tag name", "body"), []
            for _ in range(9):
                (slide,) = driver.find_elements("css selector", "section.here")
                seen.append(driver.find_element("id", "place").text)
                assert driver.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight", slide)
                body.send_keys(" ")
            assert seen == [*(f"{i} / 8" for i in range(1, 9)), "8 / 8"]
            assert driver.current_url.endswith("#8")
        finally:
            driver.quit()
