"""Parts of a lesson: computed, or read as an earlier run left them."""

import json

import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.reports import notebooks

COLOUR = (np.arange(2 * 3 * 4 * 3) % 256).reshape(2, 3, 4, 3).astype(np.float32) / np.float32(255)
GREY = np.array([0.0, 1.0], np.float32).repeat(12).reshape(2, 3, 4, 1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that lesson 99's results are stored in, in a working folder of this test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "stored" / "99_test"


def made(folder):
    """Parts as a live run leaves them."""
    part = la.LessonParts("99_test", live=True)
    part("rows", lambda: [{"accuracy": np.float32(0.5)}])
    part("pictures", lambda: {"photo graph": {"colour": COLOUR}, "mask": GREY, "labels": [3, 4]})
    la.write_metrics(folder, parameters={}, results=part.write(folder))


def test_what_was_made_is_read_again_bit_for_bit(folder):
    made(folder)
    part = la.LessonParts("99_test", live=False)
    assert part("rows", lambda: pytest.fail("it computes")) == [{"accuracy": 0.5}]
    pictures = part("pictures", None)
    np.testing.assert_array_equal(pictures["photo graph"]["colour"], COLOUR)
    np.testing.assert_array_equal(pictures["mask"], GREY)
    assert pictures["mask"].dtype == np.float32 and pictures["labels"] == [3, 4]
    assert list(part.made) == ["rows", "pictures"]
    assert {path.name for path in folder.iterdir()} == {
        "metrics.json", "pictures-photo_graph-colour.png", "pictures-mask.png",
    }  # fmt: skip


def test_a_live_run_computes_and_can_still_read(folder):
    made(folder)
    part = la.LessonParts("99_test", live=True)
    assert part("rows", lambda: 7) == 7 and part.stored("rows") == [{"accuracy": 0.5}]


def test_values_between_levels_and_beyond_the_range_are_rounded(folder):
    part = la.LessonParts("99_test", live=True)
    part("x", lambda: np.array([-0.1, 0.5001 / 255, 1.2], np.float32).reshape(1, 1, 3, 1))
    la.write_metrics(folder, parameters={}, results=part.write(folder))
    assert (255 * part.stored("x")).ravel().tolist() == [0, 1, 255]


def test_what_is_not_there_is_told(folder):
    part = la.LessonParts("99_test", live=False)
    with pytest.raises(ValueError, match=r"99_test.metrics\.json' is not there; expected the kit's notebooks"):
        part("rows", None)
    made(folder)
    with pytest.raises(ValueError, match="part='row' is unknown; expected one of 'rows', 'pictures'"):
        part("row", None)


def test_the_kits_own_results_are_whole():
    """Every picture that lesson 07 has stored is there, and none is left over."""
    folder = notebooks.NOTEBOOKS / "stored" / "07_photographs"
    stored = json.loads((folder / "metrics.json").read_text())
    part = la.LessonParts("07_photographs", live=False)
    for name in stored["results"]:
        part(name, None)
    named = set(folder.glob("*.png"))
    assert named and {path.name for path in named} == set(_files(stored["results"]))
    assert stored["results"]["computed here"] is True
    assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000


def _files(value):
    if isinstance(value, dict):
        return [value["png"]] if "png" in value else [name for item in value.values() for name in _files(item)]
    return []
