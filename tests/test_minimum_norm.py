"""benchmarks/minimum_norm.py from end to end, on few images."""

import re

import pytest

import locadv

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import minimum_norm  # noqa: E402


@pytest.mark.slow
def test_the_table_has_a_row_for_each_way_and_its_numbers(monkeypatch, capsys):
    monkeypatch.setattr(minimum_norm, "STEPS", (10, 30))
    minimum_norm.main(["--images", "24", "--epochs", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:2] for row in cells] == [
        [region, name] for region in ("background", "full") for name in ("PGD-20, bisected", "FMN-10", "FMN-30")
    ]
    assert all(re.fullmatch(r"[\d.]+/255|inf/255", row[2]) for row in cells)
    spent = {tuple(row[:2]): int(row[5]) for row in cells}
    assert spent["full", "FMN-30"] == 30 and 20 < spent["full", "PGD-20, bisected"] <= 9 * 20
    assert minimum_norm.smallest_eps.run_attack.__name__ == "run_attack"  # put back
