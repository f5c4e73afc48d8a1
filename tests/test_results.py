"""The studies in results/: the plan, what is kept and what is left, and that every number of the pages is traced."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import yaml

import locadv_tf as la
from locadv_tf.evaluation.intervals import mean_interval
from locadv_tf.evaluation.natural import natural
from locadv_tf.playground.collection import STORED
from locadv_tf.reports import collect, metrics, notebooks, over_seeds, schema

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(RESULTS))
import again  # noqa: E402
import figures  # noqa: E402
import lessons  # noqa: E402
import markdown_tables as tables  # noqa: E402
import page  # noqa: E402
import reliance  # noqa: E402
import run as results_run  # noqa: E402

PLAN = yaml.safe_load((RESULTS / "plan.yaml").read_text(encoding="utf-8"))
KEPT = sorted((RESULTS / "runs").rglob("metrics.json"))


def test_the_plan_asks_for_known_trainings_and_parameters():
    known = notebooks.notebook_parameters(notebooks.notebook_path("06_report"))
    for part in [PLAN["everywhere"], *PLAN["recipes"].values(), *PLAN["on_gpus"].values()]:
        assert set(part) <= set(known)
    assert set(PLAN["on_gpus"]) == {study["recipe"] for study in PLAN["studies"]}
    for study in PLAN["studies"] + PLAN["teaching"]:
        assert set(study["trainings"]) <= set(la.TRAININGS) and study["recipe"] in PLAN["recipes"]
    for study in PLAN["studies"]:
        data, eps, _ = page.parts(study["name"])
        assert study["seeds"] >= 3 and data in page.TITLES and eps == str(study["eps_255"])


def test_the_classifiers_for_teaching_are_named_by_data_and_budget_and_are_no_evidence():
    for study in PLAN["teaching"]:
        eps = study["eps_255"] / 255
        dataset = PLAN["recipes"][study["recipe"]]["dataset"]
        assert study["name"] == f"{dataset}-{255 * eps:.0f}" and study["models"] == list(STORED)
        assert eps == la.default_eps(la.load_data(dataset, "test[:1]").element_spec[0]["image"])
    found, missing = page.read()
    told, planned = {study.name for study in found} | set(missing), {study["name"] for study in PLAN["studies"]}
    shown_with_another = {name for name in planned - told if name.removesuffix(page.BLOBS) in told}
    assert told | shown_with_another == planned and all(name.endswith(page.BLOBS) for name in shown_with_another)


def test_the_protocol_names_every_recipe_and_the_least_that_must_run():
    protocol = (RESULTS / "PROTOCOL.md").read_text(encoding="utf-8")
    for recipe in PLAN["recipes"].values():
        assert f"{recipe['epochs']} epochs" in protocol
    in_order = list(dict.fromkeys(study["name"] for study in PLAN["studies"]))
    assert in_order[:3] == ["mnist-26", "cifar10-plain-4", "cifar10-modern-4"]


@pytest.fixture
def study(tmp_path):
    planned = {"name": "mnist-26", "recipe": "mnist", "eps_255": 26, "trainings": ["LAT"], "seeds": 3, "minutes": 7}
    return results_run.Study(PLAN, planned, kept=tmp_path / "runs", work=tmp_path / "work", quick=False)


def finish(cell, *, ece=None, natural_loss=0.3, verdicts=None, **changes):
    """What a cell leaves in its folder, without the work."""
    nothing = {name: {"array": [], "object": {}, "number": 0.1}[part["type"]] for name, part in schema.RESULTS.items()}
    nothing["rows"] = [
        {"model": "LAT", "condition": "natural", "attack": "natural", "region": "none", "eps": 0.0, "n": 9,
         "accuracy": 0.9, "loss": natural_loss, "asr": None, "ece": ece}
    ]  # fmt: skip
    nothing["verdicts"] = verdicts or {}
    nothing["costs"] = [{"model": "LAT", "epochs": 10, "passes": 25.0, "seconds": 60.0}]
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
    content = json.loads((second.folder / "metrics.json").read_text(encoding="utf-8"))
    assert "all training images" in card
    content["parameters"]["train_limit"] = 5000
    assert "5,000 of its training images" in results_run.card("mnist-26-LAT", "LAT", content)


def test_cells_of_other_parameters_are_not_kept(study):
    finish(study.cells[0], epochs=11)
    study.keep()
    assert study.left() == study.cells and not study.kept.exists()


def test_two_runs_are_compared_value_by_value_but_for_the_clock():
    kept = {"rows": [{"model": "LAT", "loss": 0.5, "loss_low": 0.4, "loss_high": 0.6, "ssim": None}], "costs": []}
    same = again.compare(kept | {"costs": [{"seconds": 3.0}]}, kept | {"costs": [{"seconds": 4.0}]})
    assert same == again.Compared(values=5, equal=5, most=None, outside=[])
    assert same.said() == "all 5 values agree bit for bit"
    for loss, outside in ((0.5625, []), (0.75, ["rows[0].loss"])):
        found = again.compare(kept, {"rows": [kept["rows"][0] | {"loss": loss, "model": "AT"}], "costs": []})
        assert found == again.Compared(values=5, equal=3, most=("rows[0].loss", 0.5, loss), outside=outside)
    assert "3 of 5 values agree bit for bit; largest difference 0.25 (rows[0].loss: 0.5, again 0.75)" in found.said()
    assert "outside of its interval: rows[0].loss" in found.said()
    missing = again.compare(kept, {"rows": [], "costs": []})
    assert (missing.values, missing.equal, missing.most) == (5, 0, None)


def test_a_kept_cell_is_run_again_from_nothing(study, tmp_path, monkeypatch, capsys):
    first = study.cells[0]
    place = f"mnist-26/{first.folder.name}"
    with pytest.raises(ValueError, match="is no cell that mnist-26 keeps; it has none"):
        results_run.rerun([study], place, tmp_path / "work")
    with pytest.raises(ValueError, match="'mnist-26/LAT' is no cell of the plan; expected STUDY/CELL"):
        results_run.rerun([study], "mnist-26/LAT", tmp_path / "work")
    finish(first, ece=0.25)
    study.keep()
    before = study.place(first).joinpath("metrics.json").read_bytes()
    folder = tmp_path / "work" / "again" / place
    (folder / "left").mkdir(parents=True)
    for found, said in ((0.25, "agree bit for bit"), (0.5, "largest difference 0.25 (rows[0].ece: 0.25, again 0.5)")):
        monkeypatch.setattr("locadv_tf.reports.sweep.Cell.run", lambda cell, ece=found: finish(cell, ece=ece))
        noted = results_run.rerun([study], place, tmp_path / "work")
        assert said in noted["said"] and noted["same_versions"] and not (folder / "left").exists()
        assert noted["values"] - noted["equal"] == (found != 0.25)
        assert json.loads((tmp_path / "reruns.json").read_text()) == {place: noted}
        assert f"{place}: {noted['said']}.\n" in capsys.readouterr().out
    assert study.place(first).joinpath("metrics.json").read_bytes() == before


def test_the_settings_for_gpus_have_folders_of_their_own(monkeypatch, tmp_path, capsys):
    here, there = (results_run.studies(on_gpus=on_gpus) for on_gpus in (False, True))
    assert {study.kept for study in here}.isdisjoint(study.kept for study in there)
    assert {cell.folder for study in here for cell in study.cells}.isdisjoint(
        cell.folder for study in there for cell in study.cells
    )
    for one, other in zip(here[: len(there)], there, strict=True):  # without those for teaching
        before, after = one.cells[0].asked(), other.cells[0].asked()
        few = "photographs" in one.name
        assert after == before | {"precision": "mixed_float16", "batch_size": 32 if few else 512}
    monkeypatch.setattr(page, "HERE", tmp_path / "results")
    (tmp_path / "results").mkdir()
    for name in ("plan.yaml", "answer.md"):
        shutil.copy(RESULTS / name, tmp_path / "results")
    with pytest.raises(SystemExit, match="run: python results/run"):
        page.main(["--on-gpus"])
    study = results_run.Study(
        PLAN, PLAN["studies"][0], kept=tmp_path / "results" / "on-gpus" / "runs", work=tmp_path / "work", quick=False,
        on_gpus=True,
    )  # fmt: skip
    for cell in study.cells:
        if cell.parameters["trainings"] == ["LAT"]:
            finish(cell, natural_loss=0.25 + cell.parameters["seed"] / 64)
    study.models = {}
    study.keep()
    page.main(["--on-gpus"])
    text = (tmp_path / "results" / "on-gpus" / "README.md").read_text(encoding="utf-8")
    assert page.ON_GPUS in text and "5 of 30 cells" in text and "](PROTOCOL.md)" not in text
    assert [path.name for path in (tmp_path / "results").glob("*.md")] == ["answer.md"]


@pytest.mark.slow
@pytest.mark.parametrize("on_gpus", [False, True], ids=["as the protocol says", "with the settings for GPUs"])
def test_a_small_cell_repeats_bit_for_bit(tmp_path, on_gpus):
    """The same commands as for a real cell, on the embedded digits and the CPU."""
    known = notebooks.notebook_parameters(notebooks.notebook_path("06_report"))
    small = {name: value for name, value in notebooks.profile_parameters("smoke").items() if name in known}
    plan = {"everywhere": small, "recipes": {"mnist": {"dataset": "digits"}}, "on_gpus": PLAN["on_gpus"]}
    planned = {"name": "digits-26", "recipe": "mnist", "eps_255": 26, "trainings": ["LAT"], "seeds": 1, "minutes": 1}
    study = results_run.Study(
        plan, planned, kept=tmp_path / "runs", work=tmp_path / "work", quick=False, on_gpus=on_gpus
    )
    assert results_run.run([study], None) == {} and study.left() == []
    name = study.cells[0].folder.name
    noted = results_run.rerun([study], f"digits-26/{name}", tmp_path / "work")
    assert noted["equal"] == noted["values"] > 100, noted["said"]
    kept = json.loads((study.kept / name / "metrics.json").read_text())
    assert kept["parameters"]["precision"] == ("mixed_float16" if on_gpus else None)


def test_quick_takes_a_tenth(tmp_path, capsys):
    whole, quick = results_run.studies(), results_run.studies(quick=True, work=tmp_path)
    assert [study.name for study in quick] == [study.name for study in whole[:2]]
    assert set(PLAN["quick"]) == {study["recipe"] for study in PLAN["studies"][:2]}
    for one, all_of_it, images in zip(quick, whole, (54_000, 45_000), strict=False):
        small, asked = one.cells[0].asked(), all_of_it.cells[0].asked()
        assert len(one.cells) == 3 * 4 and 10 * small["train_limit"] == images
        assert 2 * small["epochs"] == asked["epochs"]
        for part, name in ((10, "test_limit"), (10, "attack_limit"), (10, "reliance_limit"), (20, "headline_limit")):
            assert part * small[name] == asked[name]
    results_run.report(quick, 2)
    assert "About 14 minutes with 2 workers" in capsys.readouterr().out


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
    for path, block in (("README.md", page.readme_block(found)), ("docs/results.md", page.docs_block(found))):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert page.between_marks(text, block) == text, f"{path} is old; run python results/page.py"
        assert numbers(block) <= numbers((RESULTS / "README.md").read_text(encoding="utf-8"))
    words = re.sub(
        r"95 % interval|\{[^}]*\}|`[^`]*`|\([^)]*\)|arXiv:\S+|CIFAR-10|PGD-\d+|\d+/255",
        "",
        (RESULTS / "answer.md").read_text(),
    )
    assert not re.findall(r"\d+[.,]\d+|\d+ ?%", words)


def test_the_numbers_of_the_picture_are_those_that_its_command_kept():
    small, colour = (
        json.loads((RESULTS / "picture" / name / "metrics.json").read_text(encoding="utf-8"))["results"]
        for name in ("small_cnn", "colour_cnn")
    )
    after = [list(of["after"].values()) for of in (small, colour)]
    share = [[f"{100 * row['accuracy']:.1f}" for row in rows] for rows in after]
    fooled = [[row["fooled"] for row in rows] for rows in after]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for told in (
        f"reads {small['right']} of {small['n']} test images correctly. This attack fools it on {fooled[0][3]} of them",
        f"accuracy falls from {share[0][0]} to {share[0][3]} %. Noise of the same size fools it on {fooled[0][1]}, ",
        f"the same attack on the digits on {fooled[0][2]}. ",
        f"(But the background is {100 * small['background']:.0f} % of the pixels.)",
        f"`colour_cnn` falls from {share[1][0]} to {share[1][3]} %.",
    ):
        assert told in readme
    answers = [(str(row["reads"]), f"{100 * row['sure']:.0f} %") for row in small["shown"]]
    assert re.findall(r"(\d) with (\d+ %)", readme) == answers
    docs = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("### The picture of the README")[1]
    shown = re.findall(r"^\|.*? \| (.*) of .* \|$", docs.split("###")[0], re.MULTILINE)
    told = zip(*(x for i, of in enumerate((small, colour)) for x in (share[i], fooled[i])), strict=True)
    assert shown == [f"{a} | {b} of {small['right']} | {c} | {d}" for a, b, c, d in told]
    assert docs.count(f" of {colour['right']} |") == len(shown) == 4


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_what_was_trained_once_more_for_blobs_is_what_was_kept():
    once_more = [path for path in KEPT if path.parents[1].name.endswith(page.BLOBS)]
    for path in once_more:
        kept = RESULTS / "runs" / path.parents[1].name.removesuffix(page.BLOBS) / path.parent.name / path.name
        first, second = (json.loads(run.read_text(encoding="utf-8"))["results"] for run in (kept, path))
        assert first["rows"] == second["rows"] and first["other_mask"] != second["other_mask"]
    assert len(once_more) >= 6


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_the_short_answer_is_what_the_runs_say():
    """Prose in results/answer.md, README.md and lesson 04: so it is of four studies; of others nothing is known."""
    found = {study.name: study for study in page.read()[0] if study.name in page.MAIN and study.paired >= 3}
    assert tuple(found) == page.MAIN, f"say there what {[*found][-1]} says"
    mnist, plain, modern, photographs = found.values()
    assert [study.paired for study in found.values()] == [5, 5, 5, 5]
    said = {"natural_loss": ("supported", "supported", "not supported", "undecided")}
    said["background_loss"] = ("supported", "supported", "supported", "supported")
    said["sensitivity"] = ("supported", "supported", "supported", "supported")
    said["unnecessary"] = ("supported", "supported", "not supported", "undecided")
    said["imperceptible"] = ("not supported", "supported", "supported", "supported")
    assert {key: tuple(study.claims.loc[key, "verdict"] for study in found.values()) for key in said} == said
    assert modern.claims.loc["natural_loss", "difference_low"] > 0
    above, below, open_ = 1, -1, 0  # where the interval of LAT minus the control lies
    told = {"mnist-26": (above, above, open_, above), "cifar10-plain-4": (open_, open_, below, above)}
    told["cifar10-modern-4"] = (below, above, below, above)
    keys = ["natural_loss_mask", "background_loss_mask", "natural_loss_at", "background_loss_at"]
    told["photographs-4"] = (open_, above, open_, above)
    for name, sides in told.items():
        claims = found[name].claims.loc[keys]
        assert tuple((claims["difference_low"] > 0) * 1 - (claims["difference_high"] < 0) * 1) == sides, name
    for study in (mnist, plain, modern):  # random places in the attack: "in all four studies"
        assert len(study.of_pixels["natural"]) >= 3 and mean_interval(study.of_pixels["natural"])[1] > 0
    assert [name for name, study in found.items() if not study.of_blobs] == ["cifar10-modern-4"]
    for study in (mnist, plain, photographs):
        assert len(study.of_blobs["natural"]) >= 3 and mean_interval(study.of_blobs["natural"])[1] > 0
    rows = {study.name: study.rows.set_index(["model", "attack", "region"]).sort_index() for study in (plain, modern)}
    for of_study in rows.values():  # LAT and AT on CIFAR-10, "in both recipes"
        unharmed = {model: of_study.loc[(model, "natural", "none")] for model in ("LAT", "AT")}
        assert unharmed["LAT"]["accuracy_low"] > unharmed["AT"]["accuracy_high"]
    unharmed = {model: rows["cifar10-modern-4"].loc[(model, "natural", "none")] for model in ("natural", "LAT")}
    assert unharmed["LAT"]["accuracy_high"] < unharmed["natural"]["accuracy_low"]  # "fewer right answers"
    for of_study in rows.values():  # regained "a part"
        attacked = of_study.loc[("LAT", "PGD-40", "background"), "accuracy_high"]
        assert attacked < of_study.loc[("LAT", "natural", "none"), "accuracy_low"] - 0.1
    for study, seeds in ((mnist, 5), (plain, 3)):
        compute = study.claims.loc[["natural_loss_compute", "background_loss_compute"]]
        assert (compute["difference_high"] < 0).all() and (compute["seeds"] == seeds).all()
    course = mean_course(mnist, "natural, equal compute")  # it overfits: lowest near the middle
    assert len(course) == 25 and 10 <= 1 + course.argmin() <= 15 and course[-1] > 1.3 * course.min()
    natural, lat = (mean_course(plain, model) for model in ("natural", "LAT"))
    assert natural.argmin() < len(natural) / 2 and natural[-1] > 1.3 * natural.min() and lat[-1] < 1.1 * lat.min()
    rises = [course["val_natural_loss"] for course in mnist.courses["natural"].values()]  # "in three of five seeds"
    lead = -mnist.claims.loc["natural_loss", "difference"]
    assert sum(course[-1] - min(course) > lead for course in rises) == 3
    for model in ("natural", "LAT"):  # the modern recipe hardly overfits
        course = mean_course(modern, model)
        assert course[-1] < 1.02 * course.min()
    clear = {study.name: [holds_no_zero(study.best(control)) for control in BEST] for study in (mnist, plain)}
    assert clear == {"mnist-26": [False] * 3, "cifar10-plain-4": [False] * 3}  # as if both had stopped in time
    assert not holds_no_zero(mnist.last("natural")) and not holds_no_zero(mnist.last("natural, equal compute"))
    assert mnist.best("natural", "accuracy")[0] == "+" and holds_no_zero(mnist.best("natural", "accuracy"))
    for quantity in ("loss", "accuracy"):  # "the fewer validation images decide neither"
        assert not holds_no_zero(plain.last("AT", quantity)) and not holds_no_zero(plain.best("AT", quantity))
    assert plain.best("natural", "accuracy")[0] == "−" and holds_no_zero(plain.best("natural", "accuracy"))
    assert modern.best("natural")[0] == "+" and holds_no_zero(modern.best("natural"))
    for study in (modern, photographs):  # "LAT's accuracy is undecided beside both"
        assert [ahead(study, "PGD-40", "background", other) for other in ("random mask", "AT")] == [0, 0]
    for study in found.values():  # "on natural images the two are undecided in all four"
        assert ahead(study, "natural", "none", "random mask") == 0, study.name
    assert ahead(plain, "PGD-40", "background", "AT") < 0 == ahead(plain, "LocalizedAutoAttack", "background", "AT")
    assert ahead(photographs, "natural", "none", "AT", "accuracy_balanced") > 0
    assert ahead(photographs, "natural", "none", "natural") < 0  # "slightly fewer right answers"
    assert [ahead(study, "natural", "none", "natural") for study in (mnist, plain)] == [1, 1]  # "even rises a little"
    for control in ("AT", "random mask"):  # "on those of photographs LAT has the lower loss"
        assert photographs.last(control)[0] == "−" and holds_no_zero(photographs.last(control))
    for quantity in ("loss", "accuracy"):  # "say the same in the modern recipe"
        assert holds_no_zero(modern.last("AT", quantity)) and holds_no_zero(modern.best("AT", quantity))
    for study in found.values():  # "of equal area it is the object", and the lowest gradient is LAT's
        measures = pd.read_csv(study.folder / "reliance.csv").query("source == 'own'").set_index("model")
        natural, ratio = measures.loc["natural"], measures[["energy_ratio_low", "energy_ratio_high"]]
        assert natural["asr_difference_low"] > 0 > natural["asr_difference_equal_high"], study.name
        assert ratio.loc["LAT", "energy_ratio_high"] < ratio.drop("LAT")["energy_ratio_low"].min(), study.name
    for study in (mnist, plain):  # "longer natural training raises both losses"
        for attack, region in (("natural", "none"), ("PGD-40", "background")):
            assert ahead(study, attack, region, "natural", "loss", first="natural, equal compute") > 0
    assert ahead(plain, "natural", "none", "natural", first="natural, equal compute") == 0
    exchanged = pd.read_csv(photographs.folder / "challenge.csv").set_index("model")
    assert (exchanged["bg_gap_balanced_low"] > 0).all() and exchanged["mixed_rand_balanced"].between(0.4, 0.6).all()
    pairs = {pair: row for pair, *row in photographs.exchanged if "LAT − " in pair}  # "its gap is a little smaller"
    assert [pair for pair, row in pairs.items() if holds_no_zero(row[0])] == ["LAT − natural"]
    of_at = {pair: row[2] for pair, *row in photographs.exchanged if pair in ("LAT − AT", "AT − natural")}
    assert [text[0] for text in of_at.values() if holds_no_zero(text)] == ["−", "+"]  # before any class
    gap, own_class, any_class, *_ = pairs["LAT − natural"]
    assert {gap[0], own_class[0], any_class[0]} == {"−"} and not holds_no_zero(any_class)
    for study in found.values():  # where the object is attacked, and the full image
        for attack in ("PGD-40", "LocalizedAutoAttack"):
            for region, others in (("foreground", ("random mask", "AT")), ("full", ("AT",))):
                assert all(ahead(study, attack, region, other) < 0 for other in others), (study.name, region)
    natural = plain.rows[plain.rows["region"] == "none"].set_index("model")  # "far from its accuracy"
    assert natural.loc["LAT", "ece_high"] < 0.5 * natural.loc["natural", "ece_low"]


def test_the_page_says_of_how_many_images_its_numbers_are():
    attacked = {"attack": "PGD-40", "n": 9, "largest_change": 4 / 255}
    alone = [{"attack": "LocalizedAutoAttack (fast)", "n": 5}, {"attack": "PGD-40", "n": 5}]
    runs = [
        {"results": {"rows": [{"attack": "natural", "n": n}, attacked], "headline": alone if n == 90 else []}}
        for n in (90, 80)
    ]
    sizes = {"natural": {80, 90}, "PGD-40": {9}, "LocalizedAutoAttack": {5}}
    assert page.extent(runs) == (sizes, 4 / 255)
    study = drawn(3)
    study.images, study.largest, study.unfit = sizes, 4 / 255, set()
    study.rows["diverged"] = 0
    assert page.tried(study).startswith(
        "Test images per seed: natural 80 or 90, PGD-40 9, LocalizedAutoAttack 5. PGD and noise change no value by "
        "more than 4/255. No check failed."
    )


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_what_is_said_of_other_budgets_is_what_the_runs_say():
    found = page.read()[0]
    assert {name: [study.name for study in of] for name, of in page.settings(found).items()} == {
        "MNIST": ["mnist-8", "mnist-26", "mnist-51", "mnist-26-train1000", "mnist-26-train4000"]
    }, "say there what the others say"
    small, middle, large, *fewer = page.settings(found)["MNIST"]
    keys = ["sensitivity", "imperceptible", "unnecessary", "background_loss", "natural_loss"]
    verdicts = {study.name: tuple(study.claims.loc[keys, "verdict"]) for study in (small, large)}
    assert verdicts["mnist-8"] == ("supported", "not supported", "supported", "supported", "undecided")
    assert verdicts["mnist-51"] == ("supported", "not supported", "supported", "supported", "supported")
    assert small.claims.loc["sensitivity", "difference_high"] < 0.05  # "fools natural training on a few images only"
    for study, sides in ((small, (1, 1, 1, 1)), (large, (0, 0, -1, 0))):
        keys = ["natural_loss_mask", "background_loss_mask", "natural_loss_at", "background_loss_at"]
        claims = study.claims.loc[keys]
        assert tuple((claims["difference_low"] > 0) * 1 - (claims["difference_high"] < 0) * 1) == sides, study.name
        assert (claims["seeds"] == 5).all()
    for attack in ("PGD-40", "LocalizedAutoAttack"):
        others = ("random mask", "AT", "natural")
        assert [ahead(large, attack, "foreground", other) for other in others] == [-1, -1, 0]
    for study in (small, middle, large):
        assert all(mean_interval(study.of_pixels[model])[1] > 0 for model in ("natural", "LAT"))
        assert not holds_no_zero(study.last("natural")) and not holds_no_zero(study.best("natural"))
    assert mean_interval(large.of_pixels["LAT"])[1] > 0.3  # "by far"
    for study, natural_loss in zip(fewer, ("undecided", "supported"), strict=True):  # "differ more"
        assert study.paired == 3 and study.claims.loc["natural_loss", "verdict"] == natural_loss
        for key in ("sensitivity", "background_accuracy", "natural_accuracy"):
            assert study.claims.loc[key, "difference"] > middle.claims.loc[key, "difference"]
        assert study.claims.loc["natural_loss", "difference"] < 2 * middle.claims.loc["natural_loss", "difference"]
        assert study.claims.loc["natural_accuracy", "difference_low"] > 0
    clear = [[holds_no_zero(told) for told in (of.last("natural"), of.best("natural"))] for of in fewer]
    assert clear == [[True, True], [False, False]] and fewer[0].best("natural")[0] == "−"
    failed = [study.failed for study in found if study.failed]
    assert failed == [["mnist-eps0.2-natural-seed1: loss has stopped rising"]]


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_claims_of_two_parts_show_both():
    for study in page.read()[0]:
        rows = study.rows.set_index(["model", "attack", "region"])["ssim"]
        assert f"SSIM {rows['natural', 'PGD-40', 'background']:.3f} (" in study.claim("imperceptible")
        for part in ("background", "natural"):
            effect, seeds = study.effect(f"{part}_accuracy").split(" points (")
            assert f"{effect} points" in study.claim("unnecessary") and study.claim("unnecessary").endswith(f"({seeds}")


BEST = ("natural", "natural, equal compute", "AT")


def holds_no_zero(text):
    """Whether both ends of a printed interval have one sign."""
    _, low, high = re.findall(r"[−+]\d+\.\d+", text)
    return low[0] == high[0]


def ahead(study, attack, region, other, quantity="accuracy", *, first="LAT"):
    """Where the interval of LAT minus another training lies, paired by seed: 1 above 0, −1 below, 0 if it holds 0."""
    found = {first: {}, other: {}}
    for content in page.contents(RESULTS / "runs" / study.name).values():
        for row in content["results"]["headline" if attack == "LocalizedAutoAttack" else "rows"]:
            if row["model"] in found and row["attack"].startswith(attack) and row["region"] == region:
                found[row["model"]][content["parameters"]["seed"]] = row[quantity]
    paired = sorted(set.intersection(*map(set, found.values())))
    _, low, high = mean_interval([found[first][seed] - found[other][seed] for seed in paired])
    assert len(paired) >= 3
    return (low > 0) - (high < 0)


def mean_course(study, model):
    """The natural loss on validation images, epoch by epoch, in the mean over seeds."""
    return np.mean([course["val_natural_loss"] for course in study.courses[model].values()], axis=0)


def numbers(text):
    """The measured numbers in a text: all decimals."""
    return set(re.findall(r"[+−-]?\d+\.\d+", text))


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_the_figures_are_those_of_the_kept_runs(tmp_path):
    """Each file says in itself what it shows; the picture is the same byte for byte where Matplotlib is."""
    found, _ = page.read()
    made = figures.pictures(page.main_studies(found))
    assert {path.stem for path in (RESULTS / "figures").iterdir()} == set(made) != set()
    figures.write(made, tmp_path)
    for path in sorted(tmp_path.iterdir()):
        kept = RESULTS / "figures" / path.name
        with PIL.Image.open(kept) as old, PIL.Image.open(path) as new:
            assert old.text["Description"] == new.text["Description"], f"{kept.name}: run python results/page.py"
            same = old.text["Software"] == new.text["Software"]
            assert not same or np.abs(np.asarray(old, float) - np.asarray(new, float)).mean() < 1
        assert kept.stat().st_size < 100_000 and len(made[path.stem][0].alt.split()) >= 20


def drawn(seeds, *, trainings=("natural", "LAT", "AT")):
    """A study as page.py finds it, with numbers that are easy to see."""
    found = page.Found.__new__(page.Found)
    found.name, found.planned, found.cells, found.failed = "mnist-26", 30, seeds * len(trainings), []
    effect = {"natural_loss": -0.5, "natural_loss_at": 0.25, "background_loss": -1.5, "background_loss_at": 0.125}
    found.differences = {key: [value + seed / 64 for seed in range(seeds)] for key, value in effect.items()}
    found.claims = pd.DataFrame(
        {"seeds": seeds, "verdict": "undecided", "difference": value, "difference_low": value - 1,
         "difference_high": value + 1}
        for value in effect.values()
    ).set_index(pd.Index(effect, name="key"))  # fmt: skip
    found.rows = pd.DataFrame(
        {"model": model, "attack": attack, "region": region, "seeds": seeds, "accuracy": 0.75,
         "accuracy_low": 0.5, "accuracy_high": 1.25}
        for model in trainings
        for attack, region in (("natural", "none"), ("LocalizedAutoAttack (fast)", "full"), ("PGD-40", "full"))
    )  # fmt: skip
    return found


def test_differences_are_drawn_from_three_seeds_on_with_each_seed_as_a_dot(tmp_path):
    assert set(figures.pictures([drawn(2)])) == {"accuracy-mnist-26"} and page.readme_block([drawn(2)]) == ""
    made = figures.pictures([drawn(3)])
    picture, panels = made["differences-mnist-26"]
    rows = [row for rows in panels.values() for row in rows]
    assert [(row["against"], row["difference"]) for row in rows] == [
        ("natural", -0.5), ("AT", 0.25), ("natural", -1.5), ("AT", 0.125),
    ]  # fmt: skip
    _, of_studies = made["headline"]  # of the README: the natural loss, a panel per study
    assert [(row["against"], row["difference"]) for row in of_studies["MNIST, 26/255"]] == [
        ("natural", -0.5), ("AT", 0.25),
    ]  # fmt: skip
    assert len(picture.figure.axes) == 3 and rows[1]["values"] == [0.25, 0.25 + 1 / 64, 0.25 + 2 / 64]
    figures.write(made, tmp_path)
    (tmp_path / "old.png").write_bytes(b"")
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    figures.write(figures.pictures([drawn(3)]), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} | {"old.png": b""} == first
    figures.write(figures.pictures([drawn(1)]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy-mnist-26.png"]


def test_validation_losses_are_compared_at_the_end_and_at_each_ones_best_epoch():
    found = drawn(3)
    found.name = "cifar10-plain-4"
    losses = {
        "natural": {seed: [2.0, 0.5, 1.0 + seed] for seed in range(3)},
        "LAT": {seed: [2.0, 1.0, 0.75, 1.0] for seed in range(4)},  # the last one has no partner
    }
    found.courses = {
        model: {
            seed: {"val_natural_loss": course, "val_natural_accuracy": [1 - loss / 4 for loss in course]}
            for seed, course in of_model.items()
        }
        for model, of_model in losses.items()
    }
    assert found.best("natural", "accuracy") == "−6.2 points (3)"
    table = page.epochs_table([found])
    assert table.count("\n") == 1 + 4 and "| natural: accuracy, best epoch | −6.2 points (3) |" in table
    assert found.best("natural") == "+0.2500 (3)" and found.best("noise") == "–"
    assert found.last("natural").startswith("−1.0000 [") and found.last("natural").endswith(" (3)")
    picture, shown = figures.pictures([found])["course-cifar10"]
    assert shown["natural"] == {"val_loss: CIFAR-10, plain, 4/255": [2.0, 0.5, 2.0]}
    assert "LAT, CIFAR-10, plain, 4/255 0.75 (epoch 3)" in picture.alt


@pytest.mark.parametrize(
    "row, form, shown",
    [
        ({"seeds": 3, "x": -0.25, "x_low": -0.5, "x_high": 0.0}, {"form": "+.1f"}, "−0.2 [−0.5, +0.0]"),
        ({"seeds": 3, "x": 0.25, "x_low": None, "x_high": np.nan}, {"form": ".2f"}, "0.25"),  # all seeds are equal
        ({"seeds": 2, "x": 0.25, "x_low": 0.125, "x_high": 0.5}, tables.PER_CENT, "25.0"),
        ({"seeds": 3, "x": 0.25}, page.POINTS, "+25.0 points"),
        ({"seeds": 3, "x": np.nan, "x_low": 0.125, "x_high": 0.5}, page.POINTS, "–"),
        ({"seeds": 3}, page.POINTS, "–"),
    ],
)
def test_a_mean_is_shown_with_its_interval_from_three_seeds_on(row, form, shown):
    assert tables.cell(row, "x", **form) == tables.cell(pd.Series(row), "x", **form) == shown
    assert tables.counted(row, "x", **form) == (shown if shown == tables.NOTHING else f"{shown} ({row['seeds']})")


def exchanged_row(model, gap):
    """What `photo_challenge.score` finds of a classifier, so far as results/README.md shows it."""
    row = {f"{name}_balanced": value for name, value in (("original", 0.75), ("mixed_same", 0.5), ("only_bg_t", 0.25))}
    return {"model": model, "mixed_rand_balanced": 0.5 - gap, "bg_gap_balanced": gap} | row


def test_exchanged_backgrounds_are_shown_by_training_and_paired_by_seed(tmp_path):
    gaps = {"natural": (0.5, 0.25, 0.375), "LAT": (0.25, 0.125, 0.25)}
    rows = [[exchanged_row(model, of_model[seed]) for model, of_model in gaps.items()] for seed in range(3)]
    runs = [{"parameters": {"seed": seed}, "results": {"challenge": rows[seed]}} for seed in range(3)]
    (line,) = reliance.compared(runs)
    assert line[0] == "LAT − natural" and line[1].startswith("−16.7 [−34.6, +1.3]") and line[-1] == "3"
    assert reliance.compared(runs[:2])[0][1:] == ["−18.8", "+0.0", "+18.8", "+0.0", "2"]  # no interval of two
    found = drawn(3)
    found.folder, found.exchanged = tmp_path, reliance.compared(runs)
    assert page.exchanged_tables([]) == ""
    frame = over_seeds.over_seeds(
        [row | {"seed": seed} for seed in range(3) for row in rows[seed]], ["model"], list(reliance.VARIANTS)
    )
    frame.to_csv(tmp_path / "challenge.csv")
    natural, lat = reliance.exchanged(tmp_path)
    assert natural[0] == "natural" and natural[-2:] == ["+37.5 [+6.4, +68.6]", "3"]
    assert lat[:2] == ["LAT", "75.0"]
    text = page.exchanged_tables([found])
    assert text.startswith("MNIST, 26/255:") and "| LAT − natural | −16.7 [" in text and "any class" in text


def test_the_measures_of_reliance_are_shown_by_training(tmp_path):
    names = list(reliance.MEASURES)
    frame = pd.DataFrame(
        {"model": "LAT", "source": source, "seeds": seeds}
        | {f"{name}{end}": value for name in names for end, value in (("", -0.25), ("_low", -0.5), ("_high", 0.0))}
        for source, seeds in (("own", 3), ("random", 9))
    )
    frame.to_csv(tmp_path / "reliance.csv", index=False)
    whole, equal, noise, gradient = reliance.measures([tmp_path, tmp_path])
    assert whole == ["LAT", "attack, whole (points)", *2 * ["−25.0 [−50.0, +0.0] (3)"]] and equal[2:] == whole[2:]
    assert noise[1:3] == ["Gaussian noise (RFS)", "−0.25 [−0.50, +0.00] (3)"] and gradient[1] == "gradient (ratio)"


def test_accuracies_have_intervals_from_three_seeds_on_and_within_what_is_possible():
    _, rows = figures.accuracies(drawn(3))
    assert [row["region"] for row in rows] == 3 * ["not attacked"] + 3 * ["full"]  # PGD is not among them
    assert {(row["accuracy_low"], row["accuracy_high"]) for row in rows} == {(0.5, 1.0)}
    _, rows = figures.accuracies(drawn(2))
    assert {(row["accuracy_low"], row["accuracy_high"]) for row in rows} == {(0.75, 0.75)}


def test_the_readme_gets_figure_and_table_from_three_seeds_on():
    text = "# Kit\n\n## What was measured\n\nMore.\n"
    assert page.between_marks(text, page.readme_block([drawn(2)])) == text
    block = page.readme_block([drawn(3)])
    once = page.between_marks(text, block)
    assert once == text.replace("More.", f"{block}\n\nMore.") and page.between_marks(once, block) == once
    assert "](results/figures/headline.png)" in block and "| LAT − random mask, natural loss | – |" in block
    assert len(block.splitlines()) <= 13


@pytest.mark.skipif(not KEPT, reason="nothing is kept in results/runs yet")
def test_lessons_and_report_show_the_kept_runs(tmp_path):
    found, missing = page.read()
    lessons.write(found, page.CLAIMS, page.datasets(), page.waiting(missing), tmp_path)
    assert (tmp_path / lessons.REPORT / "metrics.json").exists()
    for path in tmp_path.rglob("*.json"):
        kept = notebooks.NOTEBOOKS / "stored" / path.relative_to(tmp_path)
        assert json.loads(path.read_text()) == json.loads(kept.read_text()), "run python results/page.py"


def test_the_lesson_gets_its_numbers_from_three_seeds_on():
    found = drawn(3)
    assert lessons.for_the_lesson(found) is None  # no training on random masks
    extra = found.claims.loc[["natural_loss_at", "background_loss_at"]]
    extra.index = ["natural_loss_mask", "background_loss_mask"]
    found.claims = pd.concat([found.claims, extra])
    found.rows = found.rows.assign(loss=0.5, loss_low=0.25, loss_high=0.75)
    content = lessons.for_the_lesson(found)["results"]
    assert content["title"] == "MNIST, 26/255, 3 seeds"
    assert [row["against"] for row in content["differences"]["background loss"]] == ["natural", "random mask", "AT"]
    assert [row["region"] for row in content["mnist"]] == 3 * ["not attacked", "full"]  # without the ensemble
    waiting = page.waiting(["cifar10-plain-4", "mnist-8"])  # the second is none of the main studies
    stored = lessons.for_the_report([found], page.CLAIMS, page.datasets(), waiting)["results"]
    assert stored["not run yet"] == ["CIFAR-10, plain, 4/255"]
    told = stored["studies"]["mnist"][3]
    assert (told["study"], told["claim"]) == ("MNIST, 26/255", page.CLAIMS["natural_loss"])
    assert told["found"] == "undecided, −0.500 [−1.500, +0.500] (3)"
    found.claims["seeds"] = 2
    assert lessons.for_the_lesson(found) is None
    stored = lessons.for_the_report([found], page.CLAIMS, page.datasets(), [])["results"]
    assert stored["studies"] == {} and stored["not run yet"][0].startswith("MNIST, 26/255 (")


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
