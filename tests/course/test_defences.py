"""The other process, which reads and attacks classifiers: its limits, and that it begins anew."""

import contextlib
import os

import numpy as np
import pytest

import locadv_tf as la
from locadv_tf.course import defences


@pytest.fixture(scope="module")
def task():
    image, label, mask = la.to_arrays(la.load_data("digits", "test", limit=12, seed=0))
    attacked = [np.where(mask == 1, np.float32(level), image) for level in (0.0, 0.5)]
    return {"image": image, "label": label, "mask": mask, "attacked": np.array(attacked)}


@pytest.mark.slow
def test_after_a_file_that_took_too_long_the_next_is_scored_as_it_would_be_here(task, tmp_path, monkeypatch):
    model = la.small_cnn((28, 28, 1), 10)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "task.npz", **task)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.py").write_text("raise SystemExit")  # what lies beside the files is not imported
    with contextlib.closing(defences.Examiner(tmp_path / "task.npz", eps=0.3, seed=1, seconds=0)) as examine:
        assert examine("model.keras") == {"problem": "not done after 0 s; expected a faster classifier."}
        examine.seconds = 300
        assert "config.json" in examine(tmp_path / "task.npz")["problem"]
        found = examine("model.keras")
        ended = examine._process
    assert ended.returncode is not None and examine._process is None
    assert found == defences.score(tmp_path / "model.keras", **task, eps=0.3, seed=1)
    assert found["problem"] is None and len(found["right"]) == len(found["kits"]) == 12 and len(found["under"]) == 2


def test_a_process_that_does_not_start_is_no_file_s_fault(tmp_path):
    examine = defences.Examiner(tmp_path / "missing.npz", eps=0.3, seed=1)
    with pytest.raises(RuntimeError, match="did not start"):
        examine(os.devnull)
