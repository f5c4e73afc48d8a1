"""Guessed masks beside drawn ones: overlap by hand, intervals, times."""

import numpy as np
import pytest

import locadv_tf as la

IMAGES = np.zeros((3, 8, 8, 3), "float32")
IMAGES[:, 2:6, 2:6] = 0.8
IMAGES[2, 2:6, 6:8] = 0.8  # more than the drawn object
EXACT = np.ones((3, 8, 8, 1), "float32")
EXACT[:, 2:6, 2:6] = 0


def test_overlap_by_hand():
    threshold, full = la.evaluation.mask_quality(IMAGES, EXACT, [("threshold", {"value": 0.5}), "full"])
    assert threshold["source"] == "threshold, value=0.5" and threshold["n"] == 3
    assert threshold["iou_object"] == pytest.approx((1 + 1 + 16 / 24) / 3)
    assert threshold["iou_background"] == pytest.approx((1 + 1 + 40 / 48) / 3)
    assert threshold["iou_object_low"] < threshold["iou_object"] < threshold["iou_object_high"]
    assert full["iou_object"] == 0 and full["iou_background"] == pytest.approx(0.75) and full["iou_object_low"] is None
    assert full["background_mean"] == 1 and all(row["ms_per_image"] > 0 for row in (threshold, full))


def test_chance_has_the_areas_of_the_drawn_masks_and_a_model_is_not_told():
    model = la.small_cnn((8, 8, 3), 2)
    sources = ["random", ("saliency", {"model": model, "foreground": 0.25})]
    chance, saliency = la.evaluation.mask_quality(IMAGES, EXACT, sources, labels=np.array([0, 1, 1]))
    assert chance["background_mean"] == 0.75 and 0 < chance["iou_object"] < 0.5
    assert saliency["source"] == "saliency, foreground=0.25"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES, EXACT[:2], ["full"]), "exact has shape"),
        ((IMAGES, EXACT, ["boarder"]), "'boarder' is unknown"),
        ((IMAGES, EXACT, ["full", ("border", {"sigma": 1})]), "no option 'sigma'"),
        ((IMAGES[:0], EXACT[:0], ["full"]), "holds no images"),
        ((IMAGES * 255, EXACT, ["full"]), "images has values from 0 to 204"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        la.evaluation.mask_quality(*arguments)
