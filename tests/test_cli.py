"""The command line: complete help, errors as one line, and the path of what was made as the last line."""

import concurrent.futures
import json
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import papermill
import pytest

import locadv
from locadv_tf import cli, validation
from locadv_tf.course import grader, release
from locadv_tf.data import caltech101, masks
from locadv_tf.evaluation import challenge
from locadv_tf.reports import challenge_page, metrics, notebooks, schema
from locadv_tf.verdicts import checklist

COURSE = [["course", step] for step in ("release", "check", "grade", "export")]
COMMANDS = [[name] for name in cli.COMMANDS if " " not in name] + COURSE + [["prepare", "caltech101"]]


def options(command):
    """The options of a command, `{name: argparse's action}`."""
    found = locadv.parser()
    for name in command:
        found = next(action for action in found._actions if action.choices and name in action.choices).choices[name]
    return {action.dest: action for action in found._actions}


@pytest.mark.parametrize("command", [[], ["course"], ["prepare"], *COMMANDS], ids=" ".join)
def test_help_is_complete(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        locadv.main([*command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for action in options(command).values():
        assert action.help or action.choices
        assert all(flag in text for flag in action.option_strings)


# Bare Python: not a test's process, which has imported everything already.
LIGHT = """
import contextlib, io, sys
import locadv
for arguments in {commands!r} + [["report", "--eps", "eight"], ["sweep", "--worker", "many"], ["nonsense"]]:
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.redirect_stderr(told):
        try:
            locadv.main(arguments)
        except SystemExit:
            assert "usage: locadv" in told.getvalue()
heavy = sorted({heavy!r} & sys.modules.keys())
assert not heavy, f"locadv --help imports {{heavy}}"

import locadv_tf
used = sorted({unused!r} & sys.modules.keys())
assert not used, f"import locadv_tf imports {{used}}"
"""


def test_help_waits_for_no_tensorflow_and_the_kit_for_no_tool_of_reports():
    unused = {"papermill", "nbconvert", "nbgrader", "dask", "distributed"}
    heavy = {"locadv_tf", "tensorflow", "keras", "numpy", "yaml", *unused}
    asked = [[*command, "--help"] for command in [[], ["course"], *COMMANDS]]
    code = LIGHT.format(commands=asked, heavy=heavy, unused=unused)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_locadv_is_the_command():
    done = subprocess.run([sys.executable, "-m", "locadv", "lessons", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: locadv lessons")


TRAININGS = notebooks.notebook_parameters(notebooks.notebook_path("06_report"))["trainings"][0]


@pytest.mark.parametrize(
    ("command", "option", "told"),
    [
        ("check", "region", [f": {', '.join(validation.REGIONS)} ("]),
        ("check", "mask", [f": {', '.join(masks.SOURCES)} ("]),
        ("challenge", "correlations", [f"(default: {' '.join(f'{value:g}' for value in challenge.CORRELATIONS)})"]),
        ("prepare caltech101", "name", [f"(default: {caltech101.NAME})"]),
        ("course grade", "seconds", [f"(default: {grader.SECONDS})"]),
        ("course grade", "memory", [f"(default: {grader.MEMORY})"]),
        ("course check", "assignments", release.assignments()),
        ("course release", "assignments", release.assignments()),
        ("report", "profile", notebooks.PROFILES),
        ("sweep", "trainings", [f"'{name}'" if " " in name else f" {name}" for name in TRAININGS]),
    ],
)
def test_help_tells_what_the_modules_hold(command, option, told):
    text = options(command.split())[option].help
    assert [part for part in told if part not in text] == []


def test_defaults_of_the_modules_are_theirs_when_a_command_runs(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(release, "grade", lambda *_, **options: given.append(options) or [])
    for arguments in ([], ["--seconds", "5", "--memory", "0"]):
        assert locadv.main(["course", "grade", "submissions", *arguments]) == 0
    limits = [(options["seconds"], options["memory"]) for options in given]
    assert limits == [(grader.SECONDS, grader.MEMORY), (5, None)]

    monkeypatch.setattr(challenge_page, "report", lambda out, **options: given.append(options) or ([], out))
    monkeypatch.setattr(challenge_page, "summary_tables", lambda rows: {})
    for arguments in ([], ["--correlations", "0.5"]):
        assert locadv.main(["challenge", *arguments]) == 0
    assert [options["correlations"] for options in given[2:]] == [challenge.CORRELATIONS, [0.5]]


@pytest.mark.parametrize("arguments", [["bench"], ["bench", "--suites", "lat"], ["bench", "-h"], ["colab", "a/b"]])
def test_what_works_on_a_clone_says_so_elsewhere(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(locadv, "BENCH", tmp_path / "benchmarks" / "bench.py")
    assert locadv.main(arguments) == 2
    assert capsys.readouterr().err == f"locadv: {arguments[0]} works on the files of a clone (git clone), not here.\n"


def test_lessons_are_copied_and_nothing_is_overwritten(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locadv.main(["lessons", "--to", "my lessons"]) == 0
    *_, how, path = capsys.readouterr().out.splitlines()
    assert path == "my lessons" and how.endswith("jupyter lab 'my lessons/00_start_here.ipynb'")
    copied = {file.relative_to(path).as_posix(): file for file in Path(path).rglob("*") if file.is_file()}
    stored = {name for name in copied if name.startswith("stored/")}
    assert len(copied) == len(notebooks.lessons()) + 3 + len(stored)
    assert {"06_report.ipynb", "appendix_batch.ipynb", "params/smoke.yaml"} <= set(copied)
    assert {"stored/07_photographs/metrics.json", "stored/07_photographs/README.md"} <= stored
    for name, file in copied.items():
        assert file.read_bytes() == (notebooks.NOTEBOOKS / name).read_bytes()
        file.unlink()
    copied["params/full.yaml"].write_text("mine")
    assert locadv.main(["lessons", "--to", "my lessons"]) == 2
    out, err = capsys.readouterr()
    assert "'my lessons/params/full.yaml' is there already" in err and err.count("\n") == 1 and not out
    assert [file.read_text() for file in Path(path).rglob("*") if file.is_file()] == ["mine"]


NO_SUCH_ASSIGNMENT = "assignment='5_party' is unknown" if release.assignments() else "the assignments are not in"


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
        (["prepare", "caltech101", "--images", "here", "--annotations", "there"], "'there' is not there"),
        (["course", "release", "5_party"], NO_SUCH_ASSIGNMENT),
        (["course", "check", "5_party"], NO_SUCH_ASSIGNMENT),
        (["course", "codes", "students.txt"], "'students.txt' is no file"),
        (["course", "grade", "submissions"], "course holds no released assignment"),
        (["course", "export", "--course", "nowhere"], "gradebook.db does not exist"),
        (["check", "nowhere.keras", "--limit", "2"], "'nowhere.keras' is no file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locadv.main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["eight", "8/0", ""])
def test_eps_must_be_a_number(text, capsys):
    with pytest.raises(SystemExit):
        locadv.main(["report", "--eps", text])
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
    assert locadv.main(arguments) == 0
    assert capsys.readouterr().out == "reports/mnist/report.html\n"
    assert asked == {
        "dataset": "mnist", "profile": "full", "seed": 3, "out": "reports/mnist",
        "parameters": {"epochs": 2, "eps": 8 / 255},
    }  # fmt: skip


def test_a_failed_cell_is_exit_1_and_says_where_the_rest_is(capsys, monkeypatch):
    def report(**arguments):
        raise papermill.PapermillExecutionError(3, 3, "source", "ValueError", "no good", ["traceback"])

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    assert locadv.main(["report"]) == 1
    assert "reports/digits/report.ipynb" in capsys.readouterr().err


def test_stopping_is_no_traceback(capsys, monkeypatch):
    def report(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("locadv_tf.reports.report.report", report)
    assert locadv.main(["report"]) == 130
    assert "what is finished stays" in capsys.readouterr().err


def test_a_sweep_goes_to_this_process_to_others_or_to_a_cluster(capsys, tmp_path, monkeypatch):
    def sweep(todo, executor):
        used.append(type(executor))
        return {"a": "broken"} if executor is None else {}

    used = []
    monkeypatch.setattr("locadv_tf.reports.sweep.sweep", sweep)
    arguments = ["sweep", "--out", str(tmp_path), "--seeds", "0", "1", "--eps", "0.05", "8/255", "--trainings", "LAT"]
    assert locadv.main([*arguments, "--workers", "2"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        for scheduler in (cluster.scheduler_address, str(tmp_path / "scheduler.json")):
            assert locadv.main([*arguments, "--scheduler", scheduler]) == 0
    assert locadv.main(arguments) == 1
    assert "a failed: broken" in capsys.readouterr().err
    dask = distributed.cfexecutor.ClientExecutor
    assert used == [concurrent.futures.ProcessPoolExecutor, dask, dask, type(None)]


def test_stopping_does_not_wait_for_cells_that_have_not_begun():
    arguments = locadv.parser().parse_args(["sweep", "--workers", "2"])
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), cli.executor(arguments) as executor:
        for _ in range(6):
            executor.submit(time.sleep, 10)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 10


def test_a_scheduler_that_is_not_there_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with dask.config.set({"distributed.comm.timeouts.connect": "100ms"}):
        assert locadv.main(["sweep", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    _, err = capsys.readouterr()
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in err and err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert locadv.main(["sweep", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "pip install 'locadv_tf[cluster]'" in capsys.readouterr().err


def test_collect_prints_the_claims_and_the_path(capsys, tmp_path):
    row = {"condition": "full", "attack": "PGD", "region": "full", "eps": 0.1, "n": 9, "accuracy": 0.5, "asr": 0.1}
    rows = [row | {"model": model, "loss": loss} for model, loss in (("natural", 2.0), ("LAT", 1.0))]
    for seed in (0, 1):
        parameters = {"dataset": "digits", "train_limit": 10, "epochs": 1, "seed": seed, "eps": None}
        parameters["trainings"] = ["natural", "LAT"]
        results = {name: {"array": [], "object": {}, "number": 0.1}[p["type"]] for name, p in schema.RESULTS.items()}
        results["rows"] = rows
        metrics.write_metrics(tmp_path / str(seed), parameters=parameters, results=results, kind="report")
    assert locadv.main(["collect", str(tmp_path)]) == 0
    *table, path = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "collected.html") and "undecided" in "".join(table)
    assert json.loads((tmp_path / "0" / "metrics.json").read_text())["results"]["eps"] == 0.1


class TestCheck:
    @pytest.fixture
    def saved(self, lat_model, tmp_path):
        lat_model.save(tmp_path / "lat.keras")
        return str(tmp_path / "lat.keras")

    @pytest.mark.slow
    def test_a_sound_model_is_exit_0_with_all_numbers_written(self, saved, capsys, tmp_path, monkeypatch):
        monkeypatch.setattr(cli, "SURROGATE_IMAGES", 200)
        assert locadv.main(["check", saved, "--limit", "50", "--steps", "10", "--out", str(tmp_path / "out")]) == 0
        *lines, where, headline, path = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines].count("pass") == len(lines) == len(checklist.CHECKS)
        assert "PGD-10, eps = 25.5/255, background: natural accuracy" in where
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert path.endswith("metrics.json") and metrics["results"]["headline"] == headline
        assert metrics["parameters"]["limit"] == 50 and metrics["parameters"]["eps"] == 0.1
        assert [row["check"] for row in metrics["results"]["verdicts"]] == list(checklist.CHECKS)

    def test_a_failed_check_is_exit_1(self, saved, capsys, monkeypatch):
        bad = {"check": "weights untouched", "outcome": "fail", "reason": "they moved", "numbers": {}}
        monkeypatch.setattr("locadv_tf.verdicts.checklist.check", lambda *given, **options: [bad])
        monkeypatch.setattr(cli, "train_classifier", lambda *given, **options: None)
        assert locadv.main(["check", saved, "--limit", "2"]) == 1
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
        assert locadv.main(["check", saved, "--limit", "2", *options]) == 2
        assert message in capsys.readouterr().err
