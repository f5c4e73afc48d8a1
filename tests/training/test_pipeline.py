"""From a data set to batches: nothing is lost, all is shuffled, image and mask move together, options stay home."""

import time

import numpy as np
import pytest
import tensorflow as tf

import locadv_tf as la
from locadv_tf.data import batches, memory
from locadv_tf.training import pipeline

N, SIDE = 30, 16


def arrays(seed=0):
    """Image i is darkest where its mask is 1; all are grey levels."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (N, SIDE, SIDE, 1)).astype("float32")
    grey = np.where(mask > 0, rng.integers(0, 100, (N, SIDE, SIDE, 3)), rng.integers(150, 256, (N, SIDE, SIDE, 3)))
    return grey.astype("float32") / np.float32(255), mask, np.arange(N)


def dataset(image, mask, label, *weight):
    return tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label, *weight))


def read(batched):
    rows = list(batched.as_numpy_iterator())
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *rows)


@pytest.mark.parametrize("kind", ["grey levels", "finer", "some finer", "beyond", "NaN"])
def test_nothing_is_lost(kind, monkeypatch):
    image, mask, label = arrays()
    if kind == "finer":
        image = image + np.float32(1e-3)
    elif kind == "some finer":
        image[-1] *= np.float32(0.999)
    elif kind == "beyond":
        image = image * 2 - 1
    elif kind == "NaN":
        image[3, 2, 1, 0] = np.nan
    weight = np.linspace(0, 1, N, dtype="float32")
    monkeypatch.setattr(pipeline, "READ", 7)
    data = dataset(image, mask, label, weight)
    found, labels = pipeline.batched(data, 4, name="train")
    inputs, again, weights = read(found)
    np.testing.assert_array_equal(inputs["image"], image)
    np.testing.assert_array_equal(inputs["mask"], mask)
    np.testing.assert_array_equal(again, label)
    np.testing.assert_array_equal(labels, label)
    np.testing.assert_array_equal(weights, weight)
    assert found.unbatch().element_spec == data.element_spec


def test_grey_levels_are_kept_as_bytes():
    image, mask, label = arrays()
    inputs, kept = pipeline._read(dataset(image, mask, label), "train")
    assert inputs["image"].dtype == inputs["mask"].dtype == tf.uint8 and kept.dtype == tf.int64


def test_all_of_it_is_shuffled_anew_in_each_epoch_and_repeats_with_the_seed():
    n = 12_000  # more than the ten thousand of a common buffer
    data = tf.data.Dataset.from_tensor_slices((np.zeros((n, 1, 1, 1), "float32"), np.arange(n)))

    def epochs(seed):
        batched, _ = pipeline.batched(data, 500, name="train", seed=seed)
        return [read(batched)[1] for _ in range(2)]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == list(range(n)) and (first != second).any()
    assert (first[:1000] > 11_000).any()  # the last ones may come first
    assert [each.tolist() for each in epochs(0)] == [first.tolist(), second.tolist()]
    assert (epochs(1)[0] != first).any()


def test_image_and_mask_are_augmented_together():
    image, mask, label = arrays()
    data = dataset(image, mask, label)

    def epochs(seed):
        batched, _ = pipeline.batched(data, 8, name="train", seed=seed, augment=la.flip_and_shift)
        assert batched.unbatch().element_spec == data.element_spec
        return [read(batched) for _ in range(2)]

    first, second = epochs(0)
    for inputs, _ in (first, second):
        np.testing.assert_array_equal(inputs["mask"][..., 0] == 1, inputs["image"].max(axis=-1) < 0.5)
    assert (first[0]["image"][np.argsort(first[1])] != second[0]["image"][np.argsort(second[1])]).any()
    for one, again in zip((first, second), epochs(0), strict=True):
        np.testing.assert_array_equal(one[0]["image"], again[0]["image"])
        np.testing.assert_array_equal(one[0]["mask"], again[0]["mask"])


def test_flips_and_shifts_are_what_they_say():
    image = np.arange(SIDE * SIDE * 3, dtype="float32").reshape(1, SIDE, SIDE, 3) / 1000
    image, mask = np.repeat(image, 200, axis=0), np.ones((200, SIDE, SIDE, 1), "float32")
    moved, moved_mask = (part.numpy() for part in la.flip_and_shift(image, mask, seed=(0, 7)))
    found = set()
    for one in moved:
        fits = [
            (flip, x, y)
            for flip in (False, True)
            for x in range(-3, 4)
            for y in range(-3, 4)
            if np.array_equal(one, shifted(image[0], flip, x, y))
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert {flip for flip, _, _ in found} == {False, True}
    assert {x for _, x, _ in found} == {y for _, _, y in found} == {-2, -1, 0, 1, 2}
    assert (moved_mask == 1).all()
    same = la.flip_and_shift(image, mask, seed=(0, 7))[0]
    np.testing.assert_array_equal(moved, same)
    assert (la.flip_and_shift(image, mask, seed=(1, 7))[0].numpy() != moved).any()


def shifted(image, flip, x, y):
    """By NumPy: the image, mirrored or not, through a window that lies x pixels further right and y further down."""
    padded = np.pad(image[:, ::-1] if flip else image, ((3, 3), (3, 3), (0, 0)), mode="symmetric")
    x = -x if flip else x
    return padded[3 + y : 3 + y + SIDE, 3 + x : 3 + x + SIDE]


def test_images_without_masks_are_augmented():
    image, _, label = arrays()
    data = tf.data.Dataset.from_tensor_slices((image, label))
    batched, _ = pipeline.batched(data, 8, name="train", seed=0, augment=la.flip_and_shift)
    assert read(batched)[0].shape == image.shape and batched.unbatch().element_spec == data.element_spec


@pytest.mark.parametrize("finer", [False, True])
def test_what_does_not_fit_is_streamed(monkeypatch, finer):
    image, mask, label = arrays()
    image[::2] *= np.float32(0.999 if finer else 1)  # no grey levels any more
    data = dataset(image, mask, label)
    monkeypatch.setattr(memory, "machine", lambda: 4 * N * SIDE * SIDE * 4)  # masks and colours fit, labels do not
    monkeypatch.setattr(pipeline, "_read", lambda *_: pytest.fail("it was read into memory"))
    monkeypatch.setattr(pipeline, "READ", 8)
    monkeypatch.setattr(pipeline, "STREAMED", 1)

    def epochs(seed):
        batched, labels = pipeline.batched(data, 4, name="train", seed=seed)
        np.testing.assert_array_equal(labels, label)
        return [read(batched) for _ in range(2)]

    first, second = epochs(0)
    for inputs, order in (first, second):
        np.testing.assert_array_equal(inputs["image"], image[order])
    assert first[1].tolist() != second[1].tolist() and sorted(first[1]) == label.tolist()
    assert epochs(0)[1][1].tolist() == second[1].tolist()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "streamed"])
def test_the_next_batches_are_made_while_a_step_runs(kept, monkeypatch):
    made = []

    def noted(image, mask, seed):
        same = tf.numpy_function(lambda x: made.append(len(x)) or x, [image], tf.float32)
        return tf.ensure_shape(same, image.shape), mask

    if not kept:
        monkeypatch.setattr(memory, "machine", lambda: 4)
    batched, _ = pipeline.batched(dataset(*arrays()), 4, name="train", augment=noted)
    waiting = iter(batched)
    next(waiting)
    end = time.monotonic() + 20
    while len(made) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(made) >= 3, "nothing is ready when the next step begins"


def endless():
    while True:
        yield {"image": np.zeros((SIDE, SIDE, 1), "float32"), "mask": np.zeros((SIDE, SIDE, 1), "float32")}, 0


def test_an_endless_generator_is_not_read_for_ever(monkeypatch):
    signature = ({name: tf.TensorSpec((SIDE, SIDE, 1)) for name in ("image", "mask")}, tf.TensorSpec((), tf.int64))
    data = tf.data.Dataset.from_generator(endless, output_signature=signature)
    monkeypatch.setattr(memory, "machine", lambda: 2**22)
    model = la.small_cnn((SIDE, SIDE, 1), 3)
    with pytest.raises(ValueError, match=r"train is of unknown length, and its first \d+ images take more than"):
        la.train_classifier(model, data, attack=la.FGSM(eps=0.1))


def test_the_tuner_is_off_in_what_the_kit_iterates_unless_it_was_switched_on(monkeypatch):
    data = dataset(*arrays())
    assert pipeline.batched(data, 4, name="train")[0].options().autotune.enabled is False
    seen = []
    monkeypatch.setattr(batches, "announced", lambda dataset: seen.append(dataset.options().autotune.enabled) or [])
    list(batches.batches(data, 4))
    options = tf.data.Options()
    options.autotune.enabled = True
    list(batches.batches(data.with_options(options), 4))
    assert seen == [False, True]
    assert pipeline.batched(data.with_options(options), 4, name="train")[0].options().autotune.enabled is True
    assert data.options() == tf.data.Options()
