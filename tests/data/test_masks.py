"""Masks: 0 or 1, of the right shape, repeatable; the control has the same area; errors say how to fix bad input."""

import os
import pathlib

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from locadv_tf.data import masks

# Each case: name, the function, the channels that it takes.
IMAGE_ONLY = [
    ("threshold", masks.threshold, (1, 3)),
    ("otsu", masks.otsu, (1,)),
    ("border", masks.border, (3,)),
    ("grabcut", lambda images: masks.grabcut(images, iterations=1), (1, 3)),
    ("center", masks.center, (1, 3)),
    ("full", masks.full, (1, 3)),
]
CASES = [pytest.param(function, channels, id=name) for name, function, channels in IMAGE_ONLY]


@st.composite
def image_batches(draw, channels=(1, 3), least=1):
    """Images of noise, of a few flat colours, or of one: the last two are what breaks clusters and covariances."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(least, 20)), draw(st.integers(least, 20)))
    shape += (draw(st.sampled_from(channels)),)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 256]))
    return (rng.integers(0, levels, shape) / max(levels - 1, 1)).astype("float32")


@st.composite
def mask_batches(draw):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 16)), draw(st.integers(1, 16)), 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (rng.random(shape) < draw(st.floats(0, 1))).astype("float32")


def assert_is_mask(mask, images):
    assert isinstance(mask, np.ndarray) and mask.dtype == np.float32
    assert mask.shape == (*images.shape[:3], 1)
    assert np.isin(mask, (0, 1)).all()


@pytest.fixture(scope="module")
def cifar10():
    """1,000 test images, float32 in [0, 1]."""
    beside = pathlib.Path(__file__).parents[3] / "shared" / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR") or beside)
    if not (folder / "cifar10").is_dir():
        pytest.skip(f"CIFAR-10 is not prepared in {folder} (set TFDS_DATA_DIR)")
    tfds = pytest.importorskip("tensorflow_datasets")
    data = tfds.load("cifar10", split="test[:1000]", data_dir=folder, download=False)
    return np.stack([example["image"] for example in data.as_numpy_iterator()]).astype("float32") / 255


# What holds for every source


@pytest.mark.parametrize(("function", "channels"), CASES)
def test_mask_is_binary_repeatable_and_per_image(function, channels):
    @given(images=image_batches(channels))
    def holds(images):
        mask = function(images)
        assert_is_mask(mask, images)
        np.testing.assert_array_equal(mask, function(images))
        alone = np.concatenate([function(images[i : i + 1]) for i in reversed(range(len(images)))])
        np.testing.assert_array_equal(mask, alone[::-1])

    holds()


@pytest.mark.parametrize(("function", "channels"), CASES)
def test_takes_tensors_flipped_views_and_no_images_at_all(function, channels):
    images = np.random.default_rng(0).random((2, 9, 12, channels[-1]), "float32")
    np.testing.assert_array_equal(function(tf.constant(images)), function(images))
    flipped = images[:, :, ::-1]
    np.testing.assert_array_equal(function(flipped), function(flipped.copy()))
    assert function(images[:0]).shape == (0, 9, 12, 1)


@pytest.mark.parametrize(("function", "channels"), CASES)
def test_leaves_its_input_alone(function, channels):
    images = np.random.default_rng(0).random((2, 9, 12, channels[-1]), "float32")
    before = images.copy()
    function(images)
    np.testing.assert_array_equal(images, before)


# threshold, otsu


@given(images=image_batches(), value=st.floats(0, 1))
def test_threshold_is_the_brightest_channel(images, value):
    foreground = (images > value).any(axis=-1, keepdims=True)
    np.testing.assert_array_equal(masks.threshold(images, value=value), 1.0 - foreground)


@given(images=image_batches(channels=(1,)))
def test_otsu_puts_the_darkest_pixel_in_the_background(images):
    mask = masks.otsu(images)
    assert (mask[images == images.min(axis=(1, 2, 3), keepdims=True)] == 1).all()
    contrast = images.max(axis=(1, 2, 3)) - images.min(axis=(1, 2, 3)) > 1 / 255
    np.testing.assert_array_equal((mask == 0).any(axis=(1, 2, 3)), contrast)  # two groups wherever there are two levels


def test_otsu_finds_a_threshold_per_image():
    dim, bright = np.full((8, 8, 1), 0.1, "float32"), np.full((8, 8, 1), 0.6, "float32")
    dim[2:5, 2:5] = 0.3
    bright[2:5, 2:5] = 0.9
    expected = np.ones((2, 8, 8, 1))
    expected[:, 2:5, 2:5] = 0
    np.testing.assert_array_equal(masks.otsu(np.stack([dim, bright])), expected)


# border, grabcut


@pytest.mark.parametrize("function", [masks.border, masks.grabcut])
def test_finds_a_box_on_a_noisy_background(function):
    rng = np.random.default_rng(0)
    images = np.broadcast_to(np.float32((0.2, 0.6, 0.2)), (4, 32, 32, 3)).copy()
    images[:, 9:24, 8:22] = (0.9, 0.3, 0.1)
    images = (images + rng.uniform(-0.06, 0.06, images.shape)).clip(0, 1).astype("float32")
    exact = np.ones((4, 32, 32, 1), "float32")
    exact[:, 9:24, 8:22] = 0
    (row,) = masks.quality({"found": function(images)}, exact=exact)
    assert row["iou_exact"] > 0.9


def test_border_knows_a_background_of_several_colours():
    images = np.zeros((1, 32, 32, 3), "float32")
    images[:, :16] = (0.5, 0.7, 1.0)  # sky
    images[:, 16:] = (0.2, 0.5, 0.1)  # grass
    images[:, 10:24, 10:22] = (0.8, 0.2, 0.2)
    assert masks.border(images)[:, :, :8].all() and not masks.border(images)[:, 12:22, 12:20].any()


def test_border_ignores_where_the_object_leaves_the_picture():
    images = np.broadcast_to(np.float32((0.2, 0.6, 0.2)), (1, 32, 32, 3)).copy()
    images[:, 10:, 13:18] = (0.9, 0.3, 0.1)  # touches 4 % of the border
    assert not masks.border(images)[:, 12:26, 14:17].any()


def test_border_of_one_colour_is_a_centred_disc():
    mask = masks.border(np.full((1, 32, 32, 3), 0.3, "float32"))
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    np.testing.assert_array_equal(mask, mask[:, :, ::-1])
    assert 0.4 < mask.mean() < 0.8 and not mask[0, 16, 16, 0]


def test_border_leaves_opencvs_random_state_alone():
    def draw(before):
        cv2.setRNGSeed(7)
        before()
        return cv2.randu(np.zeros(8), 0, 1)

    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    np.testing.assert_array_equal(draw(lambda: masks.border(images)), draw(lambda: None))


def test_border_is_rarely_degenerate_on_cifar10(cifar10):
    (row,) = masks.quality({"border": masks.border(cifar10)})
    assert row["n"] == 1000
    assert row["degenerate"] <= 0.02
    assert 0.6 < row["background_median"] < 0.85


# center


@given(side=st.integers(16, 40), foreground=st.floats(0, np.pi / 4))
def test_center_is_symmetric_and_has_its_share(side, foreground):
    mask = masks.center(np.zeros((1, side, 2 * side, 1), "float32"), foreground=foreground)
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    np.testing.assert_array_equal(mask, mask[:, :, ::-1])
    assert abs((1 - mask).mean() - foreground) < 4 / side  # half a ring of pixels


# saliency


def linear_model(weights, shape):
    """Logits that are weights times pixels: the gradient of logit c is column c, whatever the image."""
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(weights.shape[1])])
    model.set_weights([weights.astype("float32"), np.zeros(weights.shape[1], "float32")])
    return model


def test_saliency_of_a_linear_model_is_its_weights():
    shape = (6, 5, 3)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(90, 4))
    images = rng.random((5, *shape), "float32")
    labels = np.array([3, 0, 1, 1, 2], "uint8")
    mask = masks.saliency(
        images, labels, model=linear_model(weights, shape), foreground=0.2, smoothness=0, batch_size=2
    )
    assert_is_mask(mask, images)
    for one, label in zip(mask, labels, strict=True):
        scores = np.abs(weights[:, label]).reshape(shape).max(axis=-1)
        np.testing.assert_array_equal(one[..., 0] == 0, scores >= np.sort(scores, axis=None)[-6])  # 20 % of 30 pixels


@given(foreground=st.floats(0, 1), smoothness=st.floats(0, 3), size=st.integers(1, 4))
def test_saliency_has_its_area_and_does_not_depend_on_the_batch(foreground, smoothness, size):
    images = np.random.default_rng(1).random((3, 6, 5, 1), "float32")
    options = {"model": SALIENT, "foreground": foreground, "smoothness": smoothness}
    mask = masks.saliency(images, [0, 1, 1], batch_size=size, **options)
    assert_is_mask(mask, images)
    np.testing.assert_array_equal((1 - mask).sum(axis=(1, 2, 3)), round(foreground * 30))
    np.testing.assert_array_equal(mask, masks.saliency(images, [0, 1, 1], **options))


SALIENT = linear_model(np.random.default_rng(0).normal(size=(30, 2)), (6, 5, 1))


def test_saliency_runs_the_model_for_inference():
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    model = keras.Sequential([keras.Input((4, 4, 1)), Spy(), keras.layers.Flatten(), keras.layers.Dense(2)])
    seen.clear()  # what building it left
    masks.saliency(np.ones((2, 4, 4, 1), "float32"), [0, 1], model=model)
    assert seen and not any(seen)


def test_saliency_takes_no_images_at_all():
    assert masks.saliency(np.zeros((0, 6, 5, 1), "float32"), np.zeros(0, int), model=SALIENT).shape == (0, 6, 5, 1)


# random


@given(mask=mask_batches(), seed=st.integers(0, 2**40), smoothness=st.sampled_from([0, 0.4, 1.5, 6]))
def test_random_has_exactly_the_same_area(mask, seed, smoothness):
    control = masks.random(mask, seed=seed, smoothness=smoothness)
    assert_is_mask(control, mask)
    np.testing.assert_array_equal(control.sum(axis=(1, 2, 3)), mask.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(control, masks.random(mask, seed=seed, smoothness=smoothness))


@given(mask=mask_batches(), start=st.integers(0, 3), smoothness=st.sampled_from([0, 1.5]))
def test_random_depends_on_the_position_in_the_data_set_only(mask, start, smoothness):
    whole = masks.random(mask, seed=3, smoothness=smoothness)
    part = masks.random(mask[start:], seed=3, smoothness=smoothness, positions=np.arange(start, len(mask)))
    np.testing.assert_array_equal(whole[start:], part)


@given(mask=mask_batches(), seed=st.integers(0, 100), smoothness=st.sampled_from([0.0, 1.5]))
def test_random_stays_within_and_takes_all_where_there_is_no_more_room(mask, seed, smoothness):
    half = mask.copy()
    half[:, ::2] = 0
    control = masks.random(half, seed=seed, smoothness=smoothness, within=mask)
    assert not (control * (1 - mask)).any()
    np.testing.assert_array_equal(control.sum(axis=(1, 2, 3)), half.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(masks.random(mask, seed=seed, smoothness=smoothness, within=mask), mask)


def test_random_needs_room():
    mask = masks.center(np.zeros((1, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match="more pixels than its mask in within; expected at most as many"):
        masks.random(mask, within=1 - mask)
    with pytest.raises(ValueError, match="within has shape"):
        masks.random(mask, within=mask[:, :4])


def test_random_differs_between_seeds_and_positions():
    mask = masks.center(np.zeros((2, 16, 16, 1), "float32"))
    one, other = masks.random(mask, seed=0), masks.random(mask, seed=1)
    assert (one[0] != one[1]).any() and (one != other).any()


def test_random_is_even_over_the_image_and_smoother_when_asked():
    mask = masks.center(np.zeros((2000, 8, 8, 1), "float32"), foreground=0.5)
    mask = np.broadcast_to(mask, (2000, 8, 8, 1))
    share = float(mask[0].mean())
    changes = []
    for smoothness in (0, 1, 3):
        control = masks.random(mask, seed=0, smoothness=smoothness)
        spread = np.abs(control.mean(axis=0) - share).max()
        assert spread < 5 * np.sqrt(share * (1 - share) / 2000)  # 5 standard errors, for the worst of 64 pixels
        changes.append(np.abs(np.diff(control, axis=1)).mean())
    assert changes[0] > changes[1] > changes[2]


# background_mask


@pytest.mark.parametrize("source", masks.SOURCES)
def test_background_mask_knows_every_source(source):
    images = np.random.default_rng(0).random((2, 12, 12, 1 if source == "otsu" else 3), "float32")
    model = linear_model(np.random.default_rng(1).normal(size=(432, 2)), (12, 12, 3))
    options = {"saliency": {"model": model}, "grabcut": {"iterations": 1}}.get(source, {})
    exact = masks.center(images)
    mask = masks.background_mask(source, images, labels=np.array([0, 1]), exact=exact, **options)
    assert_is_mask(mask, images)


def test_background_mask_passes_everything_on():
    images = np.random.default_rng(0).random((2, 12, 12, 1), "float32")
    exact = masks.center(images, foreground=0.1)
    same = np.testing.assert_array_equal
    same(masks.background_mask("threshold", images, value=0.7), masks.threshold(images, value=0.7))
    same(masks.background_mask("otsu", images), masks.threshold(images, value="otsu"))
    same(masks.background_mask("ground_truth", images, exact=exact.astype(bool)), exact)
    control = masks.background_mask("random", images, exact=exact, seed=5, smoothness=1)
    same(control, masks.random(exact, seed=5, smoothness=1))
    control = masks.background_mask("random", images, exact=exact, default="otsu")  # a name goes before the exact masks
    same(control, masks.random(masks.otsu(images)))


# quality


def test_quality_by_hand():
    def grid(*rows):
        return np.array([[1 - int(cell) for cell in row] for row in rows], "float32").reshape(1, 2, 4, 1)

    # Foregrounds of 4, 2 and 0 of 8 pixels, in two images; a and b share 2 of 4 pixels, then 0 of 6.
    a = np.concatenate([grid("1100", "1100"), grid("1100", "1100")])
    b = np.concatenate([grid("1100", "0000"), grid("0011", "0000")])
    none = np.ones((2, 2, 4, 1), "float32")
    first, second, third = masks.quality({"a": a, "b": b, "none": none}, exact=none)
    assert first == {
        "source": "a",
        "n": 2,
        "background_mean": 0.5,
        "background_median": 0.5,
        "degenerate": 0.0,
        "iou_exact": 0.0,
        "iou_a": 1.0,
        "iou_b": 0.25,
        "iou_none": 0.0,
    }
    assert (second["background_mean"], second["iou_a"], second["iou_b"]) == (0.75, 0.25, 1.0)
    assert (third["degenerate"], third["iou_exact"], third["iou_a"]) == (1.0, 1.0, 0.0)  # nothing agrees with nothing
    assert "iou_exact" not in masks.quality({"a": a})[0]


@given(mask=mask_batches())
def test_quality_is_symmetric_and_plain(mask):
    rows = masks.quality({"given": mask, "random": masks.random(mask)})
    assert rows[0]["iou_random"] == rows[1]["iou_given"]
    assert rows[0]["background_mean"] == rows[1]["background_mean"]
    assert {type(value) for row in rows for value in row.values()} == {str, int, float}


# Bad input: a ValueError that says how to fix it


GREY = np.zeros((2, 8, 8, 1), "float32")
COLOUR = np.zeros((2, 8, 8, 3), "float32")
SOFTMAX = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
NAN = linear_model(np.full((30, 2), np.nan), (6, 5, 1))
SMALL = np.zeros((2, 6, 5, 1), "float32")
BAD = {
    "integer images": (lambda: masks.threshold(np.zeros((1, 8, 8, 1), "uint8")), "dtype uint8"),
    "0-255": (lambda: masks.border(COLOUR + 200), "values from 200 to 200"),
    "NaN": (lambda: masks.center(GREY + np.nan), "NaN"),
    "NCHW": (lambda: masks.full(np.zeros((2, 3, 8, 8), "float32")), "channels first"),
    "one image": (lambda: masks.grabcut(COLOUR[0]), r"images\[None\]"),
    "two channels": (lambda: masks.full(np.zeros((2, 8, 8, 2), "float32")), r"grey images .* or colour images"),
    "threshold out of range": (lambda: masks.threshold(GREY, value=25), "25/255 is what you mean"),
    "threshold's name": (lambda: masks.threshold(GREY, value="ostu"), "'ostu' is unknown; expected one of 'otsu'"),
    "Otsu on colour": (lambda: masks.otsu(COLOUR), "Otsu's threshold needs grey images"),
    "border on grey": (lambda: masks.border(GREY), "needs colour images .* Use 'threshold', 'otsu' or 'grabcut'"),
    "no clusters": (lambda: masks.border(COLOUR, clusters=0), "clusters=0"),
    "no prior": (lambda: masks.border(COLOUR, prior=0), "prior=0"),
    "half an upsample": (lambda: masks.grabcut(COLOUR, upsample=0.5), "upsample=0.5"),
    "tiny images": (lambda: masks.grabcut(COLOUR[:, :2], upsample=1), "too small for a frame"),
    "a whole foreground": (lambda: masks.center(GREY, foreground=1), "foreground=1"),
    "softmax": (lambda: masks.saliency(SMALL, [0, 1], model=SOFTMAX), "softmax"),
    "one-hot labels": (lambda: masks.saliency(SMALL, np.eye(2), model=SALIENT), "one-hot"),
    "label out of range": (lambda: masks.saliency(SMALL, [0, 2], model=SALIENT), "2 classes"),
    "too few labels": (lambda: masks.saliency(SMALL, [0], model=SALIENT), "N = 2"),
    "a NaN gradient": (lambda: masks.saliency(SMALL, [0, 1], model=NAN), "gradient is missing or not finite"),
    "grey mask": (lambda: masks.random(GREY + 0.5), "other than 0 and 1"),
    "mask without its last axis": (lambda: masks.random(GREY[..., 0]), r"mask\[\.\.\., None\]"),
    "negative seed": (lambda: masks.random(GREY, seed=-1), "seed=-1"),
    "negative smoothness": (lambda: masks.random(GREY, smoothness=-1), "smoothness=-1"),
    "unknown source": (lambda: masks.background_mask("boarder", GREY), "'boarder' is unknown; .* 'border'"),
    "unknown option": (lambda: masks.background_mask("border", GREY, sigma=1), "'sigma'; it takes 'clusters', 'prior'"),
    "option of none": (lambda: masks.background_mask("full", GREY, value=1), "no option 'value'; it takes none"),
    "missing option": (lambda: masks.background_mask("saliency", GREY, labels=[0, 1]), "needs the option 'model'"),
    "missing labels": (lambda: masks.background_mask("saliency", SMALL, model=SALIENT), "labels=None; expected"),
    "no ground truth": (
        lambda: masks.background_mask("ground_truth", GREY),
        "composite and TFDS sets with drawn masks",
    ),
    "ground truth's shape": (lambda: masks.background_mask("ground_truth", GREY, exact=GREY[:1]), r"\(2, 8, 8, 1\)"),
    "random of nothing": (lambda: masks.background_mask("random", GREY), "default=None; expected another source"),
    "random of random": (lambda: masks.background_mask("random", GREY, default="random"), "'random'; expected another"),
    "random of unknown": (lambda: masks.background_mask("random", GREY, default="otus"), "default='otus'"),
    "no masks": (lambda: masks.quality({}), "holds no masks"),
    "masks of no images": (lambda: masks.quality({"full": GREY[:0]}), "holds no masks"),
    "masks of other images": (lambda: masks.quality({"a": GREY, "b": GREY[:1]}), r"masks\['b'\] has shape"),
    "exact of other images": (lambda: masks.quality({"a": GREY}, exact=GREY[:1]), "exact has shape"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_errors_say_how_to_fix_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
