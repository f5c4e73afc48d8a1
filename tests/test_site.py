"""The site: what it is made of, what its checker finds, and a build on the smoke profile, in a browser, too."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import chromium
import nbformat
import pytest
from once import once
from selenium.webdriver.common.by import By

import locadv_tf as la
from locadv_tf.reports import notebooks

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE))
import api_pages  # noqa: E402
import checked  # noqa: E402
import executed  # noqa: E402
import sources  # noqa: E402

LESSON = "00_start_here"  # the one that a build here executes
NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx_copybutton")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
NEEDS_SPHINX = pytest.mark.skipif(
    bool(MISSING), reason=f"the site was left out: {' and '.join(MISSING)} not installed (extra site)"
)


class TestLessons:
    @pytest.fixture
    def copies(self, tmp_path, monkeypatch):
        """Two lessons in a folder of their own, and a list of those that would have been executed."""
        (tmp_path / "notebooks" / "params").mkdir(parents=True)
        for name in (LESSON, "07_photographs"):
            (tmp_path / "notebooks" / f"{name}.ipynb").write_bytes(notebooks.notebook_path(name).read_bytes())
        (tmp_path / "notebooks" / "params" / "smoke.yaml").write_text("epochs: 2\n")
        monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
        return tmp_path / "notebooks"

    @pytest.fixture
    def asked(self, monkeypatch, tmp_path):
        """Runs instead of lessons: what is asked for is kept, and each leaves its folder."""
        runs = []

        def run(name, profile, folder):
            runs.append(name)
            folder.mkdir(parents=True, exist_ok=True)
            return 1.0

        class Here:
            """An executor that does it at once."""

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def submit(self, function, *arguments):
                done = executed.concurrent.futures.Future()
                try:
                    done.set_result(function(*arguments))
                except Exception as problem:
                    done.set_exception(problem)
                return done

        monkeypatch.setattr(executed, "run", run)
        monkeypatch.setattr(executed.workers, "pool", lambda count: Here())
        return runs

    def execute(self, folder, names=(LESSON, "07_photographs")):
        return executed.execute(folder, names, profile="smoke", log=lambda line: None)

    def test_a_lesson_runs_again_only_if_something_has_changed(self, copies, asked, tmp_path):
        kept = tmp_path / "kept"
        assert self.execute(kept) == [] and asked == ["07_photographs", LESSON]
        self.execute(kept)
        assert len(asked) == 2
        path = copies / f"{LESSON}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source += "\n\nAnother sentence."
        nbformat.write(notebook, path)
        self.execute(kept)
        assert len(asked) == 2, "text runs nothing"
        next(cell for cell in notebook.cells if cell.cell_type == "code").source += "\nnew = 1"
        nbformat.write(notebook, path)
        self.execute(kept)
        assert asked[2:] == [LESSON]
        (copies / "params" / "smoke.yaml").write_text("epochs: 3\n")
        self.execute(kept)
        assert len(asked) == 5

    def test_a_lesson_that_fails_is_named_and_runs_again(self, copies, asked, tmp_path, monkeypatch):
        run = executed.run

        def fail(name, *arguments):
            if name == LESSON:
                raise RuntimeError("a cell failed")
            return run(name, *arguments)

        monkeypatch.setattr(executed, "run", fail)
        assert self.execute(tmp_path / "kept") == [LESSON] and asked == ["07_photographs"]
        monkeypatch.setattr(executed, "run", run)
        assert self.execute(tmp_path / "kept") == [] and asked == ["07_photographs", LESSON]

    def test_comments_and_docstrings_are_no_code(self):
        code = executed.code_of('"""Text."""\ndef f(x):\n    """More."""\n    return x  # why\n')
        assert code == executed.code_of('"""Other."""\ndef f(x):\n    """Text."""\n    return x\n')
        assert code != executed.code_of('"""Text."""\ndef f(x):\n    """More."""\n    return 2 * x\n')

    def test_a_page_is_todays_text_with_the_outputs_of_the_run(self, copies, tmp_path):
        kept = tmp_path / "kept" / LESSON
        kept.mkdir(parents=True)
        ran = nbformat.read(copies / f"{LESSON}.ipynb", as_version=4)
        code = [cell for cell in ran.cells if cell.cell_type == "code" and not executed.tagged(cell, "colab")]
        for i, cell in enumerate(code):
            cell.outputs = [nbformat.v4.new_output("stream", text=f"output {i}")]
        at = ran.cells.index(code[0]) + 1
        given = nbformat.v4.new_code_cell('# Parameters\nepochs = 2\nseed = 0\noutput_dir = "."', metadata={})
        given.metadata["tags"] = ["injected-parameters"]
        ran.cells.insert(at, given)
        ran.cells[0].source = "# Yesterday's"
        nbformat.write(ran, kept / f"{LESSON}.ipynb")
        page = executed.page(LESSON, tmp_path / "kept")
        assert "Yesterday" not in page.cells[0].source
        cells = [cell for cell in page.cells if cell.cell_type == "code"]
        assert cells[1].source == "# this page was made with\nepochs = 2"  # the seed is the lesson's own
        texts = ["".join(output.text for output in cell.outputs) for cell in cells[:1] + cells[2:]]
        assert texts == [f"output {i}" for i in range(len(texts))] and len(texts) == len(code)
        assert not [cell for cell in page.cells if executed.tagged(cell, "colab")]
        ran.cells.remove(code[3])  # the run of a version with other code
        nbformat.write(ran, kept / f"{LESSON}.ipynb")
        page = executed.page(LESSON, tmp_path / "kept")
        assert not [cell for cell in page.cells if cell.cell_type == "code" and cell.outputs]


class TestSources:
    def test_links_follow_the_pages(self):
        linked = set()
        text = "[a](../README.md#x) ![b](images/background_attack.png) [c](https://x.org/a) [d](#e)\n"
        text += "```sh\n[f](../LICENSE)\n```\n"
        made = sources.relinked(text, origin=ROOT / "docs" / "gpu.md", at="gpu.md", linked=linked)
        assert made == text.replace("../README.md", "README.md")
        assert linked == {ROOT / "README.md", ROOT / "docs/images/background_attack.png"}
        made = sources.relinked("[a](docs/gpu.md)", origin=ROOT / "README.md", at="how-to/x.md", linked=linked)
        assert made == "[a](../gpu.md)"

    def test_no_page_takes_solutions_with_it(self):
        path = ROOT / "notebooks" / "assignments" / "source" / "2_attack" / "2_attack.ipynb"
        with pytest.raises(ValueError, match="which holds solutions"):
            sources.place(path)

    def test_each_how_to_is_a_page(self):
        kept, made = sources.how_to((ROOT / "CONTRIBUTING.md").read_text())
        assert {"add-an-attack", "add-a-mask-source", "add-a-training"} <= set(made)
        assert made["add-an-attack"].startswith("# Add an attack\n") and "## Add" not in kept and "## Rules" in kept

    def test_the_words_of_lesson_00_are_the_glossarys(self):
        row = re.compile(r"^\| ([^|]+) \| (.+) \|$", re.MULTILINE)
        lesson = "\n".join(cell.source for cell in nbformat.read(notebooks.notebook_path(LESSON), as_version=4).cells)
        table = re.search(r"\| word \| meaning \|\n\|---\|---\|\n((?:\|.*\n?)+)", lesson).group(1)
        words = dict(row.findall((ROOT / "docs" / "glossary.md").read_text()))
        for word, meaning in row.findall(table):
            assert words[word].startswith(re.sub(r": lesson \d+b?$", "", meaning)), word
        made = sources.glossary((ROOT / "docs" / "glossary.md").read_text())
        assert "```{glossary}\nimage\n  numbers from 0 (dark) to 1" in made and "|---|" not in made

    def test_the_first_pages_picture_is_the_readmes(self):
        pictures = [  # the README's figures of results/ aside
            re.search(r"!\[([^\]]+)\]\((?:docs/)?(images/.+?)\)", (ROOT / name).read_text()).groups()
            for name in ("README.md", "docs/index.md")
        ]
        assert pictures[0] == pictures[1]

    def test_the_api_has_the_blocks_of_the_kit(self):
        blocks = api_pages.blocks()
        assert [name for names in blocks.values() for name in names] == la.__all__
        assert next(iter(blocks)).startswith("The method")

    def test_only_what_has_changed_is_written(self, tmp_path):
        sources.write({"a.md": "a", "b/c.md": "c"}, tmp_path)
        before = (tmp_path / "a.md").stat().st_mtime_ns
        sources.write({"a.md": "a", "b/d.md": b"d"}, tmp_path)
        assert (tmp_path / "a.md").stat().st_mtime_ns == before
        assert sorted(path.name for path in tmp_path.rglob("*.md")) == ["a.md", "d.md"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="other.html#here">x</a><img src="a.png" alt="A picture">', None),
        ('<a href="https://x.org">x</a><a href="#top">x</a><p id="top"></p>', None),
        ('<a href="none.html">x</a>', "none.html leads nowhere"),
        ('<a href="other.html#there">x</a>', "other.html#there leads nowhere"),
        ('<img src="a.png">', "without alternative text"),
        ('<img src="b.png" alt="B">', "b.png is not there"),
        ('<img src="//x.org/a.png" alt="A">', "from elsewhere"),
        ('<script src="https://x.org/a.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="https://x.org/a.css">', "from elsewhere"),
        ("<style>p { background: url(https://x.org/a.png) }</style>", "from elsewhere"),
        ("<p style=\"background: url('https://x.org/a.png')\"></p>", "from elsewhere"),
        ("<details><div></details></div>", "closes something else"),
    ],
)
def test_the_checker_finds(body, problem, tmp_path):
    (tmp_path / "other.html").write_text('<p id="here"></p>')
    (tmp_path / "a.png").touch()
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    found = checked.problems(tmp_path)
    assert not found if problem is None else any(problem in line for line in found)


def test_the_checker_reads_style_sheets_and_wants_a_page(tmp_path):
    assert checked.problems(tmp_path) == [f"there is no page in {tmp_path}"]
    (tmp_path / "page.html").write_text("<p>x</p>")
    (tmp_path / "a.css").write_text('@import "https://x.org/b.css"; p { src: url(data:font/woff2;base64,AA) }')
    assert checked.problems(tmp_path) == ["a.css: fetches https://x.org/b.css"]


@pytest.fixture(scope="session")
def site(shared_dir):
    """The folder of a site as `make site` builds it, on the smoke profile and with one lesson executed."""

    def build(folder):
        command = [sys.executable, SITE / "make_site.py", "--profile", "smoke", "--lessons", LESSON, "--to", folder]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 0, done.stderr  # every warning is an error, and the checker is content
        assert done.stdout.splitlines()[-1] == str(folder / "html" / "index.html")

    return once(shared_dir / "site", build) / "html"


@pytest.mark.slow
@pytest.mark.xdist_group("browser")  # with those below, so that the site is built once
@NEEDS_SPHINX
class TestABuiltSite:
    def test_every_public_name_is_documented(self, site):
        for name in la.__all__:
            page = (site / "api" / f"{name}.html").read_text()
            module = getattr(getattr(la, name), "__name__", "")
            here = re.search(rf'id="(locadv_tf\.{name}|module-{re.escape(module)})".*?</article>', page, re.DOTALL)
            assert here and "<p>" in here[0], name
        index = (site / "api" / "index.html").read_text()
        assert all(f'href="{name}.html"' in index for name in la.__all__)

    def test_names_and_lessons_are_linked(self, site):
        page = (site / "researchers.html").read_text()
        assert 'href="api/smallest_eps.html#locadv_tf.smallest_eps"' in page
        assert 'href="api/masks.html#module-locadv_tf.data.masks"' in page
        assert f'href="notebooks/{LESSON}.html"' in (site / "students.html").read_text()
        assert 'href="Attack.html#locadv_tf.attacks.attack.Attack"' in (site / "api" / "PGD.html").read_text()
        assert 'href="PGD.html#locadv_tf.PGD"' in (site / "api" / "RandomNoise.html").read_text()

    def test_every_lesson_and_guide_is_a_page(self, site):
        for path in notebooks.lessons():
            assert (site / "notebooks" / f"{path.stem}.html").is_file()
        for path in (ROOT / "docs").glob("*.md"):
            assert (site / f"{path.stem}.html").is_file()
        assert (site / "how-to" / "add-an-attack.html").is_file() and (site / ".nojekyll").is_file()

    def test_an_executed_lesson_has_figures_with_words_and_folded_answers(self, site):
        page = (site / "notebooks" / f"{LESSON}.html").read_text()
        pictures = re.findall(r"<img[^>]*data:image/png[^>]*>", page)
        assert len(pictures) >= 4 and all(len(re.search(r'alt="([^"]*)"', each)[1]) > 20 for each in pictures)
        assert page.count("<details") == page.count("</details>") >= 5 and "<details open" not in page
        assert "google.colab" not in page and "Traceback" not in page

    def test_the_playground_is_part_of_it(self, site):
        assert 'id="editor"' in (site / "play.html").read_text()
        assert 'href="play.html"' in (site / "index.html").read_text()
        assert 'href="play.html"' in (site / "playground.html").read_text()

    def test_it_is_found_by_search(self, site):
        index = json.loads(re.search(r"\{.*\}", (site / "searchindex.js").read_text(), re.DOTALL)[0])
        assert "robust accuracy" in json.dumps(index["objects"] | index.get("indexentries", {})).lower()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("profile"), size="1400,900")
    try:
        yield driver
    finally:
        driver.quit()


class TestInABrowser:
    pytestmark: ClassVar = [*chromium.needs_chromium("the site"), NEEDS_SPHINX]

    @pytest.mark.parametrize("width", [400, 1400])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_nothing_is_cut_off_and_nothing_fails(self, browser, site, width, scheme):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
        for name in ("index", f"notebooks/{LESSON}", "results", "api/PGD", "api/index", "benchmarks/index", "play"):
            browser.get((site / f"{name}.html").as_uri())
            browser.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, name
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == []
        browser.get((site / "index.html").as_uri())
        bottom = browser.execute_script("return document.querySelector('article img').getBoundingClientRect().bottom")
        assert bottom <= 900, "the picture is within the first screen"

    def test_search_works_from_disk(self, browser, site):
        browser.get((site / "search.html").as_uri() + "?q=catastrophic+overfitting")
        browser.implicitly_wait(30)
        assert browser.find_elements(By.CSS_SELECTOR, "#search-results li a[href*='glossary.html']")
