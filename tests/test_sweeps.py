"""Sweeps: which cells run, what stays when one fails or the run is stopped, and the table over seeds."""

import concurrent.futures
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from locadv_tf import claims, reports, sweeps


def fake_report(*, dataset, profile, seed, out, parameters):
    """What `reports.report` leaves behind, in no time; seed 13 fails."""
    if seed == 13:
        raise RuntimeError("thirteen")
    cell = sweeps.Cell(out, profile, parameters)
    rows = [
        {"model": model, "attack": "PGD-5", "region": "background", "accuracy": accuracy + seed / 100, "loss": 1.0}
        for model, accuracy in (("natural", 0.5), ("LAT", 0.9))
    ]
    found = [{"key": "natural_loss", "claim": "lower", "difference": -0.1 - seed / 100}]
    found += [{"key": "imperceptible", "claim": "… imperceptibly", "difference": None}]
    asked = {"train_limit": None, "epochs": 1} | cell.asked()
    for row in rows:
        row["asr"] = None if seed == 1 else 0.25
    checked = {"LAT": [{"check": "weights untouched", "outcome": "fail" if seed == 2 else "pass"}]}
    results = {"eps": 0.1, "rows": rows, "claims": found, "verdicts": checked}
    reports.write_metrics(out, parameters=asked, results=results)
    reports.write_text(out / "report.html", "<html></html>")


@pytest.fixture
def ran(monkeypatch):
    """The seeds that ran, in order."""
    seeds = []

    def report(**arguments):
        seeds.append(arguments["seed"])
        fake_report(**arguments)

    monkeypatch.setattr(reports, "report", report)
    return seeds


def run(todo, **options):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return sweeps.sweep(todo, executor=executor, log=lambda line: None, **options)


def test_cells_are_the_product_and_checked_first(tmp_path):
    todo = sweeps.cells(tmp_path, datasets=["digits", "composite"], seeds=[0, 1], epss=[None, 8 / 255])
    assert len({cell.folder for cell in todo}) == 8
    assert todo[1].folder.name == "digits-eps0.03137-seed0" and todo[1].asked()["eps"] == 8 / 255
    assert todo[0].asked()["epochs"] == 20  # the profile's
    with pytest.raises(ValueError, match="'epoch' is unknown to 06_report"):
        sweeps.cells(tmp_path, datasets=["digits"], seeds=[0], parameters={"epoch": 3})
    assert not list(tmp_path.iterdir())


def test_one_failure_leaves_the_others_and_its_reason(tmp_path, ran):
    todo = sweeps.cells(tmp_path, datasets=["digits"], seeds=[0, 13, 2])
    assert run(todo) == {"digits-seed13": "RuntimeError: thirteen"}
    assert [cell.finished() for cell in todo] == [True, False, True]
    assert "thirteen" in (todo[1].folder / "error.txt").read_text()


def test_a_second_run_continues_and_other_parameters_run_anew(tmp_path, ran):
    run(sweeps.cells(tmp_path, datasets=["digits"], seeds=[0, 1]))
    run(sweeps.cells(tmp_path, datasets=["digits"], seeds=[0, 1, 2]))
    assert ran == [0, 1, 2]
    run(sweeps.cells(tmp_path, datasets=["digits"], seeds=[1], parameters={"epochs": 3}))
    assert ran == [0, 1, 2, 1]


def test_what_is_finished_stays_when_the_run_is_stopped(tmp_path, ran):
    todo = sweeps.cells(tmp_path, datasets=["digits"], seeds=[0, 1, 2])

    def stop(line):
        raise KeyboardInterrupt

    with concurrent.futures.ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        try:
            sweeps.sweep(todo, executor=executor, log=stop)
        finally:
            executor.shutdown(cancel_futures=True)
    assert todo[0].finished()
    run(todo)
    assert all(cell.finished() for cell in todo) and len(ran) == len(set(ran))


def test_a_dead_worker_is_a_failed_cell(tmp_path, ran):
    class Dead(concurrent.futures.Executor):
        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            future.set_exception(concurrent.futures.BrokenExecutor("killed"))
            return future

    failed = sweeps.sweep(sweeps.cells(tmp_path, datasets=["digits"], seeds=[0]), executor=Dead(), log=print)
    assert failed == {"digits-seed0": "BrokenExecutor: killed"}


def test_processes_by_default(tmp_path):
    """One real cell in a process of its own; it fails fast, and the reason comes back."""
    todo = sweeps.cells(tmp_path, datasets=["no_such_set"], seeds=[0], profile="smoke")
    (reason,) = sweeps.sweep(todo, log=lambda line: None).values()
    assert "ValueError" in reason and "no_such_set" in reason


def test_the_table_has_means_and_intervals_over_seeds(tmp_path, ran):
    run(sweeps.cells(tmp_path, datasets=["digits"], seeds=[0, 1, 2]))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.json").write_text(json.dumps({"parameters": {}, "results": {}}))  # a lesson's
    results, verdicts = sweeps.collect(tmp_path)
    (row,) = results[results.model == "LAT"].to_dict("records")
    low, high = stats.t.interval(0.95, 2, loc=0.91, scale=0.01 / np.sqrt(3))
    assert row["seeds"] == 3
    np.testing.assert_allclose([row["accuracy"], row["accuracy_low"], row["accuracy_high"]], [0.91, low, high])
    assert row["asr"] == 0.25 and row["loss_low"] == row["loss_high"] == 1.0
    (claim,) = verdicts.to_dict("records")
    assert claim["verdict"] == "supported" and claim["difference"] == pytest.approx(-0.11)
    assert pd.read_csv(tmp_path / "collected.csv").shape == results.shape
    page = (tmp_path / "collected.html").read_text()
    assert page.count("weights untouched") == 1 and "digits, 25.5/255, seed 2, LAT: weights untouched" in page
    assert "25.5/255" in page and "supported" in page and "NaN" not in page
    assert pd.read_csv(tmp_path / "claims.csv").shape == verdicts.shape


def test_one_seed_decides_nothing(tmp_path, ran):
    run(sweeps.cells(tmp_path, datasets=["digits"], seeds=[0]))
    _, verdicts = sweeps.collect(tmp_path)
    assert list(verdicts.verdict) == ["undecided"] and verdicts.difference_low[0] is None


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no finished report below .* run locadv sweep"):
        sweeps.collect(tmp_path)


def test_every_claim_with_a_difference_has_a_side():
    keys = [comparison.key for comparison in claims.COMPARISONS]
    assert len(keys) == len(set(keys))
    assert {comparison.expected for comparison in claims.COMPARISONS} == {"above", "below"}
