"""The background challenge on photographs: a toy set whose backgrounds and objects tell a class by their colours."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import locadv
import locadv_tf as la
from locadv_tf.data import cutouts
from locadv_tf.evaluation import photo_challenge, photographs
from locadv_tf.reports import challenge_page, photographs_page

SIDE, CLASSES = 24, 3
LEVELS = np.array([40, 120, 200])


class ToyPhotographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The background's red and the object's green tell the class; objects are squares of varying place."""

    VERSION = tfds.core.Version("1.0.0")
    name = "toy_photographs"

    def _info(self):
        image, mask = (tfds.features.Image(shape=(SIDE, SIDE, channels)) for channels in (3, 1))
        label = tfds.features.ClassLabel(names=["a", "b", "c"])
        held = {"image": image, "label": label, "segmentation_mask": mask}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(held))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(30)), "test": self._generate_examples(range(30, 54))}

    def _generate_examples(self, numbers):
        for i in numbers:
            image, mask = toy(i)
            yield i, {"image": image, "label": i % CLASSES, "segmentation_mask": mask}


def toy(i):
    image, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE, 1), np.uint8)
    top, left = 6 + i % 5, 5 + i % 7
    mask[top : top + 7, left : left + 7] = 1
    image[..., 0] = LEVELS[i % CLASSES]
    image[mask[..., 0] == 1] = (0, LEVELS[i % CLASSES], 0)
    return image, mask


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    ToyPhotographs(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def toy_dir(toys, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(toys))


@pytest.fixture(scope="module")
def shown():
    images, masks = (np.stack(column) for column in zip(*(toy(i) for i in range(24)), strict=True))
    return photographs.take_apart(images, np.arange(24) % CLASSES, masks.astype("float32"))


def reader(channel):
    """Takes an image for the class whose level is nearest to its largest value of one channel."""
    levels = LEVELS.astype("float32") / 255
    inputs = keras.Input((SIDE, SIDE, 3))
    largest = keras.layers.GlobalMaxPooling2D()(inputs)
    dense = keras.layers.Dense(CLASSES)
    model = keras.Model(inputs, dense(largest))
    kernel = np.zeros((3, CLASSES), "float32")
    kernel[channel] = 200 * levels
    dense.set_weights([kernel, -100 * levels**2])
    return model


def test_photographs_are_read_with_their_objects_share(toy_dir):
    read = photographs.read_photographs("toy_photographs", "test", image_size=(SIDE, SIDE))
    images, labels, masks = la.to_arrays(la.load_data("toy_photographs", "test", image_size=(SIDE, SIDE)))
    np.testing.assert_array_equal(read.share, 1 - masks)
    np.testing.assert_array_equal(read.images, np.rint(255 * images))
    np.testing.assert_array_equal(read.labels, labels)
    small = photographs.read_photographs("toy_photographs", "test", image_size=(12, 12), limit=6, fill="tiles")
    assert small.share.shape == (6, 12, 12, 1) and 0 < small.share[small.share < 1].max() < 1
    assert np.bincount(small.labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("kind", [0, 1, 2, None])
def test_donors_are_others_of_the_class_that_was_asked_for(shown, kind):
    classes = None if kind is None else np.full(24, kind)
    found = photographs.donors(shown, classes, seed=5)
    assert (found != np.arange(24)).all() and len(set(found)) > 4
    if kind is not None:
        assert (shown.labels[found] == kind).all()
    np.testing.assert_array_equal(found, photographs.donors(shown, classes, seed=5))
    assert (found != photographs.donors(shown, classes, seed=6)).any()


def test_backgrounds_that_are_mostly_filled_are_not_given_away(shown):
    share = shown.share.copy()
    share[::2] = 1
    crowded = shown._replace(share=share)
    assert (photographs.donors(crowded, None, seed=0) % 2 == 1).all()
    assert set(photographs.donors(crowded._replace(share=np.ones_like(share)), None, seed=0)) == {0, 1}


def test_objects_stay_and_the_background_is_another_ones(shown):
    for k in range(CLASSES):
        mixed = photographs.before_others(shown, np.full(24, k), seed=1)
        object_ = shown.share[..., 0] == 1
        np.testing.assert_array_equal(mixed[object_], shown.images[object_])
        assert (mixed[~object_] == (LEVELS[k], 0, 0)).all()  # the whole background, and no green is left in it


def test_the_variants_are_what_their_names_say(shown):
    found = photographs.variants(shown)
    assert set(found) == set(photographs.VARIANTS) - {"mixed_same", "mixed_next", "mixed_rand"}
    object_ = shown.share[..., 0] == 1
    np.testing.assert_array_equal(found["original"], shown.images)
    np.testing.assert_array_equal(found["only_fg"][object_], shown.images[object_])
    assert (found["only_fg"][~object_] == photographs.GREY).all() and (found["no_fg"][object_] == 0).all()
    np.testing.assert_array_equal(found["no_fg"][~object_], shown.images[~object_])
    assert not found["only_bg_t"][..., 1].any() and not found["only_bg_b"][..., 1].any()  # nothing of any object
    for image, part in zip(found["only_bg_b"], shown.share, strict=True):
        assert (image[cutouts.box(cutouts.hole(part))] == 0).all()


def test_only_the_place_of_the_hole_can_tell_where_the_background_is_any(shown):
    images = {kind: photographs.hole_images(shown, kind, seed=0) for kind in photographs.HOLES}
    own, other, chance = images.values()
    np.testing.assert_array_equal(own, shown.backgrounds)
    for filled in (other, chance):
        assert not filled[..., 1].any()
        agree = (filled[:, 0, 0, 0] == LEVELS[shown.labels]).mean()
        assert agree < 0.7  # backgrounds of any class
    np.testing.assert_array_equal(other, photographs.hole_images(shown, "other background, own hole", seed=0))
    with pytest.raises(ValueError, match="kind='no hole' is unknown"):
        photographs.hole_images(shown, "no hole", seed=0)


def test_a_model_that_sees_the_background_alone_has_the_largest_gap(shown):
    row = photo_challenge.score(reader(0), shown)
    assert row["original"] == row["mixed_same"] == row["only_bg_t"] == row["no_fg"] == 1 and row["mixed_next"] == 0
    assert row["mixed_rand"] == pytest.approx(1 / 3) and row["bg_gap"] == pytest.approx(2 / 3)
    assert row["bg_gap_balanced"] == pytest.approx(2 / 3) and row["worst_group"] == 0 and row["n"] == 24
    assert row["worst_label"] != row["worst_background"] and row["worst_n"] == 8


def test_a_model_that_sees_the_object_alone_has_none(shown):
    row = photo_challenge.score(reader(1), shown)
    assert row["mixed_same"] == row["mixed_rand"] == row["mixed_next"] == row["worst_group"] == 1
    assert row["bg_gap"] == row["bg_gap_balanced"] == 0 and row["bg_gap_balanced_low"] is None
    assert row["only_bg_t_balanced"] == pytest.approx(1 / 3)


def test_balanced_accuracy_counts_classes_alike(shown):
    few = photographs.Photographs(*(each[:20] if hasattr(each, "shape") else each for each in shown))
    keep = np.flatnonzero((few.labels != 0) | (np.arange(20) < 9))
    unequal = photographs.Photographs(*(each[keep] if hasattr(each, "shape") else each for each in few))
    row = photo_challenge.score(reader(0), unequal)
    counts = np.bincount(unequal.labels)
    assert counts[0] < counts[1] and row["mixed_rand_balanced"] == pytest.approx(1 / 3)
    right = np.array([True] * 6 + [False] * 3)
    labels = np.array([0] * 6 + [1] * 3)
    assert la.evaluation.balanced_interval(right, labels) == (0.5, None, None)
    with pytest.raises(ValueError, match="got 9 values and 8 labels"):
        la.evaluation.balanced_interval(right, labels[:8])


TINY = {"image_size": SIDE, "epochs": 1, "train_steps": 1}


@pytest.fixture(scope="module")
def tiny(toys, tmp_path_factory):
    """The folder and what `report` returned for the smallest run."""
    folder = tmp_path_factory.mktemp("challenge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(toys))
        asked = {"seeds": (0,), "trainings": ("natural", "LAT")}
        return folder, photographs_page.report(folder, "toy_photographs", **asked, **TINY)


def test_a_run_leaves_rows_a_table_and_a_page(tiny):
    folder, (rows, path) = tiny
    kept = json.loads((folder / "metrics.json").read_text())
    assert kept["parameters"] == {"dataset": "toy_photographs", **TINY}
    assert [row.get("training") or row["hole"] for row in kept["results"]["challenge"]] == [
        "natural", "LAT", *photographs.HOLES
    ]  # fmt: skip
    assert {*photo_challenge.QUANTITIES} <= set(rows[0])
    page = path.read_text()
    assert page.count("<img alt=") == 1 and "LAT − natural" in page and "other background, own hole" in page
    assert not re.search(r"\b(nan|None)\b", re.sub(r'src="[^"]*"', "", page))
    tables = photographs_page.summary_tables(rows)
    assert len(tables) == 4 and "undecided" in repr(tables["Which training relies less?"])  # one seed


def test_a_second_run_trains_only_what_is_new(tiny, toy_dir, monkeypatch):
    folder, _ = tiny

    def refuse(*_, **__):
        raise RuntimeError("trained")

    monkeypatch.setattr(photo_challenge, "train_classifier", refuse)
    asked = {"seeds": (0,), "trainings": ("LAT",)}
    rows, _ = photographs_page.report(folder, "toy_photographs", **asked, **TINY)
    assert [row["training"] for row in rows if "training" in row] == ["LAT"] and len(rows) == 1 + len(photographs.HOLES)
    with pytest.raises(RuntimeError, match="trained"):
        photographs_page.report(folder, "toy_photographs", **asked | {"seeds": (1,)}, **TINY)
    with pytest.raises(ValueError, match=r"other settings \(epochs\); expected the same, or another folder"):
        photographs_page.report(folder, "toy_photographs", **asked, **TINY | {"epochs": 2})


def test_differences_follow_the_balanced_gap():
    base = dict.fromkeys(photo_challenge.QUANTITIES, 0.5)
    gaps = {"natural": (0.5, 0.6, 0.55), "LAT": (0.3, 0.41, 0.35)}
    rows = [base | {"training": name, "seed": seed, "bg_gap_balanced": gap}
            for name, values in gaps.items() for seed, gap in enumerate(values)]  # fmt: skip
    (found,) = challenge_page.differences(rows, by=(), quantities=photographs_page.COMPARED_BY)
    assert found["compared"] == "LAT − natural" and found["finding"] == "relies less"
    assert "55.0 [42.6 to 67.4]" in repr(
        photographs_page.summary_tables(rows)["Balanced accuracy on exchanged backgrounds"]
    )


@pytest.mark.slow
def test_the_command_runs_photographs(toy_dir, capsys, tmp_path, monkeypatch):
    asked = ["challenge", "--dataset", "toy_photographs", "--seeds", "0", "--epochs", "1", "--train-limit", "9"]
    asked += ["--test-limit", "9", "--image-size", "16", "--fill", "tiles", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(
        photographs_page, "compare",
        lambda dataset, *, trainings, **how: photo_challenge.compare(dataset, trainings=("natural",), **how),
    )  # fmt: skip
    assert locadv.main(asked) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "out" / "challenge.html") and "What do filled holes tell?" in out
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["parameters"]
    assert (kept["fill"], kept["image_size"], kept["test_limit"]) == ("tiles", 16, 9)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--dataset", "digits"], "'digits' has no drawn masks; expected a TFDS set with some"),
        (["--dataset", "toy_photographs", "--fill", "grass"], "fill='grass' is unknown"),
        (["--dataset", "toy_photographs", "--image-size", "8"], "image_size=8"),
        (["--dataset", "toy_photographs", "--correlations", "1"], "--correlations passed for 'toy_photographs'"),
        (["--image-size", "64"], "--image-size passed for 'composite'"),
        (["--dataset", "toy_photographs", "--test-limit", "3"], "class 0 has 1 photograph; expected at least two"),
    ],
)
def test_bad_input(asked, message, toy_dir, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photo_challenge, "train_classifier", lambda *_, **__: None)
    assert locadv.main(["challenge", *asked]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
