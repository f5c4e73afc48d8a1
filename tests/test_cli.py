"""The command line: complete help, errors as one line, and the path of what was made as the last line."""

import concurrent.futures
import json
import sys
import time

import dask
import distributed
import papermill
import pytest

from locadv_tf import cli
from locadv_tf.reports import metrics, schema
from locadv_tf.verdicts import checklist


@pytest.mark.parametrize(
    "command",
    [[], ["report"], ["sweep"], ["collect"], ["challenge"], ["check"], ["bench"], ["course"]]
    + [["course", step] for step in ("release", "check", "grade", "export")],
)
def test_help_is_complete(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    options = cli.parser()
    for name in command:
        options = next(a for a in options._actions if a.choices and name in a.choices).choices[name]
    for action in options._actions:
        assert action.help or action.choices
        assert all(flag in text for flag in action.option_strings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "-p", "epsilon", "0.1"], "'epsilon' is unknown to 06_report; it has dataset"),
        (["report", "-p", "epochs", "many"], "epochs='many' is of type str; expected int"),
        (["report", "--profile", "quick"], "profile='quick' is unknown"),
        (["sweep", "-p", "epochs", "1.5"], "expected int"),
        (["sweep", "--trainings", "LTA"], "trainings='LTA' is unknown; expected one of 'natural'"),
        (["sweep", "-p", "seed", "3"], "'seed' is what the sweep goes through"),
        (["sweep", "--workers", "0"], "--workers 0: expected at least one"),
        (["collect", "nowhere"], "no finished report"),
        (["challenge", "--correlations", "2"], "correlations=2.0 is out of range"),
        (["course", "release", "5_party"], "assignment='5_party' is unknown"),
        (["course", "check", "5_party"], "assignment='5_party' is unknown"),
        (["course", "release", "--year", "0"], "year=0"),
        (["course", "grade", "submissions"], "course holds no released assignment"),
        (["course", "export", "--course", "nowhere"], "gradebook.db is not there"),
        (["check", "nowhere.keras", "--limit", "2"], "'nowhere.keras' is no file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["eight", "8/0", ""])
def test_eps_must_be_a_number(text, capsys):
    with pytest.raises(SystemExit):
        cli.main(["report", "--eps", text])
    assert "write 8/255 or 0.03" in capsys.readouterr().err


def test_report_passes_its_arguments_and_prints_the_bare_path(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {}

    def report(**arguments):
        asked.update(arguments)
        return tmp_path / arguments["out"] / "report.html"

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    arguments = [
        "report",
        "--dataset",
        "mnist",
        "--eps",
        "8/255",
        "--seed",
        "3",
        "--profile",
        "full",
        "-p",
        "epochs",
        "2",
    ]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == "reports/mnist/report.html\n"
    assert asked == {
        "dataset": "mnist", "profile": "full", "seed": 3, "out": "reports/mnist",
        "parameters": {"epochs": 2, "eps": 8 / 255},
    }  # fmt: skip


def test_a_failed_cell_is_exit_1_and_says_where_the_rest_is(capsys, monkeypatch):
    def report(**arguments):
        raise papermill.PapermillExecutionError(3, 3, "source", "ValueError", "no good", ["traceback"])

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    assert cli.main(["report"]) == 1
    assert "reports/digits/report.ipynb" in capsys.readouterr().err


def test_stopping_is_no_traceback(capsys, monkeypatch):
    def report(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    assert cli.main(["report"]) == 130
    assert "what is finished stays" in capsys.readouterr().err


def test_a_sweep_goes_to_this_process_to_others_or_to_a_cluster(capsys, tmp_path, monkeypatch):
    def sweep(todo, executor):
        used.append(type(executor))
        return {"a": "broken"} if executor is None else {}

    used = []
    monkeypatch.setattr("locadv_tf.reports.sweep.sweep", sweep)
    arguments = ["sweep", "--out", str(tmp_path), "--seeds", "0", "1", "--eps", "0.05", "8/255", "--trainings", "LAT"]
    assert cli.main([*arguments, "--workers", "2"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        for scheduler in (cluster.scheduler_address, str(tmp_path / "scheduler.json")):
            assert cli.main([*arguments, "--scheduler", scheduler]) == 0
    assert cli.main(arguments) == 1
    assert "a failed: broken" in capsys.readouterr().err
    dask = distributed.cfexecutor.ClientExecutor
    assert used == [concurrent.futures.ProcessPoolExecutor, dask, dask, type(None)]


def test_stopping_does_not_wait_for_cells_that_have_not_begun():
    arguments = cli.parser().parse_args(["sweep", "--workers", "2"])
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), cli._executor(arguments) as executor:
        for _ in range(6):
            executor.submit(time.sleep, 10)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 10


def test_a_scheduler_that_is_not_there_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with dask.config.set({"distributed.comm.timeouts.connect": "100ms"}):
        assert cli.main(["sweep", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    _, err = capsys.readouterr()
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in err and err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["sweep", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "pip install --editable '.[cluster]'" in capsys.readouterr().err


def test_collect_prints_the_claims_and_the_path(capsys, tmp_path):
    row = {"condition": "full", "attack": "PGD", "region": "full", "eps": 0.1, "n": 9, "accuracy": 0.5, "asr": 0.1}
    rows = [row | {"model": model, "loss": loss} for model, loss in (("natural", 2.0), ("LAT", 1.0))]
    for seed in (0, 1):
        parameters = {"dataset": "digits", "train_limit": 10, "epochs": 1, "seed": seed, "eps": None}
        parameters["trainings"] = ["natural", "LAT"]
        results = {name: {"array": [], "object": {}, "number": 0.1}[p["type"]] for name, p in schema.RESULTS.items()}
        results["rows"] = rows
        metrics.write_metrics(tmp_path / str(seed), parameters=parameters, results=results, kind="report")
    assert cli.main(["collect", str(tmp_path)]) == 0
    *table, path = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "collected.html") and "supported" in "".join(table)
    assert json.loads((tmp_path / "0" / "metrics.json").read_text())["results"]["eps"] == 0.1


class TestCheck:
    @pytest.fixture
    def saved(self, lat_model, tmp_path):
        lat_model.save(tmp_path / "lat.keras")
        return str(tmp_path / "lat.keras")

    def test_a_sound_model_is_exit_0_with_all_numbers_written(self, saved, capsys, tmp_path, monkeypatch):
        monkeypatch.setattr(cli, "SURROGATE_IMAGES", 200)
        assert cli.main(["check", saved, "--limit", "50", "--steps", "10", "--out", str(tmp_path / "out")]) == 0
        *lines, where, headline, path = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines].count("pass") == len(lines) == len(checklist.CHECKS)
        assert "PGD-10, eps = 25.5/255, background: natural accuracy" in where
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert path.endswith("metrics.json") and metrics["results"]["headline"] == headline
        assert metrics["parameters"]["limit"] == 50 and metrics["parameters"]["eps"] == 0.1
        assert [row["check"] for row in metrics["results"]["verdicts"]] == list(checklist.CHECKS)

    def test_a_failed_check_is_exit_1(self, saved, capsys, monkeypatch):
        bad = {"check": "weights untouched", "outcome": "fail", "reason": "they moved", "numbers": {}}
        monkeypatch.setattr("locadv_tf.verdicts.check", lambda *given, **options: [bad])
        monkeypatch.setattr(cli, "train_classifier", lambda *given, **options: None)
        assert cli.main(["check", saved, "--limit", "2"]) == 1
        assert capsys.readouterr().out.endswith("Do not trust this number: weights untouched: they moved.\n")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--dataset", "composite"], "takes images (28, 28, 1), the data set has (32, 32, 3)"),
            (["--region", "sky"], "region='sky' is unknown"),
            (["--eps", "8"], "8/255 is what you mean"),
            (["--limit", "0"], "limit=0"),
            (["--mask", "guess"], "mask='guess' is unknown"),
        ],
    )
    def test_bad_input(self, options, message, saved, capsys):
        assert cli.main(["check", saved, "--limit", "2", *options]) == 2
        assert message in capsys.readouterr().err
