"""The measures of reliance: planted models whose answer is known, what swapping the regions must do, honest intervals.

`see` builds a classifier that calls an image bright or dark by a weighted mean of its pixels: what it looks at, and so
what every measure must say, can be written down.
"""

import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.data import masks
from locadv_tf.evaluation import reliance

SIDE, N = 6, 40
ATTACK = la.FGSM(eps=0.1)
rng = np.random.default_rng(0)
UPPER = np.zeros((N, SIDE, SIDE, 1), "float32")
UPPER[:, : SIDE // 3] = 1  # the background: the upper third
DIFFERENCES = ("asr_difference", "asr_difference_equal", "rfs")
few = settings(max_examples=8)


@pytest.fixture(scope="module")
def see():
    """`see(weights)`: the one model, with these weights `(6, 6)` of the pixels; its compiled functions stay in use."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])

    def weighted(weights):
        kernel = np.zeros((SIDE * SIDE, 2), "float32")
        kernel[:, 1] = 40 * weights.ravel() / max(np.abs(weights).sum(), 1)
        model.set_weights([kernel, np.array([0, -kernel[:, 1].sum() / 2], "float32")])
        return model

    return weighted


def flat(greys=None):
    """Flat images from dark to bright, and which they are."""
    greys = np.linspace(0.3, 0.7, N) if greys is None else np.asarray(greys)
    return np.ones((len(greys), SIDE, SIDE, 1), "float32") * np.float32(greys)[:, None, None, None], greys > 0.5


# Planted models.


def test_a_model_that_sees_the_background_alone(see):
    images, bright = flat()
    row = reliance.background_reliance(see(UPPER[0, ..., 0]), (images, bright.astype(int), UPPER), ATTACK, sigma=0.5)
    turned = np.mean(np.abs(np.linspace(0.3, 0.7, N) - 0.5) < 0.1)  # the mean it sees moves by eps
    assert row["asr_n"] == N and row["area"] == pytest.approx(1 / 3)
    assert row["asr_background"] == row["asr_difference"] == row["asr_difference_equal"] == turned
    assert row["asr_foreground"] == row["asr_foreground_equal"] == 0
    assert row["accuracy_background_noise"] < 1 == row["accuracy_foreground_noise"] and row["rfs"] == -1
    assert row["energy_n"] == N and row["energy_share"] == 1 and row["energy_ratio"] == pytest.approx(3)


def test_a_model_that_sees_the_foreground_alone(see):
    images, bright = flat()
    row = reliance.background_reliance(
        see(1 - UPPER[0, ..., 0]), (images, bright.astype(int), UPPER), ATTACK, sigma=0.5
    )
    assert row["asr_background"] == 0 and row["asr_difference"] == -row["asr_foreground"] < 0
    assert row["accuracy_background_noise"] == 1 and row["rfs"] == 1
    assert row["energy_share"] == row["energy_ratio"] == 0 and row["energy_ratio_low"] is None  # all equal
    # With half of what it looks at attacked, the mean that it sees moves by half as much.
    turned = np.mean(np.abs(np.linspace(0.3, 0.7, N) - 0.5) < 0.05)
    assert row["area_equal"] == pytest.approx(1 / 3) and row["asr_difference_equal"] == -turned


def test_a_model_that_sees_all_pixels_alike_and_masks_that_know_nothing(see, natural_model, digits_test):
    images, bright = flat()
    row = reliance.background_reliance(see(np.ones((SIDE, SIDE))), (images, bright.astype(int), UPPER), ATTACK)
    assert row["asr_difference"] < 0 == row["asr_difference_equal"]  # the foreground's advantage was its area
    assert row["energy_ratio"] == pytest.approx(1)
    x, y, own = la.to_arrays(digits_test.take(100))
    real = [reliance.gradient_energy(natural_model, (x, y, mask)) for mask in (masks.random(own), own)]
    assert real[0]["energy_ratio"] == pytest.approx(1, abs=0.05) and abs(real[1]["energy_ratio"] - 1) > 0.1


def test_gradient_energy_is_squared(see):
    # Twice the weight on the background, a third of the area: 4 · 12 of 4 · 12 + 24.
    images, bright = flat()
    row = reliance.gradient_energy(see(1 + UPPER[0, ..., 0]), (images, bright.astype(int), UPPER), batch_size=7)
    assert row["energy_share"] == pytest.approx(2 / 3) and row["energy_ratio"] == pytest.approx(2)


# Swapping background and foreground.


@few
@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.9))
def test_swapping_the_regions_turns_every_measure_round(see, seed, share):
    draw = np.random.default_rng(seed)
    model, images = see(draw.normal(size=(SIDE, SIDE))), draw.random((N, SIDE, SIDE, 1), "float32")
    labels, mask = draw.integers(0, 2, N), (draw.random((N, SIDE, SIDE, 1)) < share).astype("float32")
    one = reliance.background_reliance(model, (images, labels, mask), ATTACK, seed=seed)
    other = reliance.background_reliance(model, (images, labels, 1 - mask), ATTACK, seed=seed)
    for name in DIFFERENCES:
        assert -1 <= one[f"{name}_low"] <= one[name] <= one[f"{name}_high"] <= 1
        assert one[name] == pytest.approx(-other[name])
        assert one[f"{name}_low"] == pytest.approx(-other[f"{name}_high"], abs=0.02)  # drawn, so not to the last digit
    assert one["energy_share"] + other["energy_share"] == pytest.approx(1)
    assert one["area_equal"] == other["area_equal"] <= 0.5


@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_rfs_is_a_share_of_the_possible(a, b):
    if a == b and a in (0, 1):
        assert np.isnan(reliance.rfs(a, b))
    else:
        assert -1 <= reliance.rfs(a, b) <= 1
        assert reliance.rfs(a, b) == -reliance.rfs(b, a) and np.sign(reliance.rfs(a, b)) == np.sign(a - b)


def test_rfs_of_the_paper_by_hand():
    # a_bg, a_fg: mean 0.8, so a difference of at most 0.4; mean 0.2, the same; mean 0.5, at most 1.
    np.testing.assert_allclose(reliance.rfs([0.9, 0.3, 0.5], [0.7, 0.1, 0.5]), [0.5, 0.5, 0])


# Equal areas.


@given(seed=st.integers(0, 1000), share=st.floats(0, 1), smoothness=st.sampled_from([0.0, 1.0, 3.0]))
def test_equal_areas_lie_in_their_regions(seed, share, smoothness):
    mask = (np.random.default_rng(seed).random((3, 7, 9, 1)) < share).astype("float32")
    background, foreground = reliance.equal_areas(mask, seed=seed, smoothness=smoothness)
    area = [piece.sum(axis=(1, 2, 3)) for piece in (background, foreground)]
    smaller = np.minimum(mask.sum(axis=(1, 2, 3)), (1 - mask).sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(area, [smaller, smaller])
    assert not (background * (1 - mask)).any() and not (foreground * mask).any()
    again = reliance.equal_areas(mask, seed=seed, smoothness=smoothness)
    np.testing.assert_array_equal(again, (background, foreground))


# Intervals.


def test_the_gradients_interval_covers_the_truth(see):
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(SIDE, SIDE))
    region = draw.random((4000, SIDE, SIDE, 1)) < draw.random((4000, 1, 1, 1))
    images = np.full((4000, SIDE, SIDE, 1), 0.4, "float32")
    data = images, np.zeros(4000, int), region.astype("float32")
    truth = reliance.gradient_energy(see(weights), data, batch_size=4000)["energy_ratio"]
    covered = []
    for at in (slice(first, first + 40) for first in range(0, 4000, 40)):
        row = reliance.gradient_energy(see(weights), tuple(part[at] for part in data))
        covered.append(row["energy_ratio_low"] <= truth <= row["energy_ratio_high"])
    assert np.mean(covered) > 0.9


# Nothing to compare, bad input.


def test_where_there_is_nothing_to_compare(see):
    images, bright = flat()
    labels, model = bright.astype(int), see(UPPER[0, ..., 0])
    everything = reliance.asr_difference(model, (images, labels, np.ones_like(UPPER)), ATTACK)
    assert everything["asr_n"] == 0 and everything["asr_difference"] is everything["asr_background_low"] is None
    wrong = reliance.asr_difference(model, (images, 1 - labels, UPPER), ATTACK)
    assert wrong["asr_n"] == 0 and wrong["asr_difference_equal"] is None
    untouched = reliance.foreground_sensitivity(model, (images, labels, UPPER), sigma=0.0)
    assert untouched["accuracy_background_noise"] == 1 and untouched["rfs"] is None  # 0 / 0
    nowhere = reliance.gradient_energy(model, (images, labels, np.zeros_like(UPPER)))
    assert nowhere["energy_n"] == N and nowhere["energy_ratio"] is None
    one = reliance.gradient_energy(model, (images[:1], labels[:1], UPPER[:1]))
    assert one["energy_ratio"] == pytest.approx(3) and one["energy_ratio_low"] is None
    blind = reliance.gradient_energy(see(np.zeros((SIDE, SIDE))), (images, labels, UPPER))
    assert blind["energy_n"] == 0 and blind["energy_ratio"] is blind["energy_ratio_low"] is None


def test_one_row_per_source(see):
    images, bright = flat()
    found = reliance.draw_masks(images, bright.astype(int), own=UPPER, model=see(UPPER[0, ..., 0]))
    assert list(found) == ["own", "threshold", "otsu", "center", "saliency", "random"]
    np.testing.assert_array_equal(found["random"].sum(axis=(1, 2, 3)), UPPER.sum(axis=(1, 2, 3)))
    rows = reliance.by_source(see(UPPER[0, ..., 0]), images, bright.astype(int), found, ATTACK, sigma=0.5)
    assert [row["source"] for row in rows] == list(found)
    assert rows[0] == {"source": "own"} | reliance.background_reliance(
        see(UPPER[0, ..., 0]), (images, bright.astype(int), UPPER), ATTACK, sigma=0.5
    )
    by = {row["source"]: row for row in rows}
    assert by["random"]["energy_ratio"] == pytest.approx(1, abs=0.15) and by["own"]["energy_ratio"] == pytest.approx(3)


def test_colour_images_get_the_sources_that_fit():
    images = rng.random((3, 16, 16, 3), "float32")
    model = la.small_cnn((16, 16, 3), 2)
    own = masks.center(images)
    found = reliance.draw_masks(images, np.zeros(3, int), own=own, model=model, sources=("border", "otsu", "center"))
    assert list(found) == ["own", "border"]  # otsu needs grey, and center draws what own holds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: reliance.background_reliance(m, d, "PGD"), "expected an attack object"),
        (lambda m, d: reliance.background_reliance(m, d, ATTACK, sigma=60), "sigma=60 is out of range"),
        (lambda m, d: reliance.background_reliance(m, d, ATTACK, seed=-1), "seed=-1"),
        (lambda m, d: reliance.background_reliance(m, [part[:0] for part in d], ATTACK), "holds no images"),
        (lambda m, d: reliance.background_reliance(m, d[:2], ATTACK), "data has no masks"),
        (lambda m, d: reliance.gradient_energy(m, d, batch_size=0), "batch_size=0"),
        (lambda m, d: reliance.equal_areas(d[2] / 2), "values other than 0 and 1"),
        (lambda m, d: reliance.equal_areas(d[2], smoothness=-1), "smoothness=-1 is out of range"),
        (lambda m, d: reliance.by_source(m, d[0], d[1], {}, ATTACK), "masks holds no masks"),
        (lambda m, d: reliance.draw_masks(*d[:2], own=d[2], model=m, sources=["edges"]), "'edges' is unknown"),
        (lambda m, d: reliance.draw_masks(*d[:2], own=d[2][:3], model=m), "own has shape"),
    ],
)
def test_bad_input(see, call, message):
    images, bright = flat()
    with pytest.raises(ValueError, match=re.escape(message)):
        call(see(UPPER[0, ..., 0]), (images, bright.astype(int), UPPER))
