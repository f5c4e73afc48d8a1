"""Numbers of one's own must not decide what a student gets: the cells of the sources, run for many students."""

import nbformat
import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.course import feedback, release


def run(name, grade_ids, variables, replace=None):
    """Runs cells of a source, and the one that defines the student, in a dictionary of variables."""
    source = nbformat.read(release.KIT / "source" / name / f"{name}.ipynb", as_version=4)
    for cell in source.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in grade_ids:
            exec(cell.source.replace(*replace or ("", "")), variables)
    return variables


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(la.plotting, "mask_sources", lambda *arguments, **options: None)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


@pytest.mark.parametrize("student", ["student178", "student248", *(f"student{i}" for i in range(20))])
def test_few_images_are_the_worst(student, quiet):
    """Were all masks perfect, any image would be the right answer (as it was for the first two)."""
    own = run("1_background", ("setup", "border", "iou"), {"student": student})
    overlap = own["iou"](own["border_mask"](own["images"], own["cut"]), own["exact"])
    assert 1 <= (overlap <= overlap.min() + 0.01).sum() <= 5 and overlap.min() < 0.9


@pytest.fixture(scope="module")
def defence():
    """Assignment 4 as far as the audit, for the first of the students below; its classifier serves for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NBGRADER_EXECUTION", raising=False)
        return run("4_defence", ("setup", "audit", "audit_seen"), {"student": "student51"})


@pytest.mark.parametrize("student", ["student51", "student90", "student144", "student0"])
def test_a_right_audit_gets_its_points(student, defence, quiet):
    """Noise of a student's eps turns none to two of the images: too few to compare anything with."""
    mine = feedback.personal_seed(student, year=defence["year"])
    image, label, mask = la.to_arrays(la.load_data("digits", "test", limit=100, seed=mine))
    eps = int(np.random.default_rng(mine).integers(22, 29)) / 255
    own = {name: defence["tf"].constant(value) for name, value in (("image", image), ("label", label), ("mask", mask))}
    defence.update(own, eps=eps)
    run("4_defence", ("audit_strong",), defence)
    noise = la.RandomNoise(eps=1.0)(defence["model"], own["image"], own["label"], mask=own["mask"], seed=0)
    assert defence["turned"](defence["model"], noise) > 20  # far from the ten that the test's attack may turn


def test_an_audit_that_asks_for_one_image_only_does_not(defence, quiet):
    wrong = ("turned(model, x) > turned(model, noise)", "turned(model, x) > 0")
    run("4_defence", ("audit",), defence, wrong)
    with pytest.raises(feedback.NotYet, match="an attack on ten of the images"):
        run("4_defence", ("audit_strong",), defence)
    run("4_defence", ("audit",), defence)
