"""benchmarks/mask_quality.py from end to end, on a few drawn photographs if they are there."""

import re

import pytest

import locadv

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import mask_quality as benchmark  # noqa: E402


@pytest.mark.slow
def test_a_table_for_each_size(tfds_dir, monkeypatch, capsys, tmp_path):
    if not (tfds_dir / "caltech10_outlines").is_dir():
        pytest.skip(f"caltech10_outlines is not prepared in {tfds_dir}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    small = ["--images", "10", "--sizes", "16", "24", "--epochs", "1", "--train-limit", "40"]
    path = benchmark.main([*small, "--out", str(tmp_path)])
    text = path.read_text()
    assert text + "\n" == capsys.readouterr().out
    rows = [line for line in text.splitlines() if re.match(r"\| (?!source|---)", line)]
    names = [row.split(" | ")[0].strip("| ") for row in rows]
    assert len(rows) == 2 * len(benchmark.SOURCES) and set(names) >= {
        "border",
        "grabcut",
        "saliency",
        "grabcut, upsample=1",
    }
    assert text.count("Points per millisecond: border") == 2 and "10 test images" in text


def test_the_best_guess_stands_first_and_its_price_is_told():
    base = {
        "iou_background": 0.5,
        "iou_background_low": None,
        "iou_background_high": None,
        "background_mean": 0.7,
        "n": 3,
    }
    names = ("source", "iou_object", "iou_object_low", "iou_object_high", "ms_per_image")
    measured = [
        ("border", 0.5, 0.4, 0.6, 2.0),
        ("grabcut", 0.6, 0.5, 0.7, 20.0),
        ("grabcut, upsample=1", 0.4, 0.3, 0.5, 5.0),
    ]
    rows = [base | dict(zip(names, values, strict=True)) for values in measured]
    lines = benchmark.table(rows).splitlines()
    assert lines[2] == "| grabcut | 60.0 [50.0, 70.0] | 50.0 | 70 | 20.00 |"
    assert benchmark.verdict(rows) == (
        "The better GrabCut is `grabcut`: +10.0 points of the object's IoU against `border`, at 10.0 times its time. "
        "Points per millisecond: border 25.0, GrabCut 3.0."
    )
