"""benchmarks/classifiers.py: its arithmetic, and a run from end to end on few images."""

import json

import pytest

import locadv

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import classifiers  # noqa: E402


def row(training, seconds, accuracy, background):
    found = {"training": training, "seconds": seconds, "accuracy": accuracy, "balanced_accuracy": 0.9, "n": 10}
    return found | {"background": background, "attacked": 10, "images": 100}


def test_the_goals_are_held_against_the_rows():
    rows = [
        row("natural", 1000, 0.86, 0.1), row("LAT, single step", 1800, 0.8, 0.69), row("LAT, PGD-5", 4000, 0.8, 0.70),
    ]  # fmt: skip
    assert [met for _, _, met in classifiers.bars("cifar10", rows)] == [True, True, True, True]
    slow = [row("natural", 1201, 0.859, 0.1), row("LAT, single step", 2200, 0.8, 0.68), rows[2]]
    assert [met for _, _, met in classifiers.bars("cifar10", slow)] == [False, False, False, False]
    balanced = classifiers.bars("caltech10_outlines", [row("natural", 599, 0.1, 0)])
    assert [(found, met) for _, found, met in balanced] == [("10.0", True), ("90.0 %", True)]


@pytest.mark.slow
def test_a_small_run_from_end_to_end(tfds_dir, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    small = {"width": 2, "batch_size": 16}
    monkeypatch.setitem(classifiers.SETTINGS, "cifar10", classifiers.SETTINGS["cifar10"] | small)
    load = classifiers.load

    def few(*given):
        train, judges = load(*given)
        return train, judges.take(40)

    monkeypatch.setattr(classifiers, "load", few)
    asked = ["--parts", "cifar10", "--images", "40", "--epochs", "1", "--attacked-images", "6", "--out", str(tmp_path)]
    asked += ["--split", "validation"]
    classifiers.main([*asked, "--trainings", "natural"])
    classifiers.main([*asked, "--trainings", "natural", "LAT, single step"])
    assert "| LAT, single step |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "classifiers.json").read_text())["cifar10"]["rows"]
    assert [each["training"] for each in rows] == ["natural", "LAT, single step"]
    assert all(each["n"] == 40 and each["attacked"] == 6 and 0 <= each["background"] <= 1 for each in rows)
    monkeypatch.setattr(classifiers, "train", lambda *_: pytest.fail("what is finished was trained again"))
    classifiers.main([*asked, "--trainings", "natural"])
    assert "| LAT, single step |" in (tmp_path / "CLASSIFIERS.md").read_text()
