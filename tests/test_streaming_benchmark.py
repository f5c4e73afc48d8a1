"""benchmarks/streaming.py from end to end, on a few small images."""

import re

import pytest

import locadv

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import streaming as benchmark  # noqa: E402


@pytest.mark.slow
def test_every_use_has_its_row(monkeypatch, capsys, tmp_path):
    for name in ("TFDS_DATA_DIR", "LOCADV_CACHE_DIR"):  # it sets them itself
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setattr(benchmark, "USES", dict(list(benchmark.USES.items())[:1]))
    path = benchmark.main(["--images", "60", "--few", "20", "--side", "16", "--out", str(tmp_path)])
    text = path.read_text()
    assert text + "\n" == capsys.readouterr().out
    (row,) = re.findall(r"\| (train_classifier.*?) \| (\d+) MB, \d+ s \| (\d+) MB, \d+ s \| (-?\d+) MB \| met \|", text)
    assert 100 < int(row[1]) < 10_000 and abs(int(row[2]) - int(row[1]) - int(row[3])) <= 1


def test_a_bar_that_is_missed_is_told():
    asked = type("Asked", (), {"few": 200, "images": 20_000})
    rows = [[(1000, 1), (1399, 90)], [(1000, 1), (1401, 90)], [(1000, 1), (990, 90)]]
    lines = benchmark.table(rows, asked).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["met |", "missed |", "met |"]
    assert "| 1000 MB, 1 s | 1401 MB, 90 s | 401 MB |" in lines[3]
