"""The benchmark's arithmetic; no time is measured in a test."""

import pytest

from locadv_tf import cli

cli.parser()  # puts benchmarks/ on the path, as the command line does
import bench  # noqa: E402

ROUNDS = {
    "attack_kit": [{"seconds": 1.0, "robust_accuracy": 0.5}, {"seconds": 2.0, "robust_accuracy": 0.5}],
    "attack_art": [{"seconds": 7.0, "robust_accuracy": 0.505}, {"seconds": 12.0, "robust_accuracy": 0.505}],
    "floor_attack": [{"seconds": 0.9}, {"seconds": 1.8}],
}


def test_ratios_are_taken_round_by_round_and_held_against_the_bars():
    kit, art, floor = (bench._row(bench.SUITES["lat"], name, ROUNDS) for name in ROUNDS)
    assert (kit["ratio"], art["ratio"], floor["ratio"]) == (1.0, 6.5, 0.9)
    assert art["met"] and floor["met"] and "met" not in kit
    assert not bench._row(bench.SUITES["masked"] | {"bars": {"attack_art": 7}}, "attack_art", ROUNDS)["met"]


def test_no_time_where_robust_accuracies_disagree():
    weak = ROUNDS | {"attack_art": [outcome | {"robust_accuracy": 0.52} for outcome in ROUNDS["attack_art"]]}
    with pytest.raises(SystemExit, match=r"attack_art leaves 52\.0 % robust and the kit 50\.0 %"):
        bench._row(bench.SUITES["lat"], "attack_art", weak)


def test_table_and_figure_hold_every_contestant():
    rows = [bench._row(bench.SUITES["lat"], name, ROUNDS) for name in ROUNDS]
    about = {
        "machine": "one, 2 cores",
        "device": "CPU",
        "images": 10,
        "dataset": "mnist",
        "steps": 20,
        "eps": 0.1,
        "rounds": 2,
    }
    table = bench.markdown(rows, about | {"finished": "2026-01-01"})
    for name in ROUNDS:
        assert f"| {name} |" in table
    assert "| attack_art | 9.50 [7.00, 12.00] | 6.50 | 50.5 % | at least 1.5 | yes |" in table
    (axis,) = bench.figure(rows).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["floor attack", "art", "kit"]
