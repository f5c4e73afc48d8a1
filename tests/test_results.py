"""The studies in results/: the plan, what is kept and what is left, and that every number of the pages is traced."""

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import locadv_tf as la
from locadv_tf.evaluation.natural import natural
from locadv_tf.playground.collection import TRAININGS
from locadv_tf.reports import collect, metrics, notebooks, schema

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(RESULTS))
import page  # noqa: E402
import run as results_run  # noqa: E402

PLAN = yaml.safe_load((RESULTS / "plan.yaml").read_text(encoding="utf-8"))
KEPT = sorted((RESULTS / "runs").rglob("metrics.json"))


def test_the_plan_asks_for_known_trainings_and_parameters():
    known = notebooks.notebook_parameters(notebooks.notebook_path("06_report"))
    for part in [PLAN["everywhere"], *PLAN["recipes"].values()]:
        assert set(part) <= set(known)
    for study in PLAN["studies"] + PLAN["teaching"]:
        assert set(study["trainings"]) <= set(la.TRAININGS) and study["recipe"] in PLAN["recipes"]
    for study in PLAN["studies"]:
        data, eps, _ = page.parts(study["name"])
        assert study["seeds"] >= 3 and data in page.TITLES and eps == str(study["eps_255"])


def test_the_classifiers_for_teaching_are_named_by_data_and_budget_and_are_no_evidence():
    for study in PLAN["teaching"]:
        eps = study["eps_255"] / 255
        dataset = PLAN["recipes"][study["recipe"]]["dataset"]
        assert study["name"] == f"{dataset}-{255 * eps:.0f}" and study["models"] == list(TRAININGS)
        assert eps == la.default_eps(la.load_data(dataset, "test[:1]").element_spec[0]["image"])
    told = {study.name for study in page.read()[0]} | set(page.read()[1])
    assert told == {study["name"] for study in PLAN["studies"]}


def test_the_protocol_names_every_recipe_and_the_least_that_must_run():
    protocol = (RESULTS / "PROTOCOL.md").read_text(encoding="utf-8")
    for recipe in PLAN["recipes"].values():
        assert f"{recipe['epochs']} epochs" in protocol
    assert [study["name"] for study in PLAN["studies"][:3]] == ["mnist-26", "cifar10-plain-4", "cifar10-modern-4"]


@pytest.fixture
def study(tmp_path):
    planned = {"name": "mnist-26", "recipe": "mnist", "eps_255": 26, "trainings": ["LAT"], "seeds": 3, "minutes": 7}
    return results_run.Study(PLAN, planned, kept=tmp_path / "runs", work=tmp_path / "work", quick=False)


def finish(cell, *, ece=None, verdicts=None, **changes):
    """What a cell leaves in its folder, without the work."""
    nothing = {name: {"array": [], "object": {}, "number": 0.1}[part["type"]] for name, part in schema.RESULTS.items()}
    nothing["rows"] = [
        {"model": "LAT", "condition": "natural", "attack": "natural", "region": "none", "eps": 0.0, "n": 9,
         "accuracy": 0.9, "loss": 0.3, "asr": None, "ece": ece}
    ]  # fmt: skip
    nothing["verdicts"] = verdicts or {}
    metrics.write_metrics(cell.folder, parameters=cell.asked() | changes, results=nothing, kind="report")
    metrics.write_text(cell.folder / "report.html", "<html></html>")


def test_a_kept_cell_is_not_run_again_and_a_changed_plan_asks_for_it_anew(study):
    first, *others = study.cells
    assert study.left() == study.cells and study.minutes_of(first) == 7
    finish(first)
    study.keep()
    assert study.left() == others
    kept = study.place(first) / "metrics.json"
    assert kept.read_bytes() == (first.folder / "metrics.json").read_bytes()
    shutil.rmtree(first.folder)  # the next machine has only what is kept
    study.keep()
    assert study.left() == others and (study.kept / "collected.csv").exists()
    assert study.minutes_of(others[0]) == json.loads(kept.read_text())["wall_seconds"] / 60
    content = json.loads(kept.read_text())
    kept.write_text(json.dumps(content | {"parameters": content["parameters"] | {"epochs": 11}}))
    assert study.left() == study.cells


def test_the_classifier_of_a_kept_cell_gets_a_card(tmp_path):
    planned = {"name": "mnist-26", "recipe": "mnist", "eps_255": 26, "trainings": ["LAT"], "seeds": 3, "minutes": 7}
    study = results_run.Study(PLAN, planned | {"models": ["LAT"]}, kept=tmp_path / "runs", work=tmp_path, quick=False)
    first, second, _ = study.cells
    for cell in (first, second):
        finish(cell, ece=0.02, verdicts={"LAT": [{"check": "weights untouched", "outcome": "fail", "reason": "moved"}]})
        metrics.write_text(cell.folder / "LAT.keras", "a classifier")
    study.keep()
    (kept,) = (tmp_path / "models").glob("*.keras")  # of seed 0 alone
    assert kept.name == "mnist-26-LAT.keras" and kept.read_text() == "a classifier"
    card = kept.with_suffix(".md").read_text(encoding="utf-8")
    assert "FAILED: weights untouched" in card and "ECE 2.0 points" in card and "50% of each batch" in card


def test_cells_of_other_parameters_are_not_kept(study):
    finish(study.cells[0], epochs=11)
    study.keep()
    assert study.left() == study.cells and not study.kept.exists()


def test_quick_takes_a_tenth(tmp_path):
    planned = PLAN["studies"][0]
    quick = results_run.Study(PLAN, planned, kept=tmp_path, work=tmp_path, quick=True)
    assert len(quick.cells) == 3 * len(planned["trainings"])
    asked = quick.cells[0].asked()
    assert asked["test_limit"] == 1000 and asked["attack_limit"] == 100 and quick.minutes == planned["minutes"] / 10


def test_what_is_left_is_said_before_anything_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(results_run, "HERE", tmp_path / "results")
    (tmp_path / "results").mkdir()
    shutil.copy(RESULTS / "plan.yaml", tmp_path / "results")
    assert results_run.main(["--plan", "--studies", "mnist-26"]) == 0
    said = capsys.readouterr().out
    assert "mnist-26" in said and "0 of 20 cells done" in said and "hours with 2 workers" in said
    with pytest.raises(SystemExit):
        results_run.main(["--studies", "mnist"])
    assert "unknown: mnist; the plan has mnist-26" in capsys.readouterr().err


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_the_tables_are_those_of_the_kept_runs(tmp_path):
    for folder in sorted(path for path in (RESULTS / "runs").iterdir() if path.is_dir()):
        again = tmp_path / folder.name
        shutil.copytree(folder, again)
        collect.collect(again)
        for table in sorted(folder.glob("*.csv")):
            pd.testing.assert_frame_equal(pd.read_csv(again / table.name), pd.read_csv(table))


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_every_number_of_the_pages_comes_from_the_kept_runs():
    """The pages are written by a command: they are what it writes, and the words around the numbers hold none."""
    found, missing = page.read()
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == page.page(found, missing)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if any(study.paired >= page.ENOUGH for study in found if study.name in page.MAIN):
        assert page.readme_block(found) in readme
    else:
        assert page.BEGIN not in readme  # too few seeds for the first screen
    words = re.sub(
        r"95 % interval|\{[^}]*\}|`[^`]*`|\([^)]*\)|arXiv:\S+|CIFAR-10|PGD-\d+|\d+/255",
        "",
        (RESULTS / "answer.md").read_text(),
    )
    assert not re.findall(r"\d+[.,]\d+|\d+ ?%", words)


def test_the_models_have_cards_that_say_what_their_runs_found():
    models = sorted((RESULTS / "models").glob("*.keras"))
    assert {path.stem for path in models} == {path.stem for path in (RESULTS / "models").glob("*.md")}
    for path in models:
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        (study,) = [
            study
            for study in PLAN["studies"] + PLAN["teaching"]
            if path.stem.startswith(study["name"] + "-") and "models" in study
        ]
        training = path.stem.removeprefix(study["name"] + "-").replace("-", " ")
        (cell,) = (RESULTS / "runs" / study["name"]).glob(f"*-{training.replace(' ', '-')}-seed0")
        content = json.loads((cell / "metrics.json").read_text())
        assert card == results_run.card(path.stem, training, content)
        results = content["results"]
        natural = next(row for row in results["rows"] if row["condition"] == "natural")
        assert f"accuracy {natural['accuracy']:.1%}" in card and la.load_model(path.stem).output_shape == (None, 10)
    assert sum(path.stat().st_size for path in models) < 5e6


@pytest.mark.skipif(not (RESULTS / "models" / "mnist-26-LAT.keras").exists(), reason="not trained yet")
def test_a_loaded_model_is_the_one_that_was_measured():
    try:
        test = la.load_data("mnist", "test", download=False)
    except ValueError as problem:
        pytest.skip(str(problem))
    found = natural(la.load_model("mnist-26-LAT"), test)
    (cell,) = (RESULTS / "runs" / "mnist-26").glob("*-LAT-seed0")
    row = json.loads((cell / "metrics.json").read_text())["results"]["rows"][0]
    assert found.natural_correct.mean() == pytest.approx(row["accuracy"], abs=2e-4)
    assert found.natural_loss.mean() == pytest.approx(row["loss"], rel=1e-3)


def test_results_stay_small():
    size = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert size < 15e6
