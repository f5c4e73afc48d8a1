"""Badge and installation for Google Colab: in every notebook, all alike, and nothing outside Colab."""

import re
import shutil
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import locadv
from locadv_tf.reports import colab, notebooks

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://github.com/someone/kit.for-class"


def read_all():
    return {path: nbformat.read(path, as_version=4) for path in notebooks.lessons()}


@pytest.fixture()
def clone(tmp_path, monkeypatch):
    """The notebooks and CITATION.cff in a folder of their own."""
    shutil.copytree(notebooks.NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("assignments"))
    shutil.copy(colab.CITATION, tmp_path)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(colab, "CITATION", tmp_path / "CITATION.cff")
    return tmp_path


def test_no_badge_points_at_a_copy_with_solutions(clone, capsys):
    before = contents(clone)
    (clone / "notebooks" / "assignments" / "source").mkdir(parents=True)
    assert locadv.main(["colab", ADDRESS]) == 2
    assert "holds solutions" in (told := capsys.readouterr().err) and "locadv course publish --to FOLDER" in told
    assert contents(clone) == before and colab.stamp() == notebooks.lessons()  # without an address it does not matter


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_notebook_has_badge_and_cell_as_the_address_demands(clone):
    before = contents(clone)
    assert colab.stamp() == notebooks.lessons() and len(notebooks.lessons()) >= 8
    assert contents(clone) == before, "run `locadv colab` and commit what it changes"


def test_without_an_address_no_lesson_begins_with_colab(clone):
    text = re.sub(r"^repository-code: .*\n", "", colab.CITATION.read_text(), flags=re.MULTILINE)
    colab.CITATION.write_text(text)
    colab.stamp()
    for notebook in read_all().values():
        *lesson, note, cell = notebook.cells
        assert [note.metadata.tags, cell.metadata.tags] == [["colab"], ["colab"]]
        assert note.source == colab.badge("any", None) and cell.source == colab.cell(None)
        assert not any("colab" in one.source.lower() for one in lesson)


def test_with_an_address_the_badge_is_on_top_and_the_cell_before_any_other_code(clone):
    assert locadv.main(["colab", ADDRESS]) == 0
    for notebook in read_all().values():
        first, *code = [notebook.cells[0], *(cell for cell in notebook.cells if cell.cell_type == "code")]
        assert first.source.startswith("[![Open in Colab](") and first.metadata.tags == ["colab"]
        assert code[0].metadata.tags == ["colab"] and code[0].source == colab.cell(ADDRESS)
        assert not any("google.colab" in cell.source for cell in code[1:])


def test_one_command_points_all_badges_at_a_repository(clone, capsys):
    for address in ("https://github.com/first/one", ADDRESS):
        assert locadv.main(["colab", address]) == 0
        assert colab.address() == address
    assert capsys.readouterr().out.splitlines()[-1].endswith("appendix_batch.ipynb")
    assert yaml.safe_load(colab.CITATION.read_text())["repository-code"] == ADDRESS
    for path, notebook in read_all().items():
        nbformat.validate(notebook)
        target = f"/github/someone/kit.for-class/blob/main/notebooks/{path.name})"
        assert notebook.cells[0].source.endswith("https://colab.research.google.com" + target)
        assert sum(f'"git+{ADDRESS}"' in cell.source for cell in notebook.cells) == 1
    known = contents(clone)
    assert locadv.main(["colab"]) == 0 and contents(clone) == known  # the address is remembered


@pytest.mark.parametrize(
    "address",
    [
        "http://github.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b.git",
        "https://example.org/a/b",
        "",
        "a/b",
    ],
)
def test_colab_opens_notebooks_from_github_alone(address, clone, capsys):
    before = contents(clone)
    assert locadv.main(["colab", address]) == 2
    assert "expected https://github.com/OWNER/NAME" in capsys.readouterr().err
    assert contents(clone) == before


@pytest.mark.parametrize("address", [None, ADDRESS])
@pytest.mark.parametrize("inside", [False, True])
def test_the_cell_installs_in_colab_and_does_nothing_elsewhere(address, inside, monkeypatch):
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    asked = []
    shell.register_magic_function(asked.append, magic_name="pip")
    if inside:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    shell.run_cell(colab.cell(address)).raise_error()
    kit = f"git+{ADDRESS}" if address else "locadv_tf.zip"
    expected = ["install --quiet --no-deps " + kit] if inside else []
    assert asked[-1:] == expected and len(asked) == 2 * inside


def test_what_the_cell_asks_for_is_what_the_project_asks_for():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    asked = re.findall(r'"(\w+>=[\d.]+)"', colab.cell(None))
    assert asked and set(asked) <= set(needed)
