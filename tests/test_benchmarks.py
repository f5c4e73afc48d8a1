"""The benchmark's arithmetic; no time is measured in a test."""

import argparse

import numpy as np
import pytest

import locadv
import locadv_tf as la

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import agreement  # noqa: E402
import bench  # noqa: E402

ROUNDS = {
    "attack_kit": [{"seconds": 1.0, "robust_accuracy": 0.5}, {"seconds": 2.0, "robust_accuracy": 0.5}],
    "attack_art": [{"seconds": 7.0, "robust_accuracy": 0.505}, {"seconds": 12.0, "robust_accuracy": 0.505}],
    "floor_attack": [{"seconds": 0.9}, {"seconds": 1.8}],
}


def test_ratios_are_taken_round_by_round_and_held_against_the_bars():
    suite = bench.SUITES["lat"] | {"floor": 1.15}
    kit, art, floor = (bench._row(suite, name, ROUNDS) for name in ROUNDS)
    assert (kit["ratio"], art["ratio"], floor["ratio"]) == (1.0, 6.5, 0.9)
    assert art["met"] and floor["met"] and "met" not in kit
    assert not bench._row(suite | {"floor": 1.1}, "floor_attack", ROUNDS)["met"]
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


def test_agreement_is_told_per_model_and_counts_the_peers_points_too(natural_model, digits_test):
    data = la.to_arrays(digits_test.take(32))
    attack = la.PGD(eps=0.2, steps=3)

    def strong(model, x, y, mask):
        return attack(model, x, y, mask=mask).numpy()

    def idle(model, x, y, mask):
        return x

    def beyond(model, x, y, mask):
        return np.ones_like(x)

    rows = [
        {"model": "natural"} | agreement.compare(natural_model, data, ("full", ours, "peer", theirs), seeds=2)
        for ours, theirs in [(attack, strong), (attack, idle), (la.RandomNoise(eps=0.2), strong), (attack, beyond)]
    ]
    assert [row["agrees"] for row in rows[:3]] == [True, True, False] and rows[0]["ours"] == rows[0]["theirs"]
    assert [row["within_budget"] for row in rows] == [True, True, True, False]
    table = agreement.markdown(rows, argparse.Namespace(images=32, dataset="digits", seeds=2))
    assert table.count("| natural | full |") == 4 and table.count("beyond the budget") == 1
    assert "| no |" in table.splitlines()[6]


def test_the_suites_of_the_kit_alone_have_their_bars_in_the_table():
    about = {"machine": "one", "device": "CPU", "images": 10, "dataset": "mnist", "steps": 20, "eps": 0.1, "rounds": 2}
    rows = [
        {"suite": "autoattack", "contestant": "LocalizedAutoAttack (standard), 10 images", "seconds": 9.0,
         "robust_accuracy": 0.5, "bar": "at most 600 s", "met": True},
        {"suite": "memory", "contestant": "evaluate, 128 images", "megabytes": 700.0},
        {"suite": "memory", "contestant": "evaluate, 10,000 images", "megabytes": 1100.0, "more": 400.0,
         "bar": "at most 300 MB more", "met": False},
    ]  # fmt: skip
    table = bench.markdown(rows, about | {"finished": "2026-01-01"})
    assert "9 s, robust accuracy 50.0 % (bar: at most 600 s, met)" in table
    assert "| evaluate, 10,000 images | 1100 | 400 | at most 300 MB more | no |" in table
