"""The progress bar: text in a terminal, in a notebook one output that is overwritten until it says 100 %."""

import sys
import types

import pytest
from IPython.core import display_functions
from IPython.core.interactiveshell import InteractiveShell

import locadv_tf as la
from locadv_tf.engine.progress import progress_bar


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


@pytest.fixture
def notebook(monkeypatch):
    """IPython's own display, with a list in place of the wire to the browser."""
    published = []

    def publish(data, metadata=None, *, transient=None, update=False, **_):
        published.append((data, transient["display_id"], update))

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(display_functions, "publish_display_data", publish)
    return published


def count_to(total, **options):
    with progress_bar("PGD-20 · background", total=total, **options) as bar:
        for _ in range(total):
            bar.update(1)


def test_terminal(terminal, capsys):
    count_to(3)
    out, err = capsys.readouterr()
    last = out.rstrip("\n").split("\r")[-1]
    assert last.startswith("PGD-20 · background: 100%") and "3/3" in last and "images/s" in last
    assert err == ""  # nbgrader takes any text on stderr for a failure


def test_notebook(notebook, capsys):
    count_to(3)
    assert len({display_id for _, display_id, _ in notebook}) == 1
    assert [update for *_, update in notebook] == [False] + [True] * (len(notebook) - 1)
    data = notebook[-1][0]
    assert list(data) == ["text/plain"]
    assert data["text/plain"].startswith("PGD-20 · background: 100%") and "3/3" in data["text/plain"]
    assert capsys.readouterr() == ("", "")  # nothing beside that one output


def test_notebook_keeps_what_an_error_left_done(notebook):
    with pytest.raises(KeyboardInterrupt), progress_bar("long", total=10) as bar:
        bar.update(4)
        raise KeyboardInterrupt
    assert "4/10" in notebook[-1][0]["text/plain"]


def test_unknown_total(terminal, capsys):
    with progress_bar("masks", unit="mask") as bar:
        bar.update(5)
    assert "masks: 5 masks" in capsys.readouterr().out.split("\r")[-1]


@pytest.mark.parametrize("place", ["terminal", "notebook"])
def test_not_shown(place, request, capsys):
    published = request.getfixturevalue(place)
    count_to(3, shown=False)
    assert capsys.readouterr() == ("", "") and not published


def test_evaluation_shows_a_bar_per_row(terminal, capsys, natural_model, digits_test):
    attack = la.FGSM(eps=8 / 255)
    la.evaluate(natural_model, digits_test.take(4), {"fgsm": attack}, regions=("background", "full"), progress=True)
    lines = capsys.readouterr().out.strip().split("\n")
    titles = [line.split("\r")[-1].split(":")[0] for line in lines]
    assert titles == ["FGSM, eps = 8/255 · background", "FGSM, eps = 8/255 · full"]
    assert all("100%" in line and "4/4" in line for line in lines)


def test_it_goes_through_items(notebook):
    assert list(progress_bar("letters", "abc", unit="letter")) == ["a", "b", "c"]
    assert "3/3" in notebook[-1][0]["text/plain"]
