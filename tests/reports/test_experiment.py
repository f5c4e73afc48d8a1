"""The report's experiment: what is refused, and what a run of tiny size leaves."""

import json

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import locadv_tf as la
from locadv_tf.data import memory, sources
from locadv_tf.reports import experiment as module
from locadv_tf.reports import headline, notebooks, rows, schema, trained
from locadv_tf.reports.stage import Stage
from locadv_tf.verdicts import checklist

TINY = {
    "trainings": ["random mask", "LAT"], "train_limit": 64, "test_limit": 10, "epochs": 1, "eps_multiples": [0.5],
    "train_steps": 1, "attack_steps": 1, "reliance_limit": 4, "headline_limit": 6,
    "headline_budget": "smoke", "seed": 3,
}  # fmt: skip


def test_the_defaults_are_those_of_the_notebook():
    found = notebooks.notebook_parameters(notebooks.notebook_path("06_report"))
    found.pop("output_dir"), found.pop("save_models")  # where a report goes and what it leaves
    assert {name: default for name, (default, _) in found.items()} == module.DEFAULTS


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epoch": 3}, "parameter 'epoch' is unknown; expected some of 'dataset', 'seed', .*'epochs'"),
        ({"output_dir": "."}, "parameter 'output_dir' is unknown"),
        ({"trainings": ["LTA"]}, "trainings='LTA' is unknown; expected one of 'natural', .*'random mask'"),
        ({"trainings": []}, "trainings=None is unknown"),
        ({"precision": "float16"}, "precision='float16' is unknown; expected one of 'float32', 'mixed_float16'"),
        ({"headline_budget": "slow"}, "headline_budget='slow' is unknown; expected one of 'standard', 'fast'"),
        ({"classifier": "resnet"}, "classifier='resnet' is unknown; expected one of 'small_cnn', 'pooled_cnn', "),
        ({"headline_limit": 0}, "headline_limit=0; expected a whole number, at least 1"),
        ({"attack_limit": 0}, "attack_limit=0; expected a whole number, at least 1"),
        ({"fine_tune": 0}, "fine_tune=0; expected a whole number, at least 1"),
        ({"fine_tune": 2, "trainings": ["LAT", "natural"]}, "fine_tune=2 with .* expected 'natural' as the first"),
        ({"other_smoothness": 2.0}, "other_smoothness=2.0 with other_mask='center'; expected other_mask='random'"),
        (
            {"other_smoothness": -1.0, "other_mask": "random"},
            "other_smoothness=-1.0 is out of range; expected a number from",
        ),
    ],
)
def test_bad_parameters_are_refused_before_any_work(parameters, message, monkeypatch):
    monkeypatch.setattr(module, "load_data", None)
    with pytest.raises(ValueError, match=message):
        la.experiment(parameters)


@pytest.fixture(scope="module")
def run():
    """Of the checks a few: all of them run in the smallest report of test_notebooks.py."""
    some = dict(list(checklist.CHECKS.items())[:4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checklist, "CHECKS", some)
        return la.experiment(TINY, progress=False)


def test_parameters_are_whole_and_the_defaults_stay_as_they_were(run):
    assert run.parameters == module.DEFAULTS | TINY
    assert module.DEFAULTS["seed"] == 0 and run.results["eps"] == 0.1  # grey images


def test_the_results_fit_the_schema(run, tmp_path):
    path = la.write_metrics(tmp_path, parameters=run.parameters, results=run.results, kind="report")
    assert set(schema.read_report(path)["results"]) == set(schema.RESULTS) == set(run.results)
    assert json.loads(path.read_text())["results"]["challenge"] == []  # for composite alone


def test_every_part_is_there_for_every_training(run):
    results, names = run.results, TINY["trainings"]
    assert list(run.models) == list(run.measurements) == list(results["histories"]) == names
    assert run.first == "random mask" and list(results["verdicts"]) == names
    assert [(row["model"], row["epochs"], row["passes"]) for row in results["costs"]] == [(n, 1, 1.5) for n in names]
    assert [row["model"] for row in results["other_mask"]] == names == list(results["overfitting"])
    assert [(row["model"], row["eps"]) for row in results["curve"]] == [(n, e) for n in names for e in (0.0, 0.05)]
    assert [row["condition"] for row in results["rows"]] == 2 * ["natural", *rows.conditions(run.attack)]
    assert {(row["model"], row["source"]) for row in results["reliance"]} >= {(n, s) for n in names for s in ("own",)}


def test_the_headline_and_its_checks_have_the_same_images_and_the_same_attack(run):
    found = {(row["model"], row["attack"]): row for row in run.results["headline"]}
    assert list(found) == [(name, attack.name) for name in run.models for attack in (run.strongest, run.attack)]
    assert isinstance(run.strongest, la.LocalizedAutoAttack) and run.strongest.budget == "smoke"
    chosen = sources.stratified(run.test[1], 6, seed=3)
    assert len(set(run.test[1][chosen])) == 6  # six of ten images, no class twice
    for name in run.models:
        first = found[name, run.strongest.name]
        for key in ("natural_accuracy", "accuracy", "accuracy_low", "accuracy_high"):
            checked = run.results["verdicts"][name][0]["numbers"]
            assert checked["n"] == first["n"] == 6 and checked[key] == first[key], key
        beside = found[name, run.attack.name]
        assert beside["accuracy"] == run.measurements[name]["background"].correct[chosen].mean()
        assert beside["natural_accuracy"] == first["natural_accuracy"] and "loss" not in beside


@pytest.mark.slow
def test_some_test_images_are_attacked_and_all_are_asked(monkeypatch):
    """The natural row is of all; every attack, the headline on all regions and its checks are of the same few."""
    monkeypatch.setattr(checklist, "CHECKS", dict(list(checklist.CHECKS.items())[:1]))
    asked = TINY | {"trainings": ["LAT"], "test_limit": 20, "attack_limit": 6, "headline_limit": 4}
    run = la.experiment(asked | {"headline_everywhere": True}, progress=False)
    counts = {row["condition"]: row["n"] for row in run.results["rows"]}
    assert counts.pop("natural") == 20 == len(run.measurements["LAT"]["natural"].natural_loss)
    assert set(counts.values()) == {6} == {row["n"] for row in run.results["curve"] + run.results["other_mask"]}
    places = sources.stratified(run.test[1], 6, seed=3)
    attacked = tuple(part[places] for part in run.test)
    again = la.measure(run.models["LAT"], attacked, run.attack, region="full", seed=3)
    np.testing.assert_array_equal(again.correct, run.measurements["LAT"]["full"].correct)
    few = sources.stratified(attacked[1], 4, seed=3)
    headlines = run.results["headline"]
    assert [(row["region"], row["attack"]) for row in headlines] == [
        (region, attack.name)
        for region in ("background", "foreground", "full")
        for attack in (run.strongest, run.attack)
    ]
    assert headlines[5]["accuracy"] == again.correct[few].mean()
    assert run.results["verdicts"]["LAT"][0]["numbers"]["accuracy"] == headlines[0]["accuracy"]
    first = run.results["rows"][0]
    assert first["loss"] == pytest.approx(run.measurements["LAT"]["natural"].natural_loss.mean(), rel=1e-5)
    assert 0 <= first["ece"] <= 1


@pytest.mark.slow
def test_splits_that_do_not_fit_are_streamed(monkeypatch):
    """All parts work on them; only some test images are kept to be shown."""
    monkeypatch.setattr(memory, "machine", lambda: 4 * 9 * 28 * 28 * 2)  # nine digits fit
    monkeypatch.setattr(module, "SHOWN", 4)
    monkeypatch.setattr(checklist, "CHECKS", dict(list(checklist.CHECKS.items())[:1]))
    found = la.experiment(TINY | {"trainings": ["random mask"], "test_limit": 15}, progress=False)
    assert found.streamed == ["train", "validation", "test"] and found.sizes["test"] == 15
    assert [len(part) for part in found.test] == [4, 4, 4] and len(found.other_masks) == 4
    assert {row["n"] for row in found.results["rows"]} == {15}
    assert {row["n"] for row in found.results["headline"]} == {6}
    whole = la.load_data("digits", "test", limit=15, seed=3)
    monkeypatch.undo()
    images, labels, masks = la.to_arrays(whole)
    for kept, expected in zip(found.test, (images, labels, masks), strict=True):
        np.testing.assert_array_equal(kept, expected[:4])
    chosen = sources.stratified(labels, 6, seed=3)
    attacked = la.measure(found.models["random mask"], (images, labels, masks), found.attack, seed=3)
    beside = found.results["headline"][1]
    assert beside["accuracy"] == attacked.correct[chosen].mean()


def test_one_model_stands_for_all_trainings(run):
    """What was compiled for one training answers for the next with its weights."""
    stage = Stage(run.models, False)
    told = {name: la.measure(model, run.test, run.attack, seed=3) for name, model in stage.each("attacks")}
    for name, found in told.items():
        np.testing.assert_array_equal(found.loss, run.measurements[name]["background"].loss)
        alone = la.measure(run.models[name], run.test, run.attack, seed=3)
        np.testing.assert_allclose(found.loss, alone.loss, rtol=1e-5)
    assert (told["LAT"].loss != told["random mask"].loss).any()
    other = stage.surrogate("LAT")
    assert other is not stage.model and all(
        map(np.array_equal, other.get_weights(), run.models["random mask"].get_weights())
    )
    assert Stage({"LAT": run.models["LAT"]}, False).surrogate("LAT") is None


def test_every_training_is_asked_for_its_checks_by_name(run):
    asked = list(la.verdicts.CHECKS)[:4]
    assert [[row["check"] for row in rows] for rows in run.results["verdicts"].values()] == 2 * [asked]


def test_the_budget_of_the_evaluation_is_not_attacked_twice(monkeypatch, run):
    monkeypatch.setattr(rows, "measure", None)
    test = la.load_data("digits", "test[:2]")
    asked = TINY | {"eps_multiples": [1.0]}
    found = rows.curve(Stage(run.models, False), run.measurements, test, run.attack, asked)
    own = {row["model"]: row for row in run.results["rows"] if row["condition"] == "background"}
    assert [row["accuracy"] for row in found if row["eps"]] == [own[name]["accuracy"] for name in run.models]


def test_few_classes_have_no_dlr_loss():
    assert headline.strongest_attack(0.1, budget="fast", classes=2).loss == "margin"
    expected = la.LocalizedAutoAttack(eps=0.1, budget="fast", targets=3)
    assert headline.strongest_attack(0.1, budget="fast", classes=4) == expected


def test_random_masks_are_controls_in_the_ledger(run):
    found = {row["key"]: row["against"] for row in run.results["claims"]}
    assert found == {"natural_loss_mask": "random mask", "background_loss_mask": "random mask"}
    assert sum(run.results["counts"].values()) == 0  # controls are no claims of the abstract


def test_what_the_pictures_need_belongs_to_the_rows(run):
    images, _, masks = run.test
    assert images.shape == (10, 28, 28, 1) and masks.shape == run.other_masks.shape and len(run.names) == 10
    assert (run.other_masks != masks).any() and run.sizes == {"train": 64, "validation": 10, "test": 10}
    (row,) = [row for row in run.results["rows"] if (row["model"], row["condition"]) == ("LAT", "background")]
    again = la.summarize(la.measure(run.models["LAT"], run.test, run.attack, seed=3))
    assert again.items() <= row.items()
    assert row["accuracy"] == np.mean(run.measurements["LAT"]["background"].correct)


def test_the_random_places_of_the_attack_are_blobs_where_that_is_asked_for():
    """Fewer edges between the region and the rest, in the same area."""
    own = la.to_arrays(la.load_data("digits", "test", limit=10, seed=3))[2]
    edges, areas = [], []
    for smoothness in (None, 2.0):
        data = module._data(module.DEFAULTS | TINY | {"other_mask": "random", "other_smoothness": smoothness})
        masks = la.to_arrays(data.elsewhere)[2]
        edges.append(np.abs(np.diff(masks, axis=1)).sum())
        areas.append(masks.sum(axis=(1, 2, 3)).tolist())
    assert edges[1] < edges[0] / 2 and areas[0] == areas[1] == own.sum(axis=(1, 2, 3)).tolist()


class Unequal(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Colour images of two sizes with drawn masks; three of the first class for one of the second."""

    VERSION = tfds.core.Version("1.0.0")
    name = "unequal"

    def _info(self):
        held = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=2),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(held))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples() for split in ("train", "test")}

    def _generate_examples(self):
        for i in range(16):
            shape = (20, 24 + i % 2)
            mask = np.zeros((*shape, 1), np.uint8)
            mask[5:15, 5:15] = 1
            image = np.random.default_rng(i).integers(0, 256, (*shape, 3), np.uint8)
            yield i, {"image": image, "label": int(i % 4 == 0), "segmentation_mask": mask}


@pytest.mark.slow
def test_photographs_are_resized_trained_as_today_and_judged_by_class(tmp_path, monkeypatch):
    """Drawn masks, classes of unequal size; residual_cnn, the modern way, a single step."""
    Unequal(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(checklist, "CHECKS", dict(list(checklist.CHECKS.items())[:1]))
    calls = []
    train = trained.train_classifier
    monkeypatch.setattr(trained, "train_classifier", lambda *a, **k: calls.append(k) or train(*a, **k))
    asked = TINY | {"dataset": "unequal", "image_size": 16, "classifier": "residual_cnn", "width": 4}
    asked |= {"modern": True, "batch_size": 4, "early_stopping": 1, "other_mask": "center", "trainings": ["LAT"]}
    asked |= {"test_limit": None, "reliance_limit": 12}
    run = la.experiment(asked, progress=False)
    (given,) = calls
    assert given["attack"] == la.single_step(run.results["eps"]) and run.results["eps"] == 4 / 255
    assert given["augment"] is la.flip_and_shift and given["class_weight"] == "balanced"
    assert (given["optimizer"], given["batch_size"], given["early_stopping"]) == ("adamw", 4, 1)
    assert run.test[0].shape[1:] == (16, 16, 3) and run.models["LAT"].name == "residual_cnn"
    found = run.results["rows"]
    assert all(0 <= row["accuracy_balanced"] <= 1 for row in found)
    right = run.measurements["LAT"]["background"].natural_correct
    expected = np.mean([right[run.test[1] == label].mean() for label in np.unique(run.test[1])])
    assert found[0]["accuracy_balanced"] == pytest.approx(expected)
    (exchanged,) = run.results["challenge"]  # drawn masks: objects can be cut out
    assert exchanged["n"] == 12 and 0 <= exchanged["mixed_same_balanced"] <= 1 and "bg_gap" in exchanged
    few = rows.challenge_rows(Stage(run.models, False), run.parameters | {"reliance_limit": 4})
    assert few == []  # the second class has one photograph: there is none to exchange it with


@pytest.mark.slow
def test_a_precision_is_that_of_the_classifiers_alone(monkeypatch):
    """On a CPU: slow, but it trains; the loss is scaled, and what is built later is float32 again."""
    monkeypatch.setattr(checklist, "CHECKS", dict(list(checklist.CHECKS.items())[:1]))
    run = la.experiment(TINY | {"precision": "mixed_float16", "trainings": ["LAT"]}, progress=False)
    policies = [layer.dtype_policy.name for layer in run.models["LAT"].layers]
    assert policies[:-1] == ["mixed_float16"] * (len(policies) - 1) and policies[-1] == "float32"  # logits
    assert keras.config.dtype_policy().name == "float32" and run.parameters["precision"] == "mixed_float16"
    assert np.isfinite([row["loss"] for row in run.results["rows"]]).all()
    assert all(layer.dtype_policy.name == "float32" for layer in la.small_cnn((28, 28, 1), 10).layers)
