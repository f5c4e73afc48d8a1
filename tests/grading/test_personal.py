"""Numbers of one's own must not decide what a student gets: the cells of the sources, run for many students."""

import nbformat
import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.course import feedback, release, suspects

SECRET = bytes.fromhex("5e" * 32)


def run(name, grade_ids, variables, replace=None):
    """Runs cells of a source in a dictionary of variables, which says who the student is."""
    variables["code"] = feedback.with_check(variables["student"], "k7fq29mt")
    source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
    for cell in source.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in grade_ids:
            exec(cell.source.replace(*replace or ("", "")), variables)
    return variables


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(la.plotting, "mask_sources", lambda *arguments, **options: None)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


@pytest.mark.parametrize("student", [f"student{i}" for i in range(12)])
def test_few_images_are_the_worst_and_tidying_harms_some(student, quiet):
    """Else any image, or 0, would be the right answer."""
    own = run("1_background", ("setup", "border", "tidy", "errors"), {"student": student})
    found = own["border_mask"](own["images"], own["cut"])
    before, after = (sum(own["errors"](mask, own["exact"])) for mask in (found, own["tidy"](found)))
    assert 1 <= (before >= before.max() - 0.01).sum() <= 6
    assert 1 < (after > before).sum() < 40


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """What `release` writes beside assignment 4."""
    path = tmp_path_factory.mktemp("suspects") / suspects.FILE
    suspects.write(path, SECRET)
    return path


def test_the_suspects_are_in_an_order_of_the_secret_and_hold_no_key(sheet, tmp_path):
    with np.load(sheet, allow_pickle=False) as file:
        assert {name for name in file.files if not name.startswith("weight_")} == {
            "image", "label", "mask", "eps", "attacked",
        }  # fmt: skip
        far = np.abs(file["attacked"] - file["image"]).max(axis=(1, 2, 3, 4)) > file["eps"] + 1e-6
        first = file["attacked"]
    assert far.sum() == 1 and sheet.stat().st_size < 3e6
    suspects.write(tmp_path / "other.npz", SECRET[::-1][:31])
    with np.load(tmp_path / "other.npz", allow_pickle=False) as other:
        assert not np.array_equal(other["attacked"], first)


@pytest.mark.parametrize("student", ["student51", "student90", "student144", "student0"])
def test_assignment_4_is_fair_to_everybody(student, sheet, quiet, monkeypatch):
    """A right audit passes, and there is much to gain by knowing of the guard."""
    monkeypatch.chdir(sheet.parent)
    own = run("4_defence", ("setup", "helpers", "audit", "audit_seen", "audit_strong"), {"student": student})
    run("4_defence", ("diagnosis", "diagnosis_graded", "guard", "get_past", "get_past_more", "get_past_most"), own)
    assert own["points"] == 24
    noise = la.RandomNoise(eps=1.0)(own["model"], own["image"], own["label"], mask=own["mask"], seed=0)
    assert own["fooled"](noise).sum() > 10  # far from the five of the test's attack
    assert own["most"] >= own["before"] + 8


def test_an_audit_that_asks_for_one_image_only_does_not_pass(sheet, quiet, monkeypatch):
    monkeypatch.chdir(sheet.parent)
    wrong = ('(right["0"] & ~right["noise"]).sum()', "0")
    own = run("4_defence", ("setup", "helpers", "audit", "audit_seen"), {"student": "student51"}, wrong)
    with pytest.raises(feedback.NotYet, match="an attack on five of the images"):
        run("4_defence", ("audit_strong",), own)
