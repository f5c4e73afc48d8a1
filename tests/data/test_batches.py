"""Data comes in as a data set, batched or not, or as arrays; it goes on as the same images in the same order."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.data.batches import batches, length


def arrays(n, channels=1):
    rng = np.random.default_rng(n)
    mask = (rng.random((n, 5, 4, 1)) < 0.5).astype("float32")
    return rng.random((n, 5, 4, channels), "float32"), rng.integers(0, 10, n), mask


def dataset(image, label, mask):
    return tf.data.Dataset.from_tensor_slices(({"image": image, "mask": mask}, label))


FORMS = {
    "arrays": lambda data, own: data,
    "a list of tensors": lambda data, own: [tf.constant(part) for part in data],
    "unbatched": lambda data, own: dataset(*data),
    "batched": lambda data, own: dataset(*data).batch(own),
    "of unknown length": lambda data, own: dataset(*data).filter(lambda *_: True),
}


@given(n=st.integers(0, 12), size=st.integers(1, 15), own=st.integers(1, 15), form=st.sampled_from(sorted(FORMS)))
def test_every_image_comes_once_and_in_order(n, size, own, form):
    data = arrays(n)
    rows = list(batches(FORMS[form](data, own), size))
    step = own if form == "batched" else size
    assert [len(label) for _, label, _ in rows] == [min(step, n - first) for first in range(0, n, step)]
    for i, part in enumerate(data):
        assert all(isinstance(row[i], np.ndarray) for row in rows)
        if rows:
            np.testing.assert_array_equal(np.concatenate([row[i] for row in rows]), part)


@pytest.mark.parametrize("batched", [False, True])
def test_without_masks_there_is_none(batched):
    image, label, _ = arrays(5)
    unmasked = tf.data.Dataset.from_tensor_slices((image, label))
    named = tf.data.Dataset.from_tensor_slices(({"image": image}, label))
    for data in ((image, label), *(form.batch(2) if batched else form for form in (unmasked, named))):
        rows = list(batches(data, 2))
        assert [len(label) for _, label, _ in rows] == [2, 2, 1]
        assert all(mask is None for _, _, mask in rows)


@given(n=st.integers(0, 7), channels=st.sampled_from((1, 3)), form=st.sampled_from(sorted(FORMS)))
def test_to_arrays_gives_the_data_back(n, channels, form):
    data = arrays(n, channels)
    found = la.to_arrays(FORMS[form]((data[0], data[1].astype("uint8"), data[2].astype(bool)), 3))
    for got, expected, dtype in zip(found, data, ("float32", "int64", "float32"), strict=True):
        assert got.dtype == dtype and got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)


def test_length_is_known_without_reading():
    def unread():
        raise AssertionError("the data was read")
        yield

    data = arrays(7)
    assert length(data) == length(dataset(*data)) == 7
    assert length(dataset(*data).batch(2)) is None  # the last batch may be a ragged one
    spec = tf.TensorSpec((5, 4, 1)), tf.TensorSpec((), tf.int64)
    assert length(tf.data.Dataset.from_generator(unread, output_signature=spec)) is None


BAD = {
    "a string": ("digits", "data is str; expected a tf.data.Dataset"),
    "an array": (arrays(3)[0], "data is ndarray"),
    "four parts": ((*arrays(3), None), "data is tuple"),
    "arrays of different lengths": ((*arrays(3)[:2], arrays(2)[2]), r"\[3, 3, 2\] entries; expected one per image"),
    "images alone": (tf.data.Dataset.from_tensor_slices(arrays(3)[0]), "data has elements"),
    "three parts": (tf.data.Dataset.from_tensor_slices(arrays(3)), "data has elements"),
    "no image": (tf.data.Dataset.from_tensor_slices(({"picture": arrays(3)[0]}, arrays(3)[1])), "'picture'"),
    "batched twice": (dataset(*arrays(4)).batch(2).batch(2), r"rank \[5, 2, 5\]; .*batched once"),
    "one-hot labels": (dataset(arrays(3)[0], np.eye(3), arrays(3)[2]), r"one-hot.*tf\.argmax"),
    "endless": (dataset(*arrays(3)).repeat(), r"expected a finite data set\. Leave out repeat\(\), or add take\(n\)"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_refused_before_it_is_read(data, message):
    with pytest.raises(ValueError, match=message):
        list(batches(data, 2))


def test_to_arrays_looks_at_the_values_too():
    image, label, mask = arrays(3)
    bad = {
        "images has values from": (image * 255, label, mask),
        "labels has shape .* one-hot": (image, np.eye(3), mask),
        "masks has values other than 0 and 1": (image, label, mask / 2),
        "data has no masks": (image, label),
    }
    for message, data in bad.items():
        with pytest.raises(ValueError, match=message):
            la.to_arrays(data)
