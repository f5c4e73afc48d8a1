"""Objects cut out and put elsewhere: whole pixels stay, nothing of the old background or of the object is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.data import cutouts


@st.composite
def photographs(draw):
    """An image of noise and the share of an object in it: an ellipse with a soft edge, or nothing, or everything."""
    height, width = draw(st.integers(12, 40)), draw(st.integers(12, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    centre, radius = rng.uniform(0, 1, 2) * (height, width), draw(st.sampled_from([0.0, 3.0, 6.0, 100.0]))
    distance = np.hypot(y - centre[0], x - centre[1])
    share = np.clip(radius - distance, 0, 1) if radius else np.zeros_like(distance)
    return image, share[..., None].astype("float32")


@given(photographs(), st.sampled_from(cutouts.FILLS))
def test_the_background_stays_outside_the_hole_and_the_object_is_gone(photograph, how):
    image, share = photograph
    hole = cutouts.hole(share)
    assert hole[share[..., 0] > cutouts.LITTLE].all()
    filled = cutouts.filled(image, share, how=how)
    rows, columns = cutouts.box(hole)
    outside = np.ones(hole.shape, bool)
    outside[rows, columns] = False
    np.testing.assert_array_equal(filled[outside], image[outside])
    if how == "inpaint":
        np.testing.assert_array_equal(filled[~hole], image[~hole])
    other = np.where(share > 0, 255 - image, image)  # another object in the same place
    if not hole.all():
        np.testing.assert_array_equal(cutouts.filled(other, share, how=how), filled)


@given(photographs())
def test_whole_pixels_of_the_object_stay_and_its_edge_has_no_old_background(photograph):
    image, share = photograph
    whole = share[..., 0] >= 1 - cutouts.LITTLE
    colours = cutouts.cut(image, share)
    np.testing.assert_array_equal(colours[whole], image[whole])
    behind = np.full_like(image, 7)
    shown = cutouts.before(colours, share, behind)
    np.testing.assert_array_equal(shown[whole], image[whole])
    assert (shown[share[..., 0] == 0] == 7).all()
    if whole.any():
        moved = np.where(whole[..., None], image, 255 - image)  # another background: the same object
        np.testing.assert_array_equal(cutouts.cut(moved, share), colours)


def test_edges_are_mixed_by_the_objects_share():
    image, share = np.full((3, 3, 3), 200, np.uint8), np.zeros((3, 3, 1), "float32")
    share[1], share[2] = 0.25, 1
    shown = cutouts.before(cutouts.cut(image, share), share, np.full((3, 3, 3), 100, np.uint8))
    assert shown[:, 0, 0].tolist() == [100, 125, 200]


def test_tiles_are_copies_of_the_largest_rectangle_beside_the_box():
    image = np.tile(np.arange(20, dtype=np.uint8)[:, None, None], (1, 20, 3))  # a row is as bright as its number
    share = np.zeros((20, 20, 1), "float32")
    share[12:16, 8:12] = 1
    rows, columns = cutouts.box(cutouts.hole(share))
    filled = cutouts.filled(image, share, how="tiles")
    assert (rows.start, rows.stop) == (11, 17)
    np.testing.assert_array_equal(
        filled[rows, columns, 0], np.tile(np.arange(6)[:, None], (1, columns.stop - columns.start))
    )


@pytest.mark.parametrize("how", cutouts.FILLS)
def test_an_object_that_is_everything_leaves_grey(how):
    image = np.full((6, 6, 3), 200, np.uint8)
    assert (cutouts.filled(image, np.ones((6, 6, 1), "float32"), how=how) == 128).all()
