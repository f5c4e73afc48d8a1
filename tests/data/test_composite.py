"""The composite data set: exact masks, the knob, and that its images are what they claim to be."""

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from locadv_tf.data import sources
from locadv_tf.data.composite import MARGIN, SIDE, TEXTURES, Composite, composite, place, textures


@functools.cache
def whole(seed):
    return composite("train", correlation=0.5, seed=seed)


def test_shapes_dtypes_and_sizes():
    for split, size in {"train": 8 * 1197, "validation": 200, "test": 400}.items():
        images, labels, masks, background_labels, _ = composite(split)
        assert images.shape == (size, 32, 32, 3) and images.dtype == np.uint8
        assert (
            labels.shape == background_labels.shape == (size,) and labels.dtype == background_labels.dtype == np.int64
        )
        assert masks.shape == (size, 32, 32, 1) and masks.dtype == np.float32
        assert set(np.unique(masks)) == {0, 1}
        assert set(labels) == set(background_labels) == set(range(10))


def test_the_foreground_is_one_colour_and_ends_before_the_edge():
    shown = whole(0)
    foreground = shown.masks[..., 0] == 0
    inside = foreground[..., None]
    lowest, highest = (
        np.where(inside, shown.images, 255).min(axis=(1, 2)),
        np.where(inside, shown.images, 0).max(axis=(1, 2)),
    )
    np.testing.assert_array_equal(lowest, highest)  # image by image, in each channel
    assert not foreground[:, :MARGIN].any() and not foreground[:, -MARGIN:].any()
    assert not foreground[:, :, :MARGIN].any() and not foreground[:, :, -MARGIN:].any()
    share = foreground.mean(axis=(1, 2))
    assert share.min() > 0.02 and share.max() < 0.35  # always a digit, never most of the image


def test_the_mask_is_exactly_the_digit():
    # The same digits on other backgrounds: what changes is the background, and the digit's shape is what does not.
    one, other = composite("test", correlation=0, seed=3), composite("test", correlation=1, seed=3)
    np.testing.assert_array_equal(one.masks, other.masks)
    np.testing.assert_array_equal(one.labels, other.labels)
    changed = one.background_labels != other.background_labels
    differs = (one.images != other.images).any(axis=-1)
    assert differs[changed][one.masks[changed, ..., 0] == 1].mean() > 0.7  # two patterns may agree by chance
    grey, labels, *_ = sources.read_images("digits", "test")
    np.testing.assert_array_equal((one.masks == 0).sum(axis=(1, 2, 3)), (grey > 127).sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(one.labels, labels)


@given(
    u=st.floats(0, 1, exclude_max=True, width=32),
    v=st.floats(0, 1, exclude_max=True, width=32),
    height=st.integers(1, 26),
    width=st.integers(1, 26),
    top=st.integers(0, 27),
    left=st.integers(0, 27),
)
def test_place_moves_a_shape_as_a_whole(u, v, height, width, top, left):
    shape = np.zeros((1, 28, 28), bool)
    shape[:, top : top + height, left : left + width] = True
    moved = place(shape, np.float32([[u, v]]))
    rows, columns = moved.any(axis=2).ravel(), moved.any(axis=1).ravel()
    assert (rows.sum(), columns.sum()) == (shape.any(axis=2).sum(), shape.any(axis=1).sum())
    assert moved.sum() == shape.sum()
    assert not rows[[*range(MARGIN), *range(SIDE - MARGIN, SIDE)]].any()
    assert not columns[[*range(MARGIN), *range(SIDE - MARGIN, SIDE)]].any()


@pytest.mark.parametrize("correlation", [0, 0.3, 0.9, 1])
def test_the_knob(correlation):
    shown = composite("train", correlation=correlation, seed=5)
    n, expected = len(shown.labels), correlation + (1 - correlation) / 10
    same = (shown.background_labels == shown.labels).mean()
    assert abs(same - expected) <= 4 * np.sqrt(expected * (1 - expected) / n)  # 4 standard errors
    others = shown.background_labels[shown.background_labels != shown.labels]
    if len(others):  # where it does not give the label away, no background is preferred
        mean = len(others) / 10
        assert np.abs(np.bincount(others, minlength=10) - mean).max() <= 4.5 * np.sqrt(mean)


@settings(max_examples=examples(15))
@given(st.integers(0, 1), st.integers(0, 9575), st.integers(1, 300))
def test_a_slice_equals_the_slice_of_the_whole(seed, start, n):
    stop = min(start + n, 9576)
    part = composite(f"train[{start}:{stop}]", correlation=0.5, seed=seed)
    for mine, all_of_them in zip(part, whole(seed), strict=True):
        np.testing.assert_array_equal(mine, all_of_them[start:stop])


def test_seeds_splits_and_limit():
    again = composite("train", correlation=0.5, seed=1)
    for mine, before in zip(again, whole(1), strict=True):
        np.testing.assert_array_equal(mine, before)
    assert (whole(0).images != whole(1).images).any(axis=(1, 2, 3)).mean() > 0.99
    few, others = (composite("train", correlation=0.5, limit=50, seed=seed) for seed in (0, 1))
    assert len(few.labels) == 50 and not np.array_equal(few.labels, others.labels)
    np.testing.assert_array_equal(few.images, whole(0).images[few.positions])
    neighbours = composite("train", correlation=0.5, limit=50, stratify=False)
    assert any(np.array_equal(neighbours.images, whole(0).images[i : i + 50]) for i in range(9576 - 49))
    assert len(composite("test", limit=10_000).labels) == 400
    # No digit is in two splits: the splits of "digits" are disjoint, and the copies stay within theirs.
    train = composite("train")
    np.testing.assert_array_equal(train.labels, np.tile(sources.read_images("digits", "train")[1], 8))


@pytest.mark.parametrize("background", [0, 7])
def test_one_class_of_background_for_all_and_no_digit_on_it(background):
    told = composite("test", background=background, seed=2)
    assert (told.background_labels == background).all()
    alone = composite("test", background=background, paste=False, seed=2)
    np.testing.assert_array_equal(alone.masks, told.masks)
    np.testing.assert_array_equal(alone.labels, told.labels)
    digit = np.broadcast_to(told.masks == 0, told.images.shape)
    np.testing.assert_array_equal(alone.images[~digit], told.images[~digit])
    assert (alone.images != told.images)[digit].mean() > 0.9


def test_the_digit_stands_out():
    for image, mask in zip(whole(0).images[:500], whole(0).masks[:500, ..., 0], strict=True):
        grey = image @ np.array([0.299, 0.587, 0.114]) / 255
        assert abs(grey[mask == 0].mean() - grey[mask == 1].mean()) > 0.2
        colour = image[mask == 0][0].astype(int)
        assert (np.abs(image[mask == 1].astype(int) - colour).sum(axis=-1) > 40).mean() > 0.98


def test_colours_do_not_give_the_class_away_but_patterns_do():
    u = np.random.default_rng(0).random((4000, 24), dtype=np.float32)
    classes = np.arange(4000) % 10
    drawn = textures(classes, u)
    assert drawn.min() >= 0 and drawn.max() <= 1 and len(TEXTURES) == 10
    assert (drawn.std(axis=(1, 2)).mean(axis=-1) > 0.01).all()  # every image has a pattern
    halves, colour, spectrum = np.arange(4000) < 2000, drawn.mean(axis=(1, 2)), []
    for image in drawn.mean(axis=-1):
        power = np.abs(np.fft.rfft2((image - image.mean()) / image.std()))
        spectrum.append(np.log1p(power).ravel())

    def accuracy(features):  # of a linear classifier, least squares on one half, measured on the other
        features = np.c_[features, np.ones(4000)]
        weights = np.linalg.lstsq(features[halves], np.eye(10)[classes[halves]], rcond=1e-6)[0]
        return ((features[~halves] @ weights).argmax(axis=-1) == classes[~halves]).mean()

    assert accuracy(colour) < 0.25 < 0.8 < accuracy(np.array(spectrum))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"correlation": 1.5}, "correlation=1.5 is out of range"),
        ({"correlation": "high"}, "correlation='high' is out of range"),
        ({"digits": "svhn"}, "digits='svhn' is unknown; expected one of 'digits', 'mnist'"),
        ({"background": 10}, "background=10 is unknown; expected one of None, 0, 1,"),
        ({"backgrounds": "noise"}, "backgrounds='noise' is unknown; expected one of 'textures', 'cifar10'"),
        ({"split": "dev"}, "split='dev' is unknown"),
        ({"split": "test[:401]"}, "reaches beyond the 400 images"),
        ({"limit": 0}, "limit=0"),
        ({"seed": 0.5}, "seed=0.5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        composite(**arguments)


def test_mnist_on_cifar10(tfds_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    shown = composite("validation[:300]", correlation=1, digits="mnist", backgrounds="cifar10")
    assert isinstance(shown, Composite)
    grey, labels, *_ = sources.read_images("mnist", "validation[:300]")
    np.testing.assert_array_equal(shown.labels, labels)
    np.testing.assert_array_equal((shown.masks == 0).sum(axis=(1, 2, 3)), (grey > 127).sum(axis=(1, 2, 3)))
    # Each background is an image of the right class of CIFAR-10's validation split, untouched outside the digit.
    pool, classes, *_ = sources.read_images("cifar10", "validation")
    for image, mask, background in list(zip(shown.images, shown.masks, shown.background_labels, strict=True))[:20]:
        of_class = pool[classes == background]
        assert ((of_class == image) | (mask == 0)).all(axis=(1, 2, 3)).any()
    part = composite("validation[100:120]", correlation=1, digits="mnist", backgrounds="cifar10")
    np.testing.assert_array_equal(part.images, shown.images[100:120])
