"""Masks that people drew: toy TFDS sets with each kind of values, and photographs where they are on disk."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.data import drawn
from locadv_tf.data.prepared import builder_of

SIZE = 24


class Shapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Thirty bright bars on dark, of widths 2 to 9, with their masks."""

    VERSION = tfds.core.Version("1.0.0")
    CODES = (0, 1, 1)  # nothing, the object, its outline
    FEATURE, DTYPE, PLANAR = "segmentation_mask", np.uint8, False

    def _info(self):
        held = {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
            "edges": tfds.features.Image(shape=(SIZE, SIZE, 1)),  # a picture of one channel that is no mask
        }
        if self.PLANAR:
            held[self.FEATURE] = tfds.features.Tensor(shape=(SIZE, SIZE), dtype=self.DTYPE)
        else:
            held[self.FEATURE] = tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=self.DTYPE)
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(held))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(20)), "test": self._generate_examples(range(20, 30))}

    def _generate_examples(self, numbers):
        for i in numbers:
            codes = np.full((SIZE, SIZE), self.CODES[0], self.DTYPE)
            codes[4:-4, 6 : 8 + i % 8] = self.CODES[2]  # the outline, above and below
            codes[5:-5, 6 : 8 + i % 8] = self.CODES[1]
            image = np.where(codes[..., None] == self.CODES[0], 20, 200) + np.zeros(3)
            mask = codes if self.PLANAR else codes[..., None]
            yield i, {
                "image": image.astype(np.uint8), "label": i % 3, self.FEATURE: mask,
                "edges": np.full((SIZE, SIZE, 1), 7, np.uint8),
            }  # fmt: skip


def kind(name, **changes):
    return type(name, (Shapes,), {"name": name, "__module__": __name__, **changes}, skip_registration=True)


KINDS = [
    kind("ones"),
    kind("bytes", CODES=(0, 255, 255), FEATURE="bird_mask"),
    kind("trimaps", CODES=(2, 1, 3)),
    kind("flags", CODES=(False, True, True), DTYPE=np.bool_, PLANAR=True, FEATURE="Segmentation"),
]
BAD_KIND = kind("classes", CODES=(0, 7, 15))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A TFDS folder with the toy sets."""
    folder = tmp_path_factory.mktemp("drawn")
    for toy in (*KINDS, BAD_KIND):
        toy(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def shapes_dir(shapes, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(shapes))


def expected(images):
    masks = np.ones((len(images), SIZE, SIZE, 1), "float32")
    for mask, image in zip(masks, images, strict=True):
        mask[..., 0] = image[..., 0] < 0.5
    return masks


@pytest.mark.parametrize("name", [toy.name for toy in KINDS])
def test_each_kind_of_values_gives_the_set_its_default_masks(shapes_dir, name):
    images, _, masks = la.to_arrays(la.load_data(name, "test"))
    np.testing.assert_array_equal(masks, expected(images))  # the outline of a trimap is foreground
    asked = la.to_arrays(la.load_data(name, "test", mask="ground_truth"))
    np.testing.assert_array_equal(asked[2], masks)
    assert 0.5 < masks.mean() < 0.95
    control = la.to_arrays(la.load_data(name, "test", mask="random"))[2]
    np.testing.assert_array_equal(control.sum(axis=(1, 2, 3)), masks.sum(axis=(1, 2, 3)))
    border = la.to_arrays(la.load_data(name, "test", mask="border"))[2]
    np.testing.assert_array_equal(border, la.masks.border(images))


@pytest.mark.parametrize("name", [toy.name for toy in KINDS])
def test_slices_limits_and_strata_take_the_masks_along(shapes_dir, name):
    images, labels, masks = la.to_arrays(la.load_data(name, "train"))
    part = la.to_arrays(la.load_data(name, "train[3:9]"))
    for whole, mine in zip((images, labels, masks), part, strict=True):
        np.testing.assert_array_equal(mine, whole[3:9])
    for stratify in (False, True):
        few, _, mine = la.to_arrays(la.load_data(name, "train", limit=6, stratify=stratify, seed=1))
        np.testing.assert_array_equal(mine, expected(few))


@pytest.mark.parametrize("name", [toy.name for toy in KINDS])
def test_masks_are_resized_with_their_images(shapes_dir, name):
    images, _, masks = la.to_arrays(la.load_data(name, "test", image_size=(SIZE // 3, SIZE // 2)))
    whole = la.to_arrays(la.load_data(name, "test"))[2]
    share = whole.reshape(-1, SIZE // 3, 3, SIZE // 2, 2, 1).mean(axis=(2, 4))
    np.testing.assert_array_equal(masks, share > 0.5)
    assert images.shape == (*masks.shape[:3], 3)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_resizing_keeps_the_area(height, width, new_height, new_width, seed):
    values = np.random.default_rng(seed).integers(1, 4, (height, width), np.uint8)
    share, seen = drawn.background_share(values, (new_height, new_width))
    assert share.shape == (new_height, new_width, 1) and abs(share.numpy().mean() - (values == 2).mean()) < 1e-5
    assert np.flatnonzero(seen).tolist() == np.unique(values).tolist()


def test_a_thin_line_keeps_its_area_where_it_fills_half_a_pixel():
    values = np.zeros((8, 8), np.uint8)
    values[:, 3] = 1  # half of the second of four columns
    share, _ = drawn.background_share(values, (4, 4))
    assert (drawn.to_masks(share.numpy())[..., 0] == [[1, 0, 1, 1]] * 4).all()


def test_values_that_are_no_mask_are_told(shapes_dir):
    message = "the masks 'segmentation_mask' of 'classes' hold 0, 7, 15; expected 0 and 1 (the object), 0 and 255, or a"
    for mask in (None, "ground_truth", "random"):
        with pytest.raises(ValueError, match=re.escape(message)):
            la.load_data("classes", mask=mask)
    assert la.load_data("classes", mask="border").element_spec[0]["mask"].shape == (SIZE, SIZE, 1)


@pytest.mark.parametrize(("values", "told"), [([-1, 0], "values outside 0 to 255"), ([0, 1, 2], "hold 0, 1, 2;"),
                                              (range(20), "hold 0, 1, 2, 3, 4, 5, 6, … (20 values)")])  # fmt: skip
def test_other_values(values, told):
    _, seen = drawn.background_share(np.array([values]))
    with pytest.raises(ValueError, match=re.escape(told)):
        drawn.check_values(seen.numpy()[None].any(axis=0), name="toy", feature="mask")


def test_the_feature_is_found_by_name_or_asked_for(shapes_dir):
    one, three = (tfds.features.Image(shape=(None, None, channels)) for channels in (1, 3))
    text, wide = tfds.features.Text(), tfds.features.Tensor(shape=(4, 4, 2), dtype=np.int64)
    held = {"image": three, "mask_colours": three, "mask_note": text, "mask_pair": wide, "depth": one}
    found = {}
    for extra in ({}, {"a_mask": one}, {"a_mask": one, "segmentation_mask": one}):
        found[len(extra)] = drawn.mask_feature(tfds.features.FeaturesDict(held | extra), name="toy")
    assert found == {0: None, 1: "a_mask", 2: "segmentation_mask"}
    both = tfds.features.FeaturesDict(held | {"a_mask": one, "b_mask": one})
    with pytest.raises(ValueError, match="'toy' has masks in a_mask, b_mask; expected one feature"):
        drawn.mask_feature(both, name="toy")
    assert drawn.mask_feature(both, name="toy", asked="b_mask") == "b_mask"
    assert drawn.mask_feature(both, name="toy", asked="depth") == "depth"
    for asked in ("mask_note", "mask_colours", "nothing"):
        with pytest.raises(ValueError, match=f"{asked}'}} names no masks of 'toy'; .* has depth, a_mask, b_mask"):
            drawn.mask_feature(both, name="toy", asked=asked)


def test_a_feature_can_be_asked_for(shapes_dir):
    for mask in (None, "ground_truth"):
        with pytest.raises(ValueError, match=r"the masks 'edges' of 'bytes' hold 7; expected 0 and 1"):
            la.load_data("bytes", mask=mask, mask_options={"feature": "edges"})
    own = la.load_data("bytes", "test", mask="ground_truth", mask_options={"feature": "bird_mask"})
    np.testing.assert_array_equal(la.to_arrays(own)[2], la.to_arrays(la.load_data("bytes", "test"))[2])
    for options, message in (
        ({"mask": "border", "mask_options": {"feature": "bird_mask"}}, "source='border' has no option 'feature'"),
        ({"mask": "ground_truth", "mask_options": {"value": 1}}, "has no option 'value'; it takes 'feature'"),
    ):
        with pytest.raises(ValueError, match=message):
            la.load_data("bytes", **options)
    for mask in (None, "ground_truth"):
        with pytest.raises(ValueError, match="expected 'feature' for TFDS sets only"):
            la.load_data("composite", mask=mask, mask_options={"feature": "bird_mask"})


def test_photographs_with_outlines(tfds_dir, monkeypatch):
    if not (tfds_dir / "caltech10_outlines").is_dir():
        pytest.skip(f"caltech10_outlines is not prepared in {tfds_dir}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    read = {"limit": 40, "image_size": (64, 64), "download": False}
    images, labels, masks = la.to_arrays(la.load_data("caltech10_outlines", "test", stratify=True, **read))
    assert images.shape == (40, 64, 64, 3) and masks.shape == (40, 64, 64, 1) and set(labels) == set(range(10))
    assert 0.5 < masks.mean() < 0.85
    corners = masks[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.mean() > 0.9  # the mask is 1 on the background; the stored one is 1 on the object
    (row,) = la.masks.quality({"center": la.masks.center(images)}, exact=masks)
    assert row["iou_exact"] > 0.3  # the objects are in the middle
    builder = builder_of("caltech10_outlines")
    example = next(iter(builder.as_dataset(split="test[:1]")))
    share, _ = drawn.background_share(example["segmentation_mask"], (64, 64))
    assert (
        abs(float(share.numpy().mean()) - float(tf.reduce_mean(1 - tf.cast(example["segmentation_mask"], "float32"))))
        < 1e-4
    )
