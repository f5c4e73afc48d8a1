"""The background challenge: images that are what they claim, planted models, and runs that continue where they stopped.

The planted models read one pixel of synthetic images: red tells the class of the background, green that of the digit.
"""

import json
import re

import keras
import numpy as np
import pytest

import locadv
import locadv_tf as la
from locadv_tf.data.composite import composite
from locadv_tf.evaluation import challenge
from locadv_tf.reports import challenge_page

LABELS = np.repeat(np.arange(10), 4)
LEVELS = np.rint(255 * (np.arange(10) + 0.5) / 10).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn():
    return challenge.challenge_images("test[:60]", seed=3)


def coded():
    """Synthetic images: the background's red and the digit's green each hold a class; the digit is a square."""
    masks = np.ones((40, 32, 32, 1), "float32")
    masks[:, 10:20, 10:20] = 0
    behind = np.zeros((10, 32, 32, 3), np.uint8)
    behind[..., 0] = LEVELS[:, None, None]
    digit = np.zeros((40, 32, 32, 3), np.uint8)
    digit[..., 1] = LEVELS[LABELS][:, None, None]
    swapped = np.where(masks == 0, digit, behind[:, None])
    return challenge.Challenge(swapped, behind[LABELS], LABELS, masks)


def reader(row, column, channel):
    """Takes an image for the class whose level is nearest to that of one pixel's channel."""
    levels = LEVELS.astype("float32") / 255
    kernel = np.zeros((32, 32, 3, 10), "float32")
    kernel[row, column, channel] = 2000 * levels
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.set_weights([kernel.reshape(-1, 10), -1000 * levels**2])
    return model


# The images.


def test_every_digit_stands_on_every_background(drawn):
    assert drawn.swapped.shape == (10, 60, 32, 32, 3)
    digit = np.broadcast_to(drawn.masks == 0, drawn.behind.shape)
    told = composite("test[:60]", correlation=1.0, seed=3)
    np.testing.assert_array_equal(drawn.swapped[told.labels, np.arange(60)], told.images)
    np.testing.assert_array_equal(drawn.behind[~digit], told.images[~digit])  # the same texture, without the digit
    assert (drawn.behind != told.images)[digit].mean() > 0.9
    for k, images in enumerate(drawn.swapped):
        shown = composite("test[:60]", background=k, seed=3)
        np.testing.assert_array_equal(images, shown.images)
        np.testing.assert_array_equal(shown.masks, drawn.masks)
        assert set(shown.background_labels) == {k}


def test_the_variants_are_what_their_names_say(drawn):
    found = challenge.variants(drawn)
    assert set(found) == set(challenge.VARIANTS) - {"mixed_rand"}
    digit = np.broadcast_to(drawn.masks == 0, drawn.behind.shape)
    same, behind = found["mixed_same"], drawn.behind / np.float32(255)
    assert all(images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1 for images in found.values())
    np.testing.assert_array_equal(found["only_fg"][digit], same[digit])
    assert (found["only_fg"][~digit] == 0.5).all()
    np.testing.assert_array_equal(found["only_bg_t"], behind)
    assert (found["no_fg"][digit] == 0).all()
    np.testing.assert_array_equal(found["no_fg"][~digit], behind[~digit])
    for images, mask, full in zip(found["only_bg_b"], drawn.masks[..., 0], behind, strict=True):
        rows, columns = (np.flatnonzero((mask == 0).any(axis=axis)) for axis in (1, 0))
        box = np.zeros((32, 32), bool)
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        assert (images[box] == 0).all()
        np.testing.assert_array_equal(images[~box], full[~box])


# Planted models.


def test_a_model_that_sees_the_background_alone_has_the_largest_gap():
    row = challenge.score(reader(0, 0, 0), coded())
    assert (row["n"], row["mixed_same"], row["only_bg_b"], row["only_bg_t"], row["no_fg"]) == (40, 1, 1, 1, 1)
    assert row["mixed_rand"] == pytest.approx(0.1) and row["bg_gap"] == pytest.approx(0.9)
    assert row["only_fg"] == 0.1 and row["worst_group"] == 0 and row["worst_n"] == 4
    assert row["worst_label"] != row["worst_background"]


def test_a_model_that_sees_the_digit_alone_has_none():
    row = challenge.score(reader(15, 15, 1), coded())
    assert row["mixed_same"] == row["mixed_rand"] == row["only_fg"] == row["worst_group"] == 1
    assert row["bg_gap"] == 0 and row["bg_gap_low"] is row["bg_gap_high"] is None  # all equal
    assert row["only_bg_t"] == row["no_fg"] == 0.1  # black in place of the digit reads as the lowest level


def test_the_worst_group_is_found():
    images = coded()
    images.swapped[7, LABELS == 3, 15, 15, 1] = LEVELS[0]  # threes on background 7 read as zeros
    images.swapped[7, np.flatnonzero(LABELS == 3)[0], 15, 15, 1] = LEVELS[3]  # … but for one of the four
    row = challenge.score(reader(15, 15, 1), images)
    assert (row["worst_group"], row["worst_label"], row["worst_background"], row["worst_n"]) == (0.25, 3, 7, 4)
    assert row["mixed_rand"] == pytest.approx(1 - 3 / 400) and row["bg_gap"] == pytest.approx(3 / 400)


# Trainings.

TINY = {"epochs": 1, "train_limit": 64, "test_limit": 12, "train_steps": 1, "attack_steps": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder and what `report` returned for the smallest run with a difference in it."""
    folder = tmp_path_factory.mktemp("challenge")
    return folder, challenge_page.report(folder, correlations=(1.0,), seeds=(0,), trainings=("natural", "LAT"), **TINY)


def test_a_run_leaves_rows_a_table_and_a_page(tiny):
    folder, (asked, path) = tiny
    rows = json.loads((folder / "metrics.json").read_text())["results"]["challenge"]
    assert [(row["seed"], row["correlation"], row["training"]) for row in rows] == [
        (0, 1.0, "natural"),
        (0, 1.0, "LAT"),
    ]
    assert {*challenge.QUANTITIES, *challenge.MEASURES} <= set(rows[0])
    assert rows[0]["mixed_same"] != rows[1]["mixed_same"] or rows[0]["energy_ratio"] != rows[1]["energy_ratio"]
    assert [row["bg_gap"] for row in asked] == [row["bg_gap"] for row in rows]
    means, found = challenge_page.over_seeds(asked), challenge_page.differences(asked)
    assert means[0]["bg_gap_low"] is None and [row["finding"] for row in found] == ["undecided"]  # one seed
    page = path.read_text()
    assert page.count("<img alt=") == 2 and "LAT − natural" in page
    assert not re.search(r"\b(nan|None)\b", re.sub(r'src="[^"]*"', "", page))
    assert (folder / "challenge.csv").read_text().count("\n") == 3


def test_a_second_run_trains_only_what_is_new(tiny, monkeypatch):
    folder, (rows, _) = tiny

    def refuse(*_, **__):
        raise RuntimeError("trained")

    monkeypatch.setattr(challenge, "train_classifier", refuse)
    again, _ = challenge_page.report(folder, correlations=(1.0,), seeds=(0,), trainings=("natural", "LAT"), **TINY)
    assert [row["bg_gap"] for row in again] == [row["bg_gap"] for row in rows]
    only, _ = challenge_page.report(folder, correlations=(1.0,), seeds=(0,), trainings=("LAT",), **TINY)
    assert [row["training"] for row in only] == ["LAT"]
    for new in ({"seeds": (1,)}, {"correlations": (0.5,)}):
        with pytest.raises(RuntimeError, match="trained"):
            challenge_page.report(folder, **({"correlations": (1.0,), "seeds": (0,)} | TINY | new))


def test_a_run_with_other_settings_loses_nothing(tiny):
    folder, _ = tiny
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"holds a run with other settings \(epochs, eps\); .* another folder"):
        challenge_page.report(folder, correlations=(1.0,), seeds=(0,), **TINY | {"eps": 0.1, "epochs": 2})
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainings": ("TRADES",)}, "trainings='TRADES' is unknown; expected one of 'natural', 'natural, equal"),
        ({"correlations": (1.2,)}, "correlations=1.2 is out of range"),
        ({"eps": 4}, "eps=4 is out of range"),
        ({"digits": "letters"}, "digits='letters' is unknown"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        next(challenge.compare(**arguments))


# What is made of the rows.


def rows_of(training, correlation, gaps):
    base = dict.fromkeys(challenge.QUANTITIES + challenge.MEASURES, 0.5)
    return [base | {"training": training, "correlation": correlation, "seed": seed, "bg_gap": gap}
            for seed, gap in enumerate(gaps)]  # fmt: skip


ROWS = [
    *rows_of("natural", 1.0, [0.5, 0.6, 0.55]),
    *rows_of("LAT", 1.0, [0.3, 0.41, 0.35]),
    *rows_of("AT", 1.0, [0.72, 0.8, 0.75]),
    *rows_of("natural", 0.0, [0.0, 0.1, 0.05]),
    *rows_of("LAT", 0.0, [0.1, 0.0, 0.06]),
]


def test_differences_are_paired_by_seed_and_say_who_leans_less():
    found = {(row["correlation"], row["compared"]): row for row in challenge_page.differences(ROWS)}
    less, more, between = (found[1.0, name] for name in ("LAT − natural", "AT − natural", "LAT − AT"))
    assert less["bg_gap"] == pytest.approx(-0.59 / 3) and less["bg_gap_high"] < 0 and less["seeds"] == 3
    assert (less["finding"], more["finding"], between["finding"]) == ("relies less", "relies more", "relies less")
    assert found[0.0, "LAT − natural"]["finding"] == "undecided"
    assert len(found) == 4  # no AT at 0
    paired = la.evaluation.mean_interval(np.array([0.3, 0.41, 0.35]) - np.array([0.5, 0.6, 0.55]))
    assert (less["bg_gap"], less["bg_gap_low"], less["bg_gap_high"]) == pytest.approx(paired)


def test_two_seeds_decide_nothing():
    rows = [*rows_of("natural", 1.0, [0.5, 0.6]), *rows_of("LAT", 1.0, [0.3, 0.401])]
    (row,) = challenge_page.differences(rows)
    assert row["bg_gap_high"] < 0 and row["finding"] == "undecided"


def test_lat_is_held_against_random_masks_too():
    rows = [*rows_of("random mask", 1.0, [0.52, 0.6, 0.57]), *rows_of("LAT", 1.0, [0.3, 0.41, 0.35])]
    assert [(row["compared"], row["finding"]) for row in challenge_page.differences(rows)] == [
        ("LAT − random mask", "relies less")
    ]
    assert [row["training"] for row in challenge_page.over_seeds(rows)] == ["random mask", "LAT"]


def test_means_over_seeds_in_order():
    means = challenge_page.over_seeds(ROWS)
    order = [(0.0, "natural"), (0.0, "LAT"), (1.0, "natural"), (1.0, "LAT"), (1.0, "AT")]
    assert [(row["correlation"], row["training"]) for row in means] == order
    assert means[2]["bg_gap"] == pytest.approx(0.55) and means[2]["seeds"] == 3
    assert means[2]["bg_gap_low"] < 0.5 and means[2]["rfs"] == 0.5 and means[2]["rfs_low"] is None


def test_agreement_is_a_rank_correlation():
    rows = [
        row | {"rfs": -(row["bg_gap"] ** 3), "energy_ratio": 1 + row["bg_gap"], "asr_difference": None} for row in ROWS
    ]
    rows[-1]["energy_ratio"] = None
    found = {row["training"]: row for row in challenge_page.agreement(rows)}
    assert list(found) == ["all", "natural", "LAT", "AT"] and found["all"]["classifiers"] == 15
    for row in found.values():
        assert row["rfs"] == pytest.approx(-1) and row["energy_ratio"] == pytest.approx(1)
        assert row["asr_difference"] is row["asr_background"] is None  # nothing there; all alike


def test_the_command_prints_both_tables_and_the_path(capsys, tmp_path, monkeypatch):
    asked = {}

    def compare(*, done, **arguments):
        asked.update(arguments)
        yield from ROWS

    monkeypatch.setattr(challenge_page, "compare", compare)
    arguments = ["--seeds", "0", "1", "2", "--correlations", "0", "1", "--eps", "4/255", "--train-limit", "100"]
    assert locadv.main(["challenge", "--out", str(tmp_path / "out"), *arguments]) == 0
    *printed, path = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "out" / "challenge.html")
    text = "\n".join(printed)
    assert "relies less" in text and "relies more" in text and "gradient energy ratio" in text
    assert re.search(r"1\.00\s+natural\s+3 .* 55\.0 \[42\.6 to 67\.4\]", text)
    assert asked["eps"] == 4 / 255 and asked["train_limit"] == 100 and asked["correlations"] == [0.0, 1.0]
