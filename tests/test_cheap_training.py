"""The trial of cheaper trainings: its experiments keep to eps and mask, its arithmetic, and a run from end to end."""

import copy
import json

import numpy as np
import pytest
import tensorflow as tf

import locadv
import locadv_tf as la

locadv.parser()  # puts benchmarks/ on the path, as the command line does
import cheap_training as trial  # noqa: E402


def result(natural, full):
    """What a run leaves: PGD-5 keeps 80 and 40 %, the candidate what is passed."""
    rows = []
    for seed in (0, 1):
        for recipe, background, all_over in (
            ("natural", 0.4, 0.1),
            ("PGD-5", 0.8, 0.4),
            ("single step", natural, full),
        ):
            values = {"natural": 0.9, "background": background, "full": all_over, "n": 100}
            row = {"dataset": "mnist", "recipe": recipe, "seed": seed, "passes": 1.5}
            rows.append(row | {f"{split}_{k}": v for split in ("validation", "test") for k, v in values.items()})
    about = trial.SETTINGS["mnist"] | {"steps": 20}
    costs = {"natural": [1.0] * 3, "PGD-5": [3.4, 3.5, 3.6], "single step": [1.4, 1.6, 9.9]}
    return {"about": about, "rows": rows, "costs": costs, "machine": "one"}


@pytest.mark.parametrize(
    ("background", "full", "chosen"),
    [(0.78, 0.39, "single step"), (0.77, 0.39, None), (0.78, 0.38, None), (0.9, 0.5, "single step")],
)
def test_the_recommendation_needs_97_per_cent_on_background_and_full_image(background, full, chosen):
    assert trial.recommend(trial.summarize({"mnist": result(background, full)})) == chosen


def test_it_is_made_on_validation_images_and_for_every_data_set():
    good, bad = result(0.79, 0.4), result(0.79, 0.4)
    for row in good["rows"]:
        row |= {"test_background": 0.1, "test_full": 0.1}
    assert trial.recommend(trial.summarize({"mnist": good})) == "single step"
    for row in bad["rows"]:
        row |= {"dataset": "cifar10", "validation_full": 0.1 if row["recipe"] == "single step" else 0.4}
    assert trial.recommend(trial.summarize({"mnist": good, "cifar10": bad})) is None


def test_a_dear_recipe_is_not_recommended():
    dear = result(0.8, 0.4)
    dear["costs"]["single step"] = [2.3, 2.3, 1.0]
    assert trial.recommend(trial.summarize({"mnist": dear})) is None


def test_table_and_figure_hold_every_recipe():
    results = {"mnist": result(0.78, 0.39)}
    table = trial.markdown(results)
    assert "**single step** is the cheapest that meets the goal" in table
    (line,) = [line for line in table.splitlines() if line.startswith("| single step |")]
    assert "| 1.5 | 1.60 [1.40, 9.90] |" in line and "| 97.5 [97.5, 97.5] |" in line and line.endswith("| yes |")
    axes = trial.figure(results).axes
    assert [axis.get_title() for axis in axes] == [f"mnist, eps 25.5/255: {w} attack" for w in ("background", "full")]


@pytest.mark.parametrize("kind", ["free", "reused"])
def test_the_experiments_keep_to_eps_and_mask(kind):
    rng = np.random.default_rng(0)
    image = rng.random((trial.BATCH, 28, 28, 1), "float32")
    mask = rng.integers(0, 2, image.shape).astype("float32")
    inputs = {"image": image, "mask": mask, "index": np.arange(trial.BATCH)}
    data = tf.data.Dataset.from_tensors((inputs, rng.integers(0, 10, trial.BATCH))).repeat(2)
    model = la.small_cnn((28, 28, 1), 10)
    if kind == "free":
        trained = trial.FreeReplay(model, 0.1, replays=2)
    else:
        trained = trial.Reused(model, 0.1, images=trial.BATCH, seed=0, step_size=0.05)
    trained.compile("adam")
    before = copy.deepcopy(model.get_weights())
    trained.fit(data, shuffle=False, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])
    half = trial.BATCH // 2
    change = trained.attacked(inputs, trained.delta.numpy()[:half]).numpy() - image[:half]
    assert (change[mask[:half] == 0] == 0).all()
    assert np.abs(change).max() == pytest.approx(0.1, abs=1e-6)  # it has moved, and no further than eps
    assert np.abs(trained.delta.numpy()[:half]).max() <= 0.1 + 1e-6


@pytest.mark.slow
def test_from_end_to_end(tmp_path, capsys):
    words = "--datasets digits --seeds 1 --images 128 --epochs 1 --attacked-images 16 --steps 2 --rounds 1"
    words += f" --rounds-batches 1 --out {tmp_path} --recipes natural PGD-5"
    trial.main(words.split())
    kept = json.loads((tmp_path / "cheap_training_digits.json").read_text())
    assert [row["recipe"] for row in kept["rows"]] == ["natural", "PGD-5"]
    assert [row["passes"] for row in kept["rows"]] == [1, 3.5]
    assert kept["costs"]["natural"] == [1.0] and kept["costs"]["PGD-5"][0] > 0
    assert (tmp_path / "CHEAP_TRAINING.md").read_text() == capsys.readouterr().out[:-1]
    assert (tmp_path / "cheap_training.png").stat().st_size > 10_000


@pytest.mark.slow
def test_parts_add_up_and_a_table_waits_for_all_of_them(tmp_path, capsys):
    def run(recipe):
        words = f"--datasets digits --seeds 1 --images 128 --epochs 1 --attacked-images 8 --steps 1 --out {tmp_path}"
        trial.main([*words.split(), "--parts", "accuracies", "--recipes", recipe])
        return [row["recipe"] for row in json.loads((tmp_path / "cheap_training_digits.json").read_text())["rows"]]

    assert run("natural") == ["natural"] and run("single step") == run("single step") == ["natural", "single step"]
    assert not (tmp_path / "CHEAP_TRAINING.md").exists() and "no table yet" in capsys.readouterr().err


def test_the_table_of_the_guide_is_the_measured_one():
    """`docs/results.md` has means alone, and fewer digits of costs and of what is kept."""
    docs, here = trial.HERE.parent / "docs" / "results.md", trial.HERE / "CHEAP_TRAINING.md"
    cells = [line.strip("| ").split(" | ") for line in docs.read_text(encoding="utf-8").splitlines()]
    told = {
        name.replace("AT", "AT, PGD-5"): row
        for name, *row in cells
        if len(row) == 10 and name in ("AT", *trial.COLOURS)
    }
    assert set(told) == set(trial.COLOURS)
    for column, page in enumerate(here.read_text(encoding="utf-8").split("\n## ")[1:]):
        rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
        assert [name for name, *_ in rows] == list(trial.COLOURS)
        for name, _, cost, natural, background, full, *kept, _ in rows:
            mine = told[name][5 * column : 5 * column + 5]
            assert mine[1:4] == [cell.split()[0] for cell in (natural, background, full)]
            assert abs(float(mine[0]) - float(cost.split()[0])) < 0.056
            for short, long in zip(mine[4].split(", "), kept, strict=True):
                assert abs(float(short) - float(long.split()[0])) < 0.56
