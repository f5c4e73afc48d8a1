"""Natural images: answers, losses and calibration agree with what Keras and a plain count say."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import locadv_tf as la
from locadv_tf.evaluation.natural import BINS, Natural, calibration_error, natural


@pytest.mark.parametrize("batched", [False, True])
def test_answers_and_losses_are_those_of_keras(batched):
    model = la.small_cnn(input_shape=(28, 28, 1), num_classes=10)
    test = la.load_data("digits", "test[:60]")
    images, labels, _ = la.to_arrays(test)
    found = natural(model, test.batch(7) if batched else test)
    logits = model.predict(images, verbose=0)
    expected = keras.ops.softmax(logits).numpy()
    np.testing.assert_array_equal(found.natural_correct, logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(found.confidence, expected.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.natural_loss, -np.log(expected[np.arange(60), labels]), rtol=1e-4)
    attacked = la.measure(model, test, la.RandomNoise(eps=0.1))
    np.testing.assert_allclose(found.natural_loss, attacked.natural_loss, rtol=1e-4)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=50))
def test_the_calibration_error_is_the_mean_gap_of_the_bins(answers):
    right, sure = (np.array(column) for column in zip(*answers, strict=True))
    gap = 0.0
    for k in range(BINS):
        last = k == BINS - 1
        inside = (sure * BINS >= k) & ((sure * BINS < k + 1) | last)
        if inside.any():
            gap += inside.mean() * abs(right[inside].mean() - sure[inside].mean(dtype=np.float64))
    found = calibration_error(Natural(right, sure, sure.astype(np.float32)))
    assert 0 <= found <= 1 and found == pytest.approx(gap, abs=1e-6)


def test_who_is_as_often_right_as_sure_has_no_error():
    sure = np.full(10, 0.7, np.float32)
    assert calibration_error(Natural(np.arange(10) < 7, sure, sure)) == pytest.approx(0, abs=1e-7)
    assert calibration_error(Natural(np.arange(10) < 0, sure, sure)) == pytest.approx(0.7)
