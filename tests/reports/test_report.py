"""Reports: strict parameters, metrics, HTML; what a notebook does is in test_notebooks.py."""

import json

import nbformat
import numpy as np
import papermill
import pytest

import locadv_tf as la
from locadv_tf.reports import metrics, notebooks, page, report

REPORT = notebooks.NOTEBOOKS / "06_report.ipynb"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": 0.1}, "'epsilon' is unknown to 06_report; it has dataset \\(str\\), seed \\(int\\), eps"),
        ({"eps": "8/255"}, "eps='8/255' is of type str; expected float or None. Write it as a decimal number"),
        ({"epochs": 2.5}, "epochs=2.5 is of type float; expected int"),
        ({"epochs": True}, "epochs=True is of type bool; expected int"),
        ({"epochs": None}, "epochs=None is of type NoneType; expected int"),
        ({"eps_multiples": 0.5}, "expected list"),
    ],
)
def test_parameters_are_strict_before_anything_runs(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        report.report(out=tmp_path / "out", profile="smoke", parameters=given)
    assert not (tmp_path / "out").exists()


def test_whole_numbers_pass_for_floats_and_none_where_it_is_the_default():
    checked = notebooks.check_parameters(REPORT, {"share": 1, "eps": None, "train_limit": 5})
    assert checked == {"share": 1.0, "eps": None, "train_limit": 5} and isinstance(checked["share"], float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "06_reprot"}, "notebook='06_reprot' is unknown; expected one of '00_start_here'"),
        ({"name": "06_report", "profile": "quick"}, "profile='quick' is unknown; expected one of 'smoke'"),
    ],
)
def test_unknown_notebooks_and_profiles(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        report.run_notebook(out=tmp_path, **arguments)


def test_braces_in_the_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has braces"):
        report.report(out=tmp_path / "{a}", profile="smoke")


@pytest.mark.slow
def test_a_failing_cell_keeps_the_cells_before_it_and_no_old_metrics(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(papermill.PapermillExecutionError, match="'nonsense' is unknown"):
        report.report(out=tmp_path, profile="smoke", parameters={"mask": "nonsense"})
    executed = nbformat.read(tmp_path / "report.ipynb", as_version=4)
    assert any(output.get("name") == "stdout" for cell in executed.cells for output in cell.get("outputs", []))
    assert not (tmp_path / "metrics.json").exists()


def test_metrics_hold_only_plain_json(tmp_path):
    results = {"a": np.float32(0.5), "b": np.arange(3), "c": float("nan"), "d": (np.bool_(True), None), 5: np.int64(2)}
    path = metrics.write_metrics(tmp_path / "new" / "folder", parameters={"seed": 1}, results=results)
    content = json.loads(path.read_text())
    assert content["results"] == {"a": 0.5, "b": [0, 1, 2], "c": None, "d": [True, None], "5": 2}
    assert content["versions"]["tensorflow"] and content["wall_seconds"] >= 0
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def notebook(tmp_path, *outputs, tags=()):
    asked = nbformat.v4.new_output("stream", text="not yet: write a number")
    cells = [
        nbformat.v4.new_markdown_cell("# A *small* run & more"),
        nbformat.v4.new_code_cell("secret = 1", outputs=list(outputs)),
        nbformat.v4.new_markdown_cell("### Your turn", metadata={"tags": list(tags)}),
        nbformat.v4.new_code_cell("mine = None", outputs=[asked], metadata={"tags": ["your-turn", *tags]}),
    ]
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_html_holds_outputs_but_no_code_and_fetches_nothing(tmp_path):
    picture = '<img alt="A line &amp; a dot." src="data:image/png;base64,AAAA">'
    shown = nbformat.v4.new_output("display_data", data={"text/html": picture, "text/plain": "Picture"})
    text = page.export_html(notebook(tmp_path, shown), tmp_path / "n.html").read_text()
    assert "<title>A small run &amp; more</title>" in text and 'alt="A line &amp; a dot."' in text
    assert "secret" not in text and "<script" not in text and "http" not in text


@pytest.mark.parametrize("tags", [(), ("lesson-only",)])
def test_the_html_leaves_out_what_is_for_the_notebook_only(tags, tmp_path):
    text = page.export_html(notebook(tmp_path, tags=tags), tmp_path / "n.html").read_text()
    assert ("Your turn" in text) == ("not yet: " in text) == (not tags)


def test_writing_leaves_no_half_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    metrics.write_text(path, "old")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(metrics.os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        metrics.write_text(path, "new")
    assert path.read_text() == "old"


def test_a_stored_figure_comes_from_the_working_folder_first(tmp_path, monkeypatch):
    name, alt = "02_data_and_masks/mnist.png", "Digits of MNIST."
    ours = la.stored_figure(name, alt=alt)
    assert ours.png() == (notebooks.NOTEBOOKS / "stored" / name).read_bytes() and f'alt="{alt}"' in ours._repr_html_()
    (tmp_path / "stored" / name).parent.mkdir(parents=True)
    (tmp_path / "stored" / name).write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    assert la.stored_figure(name, alt=alt).png() == b"mine"
    with pytest.raises(ValueError, match=r"nobody\.png' is not there; expected the kit's notebooks"):
        la.stored_figure("02_data_and_masks/nobody.png", alt=alt)
